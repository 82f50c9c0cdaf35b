"""How functions of the emulator are replaced: every name is looked up first, so that an upgrade cannot pass unseen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

type Change = Callable[[Any], Any]

_EMULATOR = "ministack"


class EmulatorChangedError(RuntimeError):
    """The emulator is not the one that the replacements were written for."""


@dataclass(frozen=True)
class Replacement:
    """One name of the emulator, and what it stands for from the start on.

    Attributes:
        module: where the emulator looks the name up.
        name: ``attribute``, ``object.attribute``, or ``registry[key]``.
        change: given what the emulator has there, returns what is there afterwards.
        why: what the emulator lacks or does differently from AWS.
        new: the emulator has nothing there; ``change`` is given None.
    """

    module: str
    name: str
    change: Change
    why: str
    new: bool = False

    def problem(self) -> str | None:
        """Return in which way the emulator is not as expected; None if it is."""
        try:
            there = self._is_there()
        except (ImportError, AttributeError) as error:
            return f"{self} is out of reach ({error})"
        if there and self.new:
            return f"{self} is there by now"
        return None if there or self.new else f"{self} is not there"

    def apply(self) -> None:
        """Put the replacement in its place."""
        holder, last = self.holder()
        present = self._is_there()
        if self.in_registry:
            holder[last] = self.change(holder[last] if present else None)
        else:
            setattr(holder, last, self.change(getattr(holder, last) if present else None))

    def __str__(self) -> str:
        """Return the name with its module."""
        return f"{self.module}.{self.name}"

    @property
    def in_registry(self) -> bool:
        """Whether the name is a key of a registry."""
        return self.name.endswith("]")

    def holder(self) -> tuple[Any, str]:
        """Return what holds the name, and the last part of the name."""
        path, _, key = self.name.removesuffix("]").partition("[")
        *objects, last = [*path.split("."), key] if self.in_registry else path.split(".")
        holder: Any = import_module(self.module)
        for name in objects:
            holder = getattr(holder, name)
        return holder, last

    def _is_there(self) -> bool:
        holder, last = self.holder()
        return last in holder if self.in_registry else hasattr(holder, last)


def apply(replacements: Iterable[Replacement]) -> None:
    """Apply ``replacements`` in their order, or none of them.

    Raises:
        EmulatorChangedError: a name is not there, or one is there that should be new.
    """
    replacements = tuple(replacements)
    problems = [problem for replacement in replacements if (problem := replacement.problem()) is not None]
    if problems:
        raise EmulatorChangedError(
            f"{_EMULATOR} {version(_EMULATOR)} is not as localaws/process/replacements.py expects it: "
            f"{'; '.join(problems)}. Find out what has become of it in the emulator, and correct the list."
        )
    for replacement in replacements:
        replacement.apply()


def instead(value: Any) -> Change:
    """Return the change to ``value``, whatever the emulator has."""
    return lambda _: value


def around(function: Callable[..., Any]) -> Change:
    """Return the change to ``function``, which is given the emulator's own as its first argument."""
    return lambda emulated: functools.partial(function, emulated)
