"""Private keys in a local AWS: one that is planted is found wherever it is, and a deployed stack has none anywhere."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo import sam
from localaws import LocalAws, sealed
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.deployment import Deployment
from tests.proof.key_material import local_aws
from tests.proof.key_material.hearing import Hearing, hearing
from tests.proof.key_material.scanner import Scanner

KINDS = {"objects", "events", "logs", "metrics", "parameters", "templates", "functions", "environments", "files"}


def key() -> str:
    return pki.key_to_pem(builders.root().key)


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[tuple[LocalAws, Any]]:
    """A local AWS that nobody else looks through, and its clients by name."""
    with hearing(Hearing(Scanner())):
        with LocalAws.start(log_path=tmp_path / "log") as aws:
            yield aws, sam.session(sealed(os.environ, aws.environment())).client
        (tmp_path / "log").unlink()  # the function has printed its key


def package(text: str) -> bytes:
    """A function's code."""
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("app.py", f"KEY = {text!r}\ndef handler(event, context):\n    print(KEY)\n")
        return file.getvalue()


def test_a_key_is_found_in_every_place_of_a_local_aws_but_where_keys_belong(planted: tuple[LocalAws, Any]) -> None:
    aws, client = planted
    s3, logs = client("s3"), client("logs")
    s3.create_bucket(Bucket="bucket")
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket="bucket", Key="overwritten", Body=key().encode())
    s3.put_object(Bucket="bucket", Key="overwritten", Body=b"harmless")
    client("events").put_events(Entries=[{"Source": "a", "DetailType": "b", "Detail": json.dumps({"key": key()})}])
    client("ssm").put_parameter(Name="parameter", Type="String", Value=key())
    queue = client("sqs").create_queue(QueueName="queue")["QueueUrl"]
    client("sqs").send_message(QueueUrl=queue, MessageBody=key())
    dimension = {"Name": "key", "Value": key()}
    client("cloudwatch").put_metric_data(
        Namespace="any", MetricData=[{"MetricName": "any", "Value": 1.0, "Dimensions": [dimension]}]
    )
    logs.create_log_group(logGroupName="group")
    logs.create_log_stream(logGroupName="group", logStreamName="stream")
    logs.put_log_events(logGroupName="group", logStreamName="stream", logEvents=[{"timestamp": 1, "message": key()}])
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Metadata": {"key": key()}}}}
    client("cloudformation").create_stack(StackName="stack", TemplateBody=json.dumps(template))
    client("lambda").create_function(
        FunctionName="function",
        Runtime="python3.13",
        Role="arn:aws:iam::123456789012:role/any",
        Handler="app.handler",
        Code={"ZipFile": package(key())},
        Environment={"Variables": {"KEY": key()}},
    )
    client("lambda").invoke(FunctionName="function")
    (aws._state_dir / "left").write_text(key())
    kept = key()
    client("secretsmanager").create_secret(Name="kept", SecretString=json.dumps({"private_key": kept}))
    client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")

    scanner = Scanner()
    local_aws.look_through(aws, scanner)

    places = {it.place for it in scanner.findings}
    expected = {
        "s3._object_versions",
        "eventbridge._events_log",
        "ssm._parameters",
        "sqs._queues",
        "cloudwatch._metrics",
        "cloudwatch_logs._log_groups",
        "cloudformation.",
        "lambda_svc._functions",
        "environment of process ",
        str(aws._state_dir / "left"),
    }
    assert {it for it in expected if not any(place.startswith(it) for place in places)} == set()
    assert not [it for it in places if it.startswith(("secretsmanager", "kms"))]
    assert len(scanner.needles) >= 2, "the keys that belong where they are are known"


def test_a_deployed_stack_has_no_key_in_any_place(gateway: Deployment) -> None:
    gateway.await_rest(gateway.client)
    scanner = Scanner()
    local_aws.look_through(gateway.aws, scanner)
    assert list(map(str, scanner.findings)) == []
    assert KINDS - {kind for kind, size in scanner.scanned.items() if size} == set()
    held = gateway.value(gateway.client)["private_key"]
    known = len(scanner.needles)
    local_aws.learn([held], scanner.needles)
    assert len(scanner.needles) == known, "the client's key is among those that were looked for"
