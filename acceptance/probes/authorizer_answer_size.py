"""An authorizer's answer that is larger than API Gateway takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

from acceptance.ledger import Kind, Thing
from acceptance.probes.api import Answer, Probe

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

LARGE = 9 * 1024
CODE = """
def handler(event, context):
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": event["methodArn"]}
    return {
        "principalId": "client",
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"much": "x" * int(event["headers"]["x-size"])},
    }
"""


def _ask(run: Run, _: Scene) -> Answer:
    role = run.make_role(
        "authorizer",
        {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"},
        trust={"Service": "lambda.amazonaws.com"},
    )
    function = run.make_function("authorizer", CODE, role)
    run.account.clients.functions.add_permission(
        FunctionName=function,
        StatementId="ApiGateway",
        Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
    )
    url = _make_api(run, function)
    # It serves as soon as its deployment has reached it.
    run.waiting.until(lambda: _status(url, 1) == 200, "an API with an authorizer answers", run.account.pace.effect)
    status = _status(url, LARGE)
    return Answer("let in" if status == 200 else f"HTTP {status}", f"with {LARGE} bytes of context")


def _make_api(run: Run, function: str) -> str:
    """An API whose one method asks the function; where it answers."""
    gateway: Any = run.account.clients.apigateway
    region, name = run.account.region, f"{run.name}-authorizer"
    run.ledger.will_make(Thing(Kind.API, name))
    api = gateway.create_rest_api(name=name, tags=run.tags, endpointConfiguration={"types": ["REGIONAL"]})["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    authorizer = gateway.create_authorizer(
        restApiId=api,
        name="large",
        type="REQUEST",
        authorizerUri=(
            f"arn:{run.account.partition}:apigateway:{region}:lambda:path/2015-03-31/functions/{function}/invocations"
        ),
        identitySource="method.request.header.x-size",
        authorizerResultTtlInSeconds=0,
    )["id"]
    method = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    gateway.put_method(**method, authorizationType="CUSTOM", authorizerId=authorizer)
    gateway.put_integration(**method, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    gateway.put_method_response(**method, statusCode="200")
    gateway.put_integration_response(**method, statusCode="200", responseTemplates={"application/json": "{}"})
    gateway.create_deployment(restApiId=api, stageName="live")
    return run.account.execute_url(api, "live")


def _status(url: str, size: int) -> int:
    return httpx.get(url, headers={"x-size": str(size)}, timeout=30.0, trust_env=False).status_code


PROBE = Probe(
    name="authorizer-answer-size",
    question="What is a client told whose authorizer answers more than 8 KB?",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html",
    how=f"An authorizer of the run lets a client in, with {LARGE} bytes of context.",
    readings={"HTTP 500": "the answer is not taken", "let in": "it is"},
    expected="HTTP 500",
    ask=_ask,
)
