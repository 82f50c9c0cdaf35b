from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from localaws import LocalAws
from tests.integration.localaws.conftest import HELLO, Client, Deploy, Json
from tests.integration.localaws.support import Certificate, fetch, make, wait_until

_ENDPOINT = {"disableExecuteApiEndpoint": True}


def secret(**properties: Any) -> Json:
    return {"Type": "AWS::SecretsManager::Secret", "Properties": properties}


def schedule(rotator: str, of: str = "Secret", **properties: Any) -> Json:
    basic = {"SecretId": {"Ref": of}, "RotationLambdaARN": rotator, "RotationRules": {"AutomaticallyAfterDays": 30}}
    return {"Type": "AWS::SecretsManager::RotationSchedule", "Properties": basic | properties}


def test_a_secret_is_referred_to_by_its_arn_and_without_a_value_has_no_version(deploy: Deploy, secrets: Any) -> None:
    outputs = deploy(Empty=secret(Description="x"), Filled=secret(SecretString="v"))
    assert outputs["Empty"].startswith("arn:aws:secretsmanager:")
    assert "VersionIdsToStages" not in secrets.describe_secret(SecretId=outputs["Empty"])
    assert secrets.get_secret_value(SecretId=outputs["Filled"])["SecretString"] == "v"


def test_a_secret_keeps_its_identity_and_its_value_when_its_template_changes(deploy: Deploy, secrets: Any) -> None:
    before = deploy(Secret=secret(Description="one"))["Secret"]
    secrets.put_secret_value(SecretId=before, SecretString="by hand")
    after = deploy(Secret=secret(Description="two"))["Secret"]
    assert after == before
    assert secrets.describe_secret(SecretId=after)["Description"] == "two"
    assert secrets.get_secret_value(SecretId=after)["SecretString"] == "by hand"


def test_a_name_of_a_secret_that_is_taken_makes_none_and_leaves_what_has_it_alone(deploy: Deploy, secrets: Any) -> None:
    name = f"kept-{uuid.uuid4().hex[:8]}"
    arn = secrets.create_secret(Name=name, SecretString="kept")["ARN"]
    failed = deploy("ROLLBACK_COMPLETE", Secret=secret(Name=name, SecretString="new"))

    assert f"the secret {name} already exists" in failed["reasons"]
    assert secrets.get_secret_value(SecretId=arn)["SecretString"] == "kept"


def test_a_name_of_a_secret_that_waits_for_its_deletion_makes_none(deploy: Deploy, secrets: Any) -> None:
    name = f"going-{uuid.uuid4().hex[:8]}"
    arn = secrets.create_secret(Name=name, SecretString="kept")["ARN"]
    secrets.delete_secret(SecretId=arn, RecoveryWindowInDays=7)
    failed = deploy("ROLLBACK_COMPLETE", Secret=secret(Name=name))

    assert "a secret with this name is already scheduled for deletion" in failed["reasons"]
    secrets.restore_secret(SecretId=arn)
    assert secrets.get_secret_value(SecretId=arn)["SecretString"] == "kept"


def test_a_secret_is_imported_by_its_arn_with_its_value(client: Client, secrets: Any) -> None:
    stacks, name = client("cloudformation"), f"import-{uuid.uuid4().hex[:8]}"
    arn = secrets.create_secret(Name=name, SecretString="kept")["ARN"]

    def asked(identifier: str) -> str:
        change_set: str = stacks.create_change_set(
            StackName=name,
            ChangeSetName=f"s{uuid.uuid4().hex[:8]}",
            ChangeSetType="IMPORT",
            TemplateBody=json.dumps({"Resources": {"Kept": secret(Name=name) | {"DeletionPolicy": "Retain"}}}),
            ResourcesToImport=[
                {
                    "ResourceType": "AWS::SecretsManager::Secret",
                    "LogicalResourceId": "Kept",
                    "ResourceIdentifier": {"Id": identifier},
                }
            ],
        )["Id"]
        return change_set

    missing = stacks.describe_change_set(StackName=name, ChangeSetName=asked(f"{arn}x"))
    assert (missing["Status"], f"{arn}x" in missing["StatusReason"]) == ("FAILED", True)
    stacks.execute_change_set(StackName=name, ChangeSetName=asked(arn))
    wait_until(lambda: stacks.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "IMPORT_COMPLETE")
    (kept,) = stacks.describe_stack_resources(StackName=name)["StackResources"]
    assert kept["PhysicalResourceId"] == arn
    stacks.delete_stack(StackName=name)
    assert secrets.get_secret_value(SecretId=arn)["SecretString"] == "kept"


