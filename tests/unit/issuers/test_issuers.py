"""Each issuer through whole rotations: what it issues, what it keeps where, and what it refuses in which words."""

from __future__ import annotations

import json
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID

from mtls_rotation.aws.secret_versions import HIDDEN
from mtls_rotation.errors import (
    InvalidSecretError,
    MtlsRotationError,
    OutOfTimeError,
    SelfSignedClientError,
    UnusableIssuerError,
    ValidityBeyondIssuerError,
    WaitingForCertificateError,
)
from mtls_rotation.issuers import acm_pca
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.request import KeyAlgorithm
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.fakes import KilledError, refused
from tests.kit.server import MutualTlsServer
from tests.kit.stack import CA, CLIENT, Stack

ALGORITHMS = list(KeyAlgorithm)


def request(**more: Any) -> dict[str, Any]:
    return {"common_name": "billing", "validity_days": 30} | more


def refuse(stack: Stack, error: type[MtlsRotationError], found: str, secret: str = CLIENT) -> MtlsRotationError:
    """createSecret fails with this error, and nothing was written."""
    token = stack.begin(secret)
    before = stack.snapshot()
    with pytest.raises(error) as failure:
        stack.step(Step.CREATE, token, secret)
    assert found in failure.value.found
    assert stack.snapshot() == before
    return failure.value


# KMS ------------------------------------------------------------------------------------------------------------------


def with_kms_ca(stack: Stack, algorithm: KeyAlgorithm = KeyAlgorithm.EC_P256, **issuer: Any) -> None:
    ca_request = {"common_name": "CA in KMS", "validity_days": 365, "key_algorithm": algorithm.value}
    stack.add_secret(CA, builders.ca_definition(request=ca_request, issuer={"type": "kms"} | issuer))
    stack.rotate(CA)
    stack.add_secret(CLIENT, builders.client_definition(issuer={"type": "kms", "ca_secret": CA}))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_ca_in_kms_signs_with_every_kind_of_key_and_its_secret_holds_no_key(
    empty_stack: Stack, algorithm: KeyAlgorithm
) -> None:
    with_kms_ca(empty_stack, algorithm)
    ca = empty_stack.value(empty_stack.at("AWSCURRENT", CA), CA)
    leaf = empty_stack.certificate(empty_stack.rotate())

    assert "private_key" not in ca
    key = empty_stack.clients.kms.describe_key(KeyId=ca["key_id"])["KeyMetadata"]
    assert key["KeyUsage"] == "SIGN_VERIFY"
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(ca["certificate"].encode()))


def test_each_ca_in_kms_has_a_key_of_its_own_which_tells_what_it_is_for(empty_stack: Stack) -> None:
    with_kms_ca(empty_stack)
    first = empty_stack.value(empty_stack.at("AWSCURRENT", CA), CA)["key_id"]
    token = empty_stack.rotate(CA)
    second = empty_stack.value(token, CA)["key_id"]

    assert first != second
    tags = {it["TagKey"]: it["TagValue"] for it in empty_stack.clients.kms.list_resource_tags(KeyId=second)["Tags"]}
    assert tags == {
        "mtls-rotation:made-by": "stack",
        "mtls-rotation:secret": CA,
        "mtls-rotation:version": token,
    }


def test_a_key_that_the_operator_names_is_certified_anew(empty_stack: Stack) -> None:
    made = empty_stack.clients.kms.create_key(KeySpec="ECC_NIST_P384", KeyUsage="SIGN_VERIFY")["KeyMetadata"]
    with_kms_ca(empty_stack, key_id=made["Arn"])
    first, second = empty_stack.at("AWSCURRENT", CA), empty_stack.rotate(CA)

    named = {empty_stack.value(version, CA)["key_id"].rpartition("/")[2] for version in (first, second)}
    assert named == {made["KeyId"]}
    assert empty_stack.certificate(first, CA) != empty_stack.certificate(second, CA)


def kms_keys(stack: Stack) -> list[str]:
    keys = [key["KeyId"] for key in stack.clients.kms.list_keys()["Keys"]]
    states = {key: stack.clients.kms.describe_key(KeyId=key)["KeyMetadata"]["KeyState"] for key in keys}
    return [key for key, state in states.items() if state == "Enabled"]


