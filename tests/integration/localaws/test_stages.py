from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from localaws import LocalAws
from localaws.cloudformation import stages
from tests.integration.localaws.conftest import Ask, Client, Deploy, Json
from tests.integration.localaws.support import wait_until

_ROLE = "arn:aws:iam::123456789012:role/logs"
_REFUSED = "CloudWatch Logs role ARN must be set in account settings to enable logging"
_FORMAT = {
    "requestId": "$context.requestId",
    "ip": "$context.identity.sourceIp",
    "user": "$context.identity.userArn",
    "subject": "$context.identity.clientCert.subjectDN",
    "issuer": "$context.identity.clientCert.issuerDN",
    "serial": "$context.identity.clientCert.serialNumber",
    "from": "$context.identity.clientCert.validity.notBefore",
    "until": "$context.identity.clientCert.validity.notAfter",
    "method": "$context.httpMethod",
    "path": "$context.path",
    "resource": "$context.resourcePath",
    "protocol": "$context.protocol",
    "status": "$context.status",
    "length": "$context.responseLength",
    "time": "$context.requestTime",
    "error": "$context.error.message",
    "type": "$context.error.responseType",
    "domain": "$context.domainName",
    "answered": "$context.integration.status",
    "unknown": "$context.unknown.$context.authorizer.unknown",
}


@pytest.fixture
def may_log(gateway: Any) -> Iterator[None]:
    """The account has a role for logs."""
    gateway.update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": _ROLE}])
    yield
    gateway.update_account(patchOperations=[{"op": "replace", "path": "/cloudwatchRoleArn", "value": ""}])


@pytest.fixture
def log_group(client: Client) -> str:
    name = f"access-{uuid.uuid4().hex[:8]}"
    client("logs").create_log_group(logGroupName=name)
    return name


def log_to(group: str, template: str = json.dumps(_FORMAT)) -> list[Json]:
    destination = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}"
    return [
        {"op": "replace", "path": "/accessLogSettings/destinationArn", "value": destination},
        {"op": "replace", "path": "/accessLogSettings/format", "value": template},
    ]


@pytest.fixture
def lines(client: Client, gateway: Any, proxy_api: str, log_group: str, may_log: None) -> Iterator[Callable[[], Any]]:
    """The access log of the API."""
    stage = {"restApiId": proxy_api, "stageName": "live"}
    gateway.update_stage(**stage, patchOperations=log_to(log_group))

    def logged() -> list[Json]:
        events = client("logs").filter_log_events(logGroupName=log_group)["events"]
        return [json.loads(event["message"]) for event in events]

    yield lambda: wait_until(logged)
    gateway.update_stage(**stage, patchOperations=[{"op": "remove", "path": "/accessLogSettings"}])


