"""A certificate and its key that a team has already: how they are read, and what is asked of them. Pure.

A private key is in memory only. No error quotes what was read.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import CertifiedKey, subject
from mtls_rotation.pki.conformity import violations
from mtls_rotation.pki.distinguished_names import rfc4514
from mtls_rotation.pki.paths import find_path
from mtls_rotation.pki.servers import longest_lasting
from mtls_rotation.pki.signatures import signed_by
from mtls_rotation.pki.verification import refusals
from mtls_rotation.targets.limits import API_GATEWAY
from mtlsctl.errors import InvalidInputError, UnusableCertificateError
from mtlsctl.files import documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from mtls_rotation.pki.certificates import SigningKey
    from mtls_rotation.pki.request import CertificateRequest

_BOUNDARY = re.compile(r"-----(BEGIN|END) ([A-Z0-9 ]{1,64})-----")
# A member's name in lower case, with "_" for what is between its words and without a last "_pem" → what it holds.
_MEMBERS = {
    "certificate": "certificate",
    "cert": "certificate",
    "crt": "certificate",
    "tls_crt": "certificate",
    "client_certificate": "certificate",
    "client_cert": "certificate",
    "private_key": "key",
    "key": "key",
    "tls_key": "key",
    "client_key": "key",
    "certificate_chain": "chain",
    "chain": "chain",
    "ca_chain": "chain",
    "anchor": "chain",
    "ca": "chain",
    "ca_crt": "chain",
    "ca_certificate": "chain",
}


@dataclass(frozen=True, slots=True)
class Identity:
    """What was read: certificates, the client's own first, and the text of a private key.

    Attributes:
        key: PEM; it may be encrypted.
    """

    certificates: tuple[x509.Certificate, ...]
    key: str

    def __repr__(self) -> str:
        return f"Identity({', '.join(map(subject, self.certificates))})"


def read(text: str, where: str) -> Identity:
    """Read a certificate with its key: a JSON or YAML object in one of the usual shapes, or PEM with all of it.

    Args:
        text: AWS's sample rotation for ACM, a Kubernetes secret, this project's own secrets, and what is made by hand.
        where: what to call it in an error.

    Raises:
        InvalidInputError: there is no certificate, no key, or more than one key in it.
    """
    if document := documents.mapping(text):
        parts = _parts(document)
        return together(parts.get("certificate", ""), parts.get("key", ""), parts.get("chain", ""), where)
    return together(text, text, "", where)


def together(certificate: str, key: str, chain: str, where: str) -> Identity:
    """The same, from the texts of its parts.

    Raises:
        InvalidInputError: as `read`.
    """
    certificates = [*_certificates(certificate), *_certificates(chain)]
    keys = list(dict.fromkeys(block for label, block in _blocks(key) if label.endswith("PRIVATE KEY")))
    if certificates and len(keys) == 1:
        return Identity(tuple(dict.fromkeys(certificates)), keys[0])
    found = f"{len(certificates)} certificates and {len(keys)} private keys that can be read"
    raise InvalidInputError(
        where=where,
        found=found,
        expected="a certificate, its private key and the CAs above it, in PEM or in members such as certificate,"
        " private_key, certificate_chain",
        remedy="Name the files with --certificate, --private-key and --chain; nothing was made.",
    )


def private_key(pem: str, passphrase: Callable[[], str], where: str) -> SigningKey:
    """The key of a PEM text; its passphrase is asked for if it is encrypted.

    Raises:
        InvalidInputError: it cannot be read, the passphrase is wrong, or it is neither RSA nor EC.
    """
    password = passphrase().encode() if _encrypted(pem) else None
    try:
        key = serialization.load_pem_private_key(pem.encode(), password)
    except (ValueError, TypeError, UnsupportedAlgorithm, InternalError):
        found = "an encrypted private key that this passphrase does not open" if password else "an unreadable key"
    else:
        if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            return key
        found = "a private key that is neither RSA nor EC"
    raise InvalidInputError(
        where=where,
        found=found,
        expected="an RSA or EC private key in PEM",
        remedy="Look at it with `openssl pkey -noout -in FILE`; nothing was made.",
    )


def certified(
    identity: Identity, key: SigningKey, further: Iterable[x509.Certificate], now: datetime, where: str
) -> CertifiedKey:
    """The certificate of a key, with its chain in order and its anchor. Of a renewed one and its former, the renewed.

    Args:
        identity: what was read.
        key: the key in it.
        further: CAs that are known besides.
        now: when the chain must hold.
        where: what to call it in an error.

    Raises:
        UnusableCertificateError: none of the certificates is the key's, or the CA that signed it is not at hand.
    """
    leaves = [it for it in identity.certificates if it.public_key() == key.public_key()]
    if not leaves:
        raise _unusable(where, "a private key that is the key of none of the certificates", "its own private key")
    leaf = longest_lasting(leaves, now)
    others = [it for it in identity.certificates if not _is_a_ca(it)]
    if _is_a_ca(leaf) and others:
        found = f"the private key of {subject(leaf)}, which is a CA, beside the certificate of {subject(others[0])}"
        raise _unusable(where, found, "the client certificate's own private key: the CA's has no business here")
    if signed_by(leaf, leaf):
        return CertifiedKey(key, leaf, (), leaf)
    path = find_path(leaf, (*identity.certificates, *further), now)
    if path is None:
        issuer = rfc4514(leaf.issuer)
        raise _unusable(where, f"no certificate of the CA that signed it, {issuer}", "the CAs above it, by --chain")
    return CertifiedKey(key, leaf, path.chain, path.anchor)


def require_usable(issued: CertifiedKey, request: CertificateRequest, now: datetime, where: str) -> None:
    """See that servers, API Gateway among them, would accept a certificate, and that rotation can make the like.

    Raises:
        UnusableCertificateError: they would not.
    """
    reasons = refusals(issued.certificate, issued.key, issued.chain, [issued.anchor], now)
    if issued.certificate != issued.anchor:
        reasons += _refused_authorities(issued, now)
    reasons += violations(request, issued.certificate, issued.key.public_key())
    reasons += [it for rule in (_strong_key,) if (it := rule(issued.certificate))]
    if reasons:
        raise _unusable(
            where, "; ".join(dict.fromkeys(reasons)), "a client certificate in date that API Gateway would accept"
        )


def _refused_authorities(issued: CertifiedKey, now: datetime) -> list[str]:
    return [
        f"{subject(it)} is not a CA that API Gateway accepts: {reason}"
        for it in (*issued.chain, issued.anchor)
        if (reason := API_GATEWAY.refusal(it, now))
    ]


def _is_a_ca(certificate: x509.Certificate) -> bool:
    try:
        return bool(certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False  # what is wrong with it is told elsewhere


def _strong_key(certificate: x509.Certificate) -> str | None:
    match certificate.public_key():
        case rsa.RSAPublicKey() as key if key.key_size < 2048:
            return f"its key is RSA-{key.key_size}, where RSA-2048 or stronger is required"
        case ec.EllipticCurvePublicKey() as key if key.curve.name not in {"secp256r1", "secp384r1", "secp521r1"}:
            return f"its key is on the curve {key.curve.name}, where P-256 or stronger is required"
        case _:
            return None


def _unusable(where: str, found: str, expected: str) -> UnusableCertificateError:
    return UnusableCertificateError(
        where=where,
        found=found,
        expected=expected,
        remedy="`mtlsctl create client` makes a new certificate instead; nothing was made.",
    )


def _parts(document: Mapping[str, Any]) -> dict[str, str]:
    """The texts of an object's members by what they hold; of several that hold a chain, all of them."""
    parts: dict[str, str] = {}
    for name, value in _members(document):
        held = _MEMBERS.get(re.sub(r"[^a-z0-9]+", "_", name.lower()).removesuffix("_pem"))
        if held and isinstance(value, str):
            parts[held] = f"{parts.get(held, '')}\n{_decoded(value)}"
    return parts


