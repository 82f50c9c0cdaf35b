"""The CAs that are known in a place: what they are called, and which of them signed a certificate. Calls nothing."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mtls_rotation.pki.certificate_id import CertificateId
from mtls_rotation.pki.certificates import fingerprint, public_key_fingerprint
from mtls_rotation.pki.presented import Presented
from mtls_rotation.pki.signatures import has_signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cryptography import x509

    from mtls_rotation.pki.distinguished_names import DistinguishedName, Folded


# How many CAs are tried whose key identifiers say that they have not signed.
_MOST_CONTRADICTED = 16


class Authorities:
    """CAs, each of which is its key: several certificates of one key and name are one CA.

    Args:
        certificates: theirs, those first that are to be tried first. One whose key cannot be read is passed over.
    """

    def __init__(self, certificates: Iterable[x509.Certificate]) -> None:
        self._named: dict[object, dict[str, x509.Certificate]] = {}
        self._fingerprints: dict[tuple[object, str], set[str]] = {}
        self._identifiers: dict[tuple[object, str], set[bytes | None]] = {}
        self._keys: dict[str, x509.Certificate] = {}
        for certificate in certificates:
            try:
                key = public_key_fingerprint(certificate.public_key())
                presented = Presented.of(certificate)
                name = presented.subject_name.folded
            except Exception:  # noqa: BLE001, S112 - the library has a kind for each thing that may be wrong with one
                continue
            self._named.setdefault(name, {}).setdefault(key, certificate)
            self._fingerprints.setdefault((name, key), set()).add(fingerprint(certificate))
            self._identifiers.setdefault((name, key), set()).add(presented.key_identifier)
            self._keys.setdefault(key, certificate)

    def named(self, name: DistinguishedName) -> dict[str, x509.Certificate]:
        """Those of a name, by the SHA-256 of their public keys."""
        return self._named.get(_folded(name), {})

    def fingerprints(self, key: str, name: DistinguishedName) -> frozenset[str]:
        """The SHA-256 fingerprints of the certificates of one CA."""
        return frozenset(self._fingerprints.get((_folded(name), key), ()))

    def signer(self, certificate: x509.Certificate | Presented) -> str:
        """The SHA-256 of the public key that signed a certificate, of a CA of the issuer's name; empty if none.

        Anybody may have made CAs of that name, hundreds of them, and each costs a verification: those that the key
        identifiers point to come first, and few that they speak against are looked at. Servers look at none of those
        (see `namesakes`).
        """
        presented = Presented.of(certificate)
        for key in self._likely(presented):
            try:
                if has_signed(self._keys[key].public_key(), presented):
                    return key
            except ValueError:
                continue
        return ""

    def _likely(self, certificate: Presented) -> Iterator[str]:
        """The keys of the CAs that may have signed a certificate, the likeliest first."""
        name, wanted = _folded(certificate.issuer_name), certificate.issuers_key_identifier
        keys = list(self._named.get(name, ()))
        if wanted is None:
            return iter(keys)
        found = {key: self._identifiers[name, key] for key in keys}
        meant = [key for key, identifiers in found.items() if wanted in identifiers]
        silent = [key for key, identifiers in found.items() if wanted not in identifiers and None in identifiers]
        others = (key for key, identifiers in found.items() if not identifiers & {wanted, None})
        return chain(meant, silent, islice(others, _MOST_CONTRADICTED))

    def identify(self, certificate: x509.Certificate | Presented) -> CertificateId:
        """What names a certificate."""
        return CertificateId.of(certificate, self.signer(certificate))

    def public_key(self, key: str) -> bytes:
        """The public key with this SHA-256, as a SubjectPublicKeyInfo in DER.

        Raises:
            KeyError: no CA here has it.
        """
        return self._keys[key].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@lru_cache(maxsize=64)
def _folded(name: DistinguishedName) -> Folded:
    """What is looked up by, of names that are asked for again and again."""
    return name.folded
