"""Every library that the client serves, behind one small face: so that each promise is tested with each of them."""

from __future__ import annotations

import asyncio
import http.client
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import httpx
import requests
import urllib3

from mtls_client import ClientCertificate

# What a library raises for a request that has failed on the way.
FAILURES = (httpx.TransportError, requests.RequestException, urllib3.exceptions.HTTPError, aiohttp.ClientError, OSError)


type Fields = dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status. Names of fields in lower case."""

    status: int
    fields: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, status: int, fields: Any, body: bytes) -> Answer:
        return cls(status, {name.lower(): value for name, value in fields.items()}, body)


class Library(Protocol):
    """One library's client."""

    def ask(self, method: str, body: bytes = b"", *, streamed: bool = False, fields: Fields = None) -> Answer:
        """The answer as it is; `streamed` reads the body as it comes."""

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The answer's body."""

    def send_once(self, path: str, chunks: Iterator[bytes], fields: Fields = None) -> bytes:
        """POST a body that can be read only once."""

    def begin(self, path: str) -> Callable[[], bytes]:
        """GET, and read the first five bytes; what is returned reads the rest, and closes."""

    def close(self) -> None: ...


class Httpx:
    def __init__(self, certificate: ClientCertificate, url: str, server_ca: str) -> None:
        self._client = certificate.httpx_client(base_url=url, server_ca=server_ca)

    def ask(self, method: str, body: bytes = b"", *, streamed: bool = False, fields: Fields = None) -> Answer:
        if streamed:
            with self._client.stream(method, "/", content=body, headers=fields) as response:
                return Answer.of(response.status_code, response.headers, b"".join(response.iter_raw()))
        response = self._client.request(method, "/", content=body, headers=fields)
        return Answer.of(response.status_code, response.headers, response.content)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        return self._client.request(method, path, content=body).raise_for_status().content

    def send_once(self, path: str, chunks: Iterator[bytes], fields: Fields = None) -> bytes:
        return self._client.post(path, content=chunks, headers=fields).content

    def begin(self, path: str) -> Callable[[], bytes]:
        response = self._client.send(self._client.build_request("GET", path), stream=True)
        chunks = response.iter_raw()
        assert next(chunks) == b"first"

        def end() -> bytes:
            try:
                return b"".join(chunks)
            finally:
                response.close()

        return end

    def close(self) -> None:
        self._client.close()


class Requests:
    def __init__(self, certificate: ClientCertificate, url: str, server_ca: str) -> None:
        self._url = url
        self._session = certificate.requests_session(server_ca)
        self._session.trust_env = False

    def ask(self, method: str, body: bytes = b"", *, streamed: bool = False, fields: Fields = None) -> Answer:
        response = self._session.request(method, self._url, data=body, headers=fields, stream=streamed)
        with response:
            received = response.raw.read() if streamed else response.content
            return Answer.of(response.status_code, response.headers, received)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        response = self._session.request(method, self._url + path, data=body)
        response.raise_for_status()
        return response.content

    def send_once(self, path: str, chunks: Iterator[bytes], fields: Fields = None) -> bytes:
        return self._session.post(self._url + path, data=chunks, headers=fields).content

    def begin(self, path: str) -> Callable[[], bytes]:
        response = self._session.get(self._url + path, stream=True)
        chunks = response.iter_content(5)
        assert next(chunks) == b"first"

        def end() -> bytes:
            try:
                return b"".join(chunks)
            finally:
                response.close()

        return end

    def close(self) -> None:
        self._session.close()


class Urllib3:
    def __init__(self, certificate: ClientCertificate, url: str, server_ca: str) -> None:
        self._url = url
        self._pools = certificate.urllib3_pool_manager(server_ca, retries=False)

    def ask(self, method: str, body: bytes = b"", *, streamed: bool = False, fields: Fields = None) -> Answer:
        response = self._pools.request(method, self._url, body=body, headers=fields, preload_content=not streamed)
        return Answer.of(response.status, response.headers, response.read() if streamed else response.data)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        return self._pools.request(method, self._url + path, body=body).data

    def send_once(self, path: str, chunks: Iterator[bytes], fields: Fields = None) -> bytes:
        return self._pools.request("POST", self._url + path, body=chunks, headers=fields).data

    def begin(self, path: str) -> Callable[[], bytes]:
        response = self._pools.request("GET", self._url + path, preload_content=False)
        assert response.read(5) == b"first"

        def end() -> bytes:
            try:
                return response.read()
            finally:
                response.release_conn()

        return end

    def close(self) -> None:
        self._pools.clear()


