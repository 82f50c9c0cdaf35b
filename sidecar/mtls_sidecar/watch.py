"""Follows a certificate from within asyncio. When to ask the source is the client's own business."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime

from mtls_client import ClientCertificate, MtlsClientError
from mtls_client.credential import Credential

# Seconds between two looks: a check that is due is being made by the client's own thread.
_SHORTEST = 1.0
_LONGEST = 60.0


async def watch(certificate: ClientCertificate, on_check: Callable[[Credential], Awaitable[object]]) -> None:
    """Call `on_check` with the credential in use after every change, and now and then in between. Until cancelled.

    While there is no valid certificate it is not called; the client keeps asking, and logs why.
    """
    loop = asyncio.get_running_loop()
    changed = asyncio.Event()
    unsubscribe = certificate.subscribe(lambda _: loop.call_soon_threadsafe(changed.set))
    try:
        while True:
            changed.clear()
            try:
                credential = await asyncio.to_thread(certificate.credential)
            except MtlsClientError:
                pass  # the client has logged it, and asks again by itself
            else:
                await on_check(credential)
            with suppress(TimeoutError):
                async with asyncio.timeout(_pause(certificate)):
                    await changed.wait()
    finally:
        unsubscribe()


def why_not_valid(certificate: ClientCertificate) -> str | None:
    """What keeps the certificate from being used now; None if it is valid. Makes no call to AWS, and does not wait."""
    status = certificate.status()
    if status.not_after is None:
        return "there is no certificate yet"
    if status.not_after <= datetime.now(UTC):
        return "the certificate has expired"
    return None


def _pause(certificate: ClientCertificate) -> float:
    due = certificate.status().next_check
    left = (due - datetime.now(UTC)).total_seconds() if due else 0.0
    return min(max(left, _SHORTEST), _LONGEST)
