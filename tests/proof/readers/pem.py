"""Bundles of certificates that operators and partners upload, and what becomes of each certificate in them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mtls_rotation.contract import layout
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from mtls_rotation.targets import limits
from mtls_rotation.targets.api import Edition
from mtls_rotation.targets.limits import API_GATEWAY
from mtls_rotation.truststore import announcements, distrust, guards, plan, rendering
from mtls_rotation.truststore.anchor_objects import Bounds
from mtls_rotation.truststore.observation import Observation, StaticEntry
from mtls_sidecar import trust_bundle
from mtls_sidecar.errors import SidecarError
from tests.kit import builders, odd
from tests.proof.readers import Reader, ca, client
from tests.proof.readers.bombs import CERTIFICATES, PEM
from tests.proof.readers.kinds import bundle
from tests.proof.readers.mutation import encoded, parsed

KEY = "anchors/static/partner.pem"
OTHER = builders.root("Other CA").certificate


def readers() -> Iterator[Reader]:
    """See `Reader`."""
    yield Reader(
        "bundles of CA certificates",
        _uploaded,
        [pem(), pem().decode().encode("utf-16"), b"\xef\xbb\xbf" + pem().replace(b"\n", b"\r\n"), *odd_certificates()],
        (bundles, plan, limits, announcements, guards),
        (),
        {**PEM, **CERTIFICATES, "CAs of two names": of_two_names, "UTF-16": _utf_16},
        largest=2 << 20,
        draw=bundle,
        fits=_each_is_read,
    )
    yield Reader(
        "distrusted anchors",
        _distrusted,
        [b"", pem(), *odd_certificates()],
        (bundles, distrust, plan),
        (),
        {**PEM, **CERTIFICATES},
        largest=2 << 20,
        draw=bundle,
    )
    yield Reader(
        "files of CA certificates, in the sidecar",
        lambda data: trust_bundle.checked(data.decode(errors="replace"), "the server's CA in /ca.pem"),
        [pem(), *odd_certificates()],
        (trust_bundle,),
        (SidecarError,),
        {**PEM, **CERTIFICATES},
        largest=1 << 20,
        draw=bundle,
        fits=_each_is_trusted,
    )


def _each_is_read(data: bytes) -> None:
    entries = bundles.parse(data)
    assert len(entries) == data.count(b"-----BEGIN CERTIFICATE-----")
    assert all(isinstance(it, x509.Certificate) for it in entries)


def _each_is_trusted(data: bytes) -> None:
    read = trust_bundle.checked(data.decode("utf-8", "replace"), "the server's CA in /ca.pem")
    assert read.count("-----BEGIN CERTIFICATE-----") == data.count(b"-----BEGIN CERTIFICATE-----")


def _distrusted(data: bytes) -> None:
    """Whatever is in the object, its name takes that CA out, and no content any other."""
    key, certificate = pki.fingerprint(ca().certificate), ca().certificate
    said = distrust.read(layout.distrusted_anchor_key(key), bundles.parse(data))
    nothing: frozenset[Any] = frozenset()
    anchors = {key: certificate, pki.fingerprint(OTHER): OTHER}
    static = tuple(StaticEntry(KEY, it, number) for number, it in enumerate(anchors.values(), 1))
    seen = Observation(builders.NOW, nothing, nothing, (), static=static, deployed=anchors, distrusted=(said,))
    decided = plan.decide(seen, plan.Settings(), API_GATEWAY)
    assert set(decided.anchors) == {pki.fingerprint(OTHER)}
    json.dumps([it.event.detail for it in announcements.distrusted(seen)])


def _uploaded(data: bytes) -> None:
    entries = bundles.parse(data, most=Bounds().blocks, spoilt=Bounds().spoilt)
    found = bundles.from_blocks(bundles.blocks(entries))
    assert found == entries
    static = tuple(StaticEntry(KEY, it, number) for number, it in enumerate(entries, 1))
    nothing: frozenset[Any] = frozenset()
    decided = plan.decide(Observation(builders.NOW, nothing, nothing, (), static=static), plan.Settings(), API_GATEWAY)
    rendered = rendering.render(decided.anchors)
    assert bundles.fingerprints(rendered) == frozenset(decided.anchors)
    assert rendered == pki.to_pem(*(decided.anchors[it].certificate for it in sorted(decided.anchors))).encode()
    edition = Edition("t.pem", "s3://b/t.pem", "v", rendered, frozenset(decided.anchors))
    assert rendering.explain(edition, decided.anchors).isascii()
    for statement in (*announcements.rejections(decided, "s3://b/t"), *announcements.expiring(decided, builders.NOW)):
        assert len(str(statement.event.detail)) < 50_000, "an event that EventBridge does not take"
    plan.largest_contributors(decided)


@cache
def pem() -> bytes:
    """Two CAs and a leaf, with words between them."""
    return f"# ours\n{pki.to_pem(ca().certificate)}\n{pki.to_pem(client().certificate, *_others())}".encode()


def _others() -> list[x509.Certificate]:
    return builders.authorities(3)


@cache
def odd_certificates() -> tuple[bytes, ...]:
    """Certificates that no CA should issue."""
    made = (odd.twice_extended(), odd.of_version_4(), odd.with_a_long_name(), odd.numbered(-5), odd.numbered(0))
    unknown = builders.with_an_unknown_key(client().certificate)
    return (*(it.encode() for it in made), as_pem(unknown))


def as_pem(der: bytes) -> bytes:
    """A certificate's DER as PEM, whatever it is."""
    import base64

    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def of_two_names(size: int) -> bytes:
    """As many CAs of one name that have signed themselves as CAs below them."""
    above, below = builders.authorities(2)
    count = max(1, size // 1600)
    return b"".join(_numbered(it, number) for number in range(count) for it in (above, below))


def _numbered(certificate: x509.Certificate, number: int) -> bytes:
    tree = parsed(certificate.public_bytes(Encoding.DER))
    assert tree is not None
    tree = deepcopy(tree)
    tree[1][0][1][1][1] = b"\1" + number.to_bytes(8)
    return as_pem(encoded(tree))


def _utf_16(size: int) -> bytes:
    return ("\ufeff" + "-----BEGIN CERTIFICATE-----\n\ud7ff" * (size // 60)).encode("utf-16-le")
