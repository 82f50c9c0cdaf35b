"""Alarms of CloudWatch: when they change state, and ``AWS::CloudWatch::Alarm`` with metric math.

Alarms are evaluated when a metric comes in and before CloudWatch answers a request, so no caller sees a late state.
"""

from __future__ import annotations

import ast
import operator
import time
from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import cloudwatch

from localaws.asgi import Answer, Handler, Headers, Query

type Json = dict[str, Any]
type Series = list[float | None]

TYPE = "AWS::CloudWatch::Alarm"
# What the emulator takes for the metric of an alarm on metric math.
_NOTHING = "-"
# So many periods before those to be evaluated may give a value in the place of one that is missing.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
_FURTHER_PERIODS = 2
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


async def handle(emulated: Handler, method: str, path: str, headers: Headers, body: bytes, query: Query) -> Answer:
    """Answer CloudWatch, with every alarm evaluated first."""
    evaluate_all()
    return await emulated(method, path, headers, body, query)


def handlers(emulated: Json) -> Json:
    """Return what to register for the resource type."""
    return emulated | {name: _with_metric_math(emulated[name]) for name in ("create", "update")}


def _with_metric_math(emulated: Callable[..., tuple[str, Json]]) -> Callable[..., tuple[str, Json]]:
    """The emulator refuses alarms on metric math: it is given one on nothing, which is completed afterwards."""

    def provision(*arguments: Any, **named: Any) -> tuple[str, Json]:
        properties = [it for it in arguments if isinstance(it, dict)][-1]
        metrics = properties.get("Metrics")
        if not metrics:
            return emulated(*arguments, **named)
        on_nothing = _without_math(properties) | {"Namespace": _NOTHING, "MetricName": _NOTHING}
        given = [on_nothing if it is properties else _without_math(it) for it in arguments]
        physical_id, attributes = emulated(*given, **named)
        alarm = cloudwatch._alarms[physical_id]
        for name in ("Namespace", "MetricName", "Dimensions", "Statistic", "Period"):
            alarm.pop(name, None)
        alarm["Metrics"] = [_to_api_types(it) for it in metrics]
        evaluate(alarm)
        return physical_id, attributes

    return provision


def _without_math(argument: Any) -> Any:
    return {k: v for k, v in argument.items() if k != "Metrics"} if isinstance(argument, dict) else argument


def _to_api_types(query: Json) -> Json:
    """Return a member of ``Metrics`` with the types of the API: CloudFormation takes every value as a string too."""
    typed = dict(query)
    if "ReturnData" in query:
        typed["ReturnData"] = str(query["ReturnData"]).lower() == "true"
    if stat := query.get("MetricStat"):
        typed["MetricStat"] = stat | {"Period": int(stat["Period"])}
    return typed


def evaluate_all() -> None:
    """Evaluate every alarm of the request's account and region."""
    for alarm in list(cloudwatch._alarms.values()):
        evaluate(alarm)


def evaluate(alarm: Json) -> None:
    """Set an alarm's state by its metric; a change is recorded, and its actions are taken."""
    periods = int(alarm.get("EvaluationPeriods", 1))
    compare = _COMPARISONS.get(alarm.get("ComparisonOperator") or "")
    if compare is None or alarm.get("Namespace") == _NOTHING:
        return
    values = _watched(alarm, periods + _FURTHER_PERIODS)
    breaching = [compare(value, float(alarm["Threshold"])) for value in values if value is not None]
    state = decide(
        breaching, periods, int(alarm.get("DatapointsToAlarm") or periods), alarm.get("TreatMissingData") or "missing"
    )
    before = alarm["StateValue"]
    if state is None or state == before:
        return
    reason = f"{state}: the newest values are {[value for value in values if value is not None][:periods]}"
    alarm |= {"StateValue": state, "StateReason": reason, "StateUpdatedTimestamp": int(time.time())}
    cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def decide(breaching: list[bool], periods: int, to_alarm: int, missing: str) -> str | None:
    """Return the state that follows from the values that are known; None to leave it as it is.

    Where there are enough of them, how to treat missing ones does not matter.

    Args:
        breaching: whether each known value breaches the threshold, newest first.
        periods: how many values are evaluated.
        to_alarm: how many of them must breach.
        missing: ``TreatMissingData``.
    """
    if len(breaching) < periods:
        if missing == "ignore" or (missing == "missing" and breaching):
            return None if not breaching else _state(breaching, min(to_alarm, len(breaching)))
        if missing == "missing":
            return "INSUFFICIENT_DATA"
        breaching = [*breaching, *[missing == "breaching"] * (periods - len(breaching))]
    return _state(breaching[:periods], to_alarm)


def _state(window: list[bool], to_alarm: int) -> str:
    return "ALARM" if sum(window) >= to_alarm else "OK"


# -- values


def _watched(alarm: Json, count: int) -> Series:
    """Return the alarm's values by period, newest first; the unfinished period included."""
    if "Metrics" not in alarm:
        dimensions = {it["Name"]: it["Value"] for it in alarm.get("Dimensions") or []}
        stat = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
        return _values(alarm["Namespace"], alarm["MetricName"], dimensions, stat, int(alarm["Period"]), count)
    series: dict[str, Series] = {}
    expressions = {it["Id"]: it["Expression"] for it in alarm["Metrics"] if "Expression" in it}
    for query in alarm["Metrics"]:
        if stat := query.get("MetricStat"):
            metric = stat["Metric"]
            named = {it["Name"]: it["Value"] for it in metric.get("Dimensions") or []}
            period = int(stat["Period"])
            series[query["Id"]] = _values(metric["Namespace"], metric["MetricName"], named, stat["Stat"], period, count)
    (returned,) = [it for it in alarm["Metrics"] if it.get("ReturnData", True)]
    if returned["Id"] in series:
        return series[returned["Id"]]
    tree = ast.parse(expressions[returned["Id"]], mode="eval").body
    return [_value(tree, {name: values[index] for name, values in series.items()}) for index in range(count)]


def _values(namespace: str, name: str, dimensions: Mapping[str, str], stat: str, period: int, count: int) -> Series:
    points = cloudwatch._metrics.get((namespace, name, cloudwatch._dims_key(dict(dimensions)))) or []
    last = int(time.time() // period)
    by_period: dict[int, list[Json]] = {}
    for point in points:
        by_period.setdefault(int(point["Timestamp"] // period), []).append(point)
    found: Series = []
    for number in range(last, last - count, -1):
        inside = by_period.get(number)
        found.append(cloudwatch._stat_value(cloudwatch._calc_stats(inside), stat, inside) if inside else None)
    return found


def _value(node: ast.expr, at: Mapping[str, float | None]) -> float | None:
    """Evaluate an expression of metric math, of the few kinds that are known here, in one period."""
    match node:
        case ast.Constant(value=float() | int() as number):
            return float(number)
        case ast.Name(id=name):
            return at[name]
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=right):
            one, other = _value(left, at), _value(right, at)
            if one is None or other is None:
                return None
            return one + other if isinstance(sign, ast.Add) else one - other
        case ast.Call(func=ast.Name(id="FILL"), args=[inner, filling]):
            found = _value(inner, at)
            return _value(filling, at) if found is None else found
        case ast.Call(func=ast.Name(id="SUM"), args=[ast.Call(func=ast.Name(id="METRICS"), args=[])]):
            known = [value for value in at.values() if value is not None]
            return sum(known) if known else None
    raise ValueError(f"this metric math is not emulated: {ast.unparse(node)}")
