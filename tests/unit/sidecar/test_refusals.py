"""What the proxy answers by itself, and what it cuts off: limits, time-outs, failures of either side."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mtls_client.denial import Answered
from mtls_rotation.gateway.proxy import paths
from mtls_rotation.pki.certificates import CertifiedKey
from mtls_sidecar import address, admin, connections, hosts, listener
from mtls_sidecar.hosts import FurtherHosts, may_be_for
from mtls_sidecar.replay import KEPT
from mtls_sidecar.run import certificate_for
from mtls_sidecar.settings import ProxySettings
from mtls_sidecar.upstream import Upstream as Origin
from tests.kit import builders
from tests.kit.nasty import NASTY_PATHS, ODD_PATHS
from tests.unit.client.secrets_manager import SECRET, SecretsManager, value_of
from tests.unit.client.server import BY_API_GATEWAY, BY_THE_AUTHORIZER, Denial, partner_api
from tests.unit.sidecar.conftest import Answer, Clock, Connection, Proxying, Running, chunk, request, serial_of, until
from tests.unit.sidecar.upstream import Head, Upstream, always, answer, echo, read_body, upstream

pytestmark = pytest.mark.anyio

CHUNKED = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
SHORT = 0.2


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel holds little of what a client does not take."""

    def bind(*arguments: Any) -> socket.socket:
        bound = address.bind(*arguments)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return bound

    monkeypatch.setattr(listener, "bind", bind)
    monkeypatch.setattr(admin, "bind", bind)


def code(answered: Answer) -> str:
    """The code of a problem; its form is checked on the way: RFC 9457."""
    assert answered.values("content-type") == ["application/problem+json"]
    document = json.loads(answered.body)
    assert document["status"] == answered.status
    assert set(document) == {"type", "title", "status", "detail", "code"}
    assert answered.values("server") == []
    return str(document["code"])


