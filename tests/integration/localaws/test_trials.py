"""TestInvokeAuthorizer: API Gateway invokes the authorizer's function, if that lets it, without a certificate."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

_REFUSES = """
def handler(event, context):
    assert "clientCert" not in event["requestContext"]["identity"]
    statement = {"Action": "execute-api:Invoke", "Effect": "Deny", "Resource": event["methodArn"]}
    return {"principalId": "nobody", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
"""
_FAILS = """
def handler(event, context):
    raise RuntimeError("told to fail")
"""


@pytest.fixture
def tried(gateway: Any, api_id: str, make_function: Callable[..., str]) -> Callable[..., Any]:
    """What the trial of an authorizer says whose function is made of this source."""

    def try_it(source: str, *principal: str, **permission: str) -> Any:
        function = make_function(source, *principal, **permission)
        uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations"
        made = gateway.create_authorizer(restApiId=api_id, name="tried", type="REQUEST", authorizerUri=uri)
        answer = gateway.test_invoke_authorizer(
            restApiId=api_id, authorizerId=made["id"], headers={}, pathWithQueryString="/"
        )
        gateway.delete_authorizer(restApiId=api_id, authorizerId=made["id"])
        return answer

    return try_it


def test_a_function_that_lets_api_gateway_in_is_invoked(tried: Callable[..., Any], api_id: str) -> None:
    source = f"arn:aws:execute-api:us-east-1:123456789012:{api_id}/authorizers/*"
    answer = tried(_REFUSES, "apigateway.amazonaws.com", SourceArn=source)

    assert (answer["clientStatus"], answer["principalId"]) == (0, "nobody")
    assert json.loads(answer["policy"])["Statement"][0]["Effect"] == "Deny"


@pytest.mark.parametrize("principal", [(), ("secretsmanager.amazonaws.com",)])
def test_a_function_that_does_not_is_not(tried: Callable[..., Any], principal: tuple[str, ...]) -> None:
    answer = tried(_REFUSES, *principal)

    assert (answer["clientStatus"], answer.get("policy")) == (500, None)
    assert "Invalid permissions on Lambda function" in answer["log"]


def test_a_function_that_fails_gives_no_policy(tried: Callable[..., Any]) -> None:
    answer = tried(_FAILS, "apigateway.amazonaws.com")

    assert (answer["clientStatus"], answer.get("policy")) == (500, None)
