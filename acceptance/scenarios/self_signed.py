"""A client certificate that signs itself, at the gateway: refused by the template, and rotated where AWS lets it in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from acceptance import stacks
from acceptance.scenarios import gateway
from acceptance.scenarios.api import NoGatewayError, Scenario
from demo.certificates import from_secret
from mtls_rotation.contract.tags import STACK_TAG

if TYPE_CHECKING:
    from acceptance.account import Door
    from acceptance.report import Checks
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene
    from acceptance.stacks import Deployed

# The probe that tells whether API Gateway lets such a client in, and the answer that it does.
PROBE, LET_IN = "self-signed-client", "accepted"
SWITCH = "SelfSignedClients"
NAME = "self-signed"


def _play(run: Run, checks: Checks, scene: Scene) -> None:
    if run.domain is None:
        raise NoGatewayError
    refused = ""
    try:
        stacks.deploy(
            run, "self-signed", gateway.parameters(run, run.domain, scene.door) | {"ClientIssuer": "self-signed"}
        )
    except (ClientError, stacks.DeploymentError) as error:
        refused = str(error)
    checks.hold(
        f"the template refuses it at a gateway, without {SWITCH}", SWITCH in refused, refused or "it is deployed"
    )
    if scene.answers.get(PROBE) != LET_IN:
        checks.hold("nothing is rotated: API Gateway does not let such a client in", True, scene.answers.get(PROBE, ""))
        return
    with checks.step(f"updates the stack with {SWITCH}=accepted"):
        # Its anchor is its own: the operator lists the secret, or it is not rotated.
        scene.gateway.update(**{SWITCH: LET_IN, "TrustedSecrets": f"{run.name}-{NAME}"})
    with checks.step("rotates a secret whose certificate signs itself"):
        secret = _rotated(run, scene.gateway, scene.door)
    with checks.step("its client is let in"):
        value = json.dumps(scene.gateway.value(secret))
        gateway.await_accepted(run, scene.door, from_secret(value, scene.door.server_ca))


def _rotated(run: Run, stack: Deployed, door: Door) -> str:
    """Make such a secret, and have the stack make its first certificate."""
    endpoint = {"url": door.url, **({"server_ca": door.server_ca} if door.server_ca else {})}
    definition = {
        "kind": "client",
        "request": {"common_name": "acceptance-self-signed", "validity_days": 1},
        "issuer": {"type": "self-signed"},
        "endpoint": endpoint,
    }
    secret = run.make_secret(NAME, json.dumps(definition), **{STACK_TAG: stack.name})
    version = run.account.clients.secrets.rotate_secret(
        SecretId=secret,
        RotationLambdaARN=stack.outputs["RotateFunction"],
        RotationRules={"ScheduleExpression": "rate(10 days)"},
    )["VersionId"]
    stack.await_rotation(secret, version)
    return secret


SCENARIO = Scenario(
    "self-signed",
    "The template lets no client that signs itself come to a gateway unasked; where AWS lets it in, it is rotated.",
    _play,
    needs_domain=True,
    after_probes=True,
)
