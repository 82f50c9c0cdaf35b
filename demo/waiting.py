"""Waiting on state, with a deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from localaws import LocalAws, RotationRun


def await_rotation(aws: LocalAws, version_id: str, seconds: float) -> RotationRun:
    """Wait until the rotation that made `version_id` has ended well, retries included.

    Raises:
        TimeoutError: it did not within `seconds`; the message says what its last run ended with.
    """
    errors = [""]

    def has_ended() -> bool:
        runs = [run for run in aws.rotations() if run.version_id == version_id]
        errors.extend(run.error for run in runs if run.error)
        return any(run.finished_at and run.error is None for run in runs)

    try:
        await_condition(has_ended, f"the rotation to {version_id}", seconds)
    except TimeoutError as error:
        raise TimeoutError(f"{error}: {errors[-1]}") from None
    return next(run for run in reversed(aws.rotations()) if run.version_id == version_id and run.error is None)


def await_condition(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until `condition` holds.

    Raises:
        TimeoutError: it did not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} s in vain: {what}")
        time.sleep(0.1)