def test_a_run_that_is_killed_after_it_made_a_key_leaves_no_second_one(empty_stack: Stack) -> None:
    with_kms_ca(empty_stack)
    before = len(kms_keys(empty_stack))
    token = empty_stack.begin(CA)
    empty_stack.secrets.kill_before = "put_secret_value"
    with pytest.raises(KilledError):
        empty_stack.step(Step.CREATE, token, CA)
    empty_stack.secrets.kill_before = None
    for step in Step:
        empty_stack.step(step, token, CA)

    assert len(kms_keys(empty_stack)) == before + 1


def test_of_two_runs_at_once_the_one_that_loses_discards_its_key(empty_stack: Stack) -> None:
    with_kms_ca(empty_stack)
    before = kms_keys(empty_stack)
    token = empty_stack.begin(CA)
    definition = builders.ca_definition(issuer={"type": "kms"})
    issued = builders.issued_value(definition, builders.root("Winner", now=empty_stack.moment))
    key_id = empty_stack.value(empty_stack.at("AWSCURRENT", CA), CA)["key_id"]
    winner = builders.changed(issued, owner="winner", version_id=token, private_key=None, key_id=key_id)
    empty_stack.secrets.before["put_secret_value"] = [lambda: empty_stack.versions.put_pending(CA, token, winner, None)]
    empty_stack.step(Step.CREATE, token, CA)

    assert kms_keys(empty_stack) == before
    assert empty_stack.value(token, CA)["owner"] == "winner"


@pytest.mark.parametrize(
    ("breakage", "found"),
    [
        (lambda kms, key: kms.disable_key(KeyId=key), "DisabledException"),
        (lambda kms, key: kms.schedule_key_deletion(KeyId=key), "KMSInvalidStateException"),
    ],
)
def test_a_kms_key_that_cannot_sign_is_an_error_that_names_it(empty_stack: Stack, breakage: Any, found: str) -> None:
    with_kms_ca(empty_stack)
    key = empty_stack.value(empty_stack.at("AWSCURRENT", CA), CA)["key_id"]
    empty_stack.pass_time(minutes=10)  # a key that was just made is waited for

    breakage(empty_stack.clients.kms, key)
    error = refuse(empty_stack, UnusableIssuerError, found)
    assert key in error.where


def test_a_kms_key_that_does_not_exist_or_is_not_for_signing_is_refused(empty_stack: Stack) -> None:
    empty_stack.add_secret(CA, builders.ca_definition(issuer={"type": "kms", "key_id": "no-such-key"}))
    refuse(empty_stack, UnusableIssuerError, "NotFoundException", CA)
    symmetric = empty_stack.clients.kms.create_key(KeySpec="RSA_2048", KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]
    value = builders.ca_definition(issuer={"type": "kms", "key_id": symmetric["Arn"]})
    empty_stack.add_secret("stack/other-ca", value)
    refuse(empty_stack, UnusableIssuerError, "ENCRYPT_DECRYPT", "stack/other-ca")


def test_a_ca_is_signed_with_by_the_issuer_that_it_was_made_by(stack: Stack) -> None:
    stack.add_secret("stack/a", builders.client_definition(issuer={"type": "kms", "ca_secret": CA}))
    refuse(stack, UnusableIssuerError, 'issuer.type "secretsmanager" signs with', "stack/a")
    stack.add_secret("stack/kms-ca", builders.ca_definition(issuer={"type": "kms"}))
    stack.rotate("stack/kms-ca")
    stack.add_secret("stack/b", builders.client_definition("stack/kms-ca"))
    refuse(stack, UnusableIssuerError, 'issuer.type "kms" signs with', "stack/b")


