from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localaws import LocalAws
from tests.integration.localaws.conftest import Client, Deploy, Json
from tests.integration.localaws.support import Answered, send, wait_until

_AUTHORIZER = """
import json
def handler(event, context):
    told = event["headers"].get("x-told", "Allow")
    if told == "raise":
        raise RuntimeError("told to")
    if told == "nonsense":
        return {"principalId": "client"}
    contexts = {"Large": {"much": "x" * 6000}, "TooLarge": {"much": "x" * 8192}}
    told = "Allow" if told in contexts else told
    statement = {"Effect": told, "Action": "execute-api:Invoke", "Resource": event["methodArn"]}
    return {
        "principalId": "client",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": contexts.get(event["headers"].get("x-told"))
        or {"reason": "told to", "number": 7, "flag": True, "event": json.dumps(event), "none": None},
    }
"""
_ECHO = """
import json
def handler(event, context):
    return {"statusCode": 200, "body": json.dumps(event)}
"""
_SAM = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Parameters": {"Inside": {"Type": "String", "Default": "no"}},
    "Conditions": {"HasInside": {"Fn::Equals": [{"Ref": "Inside"}, "yes"]}},
}
_PROBLEM = '{"title":"Forbidden","detail":"$context.authorizer.reason","instance":"$context.requestId"}'
_RESPONSES: Json = {
    "AUTHORIZER_FAILURE": {"statusCode": "503"},
    "ACCESS_DENIED": {
        "statusCode": "403",
        "responseParameters": {"gatewayresponse.header.Cache-Control": "'no-store'"},
        "responseTemplates": {"application/problem+json": _PROBLEM},
    },
    "THROTTLED": {
        "statusCode": "429",
        "responseParameters": {"gatewayresponse.header.content-type": "'application/problem+json'"},
        "responseTemplates": {"application/json": '{"title":$context.error.messageString}'},
    },
}


@pytest.fixture(scope="session")
def functions(make_function: Callable[..., str]) -> tuple[str, str]:
    """The authorizer, and the function behind the API."""
    by_api_gateway = "apigateway.amazonaws.com"
    return make_function(_AUTHORIZER, by_api_gateway), make_function(_ECHO, by_api_gateway)


def uri(function: str) -> str:
    return f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"


@pytest.fixture
def gateway_of(functions: tuple[str, str]) -> Callable[..., dict[str, Json]]:
    """Return the resources of a gateway as SAM has them: with an authorizer, and paths for signed requests."""
    authorizer, function = functions
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri(function)}

    def operation(scheme: str) -> Json:
        return {"security": [{scheme: []}], "x-amazon-apigateway-integration": integration}

    def resources(responses: Json = _RESPONSES, further: Json | None = None, **properties: Any) -> dict[str, Json]:
        anyone = {"x-amazon-apigateway-integration": integration, "x-amazon-apigateway-auth": {"type": "AWS_IAM"}}
        inside = {"x-amazon-apigateway-any-method": operation("sigv4")}
        paths = {
            "/proxy/{route}/{path+}": {"x-amazon-apigateway-any-method": operation("clients")},
            "/signed": {"get": anyone},
            "/inside/{path+}": {"Fn::If": ["HasInside", inside, {"Ref": "AWS::NoValue"}]},
        }
        schemes = {
            "clients": {
                "type": "apiKey",
                "name": "Unused",
                "in": "header",
                "x-amazon-apigateway-authtype": "custom",
                "x-amazon-apigateway-authorizer": {
                    "type": "request",
                    "identitySource": "",
                    "authorizerUri": uri(authorizer),
                    "authorizerResultTtlInSeconds": 0,
                },
            },
            "sigv4": {
                "type": "apiKey",
                "name": "Authorization",
                "in": "header",
                "x-amazon-apigateway-authtype": "awsSigv4",
            },
        }
        body = {
            "openapi": "3.0.1",
            "info": {"title": "gateway", "version": "1"},
            "paths": paths | (further or {}),
            "components": {"securitySchemes": schemes},
            "x-amazon-apigateway-binary-media-types": ["*/*"],
            "x-amazon-apigateway-gateway-responses": responses,
        }
        basic = {"StageName": "live", "OpenApiVersion": "3.0.1", "DefinitionBody": body}
        return {"Api": {"Type": "AWS::Serverless::Api", "Properties": basic | properties}}

    return resources


