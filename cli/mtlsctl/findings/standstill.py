"""What has rotations stand still or lets nobody in, by a few cheap calls: `status` is asked often."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from mtls_rotation.timing import utc_now
from mtlsctl.findings import DoctorCheck, DoctorContext, attention
from mtlsctl.findings.gateway_edges import gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from mtlsctl.report import Finding

# How far back requests are looked at. API Gateway tells of them a minute or two later.
_LATELY = timedelta(minutes=15)
_PERIOD = timedelta(minutes=1)
_ROTATIONS = {"RotateFunction": "A rotation is stuck", "TruststoreSyncFunction": "The truststore does not follow"}


def _rotations_go_on(context: DoctorContext) -> Iterator[Finding]:
    functions = context.client("lambda")
    for logical_id, runbook in _ROTATIONS.items():
        if not (name := context.physical(logical_id)):
            continue
        try:
            held = functions.get_function_concurrency(FunctionName=name)
        except functions.exceptions.ResourceNotFoundException:
            yield attention(logical_id, f"the function {name} is gone", "Deploy the stack again.", "A function crashed")
            continue
        if held.get("ReservedConcurrentExecutions") == 0:
            what = "it is held back, so rotations stand still: its reserved concurrency is 0"
            yield attention(logical_id, what, f"aws lambda delete-function-concurrency --function-name {name}", runbook)


def _requests_are_let_in(context: DoctorContext) -> Iterator[Finding]:
    """By what the gateway last answered: a probe of everybody's."""
    if not context.physical("GatewayApi"):
        return
    requests = _points(context, "Count")
    if not requests:
        return
    last = max(requests)
    refused = _points(context, "5XXError").get(last, 0.0)
    if refused >= requests[last]:
        yield attention(
            f"REST API {context.physical('GatewayApi')}",
            f"it answered each of the last {requests[last]:.0f} requests with 5xx, at {last:%H:%M}Z",
            "mtlsctl doctor  # shows what is cut",
            "The gateway answers 503",
        )


def _points(context: DoctorContext, metric: str) -> dict[datetime, float]:
    """By minute, the sum of a metric of API Gateway; minutes without any left out."""
    now = utc_now()
    dimensions: list[Any] = [
        {"Name": "ApiName", "Value": context.deployment.name},
        {"Name": "Stage", "Value": "live"},
    ]
    points = context.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/ApiGateway",
        MetricName=metric,
        Dimensions=dimensions,
        StartTime=now - _LATELY,
        EndTime=now,
        Period=int(_PERIOD.total_seconds()),
        Statistics=["Sum"],
    )["Datapoints"]
    return {it["Timestamp"]: it["Sum"] for it in points if it["Sum"]}


LETS_IN = DoctorCheck("the gateway lets requests in", ("cloudwatch:GetMetricStatistics",), _requests_are_let_in)
CHECKS = (
    DoctorCheck("rotations go on", ("lambda:GetFunctionConcurrency",), _rotations_go_on),
    DoctorCheck(
        "the gateway lets clients in", ("apigateway:GET", "lambda:GetPolicy", "lambda:GetFunctionConcurrency"), gateway
    ),
    LETS_IN,
)