@pytest.mark.parametrize(
    ("definition", "found"),
    [
        (builders.client_definition(issuer={"type": "kms"}), "names no ca_secret"),
        (builders.client_definition(issuer={"type": "kms", "ca_secret": "a", "key_id": "b"}), "names a key_id"),
        (builders.ca_definition(issuer={"type": "kms", "ca_secret": "a"}), "names a ca_secret"),
        (
            builders.ca_definition(issuer={"type": "secretsmanager", "ca_secret": "a"}),
            'issuer.type is "secretsmanager"',
        ),
        (builders.ca_definition(issuer={"type": "external"}), 'issuer.type is "external"'),
        (
            builders.ca_definition(request={"common_name": "CA", "dns_names": ["a.example"]}),
            "request.dns_names in a CA",
        ),
        (builders.client_definition(notice_days=3), "notice_days = 3 in a client secret"),
        (builders.client_definition(issuer={"type": "acm-pca", "certificate_authority_arn": "arn"}), '= "arn"'),
        (builders.client_definition(issuer={"type": "external", "ca_certificates": "PEM"}), '= "PEM"'),
    ],
)
def test_keys_that_do_not_go_together_are_refused(empty_stack: Stack, definition: dict[str, Any], found: str) -> None:
    empty_stack.add_secret(CLIENT, definition)
    refuse(empty_stack, InvalidSecretError, found)


# self-signed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_self_signed_client_certificate_is_its_own_anchor(empty_stack: Stack, algorithm: KeyAlgorithm) -> None:
    wanted = request(key_algorithm=algorithm.value)
    empty_stack.add_secret(CLIENT, builders.client_definition(request=wanted, issuer={"type": "self-signed"}))
    token = empty_stack.rotate()

    leaf = empty_stack.certificate(token)
    leaf.verify_directly_issued_by(leaf)
    assert empty_stack.value(token)["anchor"] == empty_stack.value(token)["certificate"]
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_every_rotation_of_a_self_signed_certificate_is_trusted_before_it_is_used(
    stack: Stack, server: MutualTlsServer
) -> None:
    stack.with_gateway()
    stack.self_signed_clients = True
    endpoint = {"url": server.url, "server_ca": server.ca}
    name = "stack/pinned"
    stack.add_secret(name, builders.client_definition(issuer={"type": "self-signed"}, endpoint=endpoint))
    held: list[x509.Certificate] = []
    for _ in range(3):
        token = stack.begin(name)
        stack.step(Step.CREATE, token, name)
        pending = stack.certificate(token, name)
        assert pki.fingerprint(pending) not in stack.deployed()
        stack.time.meanwhile = [lambda: stack.sync.run(stack.time.deadline()), stack.gateway.settle]
        stack.step(Step.SET, token, name)
        stack.time.meanwhile = []
        deployed = {it for it in [*held[-2:], pending] if pki.fingerprint(it) in stack.deployed()}
        assert deployed == {*held[-2:], pending}
        server.trust(*deployed)
        stack.step(Step.TEST, token, name)
        stack.step(Step.FINISH, token, name)
        held.append(pending)


SELF_SIGNED = {"type": "self-signed"}


def test_a_self_signed_client_of_a_gateway_is_refused_before_anything_is_made(stack: Stack) -> None:
    """Nobody knows whether API Gateway would let it in, and it would be AWSCURRENT before anybody did."""
    stack.with_gateway()
    stack.add_secret("stack/pinned", builders.client_definition(issuer=SELF_SIGNED))
    error = refuse(stack, SelfSignedClientError, 'issuer.type "self-signed" for a client of the stack', "stack/pinned")

    assert (error.where, error.retryable) == ("secret stack/pinned", False)
    assert "SelfSignedClients=accepted" in error.remedy
    (event,) = stack.heard("Rotation Failed")
    assert (event["detail"]["code"], event["detail"]["retryable"]) == ("MTLS-110", False)


@pytest.mark.parametrize(
    ("gateway", "accepted", "trusted"),
    [(False, False, None), (True, True, None), (True, False, False)],
    ids=["no gateway", "the gateway is said to let it in", "for another server"],
)
def test_a_self_signed_client_is_issued_where_no_gateway_could_refuse_it(
    stack: Stack, gateway: bool, accepted: bool, trusted: bool | None
) -> None:
    if gateway:
        stack.with_gateway()
    stack.self_signed_clients = accepted
    stack.add_secret("stack/pinned", builders.client_definition(issuer=SELF_SIGNED, trusted_by_gateway=trusted))
    token = stack.begin("stack/pinned")
    stack.step(Step.CREATE, token, "stack/pinned")

    assert stack.value(token, "stack/pinned")["certificate"]


