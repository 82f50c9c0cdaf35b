"""The mode without a gateway: what `sam deploy` gives with no parameter set. Reads of Secrets Manager lag here."""

from datetime import datetime

from demo import sam
from demo.gateway import architecture
from demo.waiting import await_condition
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from tests.kit import change_sets
from tests.kit.deployment import Deployment, await_first_rotation


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
