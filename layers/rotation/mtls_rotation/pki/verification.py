"""Whether a server would accept a client certificate, as far as can be told without asking it. Calls nothing."""

from collections.abc import Iterable
from datetime import datetime
from functools import cached_property

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    ClientVerifier,
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from mtls_rotation.pki.certificates import SigningKey, subject

# API Gateway's limit: https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
MAX_CHAIN_LENGTH = 4


class Verifier:
    """A server that trusts some anchors, at one moment. Made once, it judges any number of certificates."""

    def __init__(self, anchors: Iterable[x509.Certificate], now: datetime) -> None:
        self._anchors = frozenset(anchors)
        self._now = now

    def refusals(
        self, certificate: x509.Certificate, key: SigningKey | None, chain: Iterable[x509.Certificate]
    ) -> list[str]:
        """Why the server would refuse this certificate; empty if it would not.

        Args:
            certificate: a client's.
            key: its private key, to be checked too; None where that is not at hand.
            chain: what the client presents with it, in any order.
        """
        reasons = []
        if key is not None and key.public_key() != certificate.public_key():
            reasons.append(f"the private key is not the one of the certificate {subject(certificate)}")
        if self._now < certificate.not_valid_before_utc:
            reasons.append(f"it is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M:%S} UTC")
        if self._now > certificate.not_valid_after_utc:
            reasons.append(f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M:%S} UTC")
        if not reasons and certificate in self._anchors:
            return _self_signed_problems(certificate)
        chain = list(chain)
        if len(chain) + 1 > MAX_CHAIN_LENGTH:
            reasons.append(f"a chain of {len(chain) + 1} CAs, where API Gateway takes {MAX_CHAIN_LENGTH} at most")
        if not reasons and (problem := self._chain_problem(certificate, chain)):
            reasons.append(problem)
        return reasons

    def _chain_problem(self, certificate: x509.Certificate, chain: list[x509.Certificate]) -> str | None:
        if not self._anchors:
            return "no chain to a trusted anchor: there is none"
        try:
            self._paths.verify(certificate, chain)
        except VerificationError as error:
            return f"no chain to a trusted anchor: {error}"
        return None

    @cached_property
    def _paths(self) -> ClientVerifier:
        return (
            PolicyBuilder()
            .store(Store(list(self._anchors)))
            .time(self._now)
            .max_chain_depth(MAX_CHAIN_LENGTH)
            .extension_policies(ca_policy=_CA_POLICY, ee_policy=_LEAF_POLICY)
            .build_client_verifier()
        )


def refusals(
    certificate: x509.Certificate,
    key: SigningKey | None,
    chain: Iterable[x509.Certificate],
    anchors: Iterable[x509.Certificate],
    now: datetime,
) -> list[str]:
    """Why a server that trusts `anchors` would refuse this one certificate at `now`. See `Verifier.refusals`."""
    return Verifier(anchors, now).refusals(certificate, key, chain)


def order_chain(
    leaf: x509.Certificate, candidates: Iterable[x509.Certificate]
) -> tuple[tuple[x509.Certificate, ...], x509.Certificate | None]:
    """The path from a leaf upwards through CA certificates that come in any order, with others among them.

    Returns:
        The intermediates in order, and the topmost CA; None for it if nothing among them has signed the leaf. A path
        that ends in a self-signed CA is preferred to one that does not, a shorter one to a longer.
    """
    named: dict[x509.Name, list[x509.Certificate]] = {}
    for it in dict.fromkeys(candidates):
        if it != leaf:
            named.setdefault(it.subject, []).append(it)
    # Breadth first, each certificate once, by the shortest way to it: CAs may have signed each other, in many ways.
    below: dict[x509.Certificate, x509.Certificate] = {}
    tops: list[x509.Certificate] = []
    last = level = [leaf]
    while level:
        last, level = level, []
        for it in last:
            issuers = named.get(it.issuer, ()) if it.issuer != it.subject else ()
            above = [ca for ca in issuers if ca not in below and signed_by(it, ca)]
            if not above and not any(ca in below and signed_by(it, ca) for ca in issuers):
                tops.append(it)
            below |= dict.fromkeys(above, it)
            level += above
    # Where each has signed the next in a circle, there is no top: then the farthest is.
    top = min(tops or last[:1], key=lambda it: it.issuer != it.subject)
    if top == leaf:
        return (), None
    path = [top]
    while path[-1] != leaf:
        path.append(below[path[-1]])
    return tuple(path[-2:0:-1]), top


def signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the names chain and `issuer`'s key has signed `certificate`."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _self_signed_problems(certificate: x509.Certificate) -> list[str]:
    """A leaf that is its own anchor: the verifier below takes no anchor that is not a CA."""
    reasons = []
    if not signed_by(certificate, certificate):
        reasons.append("it is its own anchor and did not sign itself")
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        reasons.append("its extended key usage is not clientAuth")
    return reasons


def _is_for_client_authentication(_: Policy, __: x509.Certificate, usage: x509.ExtendedKeyUsage) -> None:
    """Refuse a leaf that is meant for something else (RFC 5280, section 4.2.1.12)."""
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("its extended key usage is not clientAuth")


def _is_authority(_: Policy, __: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    """Refuse what is above a leaf and no CA (RFC 5280, section 4.2.1.9)."""
    if not constraints.ca:
        raise ValueError("its basic constraints do not say that it is a CA")


def _may_sign_certificates(_: Policy, __: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    """Refuse a CA whose key may not sign certificates (RFC 5280, section 4.2.1.3)."""
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("its key usage lacks keyCertSign")


# The web profile's policy for leaves demands a subject alternative name, which a client certificate need not have.
_LEAF_POLICY = ExtensionPolicy.permit_all().require_present(
    x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_client_authentication
)
# It demands a key usage of CAs, too, which RFC 5280 does and the private CAs of partners often do not.
_CA_POLICY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign_certificates)
)