@pytest.fixture
def request_to(aws: LocalAws) -> Iterator[Callable[..., Answered]]:
    connection = http.client.HTTPConnection(urlsplit(aws.endpoint_url).netloc, timeout=20)

    def ask(api_id: str, path: str, **headers: str) -> Answered:
        lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
        return send(connection, "GET", f"/_aws/execute-api/{api_id}/live{path}", lines)

    yield ask
    connection.close()


@pytest.fixture
def signature(aws: LocalAws) -> str:
    """An Authorization header by SigV4."""
    names = aws.environment()
    credentials = Credentials(names["AWS_ACCESS_KEY_ID"], names["AWS_SECRET_ACCESS_KEY"])
    request = AWSRequest("GET", aws.endpoint_url)
    SigV4Auth(credentials, "execute-api", "us-east-1").add_auth(request)
    return str(request.headers["Authorization"])


type Gateway = Callable[..., dict[str, Json]]
type RequestTo = Callable[..., Answered]


def test_an_authorizer_in_openapi_decides_and_its_context_reaches_the_function(
    deploy: Deploy, gateway_of: Gateway, request_to: RequestTo, gateway: Any
) -> None:
    api_id = deploy(beside=_SAM, **gateway_of())["Api"]
    (authorizer,) = gateway.get_authorizers(restApiId=api_id)["items"]
    assert (authorizer["type"], authorizer["authorizerResultTtlInSeconds"]) == ("REQUEST", 0)
    assert not authorizer.get("identitySource")

    status, _, body = request_to(api_id, "/proxy/a/b%2Fc?x=1&x=2", x_one="1")
    context = json.loads(body)["requestContext"]["authorizer"]
    asked = json.loads(context.pop("event"))
    assert (status, context) == (200, {"principalId": "client", "reason": "told to", "number": "7", "flag": "true"})
    assert (asked["type"], asked["path"], asked["httpMethod"]) == ("REQUEST", "/proxy/a/b%2Fc", "GET")
    assert asked["multiValueQueryStringParameters"] == {"x": ["1", "2"]}
    assert asked["multiValueHeaders"]["x-one"] == ["1"]

    status, headers, body = request_to(api_id, "/proxy/a/b", x_told="Deny")
    assert (status, headers["Content-Type"], headers["Cache-Control"]) == (403, "application/problem+json", "no-store")
    assert json.loads(body) == {
        "title": "Forbidden",
        "detail": "told to",
        "instance": headers["x-amzn-RequestId"],
    }


def test_an_authorizer_that_raises_is_a_failure_and_one_that_answers_no_policy_is_misconfigured(
    deploy: Deploy, gateway_of: Gateway, request_to: RequestTo
) -> None:
    api_id = deploy(beside=_SAM, **gateway_of())["Api"]
    assert request_to(api_id, "/proxy/a/b", x_told="raise")[0] == 503
    status, headers, _ = request_to(api_id, "/proxy/a/b", x_told="nonsense")
    assert (status, headers["x-amzn-ErrorType"]) == (500, "AuthorizerConfigurationException")
    deploy(beside=_SAM, **gateway_of({}))
    status, headers, body = request_to(api_id, "/proxy/a/b", x_told="raise")
    assert (status, json.loads(body)) == (500, {"message": None})
    assert headers["x-amzn-ErrorType"] == "AuthorizerConfigurationException"


def test_an_authorizer_that_answers_more_than_8_kb_is_misconfigured(
    deploy: Deploy, gateway_of: Gateway, request_to: RequestTo
) -> None:
    api_id = deploy(beside=_SAM, **gateway_of())["Api"]
    assert request_to(api_id, "/proxy/a/b", x_told="Large")[0] == 200
    status, headers, _ = request_to(api_id, "/proxy/a/b", x_told="TooLarge")
    assert (status, headers["x-amzn-ErrorType"]) == (500, "AuthorizerConfigurationException")


