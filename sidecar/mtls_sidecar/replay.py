"""A request's body on its way to the upstream: streamed, and small ones kept so that they can be sent once more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from mtls_sidecar.problem import Problem

# A handshake that was refused for the certificate's sake is found out within one round trip: more than fits into that
# need not be kept. Bytes.
KEPT = 64 << 10


class RequestBody(Payload):
    """Reads from the client as fast as the upstream takes it.

    Args:
        stream: what comes from the client.
        length: the body's length if the request tells it; if not, it goes to the upstream in chunks.
        limit: how long it may be, in bytes.
        idle: how long either side may do nothing, in seconds.
        invite: is called before the first byte is read; it sends 100 (Continue) to a client that waits for it.

    Attributes:
        problem: what kept it from being passed on; None as long as all is well.
        mtls_replayable: whether it can be sent from its beginning once more, which mtls_client's retry looks at.
    """

    def __init__(
        self,
        stream: StreamReader,
        length: int | None,
        *,
        limit: int,
        idle: float,
        invite: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(stream)
        self._stream = stream
        self._length = length
        self._limit = limit
        self._idle = idle
        self._invite: Callable[[], Awaitable[None]] | None = invite
        self._kept: list[bytes] = []
        self._passed = 0
        # A first attempt that was given up may not have come to its end when the second begins.
        self._writing = asyncio.Lock()
        self.problem: Problem | None = None
        self.mtls_replayable = True

    @property
    def size(self) -> int | None:
        """See aiohttp."""
        return self._length

    @property
    def consumed(self) -> bool:
        """See aiohttp, which by this decides whether to repeat an idempotent request on another connection."""
        return not self.mtls_replayable

    @property
    def autoclose(self) -> bool:
        """See aiohttp: there is nothing to close."""
        return True

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Not to be had, as it is streamed."""
        raise TypeError("A body that is streamed cannot be decoded.")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """See aiohttp."""
        await self.write_with_length(writer, None)

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Send what is kept, and then what comes. The length is what the client's own parser has seen to.

        Raises:
            Problem: the client sends too much, too slowly, or nothing that is a body; or it was sent before, and is not
                kept. It stays in `problem`.
        """
        async with self._writing:
            if not self.mtls_replayable:
                raise self._because(Problem(HTTPStatus.BAD_GATEWAY, "not_replayable", "The body cannot be sent again."))
            for chunk in list(self._kept):
                await self._send(writer, chunk)
            while chunk := await self._read():
                await self._send(writer, chunk)

    async def _read(self) -> bytes:
        invite, self._invite = self._invite, None
        if invite is not None:
            await invite()
        try:
            async with asyncio.timeout(self._idle):
                chunk = await self._stream.readany()
        except TimeoutError:
            detail = f"The client sent nothing of its request's body for {self._idle:g} s."
            raise self._because(Problem(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", detail)) from None
        except Exception:  # noqa: BLE001 - whatever the parser or the connection says
            detail = "The request's body is malformed, or broke off."
            raise self._because(Problem(HTTPStatus.BAD_REQUEST, "request_body_malformed", detail)) from None
        self._passed += len(chunk)
        if self._passed > self._limit:
            raise self._because(too_large(self._limit))
        self._keep(chunk)
        return chunk

    def _keep(self, chunk: bytes) -> None:
        if self._passed <= KEPT:
            self._kept.append(chunk)
        else:
            self._kept.clear()
            self.mtls_replayable = False

    async def _send(self, writer: AbstractStreamWriter, chunk: bytes) -> None:
        try:
            async with asyncio.timeout(self._idle):
                await writer.write(chunk)
        except TimeoutError:
            detail = f"The upstream took nothing of the request's body for {self._idle:g} s."
            raise self._because(
                Problem(HTTPStatus.GATEWAY_TIMEOUT, "connection_write_timeout", detail, upstream=True)
            ) from None

    def _because(self, problem: Problem) -> Problem:
        self.problem = problem
        return problem


def too_large(limit: int) -> Problem:
    """The body is longer than allowed."""
    detail = f"The request's body is longer than {limit} bytes."
    return Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "request_body_too_large", detail)
