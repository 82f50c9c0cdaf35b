"""The truststore function: an SQS batch in, one reconcile run for all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import SQSEvent, event_source

from mtls_rotation.assembly import Assembly
from mtls_rotation.errors import DomainBusyError
from mtls_rotation.timing import Deadline
from mtls_rotation.truststore.requests import SyncRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from mtls_rotation.truststore.sync import SyncResult

# What is left of the function's time to write results once waiting for a domain ends.
MARGIN = 10.0

logger = Logger(service="truststore_sync")
metrics = Metrics(namespace="MtlsRotation", service="truststore_sync")
assembly = Assembly()


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@event_source(data_class=SQSEvent)
def handler(event: SQSEvent, context: LambdaContext) -> dict[str, Any]:
    """Reconcile once for the whole batch. If it cannot be done now, the whole batch comes again from the queue."""
    records = {record.message_id: record for record in event.records}
    request = SyncRequest.from_messages({message: record.body for message, record in records.items()})
    if request.unreadable:
        # They come again until the queue hands them to the dead-letter queue, whose depth is what an operator sees.
        logger.error("messages that are no EventBridge events", messages=request.unreadable)
    deadline = Deadline.within(max(0.0, context.get_remaining_time_in_millis() / 1000 - MARGIN))
    try:
        result = assembly.sync.run(deadline, request.named, force=request.force)
    except DomainBusyError as busy:
        metrics.add_metric(name="Postponed", unit=MetricUnit.Count, value=1)
        logger.info("postponed", reason=str(busy), batch=len(records))
        assembly.queue.postpone((record.receipt_handle for record in records.values()), busy.retry_after)
        return _failures(records)
    except Exception:
        metrics.add_metric(name="SyncFailed", unit=MetricUnit.Count, value=1)
        logger.exception("sync failed")
        raise
    _report(result, batch=len(records))
    return _failures(request.unreadable)


def _failures(messages: Iterable[str]) -> dict[str, Any]:
    """What Lambda is to leave in the queue (ReportBatchItemFailures)."""
    return {"batchItemFailures": [{"itemIdentifier": message} for message in messages]}


def _report(result: SyncResult, batch: int) -> None:
    plan = result.plan
    metrics.add_metric(name="Anchors", unit=MetricUnit.Count, value=len(plan.anchors))
    metrics.add_metric(name="AnchorsRejected", unit=MetricUnit.Count, value=sum(e.rejected for e in plan.left_out))
    metrics.add_metric(name="TruststorePublished", unit=MetricUnit.Count, value=int(result.published))
    metrics.add_metric(name="DomainUpdates", unit=MetricUnit.Count, value=len(result.updated_domains))
    metrics.add_metric(name="TruststoreWarnings", unit=MetricUnit.Count, value=sum(map(len, result.warnings.values())))
    logger.info(
        "reconciled",
        batch=batch,
        version=result.version_id,
        published=result.published,
        updated_domains=result.updated_domains,
        anchors={key: anchor.reasons for key, anchor in plan.anchors.items()},
        left_out=[f"{entry.where}: {entry.subject}: {entry.reason}" for entry in plan.left_out],
        warnings=result.warnings,
    )