def test_a_self_signed_ca_is_no_client(stack: Stack) -> None:
    stack.with_gateway()
    token = stack.begin(CA)
    stack.step(Step.CREATE, token, CA)

    assert stack.value(token, CA)["certificate"]


# AWS Private CA -------------------------------------------------------------------------------------------------------


@pytest.fixture
def private_ca(empty_stack: Stack) -> str:
    """A root CA of AWS Private CA, and a client secret that names it."""
    client = empty_stack.clients.acm_pca
    arn: str = client.create_certificate_authority(
        CertificateAuthorityConfiguration={
            "KeyAlgorithm": "RSA_2048",
            "SigningAlgorithm": "SHA256WITHRSA",
            "Subject": {"CommonName": "Private CA", "Organization": "Example"},
        },
        CertificateAuthorityType="ROOT",
    )["CertificateAuthorityArn"]
    csr = client.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"].encode()
    made = client.issue_certificate(
        CertificateAuthorityArn=arn,
        Csr=csr,
        SigningAlgorithm="SHA256WITHRSA",
        TemplateArn="arn:aws:acm-pca:::template/RootCACertificate/V1",
        Validity={"Type": "DAYS", "Value": 365},
    )["CertificateArn"]
    root = client.get_certificate(CertificateAuthorityArn=arn, CertificateArn=made)["Certificate"]
    client.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=root.encode())
    empty_stack.now = datetime.now(UTC) + timedelta(seconds=2)  # moto's CA is as old as this test, and not backdated
    issuer = {"type": "acm-pca", "certificate_authority_arn": arn}
    names = request(dns_names=["billing.example.com"], ip_addresses=["192.0.2.1"])
    empty_stack.add_secret(CLIENT, builders.client_definition(request=names, issuer=issuer))
    return arn


def test_private_ca_issues_what_is_asked_for_and_its_chain_becomes_the_anchor(
    empty_stack: Stack, private_ca: str
) -> None:
    empty_stack.private_ca.pending = 3
    token = empty_stack.rotate()

    leaf, value = empty_stack.certificate(token), empty_stack.value(token)
    root = empty_stack.clients.acm_pca.get_certificate_authority_certificate(CertificateAuthorityArn=private_ca)
    assert pki.from_pem(value["anchor"]) == pki.from_pem(root["Certificate"])
    assert leaf.not_valid_after_utc == (empty_stack.now + timedelta(days=30)).replace(microsecond=0)
    assert leaf.not_valid_before_utc <= empty_stack.now - timedelta(minutes=5)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["billing.example.com"]
    assert pki.fingerprint(pki.from_pem(value["anchor"])[0]) in empty_stack.reconcile().plan.anchors


def test_a_request_that_is_repeated_gives_one_certificate_and_a_new_key_another(
    empty_stack: Stack, private_ca: str
) -> None:
    token = empty_stack.begin()
    empty_stack.secrets.kill_before = "put_secret_value"
    with pytest.raises(KilledError):
        empty_stack.step(Step.CREATE, token)
    empty_stack.secrets.kill_before = None
    empty_stack.step(Step.CREATE, token)

    lost, kept = empty_stack.private_ca.requests
    assert lost["IdempotencyToken"] != kept["IdempotencyToken"]
    assert len(kept["IdempotencyToken"]) == 36  # the longest that AWS takes
    empty_stack.private_ca.issue_certificate(**kept)
    assert empty_stack.private_ca.issued == 2


def test_private_ca_that_takes_too_long_is_out_of_time_and_retryable(empty_stack: Stack, private_ca: str) -> None:
    empty_stack.private_ca.pending = 10_000
    error = refuse(empty_stack, OutOfTimeError, "still in the making")
    assert error.retryable


def test_what_private_ca_cannot_give_is_refused_before_a_key_is_made(empty_stack: Stack, private_ca: str) -> None:
    issuer = {"type": "acm-pca", "certificate_authority_arn": private_ca}
    usages = builders.client_definition(request=request(extended_key_usages=["serverAuth"]), issuer=issuer)
    empty_stack.add_secret("stack/usages", usages)
    refuse(empty_stack, InvalidSecretError, "extended_key_usages", "stack/usages")
    long = builders.client_definition(request=request(validity_days=900), issuer=issuer)
    empty_stack.add_secret("stack/long", long)
    refuse(empty_stack, ValidityBeyondIssuerError, "900 days", "stack/long")
    assert empty_stack.private_ca.requests == []


