"""Commands by their names: a command's module is imported when it is called, not when it is listed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any, override

import typer
from typer.core import TyperGroup

from mtlsctl.frame.command import command, refuse_usage
from mtlsctl.terminal import make_do

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import UnionType

    from typer.core import MarkupMode

    from mtlsctl.report import Report

_MARKUP: MarkupMode = "rich"


@dataclass(frozen=True, slots=True)
class Entry:
    """A command.

    Attributes:
        function: where it is, such as "mtlsctl.commands.status:status".
        summary: the first paragraph of its help, for the list of commands.
        changes: whether it changes something on AWS: it then says in which account, region and stack.
    """

    function: str
    summary: str
    changes: bool = False

    def load(self) -> Callable[..., Report]:
        """The function itself."""
        module, _, name = self.function.partition(":")
        function: Callable[..., Report] = getattr(import_module(module), name)
        return function


def group(commands: Mapping[str, Entry], **settings: Any) -> typer.Typer:
    """An application of commands, each of which is imported when it is called."""

    class Group(TyperGroup):
        """For a list of commands, names and summaries are enough; for a call, the command itself is built."""

        @override
        def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
            name, found, rest = super().resolve_command(ctx, args)
            entry = commands.get(name or "")
            return name, _built(name, entry) if entry else found, rest

        @override
        def main(self, args: Sequence[str] | None = None, *rest: Any, **settings: Any) -> Any:
            """What cannot be understood is told as every error is: a key may stand where an option belongs."""
            make_do()
            try:
                status = super().main(args, *rest, **{**settings, "standalone_mode": False})
            except Exception as error:
                if not hasattr(error, "format_message"):
                    raise
                status = refuse_usage(error, "--json" in (sys.argv[1:] if args is None else args))
            sys.exit(status)

    names = {"help_option_names": ["-h", "--help"]}
    app = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=_MARKUP, context_settings=names, **settings)
    for name, entry in commands.items():
        app.command(name, help=entry.summary)(_not_built)
    return app


class Reports(Mapping[str, "type[Report] | UnionType"]):
    """What each command reports, by its whole name."""

    def __init__(self, commands: Mapping[str, Entry]) -> None:
        self._commands = commands

    @override
    def __getitem__(self, name: str) -> type[Report] | UnionType:
        report: type[Report] | UnionType = signature(self._commands[name].load(), eval_str=True).return_annotation
        return report

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._commands)

    @override
    def __len__(self) -> int:
        return len(self._commands)


def _built(name: str | None, entry: Entry) -> Any:
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=_MARKUP)
    app.command(name)(command(entry.load(), changes=entry.changes))
    return typer.main.get_command(app)


def _not_built() -> None:
    """In the place of a command that has not been called."""
