"""The issuer that is a CA of AWS Private CA. Its root becomes the anchor, its subordinates the chain.

https://docs.aws.amazon.com/privateca/latest/APIReference/API_IssueCertificate.html
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Annotated, Any, Literal

from botocore.exceptions import ClientError
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import AfterValidator

from mtls_rotation.contract.issuance import Secret
from mtls_rotation.contract.issuer import IssuerReference
from mtls_rotation.errors import (
    InvalidSecretError,
    OutOfTimeError,
    UnusableIssuerError,
)
from mtls_rotation.issuers.api import Enabling, IssuerKind, Need
from mtls_rotation.issuers.ca_secret import require_within
from mtls_rotation.issuers.remote import Answer, certified
from mtls_rotation.pki.certificates import from_pem, public_key_fingerprint, short_subject
from mtls_rotation.pki.profile import BACKDATE
from mtls_rotation.pki.signatures import signed_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cryptography import x509
    from mypy_boto3_acm_pca import ACMPCAClient
    from mypy_boto3_acm_pca.literals import SigningAlgorithmType

    from mtls_rotation.contract.issuance import Issuance
    from mtls_rotation.issuers.api import Order
    from mtls_rotation.pki.certificates import CertifiedKey

_PRIVATE_CA_ARN = re.compile(r"arn:aws[a-z-]*:acm-pca:[a-z0-9-]+:[0-9]{12}:certificate-authority/[A-Za-z0-9-]+")
# Passes subject and alternative names through from the CSR, and sets everything else itself:
# https://docs.aws.amazon.com/privateca/latest/userguide/template-definitions.html
_TEMPLATE = "template/EndEntityClientAuthCertificate/V1"
_UNUSABLE = frozenset(
    {
        "ResourceNotFoundException",
        "InvalidStateException",
        "InvalidArnException",
        "InvalidArgsException",
        "MalformedCSRException",
        "ValidationException",
    }
)


def _private_ca_arn(text: str) -> str:
    if not _PRIVATE_CA_ARN.fullmatch(text):
        raise ValueError("the ARN of a CA of AWS Private CA, arn:aws:acm-pca:REGION:ACCOUNT:certificate-authority/ID")
    return text


class Reference(IssuerReference):
    """A CA of AWS Private CA."""

    type: Literal["acm-pca"]
    certificate_authority_arn: Annotated[str, AfterValidator(_private_ca_arn)]


class AcmPcaIssuer:
    """Has a CA of AWS Private CA sign."""

    def __init__(self, arn: str, client: ACMPCAClient, issuance: Callable[[], Issuance]) -> None:
        self._arn = arn
        self._client = client
        self._issuance = issuance

    def issue(self, order: Order) -> CertifiedKey:
        """A fresh key, certified by Private CA. See `Issuer.issue`."""
        request = order.definition.request
        self._issuance().require_entitled(Secret(order.name, order.arn), request)
        if request.extended_key_usages:
            raise InvalidSecretError(
                where=order.where,
                found=f"request.extended_key_usages = {list(request.extended_key_usages)}",
                expected="none with AWS Private CA, whose template for clients gives clientAuth alone",
                remedy="Leave it out, or choose another issuer.",
            )
        ca = self._ca_certificate(order)
        require_within(order, ca, "renew the CA in AWS Private CA first.")
        return certified(order, lambda csr: self._sign(order, csr, ca), issuer=self._arn, unusable=self._unusable)

    def has_issued(self, order: Order, certificate: x509.Certificate) -> bool:
        """Whether it is by the CA of AWS Private CA. See `Vouching`."""
        self._issuance().require_entitled(Secret(order.name, order.arn), order.definition.request)
        return signed_by(certificate, self._ca_certificate(order))

    def _sign(self, order: Order, csr: x509.CertificateSigningRequest, ca: x509.Certificate) -> Answer:
        arn = self._request(order, csr, ca)
        certificate, others = self._await(order, arn)
        return Answer(certificate, (*others, ca), arn)

    def _ca_certificate(self, order: Order) -> x509.Certificate:
        """The CA's certificate, once it and those above it were found to have keys that servers know."""
        answer = self._call("get_certificate_authority_certificate", CertificateAuthorityArn=self._arn)
        ca = from_pem(answer["Certificate"])[0]
        for it in (ca, *from_pem(answer.get("CertificateChain", ""))):
            try:
                signing_algorithm(it)
            except ValueError as error:
                raise UnusableIssuerError(
                    where=f"{order.where}, issuer.certificate_authority_arn {self._arn}",
                    found=f"the CA {short_subject(it)}, whose key is {error}",
                    expected="RSA keys, or keys on P-256, P-384 or P-521, up to the root: API Gateway takes no other",
                    remedy="Name a CA of AWS Private CA with such a key, under CAs with such keys. Other kinds are not"
                    " supported yet.",
                ) from None
        return ca

    def _request(self, order: Order, csr: x509.CertificateSigningRequest, ca: x509.Certificate) -> str:
        """Ask for the certificate; its ARN.

        The token holds the rotation's, so that a request which the SDK repeats gives one certificate, and the key's
        fingerprint, so that a run after a killed one is not given the certificate of a key that is lost.
        """
        request = order.definition.request
        partition = self._arn.split(":")[1]
        moment = order.now.replace(microsecond=0)
        answer = self._call(
            "issue_certificate",
            CertificateAuthorityArn=self._arn,
            Csr=csr.public_bytes(serialization.Encoding.PEM),
            SigningAlgorithm=signing_algorithm(ca),
            TemplateArn=f"arn:{partition}:acm-pca:::{_TEMPLATE}",
            Validity={"Type": "ABSOLUTE", "Value": int((moment + request.validity).timestamp())},
            ValidityNotBefore={"Type": "ABSOLUTE", "Value": int((moment - BACKDATE).timestamp())},
            IdempotencyToken=str(
                uuid.uuid5(uuid.NAMESPACE_OID, f"{order.version_id}/{public_key_fingerprint(csr.public_key())}")
            ),
        )
        return str(answer["CertificateArn"])

    def _await(self, order: Order, arn: str) -> tuple[x509.Certificate, tuple[x509.Certificate, ...]]:
        """The certificate once Private CA has made it, and those above it."""
        for _ in order.deadline.attempts():
            try:
                answer = self._client.get_certificate(CertificateAuthorityArn=self._arn, CertificateArn=arn)
            except ClientError as error:
                if error.response["Error"]["Code"] != "RequestInProgressException":
                    raise self._explained(error) from None
            else:
                return from_pem(answer["Certificate"])[0], from_pem(answer.get("CertificateChain", ""))
        raise OutOfTimeError(
            where=order.where,
            found=f"the certificate {arn} still in the making when the step's time was up",
            expected="AWS Private CA to issue within the step's time",
            remedy="Secrets Manager tries again by itself, with a certificate of its own.",
        )

    def _call(self, operation: str, **request: Any) -> Any:
        try:
            return getattr(self._client, operation)(**request)
        except ClientError as error:
            raise self._explained(error) from None

    def _explained(self, error: ClientError) -> Exception:
        code = error.response["Error"]["Code"]
        if code not in _UNUSABLE:
            return error
        return self._unusable(f"{code}: {error.response['Error'].get('Message', '')}")

    def _unusable(self, found: str) -> UnusableIssuerError:
        return UnusableIssuerError(
            where=f"issuer.certificate_authority_arn {self._arn}",
            found=found,
            expected="an ACTIVE CA of AWS Private CA in this region that may issue what is asked for",
            remedy="See the CA in AWS Private CA: its status, policy and mode (a short-lived one issues up to 7 days).",
        )


