"""What reaches the upstream, and what comes back: to the byte, over real sockets and TLS."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from mtls_client import ClientCertificate
from mtls_rotation.pki.certificates import CertifiedKey, to_pem
from mtls_sidecar import admin
from mtls_sidecar.address import TcpAddress
from mtls_sidecar.upstream import Upstream as Origin
from tests.kit import builders
from tests.kit.post_handshake import post_handshake_server
from tests.unit.client.secrets_manager import SecretsManager, value_of
from tests.unit.sidecar.conftest import Proxying, Running, chunk, request, serial_of
from tests.unit.sidecar.upstream import Head, Upstream, always, answer, read_body, read_chunk, upstream

pytestmark = pytest.mark.anyio

# What the proxy itself needs to say: whom to, and that it was there.
OWN = {"host", "via"}


class TestRequests:
    async def test_are_made_with_the_certificate(self, proxy: Running, api: Upstream, first: CertifiedKey) -> None:
        answered = await proxy.ask(request("POST", "/orders", body=b"one"))
        assert (answered.status, answered.body) == (200, b"one")
        assert api.serials == [serial_of(first)]

    async def test_have_the_certificate_where_the_upstream_asks_for_it_when_it_has_read_them(
        self, proxying: Proxying, ca: CertifiedKey, first: CertifiedKey
    ) -> None:
        with post_handshake_server(builders.server_certificate(ca), ca.certificate) as server:
            async with proxying(upstream=server.url) as proxy:
                assert (await proxy.ask(request("GET", "/"))).status == 200
            assert server.received == [serial_of(first)]

    @pytest.mark.parametrize(
        "target",
        [
            "/",
            "/a?",
            "//a//b",
            "/a/../b/./c",
            "/a%2Fb%2f%20",
            "/a;b=c",
            "/?x=1&x=%201&y=a+b",
            "/?a?b=/c",
            "/a%zz",
            "/{}|^",
        ],
    )
    async def test_keep_path_and_query_to_the_byte(self, proxy: Running, api: Upstream, target: str) -> None:
        await proxy.ask(request("GET", target))
        assert [head.line for head in api.seen] == [f"GET {target} HTTP/1.1"]

    @pytest.mark.parametrize("origin", ["https://[::1]:8443", "https://[2001:db8::1]", "https://192.0.2.1:8443"])
    async def test_go_to_an_address_as_it_is_written(self, origin: str) -> None:
        assert str(Origin.parse(f"{origin}/v2/").url("/a?b")) == f"{origin}/v2/a?b"

    async def test_come_by_ipv6_and_go_by_ipv6(self, proxying: Proxying, first: CertifiedKey, ca: CertifiedKey) -> None:
        async with (
            upstream(builders.server_certificate(ca), ca.certificate, host="::1") as server,
            proxying(upstream=server.url, listen="[::1]:0") as proxy,
        ):
            address = str(proxy.listener.address)
            sent = request("POST", "/orders", body=b"one").replace(b"Host: localhost", f"Host: {address}".encode())
            assert (await proxy.ask(sent)).body == b"one"
        assert [head.values("host") for head in server.seen] == [[server.url.removeprefix("https://")]]

    async def test_for_health_come_by_ipv6_too(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", logger="mtls_sidecar")
        async with admin.listening(TcpAddress("::1", 0), CollectorRegistry(), lambda: None):
            (address,) = (it.split(" on ")[1].rstrip(".") for it in caplog.messages if " on [::1]:" in it)
            async with aiohttp.ClientSession() as session, session.get(f"http://{address}/readyz") as answered:
                assert answered.status == 200

    async def test_go_below_the_upstreams_own_path(
        self, proxying: Proxying, api: Upstream, first: CertifiedKey
    ) -> None:
        async with proxying(upstream=f"{api.url}/v2%2F/") as proxy:
            await proxy.ask(request("GET", "/orders?x"))
        assert [head.line for head in api.seen] == ["GET /v2%2F/orders?x HTTP/1.1"]

    async def test_keep_fields_and_get_none_but_via(self, proxy: Running, api: Upstream) -> None:
        sent = ["X-One: 1", "Cookie: a=b", "x-one: 2", "X-ONE: 3", "Accept-Encoding: br", "X-Text: é"]
        await proxy.ask(request("GET", "/", *sent))
        (head,) = api.seen
        assert head.values("x-one") == ["1", "2", "3"]
        assert head.values("x-text") == ["é".encode().decode("latin-1")]
        assert {name.lower() for name, _ in head.fields} == OWN | {"x-one", "cookie", "accept-encoding", "x-text"}
        assert head.values("host") == [api.url.removeprefix("https://")]
        assert head.values("via") == ["1.1 mtls-sidecar"]

    async def test_lose_the_fields_of_their_connection(self, proxy: Running, api: Upstream) -> None:
        await proxy.ask(
            request(
                "GET",
                "/",
                "Connection: keep-alive, X-Mine",
                "Connection: x-too",
                "X-Mine: 1",
                "X-Too: 1",
                "Keep-Alive: timeout=5",
                "Proxy-Authorization: Basic eA==",
                "Proxy-Connection: keep-alive",
                "TE: trailers",
                "Keep_Alive: timeout=5",
                "Transfer_Encoding: chunked",
                "Transfer.Encoding: chunked",
                "Content_Length: 3",
                "Content+Length: 3",
                "Proxy_authorization: Basic eA==",
                "X_Mine: 1",
                "X.Mine: 1",
                "Via: 1.0 before",
            )
        )
        (head,) = api.seen
        assert {name.lower() for name, _ in head.fields} == OWN
        assert head.values("via") == ["1.0 before", "1.1 mtls-sidecar"]

    async def test_that_offer_an_upgrade_are_made_without_it(self, proxy: Running, api: Upstream) -> None:
        upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")
        connection = await proxy.connect()
        for body in (b"one", b"two"):
            assert (await connection.ask(request("POST", "/", *upgrade, body=body))).body == body
        assert [{name.lower() for name, _ in head.fields} for head in api.seen] == [OWN | {"content-length"}] * 2

    @pytest.mark.parametrize("framing", ["length", "chunks"])
    async def test_keep_an_encoded_body(self, proxy: Running, api: Upstream, framing: str) -> None:
        body = gzip.compress(b"text" * 1000)
        if framing == "length":
            sent = request("POST", "/", "Content-Encoding: gzip", body=body)
        else:
            sent = request("PUT", "/", "Content-Encoding: gzip", "Transfer-Encoding: chunked").replace(
                b"Content-Length: 0\r\n", b""
            )
            sent += chunk(body[:7]) + chunk(body[7:]) + chunk(b"")
        assert (await proxy.ask(sent)).body == body
        assert api.seen[0].body == body
        assert api.seen[0].values("content-length") == ([str(len(body))] if framing == "length" else [])

    async def test_share_a_connection_on_either_side(self, proxy: Running, api: Upstream) -> None:
        connection = await proxy.connect()
        for path in ("/one", "/two", "/three"):
            assert (await connection.ask(request("GET", path))).status == 200
            assert api.connections == 1

    async def test_that_are_pipelined_are_answered_in_turn(self, proxy: Running) -> None:
        connection = await proxy.connect()
        await connection.send(request("POST", "/", body=b"one") + request("POST", "/", body=b"two"))
        assert [(await connection.answer()).body for _ in range(2)] == [b"one", b"two"]

    async def test_wait_for_100_until_the_upstream_is_there(self, proxy: Running, api: Upstream) -> None:
        connection = await proxy.connect()
        await connection.send(
            request("POST", "/", "Expect: 100-continue", "Content-Length: 3").replace(b"Content-Length: 0\r\n", b"")
        )
        assert (await connection.answer()).status == 100
        assert (await connection.ask(b"one")).body == b"one"
        assert api.seen[0].values("expect") == []

    async def test_count_their_hops(self, proxy: Running, api: Upstream) -> None:
        assert (await proxy.ask(request("OPTIONS", "/", "Max-Forwards: 0"))).status == 204
        assert not api.seen
        await proxy.ask(request("OPTIONS", "/", "Max-Forwards: 2"))
        assert api.seen[0].values("max-forwards") == ["1"]

    async def test_by_http_1_0_are_answered(self, proxy: Running, api: Upstream) -> None:
        connection = await proxy.connect()
        await connection.send(b"POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\none")
        assert (await connection.answer()).body == b"one"
        assert await connection.ended()
        assert api.seen[0].values("via") == ["1.0 mtls-sidecar"]


class TestAnswers:
    async def test_keep_their_fields_and_get_none_but_via_and_date(self, proxy: Running, api: Upstream) -> None:
        api.script = always(
            answer(b"{}", "Set-Cookie: a=1", "set-cookie: b=2", "Connection: X-Mine", "X-Mine: 1", status="203 Fine")
        )
        answered = await proxy.ask(request())
        assert (answered.status, answered.body) == (203, b"{}")
        assert answered.values("set-cookie") == ["a=1", "b=2"]
        assert answered.values("via") == ["1.1 mtls-sidecar"]
        assert {name.lower() for name, _ in answered.fields} == {"content-length", "set-cookie", "via", "date"}

    async def test_leave_no_cookies_behind(self, proxy: Running) -> None:
        # aiohttp's own jar would take none from an IP address, so the upstream of these tests cannot tell.
        async with proxy.sessions.entered() as session:
            assert isinstance(session.cookie_jar, aiohttp.DummyCookieJar)

    async def test_are_not_followed_elsewhere(self, proxy: Running, api: Upstream) -> None:
        api.script = always(answer(b"", "Location: /elsewhere", status="302 Found"))
        answered = await proxy.ask(request())
        assert (answered.status, answered.values("location")) == (302, ["/elsewhere"])
        assert len(api.seen) == 1

    async def test_keep_an_encoded_body(self, proxy: Running, api: Upstream) -> None:
        body = gzip.compress(b"text" * 1000)

        api.script = always(answer(body, "Content-Encoding: gzip"))
        assert (await proxy.ask(request())).body == body

    @pytest.mark.parametrize("length", [0, 5])
    async def test_of_204_have_no_length_whatever_the_upstream_says(
        self, proxy: Running, api: Upstream, length: int
    ) -> None:
        api.script = always(f"HTTP/1.1 204 No Content\r\nContent-Length: {length}\r\n\r\n".encode())
        connection = await proxy.connect()
        for _ in range(2):
            await connection.send(request())
            answered = await connection.head()
            assert (answered.status, answered.values("content-length")) == (204, [])

    @pytest.mark.parametrize(
        ("method", "status"),
        [
            ("HEAD", "200 OK"),
            ("HEAD", "204 No Content"),
            ("HEAD", "304 Same"),
            ("GET", "204 No Content"),
            ("GET", "304 Same"),
        ],
    )
    async def test_without_a_body_have_none(self, proxy: Running, api: Upstream, method: str, status: str) -> None:
        length = "" if status.startswith("204") else "Content-Length: 5\r\n"

        api.script = always(f"HTTP/1.1 {status}\r\n{length}ETag: x\r\n\r\n".encode())
        connection = await proxy.connect()
        for _ in range(2):
            await connection.send(request(method))
            answered = await connection.head()
            assert answered.status == int(status[:3])
            assert answered.values("content-length") == ([] if status.startswith("204") else ["5"])

    async def test_in_chunks_beside_a_length_end_where_the_chunks_do(self, proxy: Running, api: Upstream) -> None:
        api.script = always(
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first") + chunk(b"")
        )
        answered = await proxy.ask(request())
        if answered.status == 200:
            assert answered.body == b"first"
            assert answered.values("content-length") == []
        else:
            assert answered.status == 502

    async def test_of_unknown_length_end_with_the_connection_for_http_1_0(self, proxy: Running, api: Upstream) -> None:
        api.script = always(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first") + chunk(b""))
        connection = await proxy.connect()
        await connection.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await connection.head()).values("transfer-encoding") == []
        assert await connection.reader.read() == b"first"


class TestStreaming:
    async def test_a_request_reaches_the_upstream_as_it_comes(self, proxy: Running, api: Upstream) -> None:
        arrived: asyncio.Queue[bytes] = asyncio.Queue()

        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while part := await read_chunk(reader):
                arrived.put_nowait(part)
            writer.write(answer())

        api.script = script
        connection = await proxy.connect()
        await connection.send(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first")
        )
        assert await arrived.get() == b"first"
        await connection.send(chunk(b"second"))
        assert await arrived.get() == b"second"
        assert (await connection.ask(chunk(b""))).status == 200

    async def test_an_answer_reaches_the_client_as_it_comes(self, proxy: Running, api: Upstream) -> None:
        go_on = asyncio.Event()

        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
            await go_on.wait()
            writer.write(chunk(b"second") + chunk(b""))

        api.script = script
        connection = await proxy.connect()
        await connection.send(request())
        await connection.head()
        assert await read_chunk(connection.reader) == b"first"
        go_on.set()
        assert [await read_chunk(connection.reader) for _ in range(2)] == [b"second", b""]

    async def test_both_ways_at_once(self, proxy: Running, api: Upstream) -> None:
        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while part := await read_chunk(reader):
                writer.write(chunk(part.upper()))
            writer.write(chunk(b""))

        api.script = script
        connection = await proxy.connect()
        await connection.send(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first")
        )
        await connection.head()
        assert await read_chunk(connection.reader) == b"FIRST"
        await connection.send(chunk(b"second"))
        assert await read_chunk(connection.reader) == b"SECOND"
        await connection.send(chunk(b""))
        assert await read_chunk(connection.reader) == b""

    async def test_a_client_that_does_not_read_holds_the_upstream_up(self, proxy: Running, api: Upstream) -> None:
        size, part = 64 << 20, bytes(1 << 16)
        written = 0

        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal written
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
            while written < size:
                writer.write(part)
                await writer.drain()
                written += len(part)

        api.script = script
        connection = await proxy.connect()
        await connection.send(request())
        await connection.head()
        assert await _stops_growing(lambda: written) < size // 2
        assert len(await connection.reader.readexactly(size)) == size

    async def test_an_upstream_that_does_not_read_holds_the_client_up(self, proxy: Running, api: Upstream) -> None:
        size, part = 64 << 20, bytes(1 << 16)
        read_on = asyncio.Event()

        async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_on.wait()
            writer.write(answer(str(len(await read_body(head.fields, reader))).encode()))

        api.script = script
        written = 0
        connection = await proxy.connect()

        async def upload() -> None:
            nonlocal written
            await connection.send(f"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode())
            while written < size:
                await connection.send(part)
                written += len(part)

        uploading = asyncio.ensure_future(upload())
        assert await _stops_growing(lambda: written) < size // 2
        read_on.set()
        await uploading
        assert (await connection.answer()).body == str(size).encode()


class TestRotation:
    async def test_the_next_request_is_made_with_the_newest_certificate(
        self,
        proxy: Running,
        api: Upstream,
        secrets: SecretsManager,
        certificate: ClientCertificate,
        first: CertifiedKey,
        ca: CertifiedKey,
    ) -> None:
        second = builders.leaf(ca)
        connection = await proxy.connect()
        await connection.ask(request())
        secrets.rotate(value_of(second))
        await asyncio.to_thread(certificate.refresh)
        await connection.ask(request())
        assert api.serials == [serial_of(first), serial_of(second)]

    async def test_a_server_ca_in_the_secret_is_followed(
        self,
        proxying: Proxying,
        api: Upstream,
        secrets: SecretsManager,
        certificate: ClientCertificate,
        ca: CertifiedKey,
        other_ca: CertifiedKey,
    ) -> None:
        issued = builders.leaf(ca)
        secrets.rotate(value_of(issued, endpoint={"server_ca": to_pem(other_ca.certificate)}))
        async with proxying(server_ca=None) as proxy:
            assert json.loads((await proxy.ask(request())).body)["code"] == "tls_certificate_error"
            secrets.rotate(value_of(issued, endpoint={"server_ca": api.ca}))
            await asyncio.to_thread(certificate.refresh)
            await proxy.sessions.follow(await asyncio.to_thread(certificate.credential))
            assert (await proxy.ask(request())).status == 200


async def _stops_growing(number: Callable[[], int]) -> int:
    """What a number comes to when it has not grown for a while."""
    last = -1
    while last != (now := number()):
        last = now
        await asyncio.sleep(0.15)
    return last
