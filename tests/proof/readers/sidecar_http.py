"""The sidecar's HTTP: what programs send to it, and what the upstream answers. Real sockets, no TLS between them."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import cache
from random import Random
from typing import Any, cast

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry
from yarl import URL

from mtls_rotation.gateway.proxy import paths
from mtls_sidecar import connections, headers, hosts, problem, proxy, replay, upstream
from mtls_sidecar.connections import Guard, GuardedSite
from mtls_sidecar.metrics import ProxyMetrics
from mtls_sidecar.proxy import Proxy
from mtls_sidecar.settings import ProxySettings
from mtls_sidecar.upstream import Upstream
from tests.kit import nasty
from tests.proof.readers import Reader
from tests.proof.readers.bombs import SEED_BOMBS, SEEDS, Bombs

_REQUEST = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+ /v2/[^ \r\n]* HTTP/1\.1")
# Of what no field may say to the upstream, however a server spells it.
_NEVER = frozenset(b"connection keep-alive te trailer transfer-encoding upgrade x-original-url x-rewrite-url".split())
# What the stage's own connection and framing say.
_OWN = frozenset({b"connection: close", b"transfer-encoding: chunked"})
_HERE = re.compile(rb"\nhost:[ \t]*(?:localhost|127\.|\[::1\]|\[::ffff:127\.)", re.IGNORECASE)
_STATUS = re.compile(rb"HTTP/(?:1\.[0-9] |0\.9 [45])")
_PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"
# Turns of the loop after which nothing more is to be expected of a request that has not come to its end.
_TURNS = 60


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    modules = (proxy, headers, replay, problem, connections, hosts, upstream)
    yield Reader("requests to the sidecar", _request, _REQUESTS, modules, (), _REQUEST_BOMBS, 1 << 20)
    # Each input is the seed of a request that is drawn.
    yield Reader("drawn requests to the sidecar", _draw, SEEDS, modules, (), SEED_BOMBS)
    yield Reader("upstreams' answers to the sidecar", _answer, _ANSWERS, modules, (), _ANSWER_BOMBS, 1 << 20)


_REQUESTS = (
    b"GET /a/b?c=d HTTP/1.1\r\nHost: localhost\r\nConnection: close, X-A\r\nX-A: 1\r\nTE: trailers\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc",
    b"POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"OPTIONS /a HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: 3\r\n\r\n",
    b"HEAD /%2e%2e/a HTTP/1.0\r\nHost: localhost\r\nX: \xc3\xbc\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1]\r\nConnection: X-A\r\nX_A: 1\r\nTransfer_Encoding: x\r\nX_Original_Url: /\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /b HTTP/1.1\r\nHost: localhost\r\n\r\n",
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


_HEAD, _OK = b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
_REQUEST_BOMBS: Bombs = {
    "hops": lambda size: (
        b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\nMax-Forwards: " + b"9" * min(size, 16_000) + b"\r\n\r\n"
    ),
    "length": lambda size: _HEAD + b"Content-Length: " + b"9" * min(size, 16_000) + b"\r\n\r\n",
    "many fields": _fields(_HEAD, b"A: b\r\n", b"\r\n"),
    "options of the connection": _fields(_HEAD + b"Connection: ", b"a,"),
    "a long target": _fields(b"GET /", b"a", b" HTTP/1.1\r\n\r\n"),
    "percents": _fields(b"GET /", b"%25", b" HTTP/1.1\r\n\r\n"),
    "line feeds": _fields(b"", b"\r\n", b""),
    "chunks": _fields(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n", b"0\r\n\r\n"
    ),
    "a chunk's extension": _fields(
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"a", b"\r\na\r\n"
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


_HOSTS = (
    *(
        "localhost",
        "LocalHost:80",
        "localhost.",
        "127.0.0.1:8080",
        "127.1.2.3",
        "[::1]",
        "[::1]:80",
        "[::ffff:127.0.0.1]",
    ),
    *(
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "a.localhost",
        "0.0.0.0:80",
    ),
    *(
        "127.1",
        "2130706433",
        "0x7f.1",
        "[::]",
        "::1",
        "a@localhost",
        "localhost, a",
        "10.0.0.1",
        "",
        "localhost/",
        "[::1",
    ),
)
_STEPS = (
    *(
        "..",
        ".",
        "%2e%2e",
        "%2E.",
        ".%2e",
        "..;a=b",
        "%252e%252e",
        "%25252e",
        "..%00",
        "..%20",
        "%c0%ae%c0%ae",
        "..%5c",
    ),
    *("a", "...", "a..b", "%41", "%C3%BC", "a;b=c", "%2f", "%5C", "\\", "%", "%zz", "%u002e", "", "~", "{a}", "\xe9"),
)
_NAMES = (
    *("Connection", "Keep-Alive", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Proxy-Authorization", "Expect"),
    *(
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "X-A",
        "Via",
        "Host",
        "Content-Length",
        "Max-Forwards",
    ),
)
_VALUES = ("a", "", "0", "3", "close, X-A", "chunked", "100-continue", "/admin", "h2c", "\u00e9", "a\tb", "timeout=5")


def _drawn(seed: bytes) -> bytes:
    """A request whose target, host and fields are of the kinds that lead servers and proxies astray."""
    random = Random(seed)  # noqa: S311 - each run tries the same
    target = "".join(random.choice("///\\;") + random.choice(_STEPS) for _ in range(random.randrange(1, 5)))
    if random.random() < 0.2:
        target = random.choice(nasty.NASTY_PATHS).removeprefix("/proxy/billing")
    lines = [f"{random.choice(('GET', 'HEAD', 'OPTIONS'))} {target} HTTP/1.{random.choice('1110')}"]
    lines += [f"Host: {random.choice(_HOSTS if random.random() < 0.4 else _HOSTS[:8])}"]
    for _ in range(random.randrange(4)):
        name = random.choice(_NAMES)
        if random.random() < 0.5:
            name = random.choice((str.upper, str.lower, str.swapcase))(name.replace("-", random.choice("-_")))
        lines.append(f"{name}: {random.choice(_VALUES)}")
    return "\r\n".join([*lines, "", ""]).encode()


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
        bound = socket.create_server(("127.0.0.1", 0))
        self._port = bound.getsockname()[1]
        await GuardedSite(runner, bound, Guard(100, 10.0, 10.0, self.proxy.note_refusal)).start()

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
            line, *fields = it.removesuffix(b"\r\n\r\n").split(b"\r\n")
            assert _REQUEST.fullmatch(line), f"the upstream is asked {line[:100]!r}"
            path = line.split(b" ")[1].partition(b"?")[0].decode("latin-1")
            assert paths.is_plain(path), f"the upstream is asked for {path[:100]!r}"
            names = [it.partition(b":")[0].lower().replace(b"_", b"-") for it in fields if it.lower() not in _OWN]
            assert not _NEVER.intersection(names), f"the upstream is told {names}"
            assert _HERE.search(request) or b"\nhost" not in request.lower(), f"a page could ask {request[:200]!r}"
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


def _draw(seed: bytes) -> None:
    _request(_drawn(seed))


def _answer(data: bytes) -> None:
    said = _stage().exchange(_REQUESTS[0], data)
    assert not said or _STATUS.match(said), said[:80]
    if b" 500 " in said.partition(b"\r\n")[0]:
        assert data.startswith(b"HTTP/1.") and b" 500" in data[:20], said[:200]  # noqa: PT018
