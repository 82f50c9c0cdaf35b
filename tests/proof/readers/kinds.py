"""What people's files are like: encodings, ages of certificates and orders of them, each drawn by chance.

Some of it must be taken and the rest may be refused: `Drawn` says which.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from mtls_rotation.pki import certificates as pki
from tests.kit import builders

# RFC 5280, section 4.1.2.5: two digits of the year mean 1950 to 2049; what has no end is written as the last moment.
_NOW, _DAY = builders.NOW, timedelta(days=1)
AGES: dict[str, tuple[datetime, datetime]] = {
    "in date": (_NOW - _DAY, _NOW + 30 * _DAY),
    "expired": (_NOW - 60 * _DAY, _NOW - _DAY),
    "ends now": (_NOW - _DAY, _NOW),
    "begins now": (_NOW, _NOW + _DAY),
    "not yet valid": (_NOW + _DAY, _NOW + 60 * _DAY),
    "a second long": (_NOW, _NOW + timedelta(seconds=1)),
    "of 1950": (datetime(1950, 1, 1, tzinfo=UTC), datetime(1950, 12, 31, tzinfo=UTC)),
    "since 1950": (datetime(1950, 1, 1, tzinfo=UTC), _NOW + 30 * _DAY),
    "until 2049": (_NOW - _DAY, datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
    "until 2050": (_NOW - _DAY, datetime(2050, 1, 1, tzinfo=UTC)),
    "from 2050": (datetime(2050, 1, 1, tzinfo=UTC), datetime(2051, 1, 1, tzinfo=UTC)),
    "without end": (_NOW - _DAY, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
}
COMMENTS = (
    "# F\u0151tan\xfas\xedtv\xe1ny",
    "# Autorit\xe9 de certification",
    "# \u7d42\u7aef\u8a3c\u660e\u66f8",
    "# \U0001f512 prod",
    "subject=/C=DE/O=B\xfccher",
    "Certificate:\n    Data:\n        Version: 3 (0x2)",
    "Bag Attributes\n    friendlyName: a",
    "",
)
_ENCODINGS = ("utf-8", "utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "ascii")
# What a text may be written in, and is read all the same: all that matters of it is ASCII there.
_READ = frozenset({"utf-8", "utf-8-sig", "latin-1", "cp1252", "ascii"})
_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]{1,100000}?-----END CERTIFICATE-----[ \t]*\r?\n?")


@dataclass(frozen=True, slots=True)
class Drawn:
    """An input.

    Attributes:
        data: its bytes.
        fit: whether it must be taken, as nothing is wrong with it.
    """

    data: bytes
    fit: bool = False


def written(random: Random, pems: Sequence[str]) -> Drawn:
    """Certificates as a file has them: with comments in any language, line ends of any system, in any encoding."""
    parts = [part for it in pems for part in (random.choice(("", *COMMENTS)), it)]
    text = "\n".join([*parts, random.choice(("", *COMMENTS))])
    ends = random.choice(("\n", "\n", "\r\n", "\r"))
    encoding = random.choice(_ENCODINGS)
    data = text.replace("\n", ends).encode(encoding, "replace")
    return Drawn(data, fit=encoding in _READ and ends != "\r")


def in_some_order[T](random: Random, items: Sequence[T]) -> list[T]:
    """All of them, in any order, some of them twice."""
    drawn = [*items, *random.choices(items, k=random.choice((0, 0, 1, 3)))]
    if random.random() < 0.7:
        random.shuffle(drawn)
    return drawn


def bundle(random: Random) -> Drawn:
    """CAs of any age in any order, as a file has them."""
    some = [pki.to_pem(of_an_age(it).certificate) for it in random.sample(list(AGES), random.randrange(1, 4))]
    return written(random, in_some_order(random, some))


def text_of(drawn: Drawn) -> str:
    """What stands in a text that somebody made of such a file."""
    return drawn.data.decode("utf-8-sig", "replace")


@cache
def of_an_age(age: str, signer: pki.CertifiedKey | None = None, *, authority: bool = True) -> pki.CertifiedKey:
    """A certificate of that age: a CA of its own name, or what a CA has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    begins, ends = AGES[age]
    made = builders.foreign(
        common_name=age,
        authority=authority,
        key=key,
        signer=signer.key if signer else None,
        issuer=signer.certificate if signer else None,
        not_before=begins,
        not_after=ends,
    )
    return pki.CertifiedKey(key=key, certificate=made, chain=(), anchor=signer.certificate if signer else made)


def aged(certificate: x509.Certificate, age: str, signer: pki.CertifiedKey) -> x509.Certificate:
    """The same certificate with another validity, signed by that CA: a renewed one, or an old one.

    Raises:
        ValueError: no certificate that is made anew can have what this one has.
    """
    begins, ends = AGES[age]
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(certificate.issuer)
        .public_key(certificate.public_key())
        .serial_number(certificate.serial_number)
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    for it in certificate.extensions:
        builder = builder.add_extension(it.value, critical=it.critical)
    return builder.sign(signer.key, hashes.SHA256())


def redrawn(data: bytes, random: Random, signer: pki.CertifiedKey) -> bytes:
    """The same input in another encoding; or its certificates in another order, of another age, with comments between.

    Args:
        data: a text in UTF-8, with PEM or without.
        random: by which chance.
        signer: the CA that the certificates are by, as far as they are by any of the tests'.
    """
    blocks = [it[0] for it in _BLOCK.finditer(data)]
    match random.randrange(5 if blocks else 2):
        case 0:
            return data.decode("utf-8", "replace").encode(random.choice(_ENCODINGS), "replace")
        case 1:
            return random.choice((b"\xef\xbb\xbf" + data, data.replace(b"\n", b"\r\n"), data.replace(b"\n", b"\r")))
        case 2:
            order = in_some_order(random, blocks)
            return _BLOCK.sub(b"", data) + b"".join(order)
        case 3:
            at = random.choice(blocks)
            comment = random.choice(COMMENTS).encode(random.choice(("utf-8", "latin-1")), "replace")
            return data.replace(at, comment + b"\n" + at, 1)
        case _:
            at = random.choice(blocks)
            return data.replace(at, _of_another_age(at, random, signer))


def _of_another_age(block: bytes, random: Random, signer: pki.CertifiedKey) -> bytes:
    try:
        certificate = x509.load_pem_x509_certificate(block)
        return pki.to_pem(aged(certificate, random.choice(list(AGES)), signer)).encode()
    except Exception:  # noqa: BLE001 - it is one of those that no CA should have issued, and stays as it is
        return block
