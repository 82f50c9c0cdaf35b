"""The mode without a gateway: what `sam deploy` gives with no parameter set. Reads of Secrets Manager lag here."""

import json
from collections.abc import Callable
from datetime import datetime
from functools import partial

from demo import sam
from demo.gateway import architecture
from demo.waiting import await_condition
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from tests.e2e.operators import gone_afterwards
from tests.kit import change_sets
from tests.kit.deployment import Deployment, await_first_rotation
from tests.kit.mtlsctl import Mtlsctl, Ran


def test_with_no_parameter_the_stack_has_a_certificate_and_no_gateway(end_to_end: Deployment) -> None:
    secret = end_to_end.value(end_to_end.client)
    assert secret["request"]["common_name"] == "mtls-client"
    assert "endpoint" not in secret
    assert "GatewayUrl" not in end_to_end.stack.outputs
    assert not end_to_end.apigateway.get_domain_names()["items"]


def test_a_rotation_goes_through_although_reads_lag_behind_writes(end_to_end: Deployment) -> None:
    before = end_to_end.value(end_to_end.client)
    version = end_to_end.rotate(end_to_end.client, within=40.0)
    # This test's own reads lag too.
    await_condition(lambda: end_to_end.labels(end_to_end.client)["AWSCURRENT"] == version, "AWSCURRENT moves", 10.0)
    await_condition(
        lambda: end_to_end.value(end_to_end.client)["serial_number"] != before["serial_number"], "a new serial", 10.0
    )


def test_the_bucket_holds_the_public_certificate_of_every_version_and_never_a_key(end_to_end: Deployment) -> None:
    listed = end_to_end.s3.list_objects_v2(Bucket=end_to_end.bucket)["Contents"]
    bodies = {
        entry["Key"]: end_to_end.s3.get_object(Bucket=end_to_end.bucket, Key=entry["Key"])["Body"].read()
        for entry in listed
    }
    secret = end_to_end.value(end_to_end.client)
    anchor = pki.fingerprint(pki.from_pem(secret["anchor"])[0])
    version = end_to_end.labels(end_to_end.client)["AWSCURRENT"]
    name = f"{end_to_end.stack.name}/client"
    end = datetime.fromisoformat(secret["not_after"])
    filed = str(layout.IssuedKey(anchor, name, version, secret["serial_number"], not_after=end))
    assert bodies[filed].decode() == secret["certificate"]
    assert layout.managed_anchor_key(anchor) in bodies
    assert not [key for key, body in bodies.items() if b"PRIVATE KEY" in body]


def test_the_secrets_may_be_encrypted_with_a_key_of_the_stacks_own_and_outlive_the_stack(
    end_to_end: Deployment,
) -> None:
    aws = sam.session(end_to_end.environment)
    operation_key = aws.client("kms").create_key()["KeyMetadata"]["Arn"]
    parameters = {
        "Architecture": architecture(),
        "EncryptionKey": "customer",
        "OperationKeyArn": operation_key,
        "AccessLogBucket": "access-logs-of-ours",
    }
    stack = change_sets.deploy("e2e-key", parameters, end_to_end.environment)
    encrypted = await_first_rotation(Deployment(end_to_end.aws, stack, end_to_end.environment, parameters))
    described = encrypted.secrets.describe_secret(SecretId=encrypted.client)
    assert ":key/" in described["KmsKeyId"]
    groups = aws.client("logs").describe_log_groups()["logGroups"]
    keys = [group.get("kmsKeyId") for group in groups if stack.name in group["logGroupName"]]
    assert keys == [operation_key] * 4
    value = encrypted.value(encrypted.client)
    assert value["certificate"]

    # Deleting the stack keeps what may be in use.
    encrypted.await_rest(encrypted.client)
    encrypted.delete()
    assert encrypted.value(encrypted.client)["serial_number"] == value["serial_number"]
    assert "DeletedDate" not in encrypted.secrets.describe_secret(SecretId=encrypted.ca)
    assert encrypted.s3.list_objects_v2(Bucket=encrypted.bucket, Prefix=layout.ISSUED)["Contents"]


def test_a_ca_whose_key_was_stolen_is_replaced_with_all_that_hangs_on_it_and_shuts_nobody_out_unasked(
    end_to_end: Deployment,
) -> None:
    stack = end_to_end.stack.name
    mtlsctl = Mtlsctl(end_to_end.environment, stack)
    ca, hangs, fails = f"{stack}/stolen-ca", f"{stack}/hangs", f"{stack}/fails"
    with gone_afterwards(end_to_end, ca, hangs, fails):
        assert mtlsctl("create", "ca", ca, "--wait").exit_code == 0
        for name in (hangs, fails):  # while the CA cannot be seen yet, nothing is made
            create = partial(mtlsctl, "create", "client", name, "--ca-secret", ca, "--wait")
            await_condition(partial(is_done, create), f"{name} is made", 30.0)
        value = end_to_end.value(fails)
        too_long = value | {"request": value["request"] | {"validity_days": 7000}}
        end_to_end.secrets.put_secret_value(SecretId=fails, SecretString=json.dumps(too_long))

        status, document = mtlsctl.json("rotate", "--all", "--ca", ca, "--yes")

        assert (status, document["ca"]["done"], document["distrusted"]) == (1, True, False)
        assert {it["secret"]: it["done"] for it in document["rotated"]} == {hangs: True, fails: False}
        assert "MTLS-103" in next(it["failure"] for it in document["rotated"] if not it["done"])
        (stolen,) = document["former"]
        assert stolen in {pki.fingerprint(it) for it in end_to_end.published()}

        unconfirmed = mtlsctl("truststore", "distrust", stolen[:8])
        assert (unconfirmed.exit_code, "MTLS-408" in unconfirmed.err) == (2, True)
        assert f"Refused: {fails} at AWSPREVIOUS, and maybe in what was put at AWSCURRENT by hand" in unconfirmed.err
        status, document = mtlsctl.json("truststore", "distrust", stolen[:8], "--yes", "--wait")
        assert (status, document["distrusted"], document["completed"]) == (1, True, True)
        assert {it["secret"] for it in document["refused"] if it["carried_over"]} == {fails}
        assert stolen not in {pki.fingerprint(it) for it in end_to_end.published()}
        assert f"distrusted: {stolen[:8]}" in mtlsctl("truststore", "show").out
        assert [it["fingerprint_sha256"] for it in mtlsctl.json("status")[1]["distrusted"]] == [stolen]

        status, document = mtlsctl.json("truststore", "distrust", stolen, "--undo", "--yes", "--wait")
        assert (status, document["distrusted"], document["anchors"]) == (0, False, [stolen])
        assert stolen in {pki.fingerprint(it) for it in end_to_end.published()}

        end_to_end.secrets.put_secret_value(SecretId=fails, SecretString=json.dumps(value))
        status, document = mtlsctl.json("rotate", "--all", "--ca", ca, "--yes")

        assert (status, document["distrusted"], document["completed"]) == (0, True, True), document["findings"]
        assert len(document["former"]) == 2
        assert {it["secret"]: it["done"] for it in document["rotated"]} == {hangs: True, fails: True}
        assert not set(document["former"]) & {pki.fingerprint(it) for it in end_to_end.published()}
    for key in document["former"]:
        end_to_end.s3.delete_object(Bucket=end_to_end.bucket, Key=layout.distrusted_anchor_key(key))


def is_done(command: Callable[[], Ran]) -> bool:
    return command().exit_code == 0
