"""What an operator uploads to revoke certificates, and what it says. Calls nothing.

Either certificates in PEM, as they lie under `issued/`, or JSON: one object or a list of them, each with either
`certificate` (PEM) or `issuer` (RFC 4514) and `serial_number` (hex), and with a `reason` if there is one to tell. Where
several CAs have the issuer's name, `ca_fingerprint_sha256` says which of them it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

from cryptography import x509
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from mtls_rotation.errors import UnresolvedNoticeError, UnusableNoticeError
from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificate_id import MOST_BITS, CertificateId, issuer_of
from mtls_rotation.pki.certificates import public_key_fingerprint, subject
from mtls_rotation.pki.distinguished_names import DistinguishedName
from mtls_rotation.pki.presented import Presented

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mtls_rotation.pki.authorities import Authorities

# RFC 5280, section 5.3.1, without the reasons for CAs and delta CRLs. A certificate on hold is released by deleting the
# notice.
Reason = Literal[
    "unspecified",
    "keyCompromise",
    "affiliationChanged",
    "superseded",
    "cessationOfOperation",
    "certificateHold",
    "privilegeWithdrawn",
]
_SERIAL = re.compile(r"-?[0-9a-f]{1,80}")
# How many bits of one that is larger, and how much of a name, are worth showing.
_LONGEST_SHOWN, _SHOWN = 256, 200
# Of a serial number with so many digits there are no two by chance: who names another issuer, is mistaken about it.
_TELLING = 14
# As long as the authorizer takes one.
_LONGEST_NAME = 2048
# Attributes of an issuer's name that is written. Who has a CA with more uploads the certificate.
_MOST_ATTRIBUTES = 50
# Of one object, in bytes and in certificates. What is more comes in parts.
LARGEST_NOTICE = 1024 * 1024
MOST_CERTIFICATES = 1000


@dataclass(frozen=True, slots=True)
class Notice:
    """One certificate that is to be revoked.

    Attributes:
        subject_key: the SHA-256 of the public key that it is for; empty where the certificate is not at hand.
    """

    certificate: CertificateId
    reason: Reason = "unspecified"
    subject_key: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate that an object holds; names that nobody can decode are no obstacle, as at the gateway."""

    certificate: Presented
    reason: Reason = "unspecified"


@dataclass(frozen=True, slots=True)
class Named:
    """A certificate that an object names.

    Attributes:
        issuers: what the issuer's name may mean, the likeliest first.
        serial_number: lower-case hex with no leading zeros.
        ca: the SHA-256 fingerprint of the CA's certificate, where several have the issuer's name; empty if not said.
    """

    issuers: tuple[DistinguishedName, ...]
    serial_number: str
    ca: str = ""
    reason: Reason = "unspecified"

    def __str__(self) -> str:
        return f"serial number {self.serial_number} of {self.issuers[0]}"

    def names(self, certificate: x509.Certificate) -> bool:
        """Whether a certificate with the serial number has the issuer's name."""
        return any(map(Presented.of(certificate).issuer_name.is_same, self.issuers))


class Known(Protocol):
    """What is known here of CAs and of certificates."""

    @property
    def authorities(self) -> Authorities:
        """The CAs that are trusted here, and those that issue here."""
        ...

    def filed(self, serial_number: str) -> Sequence[x509.Certificate]:
        """The clients' certificates with a serial number that were issued here."""
        ...


def parse(body: bytes, where: str) -> tuple[Shown | Named, ...]:
    """What an uploaded object says.

    Args:
        body: the object.
        where: what to call it in an error.

    Raises:
        UnusableNoticeError: it is neither form, or names a CA, or holds a private key, or too much.
    """
    if len(body) > LARGEST_NOTICE:
        raise too_large(where, len(body))
    try:
        text = bundles.decoded(body)
    except ValueError:
        raise _unusable(where, "an object that is no text") from None
    if "PRIVATE KEY" in text:
        raise UnusableNoticeError(
            where=where,
            found="a private key",
            expected="public certificates, or JSON with issuers and serial numbers",
            remedy="Delete the object and all its versions at once: the bucket is no place for a key. Then upload the"
            " certificate alone.",
        )
    if text.lstrip()[:1] in {"{", "["}:
        return _from_json(text, where)
    return tuple(map(Shown, _from_pem(text, where)))