class HttpClient:
    """The standard library on `ssl_context()`: a connection for each request."""

    def __init__(self, certificate: ClientCertificate, url: str, server_ca: str) -> None:
        self._host = urlsplit(url).netloc
        self._context = certificate.ssl_context(server_ca)

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        connection = http.client.HTTPSConnection(self._host, context=self._context)
        try:
            connection.request(method, path, body)
            return connection.getresponse().read()
        finally:
            connection.close()


class _OnLoop:
    """Runs an event loop in a thread, as the test's own is not one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run[T](self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def close(self) -> None:
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        raise NotImplementedError


async def _slowly(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
        await asyncio.sleep(0)  # so that it reaches the server before the next


class HttpxAsync(_OnLoop):
    def __init__(self, certificate: ClientCertificate, url: str, server_ca: str) -> None:
        super().__init__()
        self._client = certificate.httpx_async_client(base_url=url, server_ca=server_ca)

    def ask(self, method: str, body: bytes = b"", *, streamed: bool = False, fields: Fields = None) -> Answer:
        async def ask() -> Answer:
            request = self._client.build_request(method, "/", content=body, headers=fields)
            response = await self._client.send(request, stream=streamed)
            chunks = [chunk async for chunk in response.aiter_raw()] if streamed else [response.content]
            await response.aclose()
            return Answer.of(response.status_code, response.headers, b"".join(chunks))

        return self.run(ask())

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        return self.run(self._client.request(method, path, content=body)).raise_for_status().content

    def send_once(self, path: str, chunks: Iterator[bytes], fields: Fields = None) -> bytes:
        return self.run(self._client.post(path, content=_slowly(chunks), headers=fields)).content

    def begin(self, path: str) -> Callable[[], bytes]:
        response = self.run(self._client.send(self._client.build_request("GET", path), stream=True))
        chunks = response.aiter_raw()
        assert self.run(anext(chunks)) == b"first"  # type: ignore[arg-type]

        async def end() -> bytes:
            try:
                return b"".join([chunk async for chunk in chunks])
            finally:
                await response.aclose()

        return lambda: self.run(end())

    async def _close(self) -> None:
        await self._client.aclose()


class Aiohttp(_OnLoop):
    def __init__(self, certificate: ClientCertificate, url: str, server_ca: str) -> None:
        super().__init__()
        self._url = url

        async def make() -> aiohttp.ClientSession:
            return certificate.aiohttp_session(server_ca=server_ca)

        self._session = self.run(make())

    def ask(self, method: str, body: bytes = b"", *, streamed: bool = False, fields: Fields = None) -> Answer:
        async def ask() -> Answer:
            async with self._session.request(method, self._url, data=body, headers=fields) as response:
                received = await (response.content.read() if streamed else response.read())
                return Answer.of(response.status, response.headers, received)

        return self.run(ask())

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        return self.run(self._request(method, path, body))

    def send_once(self, path: str, chunks: Iterator[bytes], fields: Fields = None) -> bytes:
        return self.run(self._request("POST", path, _slowly(chunks), fields))

    def begin(self, path: str) -> Callable[[], bytes]:
        async def first() -> aiohttp.ClientResponse:
            response = await self._session.get(self._url + path)
            assert await response.content.readexactly(5) == b"first"
            return response

        response = self.run(first())

        async def end() -> bytes:
            async with response:
                return await response.content.read()

        return lambda: self.run(end())

    async def _request(self, method: str, path: str, body: Any, fields: Fields = None) -> bytes:
        async with self._session.request(method, self._url + path, data=body, headers=fields) as response:
            return await response.read()

    async def _close(self) -> None:
        await self._session.close()


POOLING: dict[str, Callable[[ClientCertificate, str, str], Library]] = {
    "httpx": Httpx,
    "httpx async": HttpxAsync,
    "requests": Requests,
    "urllib3": Urllib3,
    "aiohttp": Aiohttp,
}


@contextmanager
def opened(name: str, certificate: ClientCertificate, url: str, server_ca: str) -> Iterator[Library]:
    """A client of the library, as long as the block runs."""
    library = POOLING[name](certificate, url, server_ca)
    try:
        yield library
    finally:
        library.close()
