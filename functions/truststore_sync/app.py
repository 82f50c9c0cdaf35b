"""The truststore function: an SQS batch in, one reconcile run for all of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import SQSEvent, event_source
from botocore.exceptions import BotoCoreError, ClientError

from mtls_rotation.assembly import Assembly
from mtls_rotation.aws.retries import Patience, denied
from mtls_rotation.contract.probes import ANSWER
from mtls_rotation.errors import DomainNotAvailableError, TruststoreGuardError, code_of
from mtls_rotation.telemetry import measure, meter, share_format
from mtls_rotation.timing import Deadline
from mtls_rotation.truststore.request import SyncRequest
from mtls_rotation.truststore.rollout import come_again

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
    from aws_lambda_powertools.utilities.typing import LambdaContext

    from mtls_rotation.truststore.expiry import Expiry
    from mtls_rotation.truststore.sync import SyncResult

# What is left of the function's time to write results once waiting for a domain ends.
MARGIN = 10.0
# Seconds until a batch that failed comes again: soon, as a rotation may wait for it; in a while, if it was denied what
# IAM may allow by then, before an alarm rings; later, if somebody has to act.
SOON, IN_A_WHILE, LATER = 30, 120, 600

logger = Logger(service="truststore_sync")
share_format(logger)
# The first request comes within the deployment.
assembly = Assembly(patience=Patience(20.0, except_for=frozenset({"DescribeSecret"})))
metrics = meter("truststore_sync", assembly.stack)


@logger.inject_lambda_context(clear_state=True)
@event_source(data_class=SQSEvent)
def handler(event: SQSEvent, context: LambdaContext) -> dict[str, Any]:
    """Reconcile once for the whole batch. What cannot be done now comes again from the queue at the right time."""
    records = {record.message_id: record for record in event.records}
    bodies = {message: record.body for message, record in records.items()}
    request = SyncRequest.from_messages(bodies, assembly.stack)
    for mark in request.probes:
        logger.info(ANSWER, probe=mark)
    return _failures([]) if request.asks_nothing else _reconcile(request, records, context)


@metrics.log_metrics
def _reconcile(request: SyncRequest, records: dict[str, SQSRecord], context: LambdaContext) -> dict[str, Any]:
    if request.unreadable:
        # They come again until the queue hands them to the dead-letter queue, whose depth is what an operator sees.
        logger.error("messages that are no EventBridge events", messages=request.unreadable)
    if request.unnamed_force:
        logger.warning("force that names no stack is nobody's: put the stack's name into the event's detail")
    # So that one query shows a rotation in both functions: its token is the correlation id of rotate's lines.
    logger.append_keys(rotations=request.tokens)
    began = time.monotonic()
    deadline = Deadline.within(max(0.0, context.get_remaining_time_in_millis() / 1000 - MARGIN))
    try:
        result = assembly.sync.run(deadline, request.named, force=request.force)
    except Exception as error:
        guarded = isinstance(error, TruststoreGuardError)
        metrics.add_metric(name="PublishStopped" if guarded else "SyncFailed", unit=MetricUnit.Count, value=1)
        logger.exception("sync failed", code=code_of(error), reason=str(error))
        refused = isinstance(error, ClientError) and denied(error)
        _postpone(records.values(), LATER if guarded else IN_A_WHILE if refused else SOON)
        raise
    finally:
        metrics.add_metric(name="SyncDuration", unit=MetricUnit.Milliseconds, value=(time.monotonic() - began) * 1000)
    _report(result, batch=len(records))
    return _failures([*request.unreadable, *_kept(result, request, records)])


def _kept(result: SyncResult, request: SyncRequest, records: dict[str, SQSRecord]) -> list[str]:
    """The one message that is to come again if there is more to do. The others have nothing to add: it is published."""
    if result.retry_after is None:
        return []
    receives = {it: _receives(record) for it, record in records.items() if it not in request.unreadable}
    if not receives:
        return []
    one = min(receives, key=lambda it: receives[it])
    _postpone([records[one]], result.retry_after if result.updated else come_again(result.retry_after, receives[one]))
    return [one]


def _receives(record: SQSRecord) -> int:
    """How often the queue has handed it out."""
    return int(record.attributes.approximate_receive_count or 1)


def _postpone(records: Iterable[SQSRecord], seconds: int) -> None:
    try:
        assembly.queue.postpone((record.receipt_handle for record in records), seconds)
    except (ClientError, BotoCoreError):
        # They come all the same, after the queue's own visibility timeout. An error here would hide the sync's error,
        # or have the whole batch come again though all but one message of it is done.
        logger.exception("messages could not be postponed, and come again later than they should")


def _failures(messages: Iterable[str]) -> dict[str, Any]:
    """What Lambda is to leave in the queue (ReportBatchItemFailures)."""
    return {"batchItemFailures": [{"itemIdentifier": message} for message in messages]}


def _report(result: SyncResult, batch: int) -> None:
    plan, warnings = result.plan, result.warnings
    counts = {
        "SyncSucceeded": 1,
        "Anchors": len(plan.anchors),
        "AnchorsAdded": len(plan.added) if result.published else 0,
        "AnchorsRemoved": len(plan.removed) if result.published else 0,
        "AnchorsRejected": sum(entry.rejected for entry in plan.left_out),
        "TruststorePublished": int(result.published),
        "DomainUpdates": len(result.updated),
        "DomainsDrifted": len(result.drifted),
        "DomainsStuck": len(result.stuck),
        "TruststoreWarnings": sum(map(len, warnings.values())),
        "Postponed": int(result.retry_after is not None),
        "PublishStopped": 0,
        "SyncFailed": 0,
    }
    for name, value in counts.items():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
    _report_expiry(result.expiry)
    for name, condition in result.stuck.items():
        logger.warning("a domain is stuck", code=DomainNotAvailableError.code, domain=name, reason=condition)
    logger.info(
        "reconciled",
        batch=batch,
        version=result.version_id,
        published=result.published,
        anchors=len(plan.anchors),
        added={key: [str(reason) for reason in plan.anchors[key].reasons] for key in sorted(plan.added)[:_LOGGED]},
        removed=sorted(plan.removed)[:_LOGGED],
        left_out=[f"{it.key}, certificate {it.position}: {it.subject}: {it.reason}" for it in plan.left_out[:_LOGGED]],
        updated=result.updated,
        behind=result.behind,
        drifted=result.drifted,
        stuck=result.stuck,
        retry_after=result.retry_after,
        warnings=warnings,
        expiring=[f"{it.name}: {it.days:g} days" for it in result.expiry.soonest_secrets(_LOGGED)],
        end_unknown=result.expiry.unknown[:_LOGGED],
    )


def _report_expiry(expiry: Expiry) -> None:
    """The least that each kind has left, always; and those that end first, each by itself, as many as may cost."""
    least = {
        "ClientDaysToExpiry": expiry.clients,
        "CaDaysToExpiry": expiry.authorities,
        "AnchorDaysToExpiry": expiry.anchors,
    }
    for name, kind in least.items():
        if kind:
            metrics.add_metric(name=name, unit=MetricUnit.NoUnit, value=kind[0].days)
    for secret in expiry.soonest_secrets(assembly.settings.expiry_series):
        measure("DaysToExpiry", secret.days, MetricUnit.NoUnit, stack=assembly.stack, secret=secret.name)
    for anchor in expiry.anchors[: assembly.settings.expiry_series]:
        measure("DaysToExpiry", anchor.days, MetricUnit.NoUnit, stack=assembly.stack, anchor=anchor.name)


# How many anchors one log line names: it may have 256 KiB.
_LOGGED = 100