def _members(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The members that matter: of a Kubernetes secret, those of its data."""
    nested = [document[key] for key in ("data", "stringData") if isinstance(document.get(key), dict)]
    for holder in nested or [document]:
        yield from holder.items()


def _decoded(value: str) -> str:
    """A member's text: PEM as it is, with line feeds that were escaped twice; or the base64 of PEM."""
    if "-----BEGIN" in value:
        return value.replace("\\n", "\n")
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return value


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """The PEM blocks of a text: label and block. One whose line feeds were lost, as in a console's form, is mended."""
    begun: re.Match[str] | None = None
    for boundary in _BOUNDARY.finditer(text):
        before, begun = begun, boundary if boundary[1] == "BEGIN" else None
        if before is None or boundary[1] == "BEGIN" or before[2] != boundary[2]:
            continue
        label, body = boundary[2], text[before.end() : boundary.start()]
        if ":" not in body:  # an old encrypted key has headers, whose lines matter
            packed = re.sub(r"\s+", "", body)
            body = "\n" + "\n".join(packed[at : at + 64] for at in range(0, len(packed), 64)) + "\n"
        yield label, f"-----BEGIN {label}-----{body}-----END {label}-----\n"


def _certificates(text: str) -> list[x509.Certificate]:
    pem = "".join(block for label, block in _blocks(text) if label == "CERTIFICATE")
    return [it for it in bundles.parse(pem.encode(errors="replace")) if isinstance(it, x509.Certificate)]


def _encrypted(pem: str) -> bool:
    return "-----BEGIN ENCRYPTED PRIVATE KEY-----" in pem or "ENCRYPTED" in pem.partition("\n\n")[0]