async def never(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads a request, and leaves it at that."""
    await read_body(head.fields, reader)
    await reader.read(1)


async def test_what_nobody_thought_of_is_a_problem_too(
    proxy: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("never seen before")

    monkeypatch.setattr(proxy.sessions, "entered", fail)
    answered = await proxy.ask(request())

    assert (answered.status, code(answered)) == (500, "internal_error")
    assert b"never seen before" not in answered.body
    assert "never seen before" in caplog.text
    assert proxy.metric("mtls_proxy_failures_total", code="internal_error") == 1
    assert proxy.metric("mtls_proxy_requests_total", method="GET", status_class="5xx") == 1


async def test_what_nobody_thought_of_amid_an_answer_cuts_it_off(
    proxy: Running, api: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("never seen before")

    api.script = always(answer(b"first"))
    monkeypatch.setattr(proxy.proxy, "_write", fail)
    connection = await proxy.connect()
    await connection.send(request())
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await connection.answer()
    await until(lambda: bool(proxy.metric("mtls_proxy_failures_total", code="internal_error")))


class TestWhatCouldBeTwoRequests:
    @pytest.mark.parametrize(
        "head",
        [
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 4",
            "Content-Length: 3, 3",
            "Content-Length: +3",
            "Content-Length: 0x3",
            "Content-Length: -1",
            "Transfer-Encoding: xchunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            "Transfer-Encoding: chunked, chunked",
            "Transfer-Encoding : chunked",
            "Transfer-Encoding:\x0bchunked",
            "Transfer-Encoding: gzip, chunked",
            "X: a\r\n folded",
            "X: a\nTransfer-Encoding: chunked",
            "X: a\rTransfer-Encoding: chunked",
            "Host: 127.0.0.1",
        ],
        ids=repr,
    )
    async def test_is_refused_and_ends_the_connection(self, proxy: Running, api: Upstream, head: str) -> None:
        connection = await proxy.connect()
        await connection.send(f"POST / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n".encode())
        await connection.send(b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answered = await connection.answer()
        assert (answered.status, bool(code(answered))) in ((400, True), (501, True))
        assert await connection.ended()
        assert not [seen for seen in api.seen if "smuggled" in seen.line]

    async def test_by_http_1_0_in_chunks_is_refused(self, proxy: Running, api: Upstream) -> None:
        answered = await proxy.ask(CHUNKED.replace(b"1.1", b"1.0") + chunk(b""))
        assert (answered.status, code(answered)) == (400, "transfer_coding")
        assert not api.seen

    async def test_in_broken_chunks_ends_the_connection(self, proxy: Running, api: Upstream) -> None:
        connection = await proxy.connect()
        await connection.send(CHUNKED + b"3 ;x\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 400 " in (await connection.reader.read()).split(b"\r\n", 1)[0]
        assert not [seen for seen in api.seen if "smuggled" in seen.line]


class TestABasePath:
    @pytest.mark.parametrize("path", NASTY_PATHS)
    def test_is_not_left(self, path: str) -> None:
        target = path.removeprefix("/proxy/billing")
        assert Origin.parse("https://api.partner.example/v2").is_left_by(f"{target}?a=b")
        assert not paths.is_plain(target)

    @pytest.mark.parametrize(("path", "target"), ODD_PATHS)
    def test_takes_what_stays_below(self, path: str, target: str) -> None:
        sent = path.removeprefix("/proxy/billing")
        origin = Origin.parse("https://api.partner.example/v2")
        assert not origin.is_left_by(f"{sent}?a=/../")
        assert origin.url(sent).raw_path == target
        assert paths.is_plain(sent)

    async def test_is_kept_to_over_the_wire(self, proxying: Proxying, api: Upstream, first: CertifiedKey) -> None:
        async with proxying(upstream=f"{api.url}/v2") as proxy:
            for target in ("/../a", "/x/%2e%2e/a", "/..;/a", "/..\\a", "/%252e%252e/a", "/%c0%ae%c0%ae/a"):
                answered = await proxy.ask(request(target=target))
                assert (answered.status, code(answered)) == (400, "request_target")
            assert not api.seen
            await proxy.ask(request("GET", "/a;b/...?c=/../", "X-Original-URL: /a", "X_Rewrite_Url: /b", "X-A: c"))
        assert [seen.line.split(" ")[1] for seen in api.seen] == ["/v2/a;b/...?c=/../"]
        assert {name.lower() for name, _ in api.seen[0].fields} == {"host", "via", "x-a"}

    async def test_where_there_is_none_every_path_goes_on(self, proxy: Running, api: Upstream) -> None:
        await proxy.ask(request("GET", "/a/../b", "X-Original-URL: /a"))

        assert [seen.line.split(" ")[1] for seen in api.seen] == ["/a/../b"]
        assert api.seen[0].values("x-original-url") == ["/a"]


class TestHost:
    LOOPBACK = ("localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.9.9.9:80", "[::1]:8080", "[::1]:")

    @pytest.mark.parametrize("host", LOOPBACK)
    def test_of_loopback_is_served_by_every_listener(self, host: str) -> None:
        for listen in ("127.0.0.1:80", "[::1]:80", "0.0.0.0:80", "10.0.0.1:80"):
            assert may_be_for(host, address.parse(listen), FurtherHosts())

    @pytest.mark.parametrize(
        "host",
        [
            "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example", "a.localhost",
            "", "0.0.0.0:8080", "[::]", "::1", "127.1", "2130706433", "0x7f000001", "localhost:8080:1", "a@localhost",
            "localhost/", "localhost, evil.example", "localhost evil.example", "[127.0.0.1", "10.0.0.2",
        ],
    )  # fmt: skip
    def test_of_anybody_else_is_served_by_none(self, host: str) -> None:
        for listen in ("127.0.0.1:80", "[::1]:80", "10.0.0.1:80"):
            assert not may_be_for(host, address.parse(listen), FurtherHosts())

    def test_is_served_by_the_listener_that_is_bound_to_it(self) -> None:
        for listen, host in (
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[fd00::1]:80", "[fd00:0::1]"),
            ("0.0.0.0:80", "10.9.9.9"),
        ):
            assert may_be_for(host, address.parse(listen), FurtherHosts())
        assert not may_be_for("sidecar", address.parse("0.0.0.0:80"), FurtherHosts())
        assert not may_be_for("[::]", address.parse("0.0.0.0:80"), FurtherHosts())

    def test_of_a_unix_socket_may_be_any(self) -> None:
        assert may_be_for("docker", address.parse("unix:/run/a.sock"), FurtherHosts())

    def test_that_is_allowed_is_served(self) -> None:
        listen = address.parse("127.0.0.1:80")
        for host in ("Sidecar:80", "sidecar.", "10.0.0.1", "[fd00::1]:80"):
            assert may_be_for(host, listen, hosts.parse("sidecar, 10.0.0.1,[FD00::1]"))
        assert not may_be_for("other", listen, hosts.parse("sidecar"))
        assert may_be_for("other", listen, hosts.parse("any"))

    async def test_of_a_page_in_a_browser_gets_nothing(
        self, proxying: Proxying, proxy: Running, api: Upstream, first: CertifiedKey
    ) -> None:
        rebound = b"GET / HTTP/1.1\r\nHost: evil.example:8080\r\n\r\n"
        answered = await proxy.ask(rebound)
        assert (answered.status, code(answered)) == (421, "host")
        answered = await proxy.ask(b"GET / HTTP/1.1\r\n\r\n")
        assert (answered.status, code(answered)) == (400, "malformed_request")
        assert not api.seen
        assert proxy.metric("mtls_proxy_failures_total", code="host") == 1
        async with proxying(allow_host="evil.example") as other:
            assert (await other.ask(rebound)).status == 200


class TestConnections:
    """What a client does before it has sent a request."""

    @pytest.mark.parametrize("part", [b"GET /", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n"])
    async def test_a_head_that_never_ends_is_told_and_counted_and_closed(
        self, proxying: Proxying, first: CertifiedKey, api: Upstream, part: bytes
    ) -> None:
        async with proxying(head_timeout=SHORT) as proxy:
            connection = await proxy.connect()
            if len(part) > 9:
                assert (await connection.ask(request())).status == 200  # the next on a connection, as well
            dribbling = asyncio.ensure_future(_dribble(connection, part))
            answered = await connection.answer()
            assert (answered.status, code(answered)) == (408, "request_head_timeout")
            assert answered.values("connection") == ["close"]
            assert await connection.ended()
            dribbling.cancel()
            assert proxy.metric("mtls_proxy_failures_total", code="request_head_timeout") == 1
            await until(lambda: not proxy.metric("mtls_proxy_connections"))

    async def test_a_head_that_never_ends_behind_a_request_is_one_too(
        self, proxying: Proxying, first: CertifiedKey, api: Upstream
    ) -> None:
        async with proxying(head_timeout=SHORT) as proxy:
            connection = await proxy.connect()
            await connection.send(request() + request()[:-4])
            assert (await connection.answer()).status == 200
            answered = await connection.answer()
            assert (answered.status, code(answered)) == (408, "request_head_timeout")
            assert await connection.ended()

    async def test_requests_that_are_pipelined_are_whole_heads(self, proxying: Proxying, first: CertifiedKey) -> None:
        async with proxying(head_timeout=SHORT) as proxy:
            connection = await proxy.connect()
            await connection.send(request() * 100)
            assert {(await connection.answer()).status for _ in range(100)} == {200}
            await asyncio.sleep(2 * SHORT)
            assert (await connection.ask(request())).status == 200

    async def test_a_process_may_open_as_many_as_the_settings_let_in(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        was = [(1024, 4096)]
        monkeypatch.setattr(resource, "getrlimit", lambda _: was[-1])
        monkeypatch.setattr(resource, "setrlimit", lambda _, limits: was.append(limits))
        for wanted, limits in ((100, (1024, 4096)), (1536, (1664, 4096)), (100_000, (4096, 4096))):
            connections.allow_open_files(wanted)
            assert was[-1] == limits
        assert "may open 4096 files" in caplog.text

    async def test_a_connection_that_is_idle_is_no_head(self, proxying: Proxying, first: CertifiedKey) -> None:
        async with proxying(head_timeout=0.05) as proxy:
            connection = await proxy.connect()
            await connection.send(b"\r\n")
            await asyncio.sleep(0.15)
            assert (await connection.ask(request())).status == 200
            await asyncio.sleep(0.15)
            assert (await connection.ask(request())).status == 200

    async def test_more_than_allowed_are_told_so(self, proxying: Proxying, first: CertifiedKey, api: Upstream) -> None:
        api.script = never
        async with proxying(max_connections=2) as proxy:
            for _ in range(2):
                await (await proxy.connect()).send(request())
            await until(lambda: len(api.seen) == 2)
            connection = await proxy.connect()
            answered = await connection.ask(request("POST", body=bytes(1000)))
            assert (answered.status, code(answered)) == (503, "too_many_connections")
            assert answered.values("retry-after") == ["1"]
            assert await connection.ended()
            assert proxy.metric("mtls_proxy_failures_total", code="too_many_connections") == 1
            for opened in proxy.opened:
                opened.close()
            await until(lambda: not proxy.metric("mtls_proxy_connections"))
            api.script = always(answer())
            assert (await proxy.ask(request())).status == 200

    async def test_those_that_are_idle_make_room(self, proxying: Proxying, first: CertifiedKey) -> None:
        async with proxying(max_connections=2) as proxy:
            oldest, newer = await proxy.connect(), await proxy.connect()
            assert (await oldest.ask(request())).status == 200
            assert (await newer.ask(request())).status == 200
            assert (await proxy.ask(request())).status == 200
            assert await oldest.ended()
            assert (await newer.ask(request())).status == 200

    async def test_the_listener_for_health_holds_none_for_ever_either(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(admin, "_HEAD_TIMEOUT", SHORT)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        async with admin.listening(address.TcpAddress("127.0.0.1", port), CollectorRegistry(), lambda: None):
            connection = Connection(*await asyncio.open_connection("127.0.0.1", port))
            await connection.send(b"GET /healthz")
            assert (await connection.answer()).status == 408
            assert await connection.ended()
            connection.close()

    async def test_of_clients_that_take_no_refusals_hold_nothing_up(
        self, proxying: Proxying, first: CertifiedKey, shallow: None
    ) -> None:
        refused = b"GET / HTTP/1.1\r\nHost: page.example\r\n\r\n" * 200
        async with proxying(idle_timeout=SHORT, max_requests=2) as proxy, AsyncExitStack() as deaf:
            assert isinstance(proxy.listener.address, address.TcpAddress)
            for _ in range(2):
                await deaf.enter_async_context(_deaf(proxy.listener.address, refused))
            await until(lambda: proxy.metric("mtls_proxy_requests_in_flight") == 2)
            await until(lambda: proxy.metric("mtls_proxy_failures_total", code="client_too_slow") == 2)
            await until(lambda: not proxy.metric("mtls_proxy_connections"))
            assert (await proxy.ask(request())).status == 200

    async def test_of_clients_that_took_nothing_of_a_last_answer_end(
        self, proxying: Proxying, first: CertifiedKey, api: Upstream, shallow: None
    ) -> None:
        api.script = always(answer(bytes(48 << 10)))
        async with proxying(idle_timeout=SHORT) as proxy:
            assert isinstance(proxy.listener.address, address.TcpAddress)
            last = request("GET", "/", "Connection: close")
            async with _deaf(proxy.listener.address, last, once=True):
                await until(lambda: proxy.metric("mtls_proxy_connections"))
                await until(lambda: not proxy.metric("mtls_proxy_connections"))

    async def test_at_whose_heads_nothing_goes_on_make_room(self, proxying: Proxying, first: CertifiedKey) -> None:
        async with proxying(max_connections=2) as proxy:
            begun = [await proxy.connect() for _ in range(2)]
            for it in begun:
                await it.send(b"GET / HT")
            await until(lambda: proxy.metric("mtls_proxy_connections") == 2)
            assert (await proxy.ask(request())).status == 200
            assert await begun[0].ended()

    @pytest.mark.parametrize(
        ("sent", "once"),
        [
            (b"GET /hea", True),
            (b"POST /healthz HTTP/1.1\r\nHost: pod\r\nContent-Length: 9\r\n\r\n", True),
            (b"GET /metrics HTTP/1.1\r\nHost: pod\r\n\r\n" * 200, False),
        ],
        ids=["heads", "bodies", "answers"],
    )
    async def test_for_health_that_are_held_keep_nobody_out(
        self, monkeypatch: pytest.MonkeyPatch, shallow: None, sent: bytes, once: bool
    ) -> None:
        monkeypatch.setattr(admin, "_MOST_CONNECTIONS", 2)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            at = address.TcpAddress("127.0.0.1", probe.getsockname()[1])
        async with admin.listening(at, CollectorRegistry(), lambda: None), AsyncExitStack() as deaf:
            for _ in range(2):
                await deaf.enter_async_context(_deaf(at, sent, once=once))
            await asyncio.sleep(SHORT)  # in which all of it has come to where it is held
            kubelet = Connection(*await asyncio.open_connection(at.host, at.port))
            assert (await kubelet.ask(b"GET /healthz HTTP/1.1\r\nHost: pod\r\n\r\n")).status == 200
            kubelet.close()


@asynccontextmanager
async def _deaf(at: address.TcpAddress, sent: bytes, *, once: bool = False) -> AsyncIterator[None]:
    """A client that sends the same for ever, or once, and reads nothing."""
    loop = asyncio.get_running_loop()
    with socket.socket() as opened:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.setblocking(False)
        await loop.sock_connect(opened, (at.host, at.port))

        async def send() -> None:
            with suppress(OSError):
                await loop.sock_sendall(opened, sent)
                while not once:
                    await loop.sock_sendall(opened, sent)

        sending = asyncio.ensure_future(send())
        try:
            yield
        finally:
            sending.cancel()
            await asyncio.wait({sending})


async def _dribble(connection: Connection, part: bytes) -> None:
    while True:
        await connection.send(part)
        part = b"X"
        await asyncio.sleep(0.02)


class TestWhatIsNotForwarded:
    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"GET http://elsewhere/ HTTP/1.1\r\nHost: elsewhere\r\n\r\n", 400),
            (b"GET /#fragment HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Text: caf\xe9\r\n\r\n", 400),
            (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501),
            (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
            (b"CONNECT elsewhere:443 HTTP/1.1\r\nHost: elsewhere\r\n\r\n", 404),
            (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nExpect: a-miracle\r\n\r\n", 417),
        ],
        ids=repr,
    )
    async def test_is_refused(self, proxy: Running, api: Upstream, sent: bytes, status: int) -> None:
        answered = await proxy.ask(sent)
        assert answered.status == status
        assert proxy.metric("mtls_proxy_failures_total", code=code(answered)) == 1
        assert not api.seen

    async def test_a_head_that_is_too_large(self, proxying: Proxying, first: CertifiedKey, api: Upstream) -> None:
        async with proxying(max_header_size=1000, max_header_count=10) as proxy:
            for fields in (["X: " + "x" * 2000], ["X: 1"] * 20):
                answered = await proxy.ask(request("GET", "/", *fields))
                assert (answered.status, code(answered)) == (400, "malformed_request")
            assert proxy.metric("mtls_proxy_failures_total", code="malformed_request") == 2
        assert not api.seen


class TestLimits:
    async def test_a_body_that_says_it_is_too_long(
        self, proxying: Proxying, first: CertifiedKey, api: Upstream
    ) -> None:
        async with proxying(max_body="1KiB") as proxy:
            assert (await proxy.ask(request("POST", "/", body=bytes(1024)))).status == 200
            answered = await proxy.ask(request("POST", "/", body=bytes(1025)))
            assert (answered.status, code(answered)) == (413, "request_body_too_large")
        assert len(api.seen) == 1

    async def test_a_body_that_says_it_is_too_long_is_not_invited(
        self, proxying: Proxying, first: CertifiedKey, api: Upstream
    ) -> None:
        async with proxying(max_body="1KiB") as proxy:
            head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\nExpect: 100-continue\r\n\r\n"
            assert (await proxy.ask(head)).status == 413

    async def test_a_body_in_chunks_that_turns_out_too_long(
        self, proxying: Proxying, first: CertifiedKey, api: Upstream
    ) -> None:
        async with proxying(max_body="1KiB") as proxy:
            answered = await proxy.ask(CHUNKED + chunk(bytes(1000)) + chunk(bytes(100)) + chunk(b""))
            assert (answered.status, code(answered)) == (413, "request_body_too_large")
            assert proxy.metric("mtls_proxy_failures_total", code="request_body_too_large") == 1

    async def test_more_requests_at_once_than_allowed(
        self, proxying: Proxying, first: CertifiedKey, api: Upstream
    ) -> None:
        api.script = never
        async with proxying(max_requests=2) as proxy:
            for _ in range(2):
                await (await proxy.connect()).send(request())
            await until(lambda: len(api.seen) == 2)
            answered = await proxy.ask(request())
            assert (answered.status, code(answered)) == (503, "too_many_requests_under_way")
            assert answered.values("retry-after") == ["1"]
            for connection in proxy.opened:
                connection.close()
            await api.await_closed()
            api.script = always(answer())
            assert (await proxy.ask(request())).status == 200


class TestTimeouts:
    async def test_connecting(self, proxying: Proxying, first: CertifiedKey) -> None:
        async with _mute() as url, proxying(upstream=url, connect_timeout=SHORT) as proxy:
            answered = await proxy.ask(request())
        assert (answered.status, code(answered)) == (504, "connection_timeout")
        assert answered.values("proxy-status") == ["mtls-sidecar; error=connection_timeout"]

    @pytest.mark.parametrize("limit", ["idle_timeout", "total_timeout"])
    async def test_an_answer_that_does_not_come(
        self, proxying: Proxying, first: CertifiedKey, api: Upstream, limit: str
    ) -> None:
        api.script = never
        async with proxying(**{limit: SHORT}) as proxy:
            answered = await proxy.ask(request())
            assert (answered.status, code(answered)) == (504, "http_response_timeout")
            await api.await_closed()

    async def test_an_answer_that_stops_is_cut_off(
        self, proxying: Proxying, first: CertifiedKey, api: Upstream
    ) -> None:
        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
            await reader.read(1)

        api.script = script
        async with proxying(idle_timeout=SHORT) as proxy:
            connection = await proxy.connect()
            await connection.send(request())
            await connection.head()
            assert await connection.reader.read() == chunk(b"first")

    async def test_a_request_that_stops(self, proxying: Proxying, first: CertifiedKey, api: Upstream) -> None:
        async with proxying(idle_timeout=SHORT) as proxy:
            answered = await proxy.ask(CHUNKED + chunk(b"first"))
            assert (answered.status, code(answered)) == (408, "request_timeout")
            await api.await_closed()

    async def test_an_upstream_that_does_not_read(self, proxying: Proxying, first: CertifiedKey, api: Upstream) -> None:
        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(60)

        api.script = script
        async with proxying(idle_timeout=SHORT) as proxy:
            connection = await proxy.connect()
            sending = asyncio.ensure_future(connection.send(request("POST", "/", body=bytes(64 << 20))))
            answered = await connection.answer()
            assert (answered.status, code(answered)) == (504, "connection_write_timeout")
            sending.cancel()

    async def test_a_client_that_does_not_read_is_cut_off(
        self, proxying: Proxying, first: CertifiedKey, api: Upstream
    ) -> None:
        api.script = always(answer(bytes(64 << 20)))
        async with proxying(idle_timeout=SHORT) as proxy:
            connection = await proxy.connect()
            await connection.send(request())
            await until(lambda: bool(proxy.metric("mtls_proxy_failures_total", code="client_too_slow")))
            await api.await_closed()


class TestTheUpstreamFails:
    async def test_nobody_listens(self, proxying: Proxying, first: CertifiedKey) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"https://127.0.0.1:{closed.getsockname()[1]}"
        async with proxying(upstream=url) as proxy:
            answered = await proxy.ask(request())
        assert (answered.status, code(answered)) == (502, "connection_refused")
        assert answered.values("proxy-status") == ["mtls-sidecar; error=connection_refused"]

    async def test_it_has_no_address(self, proxying: Proxying, first: CertifiedKey) -> None:
        async with proxying(upstream="https://nowhere.invalid") as proxy:
            answered = await proxy.ask(request())
        assert (answered.status, code(answered)) == (502, "dns_error")

    async def test_it_is_somebody_else(
        self, proxying: Proxying, first: CertifiedKey, other_ca: CertifiedKey, ca: CertifiedKey
    ) -> None:
        async with (
            upstream(builders.server_certificate(other_ca), ca.certificate) as impostor,
            proxying(upstream=impostor.url) as proxy,
        ):
            answered = await proxy.ask(request())
            assert (answered.status, code(answered)) == (502, "tls_certificate_error")
            assert not impostor.seen

    @pytest.mark.parametrize("data", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nbroken\r\n\r\n"], ids=repr)
    async def test_it_does_not_answer_in_http(self, proxy: Running, api: Upstream, data: bytes) -> None:
        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(data)
            raise ConnectionAbortedError

        api.script = script
        answered = await proxy.ask(request("POST", "/"))
        assert answered.status == 502
        assert code(answered) in ("connection_terminated", "http_protocol_error")
        assert len(api.seen) == 1  # what may have been processed is not made again

    @pytest.mark.parametrize(
        "data",
        [
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: caf\xe9\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ],
        ids=repr,
    )
    async def test_its_answer_cannot_be_passed_on(self, proxy: Running, api: Upstream, data: bytes) -> None:
        api.script = always(data)
        answered = await proxy.ask(request())
        assert (answered.status, code(answered)) == (502, "http_protocol_error")

    @pytest.mark.parametrize("framing", ["Content-Length: 11", "Transfer-Encoding: chunked"])
    async def test_amid_an_answer_which_is_cut_off(self, proxy: Running, api: Upstream, framing: str) -> None:
        part = chunk(b"first") if "chunked" in framing else b"first"

        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode() + part)
            raise ConnectionAbortedError

        api.script = script
        connection = await proxy.connect()
        await connection.send(request())
        await connection.head()
        assert await connection.reader.read() == part  # neither a last chunk nor all of the length
        await until(lambda: bool(proxy.metric("mtls_proxy_failures_total", code="http_response_incomplete")))

    async def test_amid_an_answer_whose_end_is_the_connections(self, proxy: Running, api: Upstream) -> None:
        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
            raise ConnectionAbortedError

        api.script = script
        connection = await proxy.connect()
        await connection.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await connection.reader.read()


class TestTheClientGoesAway:
    async def test_before_the_answer(self, proxy: Running, api: Upstream) -> None:
        api.script = never
        connection = await proxy.connect()
        await connection.send(request())
        await until(lambda: len(api.seen) == 1)
        connection.close()
        await api.await_closed()
        await until(
            lambda: (
                proxy.metric("mtls_proxy_requests_total", method="GET", status_class="aborted") == 1
                and not proxy.metric("mtls_proxy_requests_in_flight")
            )
        )

    async def test_amid_its_request(self, proxy: Running, api: Upstream) -> None:
        connection = await proxy.connect()
        await connection.send(CHUNKED + chunk(b"first"))
        await until(lambda: len(api.seen) == 1)
        connection.close()
        await api.await_closed()

    async def test_amid_the_answer(self, proxy: Running, api: Upstream) -> None:
        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
            await reader.read(1)

        api.script = script
        connection = await proxy.connect()
        await connection.send(request())
        await connection.head()
        connection.close()
        await api.await_closed()


class TestTheCertificate:
    async def test_there_is_none_yet(self, proxying: Proxying, first: CertifiedKey) -> None:
        async with proxying() as proxy:
            await proxy.sessions.close()
            answered = await proxy.ask(request())
        assert (answered.status, code(answered)) == (503, "no_valid_certificate")
        assert answered.values("retry-after") == ["5"]

    async def test_it_has_expired(self, proxying: Proxying, first: CertifiedKey, clock: Clock) -> None:
        async with proxying() as proxy:
            clock.ahead = timedelta(days=365)
            answered = await proxy.ask(request())
        assert (answered.status, code(answered)) == (503, "no_valid_certificate")

    @pytest.mark.parametrize("tls", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize("size", [0, 1000, 60_000])
    async def test_one_that_is_refused_is_replaced_within_the_request(
        self,
        proxying: Proxying,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
        other_ca: CertifiedKey,
        tmp_path: Path,
        tls: ssl.TLSVersion,
        size: int,
    ) -> None:
        second, body = builders.leaf(other_ca), bytes(size)
        with partner_api(builders.server_certificate(ca), tmp_path) as strict:
            strict.tls = tls
            strict.trust(other_ca.certificate)
            async with proxying(upstream=strict.url) as proxy:
                secrets.rotate(value_of(second))
                answered = await proxy.ask(request("POST", "/", body=body))
        assert (answered.status, answered.body) == (200, body)
        assert [it.serial_number for it in strict.received] == [serial_of(second)]

    async def test_one_that_is_refused_before_a_long_body_is_used_from_the_next_request_on(
        self,
        proxying: Proxying,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
        other_ca: CertifiedKey,
        tmp_path: Path,
    ) -> None:
        with partner_api(builders.server_certificate(ca), tmp_path) as strict:
            strict.trust(other_ca.certificate)
            verdict = strict.hold_the_verdict()
            async with proxying(upstream=strict.url) as proxy:
                secrets.rotate(value_of(builders.leaf(other_ca)))
                connection = await proxy.connect()
                await connection.send(CHUNKED + chunk(bytes(KEPT)) + chunk(bytes(1000)))
                await until(lambda: bool(proxy.metric("mtls_proxy_requests_in_flight")))
                verdict.set()
                await connection.send(chunk(bytes(1000)) + chunk(b""))
                answered = await connection.answer()
                # The alert, unless a write to the connection that the server has closed was quicker to fail.
                assert (answered.status, code(answered) in ("tls_alert_received", "connection_terminated")) == (
                    502,
                    True,
                )
                assert (await proxy.ask(request("POST", "/", body=b"next"))).body == b"next"

    async def test_one_that_is_refused_while_there_is_no_newer_one_is_told(
        self, proxying: Proxying, first: CertifiedKey, ca: CertifiedKey, other_ca: CertifiedKey, tmp_path: Path
    ) -> None:
        with partner_api(builders.server_certificate(ca), tmp_path) as strict:
            strict.trust(other_ca.certificate)
            async with proxying(upstream=strict.url) as proxy:
                answered = await proxy.ask(request("POST", "/", body=bytes(1000)))
        assert (answered.status, code(answered)) == (502, "tls_alert_received")
        assert "UNKNOWN_CA" in json.loads(answered.body)["detail"]

    @pytest.mark.parametrize("denial", [BY_API_GATEWAY, BY_THE_AUTHORIZER], ids=["API Gateway", "the authorizer"])
    async def test_one_that_is_denied_is_replaced_within_the_request_if_it_may_be_repeated(
        self,
        proxying: Proxying,
        secrets: SecretsManager,
        first: CertifiedKey,
        ca: CertifiedKey,
        tmp_path: Path,
        denial: Denial,
    ) -> None:
        second, body = builders.leaf(ca), bytes(1000)
        with partner_api(builders.server_certificate(ca), tmp_path) as gateway:
            gateway.trust(ca.certificate)
            async with proxying(upstream=gateway.url) as proxy:
                assert (await proxy.ask(request("GET", "/"))).status == 200
                secrets.rotate(value_of(second))
                gateway.deny(denial, second)
                answered = await proxy.ask(CHUNKED.replace(b"POST", b"PUT") + chunk(body) + chunk(b""))
                assert (answered.status, answered.body) == (200, body)
                gateway.deny(denial)
                denied = await proxy.ask(request("POST", "/", body=body))
        assert (denied.status, denied.body) == (403, denial.body)
        assert denied.values("content-type") == [dict(denial.fields)["Content-Type"]]
        assert [(it.serial_number, it.method) for it in gateway.received] == [
            (serial_of(first), "GET"),
            (serial_of(first), "PUT"),
            (serial_of(second), "PUT"),
            (serial_of(second), "POST"),
        ]
        assert [it.body for it in gateway.received[1:]] == [body] * 3

    async def test_one_that_is_denied_while_the_body_is_under_way_is_replaced_and_the_body_goes_on(
        self, proxy: Running, api: Upstream, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey
    ) -> None:
        second = builders.leaf(ca)
        secrets.rotate(value_of(second))

        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if head.serial_number == serial_of(second):
                await echo(head, reader, writer)
            else:
                writer.write(answer(b"no", "x-amzn-ErrorType: ForbiddenException", status="403 Forbidden"))

        api.script = script
        connection = await proxy.connect()
        await connection.send(CHUNKED.replace(b"POST", b"PUT") + chunk(b"first "))
        await until(lambda: len(api.seen) == 2)
        await connection.send(chunk(b"second") + chunk(b""))
        answered = await connection.answer()
        assert (answered.status, answered.body) == (200, b"first second")
        assert api.serials == [serial_of(first), serial_of(second)]

    async def test_one_that_is_denied_while_more_of_a_body_comes_than_is_kept_is_told_the_answer(
        self,
        proxy: Running,
        api: Upstream,
        secrets: SecretsManager,
        ca: CertifiedKey,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        secrets.rotate(value_of(builders.leaf(ca)))
        looking, came, describe = threading.Event(), threading.Event(), secrets.describe_secret

        def look(**asked: Any) -> dict[str, Any]:
            looking.set()
            came.wait(10)
            return describe(**asked)

        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(5)
            said = answer(b"no", "x-amzn-ErrorType: ForbiddenException", status="403 Forbidden")
            writer.write(said[:-1])  # as long as it is under way, so is the request
            await reader.readexactly(KEPT)
            writer.write(said[-1:])
            came.set()
            await reader.read()

        monkeypatch.setattr(secrets, "describe_secret", look)
        api.script = script
        connection = await proxy.connect()
        await connection.send(CHUNKED.replace(b"POST", b"PUT") + chunk(b"first"))
        await until(looking.is_set)
        await connection.send(chunk(bytes(KEPT)))
        answered = await connection.answer()
        assert (answered.status, answered.body) == (403, b"no")

    async def test_one_that_is_denied_after_a_long_body_is_used_from_the_next_request_on(
        self, proxying: Proxying, secrets: SecretsManager, first: CertifiedKey, ca: CertifiedKey, tmp_path: Path
    ) -> None:
        second, body = builders.leaf(ca), bytes(KEPT + 1)
        with partner_api(builders.server_certificate(ca), tmp_path) as gateway:
            gateway.trust(ca.certificate)
            gateway.deny(BY_API_GATEWAY, second)
            async with proxying(upstream=gateway.url) as proxy:
                secrets.rotate(value_of(second))
                assert (await proxy.ask(request("PUT", "/", body=body))).body == BY_API_GATEWAY.body
                assert (await proxy.ask(request("PUT", "/", body=body))).body == body
        assert [it.serial_number for it in gateway.received] == [serial_of(first), serial_of(second)]


def test_any_403_of_an_upstream_is_a_reason_to_look_for_a_newer_certificate() -> None:
    settings = ProxySettings.model_validate({"secret": SECRET, "upstream": "https://api.partner.example"})
    answered = Answered("https://api.partner.example", "GET", {}, 403, {}, "1")
    assert certificate_for(settings)._retrying.may_be_refusal(answered)


@asynccontextmanager
async def _mute() -> AsyncIterator[str]:
    """A server that takes connections, and never says a word."""
    stop = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stop.wait()
        writer.close()

    server = await asyncio.start_server(wait, "127.0.0.1", 0)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        stop.set()
