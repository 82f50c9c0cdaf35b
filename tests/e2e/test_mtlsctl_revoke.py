"""`mtlsctl revoke` on a deployed stack: the certificate is refused and replaced, and let in again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from demo import sam
from demo.certificates import Authority, Held, from_secret
from demo.waiting import await_condition
from mtls_rotation.contract import layout
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.distinguished_names import rfc4514
from mtls_rotation.provers.tls_context import client_context
from tests.e2e.conftest import REVOCATION_TTL
from tests.kit import builders
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl

OWN = "e2e-gateway/revocable"


@pytest.fixture
def mtlsctl(gateway: Deployment) -> Mtlsctl:
    return Mtlsctl(gateway.environment, gateway.stack.name)


@pytest.fixture(scope="module")
def own(gateway: Deployment) -> Iterator[str]:
    """A client secret that the stack rotates, and that is gone when the tests are done."""
    definition = builders.client_definition(gateway.ca)
    tags = [{"Key": STACK_TAG, "Value": gateway.stack.name}]
    gateway.secrets.create_secret(Name=OWN, Tags=tags, SecretString=json.dumps(definition))  # type: ignore[arg-type]
    switch_rotation_on(gateway, OWN)
    await_condition(lambda: "certificate" in gateway.value(OWN), "the first rotation", 30.0)
    gateway.await_rest(OWN)
    yield OWN
    gateway.await_rest(OWN)
    gateway.secrets.delete_secret(SecretId=OWN, ForceDeleteWithoutRecovery=True)


def switch_rotation_on(gateway: Deployment, secret: str) -> None:
    gateway.secrets.rotate_secret(
        SecretId=secret,
        RotationLambdaARN=gateway.stack.outputs["RotateFunction"],
        RotationRules={"ScheduleExpression": "rate(10 days)"},
    )


def notices(gateway: Deployment) -> set[str]:
    listed = gateway.s3.list_objects_v2(Bucket=gateway.bucket, Prefix=layout.REVOKED)
    return {entry["Key"] for entry in listed.get("Contents", [])}


def held(gateway: Deployment, label: str) -> Held:
    return from_secret(json.dumps(gateway.value(OWN, label)), gateway.aws.front_door.server_ca_pem)


def status(gateway: Deployment, held: Held) -> int:
    with httpx.Client(verify=held.context, trust_env=False, timeout=20.0) as client:
        return client.get(gateway.url).status_code


@dataclass(frozen=True)
class Stray:
    """A certificate by the stack's CA that no secret holds."""

    certificate: x509.Certificate
    held: Held


@pytest.fixture
def stray(gateway: Deployment) -> Stray:
    authority = Authority.from_secret(json.dumps(gateway.value(gateway.ca)))
    ca = pki.CertifiedKey(authority.key, authority.certificate, (), authority.certificate)
    made = builders.leaf(ca, now=datetime.now(UTC), common_name="stray", validity_days=1)
    server_ca = gateway.aws.front_door.server_ca_pem
    context = client_context(pki.to_pem(made.certificate), pki.key_to_pem(made.key), server_ca)
    return Stray(made.certificate, Held(pki.serial(made.certificate), context))


def test_a_revoked_certificate_is_refused_and_replaced_and_let_in_again_when_it_is_taken_back(
    mtlsctl: Mtlsctl, gateway: Deployment, own: str
) -> None:
    lost, before = held(gateway, "AWSCURRENT"), notices(gateway)

    ran = mtlsctl("revoke", own)
    assert (ran.exit_code, "MTLS-408" in ran.err, notices(gateway)) == (2, True, before)
    assert f"is refused by the gateway within {REVOCATION_TTL} s" in ran.err
    assert f"{own} is rotated at once" in ran.err

    exit_status, document = mtlsctl.json("revoke", own, "--reason", "keyCompromise", "--yes", "--wait")
    assert (exit_status, document["revoked"], document["changed"], document["completed"]) == (0, True, True, True)
    assert [(it["secret"], it["labels"], it["rotates"]) for it in document["held_by"]] == [(own, ["AWSCURRENT"], True)]
    assert (document["serial_number"], document["reason"]) == (lost.serial, "keyCompromise")
    (key,) = notices(gateway) - before
    assert key == f"revoked/e2e-gateway-revocable.{lost.serial}.json"
    await_condition(lambda: status(gateway, lost) == 403, "the gateway refuses it", REVOCATION_TTL + 2.0)
    assert status(gateway, held(gateway, "AWSCURRENT")) == 200

    again = mtlsctl("revoke", own, "--label", "AWSPREVIOUS")
    assert (again.exit_code, "It is revoked already." in again.out) == (0, True)
    exit_status, document = mtlsctl.json("verify", own, "--label", "AWSPREVIOUS", "--endpoint", gateway.url)
    assert exit_status == 1
    assert "revoked since" in next(it["reason"] for it in document["checks"] if it["name"] == "revocation list")

    ran = mtlsctl("revoke", own, "--undo")
    assert (ran.exit_code, "give --label AWSPREVIOUS" in ran.err) == (2, True)
    exit_status, document = mtlsctl.json("revoke", own, "--label", "AWSPREVIOUS", "--undo", "--yes", "--wait")
    assert (exit_status, document["revoked"], document["completed"], notices(gateway)) == (0, False, True, before)
    await_condition(lambda: status(gateway, lost) == 200, "the gateway lets it in", REVOCATION_TTL + 2.0)


