"""`mtlsctl import` on a deployed gateway: at no instant is a certificate refused that clients hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from demo.certificates import Authority, Held
from demo.waiting import await_condition
from mtls_rotation.issuers.external.request import SigningRequest
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.provers.tls_context import client_context
from tests.e2e.operators import (
    documented_actions,
    exists,
    filed,
    gone_afterwards,
    held,
    with_only,
    without,
    written_out,
)
from tests.kit import builders
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl

WAREHOUSE = "e2e-gateway/warehouse"
PARTNER = "e2e-gateway/partner-api"
CORPORATE = builders.root("Example Corp CA")
# One that no truststore knows.
STRANGE = builders.root("Strange CA")


@pytest.fixture(scope="module")
def mtlsctl(gateway: Deployment) -> Mtlsctl:
    return Mtlsctl(gateway.environment, gateway.stack.name)


@pytest.fixture(scope="module")
def ours(gateway: Deployment) -> pki.CertifiedKey:
    """A certificate that the stack's own CA signed outside the stack."""
    ca = Authority.from_secret(json.dumps(gateway.value(gateway.ca)))
    return builders.leaf(
        pki.CertifiedKey(ca.key, ca.certificate, (), ca.certificate), now=datetime.now(UTC), common_name="warehouse"
    )


def write(folder: Path, issued: pki.CertifiedKey) -> tuple[str, ...]:
    """The options that name its files."""
    for name, text in written_out(issued).items():
        (folder / f"{name}.pem").write_text(text)
    return (
        "--certificate",
        str(folder / "certificate.pem"),
        "--private-key",
        str(folder / "private_key.pem"),
        "--chain",
        str(folder / "certificate_chain.pem"),
    )


def test_a_certificate_is_accepted_from_its_import_through_its_first_rotation(
    mtlsctl: Mtlsctl, gateway: Deployment, tmp_path: Path
) -> None:
    issued = builders.leaf(CORPORATE, common_name="warehouse", organization="Example Ltd", validity_days=90)
    pem = written_out(issued)
    clients = Held(
        pki.serial(issued.certificate),
        client_context(pem["certificate"], pem["private_key"], gateway.aws.front_door.server_ca_pem),
    )
    asked = ("import", "client", "warehouse", *write(tmp_path, issued), "--issuer", "secretsmanager")
    assert not gateway.accepts(clients)

    with gone_afterwards(gateway, WAREHOUSE):
        status, document = mtlsctl.json(*asked, "--wait")

        assert (status, document["made"], document["rotation"]) == (0, True, None)
        assert document["trusted_by"] == {gateway.parameters["DomainName"]: True}
        assert document["definition"]["request"] == {
            "common_name": "warehouse",
            "organization": "Example Ltd",
            "key_algorithm": "EC_P256",
            "validity_days": 90,
        }
        value = gateway.value(WAREHOUSE)
        assert value["serial_number"] == clients.serial == document["certificate"]["serial_number"]
        assert value["anchor"] == pki.to_pem(CORPORATE.certificate)
        assert len(filed(gateway, WAREHOUSE)) == 1
        assert gateway.accepts(held(gateway, WAREHOUSE))
        assert gateway.accepts(clients)

        rotated = mtlsctl("rotate", "warehouse", "--wait")

        assert rotated.exit_code == 0, rotated.out
        assert held(gateway, WAREHOUSE, "AWSPREVIOUS").serial == clients.serial
        assert gateway.accepts(clients)
        assert gateway.accepts(held(gateway, WAREHOUSE))
        (next_one,) = pki.from_pem(gateway.value(WAREHOUSE)["certificate"])
        assert next_one.subject == issued.certificate.subject
        assert gateway.value(WAREHOUSE)["anchor"] == gateway.value(gateway.ca)["certificate"]