ML_DSA_ROOT = builders.foreign(
    common_name="Root", key=mldsa.MLDSA65PrivateKey.generate(), digest=None, not_before=builders.NOW
)
ELLIPTIC_ROOT = builders.root().certificate


def shown(*ders: bytes) -> dict[str, str]:
    """A CA's certificate with those above it, as Private CA answers."""
    certificate, *chain = map(ssl.DER_cert_to_PEM_cert, ders)
    return {"Certificate": certificate, "CertificateChain": "".join(chain)}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        *(
            (shown(builders.foreign(key=key.generate(), digest=None).public_bytes(Encoding.DER)), kind)
            for key, kind in (
                (mldsa.MLDSA44PrivateKey, "ML-DSA-44"),
                (mldsa.MLDSA65PrivateKey, "ML-DSA-65"),
                (mldsa.MLDSA87PrivateKey, "ML-DSA-87"),
            )
        ),
        (
            shown(builders.on_the_curve_of_sm2(ELLIPTIC_ROOT)),
            "of an elliptic curve that is neither P-256, P-384 nor P-521",
        ),
        (shown(builders.with_an_unknown_key(ELLIPTIC_ROOT)), "of the unknown kind 1.2.840.10045.2.127"),
        (
            shown(
                ELLIPTIC_ROOT.public_bytes(Encoding.DER),
                ML_DSA_ROOT.public_bytes(Encoding.DER),
            ),
            "ML-DSA-65",
        ),
    ],
    ids=["ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "SM2", "unknown", "a root above it with ML_DSA_65"],
)
def test_a_private_ca_whose_key_no_gateway_takes_is_refused_before_anything_is_asked_for(
    empty_stack: Stack, private_ca: str, answer: dict[str, str], kind: str
) -> None:
    empty_stack.private_ca.shown = answer
    error = refuse(empty_stack, UnusableIssuerError, kind)

    assert private_ca in error.where
    assert empty_stack.private_ca.requests == []


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "SHA256WITHECDSA"),
        (ec.generate_private_key(ec.SECP384R1()), "SHA384WITHECDSA"),
        (ec.generate_private_key(ec.SECP521R1()), "SHA512WITHECDSA"),
        (rsa.generate_private_key(65537, 2048), "SHA256WITHRSA"),
    ],
)
def test_private_ca_is_asked_for_the_signature_that_goes_with_its_key(key: builders.AnyKey, algorithm: str) -> None:
    """RFC 5480, section 4, for the curves. What is asked for exists in the service's own model."""
    model = botocore.session.get_session().get_service_model("acm-pca")

    assert acm_pca.signing_algorithm(builders.foreign(key=key)) == algorithm
    assert algorithm in model.shape_for("SigningAlgorithm").enum  # type: ignore[attr-defined]


def test_every_kind_of_key_that_private_ca_may_have_is_known() -> None:
    """A new one is to be looked at: is it one that API Gateway takes?"""
    model = botocore.session.get_session().get_service_model("acm-pca")

    assert set(model.shape_for("KeyAlgorithm").enum) == {  # type: ignore[attr-defined]
        *("RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1"),
        *("ML_DSA_44", "ML_DSA_65", "ML_DSA_87", "SM2"),
    }


def test_a_private_ca_that_does_not_exist_is_refused(empty_stack: Stack) -> None:
    arn = "arn:aws:acm-pca:us-east-1:123456789012:certificate-authority/00000000-0000-0000-0000-000000000000"
    issuer = {"type": "acm-pca", "certificate_authority_arn": arn}
    empty_stack.add_secret(CLIENT, builders.client_definition(issuer=issuer))
    refuse(empty_stack, UnusableIssuerError, "ResourceNotFoundException")


