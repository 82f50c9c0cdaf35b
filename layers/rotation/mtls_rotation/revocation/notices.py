"""What an operator uploads to revoke certificates, and what it says. Calls nothing.

Either certificates in PEM, as they lie under `issued/`, or JSON: one object or a list of them, each with either
`certificate` (PEM) or `issuer` (RFC 4514) and `serial_number` (hex), and with a `reason` if there is one to tell.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cryptography import x509
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator

from mtls_rotation.errors import UnusableNoticeError
from mtls_rotation.pki.certificate_id import CertificateId
from mtls_rotation.pki.certificates import from_pem, short_subject
from mtls_rotation.pki.distinguished_names import DistinguishedName

if TYPE_CHECKING:
    from collections.abc import Sequence

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
_SERIAL = re.compile(r"[0-9a-f]{1,40}")
# Twenty octets with the sign (RFC 5280, section 4.1.2.2): what a CRL can hold.
_BEYOND = 1 << 159
# How many bits of one that is larger are worth showing.
_LONGEST_SHOWN = 256
# Ten thousand certificates: nobody revokes more by one object.
LARGEST_NOTICE = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Notice:
    """One certificate that is to be revoked."""

    certificate: CertificateId
    reason: Reason = "unspecified"


def parse(body: bytes, where: str) -> tuple[Notice, ...]:
    """What an uploaded object revokes.

    Args:
        body: the object.
        where: what to call it in an error.

    Raises:
        UnusableNoticeError: it is neither form, or names a CA, or holds a private key.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
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
    return tuple(Notice(it) for it in _from_pem(text, where))


def _from_pem(text: str, where: str) -> Sequence[CertificateId]:
    try:
        certificates = from_pem(text)
        identities = [CertificateId.of(it) for it in certificates]
    except Exception as error:  # noqa: BLE001 - the library has a kind for each thing that may be wrong with one
        raise _unusable(where, f"what cannot be read as PEM certificates ({type(error).__name__}: {error})") from None
    if not certificates:
        raise _unusable(where, "no certificate")
    if odd := next((it for it in certificates if not 0 < it.serial_number < _BEYOND), None):
        raise _unusable(where, f"a certificate with the serial number {_serial(odd)}, which no CRL can hold")
    for certificate in certificates:
        if _is_ca(certificate):
            raise UnusableNoticeError(
                where=where,
                found=f"the CA {short_subject(certificate)}",
                expected="certificates of clients: a CA is not revoked but taken out of the truststore",
                remedy="Rotate the CA's secret, then the clients'. The CA leaves the truststore when its overlap ends.",
            )
    return identities


def _serial(certificate: x509.Certificate) -> str:
    number = certificate.serial_number
    return f"{number:x}" if number.bit_length() <= _LONGEST_SHOWN else f"of {number.bit_length()} bits"


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except Exception:  # noqa: BLE001 - a certificate whose extensions cannot be read is no CA for anybody
        return False


def _issuer(text: str) -> str:
    try:
        return str(DistinguishedName.parse(text))
    except ValueError as error:
        raise ValueError(f"a name as RFC 4514 writes it, such as CN=Example CA,O=Example: {error}") from None


def _serial_number(text: str) -> str:
    """Hex as openssl and browsers print it: upper or lower case, with colons or blanks, with leading zeros."""
    plain = re.sub(r"[:\s]", "", text).lower().removeprefix("0x")
    if not _SERIAL.fullmatch(plain) or not 0 < int(plain, 16) < _BEYOND:
        raise ValueError(
            "a serial number in hex, of up to 40 digits and below 2^159 (RFC 5280, section 4.1.2.2)."
            " A fingerprint is none"
        )
    return f"{int(plain, 16):x}"


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    certificate: str | None = None
    issuer: Annotated[str, AfterValidator(_issuer)] | None = None
    serial_number: Annotated[str, AfterValidator(_serial_number)] | None = None
    reason: Reason = "unspecified"

    @model_validator(mode="after")
    def _says_which(self) -> _Entry:
        if (self.certificate is None) == (self.issuer is None or self.serial_number is None):
            raise ValueError('either "certificate", or "issuer" and "serial_number"')
        return self


def _from_json(text: str, where: str) -> tuple[Notice, ...]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _unusable(where, f"JSON that cannot be read ({error})") from None
    entries = document if isinstance(document, list) else [document]
    if not entries:
        raise _unusable(where, "an empty list")
    return tuple(
        notice
        for number, entry in enumerate(entries, start=1)
        for notice in _from_entry(entry, f"{where}, entry {number}" if len(entries) > 1 else where)
    )


def _from_entry(document: object, where: str) -> list[Notice]:
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
        return [Notice(it, entry.reason) for it in _from_pem(entry.certificate, where)]
    return [Notice(CertificateId(entry.issuer or "", entry.serial_number or ""), entry.reason)]


_REMEDY = (
    "Correct the object and upload it again. What was read under its name before stays revoked until it is deleted."
)


def _unusable(where: str, found: str) -> UnusableNoticeError:
    return UnusableNoticeError(
        where=where,
        found=found,
        expected='PEM certificates, or JSON such as {"issuer": "CN=Example CA", "serial_number": "5E:01"}',
        remedy=_REMEDY,
    )
