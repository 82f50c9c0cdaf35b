from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localaws import LocalAws
from tests.integration.localaws.support import make

type As = Callable[..., Callable[[str], Any]]
_DOMAIN = "api.example.com"
_OBJECT = "arn:aws:s3:::truststores/truststore.pem"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalAws]:
    log = tmp_path_factory.mktemp("iam") / "log"
    with LocalAws.start(log_path=log, enforce_iam=True, domain_update_interval=timedelta(0)) as running:
        yield running


def session(strict: LocalAws, key: str, password: str) -> Callable[[str], Any]:
    connection: Any = boto3.Session(key, password, region_name="us-east-1")
    return lambda service: connection.client(service, endpoint_url=strict.endpoint_url)


@pytest.fixture(scope="module")
def root(strict: LocalAws) -> Callable[[str], Any]:
    names = strict.environment()
    return session(strict, names["AWS_ACCESS_KEY_ID"], names["AWS_SECRET_ACCESS_KEY"])


@pytest.fixture
def allowed(strict: LocalAws, root: Callable[[str], Any]) -> As:
    """Act as a new user who may do what is named, and nothing else."""
    iam = root("iam")

    def act(*statements: tuple[str, str]) -> Callable[[str], Any]:
        name = f"user-{len(iam.list_users()['Users'])}"
        iam.create_user(UserName=name)
        document = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": action, "Resource": on} for action, on in statements],
        }
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return session(strict, key["AccessKeyId"], key["SecretAccessKey"])

    return act


@pytest.fixture(scope="module")
def domain(root: Callable[[str], Any]) -> str:
    s3 = root("s3")
    s3.create_bucket(Bucket="truststores")
    s3.put_bucket_versioning(Bucket="truststores", VersioningConfiguration={"Status": "Enabled"})
    over_tls = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [_OBJECT, "arn:aws:s3:::truststores"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }  # fmt: skip
    policy = {"Version": "2012-10-17", "Statement": [over_tls]}
    s3.put_bucket_policy(Bucket="truststores", Policy=json.dumps(policy))
    put = s3.put_object(Bucket="truststores", Key="truststore.pem", Body=make("CA", ca=True).pem.encode())
    truststore = {"truststoreUri": "s3://truststores/truststore.pem", "truststoreVersion": put["VersionId"]}
    root("apigateway").create_domain_name(
        domainName=_DOMAIN, endpointConfiguration={"types": ["REGIONAL"]}, mutualTlsAuthentication=truststore
    )
    return str(put["VersionId"])


def test_who_may_list_secrets_may_not_read_them(root: Callable[[str], Any], allowed: As) -> None:
    root("secretsmanager").create_secret(Name="s", SecretString="x")
    secrets = allowed(("secretsmanager:ListSecrets", "*"))("secretsmanager")
    assert [entry["Name"] for entry in secrets.list_secrets()["SecretList"]] == ["s"]
    for call in (
        secrets.get_secret_value,
        secrets.describe_secret,
        secrets.rotate_secret,
        secrets.cancel_rotate_secret,
    ):
        with pytest.raises(ClientError) as caught:
            call(SecretId="s")
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


def test_updating_a_domain_needs_its_own_permission_and_that_to_read_the_truststore(domain: str, allowed: As) -> None:
    patch = ("apigateway:PATCH", f"arn:aws:apigateway:us-east-1::/domainnames/{_DOMAIN}")
    operations = [{"op": "replace", "path": "/mutualTlsAuthentication/truststoreVersion", "value": domain}]
    arguments = {"domainName": _DOMAIN, "patchOperations": operations}
    read = ("s3:GetObjectVersion", _OBJECT)
    for statements, code in (([read], "AccessDeniedException"), ([patch], "BadRequestException")):
        with pytest.raises(ClientError) as caught:
            allowed(*statements)("apigateway").update_domain_name(**arguments)
        assert caught.value.response["Error"]["Code"] == code
    assert allowed(patch, read)("apigateway").update_domain_name(**arguments)["domainNameStatus"] == "UPDATING"


def test_the_loopback_endpoint_counts_as_tls_for_policies(domain: str, root: Callable[[str], Any]) -> None:
    assert root("s3").get_object(Bucket="truststores", Key="truststore.pem")["VersionId"] == domain


def test_a_policy_may_limit_the_sources_of_events(root: Callable[[str], Any], allowed: As) -> None:
    iam = root("iam")
    events = allowed(("events:ListRules", "*"))("events")
    (user,) = [user["UserName"] for user in iam.list_users()["Users"]][-1:]
    only = {"StringEquals": {"events:source": "ours"}}
    statement = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*", "Condition": only}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_user_policy(UserName=user, PolicyName="events", PolicyDocument=json.dumps(document))
    entry = {"Source": "ours", "DetailType": "t", "Detail": "{}"}
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
    for entries in ([entry | {"Source": "theirs"}], [entry, entry | {"Source": "theirs"}]):
        with pytest.raises(ClientError, match="AccessDenied"):
            events.put_events(Entries=entries)


def test_a_batch_call_of_sqs_needs_the_action_of_the_single_call(root: Callable[[str], Any], allowed: As) -> None:
    url = root("sqs").create_queue(QueueName="batches")["QueueUrl"]
    entries = [{"Id": "1", "MessageBody": "x"}]
    assert allowed(("sqs:SendMessage", "*"))("sqs").send_message_batch(QueueUrl=url, Entries=entries)["Successful"]
    with pytest.raises(ClientError, match="AccessDenied"):
        allowed(("sqs:ReceiveMessage", "*"))("sqs").send_message_batch(QueueUrl=url, Entries=entries)
