"""The revocation function: an upload, a new CA or the hour in, one run out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit

from mtls_rotation import invocation
from mtls_rotation.assembly import Assembly
from mtls_rotation.aws.retries import Patience
from mtls_rotation.contract.events import REVOCATION_LIST_LOST
from mtls_rotation.contract.probes import ANSWER, marked
from mtls_rotation.telemetry import meter, share_format
from mtls_rotation.timing import Deadline

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

# What is left of the function's time once waiting for a key ends.
MARGIN = 10.0

logger = Logger(service="revocation")
share_format(logger)
# It runs as soon as there is a CA.
assembly = Assembly(patience=Patience(20.0, except_for=frozenset({"DescribeSecret"})))
metrics = meter("revocation", assembly.stack)


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Run once, whatever the event was, but for a probe: what is there counts, and not what is said of it."""
    if mark := marked(event):
        logger.info(ANSWER, probe=mark)
    else:
        _run(event, context)


@metrics.log_metrics
def _run(event: dict[str, Any], context: LambdaContext) -> None:
    """Run once.

    Every environment of the authorizer tells of a list that is lost: it is made again once.
    """
    try:
        if invocation.member(event, "detail-type") == REVOCATION_LIST_LOST and assembly.revocation.has_lost_nothing():
            logger.info("the revocation list is there again")
            metrics.add_metric(name="RevocationFailed", unit=MetricUnit.Count, value=0)
            return
        result = assembly.revocation.run(
            Deadline.within(max(0.0, context.get_remaining_time_in_millis() / 1000 - MARGIN))
        )
    except Exception:
        metrics.add_metric(name="RevocationFailed", unit=MetricUnit.Count, value=1)
        logger.exception("revocation failed")
        raise
    counts = {
        "CertificatesRevoked": result.revoked,
        "RevocationsRefused": len(result.refused),
        "RevocationListsPublished": len(result.crls),
        "RevocationFailed": len(result.problems),
    }
    for name, value in counts.items():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
    if result.late:
        logger.warning("not all could be done yet", late=result.late)
    if result.problems:
        logger.error("not all could be done", problems=result.problems)
    logger.info(
        "revocation done",
        trigger=invocation.member(event, "detail-type"),
        added=[str(it.certificate) for it in result.added],
        refused=result.refused,
        crls=result.crls,
        rotated=result.rotated,
    )