def test_a_key_that_is_to_be_kept_goes_with_the_stack_that_could_not_be_made(deploy: Deploy, client: Client) -> None:
    tag = uuid.uuid4().hex
    key = {
        "Type": "AWS::KMS::Key",
        "DeletionPolicy": "RetainExceptOnCreate",
        "Properties": {"Description": tag, "KeyPolicy": {"Version": "2012-10-17", "Statement": []}},
    }
    hosted: Json = {"HostedRotationLambda": {"RotationType": "PostgreSQLSingleUser"}}
    broken = schedule("arn:aws:lambda:us-east-1:123456789012:function:x", **hosted) | {"DependsOn": "Key"}
    deploy("ROLLBACK_COMPLETE", Key=key, Secret=secret(SecretString="v"), Schedule=broken)
    keys = client("kms")
    described = [keys.describe_key(KeyId=it["KeyId"])["KeyMetadata"] for it in keys.list_keys()["Keys"]]

    assert [it["KeyState"] for it in described if it["Description"] == tag] == ["PendingDeletion"]


def test_a_rotation_schedule_rotates_at_once_and_is_referred_to_by_the_secrets_arn(
    deploy: Deploy, secrets: Any, rotator: str, runs_of: Callable[..., Any]
) -> None:
    outputs = deploy(Secret=secret(SecretString="first"), Schedule=schedule(rotator))
    assert outputs["Schedule"] == outputs["Secret"]
    (run,) = runs_of(outputs["Secret"])
    assert run.error is None
    assert secrets.get_secret_value(SecretId=outputs["Secret"])["VersionId"] == run.version_id


def test_a_rotation_schedule_can_wait_and_its_removal_cancels_the_rotation(
    deploy: Deploy, secrets: Any, rotator: str, runs_of: Callable[..., Any]
) -> None:
    resources = {"Secret": secret(SecretString="first")}
    arn = deploy(**resources, Schedule=schedule(rotator, RotateImmediatelyOnUpdate=False))["Secret"]
    (run,) = runs_of(arn)
    assert (run.trigger, list(run.steps)) == ("test", ["testSecret"])
    assert secrets.describe_secret(SecretId=arn)["RotationRules"] == {"AutomaticallyAfterDays": 30}
    deploy(**resources)
    assert secrets.describe_secret(SecretId=arn)["RotationEnabled"] is False


def test_a_hosted_rotation_function_is_refused_clearly(deploy: Deploy, rotator: str) -> None:
    hosted = schedule(rotator, HostedRotationLambda={"RotationType": "PostgreSQLSingleUser"})
    reasons = deploy("ROLLBACK_COMPLETE", Secret=secret(SecretString="v"), Schedule=hosted)["reasons"]
    assert "HostedRotationLambda is not supported" in reasons


def test_a_schedule_for_a_function_without_permission_fails(deploy: Deploy, make_function: Callable[..., str]) -> None:
    outputs = deploy("ROLLBACK_COMPLETE", Secret=secret(), Schedule=schedule(make_function("")))
    assert "cannot invoke the specified Lambda function" in outputs["reasons"]


_VERSION = "/mutualTlsAuthentication/truststoreVersion"
_OTHER_CERTIFICATE = "arn:aws:acm:::certificate/y"
type Truststores = Callable[..., tuple[str, str]]


def domain(name: str, truststore: tuple[str, str | None], **properties: Any) -> Json:
    uri, version = truststore
    mutual_tls = {"TruststoreUri": uri} | ({"TruststoreVersion": version} if version else {})
    basic = {
        "DomainName": name,
        "EndpointConfiguration": {"Types": ["REGIONAL"]},
        "SecurityPolicy": "TLS_1_2",
        "RegionalCertificateArn": "arn:aws:acm:::certificate/x",
        "MutualTlsAuthentication": mutual_tls,
    }
    return {"Type": "AWS::ApiGateway::DomainName", "Properties": basic | properties}


def moved_by_hand(gateway: Any, name: str, version: str) -> None:
    operations = [{"op": "replace", "path": _VERSION, "value": version}]
    gateway.update_domain_name(domainName=name, patchOperations=operations)
    wait_until(lambda: gateway.get_domain_name(domainName=name)["domainNameStatus"] == "AVAILABLE")


@pytest.mark.parametrize("reading", ["all", "changes"])
@pytest.mark.parametrize("names_version", [True, False])
def test_a_stack_update_sends_all_of_a_domain_or_what_the_template_changes(
    deploy: Deploy,
    gateway: Any,
    truststores: Truststores,
    ca: Certificate,
    settings: Callable[..., object],
    reading: str,
    names_version: bool,
) -> None:
    """Of a version that the template does not name, all is the latest."""
    settings(cloudformation_patches=reading, cloudformation_waits_for_domains=True)
    name, (uri, first) = f"{uuid.uuid4().hex[:8]}.example.com", truststores(ca, key="stack.pem")
    truststore = (uri, first if names_version else None)
    deploy(Domain=domain(name, truststore))
    _, moved = truststores(ca, make("next", ca=True), key="stack.pem")
    moved_by_hand(gateway, name, moved)
    deploy(Domain=domain(name, truststore, RegionalCertificateArn=_OTHER_CERTIFICATE))

    shown = gateway.get_domain_name(domainName=name)
    after = {"changes": moved, "all": first if names_version else None}[reading]
    assert shown["mutualTlsAuthentication"].get("truststoreVersion") == after
    assert shown["regionalCertificateArn"] == _OTHER_CERTIFICATE


