"""One run of revocation: what operators uploaded becomes the list, the CRLs, and rotations of what was revoked.

It compares what is with what should be, so it may run at any time and often. The list comes first: it is what keeps a
revoked certificate out.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from cryptography import x509

from mtls_rotation.aws.certificate_index import CertificateIndex, FiledCertificate
from mtls_rotation.aws.secret_versions import RotationStart
from mtls_rotation.contract import layout
from mtls_rotation.contract.events import (
    CERTIFICATE_REVOKED,
    REVOCATION_LIST_PUBLISHED,
    REVOCATION_REFUSED,
    REVOCATION_WITHDRAWN,
    Event,
)
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING
from mtls_rotation.contract.secret import ManagedSecret
from mtls_rotation.errors import SupersededError, UnusableIssuerError, UnusableNoticeError
from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificate_id import CertificateId
from mtls_rotation.pki.certificates import fingerprint, subject
from mtls_rotation.revocation import crl, notices
from mtls_rotation.revocation.register import Register, Revoked, Source, added, withdrawn
from mtls_rotation.revocation.state import Notebook
from mtls_rotation.timing import to_rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from mtls_rotation.aws.bucket import Listed
    from mtls_rotation.aws.services import Services
    from mtls_rotation.issuers.registry import Issuers
    from mtls_rotation.pki.certificates import SigningKey

log = logging.getLogger(__name__)

# How often a run that another overtook begins afresh by itself.
_TRIES = 3
# How many notices are read at once: a whole fleet may be revoked in one go.
_AT_ONCE = 16
_JSON, _CRL = "application/json", "application/pkix-crl"


@dataclass(frozen=True, slots=True)
class RevocationResult:
    """What one run found and did.

    Attributes:
        revoked: how many certificates are on the list.
        added: those that were not before.
        refused: by key, why an uploaded object does not count.
        crls: the CAs whose CRL was made, by fingerprint.
        rotated: the secrets whose rotation was started.
        problems: what could not be done, in words; the next run tries again.
    """

    revoked: int
    added: tuple[Revoked, ...]
    refused: Mapping[str, str]
    crls: tuple[str, ...]
    rotated: tuple[str, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Authority:
    """A CA of ours: its certificate, and the secret version that can sign for it."""

    certificate: x509.Certificate
    secret: str
    version_id: str

    @property
    def key(self) -> str:
        return layout.crl_key(fingerprint(self.certificate))


@dataclass(frozen=True, slots=True)
class _Published:
    """The list as it lies in the bucket."""

    register: Register
    version_id: str


class Revocation:
    """Brings the revocation list, the CRLs and the secrets in line with what operators uploaded under `revoked/`.

    Args:
        services: of Secrets Manager, what reads CA secrets to sign, and rotates what was revoked.
        issuers: what finds the keys of CAs.
        crl_validity: from a CRL to its next update. It is renewed at half of that.
    """

    def __init__(self, services: Services, *, issuers: Issuers, crl_validity: timedelta) -> None:
        self._issuers = issuers
        self._versions = services.versions
        self._bucket = services.bucket
        self._bus = services.bus
        self._clock = services.clock
        self._crl_validity = crl_validity

    def run(self) -> RevocationResult:
        """Run once.

        Returns:
            What was done, and what could not be: one CA that cannot sign holds up no other.

        Raises:
            SupersededError: other runs kept writing the list at the same time.
            ClientError: AWS refused a call for the list itself.
        """
        first: Register | None = None
        for _ in range(_TRIES):
            try:
                before, published, notebook = self._publish_list()
                first = first or before
                return self._follow(first, published, notebook)
            except SupersededError as error:
                log.info("begun afresh", extra={"reason": str(error)})
                overtaken = error
        raise overtaken

    def _follow(self, before: Register, published: _Published, notebook: Notebook) -> RevocationResult:
        """What follows from the list: CRLs and rotations."""
        register = published.register
        problems: list[str] = []
        issued = CertificateIndex.read(self._bucket)
        crls = self._publish_crls(issued.authorities, published, notebook, problems)
        rotated = self._rotate_what_was_revoked(issued, register, notebook, problems)
        new = tuple(added(register, before))
        problems += self._strangers(issued, new)
        return RevocationResult(len(register.revoked), new, register.refused, crls, rotated, tuple(problems))

    # the list ---------------------------------------------------------------------------------------------------------

    def _publish_list(self) -> tuple[Register, _Published, Notebook]:
        """Write the list if it is another one, and say what changed. What it was before, and what it is."""
        stored = self._bucket.read(layout.REVOCATION_LIST)
        before = _parsed(stored.body) if stored else Register()
        notebook = Notebook.open(self._bucket, before)
        after = Register.of(dict(self._sources(before)), before, self._clock())
        body = after.render()
        if stored is None or stored.body != body:
            stored = self._bucket.replace(layout.REVOCATION_LIST, body, stored, content_type=_JSON)
        # By what was announced, and not by what lay there: a run may have been killed in between.
        if notebook.notes.announced.render() != body:
            self._announce(notebook.notes.announced, after)
            notebook.write(announced=after)
        return before, _Published(after, stored.version_id), notebook

    def _sources(self, before: Register) -> Iterable[tuple[str, Source]]:
        unread = []
        for entry in self._bucket.list(layout.REVOKED):
            known = before.sources.get(entry.key)
            if known and known.etag == entry.etag:
                yield entry.key, known
            elif not entry.key.endswith("/"):
                unread.append((entry, known))
        if unread:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for (entry, _), source in zip(unread, pool.map(lambda it: self._read(*it), unread), strict=True):
                    if source:
                        yield entry.key, source

    def _read(self, entry: Listed, known: Source | None) -> Source | None:
        """What an object says. One that cannot be used does not undo what it said before, and holds up no other."""
        where = f"s3://{self._bucket.name}/{entry.key}"
        before = known.notices if known else ()
        try:
            if entry.size > notices.LARGEST_NOTICE:
                raise UnusableNoticeError(
                    where=where,
                    found=f"an object of {entry.size} bytes",
                    expected=f"no more than {notices.LARGEST_NOTICE} bytes",
                    remedy="Upload it in parts.",
                )
            stored = self._bucket.read(entry.key)
            return Source(stored.etag, notices.parse(stored.body, where)) if stored else None
        except UnusableNoticeError as error:
            return Source(entry.etag, before, str(error))
        except (ClientError, BotoCoreError) as error:
            # Without its ETag, so that it is tried again: a permission may be mended, or an archive restored.
            return Source("", before, f"{where} cannot be read: {error}")

    def _announce(self, before: Register, after: Register) -> None:
        events = [Event(CERTIFICATE_REVOKED, _detail(it)) for it in added(after, before)]
        events += [Event(REVOCATION_WITHDRAWN, _detail(it)) for it in withdrawn(after, before)]
        events += [
            Event(REVOCATION_REFUSED, {"uri": f"s3://{self._bucket.name}/{key}", "message": message})
            for key, message in after.refused.items()
            if before.refused.get(key) != message
        ]
        self._bus.put_all(events)

    def _strangers(self, issued: CertificateIndex, new: Sequence[Revoked]) -> Iterable[str]:
        """What was revoked just now under a name that no CA here has: it may be misspelt, and revoke nobody."""
        if not new:
            return
        known = {certificate.subject.rfc4514_string() for certificate in self._trusted(issued.authorities)}
        serial_numbers = {it.serial_number for it in issued.held}
        for revoked in new:
            if revoked.certificate.issuer not in known and revoked.certificate.serial_number not in serial_numbers:
                yield (
                    f"{revoked.certificate} was revoked, and no CA that is trusted here has that name: is it written as"
                    " RFC 4514 has it, the most specific part first? Better upload the certificate itself"
                )

    def _trusted(self, authorities: Sequence[FiledCertificate]) -> Iterable[x509.Certificate]:
        """Our own CAs, and every one in the truststore."""
        for key in (layout.TRUSTSTORE, *(layout.managed_anchor_key(it.anchor) for it in authorities)):
            if stored := self._bucket.read(key):
                yield from (it for it in bundles.parse(stored.body) if isinstance(it, x509.Certificate))

    # CRLs -------------------------------------------------------------------------------------------------------------

    def _publish_crls(
        self,
        authorities: Sequence[FiledCertificate],
        published: _Published,
        notebook: Notebook,
        problems: list[str],
    ) -> tuple[str, ...]:
        made = []
        ours = {layout.crl_key(it.anchor) for it in authorities}
        announced = {key: etag for key, etag in notebook.notes.crls.items() if key in ours}
        for issued in authorities:
            try:
                authority = self._authority(issued)
                if authority and self._publish_crl(authority, published, announced):
                    made.append(issued.anchor)
            except SupersededError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one CA holds up no other
                problems.append(f"no CRL of the CA {issued.anchor} (secret {issued.secret}): {error}")
        notebook.write(crls=announced)
        return tuple(made)

    def _authority(self, issued: FiledCertificate) -> _Authority | None:
        """A CA that is in date, and can be: an expired one has no clients."""
        stored = self._bucket.read(layout.managed_anchor_key(issued.anchor))
        if stored is None:
            return None
        certificate = x509.load_pem_x509_certificate(stored.body)
        if certificate.not_valid_after_utc <= self._clock():
            return None
        return _Authority(certificate, issued.secret, issued.version_id)

    def _publish_crl(self, authority: _Authority, published: _Published, announced: dict[str, str]) -> bool:
        """Make a CA's CRL if it is due, and announce it; whether it was due.

        Args:
            authority: the CA.
            published: the list that it is made from.
            announced: by key, the ETag of each CRL that was announced; this one's is added.

        Raises:
            SupersededError: another run has written a newer list or CRL, which must not be undone by an older one.
        """
        ca, now = authority.certificate, self._clock()
        revoked = published.register.by(subject(ca))
        stored = self._bucket.read(authority.key)
        previous = crl.parse(stored.body) if stored else None
        if stored and previous is not None and not crl.is_due(ca, revoked, previous, now):
            if announced.get(authority.key) != stored.etag:  # the run that made it was killed before it could
                self._announce_crl(authority, revoked, previous.next_update_utc or now)
                announced[authority.key] = stored.etag
            return False
        body = crl.build(ca, self._signing_key(authority), revoked, previous, now, self._crl_validity)
        # After the CRL was read, and before it is replaced on the condition that it is still that one: whoever writes a
        # newer list now will find this CRL, and whoever has done so is found here.
        if (newest := self._bucket.newest(layout.REVOCATION_LIST)) != published.version_id:
            raise SupersededError(
                where=f"s3://{self._bucket.name}/{layout.REVOCATION_LIST}",
                found=f"the version {newest}",
                expected=f"the version {published.version_id}, which the CRL was made from",
                remedy="Nothing to do: it is looked at afresh and tried again.",
            )
        written = self._bucket.replace(authority.key, body, stored, content_type=_CRL)
        self._announce_crl(authority, revoked, now + self._crl_validity)
        announced[authority.key] = written.etag
        return True

    def _announce_crl(self, authority: _Authority, revoked: Sequence[Revoked], next_update: datetime) -> None:
        self._bus.put(
            REVOCATION_LIST_PUBLISHED,
            {
                "uri": f"s3://{self._bucket.name}/{authority.key}",
                "issuer": subject(authority.certificate),
                "ca_fingerprint_sha256": fingerprint(authority.certificate),
                "revoked": len(revoked),
                "next_update": to_rfc3339(next_update),
            },
        )

    def _signing_key(self, authority: _Authority) -> SigningKey:
        """The CA's key, which the issuer finds by the version of the CA secret."""
        where = f"secret {authority.secret}, version {authority.version_id}"
        version = self._versions.version(authority.secret, authority.version_id)
        if version is None:
            raise UnusableIssuerError(
                where=where,
                found="no value",
                expected="the key of a CA that is in date",
                remedy="Restore the secret, or rotate what hangs on this CA: it is forgotten then.",
            )
        return self._issuers.signing_key(ManagedSecret.parse(version.value, where), where)

    # rotations --------------------------------------------------------------------------------------------------------

    def _rotate_what_was_revoked(
        self,
        issued: CertificateIndex,
        register: Register,
        notebook: Notebook,
        problems: list[str],
    ) -> tuple[str, ...]:
        """Have every secret rotated that holds a revoked certificate at AWSCURRENT or AWSPENDING."""
        held: dict[str, set[str]] = {secret: set() for secret in notebook.notes.given_up}
        # A key tells the serial number alone; the few certificates that match are looked at.
        for holder in issued.with_serial_number(*(it.serial_number for it in register.revoked)):
            try:
                certificate = issued.certificate(holder)
                if certificate and CertificateId.of(certificate) in register.revoked:
                    held.setdefault(holder.secret, set()).add(holder.version_id)
            except Exception as error:  # noqa: BLE001 - as below
                problems.append(f"{holder.key} cannot be read: {error}")
        rotated = []
        for secret, version_ids in sorted(held.items()):
            try:
                if self._rotate(secret, version_ids, notebook, problems):
                    rotated.append(secret)
            except SupersededError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one secret holds up no other
                if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
                    continue
                problems.append(f"secret {secret} holds a revoked certificate and is not rotated: {error}")
        return tuple(rotated)

    def _rotate(self, secret: str, revoked: set[str], notebook: Notebook, problems: list[str]) -> bool:
        """Rotate a secret if what it holds is revoked. One that is still pending is given up first."""
        description = self._versions.describe(secret)
        current, pending = description.version_at(AWSCURRENT), description.version_at(AWSPENDING)
        given_up = dict(notebook.notes.given_up)
        unfinished = secret in given_up and given_up[secret] == current
        if description.deleted or not (unfinished or {current, pending} & revoked):
            given_up.pop(secret, None)
            notebook.write(given_up=given_up)
            return False
        if pending is not None and pending in revoked:
            # Noted first: once it is given up, nothing else tells that the secret is to be rotated.
            notebook.write(given_up=given_up | {secret: current or ""})
            self._versions.drop_pending(description.arn, pending)
        if self._versions.rotate(description.arn) is RotationStart.REFUSED:
            problems.append(
                f"secret {secret} holds a revoked certificate and its rotation is switched off:"
                " switch it on, or rotate it yourself"
            )
            return False
        given_up.pop(secret, None)
        notebook.write(given_up=given_up)
        return True


def _parsed(body: bytes) -> Register:
    """The list that is there. One that somebody has broken is made anew from the notices; only the dates are lost."""
    try:
        return Register.parse(body)
    except ValueError as error:
        log.warning("the revocation list is made anew", extra={"reason": str(error)})
        return Register()


def _detail(revoked: Revoked) -> dict[str, object]:
    return {
        "issuer": revoked.certificate.issuer,
        "serial_number": revoked.certificate.serial_number,
        "revoked_at": to_rfc3339(revoked.at),
        "reason": revoked.reason,
    }
