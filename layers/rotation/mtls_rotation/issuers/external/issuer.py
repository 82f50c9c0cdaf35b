"""The issuer that is an external CA: key and request are made here, its owner signs, often by hand and days later.

Until then the key waits in a version of its own, under a label of our own, so that AWSPENDING never holds half a value.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Literal, override

from cryptography import x509
from pydantic import SecretStr

from mtls_rotation.aws.revocations import read_revocations
from mtls_rotation.contract.issuer import CaCertificates, IssuerReference, SecretKind
from mtls_rotation.contract.labels import SIGNING_REQUEST
from mtls_rotation.contract.secret import ManagedSecret
from mtls_rotation.errors import WaitingForCertificateError
from mtls_rotation.issuers.api import Enabling, IssuerKind, Need
from mtls_rotation.issuers.external.publication import SigningRequests
from mtls_rotation.issuers.external.request import SigningRequest
from mtls_rotation.issuers.registry import parse_secret
from mtls_rotation.pki.certificates import CertifiedKey, from_pem, key_from_pem, key_to_pem
from mtls_rotation.pki.profile import generate_key, signing_request

if TYPE_CHECKING:
    from mtls_rotation.aws.secret_versions import SecretVersion
    from mtls_rotation.aws.services import Services
    from mtls_rotation.issuers.api import Order
    from mtls_rotation.pki.certificates import SigningKey

_CSR = "certificate_signing_request"


class Reference(IssuerReference):
    """An external CA signs our certificate signing request. Its other clients are none of ours.

    Attributes:
        ca_certificates: PEM of the CAs that may sign. Where it is there, the signed certificate must chain to one of
            them, whatever comes with it; they need not come.
    """

    trusted_by_default = False

    type: Literal["external"]
    ca_certificates: CaCertificates | None = None

    @override
    def misfit(self, kind: SecretKind, *, trusted: bool) -> tuple[str, str] | None:
        if trusted and self.ca_certificates is None:
            return (
                'a client of the gateway whose issuer "external" has no ca_certificates',
                "issuer.ca_certificates: else whoever may upload an answer chooses a CA that the gateway trusts",
            )
        return None


class ExternalIssuer:
    """Waits for a certificate that an external CA signs."""

    def __init__(self, reference: Reference, services: Services) -> None:
        self._ca_certificates = reference.ca_certificates or ""
        self._versions = services.versions
        self._bucket = services.bucket
        self._requests = SigningRequests(services.bucket, services.bus)

    def issue(self, order: Order) -> CertifiedKey:
        """The key that waits, with the certificate that was signed for it. See `Issuer.issue`."""
        key, request = self._outstanding(order)
        answer = self._requests.accepted(request)
        if not answer:
            self._requests.publish(request)
            raise WaitingForCertificateError(
                where=order.where,
                found="a signing request that is out, and no signed certificate yet",
                expected=f"the answer to {request.key}, uploaded under signed/",
                remedy="Nothing is wrong: the rotation goes on when the signed certificate comes.",
            )
        signed = request.fit(answer, order.now)
        return CertifiedKey(key=key, certificate=signed.certificate, chain=signed.chain, anchor=signed.anchor)

    def conclude(self, secret: ManagedSecret, arn: str, name: str) -> None:
        """Withdraw the request that was met, and let go of the version that kept its key. See `Concluding`."""
        waiting = self._versions.at(arn, SIGNING_REQUEST)
        if waiting is None:
            return
        kept = parse_secret(waiting.value, f"secret {name}")
        key, request = self._read(kept, arn, name)
        if _certifies(secret, key):
            self._requests.withdraw(request)
            self._versions.move_label(arn, SIGNING_REQUEST, waiting.version_id, None)

    def _outstanding(self, order: Order) -> tuple[SigningKey, SigningRequest]:
        """The request that is out for what the secret asks now; a new one if there is none.

        It outlives the rotation that made it: its answer may be under way while that is cancelled and another begun.

        Raises:
            RevocationUnknownError: the revocation list cannot be read.
        """
        waiting = self._versions.at(order.arn, SIGNING_REQUEST)
        if waiting is not None:
            kept = parse_secret(waiting.value, order.where)
            key, request = self._read(kept, order.arn, order.name)
            unchanged = (kept.request, kept.issuer) == (order.definition.request, order.definition.issuer)
            if unchanged and not _certifies(order.definition, key) and not self._is_lost(request):
                return key, request
            # It asked for something else, or was met and not cleared away, or its key is in wrong hands. An answer to
            # it will match no request.
            self._requests.withdraw(request)
        kept = self._begin(order, waiting)
        return self._read(kept, order.arn, order.name)

    def _is_lost(self, request: SigningRequest) -> bool:
        """Whether a certificate for the request's key is revoked. Another one for that key would serve the thief, too.

        Raises:
            RevocationUnknownError: the revocation list cannot be read.
        """
        revocations = read_revocations(self._bucket)
        accepted = self._requests.accepted(request)
        return revocations.include_one_for(request.public_key) or any(map(revocations.include, accepted))

    def _begin(self, order: Order, replaced: SecretVersion | None) -> ManagedSecret:
        """Keep a fresh key and its request in a version of their own. The run that puts it first wins."""
        definition = order.definition
        key = generate_key(definition.request.key_algorithm)
        csr = signing_request(definition.request, key)
        pem = SigningRequest(order.arn, order.name, definition.request, self._ca_certificates, csr).pem
        kept = ManagedSecret.model_validate(
            {
                "request": definition.request,
                "issuer": definition.issuer,
                "private_key": SecretStr(key_to_pem(key)),
                _CSR: pem,
            }
        )
        asked = definition.model_dump(mode="json", include={"request", "issuer"})
        follows = replaced.version_id if replaced else ""
        about = json.dumps([order.version_id, follows, asked], sort_keys=True)  # a token may have any separator in it
        version_id = str(uuid.uuid5(uuid.NAMESPACE_OID, about))
        if self._versions.put_labelled(order.arn, version_id, kept.render(), SIGNING_REQUEST):
            return kept
        stored = self._versions.await_version(order.arn, version_id, order.deadline)
        return parse_secret(stored.value, order.where)

    def _read(self, kept: ManagedSecret, arn: str, name: str) -> tuple[SigningKey, SigningRequest]:
        csr = x509.load_pem_x509_csr(str((kept.model_extra or {})[_CSR]).encode())
        key = key_from_pem(kept.private_key.get_secret_value() if kept.private_key else "")
        return key, SigningRequest(arn, name, kept.request, self._ca_certificates, csr)


def _certifies(secret: ManagedSecret, key: SigningKey) -> bool:
    """Whether the secret's certificate is for this key."""
    certificates = from_pem(secret.certificate or "")
    return bool(certificates) and certificates[0].public_key() == key.public_key()


KIND = IssuerKind(
    reference=Reference,
    issuer=ExternalIssuer,
    needs=(
        Need(("s3:GetObject", "s3:PutObject", "s3:DeleteObject"), "${Bucket.Arn}/requested/*"),
        Need(("s3:GetObject", "s3:DeleteObject"), "${Bucket.Arn}/accepted/*"),
        Need(("s3:ListBucket",), "${Bucket.Arn}"),
    ),
    condition="UsesExternal",
    enabling=lambda _: Enabling('issuer "external"', (("ClientIssuer", "external"), ("ExternalIssuer", "enabled"))),
)
