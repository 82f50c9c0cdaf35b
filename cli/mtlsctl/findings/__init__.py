"""What `mtlsctl doctor` checks: everything that is known to go wrong, one function each, by part of the stack.

A check looks at one thing through the context, and yields a finding for each thing that is wrong. It says which AWS
actions it needs, so that an operator who lacks one is told which.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from mtls_rotation.timing import utc_now
from mtlsctl.report import Finding, Severity
from mtlsctl.stack.survey import Survey, Surveyor

if TYPE_CHECKING:
    from mtlsctl.stack.deployment import Deployment

# How far back logs and metrics are looked at.
LATELY = timedelta(days=1)
# As much of a log as is read, and as many pages, which may be empty: what is wrong repeats itself.
_LINES, _PAGES = 1000, 50


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One thing to look at.

    Attributes:
        name: what is so where nothing is wrong, such as "rotation is switched on".
        needs: the AWS actions that looking takes.
    """

    name: str
    needs: tuple[str, ...]
    find: Callable[[DoctorContext], Iterable[Finding]]


class DoctorContext:
    """A deployment, with what several checks look at kept."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    @cached_property
    def survey(self) -> Survey:
        """Secrets, domains and the truststore."""
        return Surveyor(self.deployment).survey()

    def physical(self, logical_id: str) -> str | None:
        """A resource's physical id; None where this stack does not have it."""
        return self.deployment.resources.get(logical_id) or None

    def client(self, service: str) -> Any:
        """A client."""
        return self.deployment.session.client(service)  # type: ignore[call-overload]

    @property
    def functions(self) -> dict[str, str]:
        """Logical id → name, of each Lambda function of the stack."""
        wanted = (
            "RotateFunction",
            "TruststoreSyncFunction",
            "RevocationFunction",
            "BootstrapFunction",
            "AuthorizerFunction",
            "MtlsProxyFunction",
            "SignedCertificateFunction",
        )
        return {it: name for it in wanted if (name := self.physical(it))}

    @cached_property
    def complaints(self) -> dict[str, list[dict[str, Any]]]:
        """By function, the errors that it logged lately, the oldest first."""
        logs = self.client("logs")
        since = int((utc_now() - LATELY).timestamp() * 1000)
        found = {}
        for function in self.functions:
            group = self.physical(f"{function.removesuffix('Function')}Logs")
            if group:
                pages = logs.get_paginator("filter_log_events").paginate(
                    logGroupName=group, startTime=since, filterPattern="ERROR"
                )
                events = islice((event for page in islice(pages, _PAGES) for event in page["events"]), _LINES)
                found[function] = [line for event in events if (line := _error(event))]
        return found


def attention(subject: str, what: str, remedy: str, runbook: str = "") -> Finding:
    """Something is wrong."""
    return Finding(severity=Severity.ATTENTION, subject=subject, what=what, remedy=remedy, runbook=runbook)


def unknown(subject: str, what: str, remedy: str) -> Finding:
    """It could not be told whether something is wrong."""
    return Finding(severity=Severity.UNKNOWN, subject=subject, what=what, remedy=remedy)


def _error(event: dict[str, Any]) -> dict[str, Any] | None:
    """A line of a function's structured log, if it is an error, with the moment at which it was written as `at`."""
    try:
        line = json.loads(event["message"])
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or line.get("level") not in {"ERROR", "CRITICAL"}:
        return None
    return line | {"at": datetime.fromtimestamp(event["timestamp"] / 1000, UTC)}
