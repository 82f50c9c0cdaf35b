"""Whether a server would accept a client certificate with its key, as far as can be told without asking it."""

from collections.abc import Iterable
from datetime import datetime

from cryptography import x509

from mtls_rotation.pki.certificates import SigningKey, subject
from mtls_rotation.pki.servers import Servers


def refusals(
    certificate: x509.Certificate,
    key: SigningKey | None,
    chain: Iterable[x509.Certificate],
    anchors: Iterable[x509.Certificate],
    now: datetime,
) -> list[str]:
    """Why a server that trusts `anchors` would refuse this one certificate at `now`; empty if none would.

    Args:
        certificate: a client's.
        key: its private key, to be checked too; None where that is not at hand.
        chain: what the client presents with it, in any order.
        anchors: what the server trusts.
        now: when.
    """
    reasons = []
    if key is not None and key.public_key() != certificate.public_key():
        reasons.append(f"the private key is not the one of the certificate {subject(certificate)}")
    return reasons + Servers(anchors, now).refusals(certificate, chain)
