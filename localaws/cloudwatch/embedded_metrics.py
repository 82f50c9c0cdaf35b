"""Metrics in log lines: what CloudWatch Logs extracts from lines of the embedded metric format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs

from localaws.cloudwatch import alarms

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
_MOST_METRICS, _MOST_VALUES, _MOST_DIMENSIONS = 100, 100, 30

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


def install() -> None:
    """Look at every line that comes into a log group.

    The emulator has no registry for this, so the one function that all lines go through is wrapped.
    """
    cloudwatch_logs._append_log_events = _extracting(cloudwatch_logs._append_log_events)


def _extracting(append: _Append) -> _Append:
    def append_log_events(stream: dict[str, Any], events: list[dict[str, Any]]) -> None:
        append(stream, events)
        data = [datum for event in events for datum in extracted(event["message"])]
        for it in data:
            cloudwatch._store_datum(it.namespace, it.name, it.dimensions, it.at, it.unit, None, it.values, None, None)
        if data:
            alarms.evaluate_all()

    return append_log_events


def extracted(message: str) -> Iterator[Datum]:
    """The metrics in one line; none if it is no line of the format."""
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
            if len(named) > _MOST_DIMENSIONS or not all(isinstance(value, str) and value for value in named.values()):
                continue
            for metric in directive.get("Metrics", [])[:_MOST_METRICS]:
                if values := _numbers(line.get(metric.get("Name"))):
                    unit = metric.get("Unit", "None")
                    yield Datum(directive["Namespace"], metric["Name"], dict(named), at, unit, values)


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, list) else [value]
    if len(values) > _MOST_VALUES or any(isinstance(it, bool) or not isinstance(it, int | float) for it in values):
        return []
    return [float(it) for it in values]
