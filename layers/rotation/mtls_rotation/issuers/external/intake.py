"""Certificates that somebody else signs for us: what is asked for, and whether what came back is that.

The request lies in the bucket, public as it is, under the fingerprint of its key; so whoever looks at what came back
needs no secret to see for whom it is, and whether it fits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.aws.secret_versions import RotationStart
from mtls_rotation.contract import layout
from mtls_rotation.contract.events import (
    CERTIFICATE_SIGNING_REQUESTED,
    SIGNED_CERTIFICATE_ACCEPTED,
    SIGNED_CERTIFICATE_REJECTED,
)
from mtls_rotation.errors import MtlsRotationError, UnfitCertificateError
from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import (
    fingerprint,
    public_key_fingerprint,
    serial,
    short_name,
    short_subject,
    to_pem,
)
from mtls_rotation.pki.conformity import breaches
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.pki.verification import order_chain, refusals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.aws.bus import EventBus
    from mtls_rotation.aws.services import Services

# An answer has a certificate, and the CAs above it.
_MOST_CERTIFICATES = 100
# Secrets Manager's own limits for an ARN and a name.
_LONGEST_NAMES = 2048 + 512


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed certificate that fits: the leaf, its intermediates in order, and the topmost CA."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    anchor: x509.Certificate


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What somebody else is to sign."""

    arn: str
    name: str
    request: CertificateRequest
    ca_certificates: str
    csr: x509.CertificateSigningRequest

    @property
    def public_key(self) -> str:
        """The fingerprint of the key that is to be certified."""
        return public_key_fingerprint(self.csr.public_key())

    @property
    def key(self) -> str:
        """Where the request lies, for people and programs that sign."""
        return layout.requested_key(self.public_key, self.name, "csr")

    @property
    def note(self) -> str:
        """Where it is written down what was asked for."""
        return layout.requested_key(self.public_key, self.name, "json")

    @property
    def pem(self) -> str:
        """The request as PEM (RFC 7468, section 7)."""
        return self.csr.public_bytes(serialization.Encoding.PEM).decode()

    def render(self) -> str:
        """The note as JSON."""
        return json.dumps(
            {
                "secret_arn": self.arn,
                "secret_name": self.name,
                "request": self.request.model_dump(mode="json", exclude_none=True),
                "ca_certificates": self.ca_certificates,
                "certificate_signing_request": self.pem,
            },
            indent=1,
        )

    @classmethod
    def parse(cls, text: bytes, where: str) -> SigningRequest:
        """Read a note that `render` wrote.

        Args:
            text: the note.
            where: what to call it in an error.

        Raises:
            UnfitCertificateError: it is something else.
        """
        try:
            note: dict[str, Any] = json.loads(text)
            texts = [note[it] for it in ("secret_arn", "secret_name", "ca_certificates", "certificate_signing_request")]
            if not all(isinstance(it, str) for it in texts):
                raise TypeError
            arn, name, authorities, pem = texts
            if len(f"{arn}{name}".encode()) > _LONGEST_NAMES:
                raise ValueError
            authorities.encode()
            request = CertificateRequest.model_validate(note["request"])
            csr = x509.load_pem_x509_csr(pem.encode())
            made = cls(arn, name, request, authorities, csr)
            _ = made.public_key, csr.subject.rfc4514_string()  # parsing is lazy
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UnsupportedAlgorithm) as error:
            raise UnfitCertificateError(
                where=where,
                found=f"no note of a signing request ({type(error).__name__})",
                expected="the note that the rotation wrote when it asked for the certificate",
                remedy="Delete it: the rotation writes it anew when it is tried again. Then upload the answer again.",
            ) from None
        return made

    def fit(self, found: Sequence[x509.Certificate], now: datetime) -> Signed:
        """The certificate for this request among those that came back, with its chain.

        Raises:
            UnfitCertificateError: none is for its key, or the one that is breaks the request.
        """
        if len(found) > _MOST_CERTIFICATES:
            raise self._unfit(f"{len(found)} certificates, where {_MOST_CERTIFICATES} are more than any chain has")
        leaf = next((it for it in found if public_key_fingerprint(it.public_key()) == self.public_key), None)
        if leaf is None:
            raise self._unfit(f"certificates for other keys ({', '.join(map(short_subject, found)) or 'none at all'})")
        reasons = breaches(self.request, leaf, self.csr.public_key())
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            reasons.append(
                f"it is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to"
                f" {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, which is not now"
            )
        configured = [it for it in bundles.parse(self.ca_certificates.encode()) if isinstance(it, x509.Certificate)]
        chain, anchor = order_chain(leaf, (*found, *configured))
        if anchor is None:
            reasons.append(
                f"the CA that signed it, {short_name(leaf.issuer)}, is neither in the file nor in"
                " issuer.ca_certificates"
            )
        elif not reasons:
            reasons += refusals(leaf, None, chain, [anchor], now)
        if reasons or anchor is None:
            raise self._unfit("; ".join(reasons))
        return Signed(leaf, chain, anchor)

    def _unfit(self, found: str) -> UnfitCertificateError:
        return UnfitCertificateError(
            where=f"the signed certificate for secret {self.name}",
            found=found,
            expected=f"a certificate for the request {self.key}, followed by the CAs above it",
            remedy=f"Have that request signed, and upload the answer under {layout.SIGNED}; nothing was changed.",
        )


