"""Certificates that partners sign for us: what they upload, and the notes of what was asked of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.hazmat.primitives.serialization.pkcs7 import serialize_certificates

from mtls_rotation.aws.bucket import Listed, Stored
from mtls_rotation.aws.secret_versions import RotationStart
from mtls_rotation.contract import layout
from mtls_rotation.errors import MtlsRotationError
from mtls_rotation.issuers.external import answer, intake
from mtls_rotation.issuers.external import request as signing_request
from mtls_rotation.issuers.external.intake import BucketIndex, Intake, matching_request, no_matching_request
from mtls_rotation.issuers.external.request import SigningRequest
from mtls_rotation.pki import (
    bundles,
    conformity,
    name_constraints,
    paths,
    profile,
    servers,
    signatures,
    verification,
)
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.request import CertificateRequest
from mtlsctl.commands.importing import signed as import_signed
from mtlsctl.files import documents
from tests.kit import builders
from tests.proof.readers import Reader, ca, client
from tests.proof.readers.bombs import CERTIFICATES, JSON, PEM, members, within
from tests.proof.readers.kinds import AGES, Drawn, aged, in_some_order, written
from tests.proof.readers.pem import odd_certificates

_MODULES = (
    *(signing_request, answer, intake, conformity, verification, paths, servers, bundles, name_constraints, signatures),
)
_UPLOADED = "signed/answer\x1b.pem"
# EventBridge takes 256 KiB: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
_LARGEST_EVENT = 256 * 1024


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    answers = list(_answers())
    bombs = {
        **PEM,
        **{f"{name}, for our key": _for_our_key(bomb) for name, bomb in CERTIFICATES.items()},
        "CAs that sign each other": lambda size: _cross_signed(min(size // 1600, 60)),
        "CAs that sign themselves": lambda size: _self_signed(min(size // 800, 300)),
        "DER of zeros": lambda size: b"\x30\x83" + size.to_bytes(3) + b"\0" * size,
        "DER that is deep": lambda size: b"\x30\x80" * (size // 2),
    }
    refusals = (MtlsRotationError, _AnnouncedError)
    yield Reader("signed certificates", _take_in, answers, _MODULES, refusals, bombs, largest=1 << 20, draw=_answer)
    note = json.loads(request().render())
    yield Reader(
        "notes of signing requests",
        lambda data: _take_in(answers[0], note=data),
        [request().render().encode()],
        (signing_request, intake),
        refusals,
        {
            **JSON,
            **within(note, "ca_certificates"),
            **within(note, "certificate_signing_request"),
            **members(note, "request", "dns_names"),
            **members(note, "secret_name"),
        },
        largest=1 << 20,
    )
    yield Reader(
        "signed certificates, in mtlsctl",
        _import,
        answers,
        (signing_request, answer, intake),
        (MtlsRotationError,),
        PEM,
        1 << 20,
        draw=_answer,
    )


@cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@cache
def request() -> SigningRequest:
    """What was asked for."""
    wanted = CertificateRequest(common_name="billing", validity_days=30, dns_names=("billing.example",))
    csr = profile.signing_request(wanted, _key())
    return SigningRequest("arn:aws:secret", "mtls/billing", wanted, pki.to_pem(ca().certificate), csr)


@cache
def _fitting() -> x509.Certificate:
    return profile.issue_leaf(request().request, _key().public_key(), ca().certificate, ca().key, builders.NOW)


@cache
def _smuggled() -> x509.Certificate:
    """A CA for our key."""
    made = builders.Foreign(key=_key(), signer=ca().key, issuer=ca().certificate)
    return made.make()[0]


def _answers() -> Iterator[bytes]:
    both = [_fitting(), ca().certificate]
    yield pki.to_pem(*both).encode()
    yield pki.to_pem(*builders.authorities(2), *reversed(both)).encode()
    yield from (serialize_certificates(both, how) for how in (Encoding.PEM, Encoding.DER))
    yield _fitting().public_bytes(Encoding.DER)
    yield pki.to_pem(_smuggled(), ca().certificate).encode()
    yield pki.to_pem(client().certificate).encode()
    yield _cross_signed(2)
    yield from odd_certificates()


def _answer(random: Random) -> Drawn:
    """What fits, or is of another age, with the CA and former ones of its key, in any order and as a file has it."""
    age = random.choice(("", "", *AGES))
    leaf = aged(_fitting(), age, ca()) if age else _fitting()
    former = [aged(ca().certificate, it, ca()) for it in random.sample(("expired", "of 1950"), random.randrange(3))]
    drawn = written(random, [pki.to_pem(it) for it in in_some_order(random, [leaf, ca().certificate, *former])])
    return Drawn(drawn.data, fit=drawn.fit and not age)


def _for_our_key(bomb: Any) -> Any:
    """The bomb, and behind it what fits."""
    return lambda size: bomb(size) + pki.to_pem(_fitting()).encode()


@cache
def _issuers() -> tuple[Any, Any]:
    return ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def _by(issuer: str, key: Any, subject: str, public: Any, number: int) -> x509.Certificate:
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(public)
    builder = builder.not_valid_before(builders.NOW).not_valid_after(builders.NOW + timedelta(days=40))
    builder = builder.add_extension(x509.BasicConstraints(ca=subject != "billing", path_length=None), critical=True)
    return builder.serial_number(number + 1).sign(key, hashes.SHA256())


@cache
def _cross_signed(count: int) -> bytes:
    """Our leaf by A, of which there are many by B, of which there are many by A."""
    a, b = _issuers()
    made = [_by("A", a, "billing", _key().public_key(), 0)]
    for number in range(count):
        made += [_by("B", b, "A", a.public_key(), number), _by("A", a, "B", b.public_key(), number)]
    return pki.to_pem(*made).encode()


@cache
def _self_signed(count: int) -> bytes:
    a, _ = _issuers()
    made = [_by("A", a, "billing", _key().public_key(), 0)]
    return pki.to_pem(*made, *(_by("A", a, "A", a.public_key(), number) for number in range(count))).encode()


@dataclass
class Bucket:
    """A bucket in memory, as far as the intake needs one."""

    objects: dict[str, bytes] = field(default_factory=dict)
    name: str = "certificates"

    def read(self, key: str, version_id: str | None = None) -> Stored | None:
        return Stored(self.objects[key], "etag", version_id or "v1") if key in self.objects else None

    def list(self, prefix: str) -> Iterator[Listed]:
        for key, body in sorted(self.objects.items()):
            if key.startswith(prefix):
                yield Listed(key, "etag", len(body), builders.NOW)

    def replace(self, key: str, body: bytes, previous: Stored | None, **_: Any) -> Stored:
        self.objects[key] = body
        return Stored(body, "etag", "v2")


class Bus:
    """Hears events, and takes none that EventBridge would not."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def put(self, detail_type: str, detail: dict[str, Any], *resources: str) -> None:
        text = json.dumps(detail)
        assert len(text) < _LARGEST_EVENT, f"an event of {len(text)} bytes, which EventBridge does not take"
        text.encode()
        self.messages.append(str(detail.get("message", "")))


