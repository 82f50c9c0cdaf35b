"""The gateway mode, deployed by `sam deploy` onto the local AWS. The tests of this file run in order on one stack."""

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from demo.certificates import from_secret
from demo.waiting import await_condition, await_rotation
from mtls_rotation.contract import layout
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from tests.kit.deployment import DOMAIN

if TYPE_CHECKING:
    from tests.kit.deployment import Deployment


def anchors(gateway: "Deployment", version: str) -> frozenset[str]:
    stored = gateway.s3.get_object(Bucket=gateway.bucket, Key=layout.TRUSTSTORE, VersionId=version)
    return bundles.fingerprints(stored["Body"].read())


def test_a_deployed_stack_has_a_certificate_that_the_gateway_accepts(gateway: "Deployment") -> None:
    secret = gateway.value(gateway.client)
    assert secret["issuer"] == {"type": "secretsmanager", "ca_secret": gateway.ca}
    assert gateway.accepts(gateway.held())
    assert pki.fingerprint(pki.from_pem(secret["anchor"])[0]) in anchors(gateway, gateway.deployed_truststore())


def test_rotate_secret_is_done_within_ten_seconds_and_leaves_no_pending_version(gateway: "Deployment") -> None:
    before = gateway.value(gateway.client)
    version = gateway.rotate(gateway.client, within=10.0)
    labels, after = gateway.labels(gateway.client), gateway.value(gateway.client)
    assert labels["AWSCURRENT"] == version
    assert "AWSPENDING" not in labels
    assert after["serial_number"] != before["serial_number"]
    assert after["private_key"] != before["private_key"]
    assert anchors(gateway, gateway.deployed_truststore())


def test_the_previous_certificate_stays_accepted_beside_the_current_one(gateway: "Deployment") -> None:
    gateway.rotate(gateway.client, within=10.0)
    assert gateway.accepts(gateway.held("AWSCURRENT"))
    assert gateway.accepts(gateway.held("AWSPREVIOUS"))


def test_a_scheduled_rotation_comes_by_itself(gateway: "Deployment") -> None:
    before = gateway.labels(gateway.client)["AWSCURRENT"]
    gateway.aws.advance_clock(timedelta(days=11))
    await_condition(lambda: gateway.labels(gateway.client)["AWSCURRENT"] != before, "the scheduled rotation", 20.0)
    gateway.await_rest(gateway.client)
    assert gateway.aws.rotations()[-1].trigger == "scheduled"


def test_no_request_fails_while_the_ca_is_rotated_between_two_client_rotations(gateway: "Deployment") -> None:
    gateway.await_rest(gateway.ca)  # its schedule was tried out by testSecret when the stack was made
    old_ca = pki.fingerprint(pki.from_pem(gateway.value(gateway.ca)["certificate"])[0])
    traffic = gateway.traffic()
    traffic.start()
    try:
        await_condition(lambda: traffic.sent > 40, "requests under way", 60.0)
        gateway.rotate(gateway.client, within=60.0)
        gateway.rotate(gateway.ca, within=60.0)
        new_ca = pki.fingerprint(pki.from_pem(gateway.value(gateway.ca)["certificate"])[0])
        gateway.rotate(gateway.client, within=60.0)
        sent = traffic.sent
        await_condition(lambda: traffic.sent > sent + 40, "requests with the new CA's certificate", 20.0)
    finally:
        summary = traffic.stop()
    assert new_ca != old_ca
    assert pki.fingerprint(pki.from_pem(gateway.value(gateway.client)["anchor"])[0]) == new_ca
    assert {old_ca, new_ca} <= anchors(gateway, gateway.deployed_truststore())
    assert summary.failed == 0, summary.failures
    assert summary.sent > 100


