"""What a program may show about its certificate, on a health page for instance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Status:
    """The certificate in use and the last check, without anything secret.

    Attributes:
        secret: the name or ARN, as it was given.
        version_id: the version in use; None before the first use, as are the next three.
        serial_number: the leaf's, lower-case hex.
        not_before: from when on it is valid, UTC.
        not_after: until when, UTC.
        last_checked: when Secrets Manager was last asked, with whatever outcome, UTC; None if it never was.
        next_check: from when on a use asks again, UTC; None if it never was asked.
        failures: how many checks have failed in a row.
        last_error: why the last check failed; None if it went well.
        checks: how many checks were made.
        failed_checks: how many of them failed.
        changes: how many versions were taken into use, the first included.
    """

    secret: str
    version_id: str | None
    serial_number: str | None
    not_before: datetime | None
    not_after: datetime | None
    last_checked: datetime | None
    next_check: datetime | None
    failures: int
    last_error: str | None
    checks: int = 0
    failed_checks: int = 0
    changes: int = 0