# external -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def external(empty_stack: Stack) -> Stack:
    """A stack with a client secret that a partner signs."""
    definition = builders.client_definition(
        request=request(organization="Example Ltd", dns_names=["billing.example.com"]), issuer={"type": "external"}
    )
    empty_stack.add_secret(CLIENT, definition)
    return empty_stack


def wait(stack: Stack, token: str) -> None:
    with pytest.raises(WaitingForCertificateError):
        stack.step(Step.CREATE, token)


def csr_of(stack: Stack) -> x509.CertificateSigningRequest:
    (body,) = [body for key, body in stack.objects().items() if key.startswith("requested/") and key.endswith(".csr")]
    return x509.load_pem_x509_csr(body)


@pytest.fixture(scope="module")
def partner() -> pki.CertifiedKey:
    certificate, key = builders.Foreign(common_name="Partner CA").make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return pki.CertifiedKey(key, certificate, (), certificate)


def answer(partner: pki.CertifiedKey, csr: x509.CertificateSigningRequest, **changes: Any) -> x509.Certificate:
    """What the partner signs; `changes` are mistakes."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(changes.get("subject", csr.subject))
        .issuer_name(partner.certificate.subject)
        .public_key(changes.get("public_key", csr.public_key()))
        .serial_number(x509.random_serial_number())
        .not_valid_before(builders.NOW - timedelta(hours=1))
        .not_valid_after(builders.NOW + timedelta(days=changes.get("days", 60)))
        .add_extension(x509.BasicConstraints(ca=changes.get("ca", False), path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(partner.key.public_key()), critical=False)
    )
    for extension in csr.extensions:
        if not isinstance(extension.value, changes.get("without", ())):
            value = (
                changes.get("usage", extension.value) if isinstance(extension.value, x509.ExtendedKeyUsage) else None
            )
            builder = builder.add_extension(value or extension.value, critical=extension.critical)
    return builder.sign(partner.key, changes.get("digest", hashes.SHA256()))


def upload(stack: Stack, *certificates: x509.Certificate, key: str = "signed/from the partner.pem") -> str:
    """Upload an answer and have it taken in; why it was refused, if it was."""
    body = b"Dear customer,\r\n" + pki.to_pem(*certificates).replace("\n", "\r\n").encode()
    stack.clients.s3.put_object(Bucket=stack.bucket.name, Key=key, Body=body)
    return stack.intake.run(key).refusal


def test_the_request_is_published_and_announced_once_and_awspending_stays_empty(external: Stack) -> None:
    token = external.begin()
    wait(external, token)
    wait(external, token)

    csr = csr_of(external)
    assert csr.is_signature_valid
    assert csr.subject.rfc4514_string() == "CN=billing,O=Example Ltd"
    (event,) = external.heard()
    assert event["detail-type"] == "Certificate Signing Requested"
    assert x509.load_pem_x509_csr(event["detail"]["certificate_signing_request"].encode()) == csr
    assert external.value(token) == {}
    assert external.at("AWSPENDING") == token
    kept = external.value(external.at("MTLS-CSR"))
    assert pki.key_from_pem(kept["private_key"]).public_key() == csr.public_key()
    assert not [body for body in external.objects().values() if b"PRIVATE" in body]


def test_the_signed_certificate_drives_the_rotation_on_to_awscurrent(
    external: Stack, partner: pki.CertifiedKey
) -> None:
    token = external.begin()
    wait(external, token)
    leaf = answer(partner, csr_of(external))
    assert upload(external, partner.certificate, leaf) == ""
    assert external.secrets.rotations == [(CLIENT, token)]
    for step in Step:
        external.step(step, token)

    assert external.certificate(token) == leaf
    assert external.at("AWSCURRENT") == token
    assert external.at("AWSPENDING") is None
    assert external.at("MTLS-CSR") is None
    left = [key for key in external.objects() if key.startswith(("requested/", "accepted/", "issued/", "anchors/"))]
    assert left == []  # a partner's CA is none that our gateway should trust
    end = leaf.not_valid_after_utc
    assert f"outside/{CLIENT}/{token}.{external.serial(token)}.{end:%Y%m%dT%H%M%SZ}.pem" in external.objects()
    assert external.value(token)["request"]["organization"] == "Example Ltd"


@pytest.mark.parametrize("code", ["ResourceNotFoundException", "AccessDeniedException"])
def test_an_answer_for_a_secret_that_is_gone_is_rejected_and_says_what_it_may_be(
    external: Stack, partner: pki.CertifiedKey, code: str
) -> None:
    def refuse() -> None:
        raise refused(code, "RotateSecret")

    wait(external, external.begin())
    external.secrets.before["rotate_secret"] = [refuse]
    assert HIDDEN in upload(external, partner.certificate, answer(partner, csr_of(external)))


def test_an_intermediate_goes_into_the_chain_whatever_the_order_of_the_file(
    external: Stack, partner: pki.CertifiedKey
) -> None:
    certificate, key = builders.Foreign(
        common_name="Partner's issuing CA", signer=partner.key, issuer=partner.certificate
    ).make()
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    issuing = pki.CertifiedKey(key, certificate, (), partner.certificate)
    token = external.begin()
    wait(external, token)
    assert upload(external, partner.certificate, certificate, answer(issuing, csr_of(external))) == ""
    external.step(Step.CREATE, token)

    value = external.value(token)
    assert pki.from_pem(value["certificate_chain"]) == (certificate,)
    assert pki.from_pem(value["anchor"]) == (partner.certificate,)


@pytest.mark.parametrize("form", ["PEM p7b", "DER p7b"])
def test_an_answer_may_come_as_pkcs_7(external: Stack, partner: pki.CertifiedKey, form: str) -> None:
    wait(external, external.begin())
    leaf = answer(partner, csr_of(external))
    encoding = Encoding.PEM if form.startswith("PEM") else Encoding.DER
    body = pkcs7.serialize_certificates([partner.certificate, leaf], encoding)
    external.clients.s3.put_object(Bucket=external.bucket.name, Key="signed/answer.p7b", Body=body)

    assert external.intake.run("signed/answer.p7b").refusal == ""


def test_an_answer_may_come_as_der_if_its_ca_is_configured(external: Stack, partner: pki.CertifiedKey) -> None:
    issuer = {"type": "external", "ca_certificates": pki.to_pem(partner.certificate)}
    external.add_secret("stack/der", builders.client_definition(issuer=issuer))
    with pytest.raises(WaitingForCertificateError):
        external.step(Step.CREATE, external.begin("stack/der"), "stack/der")
    body = answer(partner, csr_of(external)).public_bytes(Encoding.DER)
    external.clients.s3.put_object(Bucket=external.bucket.name, Key="signed/answer.cer", Body=body)

    assert external.intake.run("signed/answer.cer").refusal == ""


def test_the_partners_ca_may_be_configured_instead_of_sent(external: Stack, partner: pki.CertifiedKey) -> None:
    issuer = {"type": "external", "ca_certificates": pki.to_pem(partner.certificate)}
    name = "stack/configured"
    external.add_secret(name, builders.client_definition(issuer=issuer))
    token = external.begin(name)
    with pytest.raises(WaitingForCertificateError):
        external.step(Step.CREATE, token, name)
    assert upload(external, answer(partner, csr_of(external))) == ""
    external.step(Step.CREATE, token, name)

    assert pki.from_pem(external.value(token, name)["anchor"]) == (partner.certificate,)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"days": 3}, "it is valid for 3 days, where 30 days were asked for"),
        ({"subject": x509.Name([])}, "lacks O=Example Ltd, CN=billing"),
        ({"without": (x509.SubjectAlternativeName,)}, "its subject alternative names lack billing.example.com"),
        ({"usage": x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])}, "lacks clientAuth"),
        ({"ca": True}, "it is a CA's certificate"),
        ({"days": -0.02}, "which is not now"),
    ],
)
def test_an_answer_that_breaks_the_request_is_refused_with_the_reason_and_nothing_changes(
    external: Stack, partner: pki.CertifiedKey, changes: dict[str, Any], reason: str
) -> None:
    wait(external, external.begin())
    external.heard()
    leaf = answer(partner, csr_of(external), **changes)
    before = external.snapshot()["versions"]
    assert reason in upload(external, leaf, partner.certificate)

    assert external.snapshot()["versions"] == before
    assert external.secrets.rotations == []
    assert not [key for key in external.objects() if key.startswith("accepted/")]
    (event,) = external.heard()
    assert event["detail-type"] == "Signed Certificate Rejected"
    assert reason in event["detail"]["reason"]
    assert event["detail"]["secret_name"] == CLIENT


def test_an_answer_for_another_key_without_its_ca_or_with_no_certificate_is_refused(
    external: Stack, partner: pki.CertifiedKey
) -> None:
    wait(external, external.begin())
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    stranger = answer(partner, csr_of(external), public_key=other)
    assert "that match no request" in upload(external, stranger, partner.certificate)
    assert f"the answer to a request of {CLIENT}" in upload(external, stranger, partner.certificate)
    assert "is neither in the file nor in" in upload(external, answer(partner, csr_of(external)))
    assert "no certificate" in upload(external)
    assert external.secrets.rotations == []


def test_the_request_outlives_its_rotation_and_a_changed_one_replaces_it(
    external: Stack, partner: pki.CertifiedKey
) -> None:
    cancelled = external.begin()
    wait(external, cancelled)
    first = csr_of(external)
    external.versions.drop_pending(CLIENT, cancelled)
    wait(external, external.begin())
    assert csr_of(external) == first

    changed = builders.client_definition(request=request(common_name="invoices"), issuer={"type": "external"})
    external.clients.secretsmanager.put_secret_value(SecretId=CLIENT, SecretString=json.dumps(changed))
    wait(external, str(external.at("AWSPENDING")))
    second = csr_of(external)
    assert second.public_key() != first.public_key()
    assert "that match no request" in upload(external, answer(partner, first), partner.certificate)


def test_a_key_that_was_certified_is_not_used_again_although_the_end_was_killed(
    external: Stack, partner: pki.CertifiedKey
) -> None:
    token = external.begin()
    wait(external, token)
    upload(external, answer(partner, csr_of(external)), partner.certificate)
    for step in (Step.CREATE, Step.SET, Step.TEST):
        external.step(step, token)
    first = csr_of(external)
    external.versions.make_current(external.versions.describe(CLIENT), token)
    external.versions.drop_pending(CLIENT, token)  # and killed here, with the request not withdrawn
    wait(external, external.begin())

    assert csr_of(external).public_key() != first.public_key()


@pytest.mark.parametrize("operation", ["put_secret_value", "get_secret_value"])
@pytest.mark.parametrize("when", ["kill_before", "kill_after"])
def test_an_external_rotation_killed_at_any_call_ends_the_same_when_run_again(
    external: Stack, partner: pki.CertifiedKey, operation: str, when: str
) -> None:
    token = external.begin()
    setattr(external.secrets, when, operation)
    with pytest.raises(KilledError):
        external.step(Step.CREATE, token)
    setattr(external.secrets, when, None)
    wait(external, token)
    leaf = answer(partner, csr_of(external))
    assert upload(external, leaf, partner.certificate) == ""
    setattr(external.secrets, when, operation)
    with pytest.raises(KilledError):
        external.step(Step.CREATE, token)
    setattr(external.secrets, when, None)
    for step in Step:
        external.step(step, token)

    assert external.certificate(token) == leaf
    assert external.labels()[token] == {"AWSCURRENT"}


def test_openssl_reads_the_request(external: Stack, tmp_path: Path) -> None:
    wait(external, external.begin())
    (body,) = [body for key, body in external.objects().items() if key.endswith(".csr")]
    (tmp_path / "csr.pem").write_bytes(body)
    options = ["-in", "csr.pem", "-noout", "-verify", "-text"]
    shown = subprocess.run(["openssl", "req", *options], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "self-signature verify OK" in shown.stderr
    assert "DNS:billing.example.com" in shown.stdout
    assert "TLS Web Client Authentication" in shown.stdout


def test_what_aws_refuses_for_the_moment_is_not_blamed_on_the_key(empty_stack: Stack) -> None:
    with_kms_ca(empty_stack)
    empty_stack.kms.refuse_sign = "ThrottlingException"
    with pytest.raises(ClientError, match="ThrottlingException"):
        empty_stack.step(Step.CREATE, empty_stack.begin())
