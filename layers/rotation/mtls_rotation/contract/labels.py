"""Staging labels of a secret's versions, Secrets Manager's and our own, and the name in an ARN. Calls nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.timing import from_compact, to_compact

if TYPE_CHECKING:
    from datetime import datetime
AWSCURRENT = "AWSCURRENT"
AWSPENDING = "AWSPENDING"
AWSPREVIOUS = "AWSPREVIOUS"
# A client may hold what is at one of these.
HELD_LABELS = frozenset({AWSCURRENT, AWSPENDING, AWSPREVIOUS})
# Our own labels: the version that keeps a key and its signing request; the one that createSecret has put and testSecret
# has not passed yet; and the CA that issues while its successor is only announced. The last carries the end of the
# notice, so that whoever reads labels alone can tell when it is over.
SIGNING_REQUEST = "MTLS-CSR"
UNTESTED = "MTLS-UNTESTED"
_ISSUES_UNTIL = "MTLS-ISSUES-UNTIL-"


def issues_until(end: datetime) -> str:
    """The label of the CA version that issues until `end`."""
    return f"{_ISSUES_UNTIL}{to_compact(end)}"


def end_of_issuing(label: str) -> datetime | None:
    """The moment in a label that `issues_until` made; None if it is another label."""
    return from_compact(label.removeprefix(_ISSUES_UNTIL)) if label.startswith(_ISSUES_UNTIL) else None


def secret_name(secret_id: str) -> str:
    """The name in a secret's ARN, whose last six characters and hyphen are Secrets Manager's; a name as it is."""
    if not secret_id.startswith("arn:"):
        return secret_id
    return secret_id.split(":", 6)[-1].rpartition("-")[0]
