"""Work that is done piece by piece, where whatever is wrong with one piece holds up no other. Calls nothing itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtls_rotation.errors import KeyNotUsableYetError, SupersededError

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a task.

    Attributes:
        done: what was done it to; empty where nothing was due.
        problems: what could not be done, in words.
        late: what cannot be done yet, in words: AWS does not know of a key that was just made, or of its tags.
    """

    done: str = ""
    problems: tuple[str, ...] = ()
    late: tuple[str, ...] = ()


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
    """Run a task; what it raises becomes a problem, or is late.

    Raises:
        SupersededError: another run is ahead of this one, which begins afresh as a whole.
    """
    try:
        return task.run()
    except SupersededError:
        raise
    except KeyNotUsableYetError as error:
        return Outcome(late=(f"{task.failing}: {error}",))
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one CA or secret holds up no other
        return Outcome(problems=(f"{task.failing}: {error}",))
