"""Waits for what goes on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.timing import Deadline
from mtlsctl.errors import StillUnderWayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtlsctl.frame.command import CommandContext

_LONGEST_PAUSE = 2.0


def await_end(
    context: CommandContext,
    what_is_left: Callable[[], str],
    seconds: float,
    *,
    where: str,
    expected: str,
    remedy: str,
    afterwards: str = "It goes on by itself.",
) -> None:
    """Wait until nothing is left.

    Args:
        context: tells whoever ends the waiting that it goes on.
        what_is_left: in words; empty in the end. It looks afresh each time.
        seconds: for how long.
        where: of the error.
        expected: of the error.
        remedy: of the error.
        afterwards: what becomes of it when nobody waits any more.

    Raises:
        StillUnderWayError: something was left when the time was over.
    """
    left = ""
    goes_on = f"{afterwards} {remedy}"
    with context.waiting(goes_on):
        for _ in Deadline.within(seconds).attempts(longest=_LONGEST_PAUSE):
            if not (left := what_is_left()):
                return
    raise StillUnderWayError(where=where, found=f"{left} after {seconds:g} s", expected=expected, remedy=goes_on)
