"""What the bucket's keys say of certificates: which version of which secret holds which, and whom it chains to.

The one reader of the keys under `issued/` and `outside/`; `contract.layout` has their form. A listing costs a call for
each thousand of them, and reads no object.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

from mtls_rotation.contract.layout import ISSUED, OUTSIDE, EmptyKey, IssuedKey, OutsideKey
from mtls_rotation.pki import certificates as pki

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cryptography import x509

    from mtls_rotation.aws.bucket import CertificateBucket, Listed


@dataclass(frozen=True, slots=True)
class FiledCertificate:
    """A certificate in the bucket, by its key. One that chains to several CAs of ours is filed under each.

    Attributes:
        anchor: the fingerprint of the CA certificate that it chains to; empty where no gateway of ours is to trust it.
        serial_number: lower-case hex; empty where it is noted that the version holds no certificate.
        at: when it was filed.
        authority: whether it is a CA's own certificate, which chains to itself.
        not_after: its end; None where the key does not say.
        key: of its object.
        of: under how many CAs it is filed, if nothing is lost.
    """

    anchor: str
    secret: str
    version_id: str
    serial_number: str
    at: datetime
    authority: bool = False
    not_after: datetime | None = None
    key: str = ""
    of: int = 1

    @classmethod
    def listed(cls, entry: Listed) -> Self | None:
        """What the key of a listed object says; None if it is no certificate's."""
        match IssuedKey.parse(entry.key) or OutsideKey.parse(entry.key) or EmptyKey.parse(entry.key):
            case IssuedKey() as it:
                return cls(
                    it.anchor,
                    it.secret,
                    it.version_id,
                    it.serial_number,
                    entry.modified,
                    it.authority,
                    it.not_after,
                    entry.key,
                    it.of,
                )
            case OutsideKey() as it:
                return cls(
                    "",
                    it.secret,
                    it.version_id,
                    it.serial_number,
                    entry.modified,
                    not_after=it.not_after,
                    key=entry.key,
                )
            case EmptyKey() as it:
                return cls("", it.secret, it.version_id, "", entry.modified, key=entry.key)
            case _:
                return None


class CertificateIndex:
    """The filed certificates, and those of one version, of one serial number, of the CAs.

    Args:
        bucket: where the certificates themselves lie.
        entries: what its keys say.
    """

    def __init__(self, bucket: CertificateBucket, entries: Iterable[FiledCertificate]) -> None:
        self._bucket = bucket
        self.entries = tuple(entries)

    @classmethod
    def read(cls, bucket: CertificateBucket, *prefixes: str) -> Self:
        """List what is filed: under these prefixes, or under both."""
        listed = (entry for prefix in prefixes or (ISSUED, OUTSIDE) for entry in bucket.list(prefix))
        return cls(bucket, filter(None, map(FiledCertificate.listed, listed)))

    @property
    def issued(self) -> tuple[FiledCertificate, ...]:
        """Those that chain to a CA of ours."""
        return tuple(it for it in self.entries if it.anchor)

    @property
    def outside(self) -> tuple[FiledCertificate, ...]:
        """Those that no gateway of ours is to trust."""
        return tuple(it for it in self.entries if not it.anchor and it.serial_number)

    @property
    def empty(self) -> tuple[FiledCertificate, ...]:
        """The versions of which it is noted that they hold none."""
        return tuple(it for it in self.entries if not it.serial_number)

    @property
    def secrets(self) -> frozenset[str]:
        """The names of all secrets of which it knows."""
        return frozenset(it.secret for it in self.entries)

    @property
    def authorities(self) -> tuple[FiledCertificate, ...]:
        """The CAs' own certificates, each version of each CA secret once."""
        versions = {(it.anchor, it.secret, it.version_id): it for it in self.entries if it.authority}
        return tuple(versions.values())

    @property
    def held(self) -> tuple[FiledCertificate, ...]:
        """Those that a client holds: all but the CAs'."""
        return tuple(it for it in self.entries if not it.authority and it.serial_number)

    def of_version(self, secret: str, version_id: str | None) -> tuple[FiledCertificate, ...]:
        """What is filed for a version of a secret; nothing for None."""
        return tuple(self._by_version.get((secret, version_id), ()))

    @cached_property
    def _by_version(self) -> dict[tuple[str, str | None], list[FiledCertificate]]:
        found: dict[tuple[str, str | None], list[FiledCertificate]] = {}
        for entry in (*self.issued, *self.outside):
            found.setdefault((entry.secret, entry.version_id), []).append(entry)
        return found

    def with_serial_number(self, *serial_numbers: str) -> tuple[FiledCertificate, ...]:
        """Those of clients that have one of these serial numbers. Two issuers may have given out the same one."""
        wanted = frozenset(serial_numbers)
        return tuple(it for it in self.held if it.serial_number in wanted)

    def certificate(self, entry: FiledCertificate) -> x509.Certificate | None:
        """The certificate itself; None if its object is gone.

        Raises:
            ValueError: the object is no certificate any more.
        """
        stored = self._bucket.read(entry.key)
        if stored is None:
            return None
        (certificate,) = pki.from_pem(stored.body.decode("utf-8", "replace"))
        return certificate
