"""Issuers beside the default: a CA whose key is in KMS, and a CA that is somebody else's, signing by hand."""

import base64
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from demo import sam
from demo.gateway import architecture
from demo.waiting import await_condition, await_rotation
from localaws import LocalAws, sealed
from mtls_rotation.pki import certificates as pki
from tests.e2e.conftest import log, remember_what_was_issued
from tests.kit import builders, change_sets
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation
from tests.kit.server import MutualTlsServer
from tests.proof.wrong_hands.attacks import only_the_stack_signs, rotate_takes_a_key
from tests.proof.wrong_hands.scene import Scene

# Twenty requests a second on a machine that stands still for half a second are more than a young account's ten at once.
QUOTA = 1000


@pytest.fixture(scope="module")
def aws(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    lags: dict[str, Any] = {
        "kms_tag_lag": timedelta(seconds=2),
        "kms_key_lag": timedelta(seconds=4),
        "iam_policy_lag": timedelta(seconds=2),
        "concurrent_executions": QUOTA,
    }
    with LocalAws.start(log_path=log(tmp_path_factory), enforce_iam=True, **lags) as aws:
        yield aws


@pytest.fixture(scope="module")
def kms_gateway(aws: LocalAws) -> Iterator[Deployment]:
    """A stack with a gateway, whose CA has its key in KMS."""
    made = change_sets.deploy_gateway(aws, "e2e-kms", DOMAIN, ClientIssuer="kms")
    deployment = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
    yield deployment
    remember_what_was_issued(deployment)


def test_a_ca_in_kms_keeps_no_private_key_and_its_clients_are_accepted(kms_gateway: Deployment) -> None:
    ca = kms_gateway.value(kms_gateway.ca)
    key = sam.session(kms_gateway.environment).client("kms").describe_key(KeyId=ca["key_id"])["KeyMetadata"]

    assert "private_key" not in ca
    assert (key["KeySpec"], key["KeyUsage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")
    assert kms_gateway.value(kms_gateway.client)["issuer"] == {"type": "kms", "ca_secret": kms_gateway.ca}
    assert kms_gateway.accepts(kms_gateway.held())


def test_nobody_but_the_stacks_functions_signs_as_a_ca_in_kms(kms_gateway: Deployment) -> None:
    scene = Scene(kms_gateway)
    only_the_stack_signs(scene, kms_gateway.value(kms_gateway.ca)["key_id"])
    rotate_takes_a_key(scene)


def test_no_request_fails_while_a_ca_in_kms_is_rotated_and_its_successor_has_a_key_of_its_own(
    kms_gateway: Deployment,
) -> None:
    kms_gateway.await_rest(kms_gateway.ca)
    before = kms_gateway.value(kms_gateway.ca)
    traffic = kms_gateway.traffic()
    traffic.start()
    try:
        await_condition(lambda: traffic.sent > 40, "requests under way", 60.0)
        kms_gateway.rotate(kms_gateway.client, within=60.0)
        kms_gateway.rotate(kms_gateway.ca, within=60.0)
        kms_gateway.rotate(kms_gateway.client, within=60.0)
        sent = traffic.sent
        await_condition(lambda: traffic.sent > sent + 40, "requests with the new CA's certificate", 20.0)
    finally:
        summary = traffic.stop()
    after = kms_gateway.value(kms_gateway.ca)

    assert after["key_id"] != before["key_id"]
    # Each was waited for until AWS knew of it, and was made once.
    assert keys_of(kms_gateway) == {before["key_id"], after["key_id"]}
    assert kms_gateway.value(kms_gateway.client)["anchor"] == after["certificate"]
    assert summary.failed == 0, summary.failures


def keys_of(deployed: Deployment) -> set[str]:
    """The keys that the stack has, and that are not to be deleted."""
    kms = sam.session(deployed.environment).client("kms")
    found = [kms.describe_key(KeyId=it["KeyId"])["KeyMetadata"] for it in kms.list_keys()["Keys"]]
    return {it["Arn"] for it in found if it["KeyState"] == "Enabled" and it.get("KeyUsage") == "SIGN_VERIFY"}


def test_no_request_fails_while_a_certificate_that_is_its_own_anchor_is_rotated(
    built: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # Every rotation here is an update of the domain, and waits its turn.
    log_path = log(tmp_path_factory)
    accepted: dict[str, Any] = {"self_signed_clients": "accepted", "concurrent_executions": QUOTA}
    with LocalAws.start(log_path=log_path, enforce_iam=True, **accepted) as aws:
        made = change_sets.deploy_gateway(
            aws, "e2e-pinned", DOMAIN, ClientIssuer="self-signed", SelfSignedClients="accepted"
        )
        pinned = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
        traffic = pinned.traffic()
        traffic.start()
        try:
            await_condition(lambda: traffic.sent > 40, "requests under way", 60.0)
            for _ in range(2):
                pinned.rotate(pinned.client, within=60.0)
        finally:
            summary = traffic.stop()
        value = pinned.value(pinned.client)
        remember_what_was_issued(pinned)

    assert value["anchor"] == value["certificate"]
    assert summary.failed == 0, summary.failures
    assert summary.serials >= 3


@pytest.fixture
def partner() -> Iterator[MutualTlsServer]:
    """A partner's server, which lets in nobody but clients of the partner's own CA."""
    server = MutualTlsServer(builders.server_certificate(builders.root("Partner's server CA")))
    yield server
    server.close()


def test_a_partner_signs_our_request_by_hand_and_the_rotation_goes_on(
    aws: LocalAws, partner: MutualTlsServer, tmp_path: Path
) -> None:
    openssl(tmp_path, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 90 -subj /CN=PartnerCA")
    partner.trust(*pki.from_pem((tmp_path / "ca.pem").read_text()))
    environment = sealed(os.environ, aws.environment())
    parameters = {
        "Architecture": architecture(),
        "ClientIssuer": "external",
        "ClientCommonName": "billing",
        "EndpointUrl": partner.url,
        "EndpointServerCa": base64.b64encode(partner.ca.encode()).decode(),
    }
    stack = change_sets.deploy("e2e-external", parameters, environment)
    deployed = Deployment(aws, stack, environment, parameters)
    assert "CaSecret" not in stack.outputs

    await_condition(lambda: len(requests_of(deployed)) == 1, "the signing request", 30.0)
    (key,) = requests_of(deployed)
    (tmp_path / "billing.csr").write_bytes(read(deployed, key))
    labels = deployed.labels(deployed.client)
    assert "certificate" not in deployed.value(deployed.client)
    assert "MTLS-CSR" in labels

    # One that the same CA signed for another key is refused, and nothing changes.
    openssl(tmp_path, "req -newkey rsa:2048 -nodes -keyout other.key -out other.csr -subj /CN=billing")
    sign(tmp_path, "other")
    upload(deployed, tmp_path, "other")
    sign(tmp_path, "billing")
    assert deployed.labels(deployed.client) == labels

    upload(deployed, tmp_path, "billing")
    await_rotation(aws, labels["AWSPENDING"], 60.0)
    value = deployed.value(deployed.client)
    assert pki.from_pem(value["certificate"]) == pki.from_pem((tmp_path / "billing.pem").read_text())[:1]
    assert pki.from_pem(value["anchor"]) == pki.from_pem((tmp_path / "ca.pem").read_text())
    assert partner.clients[-1] == "billing"
    assert set(deployed.labels(deployed.client)) >= {"AWSCURRENT"}
    await_condition(lambda: not requests_of(deployed), "the request is withdrawn", 10.0)
    assert not {"AWSPENDING", "MTLS-CSR"} & set(deployed.labels(deployed.client))
    assert datetime.fromisoformat(value["not_after"]) > datetime.now(UTC)
    everything = [read(deployed, entry["Key"]) for entry in listed(deployed, "")]
    assert not [body for body in everything if b"PRIVATE KEY" in body]


def openssl(folder: Path, command: str) -> None:
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def sign(folder: Path, name: str) -> None:
    """What a partner does by hand: sign the request, and send the certificate and the CA back in one file."""
    (folder / "client.cnf").write_text("extendedKeyUsage=clientAuth\nkeyUsage=critical,digitalSignature\n")
    options = f"-CA ca.pem -CAkey ca.key -CAcreateserial -days 60 -sha256 -extfile client.cnf -out {name}.pem"
    openssl(folder, f"x509 -req -in {name}.csr {options}")
    signed = folder / f"{name}.pem"
    signed.write_text(signed.read_text() + (folder / "ca.pem").read_text())


def upload(deployed: Deployment, folder: Path, name: str) -> None:
    body = (folder / f"{name}.pem").read_bytes()
    deployed.s3.put_object(Bucket=deployed.bucket, Key=f"signed/answer-for-{name}.pem", Body=body)


def listed(deployed: Deployment, prefix: str) -> list[dict[str, str]]:
    answer = deployed.s3.list_objects_v2(Bucket=deployed.bucket, Prefix=prefix)
    return [{"Key": entry["Key"]} for entry in answer.get("Contents", [])]


def requests_of(deployed: Deployment) -> list[str]:
    return [entry["Key"] for entry in listed(deployed, "requested/") if entry["Key"].endswith(".csr")]


def read(deployed: Deployment, key: str) -> bytes:
    return deployed.s3.get_object(Bucket=deployed.bucket, Key=key)["Body"].read()
