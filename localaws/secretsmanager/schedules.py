"""Rotation rules: which are valid, and when they next fall due. Pure."""

from __future__ import annotations

import re
from calendar import month_abbr, monthrange
from datetime import UTC, datetime, timedelta
from typing import Any

from localaws.asgi import ServiceError

_RATE = re.compile(r"rate\((\d+) (hours?|days?)\)")
_CRON = re.compile(r"cron\(([^()]+)\)")
_DURATION = re.compile(r"([1-9]\d?)h")
_SHORTEST = timedelta(hours=4)
_LONGEST_DAYS = 1000
_MONTHS = {name.upper(): number for number, name in enumerate(month_abbr) if name}
_WEEKDAYS = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}


def check(rules: dict[str, Any]) -> None:
    """Raise the error that Secrets Manager answers invalid ``RotationRules`` with."""
    days, expression = rules.get("AutomaticallyAfterDays"), rules.get("ScheduleExpression")
    if days is not None and expression is not None:
        raise _invalid("You can't specify both AutomaticallyAfterDays and ScheduleExpression.")
    if days is not None and not 1 <= days <= _LONGEST_DAYS:
        raise _invalid(f"AutomaticallyAfterDays must be between 1 and {_LONGEST_DAYS}; got {days}.")
    if rules.get("Duration") is not None and not _DURATION.fullmatch(rules["Duration"]):
        raise _invalid(f"Duration must be a number of hours, such as 3h; got {rules['Duration']}.")
    if expression is not None:
        due_after(rules, datetime(2000, 1, 1, tzinfo=UTC))


def due_after(rules: dict[str, Any] | None, moment: datetime) -> datetime | None:
    """Return when ``rules`` next ask for a rotation after ``moment``; ``None`` if they name no schedule."""
    rules = rules or {}
    if (days := rules.get("AutomaticallyAfterDays")) is not None:
        return moment + timedelta(days=days)
    expression = rules.get("ScheduleExpression")
    if expression is None:
        return None
    if rate := _RATE.fullmatch(expression):
        return moment + _rate(int(rate[1]), rate[2], expression)
    if cron := _CRON.fullmatch(expression):
        return _next_match(cron[1].split(), moment, expression)
    raise _invalid(f"ScheduleExpression must be rate(N days), rate(N hours) or cron(...); got {expression}.")


def _rate(count: int, unit: str, expression: str) -> timedelta:
    every = timedelta(hours=count) if unit.startswith("hour") else timedelta(days=count)
    if every < _SHORTEST or every.days > _LONGEST_DAYS - 1:
        raise _invalid(f"A rotation schedule is from 4 hours to 999 days; got {expression}.")
    return every


def _next_match(parts: list[str], after: datetime, expression: str) -> datetime:
    if len(parts) != 6:
        raise _invalid(f"A cron schedule has six fields; got {expression}.")
    minute, hour, day, month, weekday, year = parts
    if minute != "0":
        raise _invalid(f"The first field of a rotation's cron schedule must be 0; got {expression}.")
    hours = sorted(_values(hour, 0, 23, {}, expression))
    months = _values(month, 1, 12, _MONTHS, expression)
    years = _values(year, 1970, 2199, {}, expression)
    date = after.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    last = min(max(years), date.year + 5)
    while date.year <= last:
        if date.year in years and date.month in months and _day_matches(date, day, weekday, expression):
            for at in hours:
                if (candidate := date.replace(hour=at)) > after:
                    return candidate
        date = (date + timedelta(days=1)).replace(hour=0)
    raise _invalid(f"The schedule never falls due: {expression}.")


def _day_matches(date: datetime, day: str, weekday: str, expression: str) -> bool:
    aws_weekday = date.isoweekday() % 7 + 1  # SUN is 1
    days_in_month = monthrange(date.year, date.month)[1]
    day_ok = day in "?*" or date.day in ({days_in_month} if day == "L" else _values(day, 1, 31, {}, expression))
    if weekday in "?*":
        return day_ok
    if "#" in weekday:
        name, nth = weekday.split("#", 1)
        return day_ok and aws_weekday in _values(name, 1, 7, _WEEKDAYS, expression) and (date.day + 6) // 7 == int(nth)
    if weekday.endswith("L") and weekday != "L":
        named = _values(weekday[:-1], 1, 7, _WEEKDAYS, expression)
        return day_ok and aws_weekday in named and date.day > days_in_month - 7
    return day_ok and aws_weekday in _values(weekday, 1, 7, _WEEKDAYS, expression)


def _values(field: str, low: int, high: int, names: dict[str, int], expression: str) -> set[int]:
    """Expand one cron field: ``*``, ``?``, lists, ranges, names and ``/`` steps."""
    found: set[int] = set()
    for item in field.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        try:
            start = low if first in ("*", "?", "") else names.get(first.upper()) or int(first)
            stop = (names.get(last.upper()) or int(last)) if last else (high if step or first in ("*", "?") else start)
            found.update(range(start, stop + 1, int(step or 1)))
        except ValueError:
            raise _invalid(f"Cannot read {item!r} in the schedule {expression}.") from None
    if not found or min(found) < low or max(found) > high:
        raise _invalid(f"{field!r} is out of range in the schedule {expression}.")
    return found


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)
