"""What is known here of CAs and of certificates, from the bucket: by it a name in a notice becomes a certificate."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.contract import layout
from mtls_rotation.pki import bundles
from mtls_rotation.pki.authorities import Authorities
from mtls_rotation.pki.certificate_id import CertificateId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography import x509

    from mtls_rotation.aws.bucket import CertificateBucket


class Known:
    """See `notices.Known`. Each thing is read when it is first asked for, and once."""

    def __init__(self, bucket: CertificateBucket) -> None:
        self._bucket = bucket
        self._filed: dict[str, tuple[x509.Certificate, ...]] = {}

    @cached_property
    def authorities(self) -> Authorities:
        """Every CA in the truststore, and those that issue here."""
        return Authorities(self._certificates())

    def filed(self, serial_number: str) -> tuple[x509.Certificate, ...]:
        """The clients' certificates with a serial number that were issued here. What is broken is passed over."""
        if serial_number not in self._filed:
            bodies = (
                stored.body for key in self._numbered.get(serial_number, ()) if (stored := self._bucket.read(key))
            )
            found = dict.fromkeys(it for body in bodies for it in bundles.certificates(body).values())
            self._filed[serial_number] = tuple(filter(_can_be_named, found))
        return self._filed[serial_number]

    @cached_property
    def _numbered(self) -> dict[str, list[str]]:
        """By serial number, the keys of the certificates that are filed."""
        found: dict[str, list[str]] = {}
        for it in CertificateIndex.read(self._bucket).held:
            found.setdefault(it.serial_number, []).append(it.key)
        return found

    def _certificates(self) -> Iterable[x509.Certificate]:
        # Ours first, so that no upload has them wait.
        for key in (*(entry.key for entry in self._bucket.list(layout.MANAGED_ANCHORS)), layout.TRUSTSTORE):
            if stored := self._bucket.read(key):
                yield from bundles.certificates(stored.body).values()


def _can_be_named(certificate: x509.Certificate) -> bool:
    try:
        CertificateId.of(certificate)
    except ValueError:
        return False
    return True
