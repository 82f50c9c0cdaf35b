"""Every certificate that was issued in this run of the tests, for the last test of all to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography import x509

from mtls_rotation.contract.material import certificates_of
from mtls_rotation.pki import certificates as pki
from tests.kit.conformance import Chain

if TYPE_CHECKING:
    from mtls_rotation.contract.secret import ManagedSecret

_CHAINS: dict[str, Chain] = {}


_OURS: dict[str, x509.Certificate] = {}


def remember(secret: ManagedSecret) -> None:
    """Keep what a version of a secret holds."""
    (certificate, *intermediates), anchor = certificates_of(secret)
    chain = Chain(certificate, tuple(intermediates), anchor)
    remember_chain(chain, ours=secret.issuer.type not in {"acm-pca", "external"})


def remember_chain(chain: Chain, *, ours: bool) -> None:
    """Keep a chain; `ours` if this project made all of it, and not somebody else's CA."""
    _CHAINS[pki.fingerprint(chain.certificate)] = chain
    if ours:
        _OURS.update({pki.fingerprint(it): it for it in (chain.certificate, chain.anchor)})


def remembered() -> list[Chain]:
    """All chains."""
    return list(_CHAINS.values())


def made_here() -> list[x509.Certificate]:
    """Every certificate, leaf or CA, that this project made."""
    return list(_OURS.values())