def test_a_certificate_is_trusted_before_there_is_a_secret_that_holds_it(
    mtlsctl: Mtlsctl, gateway: Deployment, tmp_path: Path
) -> None:
    named = write(tmp_path, builders.leaf(builders.root("Another Corp CA"), common_name="warehouse", validity_days=90))
    asked = ("import", "client", "warehouse", *named, "--issuer", "secretsmanager")

    with gone_afterwards(gateway, WAREHOUSE):
        dumb = without(gateway, "events:PutEvents").json(*asked)

        assert (dumb[0], dumb[1]["error"]["where"]) == (2, "PutEvents")
        assert not exists(gateway, WAREHOUSE)
        assert filed(gateway, WAREHOUSE) == []

        status, document = mtlsctl.json(*asked)

        assert (status, document["made"]) == (0, True)
        assert gateway.accepts(held(gateway, WAREHOUSE))


def test_a_certificate_comes_from_another_secret_and_is_rotated_at_once_with_the_documented_actions_alone(
    gateway: Deployment, ours: pki.CertifiedKey
) -> None:
    pem = written_out(ours)
    sample = {
        "CERTIFICATE_PEM": pem["certificate"],
        "PRIVATE_KEY_PEM": pem["private_key"],
        "CERTIFICATE_CHAIN_PEM": pem["certificate_chain"],
    }
    gateway.secrets.create_secret(Name="acm-sample", SecretString=json.dumps(sample))
    operator = with_only(gateway, documented_actions("import client"))
    with gone_afterwards(gateway, WAREHOUSE, "acm-sample"):
        ran = operator("import", "client", "warehouse", "--from-secret", "acm-sample", "--rotate-now", "--wait")

        assert ran.exit_code == 0, ran.err
        assert "✓ The new certificate is in use." in ran.out
        assert "PRIVATE KEY" not in ran.out
        assert held(gateway, WAREHOUSE, "AWSPREVIOUS").serial == pki.serial(ours.certificate)
        assert gateway.value(WAREHOUSE)["issuer"] == {"type": "secretsmanager", "ca_secret": gateway.ca}
        assert gateway.accepts(held(gateway, WAREHOUSE, "AWSPREVIOUS"))
        assert gateway.accepts(held(gateway, WAREHOUSE))


def test_a_dry_run_says_what_would_be_taken_in(mtlsctl: Mtlsctl, gateway: Deployment, ours: pki.CertifiedKey) -> None:
    pem = written_out(ours)
    kubernetes = json.dumps(
        {"kind": "Secret", "stringData": {"tls.crt": pem["certificate"], "tls.key": pem["private_key"]}}
    )
    asked = ("import", "client", "warehouse", "--from", "-", "--dry-run", "--uri", "spiffe://example.com/warehouse")

    status, document = mtlsctl.json(*asked, typed=kubernetes)
    ran = mtlsctl(*asked, typed=kubernetes)

    assert (status, document["made"], document["arn"], document["trusted_by"]) == (0, False, None, {})
    assert document["definition"]["request"]["uris"] == ["spiffe://example.com/warehouse"]
    (anchor,) = document["certificate"]["anchors"]
    assert anchor.startswith("CN=mtls-rotation CA,dnQualifier=")
    assert ran.exit_code == 0
    assert f"{WAREHOUSE} would be made, with CN=warehouse; nothing was." in ran.out
    assert not exists(gateway, WAREHOUSE)
    assert filed(gateway, WAREHOUSE) == []