def test_a_request_is_a_line_in_the_stages_access_log(ask: Ask, lines: Callable[[], Any]) -> None:
    _, headers, body = ask("POST", "/proxy/a/b%20c?x=1", [], b"body")
    event = json.loads(body)
    (line,) = lines()
    certificate = event["requestContext"]["identity"].get("clientCert")
    assert (certificate is None) == event["requestContext"]["domainName"].endswith(".amazonaws.com")
    assert line == {
        "requestId": headers["x-amzn-RequestId"],
        "ip": "127.0.0.1",
        "user": "-",
        "subject": certificate["subjectDN"] if certificate else "-",
        "issuer": certificate["issuerDN"] if certificate else "-",
        "serial": certificate["serialNumber"] if certificate else "-",
        "from": certificate["validity"]["notBefore"] if certificate else "-",
        "until": certificate["validity"]["notAfter"] if certificate else "-",
        "method": "POST",
        "path": event["requestContext"]["path"],
        "resource": "/proxy/{route}/{path+}",
        "protocol": "HTTP/1.1",
        "status": "200",
        "length": str(len(body)),
        "time": event["requestContext"]["requestTime"],
        "error": "-",
        "type": "-",
        "domain": event["requestContext"]["domainName"],
        "answered": "200",
        "unknown": "-.-",
    }
    assert re.fullmatch(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000", line["time"])


def test_what_api_gateway_answers_itself_is_in_the_access_log_with_its_error(
    ask: Ask, lines: Callable[[], Any]
) -> None:
    assert ask("GET", "/nowhere")[0] == 403
    (line,) = lines()
    assert (line["status"], line["error"], line["type"]) == (
        "403",
        "Missing Authentication Token",
        "MISSING_AUTHENTICATION_TOKEN",
    )


def test_a_stage_does_not_log_while_the_account_has_no_role(gateway: Any, proxy_api: str, log_group: str) -> None:
    for operations in (log_to(log_group), [{"op": "replace", "path": "/*/*/logging/loglevel", "value": "ERROR"}]):
        with pytest.raises(ClientError, match=_REFUSED) as refused:
            gateway.update_stage(restApiId=proxy_api, stageName="live", patchOperations=operations)
        assert refused.value.response["Error"]["Code"] == "BadRequestException"
    assert not gateway.get_stage(restApiId=proxy_api, stageName="live").get("accessLogSettings")


@pytest.mark.parametrize(
    ("group", "template", "complaint"),
    [
        ("group:*", "$context.requestId", "Invalid ARN"),
        ("group", "$context.requestId\n$context.status", "must be single line"),
        ("group", "$context.status", "must include"),
    ],
)
def test_settings_of_access_logs_that_aws_would_not_take_are_refused(
    gateway: Any, proxy_api: str, may_log: None, group: str, template: str, complaint: str
) -> None:
    with pytest.raises(ClientError, match=complaint):
        gateway.update_stage(restApiId=proxy_api, stageName="live", patchOperations=log_to(group, template))


def stack(deployment: str = "D", **stage: Any) -> dict[str, Json]:
    """Return an API with one stage, whose account may log, and a web ACL."""
    visible = {"CloudWatchMetricsEnabled": False, "MetricName": "m", "SampledRequestsEnabled": False}
    of = {"RestApiId": {"Ref": "Api"}}
    acl = {"Scope": "REGIONAL", "DefaultAction": {"Allow": {}}, "VisibilityConfig": visible, "Rules": []}
    return {
        "Account": {"Type": "AWS::ApiGateway::Account", "Properties": {"CloudWatchRoleArn": _ROLE}},
        "Group": {"Type": "AWS::Logs::LogGroup", "Properties": {}},
        "Api": {"Type": "AWS::ApiGateway::RestApi", "Properties": {"Name": "t", "Body": _BODY}},
        deployment: {"Type": "AWS::ApiGateway::Deployment", "Properties": of},
        "Stage": {
            "Type": stages.TYPE,
            "DependsOn": "Account",
            "Properties": of | {"StageName": "live", "DeploymentId": {"Ref": deployment}} | stage,
        },
        "Acl": {"Type": "AWS::WAFv2::WebACL", "Properties": acl},
        "Other": {"Type": "AWS::WAFv2::WebACL", "Properties": acl},
    }


_BODY = {
    "openapi": "3.0.1",
    "info": {"title": "t", "version": "1"},
    "paths": {
        "/": {
            "get": {
                "x-amazon-apigateway-integration": {
                    "type": "mock",
                    "requestTemplates": {"application/json": '{"statusCode": 200}'},
                    "responses": {"default": {"statusCode": "200"}},
                }
            }
        }
    },
}
_LOGGING: Json = {
    "AccessLogSetting": {"DestinationArn": {"Fn::GetAtt": ["Group", "Arn"]}, "Format": "$context.requestId"}
}


def settings(**values: Any) -> Json:
    return {"MethodSettings": [{"ResourcePath": "/*", "HttpMethod": "*"} | values]}


def test_a_stage_of_a_template_has_its_access_log_and_method_settings_until_they_are_taken_out(
    deploy: Deploy, gateway: Any
) -> None:
    throttled = settings(ThrottlingRateLimit=5, ThrottlingBurstLimit=2, LoggingLevel="ERROR")
    made = deploy(**stack(**_LOGGING, **throttled))
    stage = gateway.get_stage(restApiId=made["Api"], stageName="live")
    assert stage["accessLogSettings"]["format"] == "$context.requestId"
    assert stage["accessLogSettings"]["destinationArn"].endswith(f":log-group:{made['Group']}")
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 5
    assert stage["methodSettings"]["*/*"]["loggingLevel"] == "ERROR"

    deploy(**stack("Next", **_LOGGING, **settings(ThrottlingBurstLimit=9)))
    stage = gateway.get_stage(restApiId=made["Api"], stageName="live")
    assert "accessLogSettings" in stage
    assert stage["methodSettings"]["*/*"]["throttlingBurstLimit"] == 9
    assert stage["methodSettings"]["*/*"]["loggingLevel"] == "OFF"

    deploy(**stack("Next"))
    stage = gateway.get_stage(restApiId=made["Api"], stageName="live")
    assert not stage.get("accessLogSettings")
    assert not stage.get("methodSettings")


def test_the_account_of_a_template_has_its_role_until_it_is_taken_out(deploy: Deploy, gateway: Any) -> None:
    deploy(**stack())
    assert gateway.get_account()["cloudwatchRoleArn"] == _ROLE
    moved = {"Type": "AWS::ApiGateway::Account", "Properties": {"CloudWatchRoleArn": f"{_ROLE}-2"}}
    deploy(**stack() | {"Account": moved})
    assert gateway.get_account()["cloudwatchRoleArn"] == f"{_ROLE}-2"
    deploy(**stack() | {"Account": {"Type": "AWS::ApiGateway::Account", "Properties": {}}})
    assert not gateway.get_account().get("cloudwatchRoleArn")


def test_an_account_that_has_no_api_is_given_no_role(aws: LocalAws) -> None:
    names = aws.environment()
    elsewhere: Any = boto3.Session(
        names["AWS_ACCESS_KEY_ID"], names["AWS_SECRET_ACCESS_KEY"], region_name="eu-central-1"
    ).client("cloudformation", endpoint_url=aws.endpoint_url)
    account = {"Type": "AWS::ApiGateway::Account", "Properties": {"CloudWatchRoleArn": _ROLE}}
    stack_id = elsewhere.create_stack(StackName="lonely", TemplateBody=json.dumps({"Resources": {"Account": account}}))[
        "StackId"
    ]

    def failed() -> bool:
        return bool(elsewhere.describe_stacks(StackName=stack_id)["Stacks"][0]["StackStatus"] == "ROLLBACK_COMPLETE")

    wait_until(failed)
    elsewhere.delete_stack(StackName=stack_id)


def test_a_stage_that_logs_fails_while_the_account_has_no_role(deploy: Deploy) -> None:
    without = stack(**_LOGGING) | {"Account": {"Type": "AWS::ApiGateway::Account", "Properties": {}}}
    assert _REFUSED in deploy("ROLLBACK_COMPLETE", **without)["reasons"]


def test_a_web_acl_is_associated_with_a_stage_by_a_template(deploy: Deploy, client: Client) -> None:
    waf = client("wafv2")

    def association(acl: str) -> Json:
        arn = {"Fn::Sub": "arn:${AWS::Partition}:apigateway:${AWS::Region}::/restapis/${Api}/stages/${Stage}"}
        properties = {"ResourceArn": arn, "WebACLArn": {"Fn::GetAtt": [acl, "Arn"]}}
        return {"Association": {"Type": "AWS::WAFv2::WebACLAssociation", "Properties": properties}}

    def associated() -> str | None:
        try:
            name: str = waf.get_web_acl_for_resource(ResourceArn=arn)["WebACL"]["Name"]
        except waf.exceptions.WAFNonexistentItemException:
            return None
        return name

    made = deploy(**stack(), **association("Acl"))
    arn = f"arn:aws:apigateway:us-east-1::/restapis/{made['Api']}/stages/live"
    assert associated() == made["Acl"].partition("|")[0]
    moved = deploy(**stack(), **association("Other"))
    assert associated() == moved["Other"].partition("|")[0]
    deploy(**stack())
    assert associated() is None


def test_a_web_acl_is_not_associated_with_a_stage_that_does_not_exist(deploy: Deploy) -> None:
    arn = "arn:aws:apigateway:us-east-1::/restapis/00000000/stages/live"
    properties = {"ResourceArn": arn, "WebACLArn": {"Fn::GetAtt": ["Acl", "Arn"]}}
    association = {"Association": {"Type": "AWS::WAFv2::WebACLAssociation", "Properties": properties}}
    assert "WAFNonexistentItemException" in deploy("ROLLBACK_COMPLETE", **stack(), **association)["reasons"]
