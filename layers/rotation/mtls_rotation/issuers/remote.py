"""What issuers that sign elsewhere share: a fresh key, its request signed there, and the checks of what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtls_rotation.errors import RejectedCertificateError
from mtls_rotation.pki.certificates import CertifiedKey
from mtls_rotation.pki.conformity import violations
from mtls_rotation.pki.paths import find_path
from mtls_rotation.pki.profile import generate_key, signing_request
from mtls_rotation.pki.verification import refusals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cryptography import x509

    from mtls_rotation.errors import UnusableIssuerError
    from mtls_rotation.issuers.api import Order


@dataclass(frozen=True, slots=True)
class Answer:
    """What an issuer signed.

    Attributes:
        authorities: the CA certificates that came with it or are known, in any order.
        name: what the issuer calls the certificate.
    """

    certificate: x509.Certificate
    authorities: Sequence[x509.Certificate]
    name: str


def certified(
    order: Order,
    sign: Callable[[x509.CertificateSigningRequest], Answer],
    *,
    issuer: str,
    unusable: Callable[[str], UnusableIssuerError],
) -> CertifiedKey:
    """A fresh key for the order, and the certificate that `sign` has made for it.

    Args:
        order: what is to be issued.
        sign: has the request signed, and waits for the answer. What it raises goes through.
        issuer: what to call the issuer in an error.
        unusable: the error that says what was found wrong with the issuer.

    Raises:
        UnusableIssuerError: no CA certificate leads from the certificate to a root.
        RejectedCertificateError: the certificate is not what was asked for.
    """
    request = order.definition.request
    key = generate_key(request.key_algorithm)
    answer = sign(signing_request(request, key))
    certificate = answer.certificate
    path = find_path(certificate, answer.authorities, order.now)
    if path is None:
        raise unusable(f"the certificate {answer.name}, which no CA certificate of its chain has signed")
    reasons = violations(request, certificate, key.public_key())
    if reasons := reasons or refusals(certificate, key, path.chain, [path.anchor], order.now):
        raise RejectedCertificateError(
            where=f"{order.where}, issued by {issuer}",
            found="; ".join(reasons),
            expected="a certificate that meets the request",
            remedy="Look at the CA's policy and at the request; nothing was changed.",
        )
    return CertifiedKey(key=key, certificate=certificate, chain=path.chain, anchor=path.anchor)