@pytest.mark.parametrize(
    ("files", "options", "code", "why"),
    [
        ({"private_key.pem": pki.key_to_pem(builders.root().key)}, (), "MTLS-407", "none of the certificates"),
        ({"certificate_chain.pem": ""}, (), "MTLS-407", "no certificate of the CA that signed it"),
        (
            {"private_key.pem": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----"},
            (),
            "MTLS-403",
            "nobody to ask",
        ),
        ({}, (), "MTLS-403", "not a CA of this stack"),
        (
            {},
            ("--issuer", "secretsmanager", "--validity-days", "60", "--schedule", "rate(25 days)"),
            "MTLS-403",
            "a certificate that ends on",
        ),
        ({}, ("--from", "-"), "MTLS-403", "several at once"),
        ({}, ("--issuer", "external", "--trusted-by-gateway", "--country", "x"), "MTLS-101", "request.country"),
    ],
)
def test_what_cannot_be_taken_in_is_refused_before_anything_is_made(
    mtlsctl: Mtlsctl,
    gateway: Deployment,
    tmp_path: Path,
    files: dict[str, str],
    options: tuple[str, ...],
    code: str,
    why: str,
) -> None:
    named = write(tmp_path, builders.leaf(STRANGE, validity_days=20))
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    ran = mtlsctl("import", "client", "warehouse", *named, *options)

    assert (ran.exit_code, ran.out) == (2, "")
    assert ran.complaint.startswith(f"{code} ")
    assert why in ran.err
    assert not exists(gateway, WAREHOUSE)
    assert filed(gateway, WAREHOUSE) == []


def test_an_import_that_breaks_off_leaves_nothing_behind(
    gateway: Deployment, ours: pki.CertifiedKey, tmp_path: Path
) -> None:
    helpless = without(gateway, "secretsmanager:RotateSecret")

    status, document = helpless.json("import", "client", "warehouse", *write(tmp_path, ours))

    assert (status, document["error"]["where"]) == (2, "RotateSecret")
    assert not exists(gateway, WAREHOUSE)
    assert filed(gateway, WAREHOUSE) == []


@pytest.fixture
def unsigned(mtlsctl: Mtlsctl, gateway: Deployment) -> Iterator[SigningRequest]:
    """A secret whose certificate a partner is to sign."""
    with gone_afterwards(gateway, PARTNER):
        status, document = mtlsctl.json("create", "client", "partner-api", "--issuer", "external", "--wait")
        rotation = document["rotation"]
        assert (status, rotation["outcome"]) == (1, "waits for a signature")
        assert [it["result"] for it in rotation["steps"]] == ["unsigned", "waiting", "waiting", "waiting"]
        assert rotation["answer_uri"] == f"s3://{gateway.bucket}/signed/"
        key = rotation["request_uri"].removeprefix(f"s3://{gateway.bucket}/").replace(".csr", ".json")
        yield SigningRequest.parse(gateway.s3.get_object(Bucket=gateway.bucket, Key=key)["Body"].read(), key)


def test_what_a_partner_signed_is_handed_in_and_nothing_else(
    mtlsctl: Mtlsctl, gateway: Deployment, unsigned: SigningRequest, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    leaf = profile.issue_leaf(unsigned.request, unsigned.csr.public_key(), CORPORATE.certificate, CORPORATE.key, now)
    answer, stranger, with_key = tmp_path / "answer.pem", tmp_path / "stranger.pem", tmp_path / "key.pem"
    answer.write_text(pki.to_pem(CORPORATE.certificate, leaf))
    stranger.write_text(pki.to_pem(builders.leaf(CORPORATE).certificate))
    with_key.write_text(pki.to_pem(leaf) + pki.key_to_pem(CORPORATE.key))

    waiting = mtlsctl("rotate", "partner-api", "--wait")
    refused = [mtlsctl("import", "signed", str(it)) for it in (stranger, with_key)]
    other = mtlsctl.json("import", "signed", str(answer), "--secret", "client")
    uploaded = gateway.s3.list_objects_v2(Bucket=gateway.bucket, Prefix="signed/").get("Contents", [])
    operator = with_only(gateway, documented_actions("import signed"))
    status, document = operator.json("import", "signed", str(answer), "--secret", "partner-api", "--wait")

    assert waiting.exit_code == 1
    assert f"mtlsctl import signed FILE --secret {PARTNER} --wait" in waiting.out
    assert [(it.exit_code, it.complaint.split()[0]) for it in refused] == [(2, "MTLS-108"), (2, "MTLS-403")]
    assert (other[0], other[1]["error"]["code"]) == (2, "MTLS-108")
    assert uploaded == []
    assert (status, document["secret"], document["rotation"]["outcome"]) == (0, PARTNER, "done")
    assert gateway.value(PARTNER)["certificate"] == pki.to_pem(leaf)
    await_condition(
        lambda: "Contents" not in gateway.s3.list_objects_v2(Bucket=gateway.bucket, Prefix="requested/"),
        "the request is withdrawn",
        10.0,
    )
