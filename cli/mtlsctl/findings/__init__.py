"""What `mtlsctl doctor` checks: everything that is known to go wrong, one function each, by part of the stack.

A check looks at one thing through the context, and yields a finding for each thing that is wrong. It says which AWS
actions it needs, so that an operator who lacks one is told which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any

from mtls_rotation.timing import utc_now
from mtlsctl.findings.history import Failure, Record, failures_in, line_of
from mtlsctl.report import Finding, PastFinding, Severity
from mtlsctl.stack.survey import Survey, Surveyor

if TYPE_CHECKING:
    from mtlsctl.stack.deployment import Deployment

# How far back logs and metrics are looked at.
LATELY = timedelta(days=1)
# Where a log has more of it, the end of it is read as well, and the end of that.
_NEWEST = (timedelta(hours=1), timedelta(minutes=5))
# As much of a log as is read, and as many pages, which may be empty: what is wrong repeats itself.
_LINES, _PAGES = 1000, 50


@dataclass(frozen=True, slots=True)
class DoctorCheck:
    """One thing to look at.

    Attributes:
        name: what is so where nothing is wrong, such as "rotation is switched on".
        needs: the AWS actions that looking takes.
        otherwise: what to do without them.
    """

    name: str
    needs: tuple[str, ...]
    find: Callable[[DoctorContext], Iterable[Finding | PastFinding]]
    otherwise: str = ""


class DoctorContext:
    """A deployment, with what several checks look at kept."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment: Deployment = deployment
        self._clients: dict[str, Any] = {}

    @cached_property
    def survey(self) -> Survey:
        """Secrets, domains and the truststore."""
        return Surveyor(self.deployment).survey()

    def physical(self, logical_id: str) -> str | None:
        """A resource's physical id; None where this stack does not have it."""
        return self.deployment.resources.get(logical_id) or None

    def client(self, service: str) -> Any:
        """A client, made once: to make one takes longer than most calls."""
        if service not in self._clients:
            self._clients[service] = self.deployment.session.client(service)  # type: ignore[call-overload]
        return self._clients[service]

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

    @property
    def complaints(self) -> dict[str, list[dict[str, Any]]]:
        """By function, the errors that it logged lately, the oldest first."""
        return self._logs[0]

    @property
    def lost_logs(self) -> dict[str, str]:
        """By function, the log group that it writes to where that is gone."""
        return self._logs[1]

    @cached_property
    def _logs(self) -> tuple[dict[str, list[dict[str, Any]]], dict[str, str]]:
        found: dict[str, list[dict[str, Any]]] = {}
        lost: dict[str, str] = {}
        for function in self.functions:
            group = self.physical(f"{function.removesuffix('Function')}Logs")
            if group:
                try:
                    found[function] = self._errors(group)
                except self.client("logs").exceptions.ResourceNotFoundException:
                    lost[function] = group
        return found, lost

    @cached_property
    def failures(self) -> dict[str, list[Failure]]:
        """By function, what failed lately."""
        return {function: failures_in(function, lines) for function, lines in self.complaints.items()}

    @cached_property
    def record(self) -> Record:
        """What has succeeded since."""
        return Record(self)

    def _errors(self, group: str) -> list[dict[str, Any]]:
        """Those of a log, in which the oldest come first: where there are too many, the newest are read as well."""
        found: dict[str, dict[str, Any]] = {}
        for span in (LATELY, *_NEWEST):
            since = int((utc_now() - span).timestamp() * 1000)
            pages = self.client("logs").get_paginator("filter_log_events")
            events = (
                event
                for page in islice(pages.paginate(logGroupName=group, startTime=since, filterPattern="ERROR"), _PAGES)
                for event in page["events"]
            )
            read = list(islice(events, _LINES))
            found |= {f"{it['timestamp']} {it['message']}": line for it in read if (line := _error(it))}
            if len(read) < _LINES:
                break
        return sorted(found.values(), key=lambda line: line["at"])


def attention(subject: str, what: str, remedy: str, runbook: str = "") -> Finding:
    """Something is wrong."""
    return Finding(severity=Severity.ATTENTION, subject=subject, what=what, remedy=remedy, runbook=runbook)


def unknown(subject: str, what: str, remedy: str) -> Finding:
    """It could not be told whether something is wrong."""
    return Finding(severity=Severity.UNKNOWN, subject=subject, what=what, remedy=remedy)


def _error(event: dict[str, Any]) -> dict[str, Any] | None:
    """A line of a function's structured log, if it is an error, with the moment at which it was written as `at`."""
    line = line_of(event)
    return line if line and line.get("level") in {"ERROR", "CRITICAL"} else None
