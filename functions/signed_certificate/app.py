"""The intake of certificates that somebody else signed: an S3 event in, the rotation that waits for it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit

from mtls_rotation import invocation
from mtls_rotation.assembly import Assembly
from mtls_rotation.aws.retries import Patience
from mtls_rotation.contract.probes import ANSWER, marked
from mtls_rotation.telemetry import meter, share_format

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="signed_certificate")
share_format(logger)
# A refusal is final.
assembly = Assembly(patience=Patience(20.0))
metrics = meter("signed_certificate", assembly.stack)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Take in the object that was uploaded, unless it is a probe."""
    if mark := marked(event):
        logger.info(ANSWER, probe=mark)
    else:
        _take_in(event, context)


@metrics.log_metrics
def _take_in(event: dict[str, Any], _: LambdaContext) -> None:
    """Take in the object that was uploaded. A refusal is an event and a metric, and no failure: it is final."""
    outcome = assembly.intake.run(invocation.text(event, "detail", "object", "key"))
    if outcome.refusal:
        metrics.add_metric(name="SignedCertificateRejected", unit=MetricUnit.Count, value=1)
        logger.warning("not taken", key=outcome.key, secret=outcome.secret, reason=outcome.refusal)
    else:
        metrics.add_metric(name="SignedCertificateAccepted", unit=MetricUnit.Count, value=1)
        logger.info("taken", key=outcome.key, secret=outcome.secret)
