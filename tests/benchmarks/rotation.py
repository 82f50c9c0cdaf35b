"""How long each step of a rotation takes on the local AWS, beside AWS's rotation template with nothing to do.

    python -m tests.benchmarks rotation

The stack's own functions run the steps, warm, in processes of their own: so each has the way to its function and its
calls over HTTP in it. The template's structure is run in this process, with the same calls of storage, no set, no test.
The emulator's time is in both; what AWS's takes is not told by this.
"""

from __future__ import annotations

import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from localaws import LocalAws
from mtls_rotation.rotation.request import Step
from tests.benchmarks.calls import as_the_template
from tests.benchmarks.figures import Results, beside
from tests.kit import change_sets
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation

RUNS, WITHIN = 12, 60.0
OTHER = "bench/template"


def measure() -> Results:
    """Rotations of the client secret, whose CA the gateway trusts, in turn with those of the template."""
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalAws.start(log_path=Path(folder) / "local-aws.log", enforce_iam=True) as aws,
    ):
        made = change_sets.deploy_gateway(aws, "bench-rotation", DOMAIN)
        deployment = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
        deployment.await_rest(deployment.client)
        deployment.secrets.create_secret(Name=OTHER, SecretString="a value")
        deployment.rotate(deployment.client, WITHIN)  # whatever is cold, is warm then
        pairs = [(_rotated(deployment), _as_the_template(deployment.secrets)) for _ in range(RUNS)]
    steps = {
        step: {
            name: round(statistics.median(pair[which][step] for pair in pairs) * 1000, 1)
            for which, name in enumerate(("rotate", "template"))
        }
        for step in Step
    }
    whole = [(sum(ours.values()) * 1000, sum(theirs.values()) * 1000) for ours, theirs in pairs]
    figure = beside(
        "a rotation on the local AWS, all steps", "ms", "AWS's template with nothing to do", whole, gated=False
    )
    return Results(figures=[figure], details={"rotation_steps_ms": {step.value: it for step, it in steps.items()}})


def _rotated(deployment: Deployment) -> dict[Step, float]:
    version = deployment.rotate(deployment.client, WITHIN)
    deployment.await_rest(deployment.client)
    (run,) = (it for it in deployment.aws.rotations() if it.version_id == version)
    return {Step(name): seconds for name, seconds in run.steps.items()}


def _as_the_template(secrets: Any) -> dict[Step, float]:
    token, took = str(uuid.uuid4()), {}
    for step in Step:
        began = time.perf_counter()
        as_the_template(secrets, step, OTHER, token)
        took[step] = time.perf_counter() - began
    return took
