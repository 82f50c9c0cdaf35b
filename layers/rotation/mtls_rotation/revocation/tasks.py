"""Work that is done piece by piece, where whatever is wrong with one piece holds up no other. Calls nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtls_rotation.errors import SupersededError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task.

    Attributes:
        done: what was done it to; empty where nothing was due.
        problems: what could not be done, in words.
    """

    done: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Task:
    """Something that one CA or one secret may need.

    Attributes:
        failing: what has not happened where the task fails, in words.
        run: does it.
    """

    failing: str
    run: Callable[[], Outcome]


def attempt(task: Task) -> Outcome:
    """Run a task; what it raises becomes a problem.

    Raises:
        SupersededError: another run is ahead of this one, which begins afresh as a whole.
    """
    try:
        return task.run()
    except SupersededError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one CA or secret holds up no other
        return Outcome(problems=(f"{task.failing}: {error}",))
