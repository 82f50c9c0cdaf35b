"""The certificates that come back: which request they answer, and what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.aws.secret_versions import HIDDEN, RotationStart
from mtls_rotation.contract import layout
from mtls_rotation.contract.events import SIGNED_CERTIFICATE_ACCEPTED, SIGNED_CERTIFICATE_REJECTED
from mtls_rotation.errors import UnfitCertificateError
from mtls_rotation.issuers.external.answer import certificates_in
from mtls_rotation.issuers.external.request import MOST_CERTIFICATES, SigningRequest, too_many
from mtls_rotation.pki.certificates import (
    fingerprint,
    public_key_fingerprint,
    serial,
    short_name,
    short_subject,
    to_pem,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from cryptography import x509

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.aws.services import Services
    from mtls_rotation.issuers.external.request import Signed


@dataclass(frozen=True, slots=True)
class Accept:
    """They hold the certificate that a request waits for."""

    request: SigningRequest
    signed: Signed


@dataclass(frozen=True, slots=True)
class AlreadyTaken:
    """One of them is filed for a secret: S3 may tell of an upload twice, and a run may be killed at its end."""

    secret: str


@dataclass(frozen=True, slots=True)
class Reject:
    """They answer no request, or do not fit the one that they answer.

    Attributes:
        error: why.
        secret: whose request they answer; empty if they answer none.
    """

    error: UnfitCertificateError
    secret: str = ""


class Index(Protocol):
    """What is known of requests and certificates. Each answer costs calls, so no more are asked for than it takes."""

    def request_for(self, certificate: x509.Certificate) -> SigningRequest | None:
        """The request that is out for the certificate's key.

        Raises:
            UnfitCertificateError: what was noted of that request cannot be read.
        """
        ...

    def holder_of(self, certificates: Iterable[x509.Certificate]) -> str:
        """The secret for which one of the certificates is filed; empty if there is none."""
        ...

    def waiting(self) -> list[str]:
        """The secrets whose requests are out."""
        ...


def match(found: Sequence[x509.Certificate], index: Index, now: datetime, where: str) -> Accept | AlreadyTaken | Reject:
    """Decide what is to become of certificates that came back. Changes nothing.

    Args:
        found: the certificates.
        index: what is known.
        now: the moment at which they must be in date.
        where: what to call them in an error.
    """
    request = None
    try:
        request = matching_request(found, index, where)
        if request is not None:
            return Accept(request, request.fit(found, now))
    except UnfitCertificateError as error:
        return Reject(error, request.name if request else "")
    if holder := index.holder_of(found):
        return AlreadyTaken(holder)
    return Reject(no_matching_request(found, index, where))


def matching_request(found: Sequence[x509.Certificate], index: Index, where: str) -> SigningRequest | None:
    """The request that one of the certificates answers. Each costs a call, so what no answer may be is not looked at.

    Raises:
        UnfitCertificateError: there are more than an answer has, or what was noted of that request cannot be read.
    """
    if len(found) > MOST_CERTIFICATES:
        raise UnfitCertificateError(
            where=where,
            found=too_many(found),
            expected="the certificate for a request, followed by the CAs above it",
            remedy=f"Upload those alone under {layout.SIGNED}; nothing was changed.",
        )
    return next(filter(None, map(index.request_for, found)), None)


def no_matching_request(found: Sequence[x509.Certificate], index: Index, where: str) -> UnfitCertificateError:
    """The error for certificates that answer no request."""
    waiting = index.waiting()
    names = ", ".join(map(short_subject, found))
    return UnfitCertificateError(
        where=where,
        found=f"certificates that match no request ({names})" if found else "no certificate",
        expected=f"the answer to a request of {', '.join(waiting)}" if waiting else "nothing: no request is out",
        remedy=f"Have a request under {layout.REQUESTED} signed, and upload the answer; nothing was changed.",
    )


class BucketIndex:
    """The index that the bucket's keys are."""

    def __init__(self, bucket: CertificateBucket) -> None:
        self._bucket = bucket

    def request_for(self, certificate: x509.Certificate) -> SigningRequest | None:
        """See `Index`."""
        prefix = f"{layout.REQUESTED}{public_key_fingerprint(certificate.public_key())}/"
        for entry in self._bucket.list(prefix):
            if entry.key.endswith(".json") and (note := self._bucket.read(entry.key)):
                return SigningRequest.parse(note.body, f"s3://{self._bucket.name}/{entry.key}")
        return None

    def holder_of(self, certificates: Iterable[x509.Certificate]) -> str:
        """See `Index`."""
        wanted = {serial(it): it for it in certificates}
        if not wanted:
            return ""
        for filed in CertificateIndex.read(self._bucket).with_serial_number(*wanted):
            stored = self._bucket.read(filed.key)
            if stored and wanted[filed.serial_number] in certificates_in(stored.body):
                return filed.secret
        return ""

    def waiting(self) -> list[str]:
        """See `Index`."""
        return sorted(
            {
                entry.key.removeprefix(layout.REQUESTED).partition("/")[2].removesuffix(".json")
                for entry in self._bucket.list(layout.REQUESTED)
                if entry.key.endswith(".json")
            }
        )


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
        decision = match(found, BucketIndex(self._bucket), self._clock(), f"s3://{self._bucket.name}/{key}")
        match decision:
            case AlreadyTaken(secret=secret):
                return Outcome(key, secret, "")
            case Reject(secret=secret, error=error):
                return self._reject(key, secret, found, error)
            case Accept(request=request, signed=signed):
                try:
                    self._accept(request, signed)
                except UnfitCertificateError as error:
                    return self._reject(key, request.name, found, error)
                return Outcome(key, request.name, "")

    def _accept(self, request: SigningRequest, signed: Signed) -> None:
        key = layout.accepted_key(request.public_key)
        body = to_pem(signed.certificate, *signed.chain, signed.anchor).encode()
        previous = self._bucket.read(key)
        if previous is None or previous.body != body:
            self._bucket.replace(key, body, previous)
        # Said before the rotation goes on: once that is through no request matches any more, and a run that repeats one
        # which was killed here has nothing to say.
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
        reasons = {RotationStart.REFUSED: "rotation switched off", RotationStart.OUT_OF_REACH: HIDDEN}
        if reason := reasons.get(self._versions.rotate(request.arn)):
            raise UnfitCertificateError(
                where=f"secret {request.name}",
                found=f"a signed certificate that fits, and {reason}",
                expected="a secret with a rotation schedule",
                remedy="Switch rotation on, and see that the secret is there with its tag; the certificate is kept and"
                " taken then.",
            )

    def _reject(
        self, key: str, secret: str, found: Sequence[x509.Certificate], error: UnfitCertificateError
    ) -> Outcome:
        self._bus.put(
            SIGNED_CERTIFICATE_REJECTED,
            {
                "uri": f"s3://{self._bucket.name}/{key}",
                "secret_name": secret,
                "certificates": [short_subject(it) for it in found[:MOST_CERTIFICATES]],
                "reason": error.found,
                "message": str(error),
            },
        )
        return Outcome(key, secret, str(error))