def test_a_stack_update_of_tags_alone_sends_no_update(
    deploy: Deploy, gateway: Any, truststores: Truststores, ca: Certificate
) -> None:
    name, first = f"{uuid.uuid4().hex[:8]}.example.com", truststores(ca, key="stack.pem")
    deploy(Domain=domain(name, first))
    _, moved = truststores(ca, make("next", ca=True), key="stack.pem")
    moved_by_hand(gateway, name, moved)
    deploy(Domain=domain(name, first, Tags=[{"Key": "a", "Value": "b"}]))
    shown = gateway.get_domain_name(domainName=name)
    assert shown["mutualTlsAuthentication"]["truststoreVersion"] == moved
    assert shown["tags"]["a"] == "b"


def test_a_stack_update_of_the_truststore_goes_through_updatedomainname(
    deploy: Deploy, gateway: Any, truststores: Truststores, ca: Certificate
) -> None:
    name, first = f"{uuid.uuid4().hex[:8]}.example.com", truststores(ca, key="stack.pem")
    deploy(Domain=domain(name, first))
    second = truststores(ca, make("next", ca=True), key="stack.pem")
    deploy(Domain=domain(name, second))
    wait_until(lambda: gateway.get_domain_name(domainName=name)["domainNameStatus"] == "AVAILABLE")
    assert gateway.get_domain_name(domainName=name)["mutualTlsAuthentication"]["truststoreVersion"] == second[1]


@pytest.mark.parametrize(("cause", "code"), [("rate", "TooManyRequestsException"), ("updating", "ConflictException")])
@pytest.mark.parametrize("waits", [True, False])
def test_a_domain_that_takes_no_update_fails_the_stack_or_is_waited_for(
    deploy: Deploy,
    gateway: Any,
    truststores: Truststores,
    ca: Certificate,
    settings: Callable[..., object],
    cause: str,
    code: str,
    waits: bool,
) -> None:
    settings(cloudformation_waits_for_domains=waits)
    name, first = f"{uuid.uuid4().hex[:8]}.example.com", truststores(ca, key="stack.pem")
    deploy(Domain=domain(name, first))
    if cause == "updating":
        settings(domain_update_time=timedelta(seconds=2))
    operations = [{"op": "replace", "path": _VERSION, "value": first[1]}]
    gateway.update_domain_name(domainName=name, patchOperations=operations)
    if cause == "rate":
        settings(domain_update_interval=timedelta(seconds=2))
        wait_until(lambda: gateway.get_domain_name(domainName=name)["domainNameStatus"] == "AVAILABLE")
    changed = domain(name, first, RegionalCertificateArn=_OTHER_CERTIFICATE)
    outputs = deploy("COMPLETE" if waits else "UPDATE_ROLLBACK_COMPLETE", Domain=changed)

    assert (code in outputs["reasons"]) is not waits
    certificate = gateway.get_domain_name(domainName=name)["regionalCertificateArn"]
    assert (certificate == _OTHER_CERTIFICATE) is waits


def test_a_rollback_sends_a_domain_back_to_what_the_stack_had(
    deploy: Deploy, gateway: Any, truststores: Truststores, ca: Certificate, settings: Callable[..., object]
) -> None:
    """The truststore version before among it, if the template names one."""
    settings(cloudformation_waits_for_domains=True)
    name, first = f"{uuid.uuid4().hex[:8]}.example.com", truststores(ca, key="stack.pem")
    deploy(Domain=domain(name, first))
    second = truststores(ca, make("next", ca=True), key="stack.pem")
    fails = {"Type": "AWS::SecretsManager::RotationSchedule", "Properties": {"SecretId": {"Ref": "Domain"}}}
    deploy("UPDATE_ROLLBACK_COMPLETE", Domain=domain(name, second), Fails=fails)
    assert gateway.get_domain_name(domainName=name)["mutualTlsAuthentication"]["truststoreVersion"] == first[1]


