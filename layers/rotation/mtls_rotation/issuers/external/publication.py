"""The requests that are out: in the bucket, where they are looked for, and announced."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from mtls_rotation.contract import layout
from mtls_rotation.contract.events import CERTIFICATE_SIGNING_REQUESTED
from mtls_rotation.pki import bundles
from mtls_rotation.pki.distinguished_names import rfc4514

if TYPE_CHECKING:
    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.aws.bus import EventBus
    from mtls_rotation.issuers.external.request import SigningRequest


class SigningRequests:
    """Publishes requests, and finds what was accepted for them."""

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
                "subject": rfc4514(request.csr.subject),
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