def test_a_path_is_too_long_where_the_method_is_authorized_and_its_arn_is_longer_than_1600_bytes(
    deploy: Deploy, gateway_of: Gateway, request_to: RequestTo, functions: tuple[str, str], signature: str
) -> None:
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri(functions[1])}
    anybody = {"/open/{path+}": {"get": {"x-amazon-apigateway-integration": integration}}}
    api_id = deploy(beside=_SAM, parameters={"Inside": "yes"}, **gateway_of(further=anybody))["Api"]
    long = "x" * 1600
    assert request_to(api_id, f"/open/{long}")[0] == 200
    assert request_to(api_id, f"/proxy/a/{long[:1400]}", x_told="Large")[0] == 200
    assert request_to(api_id, f"/proxy/a/{long}")[0] == 414
    assert request_to(api_id, f"/inside/{long}", Authorization=signature)[0] == 414


def test_the_words_for_a_request_that_is_too_large_cannot_be_changed(
    aws: LocalAws, deploy: Deploy, gateway_of: Gateway
) -> None:
    problem = {"statusCode": "400", "responseTemplates": {"application/json": "{}"}}
    api_id = deploy(beside=_SAM, **gateway_of({"REQUEST_TOO_LARGE": problem}))["Api"]
    connection = http.client.HTTPConnection(urlsplit(aws.endpoint_url).netloc, timeout=20)
    path = f"/_aws/execute-api/{api_id}/live/proxy/a/b"
    status, _, body = send(connection, "POST", path, body=b"x" * (4_700 * 1024))
    connection.close()
    assert (status, json.loads(body)) == (413, {"message": "Request Too Long"})


def test_paths_for_signed_requests_are_closed_to_others(
    deploy: Deploy, gateway_of: Gateway, request_to: RequestTo, signature: str
) -> None:
    api_id = deploy(beside=_SAM, parameters={"Inside": "yes"}, **gateway_of())["Api"]
    for path in ("/signed", "/inside/a/b"):
        status, _, body = request_to(api_id, path)
        assert (status, json.loads(body)) == (403, {"message": "Missing Authentication Token"})
        status, _, body = request_to(api_id, path, Authorization=signature)
        identity = json.loads(body)["requestContext"]["identity"]
        assert (status, identity["userArn"]) == (200, "arn:aws:iam::123456789012:root")


def test_a_stage_serves_what_was_deployed_until_it_is_deployed_again(
    deploy: Deploy, gateway_of: Gateway, request_to: RequestTo, signature: str
) -> None:
    first = deploy(beside=_SAM, **gateway_of())["Api"]
    assert request_to(first, "/inside/a", Authorization=signature)[0] == 403
    # SAM makes a deployment when the definition differs as it is written: a condition alone does not change that.
    deploy(beside=_SAM, parameters={"Inside": "yes"}, **gateway_of())
    assert request_to(first, "/inside/a", Authorization=signature)[0] == 403
    deploy(beside=_SAM, parameters={"Inside": "yes"}, **gateway_of(AlwaysDeploy=True))
    assert request_to(first, "/inside/a", Authorization=signature)[0] == 200


def test_an_update_adds_and_removes_paths_and_changes_gateway_responses(
    deploy: Deploy, gateway_of: Gateway, request_to: RequestTo, functions: tuple[str, str]
) -> None:
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri(functions[1])}
    one = {"/one": {"get": {"x-amazon-apigateway-integration": integration}}}
    two = {"/two": {"get": {"x-amazon-apigateway-integration": integration}}}
    api_id = deploy(beside=_SAM, **gateway_of(further=one))["Api"]
    assert [request_to(api_id, path)[0] for path in ("/one", "/two")] == [200, 403]
    changed = {"ACCESS_DENIED": {"statusCode": "404", "responseTemplates": {"application/json": "{}"}}}
    assert deploy(beside=_SAM, **gateway_of(changed, further=two))["Api"] == api_id
    assert [request_to(api_id, path)[0] for path in ("/one", "/two")] == [403, 200]
    status, headers, body = request_to(api_id, "/proxy/a/b", x_told="Deny")
    assert (status, headers["Content-Type"], body) == (404, "application/json", b"{}")
    assert request_to(api_id, "/proxy/a/b")[0] == 200


