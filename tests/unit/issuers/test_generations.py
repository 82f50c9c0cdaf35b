"""An anchor's subject carries its generation: no two of ours have one subject, so a server cannot mistake them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mtls_rotation.contract.layout import MANAGED_ANCHORS, TRUSTSTORE
from mtls_rotation.pki import bundles, profile
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.distinguished_names import DistinguishedName, rfc4514
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm
from tests.kit import builders
from tests.kit.conformance import lint
from tests.kit.stack import CA, CLIENT, Stack

KEYS = [profile.generate_key(KeyAlgorithm.EC_P256) for _ in range(2)]
TEXTS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=64)
COMMON_NAMES = TEXTS.map(lambda it: it.encode()[:64].decode(errors="ignore"))
MAKERS = (profile.issue_root, profile.issue_self_signed_leaf)
REQUESTS = st.builds(
    CertificateRequest,
    common_name=st.sampled_from(["CA", "C" * 64]) | COMMON_NAMES,
    organization=st.none() | TEXTS,
    organizational_unit=st.none() | TEXTS,
    country=st.sampled_from([None, "CH"]),
    validity_days=st.sampled_from([1, 365, 7300]),
)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2049, 12, 31)).map(lambda it: it.replace(tzinfo=UTC))  # noqa: DTZ001


def generation_of(certificate: x509.Certificate) -> str:
    (attribute,) = certificate.subject.get_attributes_for_oid(NameOID.DN_QUALIFIER)
    return str(attribute.value)


def anchors(stack: Stack) -> dict[str, x509.Certificate]:
    """Every CA that the stack ever filed or published."""
    bodies = [body for key, body in stack.objects().items() if key.startswith((MANAGED_ANCHORS, TRUSTSTORE))]
    return {key: it for body in bodies for key, it in bundles.certificates(body).items()}


def require_a_subject_each(certificates: Iterable[x509.Certificate]) -> None:
    every = list(certificates)
    assert len({it.subject.public_bytes() for it in every}) == len(every)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(REQUESTS, st.sampled_from(KEYS), MOMENTS), min_size=2, max_size=4))
def test_whatever_is_asked_for_and_whenever_no_two_anchors_have_one_subject(
    orders: list[tuple[CertificateRequest, pki.SigningKey, datetime]],
) -> None:
    twice = [*orders, orders[0]]
    made = [make(request, key, now) for make in MAKERS for request, key, now in twice]

    require_a_subject_each(made)
    for (request, _, now), certificate in zip([*twice, *twice], made, strict=True):
        assert generation_of(certificate).startswith(f"{now:%Y%m%d}-")
        asked = [it for it in certificate.subject if it.oid != NameOID.DN_QUALIFIER]
        assert asked == list(profile.subject(request))


@pytest.mark.parametrize(
    ("authority", "issuer"),
    [("self-signed", "secretsmanager"), ("kms", "kms"), ("kms, one key for all", "kms")],
)
def test_no_two_anchors_have_one_subject_over_many_rotations(empty_stack: Stack, authority: str, issuer: str) -> None:
    by: dict[str, Any] = {"type": authority.partition(",")[0]}
    if "one key" in authority:
        key = empty_stack.clients.kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
        by["key_id"] = key["Arn"]
    empty_stack.add_secret(CA, builders.ca_definition(issuer=by))
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer={"type": issuer, "ca_secret": CA}))
    leaves = []
    for hours in (0, 0, 25, 25, 24 * 200):  # some on one day
        empty_stack.pass_time(hours=hours)
        empty_stack.rotate(CA)
        leaves.append(empty_stack.certificate(empty_stack.rotate()))
        empty_stack.reconcile()

    made = anchors(empty_stack)
    assert len(made) == len(leaves)
    require_a_subject_each(made.values())
    by_name = {it.subject: it for it in made.values()}
    for leaf in leaves:
        leaf.verify_directly_issued_by(by_name[leaf.issuer])
    days = [generation_of(by_name[leaf.issuer])[:8] for leaf in leaves]
    assert all(earlier <= later for earlier, later in pairwise(days))


def test_no_two_anchors_have_one_subject_while_a_client_signs_itself(empty_stack: Stack) -> None:
    """Else a gateway might go by the first that it finds, and refuse the certificate that clients hold."""
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer={"type": "self-signed"}))
    made = [empty_stack.certificate(empty_stack.rotate()) for _ in range(3)]

    require_a_subject_each(made)
    assert set(empty_stack.reconcile().plan.anchors) >= {pki.fingerprint(it) for it in made[-2:]}
    assert {str(DistinguishedName.of(it.subject).without_generation()) for it in made} == {"CN=billing"}


def test_a_ca_from_before_keeps_its_subject_and_its_successor_has_a_generation(empty_stack: Stack) -> None:
    before = builders.named(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test CA")]))
    empty_stack.add_ca(before)
    empty_stack.add_secret(CLIENT, builders.client_definition())
    assert empty_stack.certificate(empty_stack.rotate()).issuer == before.certificate.subject
    successor = empty_stack.certificate(empty_stack.rotate(CA), CA)

    assert rfc4514(successor.subject) == f"CN=Test CA,dnQualifier={generation_of(successor)}"
    assert empty_stack.certificate(empty_stack.rotate()).issuer == successor.subject
    assert set(anchors(empty_stack)) >= {pki.fingerprint(before.certificate), pki.fingerprint(successor)}


def test_the_generation_begins_as_the_serial_number_does(ca: pki.CertifiedKey) -> None:
    day, _, number = generation_of(ca.certificate).partition("-")

    assert day == f"{ca.certificate.not_valid_before_utc + timedelta(minutes=5):%Y%m%d}"
    assert len(number) == 12
    assert pki.serial(ca.certificate).startswith(number)


def test_the_generation_is_a_printable_string_beside_the_common_name(ca: pki.CertifiedKey) -> None:
    """RFC 5280, appendix A.1: X520dnQualifier."""
    assert [(it.oid, it._type.name) for it in ca.certificate.subject] == [
        (NameOID.DN_QUALIFIER, "PrintableString"),
        (NameOID.COMMON_NAME, "UTF8String"),
    ]
    assert lint(ca.certificate) == []


def test_openssl_writes_the_subject_as_we_do(ca: pki.CertifiedKey) -> None:
    """As nginx does in $ssl_client_i_dn: so may an operator copy it from there."""
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-subject", "-nameopt", "RFC2253"],
        input=ca.certificate.public_bytes(Encoding.PEM),
        capture_output=True,
        check=True,
    ).stdout.decode()

    assert shown.strip() == f"subject={pki.subject(ca.certificate)}"


@pytest.mark.parametrize("written", ["dnQualifier", "DNQ", "DNQUALIFIER", "dnqualifier", "2.5.4.46"])
def test_the_subject_is_read_as_other_tools_write_it(ca: pki.CertifiedKey, written: str) -> None:
    text = pki.subject(ca.certificate).replace("dnQualifier", written)

    assert DistinguishedName.parse(text) == DistinguishedName.of(ca.certificate.subject)