def test_a_certificate_that_no_secret_holds_is_revoked_by_its_file_and_released_by_its_name(
    mtlsctl: Mtlsctl, gateway: Deployment, stray: Stray, tmp_path: Path
) -> None:
    assert status(gateway, stray.held) == 200
    file, before = tmp_path / "stray.pem", notices(gateway)
    file.write_text(pki.to_pem(stray.certificate))

    with nobody_told(gateway):
        exit_status, document = mtlsctl.json("revoke", "--certificate", str(file), "--yes", "--wait", "--timeout", "0")
        assert (exit_status, document["error"]["code"]) == (2, "MTLS-405")
        (notice,) = notices(gateway) - before
        gateway.s3.delete_object(Bucket=gateway.bucket, Key=notice)
    ran = mtlsctl("revoke", "--certificate", str(file), "--yes", "--wait")
    assert (ran.exit_code, f"{before}" == f"{notices(gateway)}") == (0, False)
    await_condition(lambda: status(gateway, stray.held) == 403, "the gateway refuses it", REVOCATION_TTL + 2.0)

    name = ("--issuer", rfc4514(stray.certificate.issuer), "--serial", f"0x{stray.held.serial.upper()}")
    ran = mtlsctl("revoke", *name, "--undo", "--yes", "--wait")
    assert (ran.exit_code, notices(gateway)) == (0, before)
    assert "It is not revoked any more." in ran.out


def test_that_a_secret_keeps_a_revoked_certificate_because_nothing_rotates_it_needs_attention(
    mtlsctl: Mtlsctl, gateway: Deployment, stray: Stray
) -> None:
    with put_by_hand(gateway, stray.certificate) as secret:
        exit_status, document = mtlsctl.json("revoke", secret, "--yes")
        assert (exit_status, [it["subject"] for it in document["findings"]]) == (1, [secret])
        assert document["held_by"][0]["rotates"] is False
        ran = mtlsctl("revoke", secret, "--undo", "--yes", "--wait")
        assert (ran.exit_code, ran.complaint) == (0, "")


@contextmanager
def nobody_told(gateway: Deployment) -> Iterator[None]:
    """Notices wait, as the function that reads them is not told of any."""
    session = sam.session(gateway.environment)
    found = session.client("cloudformation").describe_stack_resource(
        StackName=gateway.stack.name, LogicalResourceId="RevocationFunctionNotice"
    )
    rule, events = found["StackResourceDetail"]["PhysicalResourceId"], session.client("events")
    events.disable_rule(Name=rule)
    yield
    events.enable_rule(Name=rule)


@contextmanager
def put_by_hand(gateway: Deployment, certificate: x509.Certificate) -> Iterator[str]:
    """A secret with that certificate that has no rotation function."""
    name, anchor = f"{gateway.stack.name}/by-hand", pki.from_pem(gateway.value(gateway.ca)["certificate"])[0]
    tags = [{"Key": STACK_TAG, "Value": gateway.stack.name}]
    made = gateway.secrets.create_secret(Name=name, Tags=tags, SecretString="{}")  # type: ignore[arg-type]
    key = str(layout.IssuedKey(pki.fingerprint(anchor), name, made["VersionId"], pki.serial(certificate)))
    gateway.s3.put_object(Bucket=gateway.bucket, Key=key, Body=pki.to_pem(certificate).encode())
    try:
        yield name
    finally:
        gateway.s3.delete_object(Bucket=gateway.bucket, Key=key)
        gateway.secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_what_cannot_be_revoked_is_refused_before_anything_is_uploaded(
    mtlsctl: Mtlsctl, gateway: Deployment, tmp_path: Path
) -> None:
    before = notices(gateway)
    key = tmp_path / "key.pem"
    key.write_text(pki.key_to_pem(builders.root().key))

    def refused(*arguments: str) -> tuple[int, str, str]:
        exit_status, document = mtlsctl.json("revoke", *arguments, "--yes")
        return exit_status, document["error"]["code"], document["error"]["found"]

    status, code, found = refused("ca")
    assert (status, code) == (2, "MTLS-109")
    assert found.startswith("the CA CN=mtls-rotation CA,dnQualifier=")
    assert refused() == (2, "MTLS-403", "no certificate")
    assert refused("client", "--certificate", str(key)) == (2, "MTLS-403", "SECRET and --certificate")
    assert refused("--issuer", "CN=x") == (2, "MTLS-403", "--issuer")
    nobodys = "serial number 1 of CN=Nobody, and no CA that is known here has that name"
    assert refused("--issuer", "CN=Nobody", "--serial", "1") == (2, "MTLS-403", nobodys)
    assert refused("--issuer", "Nobody", "--serial", "1") == (2, "MTLS-403", "an unusable issuer")
    assert refused("--certificate", str(key)) == (2, "MTLS-403", "a private key")
    assert refused("client", "--undo")[:2] == (2, "MTLS-403")
    assert notices(gateway) == before
