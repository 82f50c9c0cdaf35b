"""What `mtlsctl import` reads, in every shape that teams keep a certificate in, and what it refuses. No AWS."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest, KeyAlgorithm
from mtlsctl.errors import InvalidInputError, UnusableCertificateError
from mtlsctl.provisioning import derived_request, identity
from tests.kit import builders, chains
from tests.kit.builders import NOW, Foreign
from tests.kit.chains import EXPIRED, Shape

CA = builders.root("Example Corp CA")
LEAF = builders.leaf(CA, common_name="warehouse")
CERTIFICATE, CHAIN, KEY = pki.to_pem(LEAF.certificate), pki.to_pem(CA.certificate), pki.key_to_pem(LEAF.key)
REQUEST = CertificateRequest(common_name="warehouse", validity_days=30)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def flattened(pem: str) -> str:
    """As the form of a console leaves it."""
    return pem.strip().replace("\n", " ")


SHAPES = {
    "AWS's sample for ACM": json.dumps(
        {
            "CERTIFICATE_ARN": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
            "CERTIFICATE_PEM": CERTIFICATE,
            "CERTIFICATE_CHAIN_PEM": CHAIN,
            "PRIVATE_KEY_PEM": KEY,
        }
    ),
    "this project's own": builders.issued_value(builders.client_definition(), LEAF),
    "by hand": json.dumps({"certificate": CERTIFICATE, "private_key": KEY, "chain": CHAIN}),
    "by hand, short": json.dumps({"cert": CERTIFICATE + CHAIN, "key": KEY}),
    "by hand, in a console's form": json.dumps({"cert": flattened(CERTIFICATE + CHAIN), "key": flattened(KEY)}),
    "by hand, escaped twice": json.dumps({"cert": CERTIFICATE + CHAIN, "key": KEY}).replace("\\n", "\\\\n"),
    "Kubernetes, as a manifest": "apiVersion: v1\nkind: Secret\ntype: kubernetes.io/tls\ndata:\n"
    f"  tls.crt: {encoded(CERTIFICATE)}\n  tls.key: {encoded(KEY)}\n  ca.crt: {encoded(CHAIN)}\n",
    "Kubernetes, as a mapping": json.dumps({"tls.crt": CERTIFICATE + CHAIN, "tls.key": KEY}),
    "one text": KEY + CHAIN + CERTIFICATE,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_certificate_is_found_in_every_shape(shape: str) -> None:
    read = identity.read(SHAPES[shape], shape)
    key = identity.private_key(read.key, lambda: "", shape)

    issued = identity.certified(read, key, (), NOW, shape)
    assert (issued.certificate, issued.chain, issued.anchor) == (LEAF.certificate, (), CA.certificate)
    assert "PRIVATE" not in f"{read!r}{issued!r}"
    identity.require_usable(issued, REQUEST, NOW, shape)


@pytest.mark.parametrize("text", ["", "{}", CERTIFICATE, KEY, json.dumps({"cert": CERTIFICATE, "key": "s3cr3t"})])
def test_what_lacks_a_part_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        identity.read(text, "--from")

    assert "s3cr3t" not in str(refused.value)
    assert KEY.splitlines()[1] not in str(refused.value)


def test_a_file_with_two_keys_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="2 private keys"):
        identity.read(CERTIFICATE + KEY + pki.key_to_pem(CA.key), "--from")


@pytest.mark.parametrize(
    "form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL], ids=["PKCS#8", "old"]
)
def test_the_passphrase_of_an_encrypted_key_is_asked_for(form: serialization.PrivateFormat) -> None:
    lock = serialization.BestAvailableEncryption(b"open sesame")
    pem = LEAF.key.private_bytes(serialization.Encoding.PEM, form, lock).decode()
    read = identity.read(CERTIFICATE + pem, "--from")

    assert identity.private_key(read.key, lambda: "open sesame", "--from").public_key() == LEAF.key.public_key()
    with pytest.raises(InvalidInputError, match="this passphrase does not open") as refused:
        identity.private_key(read.key, lambda: "s3cr3t", "--from")
    assert "s3cr3t" not in str(refused.value)


def test_a_key_that_api_gateway_does_not_take_is_refused() -> None:
    pem = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(InvalidInputError, match="neither RSA nor EC"):
        identity.private_key(pem.decode(), lambda: "", "--from")


def test_a_key_of_another_certificate_is_refused() -> None:
    read = identity.together(CERTIFICATE, pki.key_to_pem(CA.key), CHAIN, "--certificate")
    key = identity.private_key(pki.key_to_pem(builders.leaf(CA).key), lambda: "", "")

    with pytest.raises(UnusableCertificateError, match="the key of none of the certificates"):
        identity.certified(read, key, (), NOW, "--certificate")


def test_the_key_of_the_ca_in_place_of_the_clients_is_told_as_that() -> None:
    with pytest.raises(
        UnusableCertificateError, match=r"found the private key of CN=Example Corp CA\S*, which is a CA, be"
    ):
        identity.certified(identity.read(pki.key_to_pem(CA.key) + CERTIFICATE + CHAIN, "x"), CA.key, (), NOW, "x")


def test_a_ca_that_did_not_come_with_it_is_taken_from_those_that_are_known() -> None:
    read = identity.together(CERTIFICATE, KEY, "", "--certificate")

    assert identity.certified(read, LEAF.key, [CA.certificate], NOW, "").anchor == CA.certificate
    with pytest.raises(UnusableCertificateError, match="no certificate of the CA that signed it, CN=Example Corp CA"):
        identity.certified(read, LEAF.key, [builders.root().certificate], NOW, "")


def test_of_a_renewed_certificate_and_ca_and_their_formers_the_renewed_are_taken_in_any_order() -> None:
    root = Shape("Partner Root").self_signed()
    former = Shape("Partner Root", key=root.key, **EXPIRED).self_signed()
    renewed = chains.LEAF.but(name="warehouse").by(root)
    old = chains.LEAF.but(name="warehouse", key=renewed.key, **EXPIRED).by(root)
    for found in permutations([it.certificate for it in (old, renewed, former, root)]):
        issued = identity.certified(identity.Identity(found, ""), renewed.key, (), NOW, "")
        assert (issued.certificate, issued.anchor) == (renewed.certificate, root.certificate)
        identity.require_usable(issued, REQUEST, NOW, "")


def test_what_every_server_would_refuse_is_not_imported() -> None:
    root = Shape("Partner Root").self_signed()
    for_servers = Shape("Sub", purposes=(ExtendedKeyUsageOID.SERVER_AUTH,)).by(root)
    for leaf, found, why in (
        (chains.LEAF.by(for_servers), (for_servers, root), "its extended key usage lacks clientAuth"),
        (chains.LEAF.but(authority=b"another").by(root), (root,), "with the key identifier that it names"),
    ):
        read = identity.Identity(tuple(it.certificate for it in (leaf, *found)), "")
        issued = identity.certified(read, leaf.key, (), NOW, "")
        with pytest.raises(UnusableCertificateError, match=why):
            identity.require_usable(issued, REQUEST, NOW, "")


def test_a_certificate_that_signs_itself_is_its_own_anchor() -> None:
    key = profile.generate_key(KeyAlgorithm.EC_P256)
    leaf = profile.issue_self_signed_leaf(REQUEST, key, NOW)
    issued = identity.certified(identity.Identity((leaf,), ""), key, (), NOW, "")

    assert (issued.chain, issued.anchor) == ((), leaf)
    identity.require_usable(issued, REQUEST, NOW, "")


CLIENT = (ExtendedKeyUsageOID.CLIENT_AUTH,)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ({"usages": (ExtendedKeyUsageOID.SERVER_AUTH,)}, "clientAuth"),
        ({"usages": CLIENT, "not_after": NOW - timedelta(hours=1)}, "expired"),
        ({"usages": CLIENT, "not_before": NOW + timedelta(days=1)}, "not valid before"),
        ({"usages": CLIENT, "authority": True}, "a CA's certificate"),
        ({"usages": CLIENT, "key": ec.generate_private_key(ec.SECP256K1())}, "secp256k1"),
        ({"usages": CLIENT, "key": rsa.generate_private_key(65537, 1024)}, "RSA-1024"),  # noqa: S505
    ],
)
def test_a_certificate_that_servers_would_refuse_is_refused(made: dict[str, Any], why: str) -> None:
    settings: dict[str, Any] = {
        "authority": False,
        "issuer": CA.certificate,
        "signer": CA.key,
        "common_name": "warehouse",
    } | made
    leaf, key = Foreign(**settings).make()
    issued = pki.CertifiedKey(key=key, certificate=leaf, chain=(), anchor=CA.certificate)  # type: ignore[arg-type]

    with pytest.raises(UnusableCertificateError, match=why):
        identity.require_usable(issued, REQUEST, NOW, "--certificate")


def test_a_ca_that_api_gateway_would_not_take_is_refused_with_its_certificate() -> None:
    ca, ca_key = Foreign(common_name="Weak CA", key=rsa.generate_private_key(65537, 1024)).make()  # noqa: S505
    leaf, key = Foreign(authority=False, issuer=ca, signer=ca_key, common_name="warehouse", usages=CLIENT).make()
    issued = pki.CertifiedKey(key=key, certificate=leaf, chain=(), anchor=ca)  # type: ignore[arg-type]

    with pytest.raises(UnusableCertificateError, match="CN=Weak CA is not a CA that API Gateway accepts"):
        identity.require_usable(issued, REQUEST, NOW, "--certificate")


@pytest.mark.parametrize("life", [timedelta(days=90), timedelta(days=90, seconds=-1)])
def test_the_last_second_that_a_ca_counts_in_makes_no_day_less(life: timedelta) -> None:
    leaf = builders.foreign(authority=False, usages=CLIENT, not_before=NOW, not_after=NOW + life)

    assert derived_request.of(leaf).request["validity_days"] == 90


@pytest.mark.parametrize(
    "asked",
    [
        {"common_name": "billing", "validity_days": 30},
        {"common_name": "billing", "validity_hours": 12, "key_algorithm": "RSA_2048"},
        {
            "common_name": "billing",
            "organization": "Example Ltd",
            "organizational_unit": "Accounts",
            "country": "NO",
            "state": "Oslo",
            "locality": "Oslo",
            "dns_names": ["billing.example.com", "b.example.com"],
            "uris": ["spiffe://example.com/billing"],
            "emails": ["billing@example.com"],
            "ip_addresses": ["192.0.2.1", "2001:db8::1"],
            "extended_key_usages": ["serverAuth", "1.2.3.4"],
            "key_algorithm": "EC_P384",
            "validity_days": 365,
        },
    ],
)
def test_the_like_of_a_certificate_is_made_from_the_request_that_it_came_from(asked: dict[str, Any]) -> None:
    made = builders.leaf(builders.root(days=1000), **{"validity_days": None} | asked)
    found = derived_request.of(made.certificate)

    assert found.lost == ()
    assert CertificateRequest.model_validate(found.request) == CertificateRequest.model_validate(asked)


@pytest.mark.parametrize("end", [datetime(2054, 6, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)])
def test_a_life_that_no_request_can_ask_for_is_named_unless_the_operator_chooses_another(end: datetime) -> None:
    certificate = builders.foreign(authority=False, usages=CLIENT, not_after=end)

    assert [it.split(" (")[0] for it in derived_request.of(certificate).lost] == [
        f"a validity of {(end - certificate.not_valid_before_utc).days} days"
    ]
    chosen = derived_request.of(certificate, {"validity_days"})
    assert chosen.lost == ()
    assert not {"validity_days", "validity_hours"} & chosen.request.keys()


def test_what_the_operator_chooses_otherwise_is_not_lost() -> None:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, it) for it in ("one", "two")])
    certificate = builders.foreign(subject=name, authority=False, usages=CLIENT)

    assert derived_request.of(certificate).lost == ("CN=two",)
    assert derived_request.of(certificate, {"common_name"}).lost == ()


def test_what_no_request_can_ask_for_is_named() -> None:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, "billing"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "one"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "two"),
            x509.NameAttribute(NameOID.USER_ID, "4711"),
        ]
    )
    found = derived_request.of(builders.foreign(subject=name, authority=False, usages=CLIENT))

    assert found.lost == ("OU=two", "UID=4711")
    assert found.request["organizational_unit"] == "one"
