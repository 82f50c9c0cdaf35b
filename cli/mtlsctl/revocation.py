"""What is to be revoked, who holds it, and what was revoked already: from the bucket, without reading a secret."""

from __future__ import annotations

import json
import re
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from cryptography import x509

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.aws.secret_versions import out_of_reach
from mtls_rotation.contract import layout
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING
from mtls_rotation.errors import UnresolvedNoticeError, UnusableNoticeError
from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificate_id import digest_of
from mtls_rotation.pki.certificates import short_subject, to_pem
from mtls_rotation.pki.distinguished_names import DistinguishedName
from mtls_rotation.pki.presented import Presented
from mtls_rotation.revocation import notices
from mtls_rotation.revocation.known import Known
from mtls_rotation.revocation.notices import Named, Shown
from mtls_rotation.revocation.register import Register
from mtlsctl.errors import InvalidInputError, NoCertificateError
from mtlsctl.files import documents
from mtlsctl.stack.material import nothing_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.pki.certificate_id import CertificateId
    from mtls_rotation.revocation.notices import Reason
    from mtlsctl.stack.deployment import Deployment
    from mtlsctl.stack.material import Label

# How much of a name goes into the key of a notice.
_LONGEST = 100
# What a certificate in DER begins with.
_DER = b"\x30"
# `openssl x509 -serial` prints "serial=5E01".
_AS_OPENSSL_PRINTS_IT = re.compile(r"^\s*serial\s*=\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """What an operator asks for.

    Attributes:
        said: the certificate, or how it is named.
        subject: whom it names; empty where the certificate itself is not at hand.
        body: the notice that revokes it.
    """

    said: Shown | Named
    reason: Reason
    subject: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Target:
    """A certificate that is to be revoked, or to be released.

    Attributes:
        subject: whom it names; empty where the certificate itself is not at hand.
        body: the notice that revokes it.
        signers: what the list may call the signer of the certificate: see `CertificateId`.
    """

    certificate: CertificateId
    reason: Reason
    subject: str
    body: bytes
    signers: frozenset[str]

    def is_named_by(self, certificate: CertificateId) -> bool:
        """Whether a notice or the list means this certificate."""
        return certificate.serial_number == self.certificate.serial_number and certificate.signer in self.signers


@dataclass(frozen=True, slots=True)
class Holder:
    """A version of a secret that holds the certificate.

    Attributes:
        labels: the staging labels on it.
        rotatable: whether the secret has a rotation function: revocation rotates it even where its schedule is off.
    """

    secret: str
    version_id: str
    labels: frozenset[str]
    rotatable: bool

    @property
    def in_use(self) -> bool:
        """Whether the secret has to be rotated."""
        return bool(self.labels & {AWSCURRENT, AWSPENDING})

    @property
    def rotates(self) -> bool:
        """Whether the secret is rotated by itself."""
        return self.in_use and self.rotatable


class Files:
    """What the bucket says of certificates: who holds them, and what was said of them."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._bucket: CertificateBucket = deployment.services.bucket
        self._index = CertificateIndex.read(self._bucket)
        self._known = Known(self._bucket)

    def of_secret(self, secret_id: str, label: Label, reason: Reason) -> Request:
        """The certificate of a secret's version at `label`.

        Raises:
            UnknownSecretError: there is no such secret of the stack.
            NoCertificateError: there is no certificate at that label, or none is filed.
            UnusableNoticeError: it is a CA's.
        """
        described = self._deployment.secret(secret_id)
        version = described.version_at(label)
        if version is None:
            raise nothing_at(described.name, label)
        for filed in self._index.of_version(described.name, version):
            if found := self._index.certificate(filed):
                return of_certificate(found, reason, f"secret {described.name} at {label}")
        raise NoCertificateError(
            where=f"secret {described.name}, version {version}",
            found="no certificate that is filed in the bucket",
            expected="the certificate at that label, as every rotation files it",
            remedy="The version was put by hand, most likely. Name the certificate itself with --certificate.",
        )

    def target(self, request: Request) -> Target:
        """The certificate that is meant.

        Raises:
            InvalidInputError: what names it would revoke nobody, or perhaps another: see `notices.identify`.
        """
        where = "--certificate" if isinstance(request.said, Shown) else "--issuer and --serial"
        try:
            certificate = notices.identify(request.said, self._known, where).certificate
        except UnresolvedNoticeError as error:
            # Its CA may be gone since it was revoked.
            if (revoked := self._revoked_as(request.said)) is None:
                raise InvalidInputError(
                    where=error.where,
                    found=error.found,
                    expected=error.expected,
                    remedy="Nothing was uploaded. Give the certificate itself with --certificate.",
                ) from None
            certificate = revoked
        found: list[x509.Certificate | Presented] = (
            [request.said.certificate] if isinstance(request.said, Shown) else []
        )
        found += self._known.filed(certificate.serial_number)
        same = [it for it in found if self._known.authorities.identify(it).signer == certificate.signer]
        signers = frozenset({certificate.signer, *map(digest_of, same)})
        return Target(certificate, request.reason, request.subject, request.body, signers)

    def holders(self, target: Target) -> list[Holder]:
        """Every version that holds it and that still carries a label."""
        versions: dict[tuple[str, str], None] = {}
        # A key tells the serial number alone; the few certificates that match are looked at.
        for filed in self._index.with_serial_number(target.certificate.serial_number):
            found = self._index.certificate(filed)
            if found and target.is_named_by(self._known.authorities.identify(found)):
                versions[filed.secret, filed.version_id] = None
        return [holder for secret, version in versions if (holder := self._holder(secret, version))]

    def is_filed(self, target: Target) -> bool:
        """Whether a certificate that was issued here is the one that is meant."""
        found = self._known.filed(target.certificate.serial_number)
        return any(target.is_named_by(self._known.authorities.identify(it)) for it in found)

    def register(self) -> Register:
        """The revocation list; an empty one where there is none."""
        return register(self._bucket)

    def notices_of(self, target: Target) -> dict[str, tuple[CertificateId, ...]]:
        """By key, every uploaded object that revokes it, with all that the object revokes."""
        known = self.register().sources
        found = {}
        for entry in self._bucket.list(layout.REVOKED):
            source = known.get(entry.key)
            says = [it.certificate for it in source.notices] if source else []
            if source is None or source.etag != entry.etag:
                says += self._said(entry.key)
            if any(map(target.is_named_by, says)):
                found[entry.key] = tuple(says)
        return found

    def _revoked_as(self, said: Shown | Named) -> CertificateId | None:
        """The one certificate on the list that is called so; None if there is none, or another as well."""
        if isinstance(said, Shown):
            return None
        found = [
            it
            for it in self.register().revoked
            if it.serial_number == said.serial_number
            and any(map(DistinguishedName.parse(it.issuer).is_same, said.issuers))
        ]
        return found[0] if len(found) == 1 else None

    def _said(self, key: str) -> list[CertificateId]:
        """What an object that the list does not know yet will revoke."""
        stored = self._bucket.read(key)
        try:
            said = notices.parse(stored.body, key) if stored else ()
            return [notices.identify(it, self._known, key).certificate for it in said]
        except UnusableNoticeError:
            return []

    def _holder(self, secret: str, version: str) -> Holder | None:
        client = self._deployment.session.client("secretsmanager")
        try:
            answer: Mapping[str, Any] = client.describe_secret(SecretId=secret)
        except ClientError as error:
            if out_of_reach(error):
                return None  # whatever holds it, the revocation does not wait for it
            raise
        labels = frozenset(answer.get("VersionIdsToStages", {}).get(version, ()))
        if "DeletedDate" in answer or not labels:
            return None
        return Holder(answer["Name"], version, labels, rotatable=bool(answer.get("RotationLambdaARN")))


def register(bucket: CertificateBucket) -> Register:
    """The revocation list as it is now; an empty one where there is none."""
    stored = bucket.read(layout.REVOCATION_LIST)
    try:
        return Register.parse(stored.body) if stored else Register()
    except ValueError:
        return Register()  # the revocation function makes it anew


def listed(target: Target, known: Register) -> bool:
    """Whether the revocation list has a certificate. Pure."""
    return any(map(target.is_named_by, known.revoked))


def of_certificate(certificate: x509.Certificate, reason: Reason, where: str) -> Request:
    """A certificate that is at hand.

    Raises:
        UnusableNoticeError: it is a CA's, or the gateway lets nobody in with one like it.
    """
    return _request({"certificate": to_pem(certificate), "reason": reason}, where, short_subject(certificate))


def of_name(issuer: str, serial_number: str, reason: Reason) -> Request:
    """A certificate by its issuer's name and its serial number, written as tools write them.

    Raises:
        InvalidInputError: they are not a name, or not a serial number.
    """
    serial_number = _AS_OPENSSL_PRINTS_IT.sub("", serial_number)
    document = {"issuer": issuer, "serial_number": serial_number, "reason": reason}
    try:
        return _request(document, "--issuer and --serial", "")
    except UnusableNoticeError as error:
        raise InvalidInputError(
            where=error.where,
            found=error.found,
            expected=error.expected,
            remedy="Nothing was uploaded. Correct it, or give the certificate itself with --certificate.",
        ) from None


def of_file(file: Path, reason: Reason) -> Request:
    """The certificate in a file, PEM or DER.

    Raises:
        InvalidInputError: the file cannot be read, or does not hold one certificate and nothing else of worth.
        UnusableNoticeError: it is a CA's.
    """
    where = f"--certificate {file}"
    body = documents.read(str(file), "--certificate")
    if b"PRIVATE KEY" in body:
        raise InvalidInputError(
            where=where,
            found="a private key",
            expected="the PEM or DER of the one certificate that is to be revoked",
            remedy="Nothing was uploaded. `openssl x509 -in FILE` prints the certificate alone;"
            " `mtlsctl export SECRET --without-key` has it from its secret.",
        )
    if body[:1] == _DER:
        body = ssl.DER_cert_to_PEM_cert(body).encode()
    match bundles.parse(body):
        case [x509.Certificate() as certificate]:
            return of_certificate(certificate, reason, where)
        case [_]:
            return _of_odd(body, reason, where)
        case several:
            raise _unfit(where, f"{len(several)} certificates")


def _of_odd(body: bytes, reason: Reason, where: str) -> Request:
    """A certificate that the library does not read, as it has a name that cannot be decoded: gateways let it in."""
    try:
        certificate = Presented.from_pem(body.decode("ascii", "replace"))
    except ValueError:
        raise _unfit(where, "no certificate") from None
    subject = str(certificate.subject_name)[:_LONGEST]
    return _request({"certificate": certificate.pem, "reason": reason}, where, subject)


def notice_key(target: Target, holders: Sequence[Holder]) -> str:
    """Under which key the notice is put: whose certificate it is, and its serial number. Pure."""
    who = holders[0].secret if holders else target.subject or f"issued by {target.certificate.issuer}"
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", who).strip("-")[:_LONGEST]
    return f"{layout.REVOKED}{name}.{target.certificate.serial_number}.json"


def shared(found: Iterable[tuple[str, Sequence[CertificateId]]]) -> str | None:
    """The first notice that revokes another certificate as well: it cannot be deleted for one. Pure."""
    return next((key for key, says in found if len({it.serial_number for it in says}) > 1), None)


def _request(document: dict[str, str], where: str, subject: str) -> Request:
    body = json.dumps(document, indent=1).encode()
    (said,) = notices.parse(body, where)
    return Request(said, said.reason, subject, body)


def _unfit(where: str, found: str) -> InvalidInputError:
    return InvalidInputError(
        where=where,
        found=found,
        expected="the PEM or DER of the one certificate that is to be revoked",
        remedy="Nothing was uploaded. Give a file with that certificate alone.",
    )
