"""What an external CA is asked to sign, and whether what came back is that.

Everything in it is public. It lies in the bucket under the fingerprint of its key, so what looks at an answer needs
no secret to see for whom it is, and whether it fits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from mtls_rotation.contract import layout
from mtls_rotation.errors import UnfitCertificateError
from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import public_key_fingerprint, short_name, short_subject
from mtls_rotation.pki.conformity import violations
from mtls_rotation.pki.paths import find_path
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.pki.servers import longest_lasting
from mtls_rotation.pki.signatures import comparable, signed_by
from mtls_rotation.pki.verification import refusals

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

# An answer has a certificate, and the CAs above it.
MOST_CERTIFICATES = 100
# Secrets Manager's own limits for an ARN and a name.
_LONGEST_NAMES = 2048 + 512


@dataclass(frozen=True, slots=True)
class Signed:
    """A signed certificate that fits: the leaf, its intermediates in order, and the topmost CA."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    anchor: x509.Certificate


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What an external CA is to sign."""

    arn: str
    name: str
    request: CertificateRequest
    ca_certificates: str
    csr: x509.CertificateSigningRequest

    @property
    def public_key(self) -> str:
        """The fingerprint of the key that is to be certified."""
        return public_key_fingerprint(self.csr.public_key())

    @property
    def key(self) -> str:
        """Where the request lies, for people and programs that sign."""
        return layout.requested_key(self.public_key, self.name, "csr")

    @property
    def note(self) -> str:
        """Where it is written down what was asked for."""
        return layout.requested_key(self.public_key, self.name, "json")

    @property
    def pem(self) -> str:
        """The request as PEM (RFC 7468, section 7)."""
        return self.csr.public_bytes(serialization.Encoding.PEM).decode()

    def render(self) -> str:
        """The note as JSON."""
        return json.dumps(
            {
                "secret_arn": self.arn,
                "secret_name": self.name,
                "request": self.request.model_dump(mode="json", exclude_none=True),
                "ca_certificates": self.ca_certificates,
                "certificate_signing_request": self.pem,
            },
            indent=1,
        )

    @classmethod
    def parse(cls, text: bytes, where: str) -> SigningRequest:
        """Read a note that `render` wrote.

        Args:
            text: the note.
            where: what to call it in an error.

        Raises:
            UnfitCertificateError: it is something else.
        """
        try:
            note: dict[str, Any] = json.loads(text)
            texts = [note[it] for it in ("secret_arn", "secret_name", "ca_certificates", "certificate_signing_request")]
            if not all(isinstance(it, str) for it in texts):
                raise TypeError
            arn, name, authorities, pem = texts
            if len(f"{arn}{name}".encode()) > _LONGEST_NAMES:
                raise ValueError
            authorities.encode()
            request = CertificateRequest.model_validate(note["request"])
            csr = x509.load_pem_x509_csr(pem.encode())
            parsed = cls(arn, name, request, authorities, csr)
            _ = parsed.public_key, csr.subject.rfc4514_string()  # parsing is lazy
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UnsupportedAlgorithm) as error:
            raise UnfitCertificateError(
                where=where,
                found=f"no note of a signing request ({type(error).__name__})",
                expected="the note that the rotation wrote when it asked for the certificate",
                remedy="Delete it: the rotation writes it anew when it is tried again. Then upload the answer again.",
            ) from None
        return parsed

    def fit(self, found: Sequence[x509.Certificate], now: datetime) -> Signed:
        """The certificate for this request among those that came back, with its chain.

        Raises:
            UnfitCertificateError: none is for its key, or the one that is breaks the request.
        """
        if len(found) > MOST_CERTIFICATES:
            raise self._unfit(too_many(found))
        leaves = [it for it in found if public_key_fingerprint(it.public_key()) == self.public_key]
        if not leaves:
            raise self._unfit(f"certificates for other keys ({', '.join(map(short_subject, found)) or 'none at all'})")
        # A renewed certificate may come with its former, and another for the same key.
        fitting = [it for it in leaves if not violations(self.request, it, self.csr.public_key())]
        leaf = longest_lasting(fitting or leaves, now)
        reasons = violations(self.request, leaf, self.csr.public_key())
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            reasons.append(
                f"it is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to"
                f" {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, which is not now"
            )
        configured = [it for it in bundles.parse(self.ca_certificates.encode()) if isinstance(it, x509.Certificate)]
        path = find_path(leaf, below(configured, found) if configured else found, now)
        if path is None or (configured and path.anchor not in configured):
            where = (
                "chains to none of issuer.ca_certificates"
                if configured
                else "is neither in the file nor in issuer.ca_certificates"
            )
            reasons.append(f"the CA that signed it, {short_name(leaf.issuer)}, {where}")
        elif not reasons:
            reasons += refusals(leaf, None, path.chain, [path.anchor], now)
        if path is None or reasons:
            raise self._unfit("; ".join(reasons))
        return Signed(leaf, path.chain, path.anchor)

    def _unfit(self, found: str) -> UnfitCertificateError:
        return UnfitCertificateError(
            where=f"the signed certificate for secret {self.name}",
            found=found,
            expected=f"a certificate for the request {self.key}, followed by the CAs above it",
            remedy=f"Have that request signed, and upload the answer under {layout.SIGNED}; nothing was changed.",
        )


def too_many(found: Sequence[x509.Certificate]) -> str:
    """What is wrong with more certificates than an answer has, in words."""
    return f"{len(found)} certificates, where {MOST_CERTIFICATES} are more than any chain has"


def below(authorities: Iterable[x509.Certificate], sent: Iterable[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The authorities, and those of the certificates sent that chain to one of them.

    What is at or above an authority, only the authorities themselves can say. So nothing that was sent stands for one,
    or above one: no other certificate of an authority's name and key, which may last longer or be bounded less; none
    that has signed an authority; and none that has signed itself, as a CA below an authority can have one made.
    """
    found = dict.fromkeys(authorities)
    level = list(found)
    named = {(comparable(it.subject), public_key_fingerprint(it.public_key())) for it in found}
    rest = [
        it
        for it in dict.fromkeys(sent)
        if (comparable(it.subject), public_key_fingerprint(it.public_key())) not in named
        and not any(signed_by(authority, it) for authority in level)
        and not signed_by(it, it)
    ]
    while level:
        level = [it for it in rest if it not in found and any(signed_by(it, above) for above in level)]
        found |= dict.fromkeys(level)
    return tuple(found)
