"""The objects of the bucket that nobody reads: every key is looked at, and no content."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from mtls_rotation.contract.places import unread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtls_rotation.contract.places import Unread
    from mtlsctl.stack.deployment import Deployment

# As many keys as are looked at, a thousand with each call: more than a fleet of 10,000 has.
MOST_KEYS = 300_000
# As many as are kept: they are told by their folders.
_KEPT = 2_000


def takes_signed(deployment: Deployment) -> bool:
    """Whether the stack takes in certificates that somebody else signs."""
    return bool(deployment.resources.get("SignedCertificateFunction"))


def strays(deployment: Deployment, *, most: int = MOST_KEYS) -> tuple[tuple[Unread, ...], bool]:
    """What nobody reads, in the order of the keys, and whether every key was looked at."""
    external, whole = takes_signed(deployment), True

    def found() -> Iterator[Unread]:
        nonlocal whole
        for number, entry in enumerate(deployment.services.bucket.list("")):
            if number == most:
                whole = False
                return
            if stray := unread(entry.key, entry.size, takes_signed=external):
                yield stray

    kept = tuple(islice(found(), _KEPT))
    return kept, whole and len(kept) < _KEPT
