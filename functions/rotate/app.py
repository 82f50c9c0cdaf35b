"""The rotation function: a Secrets Manager event in, one step run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit

from mtls_rotation.assembly import Assembly
from mtls_rotation.aws.retries import Patience
from mtls_rotation.errors import WaitingForCertificateError, code_of
from mtls_rotation.rotation.request import RotationRequest, Step
from mtls_rotation.telemetry import measure, meter, share_format
from mtls_rotation.timing import Deadline

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# What a step keeps of its time to report that it ran out.
MARGIN = 10.0

logger = Logger(service="rotate")
share_format(logger)
# The first rotation begins within the deployment. Secrets Manager tries again what takes longer.
assembly = Assembly(patience=Patience(10.0))
metrics = meter("rotate", assembly.stack)


# The token is the same in all steps, and in the lines of every sync that the rotation asks for.
@logger.inject_lambda_context(clear_state=True, correlation_id_path="ClientRequestToken")
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Run the step that Secrets Manager asks for."""
    deadline = Deadline.within(max(0.0, context.get_remaining_time_in_millis() / 1000 - MARGIN))
    began, request, result = time.monotonic(), None, "Failed"
    try:
        request = RotationRequest.from_event(event)
        logger.append_keys(secret=request.secret_id, version=request.version_id, step=request.step.value)
        assembly.rotation.run(request, deadline)
        result = "Succeeded"
        logger.info("step done", seconds=_seconds(began))
    except WaitingForCertificateError:
        # No failure; but Secrets Manager goes on only if a step returns, and stops only if it raises.
        result = "Waiting"
        raise
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # whatever it is: a panic of a library in Rust is no Exception
        logger.exception("step failed", code=code_of(error), reason=str(error), seconds=_seconds(began))
        raise
    finally:
        _measure(result, request, time.monotonic() - began)


def _seconds(began: float) -> float:
    return round(time.monotonic() - began, 3)


def _measure(result: str, request: RotationRequest | None, seconds: float) -> None:
    if request:
        metrics.add_dimension(name="step", value=request.step.value)
    metrics.add_metric(name=f"Step{result}", unit=MetricUnit.Count, value=1)
    metrics.add_metric(name="StepDuration", unit=MetricUnit.Milliseconds, value=seconds * 1000)
    # The rotation as a whole: it has ended well, or stands still. RotationFailed is 0 once one has ended well again.
    whole = {"Failed": {"RotationFailed": 1}, "Waiting": {"RotationWaiting": 1}}.get(result, {})
    if result == "Succeeded" and request and request.step is Step.FINISH:
        whole = {"RotationSucceeded": 1, "RotationFailed": 0}
    for name, value in whole.items():
        measure(name, value, service="rotate", stack=assembly.stack)
