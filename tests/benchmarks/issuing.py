"""How fast a certificate is issued, against what cannot be avoided: one key generation and one signature."""

import statistics
import time
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_rotation.pki import certificates as pki
from mtls_rotation.request import CertificateRequest, KeyAlgorithm
from tests import builders

RUNS = 7
PER_RUN = 400


def measure() -> dict[str, float]:
    """Certificates a second of one core, the limit, and their ratio: the median of several runs in turn."""
    ca = builders.root()
    request = CertificateRequest(common_name="billing")

    def issue() -> None:
        key = pki.generate_key(KeyAlgorithm.EC_P256)
        pki.issue_leaf(request, key.public_key(), ca.certificate, ca.key, builders.NOW)

    def limit() -> None:
        ec.generate_private_key(ec.SECP256R1()).sign(b"to be signed", ec.ECDSA(hashes.SHA256()))

    pairs = [(_rate(issue), _rate(limit)) for _ in range(RUNS)]
    ratios = [issued / possible for issued, possible in pairs]
    return {
        "certificates_per_second": round(statistics.median(issued for issued, _ in pairs)),
        "limit_per_second": round(statistics.median(possible for _, possible in pairs)),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "runs": RUNS,
    }


def _rate(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    for _ in range(PER_RUN):
        work()
    return PER_RUN / (time.perf_counter() - began)
