"""Listening, and ending: what is under way is seen through, and nothing new begins."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from mtls_rotation.pki.certificates import CertifiedKey
from mtls_sidecar.errors import ListenError
from tests.unit.sidecar.conftest import Proxying, Running, chunk, request
from tests.unit.sidecar.test_refusals import code, never
from tests.unit.sidecar.upstream import Head, Upstream, read_chunk

pytestmark = pytest.mark.anyio


@pytest.fixture
def not_hurried() -> asyncio.Event:
    return asyncio.Event()


async def test_an_answer_that_is_under_way_is_seen_through(
    proxy: Running, api: Upstream, not_hurried: asyncio.Event
) -> None:
    go_on = asyncio.Event()

    async def script(head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
        await go_on.wait()
        writer.write(chunk(b"second") + chunk(b""))

    api.script = script
    connection = await proxy.connect()
    await connection.send(request())
    await connection.head()
    draining = asyncio.ensure_future(proxy.listener.drain(not_hurried))
    assert await read_chunk(connection.reader) == b"first"
    go_on.set()
    assert [await read_chunk(connection.reader) for _ in range(2)] == [b"second", b""]
    await draining


async def test_a_request_that_is_being_sent_is_seen_through_and_told_that_it_is_the_last(
    proxy: Running, api: Upstream, not_hurried: asyncio.Event
) -> None:
    connection = await proxy.connect()
    await connection.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first"))
    while not api.seen:
        await asyncio.sleep(0.01)
    draining = asyncio.ensure_future(proxy.listener.drain(not_hurried))
    while not proxy.proxy.draining:
        await asyncio.sleep(0)
    await connection.send(chunk(b"second"))
    answered = await connection.ask(chunk(b""))
    assert (answered.body, answered.values("connection")) == (b"firstsecond", ["close"])
    assert await connection.ended()
    await draining


async def test_a_connection_on_which_nothing_is_under_way_is_closed(proxy: Running, not_hurried: asyncio.Event) -> None:
    used, unused = await proxy.connect(), await proxy.connect()
    await used.ask(request())
    await proxy.listener.drain(not_hurried)
    assert await used.ended()
    assert await unused.ended()


async def test_nothing_new_is_accepted(proxy: Running, not_hurried: asyncio.Event) -> None:
    await proxy.listener.drain(not_hurried)
    with pytest.raises(ConnectionRefusedError):
        await proxy.connect()


async def test_what_takes_longer_than_the_grace_is_cut_off(
    proxying: Proxying, first: CertifiedKey, api: Upstream, not_hurried: asyncio.Event
) -> None:
    api.script = never
    async with proxying(grace=0.1) as proxy:
        connection = await proxy.connect()
        await connection.send(request())
        while not api.seen:
            await asyncio.sleep(0.01)
        await proxy.listener.drain(not_hurried)
        assert await connection.ended()
        await api.await_closed()


async def test_what_is_under_way_is_cut_off_when_hurried(
    proxy: Running, api: Upstream, not_hurried: asyncio.Event
) -> None:
    api.script = never
    connection = await proxy.connect()
    await connection.send(request())
    while not api.seen:
        await asyncio.sleep(0.01)
    draining = asyncio.ensure_future(proxy.listener.drain(not_hurried))
    not_hurried.set()
    await draining
    assert await connection.ended()


async def test_a_refusal_while_draining_ends_the_connection(
    proxying: Proxying, first: CertifiedKey, api: Upstream, not_hurried: asyncio.Event
) -> None:
    async with proxying(max_body=10) as proxy:
        connection = await proxy.connect()
        await connection.send(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"first")
        )
        while not api.seen:
            await asyncio.sleep(0.01)
        draining = asyncio.ensure_future(proxy.listener.drain(not_hurried))
        while not proxy.proxy.draining:
            await asyncio.sleep(0)
        answered = await connection.ask(chunk(bytes(100)) + chunk(b""))
        assert (code(answered), answered.values("connection")) == ("request_body_too_large", ["close"])
        await draining


class TestUnixSocket:
    async def test_is_for_its_owner(self, proxying: Proxying, first: CertifiedKey, tmp_path: Path) -> None:
        path = tmp_path / "api.sock"
        async with proxying(listen=f"unix:{path}") as proxy:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert (await proxy.ask(request("POST", "/", body=b"one"))).body == b"one"
        assert not path.exists()

    async def test_is_for_a_group(self, proxying: Proxying, first: CertifiedKey, tmp_path: Path) -> None:
        path = tmp_path / "api.sock"
        group = os.getgid()
        async with proxying(listen=f"unix:{path}", group=group):
            assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o660, group)

    async def test_of_a_run_that_was_killed_is_replaced(
        self, proxying: Proxying, first: CertifiedKey, tmp_path: Path
    ) -> None:
        path = tmp_path / "api.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        async with proxying(listen=f"unix:{path}") as proxy:
            assert (await proxy.ask(request())).status == 200

    async def test_that_the_next_run_has_put_there_is_left_to_it(
        self, proxying: Proxying, first: CertifiedKey, tmp_path: Path, not_hurried: asyncio.Event
    ) -> None:
        place = tmp_path / "api.sock"
        async with AsyncExitStack() as later:
            async with proxying(listen=f"unix:{place}") as former:
                await former.listener.drain(not_hurried)
                following = await later.enter_async_context(proxying(listen=f"unix:{place}"))
            assert (await following.ask(request())).status == 200
        assert not place.exists()

    async def test_on_which_another_listens_is_left_alone(
        self, proxying: Proxying, first: CertifiedKey, tmp_path: Path
    ) -> None:
        path = tmp_path / "api.sock"
        async with proxying(listen=f"unix:{path}") as proxy:
            with pytest.raises(ListenError, match="Address already in use"):
                async with proxying(listen=f"unix:{path}"):
                    pass
            assert (await proxy.ask(request())).status == 200


async def test_an_address_that_is_taken_is_told(proxy: Running, proxying: Proxying, first: CertifiedKey) -> None:
    with pytest.raises(ListenError, match="Address already in use"):
        async with proxying(listen=str(proxy.listener.address)):
            pass


async def test_requests_are_counted(proxy: Running, api: Upstream) -> None:
    for sent in (request(), request("POST", "/", body=b"one"), request("PROPFIND"), request("TRACE")):
        await proxy.ask(sent)
    for method, status_class in (("GET", "2xx"), ("POST", "2xx"), ("other", "2xx"), ("other", "5xx")):
        assert proxy.metric("mtls_proxy_requests_total", method=method, status_class=status_class) == 1
    assert proxy.metric("mtls_proxy_request_duration_seconds_count") == 4
    assert proxy.metric("mtls_proxy_requests_in_flight") == 0
