"""The connections of a listener: how many there may be, how long a request's head may take, how long a client may take
nothing of its answers, and how what is no HTTP is answered. What becomes of a request is not for this module.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.streams import EMPTY_PAYLOAD
from aiohttp.web_request import BaseRequest

from mtls_sidecar.problem import Problem

logger = logging.getLogger("mtls_sidecar")

# Seconds that a client has to read why its connection is closed.
_TO_READ = 1.0
# What else a process opens: connections to AWS, files, the admin listener.
_FILES_BESIDE = 128
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, 0 seconds


@dataclass(eq=False)
class Guard:
    """What the connections of one listener are held to.

    Attributes:
        most: how many there may be. Over that, the one that has been idle longest makes room, and if none is idle, the
            one that has been at a request's head longest.
        head: how many seconds a request's head may take from its first byte on.
        idle: how many seconds a client may take nothing of what is sent to it.
        note: is told of each refusal.
        any_makes_room: whether one on which a request is under way makes room, too: where each takes no time.
        present: those that there are.
    """

    most: int
    head: float
    idle: float
    note: Callable[[Problem], object]
    any_makes_room: bool = False
    present: set[GuardedConnection] = field(default_factory=set)


class GuardedConnection(web.RequestHandler):
    """A client's connection. One that is idle stays: clients keep some, and room is made when it is needed."""

    __slots__ = ("_due", "_guard", "_heard_at", "_is_dismissed", "_sending", "_untaken")

    def __init__(self, guard: Guard, server: web.Server, **arguments: Any) -> None:
        super().__init__(server, **arguments)
        self._guard = guard
        self._due: asyncio.TimerHandle | None = None
        self._heard_at = 0.0
        self._is_dismissed = False
        self._sending: asyncio.Transport | None = None
        self._untaken: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request is here, as far as can be told."""
        return self._is_waiting and self._due is None

    @property
    def _is_waiting(self) -> bool:
        return self._waiter is not None and not self._waiter.done() and not self._messages

    def _has_begun_another(self, data: bytes) -> bool:
        """Whether behind a request without a body there is the beginning of one more: RFC 9112, 9.3.2."""
        return bool(self._messages) and self._messages[-1][1] is EMPTY_PAYLOAD and data[-1:] not in (b"", b"\n")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        super().connection_made(transport)
        if isinstance(transport, asyncio.Transport):
            self._sending = transport
            # So that it is heard of whatever the kernel does not take at once, and not of a lot of it only.
            transport.set_write_buffer_limits(high=0)
        self._heard_at = self._loop.time()
        guard = self._guard
        if len(guard.present) >= guard.most and not _make_room(guard):
            self._turn_away()
        guard.present.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """See asyncio."""
        self._guard.present.discard(self)
        self._stop_counting()
        self._stop_waiting()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """See asyncio: there is something that the client has not taken yet."""
        super().pause_writing()
        self._wait_until_taken()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._stop_waiting()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._is_dismissed:
            return
        super().data_received(data)
        self._heard_at = self._loop.time()
        if not self._is_waiting:
            self._stop_counting()
        # Empty lines before a head are none of it: RFC 9112, 2.2.
        if self._due is None and (data.strip(b"\r\n") if self._is_waiting else self._has_begun_another(data)):
            self._due = self._loop.call_later(self._guard.head, self._take_too_long)

    def make_room(self) -> None:
        """Close it for another's sake."""
        self._guard.present.discard(self)
        if self._sending is not None and self._sending.get_write_buffer_size():
            reset(self._sending)  # it would stay open until the client has taken what it was sent
        self.force_close()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """See aiohttp, which has it logged: what is no HTTP is refused as everything else is."""
        super().handle_error(request, status, exc, message)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            found = unexpected()
        else:
            found = Problem(status, "malformed_request", "What came is not valid HTTP/1.1, or its head is too large.")
        found.ends_connection = True
        self._guard.note(found)
        return found.response()

    def _turn_away(self) -> None:
        most = self._guard.most
        detail = f"{most} connections are open, which is as many as are allowed, and a request is under way on each."
        problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "too_many_connections", detail, retry_after=1)
        self._dismiss(problem, at_once=len(self._guard.present) >= 2 * most)

    def _take_too_long(self) -> None:
        self._due = None
        if self._is_waiting:
            detail = f"The request's head was not complete within {self._guard.head:g} s."
            self._dismiss(Problem(HTTPStatus.REQUEST_TIMEOUT, "request_head_timeout", detail))
        else:
            # One before it is still being answered.
            self._due = self._loop.call_later(self._guard.head, self._take_too_long)

    def _dismiss(self, problem: Problem, *, at_once: bool = False) -> None:
        """Say why, and hear nothing more."""
        self._guard.note(problem)
        self._is_dismissed = True
        if at_once or not isinstance(self.transport, asyncio.Transport):
            self.force_close()
            return
        self.transport.write(problem.message())
        # Closed at once, what the client is still sending would have the kernel throw the answer away: RFC 9112, 9.6.
        self.transport.write_eof()
        self._due = self._loop.call_later(_TO_READ, self.force_close)

    def _wait_until_taken(self) -> None:
        if self._sending is not None:
            left = self._sending.get_write_buffer_size()
            self._untaken = self._loop.call_later(self._guard.idle, self._give_up, left)

    def _give_up(self, left: int) -> None:
        """Cut off a client that takes nothing: what is under way for it, or its closing, would wait for ever."""
        assert self._sending is not None  # noqa: S101 - there was something to take
        if self._sending.get_write_buffer_size() < left:
            self._wait_until_taken()
            return
        self._guard.note(too_slow())
        reset(self._sending)

    def _stop_waiting(self) -> None:
        if self._untaken is not None:
            self._untaken.cancel()
            self._untaken = None

    def _stop_counting(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None


class GuardedSite(web.SockSite):
    """A socket that is listened on, whose connections are held to a guard."""

    __slots__ = ("_guard",)

    def __init__(self, runner: web.AppRunner, bound: Any, guard: Guard, *, backlog: int = 128) -> None:
        super().__init__(runner, bound, backlog=backlog)
        self._guard = guard

    async def start(self) -> None:
        """See aiohttp."""
        await web.BaseSite.start(self)
        server, loop = self._runner.server, asyncio.get_running_loop()
        assert server is not None  # noqa: S101 - the runner has been set up

        def connection() -> GuardedConnection:
            return GuardedConnection(self._guard, server, loop=loop, **server._kwargs)

        self._server = await loop.create_server(connection, sock=self._sock, backlog=self._backlog)


def too_slow() -> Problem:
    """There is nobody to tell."""
    return Problem(HTTPStatus.REQUEST_TIMEOUT, "client_too_slow", "The client took nothing of the answer.")


def unexpected() -> Problem:
    """Something that nobody thought of."""
    detail = "The sidecar failed. Its log tells why."
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail)


def reset(transport: asyncio.Transport) -> None:
    """End a connection at once, with RST, so that its end cannot be taken for that of an answer: RFC 9112, 8."""
    with suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


def allow_open_files(connections: int) -> None:
    """Have the kernel let this process open as many connections, as far as its hard limit goes: getrlimit(2)."""
    needed = connections + _FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        logger.warning(
            "This process may open %d files, and the settings allow for %d: raise its limit (LimitNOFILE, ulimits), or "
            "lower --max-connections and --max-requests.",
            allowed,
            needed,
        )


def _make_room(guard: Guard) -> bool:
    """Close the connection that can be spared first; False if there is none."""
    admitted = [it for it in guard.present if not it._is_dismissed]
    idle = [it for it in admitted if it.is_idle]
    at_head = [it for it in admitted if it._is_waiting]
    spared = idle or at_head or (admitted if guard.any_makes_room else [])
    if not spared:
        return False
    min(spared, key=lambda it: it._heard_at).make_room()
    return True
