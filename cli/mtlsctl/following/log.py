"""What the rotate function's log says of one rotation. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mtls_rotation.errors import MtlsRotationError, WaitingForCertificateError
from mtls_rotation.rotation.request import Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# Where in a message a remedy begins: behind what was expected.
_REMEDY = re.compile(r"\. (?=[A-Z])")
_REQUEST = re.compile(r"requested/[0-9a-f]{1,64}/\S{1,520}\.csr")


class Result(StrEnum):
    """What has become of a step.

    Attributes:
        WAITING: for the step before it.
        UNSIGNED: it waits for a certificate that somebody else signs.
        UNKNOWN: the log cannot be read.
    """

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    UNSIGNED = "unsigned"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Line:
    """A line in which a step says how it ended.

    Attributes:
        seconds: how long the step itself took; None where the line does not say.
        code: the error's; empty if there was none.
        reason: the error's whole message.
    """

    step: Step
    result: Result
    seconds: float | None = None
    code: str = ""
    reason: str = ""

    @property
    def waits_for_signature(self) -> bool:
        """Whether it ended because an external CA has yet to sign."""
        return self.code == WaitingForCertificateError.code

    @property
    def remedy(self) -> str:
        """What to do about it, as the message says."""
        _, _, rest = self.reason.partition(": found ")
        _, _, rest = rest.partition("; expected ")
        if self.reason.startswith("MTLS-") and (match := _REMEDY.search(rest)):
            return rest[match.end() :]
        if self.code.startswith("AWS.AccessDenied"):
            return "Compare the function's role with the template's; deploy the stack again."
        return "Look the code up in docs/operations.md."

    @property
    def retryable(self) -> bool:
        """Whether the next try may go well without a change."""
        return _RETRYABLE.get(self.code, not self.code.startswith("AWS.AccessDenied"))

    @property
    def request_key(self) -> str | None:
        """The signing request that it waits for an answer to, as a key of the bucket."""
        match = _REQUEST.search(self.reason)
        return match[0] if match else None


def read(messages: Iterable[str], version_id: str) -> list[Line]:
    """The lines about a version, in the order given; every other message is passed over."""
    return list(_lines(messages, version_id))


def latest(lines: Iterable[Line]) -> Mapping[Step, Line]:
    """How each step ended in the last run. A run that begins again makes what came after of no account."""
    order = list(Step)
    found: dict[Step, Line] = {}
    for line in lines:
        found[line.step] = line
        for later in order[order.index(line.step) + 1 :]:
            found.pop(later, None)
    return found


def _lines(messages: Iterable[str], version_id: str) -> Iterator[Line]:
    for message in messages:
        entry = _entry(message)
        name, seconds = entry.get("step"), entry.get("seconds")
        if entry.get("version") != version_id or not isinstance(name, str) or name not in set(Step):
            continue
        step, seconds = Step(name), seconds if isinstance(seconds, int | float) else None
        match entry.get("message"):
            case "step done":
                yield Line(step, Result.DONE, seconds)
            case "step failed":
                reason = str(entry.get("reason") or _last_line(str(entry.get("exception", ""))))
                yield Line(step, Result.FAILED, seconds, str(entry.get("code") or _code(reason)), reason)
            case "waiting for a certificate":
                yield Line(
                    step, Result.UNSIGNED, seconds, WaitingForCertificateError.code, str(entry.get("reason", ""))
                )


def _entry(message: str) -> dict[str, Any]:
    try:
        entry = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _last_line(traceback: str) -> str:
    """The exception itself, without its class."""
    last = traceback.strip().rpartition("\n")[2]
    return last.partition(": ")[2] or last


def _code(reason: str) -> str:
    match = re.match(r"MTLS-\d+", reason)
    return match[0] if match else "unknown"


def _every(kind: type[MtlsRotationError]) -> Iterator[type[MtlsRotationError]]:
    for it in kind.__subclasses__():
        yield it
        yield from _every(it)


_RETRYABLE = {it.code: it.retryable for it in _every(MtlsRotationError) if "code" in vars(it)}
