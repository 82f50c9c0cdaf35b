"""Options that commands share are the fields of a dataclass: typer sees the fields, a function the dataclass."""

from __future__ import annotations

import functools
import inspect
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


def flattened(function: Callable[..., None], parameters: Sequence[inspect.Parameter]) -> Callable[..., None]:
    """A function that typer can make a command of.

    Args:
        function: takes `parameters` by name. Its docstring is the command's help.
        parameters: one whose type is a dataclass stands for an option for each of the fields.
    """

    @functools.wraps(function)
    def run(**values: Any) -> None:
        function(**{it.name: _gathered(it, values) for it in parameters})

    flat = [option.replace(kind=option.KEYWORD_ONLY) for it in parameters for option in _options(it)]
    run.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]
    run.__annotations__ = {it.name: it.annotation for it in flat}
    return run


def _options(parameter: inspect.Parameter) -> Iterable[inspect.Parameter]:
    if not is_dataclass(parameter.annotation):
        return (parameter,)
    bundle = cast("Callable[..., object]", parameter.annotation)
    return inspect.signature(bundle, eval_str=True).parameters.values()


def _gathered(parameter: inspect.Parameter, values: dict[str, Any]) -> Any:
    if not is_dataclass(parameter.annotation):
        return values[parameter.name]
    bundle = cast("Callable[..., object]", parameter.annotation)
    return bundle(**{it.name: values[it.name] for it in fields(parameter.annotation)})