def identify(said: Shown | Named, known: Known, where: str) -> Notice:
    """Which certificate it is that an object shows or names.

    What is named is looked for among the certificates that were issued here, whose serial numbers tell them apart, and
    among the CAs, whose keys do: what would revoke nobody, or perhaps another, is refused. Where a certificate was
    issued here under that name and a number that is no coincidence, further CAs of the name say nothing: anybody who
    may upload one could keep it from being revoked.

    Raises:
        UnresolvedNoticeError: no CA here has the name, or several have, or a certificate that was issued here has the
            serial number and another issuer.
    """
    if isinstance(said, Shown):
        return Notice(known.authorities.identify(said.certificate), said.reason, subject_key(said.certificate))
    cas = {
        key: ca
        for name in said.issuers
        for key, ca in known.authorities.named(name).items()
        if said.ca in {"", *known.authorities.fingerprints(key, name)}
    }
    filed = {known.authorities.identify(it): it for it in known.filed(said.serial_number)}
    named = {it for it, certificate in filed.items() if said.names(certificate) and (not said.ca or it.key in cas)}
    others = sorted(it.issuer for it in filed.keys() - named)
    is_telling = len(said.serial_number) >= _TELLING
    if others and not named and not (said.ca and cas) and is_telling:
        raise _unresolved(
            where,
            f"{said}, and the certificate with that serial number is of {others[0]}",
            "the name of the CA that issued it, as RFC 4514 writes it, the most specific part first",
        )
    found = set(named)
    if not (named and is_telling):
        found |= {CertificateId(subject(ca), said.serial_number, key) for key, ca in cas.items()}
    signers = {it.signer: it for it in found}
    if not signers:
        raise _unresolved(
            where,
            f"{said}, and no CA that is known here has that name" + (f" and the certificate {said.ca}" * bool(said.ca)),
            "the name of a CA that is trusted here, as RFC 4514 writes it, the most specific part first",
        )
    if len(signers) > 1:
        raise _unresolved(
            where,
            f"{said}, and {len(signers)} CAs have that name",
            'one CA: its certificate\'s SHA-256 fingerprint beside the name, as "ca_fingerprint_sha256"',
        )
    (certificate,) = signers.values()
    held = next((it for identity, it in filed.items() if identity.signer == certificate.signer), None)
    return Notice(certificate, said.reason, subject_key(held) if held else "")


def subject_key(certificate: x509.Certificate | Presented) -> str:
    """The SHA-256 of the public key that a certificate is for; empty if it cannot be read."""
    try:
        return public_key_fingerprint(certificate.public_key())
    except Exception:  # noqa: BLE001 - the library has a kind for each thing that may be wrong with one
        return ""


def too_large(where: str, size: int) -> UnusableNoticeError:
    """The error for an object that is too large to be read."""
    return UnusableNoticeError(
        where=where,
        found=f"an object of {size} bytes",
        expected=f"no more than {LARGEST_NOTICE} bytes",
        remedy="Upload it in parts.",
    )


def too_slow(where: str, count: int) -> UnusableNoticeError:
    """The error for an object of which so many were looked at in the time that there is for one."""
    return UnusableNoticeError(
        where=where,
        found=f"an object that takes longer than there is time for one; {count} of its certificates were looked at",
        expected="certificates that are told quickly",
        remedy="Upload it in parts.",
    )


def _from_pem(text: str, where: str) -> Sequence[Presented]:
    if (count := text.count("-----BEGIN ")) > MOST_CERTIFICATES:
        raise _too_many(where, count)
    try:
        certificates = Presented.all_from_pem(text)
    except ValueError as error:
        raise _unusable(where, f"what cannot be read as PEM certificates: {error}") from None
    if not certificates:
        raise _unusable(where, "no certificate")
    for certificate in certificates:
        if (
            certificate.serial_number.bit_length() > MOST_BITS
            or len(json.dumps(issuer_of(certificate))) > _LONGEST_NAME
        ):
            name = issuer_of(certificate)[:_SHOWN]
            raise _unusable(
                where,
                f"a certificate that the gateway lets nobody in with: serial number {_serial(certificate)} of {name}",
            )
        if certificate.is_authority:
            raise UnusableNoticeError(
                where=where,
                found=f"the CA {str(certificate.subject_name)[:_SHOWN]}",
                expected="certificates of clients: a CA is not revoked but taken out of the truststore",
                remedy="Rotate the CA's secret, then the clients'. The CA leaves the truststore when its overlap ends.",
            )
    return certificates