class SigningRequests:
    """The requests that are out, in the bucket."""

    def __init__(self, bucket: CertificateBucket, bus: EventBus) -> None:
        self._bucket = bucket
        self._bus = bus

    def publish(self, request: SigningRequest) -> None:
        """Announce a request and put it where it is looked for. What is out already is not announced again."""
        if self._bucket.read(request.note) is not None:
            return
        self._bucket.put_once(request.key, request.pem)
        self._bus.put(
            CERTIFICATE_SIGNING_REQUESTED,
            {
                "secret_arn": request.arn,
                "secret_name": request.name,
                "subject": request.csr.subject.rfc4514_string(),
                "public_key_sha256": request.public_key,
                "request_uri": f"s3://{self._bucket.name}/{request.key}",
                "answer_uri": f"s3://{self._bucket.name}/{layout.SIGNED}",
                "certificate_signing_request": request.pem,
            },
            request.arn,
        )
        # Last, so that a killed run announces again rather than never.
        self._bucket.put_once(request.note, request.render())

    def accepted(self, request: SigningRequest) -> tuple[x509.Certificate, ...]:
        """What came back and was found fit, if anything did."""
        stored = self._bucket.read(layout.accepted_key(request.public_key))
        if stored is None:
            return ()
        return tuple(it for it in bundles.parse(stored.body) if isinstance(it, x509.Certificate))

    def withdraw(self, request: SigningRequest) -> None:
        """Take back a request that was met, or that another took the place of."""
        for key in (request.note, request.key, layout.accepted_key(request.public_key)):
            self._bucket.delete(key)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one uploaded object.

    Attributes:
        secret: the secret that waited for it, where one did.
        refusal: why it was not taken; empty if it was.
    """

    key: str
    secret: str
    refusal: str


class Intake:
    """Looks at what was uploaded under `signed/`, and has the rotation that waits for it go on. Reads no secret."""

    def __init__(self, services: Services) -> None:
        self._versions = services.versions
        self._bucket = services.bucket
        self._bus = services.bus
        self._clock = services.clock

    def run(self, key: str) -> Outcome:
        """Take in one object.

        Returns:
            What became of it. A refusal is announced, and changes nothing.
        """
        stored = self._bucket.read(key)
        found = certificates_in(stored.body) if stored else []
        request = None
        try:
            request = awaited(self._bucket, found)
            if request is None:
                if holder := already_taken(self._bucket, found):
                    return Outcome(key, holder, "")
                raise nobody_waits(self._bucket, found, f"s3://{self._bucket.name}/{key}")
            signed = request.fit(found, self._clock())
        except UnfitCertificateError as error:
            return self._reject(key, request.name if request else "", found, error)
        self._accept(request, signed)
        return Outcome(key, request.name, "")

    def _accept(self, request: SigningRequest, signed: Signed) -> None:
        key = layout.accepted_key(request.public_key)
        body = to_pem(signed.certificate, *signed.chain, signed.anchor).encode()
        previous = self._bucket.read(key)
        if previous is None or previous.body != body:
            self._bucket.replace(key, body, previous)
        # Said before the rotation goes on: once that is through nobody waits any more, and a run that repeats one which
        # was killed here has nothing to say.
        self._bus.put(
            SIGNED_CERTIFICATE_ACCEPTED,
            {
                "secret_arn": request.arn,
                "secret_name": request.name,
                "fingerprint_sha256": fingerprint(signed.certificate),
                "issuer": short_name(signed.certificate.issuer),
            },
            request.arn,
        )
        if self._versions.rotate(request.arn) is RotationStart.REFUSED:
            raise UnfitCertificateError(
                where=f"secret {request.name}",
                found="a signed certificate that fits, and rotation switched off",
                expected="a secret with a rotation schedule",
                remedy="Switch rotation on; the certificate is kept and taken then.",
            )

    def _reject(self, key: str, secret: str, found: Sequence[x509.Certificate], error: MtlsRotationError) -> Outcome:
        self._bus.put(
            SIGNED_CERTIFICATE_REJECTED,
            {
                "uri": f"s3://{self._bucket.name}/{key}",
                "secret_name": secret,
                "certificates": [short_subject(it) for it in found[:_MOST_CERTIFICATES]],
                "reason": error.found,
                "message": str(error),
            },
        )
        return Outcome(key, secret, str(error))


def awaited(bucket: CertificateBucket, found: Iterable[x509.Certificate]) -> SigningRequest | None:
    """The request that one of the certificates answers.

    Raises:
        UnfitCertificateError: the note of that request cannot be read.
    """
    for certificate in found:
        prefix = f"{layout.REQUESTED}{public_key_fingerprint(certificate.public_key())}/"
        for entry in bucket.list(prefix):
            if entry.key.endswith(".json") and (note := bucket.read(entry.key)):
                return SigningRequest.parse(note.body, f"s3://{bucket.name}/{entry.key}")
    return None


def already_taken(bucket: CertificateBucket, found: Iterable[x509.Certificate]) -> str:
    """The secret for which one of the certificates is filed; empty if there is none.

    S3 may tell of an upload twice, and a run may be killed after it has had the rotation go on.
    """
    wanted = {serial(it): it for it in found}
    if not wanted:
        return ""
    for filed in CertificateIndex.read(bucket).with_serial_number(*wanted):
        stored = bucket.read(filed.key)
        if stored and wanted[filed.serial_number] in certificates_in(stored.body):
            return filed.secret
    return ""


def nobody_waits(bucket: CertificateBucket, found: Sequence[x509.Certificate], where: str) -> UnfitCertificateError:
    """The error for certificates that answer no request."""
    waiting = sorted(
        {
            entry.key.removeprefix(layout.REQUESTED).partition("/")[2].removesuffix(".json")
            for entry in bucket.list(layout.REQUESTED)
            if entry.key.endswith(".json")
        }
    )
    names = ", ".join(map(short_subject, found))
    return UnfitCertificateError(
        where=where,
        found=f"certificates for keys that nobody waits for ({names})" if found else "no certificate",
        expected=f"the answer to a request of {', '.join(waiting)}" if waiting else "nothing: no request is out",
        remedy=f"Have a request under {layout.REQUESTED} signed, and upload the answer; nothing was changed.",
    )


def certificates_in(body: bytes) -> list[x509.Certificate]:
    """The certificates in what a CA may send: PEM with anything between, PKCS #7 (.p7b) in PEM or DER, or plain DER."""
    if found := [it for it in bundles.parse(body) if isinstance(it, x509.Certificate)]:
        return found
    from cryptography.hazmat.primitives.serialization import pkcs7

    for read in (pkcs7.load_pem_pkcs7_certificates, pkcs7.load_der_pkcs7_certificates, _single):
        try:
            listed = read(body)
        except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
            continue
        whole = (bundles.whole(lambda it=it: it) for it in listed)  # type: ignore[misc]
        return [it for it in whole if isinstance(it, x509.Certificate)]
    return []


def _single(body: bytes) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(body)]
