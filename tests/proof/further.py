"""Further secrets on a deployed stack, made as an operator makes them."""

from __future__ import annotations

import json
from typing import Any

from demo.waiting import await_condition
from mtls_rotation.contract.tags import STACK_TAG
from tests.kit.deployment import Deployment

# Seconds until a secret has been rotated for the first time: a CA's rotation waits for API Gateway.
ENDS = 180.0


def further(deployment: Deployment, number: int, clients: int) -> dict[str, list[str]]:
    """Make so many further CAs with so many clients each, rotated once: by CA, its clients."""
    secrets, value = deployment.secrets, deployment.value(deployment.client)
    described = secrets.describe_secret(SecretId=deployment.client)
    function = described["RotationLambdaARN"]
    tags: list[Any] = [{"Key": STACK_TAG, "Value": deployment.stack.name}]

    def make(name: str, definition: dict[str, Any]) -> str:
        name = f"{deployment.stack.name}/{name}"
        arn = secrets.create_secret(Name=name, Tags=tags, SecretString=json.dumps(definition))["ARN"]
        secrets.rotate_secret(SecretId=arn, RotationLambdaARN=function, RotationRules={"AutomaticallyAfterDays": 30})
        await_condition(lambda: "AWSPENDING" not in deployment.labels(arn), f"the first rotation of {name}", ENDS)
        return arn

    def client(name: str, issuer: dict[str, Any]) -> str:
        return make(name, {"request": {"common_name": name}, "issuer": issuer, "endpoint": value["endpoint"]})

    first = deployment.ca
    made = {first: [deployment.client, *(client(f"client-0-{it}", value["issuer"]) for it in range(1, clients))]}
    for ca in range(1, number):
        request = {"common_name": f"CA {ca}", "validity_days": 1095}
        arn = make(f"ca-{ca}", {"kind": "ca", "request": request, "issuer": {"type": "self-signed"}})
        issuer = {"type": "secretsmanager", "ca_secret": f"{deployment.stack.name}/ca-{ca}"}
        made[arn] = [client(f"client-{ca}-{it}", issuer) for it in range(clients)]
    return made
