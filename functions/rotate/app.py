"""The rotation function: a Secrets Manager event in, one step run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import SecretsManagerEvent, event_source

from mtls_rotation.assembly import Assembly
from mtls_rotation.errors import WaitingForCertificateError
from mtls_rotation.rotation import RotationRequest
from mtls_rotation.timing import Deadline

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# What a step keeps of its time to report that it ran out.
MARGIN = 10.0

logger = Logger(service="rotate")
metrics = Metrics(namespace="MtlsRotation", service="rotate")
assembly = Assembly()


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@event_source(data_class=SecretsManagerEvent)
def handler(event: SecretsManagerEvent, context: LambdaContext) -> None:
    """Run the step that Secrets Manager asks for."""
    deadline = Deadline.within(max(0.0, context.get_remaining_time_in_millis() / 1000 - MARGIN))
    try:
        request = RotationRequest.from_event(event.raw_event)
        logger.append_keys(secret=request.secret_id, version=request.version_id, step=request.step.value)
        metrics.add_dimension(name="step", value=request.step.value)
        assembly.rotation.run(request, deadline)
    except WaitingForCertificateError:
        # No failure; but Secrets Manager goes on only if a step returns, and stops only if it raises.
        metrics.add_metric(name="StepWaiting", unit=MetricUnit.Count, value=1)
        raise
    except Exception:
        metrics.add_metric(name="StepFailed", unit=MetricUnit.Count, value=1)
        logger.exception("step failed")
        raise
    metrics.add_metric(name="StepSucceeded", unit=MetricUnit.Count, value=1)
    logger.info("step done")