def test_no_request_fails_while_the_domain_is_updating_for_ten_minutes_and_runs_the_truststore_before(
    gateway: "Deployment",
) -> None:
    """AWS does not say how long it takes. What is waited for is what happens meanwhile, and not the ten minutes."""
    before, usual = gateway.labels(gateway.ca)["AWSCURRENT"], gateway.aws.configure().domain_update_time
    traffic = gateway.traffic()
    gateway.aws.configure(domain_update_time=timedelta(minutes=10))
    traffic.start()
    try:
        version = gateway.secrets.rotate_secret(SecretId=gateway.ca)["VersionId"]
        await_condition(lambda: status_of_domain(gateway) == "UPDATING", "the domain is told", 60.0)
        sent = traffic.sent
        await_condition(lambda: traffic.sent > sent + 60, "requests while it is updating", 20.0)
        assert gateway.labels(gateway.ca)["AWSCURRENT"] == before, "a CA that the domain does not run yet is in use"
        gateway.aws.configure(domain_update_time=usual)
        gateway.aws.set_domain_status(DOMAIN, "AVAILABLE")
        await_rotation(gateway.aws, version, 60.0)
        gateway.rotate(gateway.client, within=60.0)
    finally:
        gateway.aws.configure(domain_update_time=usual)
        summary = traffic.stop()
    assert gateway.labels(gateway.ca)["AWSCURRENT"] == version
    assert summary.failed == 0, summary.failures


def status_of_domain(gateway: "Deployment") -> str:
    return gateway.apigateway.get_domain_name(domainName=DOMAIN)["domainNameStatus"]


def test_a_further_client_secret_that_an_operator_makes_is_rotated_likewise(gateway: "Deployment") -> None:
    definition = {
        "request": {"common_name": "second", "key_algorithm": "EC_P384", "validity_days": 7},
        "issuer": {"type": "secretsmanager", "ca_secret": gateway.ca},
        "endpoint": gateway.value(gateway.client)["endpoint"],
        "owner": "team-billing",
    }
    second = gateway.secrets.create_secret(
        Name="second",
        SecretString=json.dumps(definition),
        Tags=[{"Key": "mtls-rotation:stack", "Value": gateway.stack.name}],
    )["ARN"]
    version = gateway.secrets.rotate_secret(
        SecretId=second,
        RotationLambdaARN=gateway.stack.outputs["RotateFunction"],
        RotationRules={"ScheduleExpression": "rate(2 days)"},
    )["VersionId"]
    await_rotation(gateway.aws, version, 10.0)
    value = gateway.value(second)
    assert value["owner"] == "team-billing"
    assert gateway.accepts(from_secret(json.dumps(value), gateway.aws.front_door.server_ca_pem))


def test_a_rotation_that_fails_leaves_what_is_in_use_alone(gateway: "Deployment") -> None:
    value = gateway.value(gateway.client)
    broken = value | {"request": {"common_name": ""}}
    gateway.aws.configure(rotation_retries=0)
    version = gateway.secrets.put_secret_value(SecretId=gateway.client, SecretString=json.dumps(broken))["VersionId"]
    failing = gateway.secrets.rotate_secret(SecretId=gateway.client)["VersionId"]
    gateway.await_rest(gateway.client)
    (run,) = [run for run in gateway.aws.rotations() if run.version_id == failing]
    assert "MTLS-101" in (run.error or "")
    assert gateway.labels(gateway.client)["AWSCURRENT"] == version
    assert gateway.accepts(gateway.held())

    # As the runbook has it: a corrected value, and the label off the version that failed.
    gateway.secrets.put_secret_value(SecretId=gateway.client, SecretString=json.dumps(value))
    gateway.secrets.update_secret_version_stage(
        SecretId=gateway.client, VersionStage="AWSPENDING", RemoveFromVersionId=failing
    )


def test_a_stack_update_changes_the_request_and_keeps_the_certificate(gateway: "Deployment") -> None:
    before, truststore = gateway.value(gateway.client), gateway.deployed_truststore()
    gateway.update(ClientValidityDays="20")
    after = gateway.value(gateway.client)
    assert after["request"]["validity_days"] == 20
    assert after["certificate"] == before["certificate"]
    assert gateway.deployed_truststore() == truststore
    assert gateway.accepts(gateway.held())