def signing_algorithm(ca: x509.Certificate) -> SigningAlgorithmType:
    """The signature that goes with a CA's key, on a curve as RFC 5480, section 4, pairs them.

    Raises:
        ValueError: the key is of a kind that few servers know, which the message names. Private CA's may be for ML-DSA
            or SM2:
            https://docs.aws.amazon.com/privateca/latest/APIReference/API_CertificateAuthorityConfiguration.html
    """
    try:
        key: object = ca.public_key()
    except (UnsupportedAlgorithm, ValueError):
        key = None
    match key:
        case rsa.RSAPublicKey():
            return "SHA256WITHRSA"
        case ec.EllipticCurvePublicKey() if key.curve.name in _BY_CURVE:
            return _BY_CURVE[key.curve.name]
        case _:
            raise ValueError(_kind_of_key(ca))


_BY_CURVE: Mapping[str, SigningAlgorithmType] = {
    "secp256r1": "SHA256WITHECDSA",
    "secp384r1": "SHA384WITHECDSA",
    "secp521r1": "SHA512WITHECDSA",
}
# RFC 9881, section 2.
_ML_DSA = {f"2.16.840.1.101.3.4.3.{last}": f"ML-DSA-{kind}" for last, kind in ((17, 44), (18, 65), (19, 87))}
_ON_A_CURVE = "1.2.840.10045.2.1"


def _kind_of_key(certificate: x509.Certificate) -> str:
    """What a key is that has no signature here, from what the certificate says of it."""
    kind = certificate.public_key_algorithm_oid.dotted_string
    if kind == _ON_A_CURVE:
        return "of an elliptic curve that is neither P-256, P-384 nor P-521"
    return _ML_DSA.get(kind, f"of the unknown kind {kind}")


def _enabling(reference: Reference) -> Enabling:
    arn = reference.certificate_authority_arn
    return Enabling(f"issuer.certificate_authority_arn {arn}", (("PrivateCaArn", arn),))


KIND = IssuerKind(
    reference=Reference,
    issuer=lambda reference, services: AcmPcaIssuer(
        reference.certificate_authority_arn, services.clients.of("acm-pca"), lambda: services.issuance
    ),
    needs=(
        Need(
            ("acm-pca:IssueCertificate", "acm-pca:GetCertificate", "acm-pca:GetCertificateAuthorityCertificate"),
            "${PrivateCaArn}",
        ),
    ),
    condition="UsesPrivateCa",
    issued_at_bootstrap=True,
    parameters={"certificate_authority_arn": "PrivateCaArn"},
    enabling=_enabling,
)
