"""Rotation schedules as Secrets Manager takes them. Pure.

https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html
"""

from __future__ import annotations

import re
from datetime import timedelta

from mtlsctl.errors import InvalidInputError

_RATE = re.compile(r"rate\(([1-9][0-9]{0,5}) (hours?|days?)\)")
_FIELD = r"[A-Z0-9,*/?L#-]+"
_CRON = re.compile(rf"cron\(0 {_FIELD} {_FIELD} {_FIELD} {_FIELD} {_FIELD}\)")
_SHORTEST = timedelta(hours=4)
_LONGEST = timedelta(days=999)


def require_usable(expression: str, validity: timedelta) -> None:
    """See that a schedule is one, and comes before the certificate has ended.

    Raises:
        InvalidInputError: it is none that Secrets Manager takes, or comes too late.
    """
    every = interval(expression)
    if every is not None and every >= validity:
        raise InvalidInputError(
            where="--schedule",
            found=f"{expression}, for a certificate that is valid for {_span(validity)}",
            expected="a rotation before the certificate ends, at a third of its life or so",
            remedy="Rotate more often, or ask for a longer validity; nothing was made.",
        )


def interval(expression: str) -> timedelta | None:
    """How often a rate comes; None for a cron expression.

    Raises:
        InvalidInputError: it is neither, or comes too often or too seldom.
    """
    if _CRON.fullmatch(expression):
        return None
    match = _RATE.fullmatch(expression)
    if match is None:
        raise _invalid(expression)
    count = int(match[1])
    if count > _LONGEST.days * 24:
        raise _invalid(expression)
    every = timedelta(hours=count) if match[2].startswith("hour") else timedelta(days=count)
    if not _SHORTEST <= every <= _LONGEST:
        raise _invalid(expression)
    return every


def _invalid(expression: str) -> InvalidInputError:
    return InvalidInputError(
        where="--schedule",
        found=repr(expression),
        expected="a rate from rate(4 hours) to rate(999 days), or a cron expression of six fields with 0 minutes",
        remedy="Such as 'rate(10 days)' or 'cron(0 3 ? * MON *)'; nothing was made.",
    )


def _span(validity: timedelta) -> str:
    return f"{validity.days} days" if validity.days else f"{validity.total_seconds() / 3600:g} hours"
