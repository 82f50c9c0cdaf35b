"""Which lines of the readers' own code an input reaches, by sys.monitoring. Costs nothing once a line is known."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any

_TOOL = 4
_EVENTS = sys.monitoring.events


class Lines:
    """The lines of some modules' functions: how many there are, and which were reached."""

    def __init__(self, modules: Iterable[ModuleType]) -> None:
        self._codes = {code for module in modules for code in _codes(module)}
        self.all = {(code.co_filename, line) for code in self._codes for line in _lines(code)}
        self.reached: set[tuple[str, int]] = set()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Note what is reached as long as the block runs."""
        sys.monitoring.use_tool_id(_TOOL, "fuzz")
        sys.monitoring.register_callback(_TOOL, _EVENTS.LINE, self._note)
        sys.monitoring.restart_events()
        for code in self._codes:
            sys.monitoring.set_local_events(_TOOL, code, _EVENTS.LINE)
        try:
            yield
        finally:
            for code in self._codes:
                sys.monitoring.set_local_events(_TOOL, code, 0)
            sys.monitoring.free_tool_id(_TOOL)

    def _note(self, code: CodeType, line: int) -> Any:
        self.reached.add((code.co_filename, line))
        return sys.monitoring.DISABLE


def _codes(module: ModuleType) -> Iterator[CodeType]:
    waiting: list[object] = [it for it in vars(module).values() if getattr(it, "__module__", None) == module.__name__]
    seen = set()
    while waiting:
        it = waiting.pop()
        it = getattr(it, "__func__", None) or getattr(it, "fget", None) or getattr(it, "func", None) or it
        while hasattr(it, "__wrapped__"):
            it = it.__wrapped__
        if id(it) in seen:
            continue
        seen.add(id(it))
        if isinstance(it, FunctionType) and it.__code__.co_filename == module.__file__:
            codes = [it.__code__]
            for code in codes:
                yield code
                codes += [const for const in code.co_consts if isinstance(const, CodeType)]
        elif isinstance(it, type):
            waiting += [member for member in vars(it).values() if not isinstance(member, str | int)]


def _lines(code: CodeType) -> Iterator[int]:
    # The first is the line of "def".
    yield from {line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno}