def _serial(certificate: Presented) -> str:
    number = certificate.serial_number
    return f"{number:x}" if number.bit_length() <= _LONGEST_SHOWN else f"of {number.bit_length()} bits"


def _issuer(text: str) -> str:
    try:
        first, *_ = _readings(text)
    except ValueError as error:
        raise ValueError(f"a name as RFC 4514 writes it, such as CN=Example CA,O=Example: {error}") from None
    if sum(map(len, first.parts)) > _MOST_ATTRIBUTES:
        raise ValueError(f"a name of no more than {_MOST_ATTRIBUTES} attributes. Upload the certificate itself")
    return text


@lru_cache(maxsize=64)
def _readings(text: str) -> tuple[DistinguishedName, ...]:
    """What a name may mean; of a thousand entries most have the same."""
    return DistinguishedName.readings(text)


def _serial_number(text: str) -> str:
    """Hex as openssl and browsers print it: upper or lower case, with colons or blanks, with leading zeros."""
    plain = re.sub(r"^(-?)0x", r"\1", re.sub(r"[:\s]", "", text).lower())
    if not _SERIAL.fullmatch(plain) or len(plain.lstrip("-0")) == _DIGITS_OF_SHA256:
        raise ValueError(
            "a serial number in hex, of up to 80 digits (RFC 5280, section 4.1.2.2). A fingerprint is none"
        )
    return f"{int(plain, 16):x}"


def _ca(text: str) -> str:
    plain = re.sub(r"[:\s]", "", text).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise ValueError("the SHA-256 fingerprint of the CA's certificate, in hex")
    return plain


# What is so long by chance is the fingerprint that stands beside the serial number.
_DIGITS_OF_SHA256 = 64


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    certificate: str | None = None
    issuer: Annotated[str, AfterValidator(_issuer)] | None = None
    serial_number: Annotated[str, AfterValidator(_serial_number)] | None = None
    ca_fingerprint_sha256: Annotated[str, AfterValidator(_ca)] = ""
    reason: Reason = "unspecified"

    @model_validator(mode="after")
    def _says_which(self) -> _Entry:
        if (self.certificate is None) == (self.issuer is None or self.serial_number is None):
            raise ValueError('either "certificate", or "issuer" and "serial_number"')
        return self


def _from_json(text: str, where: str) -> tuple[Shown | Named, ...]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unusable(where, f"JSON that cannot be read ({error})") from None
    entries = document if isinstance(document, list) else [document]
    if not entries:
        raise _unusable(where, "an empty list")
    if len(entries) > MOST_CERTIFICATES:
        raise _too_many(where, len(entries))
    said = tuple(
        it
        for number, entry in enumerate(entries, start=1)
        for it in _from_entry(entry, f"{where}, entry {number}" if len(entries) > 1 else where)
    )
    if len(said) > MOST_CERTIFICATES:
        raise _too_many(where, len(said))
    return said


def _from_entry(document: object, where: str) -> list[Shown | Named]:
    try:
        entry = _Entry.model_validate(document)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        path = ".".join(map(str, problem["loc"])) or "the entry"
        raise UnusableNoticeError(
            where=where,
            found=f"an unusable {path}",
            expected=str(problem["msg"]).removeprefix("Value error, "),
            remedy=_REMEDY,
        ) from None
    if entry.certificate is not None:
        return [Shown(it, entry.reason) for it in _from_pem(entry.certificate, where)]
    return [Named(_readings(entry.issuer or ""), entry.serial_number or "", entry.ca_fingerprint_sha256, entry.reason)]


_REMEDY = (
    "Correct the object and upload it again. What was read under its name before stays revoked until it is deleted."
)


def _too_many(where: str, count: int) -> UnusableNoticeError:
    return UnusableNoticeError(
        where=where,
        found=f"{count} certificates in one object",
        expected=f"no more than {MOST_CERTIFICATES}",
        remedy="Upload it in parts.",
    )


def _unresolved(where: str, found: str, expected: str) -> UnresolvedNoticeError:
    return UnresolvedNoticeError(
        where=where,
        found=found,
        expected=expected,
        remedy="Nobody is revoked by this. Upload the certificate itself: with it nothing can be mistaken. It is looked"
        " at again each hour.",
    )


def _unusable(where: str, found: str) -> UnusableNoticeError:
    return UnusableNoticeError(
        where=where,
        found=found,
        expected='PEM certificates, or JSON such as {"issuer": "CN=Example CA", "serial_number": "5E:01"}',
        remedy=_REMEDY,
    )
