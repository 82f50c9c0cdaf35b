"""By which anchor of the truststore a caller came in: told by signatures, as a name says nothing about who chose it.

API Gateway hands over the caller's certificate and not its chain. So a certificate whose issuing CA is not in the
truststore itself, but was sent along, has no anchor here.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_rotation.contract import layout
from mtls_rotation.gateway.authorizer.caller import Anchor, AnchorsUnknownError
from mtls_rotation.pki import bundles
from mtls_rotation.pki.authorities import Authorities
from mtls_rotation.pki.presented import Presented

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mtls_rotation.aws.bucket import CertificateBucket, Stored

log = logging.getLogger(__name__)

# Seconds until the truststore is read again unasked. Who is let in is not decided by it, but by the gateway.
_KEPT = 60.0
# Seconds until it is read again for a caller who has no anchor in what is known, or after a failure.
_PAUSE = 1.0
# How many callers' anchors are remembered.
_REMEMBERED = 1000


class _Trusted:
    """The truststore as it was read."""

    def __init__(self, certificates: Mapping[str, x509.Certificate], managed: frozenset[str]) -> None:
        self._managed = managed
        lasting = sorted(certificates.items(), key=lambda it: it[1].not_valid_after_utc, reverse=True)
        self._certificates = {it: Presented.from_der(found.public_bytes(Encoding.DER)) for it, found in lasting}
        issuing = {it: found for it, found in lasting if _is_authority(found)}
        self._lasting = list(issuing)
        # Ours first: whoever may upload a CA may give it any name, and the key of a signature that is ours.
        self._authorities = Authorities(issuing[it] for it in sorted(issuing, key=lambda it: it not in managed))
        self._remembered: dict[str, tuple[Anchor, ...]] = {}

    def anchors(self, certificate: Presented) -> tuple[Anchor, ...]:
        """See `Anchors.of`."""
        known = self._remembered.get(certificate.fingerprint)
        if known is None:
            known = tuple(Anchor(it, it in self._managed) for it in self._above(certificate))
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            self._remembered[certificate.fingerprint] = known
        return known

    def _above(self, certificate: Presented) -> Iterable[str]:
        found: dict[str, None] = {}
        waiting = [certificate]
        if certificate.fingerprint in self._certificates:
            found[certificate.fingerprint] = None
        for it in waiting:
            one = self._authorities.fingerprints(self._authorities.signer(it), it.issuer_name)
            signers = [other for other in self._lasting if other in one and other not in found] if one else []
            found |= dict.fromkeys(signers)
            waiting += [self._certificates[other] for other in signers]
        return found


class Anchors:
    """Knows by which anchor a caller came in. Kept in memory; an anchor that is new is found when it is first needed.

    Args:
        bucket: where the truststore lies.
        monotonic: a clock in seconds.
    """

    def __init__(self, bucket: CertificateBucket, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bucket = bucket
        self._monotonic = monotonic
        self._stored: Stored | None = None
        self._managed: frozenset[str] = frozenset()
        self._trusted: _Trusted | None = None
        self._asked_at: float | None = None

    def of(self, certificate: Presented) -> tuple[Anchor, ...]:
        """The anchors that answer for a certificate: the one that signed it, then what has signed that.

        Of several with one key and name, as of a CA that was renewed, all count, the one that ends last first. The
        certificate itself comes before all where it is its own anchor. Empty if nothing in the truststore signed it.

        Raises:
            AnchorsUnknownError: the truststore could not be read, and never was.
        """
        if self._is_due(_KEPT):
            self._refresh()
        if self._trusted and (found := self._trusted.anchors(certificate)):
            return found
        if self._is_due(_PAUSE):
            self._refresh()
        if self._trusted is None:
            raise AnchorsUnknownError(self._bucket.uri(layout.TRUSTSTORE))
        return self._trusted.anchors(certificate)

    def _is_due(self, interval: float) -> bool:
        return self._asked_at is None or self._monotonic() - self._asked_at >= interval

    def _refresh(self) -> None:
        self._asked_at = self._monotonic()
        try:
            stored = self._bucket.newer(layout.TRUSTSTORE, self._stored)
            listed = map(layout.managed_anchor, (it.key for it in self._bucket.list(layout.MANAGED_ANCHORS)))
            managed = frozenset(filter(None, listed))
        except (ClientError, BotoCoreError) as error:
            log.warning("the truststore could not be read", extra={"reason": str(error)})
            return
        if stored is None:
            log.warning("there is no truststore")
        elif self._trusted is None or stored is not self._stored or managed != self._managed:
            self._trusted = _Trusted(bundles.certificates(stored.body), managed)
            self._stored, self._managed = stored, managed


def _is_authority(certificate: x509.Certificate) -> bool:
    """Whether it may sign others: a client that signs itself is in the truststore, too."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
