"""Alarms of CloudWatch: when they change state, and ``AWS::CloudWatch::Alarm`` with metric math.

An alarm is looked at when a metric comes in, and whenever CloudWatch is asked for anything: so it is never seen late.
"""

from __future__ import annotations

import ast
import operator
import time
from collections.abc import Callable, Mapping
from typing import Any

from ministack.services import cloudwatch
from ministack.services.cloudformation import provisioners

from localaws.asgi import Answer, Handler, Headers, Query

type Json = dict[str, Any]
type Series = list[float | None]

_TYPE = "AWS::CloudWatch::Alarm"
# What an alarm on metric math watches for the emulator.
_NOTHING = "-"
# Periods before those to be evaluated in which a value is looked for that has come late.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
_FURTHER_PERIODS = 2
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


def install(handlers: dict[str, Handler]) -> None:
    """Put the rules here in the place of the emulator's, and have them looked at before every request."""
    cloudwatch._evaluate_alarm = evaluate
    registered = provisioners._RESOURCE_HANDLERS[_TYPE]
    registered |= {name: _with_metric_math(registered[name]) for name in ("create", "update")}
    handlers["monitoring"] = _up_to_date(handlers["monitoring"])


def _up_to_date(handler: Handler) -> Handler:
    async def handle(method: str, path: str, headers: Headers, body: bytes, query: Query) -> Answer:
        evaluate_all()
        return await handler(method, path, headers, body, query)

    return handle


def _with_metric_math(provision: Callable[..., tuple[str, Json]]) -> Callable[..., tuple[str, Json]]:
    """The emulator refuses alarms on metric math: it is handed one on nothing, which is completed afterwards."""

    def provide(*arguments: Any, **named: Any) -> tuple[str, Json]:
        properties = [it for it in arguments if isinstance(it, dict)][-1]
        metrics = properties.get("Metrics")
        if not metrics:
            return provision(*arguments, **named)
        plain = {name: value for name, value in properties.items() if name != "Metrics"}
        plain |= {"Namespace": _NOTHING, "MetricName": _NOTHING}
        placed = [plain if it is properties else _without_math(it) for it in arguments]
        physical_id, attributes = provision(*placed, **named)
        alarm = cloudwatch._alarms[physical_id]
        for name in ("Namespace", "MetricName", "Dimensions", "Statistic", "Period"):
            alarm.pop(name, None)
        alarm["Metrics"] = [_as_the_api_has_it(it) for it in metrics]
        evaluate(alarm)
        return physical_id, attributes

    return provide


def _without_math(argument: Any) -> Any:
    return {k: v for k, v in argument.items() if k != "Metrics"} if isinstance(argument, dict) else argument


def _as_the_api_has_it(query: Json) -> Json:
    """A member of ``Metrics`` with the types of the API: CloudFormation takes everything as text too."""
    typed = dict(query)
    if "ReturnData" in query:
        typed["ReturnData"] = str(query["ReturnData"]).lower() == "true"
    if stat := query.get("MetricStat"):
        typed["MetricStat"] = stat | {"Period": int(stat["Period"])}
    return typed


def evaluate_all() -> None:
    """Look at every alarm of the account and region in hand."""
    for alarm in list(cloudwatch._alarms.values()):
        cloudwatch._evaluate_alarm(alarm)


def evaluate(alarm: Json) -> None:
    """Set an alarm's state by its metric, and tell whom it names of a change."""
    periods = int(alarm.get("EvaluationPeriods", 1))
    compare = _COMPARISONS.get(alarm.get("ComparisonOperator") or "")
    if compare is None or alarm.get("Namespace") == _NOTHING:
        return
    values = _watched(alarm, periods + _FURTHER_PERIODS)
    there = [compare(value, float(alarm["Threshold"])) for value in values if value is not None]
    state = decided(
        there, periods, int(alarm.get("DatapointsToAlarm") or periods), alarm.get("TreatMissingData") or "missing"
    )
    before = alarm["StateValue"]
    if state is None or state == before:
        return
    reason = f"{state}: the newest values are {[value for value in values if value is not None][:periods]}"
    alarm |= {"StateValue": state, "StateReason": reason, "StateUpdatedTimestamp": int(time.time())}
    cloudwatch._record_history(alarm["AlarmName"], before, state, reason)
    cloudwatch._dispatch_alarm_actions(alarm, before, state, reason)
    cloudwatch._evaluate_parent_alarms(alarm)


def decided(there: list[bool], periods: int, to_alarm: int, missing: str) -> str | None:
    """The state that follows from whether the values that are there breach, newest first; None to leave it as it is.

    Where there are enough of them, how to treat what is missing does not matter.
    """
    if len(there) < periods:
        if missing == "ignore" or (missing == "missing" and there):
            return None if not there else _state(there, min(to_alarm, len(there)))
        if missing == "missing":
            return "INSUFFICIENT_DATA"
        there = [*there, *[missing == "breaching"] * (periods - len(there))]
    return _state(there[:periods], to_alarm)


def _state(window: list[bool], to_alarm: int) -> str:
    return "ALARM" if sum(window) >= to_alarm else "OK"


# -- values


def _watched(alarm: Json, count: int) -> Series:
    """The alarm's values by period, newest first; the period that goes on included."""
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
    """An expression of metric math, of the few kinds that are known here, in one period."""
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
            there = [value for value in at.values() if value is not None]
            return sum(there) if there else None
    raise ValueError(f"metric math that is not known here: {ast.unparse(node)}")
