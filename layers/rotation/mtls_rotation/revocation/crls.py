"""The CRLs: for each CA of ours that is in date, the part of the revocation list that it answers for, signed by it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.secret_versions import out_of_reach
from mtls_rotation.contract import layout
from mtls_rotation.contract.events import REVOCATION_LIST_PUBLISHED
from mtls_rotation.errors import SupersededError, UnusableIssuerError
from mtls_rotation.issuers.registry import parse_secret
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.certificates import fingerprint, subject
from mtls_rotation.revocation import crl
from mtls_rotation.revocation.tasks import Outcome, Task, attempt
from mtls_rotation.timing import to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from cryptography import x509

    from mtls_rotation.aws.certificate_index import FiledCertificate
    from mtls_rotation.aws.services import Services
    from mtls_rotation.issuers.registry import Issuers
    from mtls_rotation.pki.certificates import SigningKey
    from mtls_rotation.revocation.register import Revoked
    from mtls_rotation.revocation.revocation_list import PublishedList
    from mtls_rotation.timing import Deadline

_MEDIA_TYPE = "application/pkix-crl"


@dataclass(frozen=True, slots=True)
class _Authority:
    """A CA of ours: its certificate, and the secret version that can sign for it."""

    certificate: x509.Certificate
    secret: str
    version_id: str

    @property
    def key(self) -> str:
        return layout.crl_key(fingerprint(self.certificate))


class Crls:
    """Makes each CRL that is due, and announces it.

    Args:
        services: reads CA secrets to sign.
        issuers: finds the keys of CAs.
        validity: from a CRL to its next update. It is renewed at half of that.
    """

    def __init__(self, services: Services, issuers: Issuers, validity: timedelta) -> None:
        self._versions = services.versions
        self._bucket = services.bucket
        self._bus = services.bus
        self._clock = services.clock
        self._issuers = issuers
        self._validity = validity

    def publish(
        self, authorities: Iterable[FiledCertificate], published: PublishedList, deadline: Deadline
    ) -> list[Outcome]:
        """Make what is due. What was done has the CA's fingerprint.

        Args:
            authorities: our CAs.
            published: the list that they answer for.
            deadline: until when to wait for keys that were just made.

        Raises:
            SupersededError: another run is ahead of this one.
        """
        authorities = tuple(authorities)
        ours = {layout.crl_key(it.anchor) for it in authorities}
        announced = {key: etag for key, etag in published.state.content.crls.items() if key in ours}
        outcomes = [
            attempt(
                Task(
                    f"no CRL of the CA {filed.anchor} (secret {filed.secret})",
                    partial(self._renew_if_due, filed, published, announced, deadline),
                )
            )
            for filed in authorities
        ]
        published.state.write(crls=announced)
        return outcomes

    def _renew_if_due(
        self, filed: FiledCertificate, published: PublishedList, announced: dict[str, str], deadline: Deadline
    ) -> Outcome:
        authority = self._authority(filed)
        due = authority is not None and self._publish(authority, published, announced, deadline)
        return Outcome(filed.anchor) if due else Outcome()

    def _authority(self, filed: FiledCertificate) -> _Authority | None:
        """A CA that is in date, and can be: an expired one has no clients."""
        stored = self._bucket.read(layout.managed_anchor_key(filed.anchor))
        if stored is None:
            return None
        (certificate,) = pki.from_pem(stored.body.decode("utf-8", "replace"))
        if certificate.not_valid_after_utc <= self._clock():
            return None
        return _Authority(certificate, filed.secret, filed.version_id)

    def _publish(
        self, authority: _Authority, published: PublishedList, announced: dict[str, str], deadline: Deadline
    ) -> bool:
        """Make a CA's CRL if it is due, and announce it; whether it was due.

        Args:
            authority: the CA.
            published: the list that it is made from.
            announced: by key, the ETag of each CRL that was announced; this one's is added.
            deadline: until when to wait for a key that was just made.

        Raises:
            SupersededError: another run has written a newer list or CRL, which must not be undone by an older one.
        """
        ca, now = authority.certificate, self._clock()
        revoked = published.register.by(ca)
        stored = self._bucket.read(authority.key)
        previous = crl.parse(stored.body) if stored else None
        if stored and previous is not None and not crl.is_due(ca, revoked, previous, now):
            if announced.get(authority.key) != stored.etag:  # the run that made it was killed before it could
                self._announce(authority, revoked, previous.next_update_utc or now)
                announced[authority.key] = stored.etag
            return False
        body = crl.build(ca, self._signing_key(authority, deadline), revoked, previous, now, self._validity)
        # After the CRL was read, and before it is replaced on the condition that it is still that one: whoever writes a
        # newer list now will find this CRL, and whoever has done so is found here.
        if (newest := self._bucket.newest(layout.REVOCATION_LIST)) != published.version_id:
            raise SupersededError(
                where=f"s3://{self._bucket.name}/{layout.REVOCATION_LIST}",
                found=f"the version {newest}",
                expected=f"the version {published.version_id}, which the CRL was made from",
                remedy="Nothing to do: it is looked at afresh and tried again.",
            )
        written = self._bucket.replace(authority.key, body, stored, content_type=_MEDIA_TYPE)
        self._announce(authority, revoked, now + self._validity)
        announced[authority.key] = written.etag
        return True

    def _announce(self, authority: _Authority, revoked: Sequence[Revoked], next_update: datetime) -> None:
        self._bus.put(
            REVOCATION_LIST_PUBLISHED,
            {
                "uri": f"s3://{self._bucket.name}/{authority.key}",
                "issuer": subject(authority.certificate),
                "ca_fingerprint_sha256": fingerprint(authority.certificate),
                "revoked": sum(map(crl.can_hold, revoked)),
                "left_out": [it.certificate.serial_number for it in revoked if not crl.can_hold(it)],
                "next_update": to_rfc3339(next_update),
            },
        )

    def _signing_key(self, authority: _Authority, deadline: Deadline) -> SigningKey:
        """The CA's key, which the issuer finds by the version of the CA secret.

        Raises:
            UnusableIssuerError: the version is gone, or the key in it is another's: whoever may write it chooses that.
        """
        where = f"secret {authority.secret}, version {authority.version_id}"
        found = "no value"
        try:
            version = self._versions.version(authority.secret, authority.version_id)
        except ClientError as error:
            if (reason := out_of_reach(error)) is None:
                raise
            version, found = None, reason
        if version is None:
            raise UnusableIssuerError(
                where=where,
                found=found,
                expected="the key of a CA that is in date",
                remedy="Restore the secret with its tags, or rotate what chains to this CA: it is forgotten then.",
            )
        key = self._issuers.signing_key(parse_secret(version.value, where), where, deadline)
        if key.public_key() != authority.certificate.public_key():
            raise UnusableIssuerError(
                where=where,
                found=f"a private key that is not the one of {subject(authority.certificate)}",
                expected="the key of the CA whose certificate the version holds",
                remedy="See who else may write the secret, and rotate it.",
            )
        return key
