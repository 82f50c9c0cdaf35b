"""PEM bundles: the certificates in a text that anyone may have written, and the bytes of a truststore. Pure."""

import codecs
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from mtls_rotation.pki.certificates import fingerprint, to_pem

_BEGIN = b"-----BEGIN CERTIFICATE-----"
_END = b"-----END CERTIFICATE-----"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # as PowerShell writes files
_DER_SEQUENCE = b"\x30\x82"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands where a certificate should, and is none."""

    reason: str


def parse(text: bytes, *, most: int | None = None, spoilt: int | None = None) -> list[x509.Certificate | Unreadable]:
    """The certificates of a bundle in their order; what is between the PEM blocks is passed over.

    A block that is no certificate hides no other. A text without a block is one `Unreadable`. Time and memory are
    linear in the length of the text.

    Args:
        text: the bundle.
        most: how many blocks are read; None for all. One more `Unreadable` says that there are more.
        spoilt: how many blocks may be no certificates, until the rest is not read; likewise.
    """
    if text.startswith(_UTF16):
        text = text.decode("utf-16", errors="replace").encode()
    _, *blocks = text.split(_BEGIN, -1 if most is None else most + 1)
    if blocks:
        return _load_all(blocks, most, spoilt)
    if text.startswith(_DER_SEQUENCE):
        return [Unreadable("no PEM certificate in it; it looks like DER, which `openssl x509 -inform der` converts")]
    return [Unreadable("no PEM certificate in it")]


def decoded(body: bytes) -> str:
    """A file as a text. PEM is ASCII, and may have comments in any encoding.

    Raises:
        ValueError: it is no text.
    """
    if body.startswith(_UTF16):
        return body.decode("utf-16", errors="replace")
    return body.decode("utf-8-sig", errors="replace" if _BEGIN in body else "strict")


def certificates(text: bytes) -> dict[str, x509.Certificate]:
    """The certificates of a bundle by their SHA-256 fingerprints; whatever else it holds is passed over."""
    return by_fingerprint(parse(text))


def by_fingerprint(entries: Iterable[x509.Certificate | Unreadable]) -> dict[str, x509.Certificate]:
    """The certificates among the entries of a bundle."""
    return {fingerprint(entry): entry for entry in entries if isinstance(entry, x509.Certificate)}


def fingerprints(text: bytes) -> frozenset[str]:
    """The SHA-256 fingerprints of the certificates in a bundle."""
    return frozenset(certificates(text))


def blocks_in(text: str) -> str:
    """The PEM blocks of a bundle as they are, for OpenSSL, which takes no text between them that is not ASCII.

    Raises:
        ValueError: there is none. A context that is given nothing to trust would trust the system's CAs.
    """
    _, *blocks = text.split(_BEGIN.decode())
    if not blocks:
        raise ValueError("no PEM certificate in it")
    ended = (block.partition(_END.decode())[:2] for block in blocks)
    return "".join(f"{_BEGIN.decode()}{content}{end}\n" for content, end in ended)


def printable(text: str) -> str:
    """A text as one line of ASCII that no parser could take for a PEM boundary, whoever chose it."""
    line = text.encode("ascii", "backslashreplace").decode()
    return re.sub(r"[^ -~]", lambda match: f"\\x{ord(match.group()):02x}", line).replace("-----", "----\\x2d")


def _load_all(blocks: list[bytes], most: int | None, spoilt: int | None) -> list[x509.Certificate | Unreadable]:
    entries: list[x509.Certificate | Unreadable] = []
    unreadable = 0
    for block in blocks:
        if len(entries) == most:
            return [*entries, Unreadable(f"it has more than {most} blocks, of which the rest is not read")]
        if unreadable == spoilt:
            return [*entries, Unreadable(f"{spoilt} blocks before it are no certificates, and the rest is not read")]
        entries.append(entry := _load(block))
        unreadable += isinstance(entry, Unreadable)
    return entries


def _load(block: bytes) -> x509.Certificate | Unreadable:
    content, end, _ = block.partition(_END)
    if not end:
        return Unreadable("it begins and has no END CERTIFICATE line")
    return whole(lambda: x509.load_pem_x509_certificate(_BEGIN + content + _END))


def whole(load: Callable[[], x509.Certificate]) -> x509.Certificate | Unreadable:
    """A certificate that can be read to its end. Parsing is lazy: what cannot be read later is better found here."""
    try:
        certificate = load()
        _ = certificate.extensions, certificate.subject.rfc4514_string(), certificate.public_key()
        _ = certificate.issuer.rfc4514_string()
        _ = certificate.signature_hash_algorithm, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except Exception as error:  # noqa: BLE001 - whatever the parser makes of rubbish, the other blocks must go in
        return Unreadable(f"it cannot be read as a certificate: {_why(error)}")
    return certificate


def _why(error: Exception) -> str:
    """In our own words: a library's are for programmers, change with its versions, and may quote what was read."""
    match error:
        case x509.InvalidVersion():
            return "it is of no version that X.509 has"
        case x509.DuplicateExtension():
            return "it has an extension twice, which RFC 5280 (4.2) forbids"
        case UnsupportedAlgorithm():
            return "its key or its signature is of a kind that is not known here"
        case ValueError() if "PEM" in str(error):
            return "what stands between its lines is no base64"
        case _:
            return "what is in it is no DER of a certificate, or cut short"


def blocks(entries: Iterable[x509.Certificate | Unreadable]) -> Iterable[str]:
    """Each entry as a text that `from_blocks` reads again: for the sync's own notes."""
    for entry in entries:
        yield f"!{entry.reason}" if isinstance(entry, Unreadable) else to_pem(entry)


def from_blocks(texts: Iterable[str]) -> list[x509.Certificate | Unreadable]:
    """What `blocks` wrote.

    Raises:
        ValueError: it did not write this.
    """
    return [Unreadable(text[1:]) if text.startswith("!") else _written(text) for text in texts]


def _written(text: str) -> x509.Certificate:
    match whole(lambda: x509.load_pem_x509_certificate(text.encode())):
        case Unreadable(reason):
            raise ValueError(reason)
        case certificate:
            return certificate
