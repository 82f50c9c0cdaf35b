"""What a warm execution environment of rotate knows from one step to the next."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.rotation.request import RotationRequest

# How many versions and truststores an environment remembers; for how long an anchor counts as filed under which it has
# filed a certificate: much shorter than `truststore.plan.Settings.index_kept`, before which none is forgotten; and for
# how long anchors count as trusted that all targets ran: as long as the next step may be away that relies on it.
REMEMBERED = 8
_FILED = timedelta(hours=1)
TRUSTED_FOR = timedelta(minutes=2)


class Memory:
    """What an execution environment knows from the steps before, so that nothing is asked for twice. It may be empty.

    Only what never changes: a version's value, without its private key, and that it was tested; what is in a version of
    the truststore; and that a certificate's anchor lies in the bucket. And, for no longer than it takes from setSecret
    to testSecret, that all targets trust a set of anchors.
    """

    def __init__(self) -> None:
        self._secrets: dict[tuple[str, str], ManagedSecret] = {}
        self._truststores: dict[str, frozenset[str]] = {}
        self._filed: dict[str, datetime] = {}
        self._tested: dict[tuple[str, str], bool] = {}
        self._trusted: dict[frozenset[str], datetime] = {}

    def keep(self, request: RotationRequest, secret: ManagedSecret) -> None:
        """Keep what the version holds."""
        public = secret.model_copy(update={"private_key": None})
        _keep(self._secrets, (request.secret_id, request.version_id), public)

    def secret(self, request: RotationRequest) -> ManagedSecret | None:
        """What the version holds, without the private key; None if it is not known."""
        return self._secrets.get((request.secret_id, request.version_id))

    def test(self, request: RotationRequest) -> None:
        """Remember that the version was tested."""
        _keep(self._tested, (request.secret_id, request.version_id), True)

    def tested(self, request: RotationRequest) -> bool:
        """Whether the version was tested in this environment."""
        return (request.secret_id, request.version_id) in self._tested

    def trust(self, anchors: frozenset[str], now: datetime) -> None:
        """Remember that all targets trust these."""
        _keep(self._trusted, anchors, now)

    def trusts(self, anchors: frozenset[str], now: datetime) -> bool:
        """Whether all targets were seen to trust these a moment ago."""
        return any(anchors <= known and now - at < TRUSTED_FOR for known, at in self._trusted.items())

    def truststore(self, version_id: str | None, read: Callable[[], frozenset[str] | None]) -> frozenset[str] | None:
        """The anchors of a version of the truststore, read if they are not known; None if there is no such version."""
        if version_id is None:
            return read()  # whichever is the latest
        known = self._truststores.get(version_id)
        if known is None and (known := read()) is not None:
            _keep(self._truststores, version_id, known)
        return known

    def filed(self, now: datetime) -> frozenset[str]:
        """The anchors under which a certificate was filed lately."""
        return frozenset(anchor for anchor, at in self._filed.items() if now - at < _FILED)

    def file(self, anchors: Iterable[str], now: datetime) -> None:
        """Remember that a certificate was filed under these."""
        for anchor in anchors:
            _keep(self._filed, anchor, now)


def _keep[K, V](remembered: dict[K, V], key: K, value: V) -> None:
    """Keep it as the latest, and no more than a few."""
    remembered.pop(key, None)
    remembered[key] = value
    if len(remembered) > REMEMBERED:
        del remembered[next(iter(remembered))]
