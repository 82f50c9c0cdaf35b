"""The revocation list, as whoever has a certificate asks it. Pure. What writes it is `revocation.register`."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Self

from cryptography.hazmat.primitives.serialization import load_der_public_key

from mtls_rotation.pki.certificate_id import CertificateId, digest_of, identified, may_be
from mtls_rotation.pki.presented import Presented
from mtls_rotation.pki.signatures import has_signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cryptography import x509


class Revocations:
    """What is revoked. A certificate of a CA's namesake with the same serial number is not.

    Args:
        revoked: what the list holds.
        keys: by their SHA-256, the public keys of the CAs that signed it: SubjectPublicKeyInfo in DER.
        subject_keys: the SHA-256 of the public keys that revoked certificates are for, as far as they are known.
    """

    def __init__(
        self,
        revoked: Iterable[CertificateId] = (),
        keys: Mapping[str, bytes] | None = None,
        subject_keys: Iterable[str] = (),
    ) -> None:
        self.listed = frozenset(revoked)
        self._keys = keys or {}
        self._subject_keys = frozenset(filter(None, subject_keys))
        self._numbered: dict[str, list[CertificateId]] = {}
        for it in self.listed:
            self._numbered.setdefault(it.serial_number, []).append(it)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """What a list says.

        Raises:
            ValueError: it is no such list.
        """
        try:
            document = json.loads(body)
            revoked = [identified(it["issuer"], it["serial_number"], it["signer"]) for it in document["revoked"]]
            return cls(revoked, parse_keys(document["keys"]), [str(it["subject_key"]) for it in document["revoked"]])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"no revocation list ({type(error).__name__})") from None

    def find(self, certificate: x509.Certificate | Presented) -> CertificateId | None:
        """What the list holds that is this certificate; None if it is not revoked.

        The signature is checked only where serial number and name are on the list. What cannot be checked counts as
        signed by the CA that it names.
        """
        numbered = self._numbered.get(f"{certificate.serial_number:x}", ())
        if not numbered:
            return None
        presented = Presented.of(certificate)
        return next((it for it in numbered if self._is(it, presented)), None)

    def include_one_for(self, public_key: str) -> bool:
        """Whether a certificate for this key is revoked. Whoever stole the key has it, whatever else is signed for it.

        Args:
            public_key: its SHA-256, lower-case hex.
        """
        return public_key in self._subject_keys

    def include(self, certificate: x509.Certificate | Presented) -> bool:
        """Whether a certificate is revoked."""
        return self.find(certificate) is not None

    def _is(self, listed: CertificateId, certificate: Presented) -> bool:
        if not listed.key:
            return listed.signer == digest_of(certificate)
        if not may_be(listed.issuer, certificate.issuer_name):
            return False
        try:
            return has_signed(load_der_public_key(self._keys[listed.key]), certificate)
        except Exception:  # noqa: BLE001 - whatever cannot be checked must not let anybody in
            return True


def parse_keys(document: dict[str, str]) -> dict[str, bytes]:
    """The public keys in a list.

    Raises:
        ValueError, TypeError, AttributeError: they are none.
    """
    return {str(key): b64decode(it, validate=True) for key, it in document.items()}
