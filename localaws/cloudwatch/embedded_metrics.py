"""Metrics in log lines: what CloudWatch Logs extracts from lines of the embedded metric format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ministack.services import cloudwatch

from localaws.cloudwatch import alarms

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
_MAX_METRICS, _MAX_VALUES, _MAX_DIMENSIONS = 100, 100, 30

type _Append = Callable[[dict[str, Any], list[dict[str, Any]]], None]


@dataclass(frozen=True)
class Datum:
    """The values of one metric with one set of dimensions, at one moment (seconds since 1970)."""

    namespace: str
    name: str
    dimensions: dict[str, str]
    at: float
    unit: str
    values: list[float]


def append_log_events(emulated: _Append, stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
    """Append lines to a stream, and store the metrics in them."""
    emulated(stream, events)
    data = [datum for event in events for datum in extract(event["message"])]
    for datum in data:
        cloudwatch._store_datum(
            datum.namespace, datum.name, datum.dimensions, datum.at, datum.unit, None, datum.values, None, None
        )
    if data:
        alarms.evaluate_all()


def extract(message: str) -> Iterator[Datum]:
    """Yield the metrics in one line; none if it is not a line of the format."""
    if '"_aws"' not in message:
        return
    try:
        line = json.loads(message)
        metadata = line["_aws"]
        at = float(metadata["Timestamp"]) / 1000
        directives = list(metadata["CloudWatchMetrics"])
    except (ValueError, TypeError, KeyError):
        return
    for directive in directives:
        for dimensions in directive.get("Dimensions", [[]]):
            named = {name: line.get(name) for name in dimensions}
            if len(named) > _MAX_DIMENSIONS or not all(isinstance(value, str) and value for value in named.values()):
                continue
            for metric in directive.get("Metrics", [])[:_MAX_METRICS]:
                if values := _numbers(line.get(metric.get("Name"))):
                    unit = metric.get("Unit", "None")
                    yield Datum(directive["Namespace"], metric["Name"], dict(named), at, unit, values)


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, list) else [value]
    if len(values) > _MAX_VALUES or any(isinstance(it, bool) or not isinstance(it, int | float) for it in values):
        return []
    return [float(it) for it in values]
