"""The rotation of a CA before its time: when it would expire before a certificate that it is asked for."""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import TYPE_CHECKING

from mtls_rotation.aws.secret_versions import RotationStart
from mtls_rotation.contract.events import CERTIFICATE_AUTHORITY_EXPIRING
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING
from mtls_rotation.errors import AuthorityRotatingError
from mtls_rotation.pki.certificates import subject
from mtls_rotation.timing import to_rfc3339

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from mtls_rotation.aws.services import Services
    from mtls_rotation.issuers.api import Authority, Order

log = logging.getLogger(__name__)


class Renewal(Enum):
    """Whether a CA must be rotated for the sake of a certificate.

    Attributes:
        NONE: it lives long enough, or its successor is there, or a new one would live no longer.
        AFTER: it can still issue this one, but not the next after its successor's notice.
        BEFORE: it cannot issue this one.
    """

    NONE = auto()
    AFTER = auto()
    BEFORE = auto()


def renewal_needed(authority: Authority, validity: timedelta, now: datetime) -> Renewal:
    """Decide whether the CA must be rotated before or beside the issue of a certificate of this validity. Pure."""
    left = authority.certificate.not_valid_after_utc - now
    if authority.successor_from is not None or authority.lifetime < validity + authority.notice:
        return Renewal.NONE
    if left < validity:
        return Renewal.BEFORE
    return Renewal.AFTER if left < validity + authority.notice else Renewal.NONE


class CaRenewal:
    """Has a CA rotated early, and says so."""

    def __init__(self, services: Services) -> None:
        self._versions = services.versions
        self._bus = services.bus

    def renew_if_needed(self, authority: Authority, order: Order) -> bool:
        """Have the CA rotated if the order needs it.

        Returns:
            Whether the CA is another one now.

        Raises:
            AuthorityRotatingError: the CA's rotation was begun and did not end within the step's time.
        """
        needed = renewal_needed(authority, order.definition.request.validity, order.now)
        if needed is Renewal.NONE:
            return False
        # Before it is begun: a run that is killed in between announces it twice rather than never.
        if self._can_begin(authority):
            self._announce(authority, order)
        started = self._versions.rotate(authority.reference)
        log.warning("the CA expires too early", extra={"ca": authority.reference, "rotation": started.name})
        if needed is Renewal.AFTER or started in {RotationStart.REFUSED, RotationStart.OUT_OF_REACH}:
            return False
        for _ in order.deadline.attempts():
            current = self._versions.current(authority.reference)
            if current is not None and current.version_id != authority.version_id:
                return True
        raise AuthorityRotatingError(
            where=order.where,
            found=f"the CA {authority.reference}, which ends {authority.certificate.not_valid_after_utc:%Y-%m-%d} UTC,"
            " still in its early rotation",
            expected="its successor at AWSCURRENT within the step's time",
            remedy="Secrets Manager tries again by itself. If it goes on, look at the rotation of the CA secret.",
        )

    def _can_begin(self, authority: Authority) -> bool:
        """Whether a rotation would be another than the one that is under way, and was announced."""
        description = self._versions.describe(authority.reference)
        pending = description.version_at(AWSPENDING)
        under_way = pending is not None and AWSCURRENT not in description.stages[pending]
        return description.rotation_enabled and not under_way

    def _announce(self, authority: Authority, order: Order) -> None:
        detail: dict[str, object] = {
            "ca_secret": authority.reference,
            "subject": subject(authority.certificate),
            "not_after": to_rfc3339(authority.certificate.not_valid_after_utc),
            "secret_name": order.name,
            "needed_until": to_rfc3339(order.now + order.definition.request.validity),
        }
        self._bus.put(CERTIFICATE_AUTHORITY_EXPIRING, detail, order.arn)
