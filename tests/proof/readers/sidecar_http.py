"""The sidecar's HTTP: what programs send to it, and what the upstream answers. Real sockets, no TLS between them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import Any, cast

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry
from yarl import URL

from mtls_sidecar import headers, problem, proxy, replay
from mtls_sidecar.metrics import ProxyMetrics
from mtls_sidecar.proxy import Proxy
from mtls_sidecar.settings import ProxySettings
from mtls_sidecar.upstream import Upstream
from tests.proof.readers import Reader
from tests.proof.readers.bombs import Bombs

_REQUEST = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ /v2/[^ \r\n]* HTTP/1\.1")
_STATUS = re.compile(rb"HTTP/(?:1\.[0-9] |0\.9 [45])")
_PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
# Turns of the loop after which nothing more is to be expected of a request that has not come to its end.
_TURNS = 60


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    modules = (proxy, headers, replay, problem)
    yield Reader("requests to the sidecar", _request, _REQUESTS, modules, (), _REQUEST_BOMBS, 1 << 20)
    yield Reader("upstreams' answers to the sidecar", _answer, _ANSWERS, modules, (), _ANSWER_BOMBS, 1 << 20)


_REQUESTS = (
    b"GET /a/b?c=d HTTP/1.1\r\nHost: x\r\nConnection: close, X-A\r\nX-A: 1\r\nTE: trailers\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"OPTIONS /a HTTP/1.1\r\nHost: x\r\nMax-Forwards: 3\r\n\r\n",
    b"HEAD /%2e%2e/a HTTP/1.0\r\nHost: x\r\nX: \xc3\xbc\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
)
_ANSWERS = (
    _PLAIN,
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nVia: 1.0 a\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + _PLAIN,
    b"HTTP/1.0 503 Away\r\nConnection: X-A\r\nX-A: 1\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\nbye",
)


def _fields(before: bytes, field: bytes, after: bytes = b"\r\n\r\n") -> Any:
    return lambda size: before + field * (size // len(field)) + after


_HEAD, _OK = b"GET / HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
_REQUEST_BOMBS: Bombs = {
    "hops": lambda size: b"OPTIONS / HTTP/1.1\r\nHost: x\r\nMax-Forwards: " + b"9" * min(size, 16_000) + b"\r\n\r\n",
    "length": lambda size: _HEAD + b"Content-Length: " + b"9" * min(size, 16_000) + b"\r\n\r\n",
    "many fields": _fields(_HEAD, b"A: b\r\n", b"\r\n"),
    "options of the connection": _fields(_HEAD + b"Connection: ", b"a,"),
    "a long target": _fields(b"GET /", b"a", b" HTTP/1.1\r\n\r\n"),
    "percents": _fields(b"GET /", b"%25", b" HTTP/1.1\r\n\r\n"),
    "line feeds": _fields(b"", b"\r\n", b""),
    "chunks": _fields(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b"0\r\n\r\n"),
    "a chunk's extension": _fields(
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a", b"\r\na\r\n"
    ),
    "zeros": _fields(b"", b"\0", b""),
}
_ANSWER_BOMBS: Bombs = {
    "many fields": _fields(_OK, b"A: b\r\n", b"\r\n"),
    "options of the connection": _fields(_OK + b"Connection: ", b"a,"),
    "length": lambda size: b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * min(size, 16_000) + b"\r\n\r\n",
    "a long reason": _fields(b"HTTP/1.1 200 ", b"a"),
    "chunks": _fields(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b"0\r\n\r\n"),
    "early hints": _fields(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", _PLAIN),
    "a body": _fields(b"HTTP/1.0 200 OK\r\n\r\n", b"a", b""),
}


class _Stage:
    """An upstream, and the proxy before it, on one loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.answer = _PLAIN
        self.heard: list[bytes] = []
        self.errors: list[str] = []
        self.loop.set_exception_handler(lambda _, context: self.errors.append(str(context.get("message"))))
        # A logger of its own: what has a name is every other test's in this process, too.
        self.log = logging.Logger("aiohttp.server of the stage")
        self.log.addHandler(_Errors(self.errors.append))
        self.loop.run_until_complete(self._set_up())

    async def _set_up(self) -> None:
        upstream = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = upstream.sockets[0].getsockname()[1]
        settings = ProxySettings(secret="x", upstream="https://x")
        made = Upstream(URL(f"http://127.0.0.1:{port}"), "/v2")
        settings = settings.model_copy(update={"upstream": made, "idle_timeout": 5.0})
        self._upstream = upstream
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            timeout=aiohttp.ClientTimeout(total=5),
            max_line_size=settings.max_header_size,
            max_field_size=settings.max_header_size,
        )
        self.proxy = Proxy(cast("Any", self), settings, ProxyMetrics(CollectorRegistry()))
        runner = web.AppRunner(
            self.proxy.application(),
            access_log=None,
            auto_decompress=False,
            handler_cancellation=True,
            lingering_time=0.0,
            logger=self.log,
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._port = runner.addresses[0][1]

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[aiohttp.ClientSession]:
        """As `Sessions` has it."""
        yield self._session

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self.heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
        with suppress(OSError):
            writer.close()

    async def _ask(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        answered = bytearray()
        with suppress(OSError):
            writer.write(data)
            turns = 0
            while turns < _TURNS:
                try:
                    async with asyncio.timeout(0.0005 if turns else 0.005):
                        some = await reader.read(1 << 16)
                except TimeoutError:
                    turns += 1
                    if answered and not self.proxy._under_way:
                        break
                else:
                    if not some:
                        break
                    answered += some
        writer.transport.abort()
        async with asyncio.timeout(10):
            await self.proxy.wait_until_idle()
        return bytes(answered)

    def exchange(self, request: bytes, answer: bytes) -> bytes:
        """Send a request to the proxy, whose upstream answers so. What it says."""
        self.answer = answer
        self.heard.clear()
        self.errors.clear()
        ours = logging.getLogger("mtls_sidecar")
        level = ours.level
        ours.setLevel(logging.CRITICAL)  # of each failure it says a line
        try:
            said = self.loop.run_until_complete(self._ask(request))
        finally:
            ours.setLevel(level)
        for it in self.heard:
            line = it.partition(b"\r\n")[0]
            assert _REQUEST.fullmatch(line), f"the upstream is asked {line[:100]!r}"
        assert not self.errors, self.errors[0]
        return said


class _Errors(logging.Handler):
    """What aiohttp tells of exceptions that nobody has caught."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        super().__init__(logging.ERROR)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        # What is no HTTP is for aiohttp to refuse.
        if error is not None and not isinstance(error, aiohttp.http_exceptions.HttpProcessingError):
            self._tell(f"{type(error).__name__}: {error}")


@cache
def _stage() -> _Stage:
    return _Stage()


def _request(data: bytes) -> None:
    said = _stage().exchange(data, _PLAIN)
    assert not said or _STATUS.match(said), said[:80]
    assert b" 500 " not in said.partition(b"\r\n")[0], said[:200]


def _answer(data: bytes) -> None:
    said = _stage().exchange(_REQUESTS[0], data)
    assert not said or _STATUS.match(said), said[:80]
    if b" 500 " in said.partition(b"\r\n")[0]:
        assert data.startswith(b"HTTP/1.") and b" 500" in data[:20], said[:200]  # noqa: PT018