def test_a_stage_throttles_and_logs_with_what_its_authorizer_said(
    deploy: Deploy, gateway_of: Gateway, request_to: RequestTo, client: Client
) -> None:
    group: Json = {"Type": "AWS::Logs::LogGroup", "Properties": {}}
    role = {"CloudWatchRoleArn": "arn:aws:iam::123456789012:role/logs"}
    template = '["$context.status","$context.authorizer.principalId","$context.authorizer.number","$context.requestId"]'
    resources = gateway_of(
        AccessLogSetting={"DestinationArn": {"Fn::GetAtt": ["Group", "Arn"]}, "Format": template},
        MethodSettings=[
            {"ResourcePath": "/*", "HttpMethod": "*", "ThrottlingRateLimit": 0.001, "ThrottlingBurstLimit": 1}
        ],
    )
    resources["Api"]["DependsOn"] = "Account"
    account: Json = {"Type": "AWS::ApiGateway::Account", "Properties": role}
    made = deploy(beside=_SAM, Group=group, Account=account, **resources)
    assert request_to(made["Api"], "/proxy/a/b")[0] == 200
    status, headers, body = request_to(made["Api"], "/proxy/a/b")
    assert (status, json.loads(body)) == (429, {"title": "Too Many Requests"})
    assert headers.get_all("Content-Type") == ["application/problem+json"]

    def logged() -> Any:
        events = client("logs").filter_log_events(logGroupName=made["Group"])["events"]
        return [json.loads(event["message"])[:3] for event in events] if len(events) > 1 else None

    assert wait_until(logged) == [["200", "client", "7"], ["429", "client", "7"]]


def test_a_function_that_api_gateway_may_not_invoke_is_a_configuration_error(
    deploy: Deploy, gateway_of: Gateway, request_to: RequestTo, make_function: Callable[..., str]
) -> None:
    elsewhere = "arn:aws:execute-api:us-east-1:123456789012:00000000/*"
    closed = make_function(_ECHO), make_function(_ECHO, "apigateway.amazonaws.com", SourceArn=elsewhere)
    open_to_one = "arn:aws:execute-api:us-east-1:123456789012:*/live/GET/open/*"
    functions = [*closed, make_function(_ECHO, "apigateway.amazonaws.com", SourceArn=open_to_one)]
    paths = ("/none", "/elsewhere", "/open/{name}")
    further = {
        path: {
            "x-amazon-apigateway-any-method": {
                "x-amazon-apigateway-integration": {"type": "aws_proxy", "httpMethod": "POST", "uri": uri(function)}
            }
        }
        for path, function in zip(paths, functions, strict=True)
    }
    api_id = deploy(beside=_SAM, **gateway_of(further=further))["Api"]
    assert [request_to(api_id, path)[0] for path in ("/none", "/elsewhere", "/open/x")] == [500, 500, 200]


def test_an_integration_is_waited_for_as_long_as_it_says(
    deploy: Deploy, gateway_of: Gateway, request_to: RequestTo, make_function: Callable[..., str]
) -> None:
    slow = make_function("import time\ndef handler(event, context):\n    time.sleep(5)", "apigateway.amazonaws.com")
    integration = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri(slow), "timeoutInMillis": 50}
    further = {"/slow": {"get": {"x-amazon-apigateway-integration": integration}}}
    status, _, body = request_to(deploy(beside=_SAM, **gateway_of(further=further))["Api"], "/slow")
    assert (status, json.loads(body)) == (504, {"message": "Endpoint request timed out"})
