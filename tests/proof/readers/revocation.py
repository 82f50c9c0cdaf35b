"""What operators upload to revoke certificates, and the lists that are made of it and read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_rotation.aws.bucket import Stored
from mtls_rotation.contract import revocations
from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.errors import (
    MtlsRotationError,
    RevocationUnknownError,
    UnresolvedNoticeError,
    UnusableNoticeError,
)
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.authorities import Authorities
from mtls_rotation.pki.certificate_id import CertificateId
from mtls_rotation.revocation import check, crl, notices, register, state
from mtls_rotation.revocation.register import Register, Room, Source
from mtlsctl import revocation as command
from tests.kit import builders
from tests.proof.readers import Reader, ca, client
from tests.proof.readers.bombs import CERTIFICATES, JSON, PEM, members, within
from tests.proof.readers.kinds import AGES, Drawn, aged, written
from tests.proof.readers.pem import odd_certificates

_WEEK = timedelta(days=7)
# What one object of one MiB may make of the list, in bytes; and the most of a key in S3.
_MOST_LISTED, _LONGEST_KEY = 16 << 20, 1024
_WHERE = "s3://certificates/revoked/\x1b[2J"


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    named = {"issuer": "CN=Example CA,O=Example", "serial_number": "5E:01", "reason": "keyCompromise"}
    whole = {"certificate": pki.to_pem(client().certificate), "reason": "superseded"}
    pems = {**PEM, **CERTIFICATES}
    many = {f"in a list: {name}": _in_list(it) for name, it in members(named, "issuer").items()}
    yield Reader(
        "notices of revocation",
        _notice,
        [
            *(json.dumps(it).encode() for it in (named, whole, [named, whole] * 3)),
            pki.to_pem(client().certificate).encode(),
            *odd_certificates(),
        ],
        (notices,),
        (UnusableNoticeError,),
        {
            **JSON,
            **pems,
            **within(whole, "certificate", bombs=pems),
            **members(named, "issuer"),
            **members(named, "serial_number"),
            **members(named, "reason"),
            **many,
            "many notices": lambda size: json.dumps([named] * (size // 80)).encode(),
            "a thousand notices of long names": lambda size: _thousand(size),
        },
        # More is not read at all, and one byte more is seen to be too much.
        largest=notices.LARGEST_NOTICE + 1,
        draw=_as_a_file,
    )
    text = _register().render()
    document = json.loads(text)
    bombs = {
        **JSON,
        **members(document, "revoked"),
        **members(document, "sources"),
        **members(document, "revoked", 0, "serial_number"),
        **members(document, "revoked", 0, "issuer"),
        **members(document, "revoked", 0, "signer"),
        **members(document, "keys"),
        **members(document, "revoked", 0, "revoked_at"),
    }
    yield Reader("the revocation list", _list, [text], (register, crl), (ValueError,), bombs, largest=1 << 20)
    yield Reader(
        "the revocation list, in the authorizer",
        _check,
        [text],
        (check, revocations),
        (RevocationUnknownError,),
        bombs,
        1 << 20,
    )
    kept = state.RevocationState(_register(), {"crl/ab.crl": '"etag"'}, {"mtls/billing": "v1"}).render()
    whole_notes = json.loads(kept)
    yield Reader(
        "the revocation's notes",
        _notes,
        [kept, state.RevocationState().render()],
        (state, register),
        (),
        {
            **JSON,
            **members(whole_notes, "crls"),
            **members(whole_notes, "given_up"),
            **members(whole_notes, "announced", "revoked"),
        },
        largest=1 << 20,
    )
    yield Reader(
        "CRLs",
        _crl,
        list(_crls()),
        (crl,),
        (),
        {
            "many entries": lambda size: _crl_of(size // 60),
            "zeros": lambda size: b"\x30\x83" + size.to_bytes(3) + b"\0" * size,
            "deep": lambda size: b"\x30\x80" * (size // 2),
        },
        largest=1 << 20,
    )
    yield Reader(
        "issuers and serial numbers, in mtlsctl",
        _of_name,
        [b"CN=Example CA, O=Example\n5E:01", b"CN=a\\,b+OU=\\C3\\BC\nABCDEF0123"],
        (command, notices),
        (MtlsRotationError,),
        {
            "commas": lambda size: b"CN=a," * (size // 5) + b"CN=a\n1",
            "blanks": lambda size: b"CN=a," + b" " * size + b"CN=b\n1",
            "backslashes": lambda size: b"CN=" + b"\\" * size + b"\n1",
            "slashes": lambda size: b"/CN=a" * (size // 5) + b"\n1",
            "quotation marks": lambda size: b'CN="' + b'\\"' * (size // 2) + b"\n1",
            "pluses": lambda size: b"CN=a" + b"+OU=a" * (size // 5) + b"\n1",
            "digits": lambda size: b"CN=a\n" + b"9" * size,
            "colons": lambda size: b"CN=a\n" + b":" * size,
        },
        largest=1 << 18,
    )


def _as_a_file(random: Random) -> Drawn:
    """A certificate of any age to revoke, as a file has it."""
    return written(random, [pki.to_pem(aged(client().certificate, random.choice(list(AGES)), ca()))])


def _in_list(bomb: Any) -> Any:
    return lambda size: b"[" + bomb(size // 2) + b"," + bomb(size // 2) + b"]"


def _thousand(size: int) -> bytes:
    """As many as one object may name, each by a CA with a name of its own."""
    name = "CN=" + "a" * max(1, size // notices.MOST_CERTIFICATES - 80)
    entries = [{"issuer": f"{name}{it}", "serial_number": f"{it:x}"} for it in range(notices.MOST_CERTIFICATES)]
    return json.dumps(entries).encode()


@cache
def _known() -> notices.Known:
    """The CA of the samples, another that a notice names, and a namesake of the first."""
    known = SimpleNamespace(
        authorities=Authorities(
            [
                ca().certificate,
                builders.named(ca().certificate.subject).certificate,
                builders.named(x509.Name.from_rfc4514_string("CN=Example CA,O=Example")).certificate,
            ]
        ),
        filed=lambda number: [client().certificate] if number == pki.serial(client().certificate) else [],
    )
    return cast("notices.Known", known)


def _notice(data: bytes) -> None:
    """As a run of revocation takes it in. What comes of it is bounded, whatever the object says."""
    said = notices.parse(data, _WHERE)
    assert len(said) <= notices.MOST_CERTIFICATES
    read = []
    for it in said:
        with suppress(UnresolvedNoticeError):
            read.append(notices.identify(it, _known(), _WHERE))
    keys = {
        it.certificate.key: _known().authorities.public_key(it.certificate.key) for it in read if it.certificate.key
    }
    room = Room(())
    assert room.take(read), "one object fills the list"
    made = Register.of({"revoked/a": Source("etag", tuple(read))}, Register(), builders.NOW, keys)
    assert Register.parse(made.render()) == made
    found = Revocations.parse(made.render())
    assert found.listed == set(made.revoked)
    for it in said:
        assert not isinstance(it, notices.Shown) or found.include(it.certificate), "what was taken in is not found"
    assert len(made.render()) < _MOST_LISTED
    # What was taken can be put on a CRL, or is left out.
    crl.build(ca().certificate, ca().key, made.by(ca().certificate), None, builders.NOW, _WEEK)


@cache
def _register() -> Register:
    authorities = _known().authorities
    held = authorities.identify(client().certificate)
    named = CertificateId(held.issuer, "5e01", held.key)
    unknown = CertificateId.of(client().certificate)
    sources = {
        "revoked/a.json": Source("e1", (notices.Notice(held, "keyCompromise"),)),
        "revoked/b.json": Source("e2", (notices.Notice(named), notices.Notice(unknown)), "refused: why"),
    }
    return Register.of(sources, Register(), builders.NOW, {held.key: authorities.public_key(held.key)})


def _list(data: bytes) -> None:
    before = Register.parse(data)
    # As a run of revocation goes on with it.
    after = Register.of(before.sources, before, builders.NOW)
    assert Register.parse(after.render()) == after
    list(register.added(after, before)), list(register.withdrawn(after, before))
    assert all(isinstance(it, str) for it in before.refused.values())
    revoked = after.by(ca().certificate)
    crl.build(ca().certificate, ca().key, revoked, None, builders.NOW, _WEEK)
    crl.is_due(ca().certificate, revoked, x509.load_der_x509_crl(_crl_of(1)), builders.NOW)
    Revocations.parse(after.render()).include(client().certificate)


def _notes(data: bytes) -> None:
    read = state.RevocationState.parse(data)
    assert read is None or state.RevocationState.parse(read.render()) == read


def _check(data: bytes) -> None:
    stored = Stored(data, "etag", "v1")
    bucket = SimpleNamespace(
        name="certificates",
        newer=lambda *_: stored,
        versions=lambda _: iter(["v1"] * 30),
        read=lambda *_: stored,
        uri=lambda key: f"s3://certificates/{key}",
    )
    revoked = check.RevocationCheck(cast("Any", bucket), timedelta(seconds=60)).revoked()
    assert all(it.issuer + it.serial_number + it.signer for it in revoked.listed)
    revoked.include(client().certificate)


@cache
def _crl_of(entries: int) -> bytes:
    builder = x509.CertificateRevocationListBuilder().issuer_name(ca().certificate.subject)
    builder = builder.last_update(builders.NOW).next_update(builders.NOW + _WEEK)
    for number in range(entries):
        entry = x509.RevokedCertificateBuilder().serial_number(number + 1).revocation_date(builders.NOW)
        builder = builder.add_revoked_certificate(entry.build())
    return builder.sign(ca().key, hashes.SHA256()).public_bytes(Encoding.DER)


def _crls() -> Iterator[bytes]:
    revoked = tuple(_register().revoked.values())
    yield crl.build(ca().certificate, ca().key, revoked, None, builders.NOW, _WEEK)
    yield _crl_of(3)
    yield crl.build(ca().certificate, ca().key, (), None, builders.NOW, _WEEK)


def _crl(data: bytes) -> None:
    """As a run of revocation takes the CRL that is there."""
    previous = crl.parse(data)
    revoked = tuple(_register().revoked.values())
    if crl.is_due(ca().certificate, revoked, previous, builders.NOW):
        made = crl.build(ca().certificate, ca().key, revoked, previous, builders.NOW, _WEEK)
        number = x509.load_der_x509_crl(made).extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        assert number < 1 << 159, "a number that no CRL may have (RFC 5280, section 5.2.3)"


def _of_name(data: bytes) -> None:
    issuer, _, serial = data.decode("utf-8", "surrogateescape").partition("\n")
    wanted = command.of_name(issuer, serial, "unspecified")
    assert isinstance(wanted.said, notices.Named)
    certificate = CertificateId(str(wanted.said.issuers[0]), wanted.said.serial_number, "k")
    target = command.Target(certificate, wanted.reason, wanted.subject, wanted.body, frozenset({"k"}))
    assert len(command.notice_key(target, ())) < _LONGEST_KEY