def test_a_stack_tells_of_its_status_on_the_bus(deploy: Deploy, client: Client) -> None:
    queue = client("sqs").create_queue(QueueName=f"q-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {
        "source": ["aws.cloudformation"],
        "detail-type": ["CloudFormation Stack Status Change"],
        "detail": {"status-details": {"status": ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"]}},
    }
    client("events").put_rule(Name="stacks", EventPattern=json.dumps(pattern))
    client("events").put_targets(Rule="stacks", Targets=[{"Id": "queue", "Arn": arn}])
    deploy(Secret=secret(SecretString="v"))
    deploy(Secret=secret(SecretString="w"))
    deploy("UPDATE_ROLLBACK_COMPLETE", Secret=secret(SecretString="v"), Schedule=schedule("arn:aws:lambda:::no"))

    def told() -> Any:
        answer = client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        found.extend(json.loads(it["Body"])["detail"]["status-details"]["status"] for it in answer.get("Messages", []))
        return found if len(found) >= 3 else None

    found: list[str] = []
    assert sorted(wait_until(told)) == ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"]
    client("events").remove_targets(Rule="stacks", Ids=["queue"])
    client("events").delete_rule(Name="stacks")


def test_a_domain_without_its_truststore_fails(deploy: Deploy) -> None:
    missing = domain(f"{uuid.uuid4().hex[:8]}.example.com", ("s3://truststores/none.pem", "v"))
    assert "truststore cannot be read" in deploy("ROLLBACK_COMPLETE", Domain=missing)["reasons"]


def api(body: Json) -> dict[str, Json]:
    """Return the resources of an API that is deployed under a new name with each body."""
    revision = uuid.uuid4().hex[:8]
    return {
        "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Body": body, "Name": "t"}},
        f"D{revision}": {"Type": "AWS::ApiGateway::Deployment", "Properties": {"RestApiId": {"Ref": "Api"}}},
        "Stage": {
            "Type": "AWS::ApiGateway::Stage",
            "Properties": {
                "RestApiId": {"Ref": "Api"}, "StageName": "live", "DeploymentId": {"Ref": f"D{revision}"},
            },
        },
    }  # fmt: skip


def mock(answer: str, verb: str = "get") -> Json:
    """Return a path item with a mock integration, written as AWS documents it."""
    return {
        verb: {
            "responses": {"200": {"description": "ok"}},
            "x-amazon-apigateway-integration": {
                "type": "mock",
                "requestTemplates": {"application/json": '{"statusCode": 200}'},
                "responses": {"default": {"statusCode": "200", "responseTemplates": {"application/json": answer}}},
            },
        }
    }


def served(aws: LocalAws, gateway: Any, api_id: str, path: str = "/") -> tuple[int, str]:
    """Ask for a path through a domain of its own."""
    name = f"{uuid.uuid4().hex[:8]}.example.com"
    gateway.create_domain_name(domainName=name, endpointConfiguration={"types": ["REGIONAL"]})
    try:
        gateway.create_base_path_mapping(domainName=name, restApiId=api_id, stage="live")
        return fetch(aws.front_door, name, path=path)
    finally:
        gateway.delete_domain_name(domainName=name)


def test_a_mock_integration_in_openapi_answers_its_template(deploy: Deploy, aws: LocalAws, gateway: Any) -> None:
    body = {"openapi": "3.0.1", "info": {"title": "t", "version": "1"}, "paths": {"/": mock(HELLO)}}
    assert served(aws, gateway, deploy(**api(body))["Api"]) == (200, HELLO)


def test_any_method_in_openapi_answers(deploy: Deploy, aws: LocalAws, gateway: Any) -> None:
    paths = {"/": mock(HELLO), "/all/{proxy+}": mock('{"any": 1}', "x-amazon-apigateway-any-method")}
    body = {"openapi": "3.0.1", "info": {"title": "t", "version": "1"}, "paths": paths}
    assert served(aws, gateway, deploy(**api(body))["Api"], "/all/of/it") == (200, '{"any": 1}')


@pytest.mark.parametrize(
    "where",
    [
        {"x-amazon-apigateway-endpoint-configuration": _ENDPOINT},
        {"servers": [{"x-amazon-apigateway-endpoint-configuration": _ENDPOINT}]},
    ],
    ids=["top", "servers"],
)
def test_the_default_endpoint_can_be_disabled_in_openapi(deploy: Deploy, gateway: Any, where: Json) -> None:
    body = {"openapi": "3.0.1", "info": {"title": "t", "version": "1"}, "paths": {"/": mock(HELLO)}} | where
    api_id = deploy(**api(body))["Api"]
    assert gateway.get_rest_api(restApiId=api_id)["disableExecuteApiEndpoint"] is True


def test_a_changed_body_keeps_the_api_and_answers_anew(deploy: Deploy, aws: LocalAws, gateway: Any) -> None:
    body = {"openapi": "3.0.1", "info": {"title": "t", "version": "1"}, "paths": {"/": mock('{"n": 1}')}}
    before = deploy(**api(body))["Api"]
    after = deploy(**api(body | {"paths": {"/": mock('{"n": 2}')}}))["Api"]
    assert after == before
    assert served(aws, gateway, after) == (200, '{"n": 2}')