def _take_in(body: bytes, note: bytes | None = None) -> None:
    bucket = Bucket({_UPLOADED: body, request().note: request().render().encode() if note is None else note})
    bus = Bus()
    versions = SimpleNamespace(rotate=lambda _: RotationStart.STARTED)
    services = SimpleNamespace(versions=versions, bucket=bucket, bus=bus, clock=lambda: builders.NOW)
    outcome = Intake(cast("Any", services)).run(_UPLOADED)
    if outcome.refusal:
        # What is announced is to be as fit to be shown as what is raised.
        raise _AnnouncedError(outcome.refusal)
    accepted = bucket.objects[layout.accepted_key(request().public_key)]
    leaf, *above = pki.from_pem(accepted.decode())
    assert leaf.public_key() == _key().public_key(), "another key"
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca, "a CA"
    for lower, upper in zip((leaf, *above), above, strict=False):
        lower.verify_directly_issued_by(upper)


class _AnnouncedError(Exception):
    """The refusal that was announced."""


def _import(data: bytes) -> None:
    """As `mtlsctl import signed` does before it uploads anything."""
    from unittest.mock import patch

    bucket = cast("Any", Bucket({request().note: request().render().encode()}))
    with patch.object(documents, "read", lambda *_: data):
        found = import_signed._signed_certificates("answer.pem")
    waiting = matching_request(found, BucketIndex(bucket), "answer.pem")
    if waiting is None:
        raise no_matching_request(found, BucketIndex(bucket), "answer.pem")
    waiting.fit(found, builders.NOW)
