"""How a function becomes a command: the options that all commands share, what is printed, and the exit status."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Concatenate

import typer
from rich.text import Text

from mtls_rotation.errors import MtlsRotationError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.frame.flattening import flattened
from mtlsctl.stack.account import DEFAULT_STACK, Account
from mtlsctl.terminal import Terminal, without_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mtlsctl.report import Report
    from mtlsctl.stack.deployment import Deployment

_AWS = "AWS"


@dataclass(frozen=True, slots=True)
class Choices:
    """The options that every command takes, before its name or after it. None: not given."""

    stack: Annotated[
        str | None,
        typer.Option(
            envvar="MTLS_ROTATION_STACK", help=f"Name of the stack. Default: {DEFAULT_STACK}.", rich_help_panel=_AWS
        ),
    ] = None
    profile: Annotated[
        str | None, typer.Option(help="Profile of the AWS configuration files.", rich_help_panel=_AWS)
    ] = None
    region: Annotated[
        str | None, typer.Option(envvar="AWS_REGION", help="Region, such as eu-west-1.", rich_help_panel=_AWS)
    ] = None
    endpoint_url: Annotated[
        str | None, typer.Option(help="URL to send every call to, for a local AWS.", rich_help_panel=_AWS)
    ] = None
    as_json: Annotated[
        bool | None, typer.Option("--json", help="Print JSON; `mtlsctl schema` has its schema.", show_default=False)
    ] = None

    def over(self, before: Choices | None) -> Choices:
        """These, and where one is not given the one of `before`."""
        given = {it.name: value for it in fields(self) if (value := getattr(self, it.name)) is not None}
        return replace(before or Choices(), **given)


class CommandContext:
    """What a command works with: the deployment, and where it tells how it is getting on.

    Attributes:
        progress: a console on standard error, so that what is piped on is the report alone.
        interactive: whether an operator is there to ask.
    """

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self.as_json = bool(choices.as_json)
        self.progress = Terminal(stderr=True, quiet=self.as_json)
        self.interactive = sys.stdin.isatty() and not self.as_json

    @cached_property
    def deployment(self) -> Deployment:
        """The stack. boto3 and the engine are imported first when a command asks for it: most of the time is theirs."""
        from mtlsctl.stack.deployment import Deployment

        it = self._choices
        return Deployment(Account(it.stack or DEFAULT_STACK, it.profile, it.region, it.endpoint_url))

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show that something is under way."""
        with self.progress.status(f"{what} …"):
            yield


def command[**P](function: Callable[Concatenate[CommandContext, P], Report]) -> Callable[..., None]:
    """What typer makes a command of a function with: its own options, and those that all share.

    Args:
        function: gets a context and its own options, and returns a report. Its docstring is the command's help.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    @functools.wraps(function)
    def run(context: typer.Context, choices: Choices, **options: Any) -> None:
        raise typer.Exit(_carry_out(functools.partial(function, **options), choices.over(context.obj)))

    return flattened(run, [*own, *_SHARED])


def _keep(context: typer.Context, choices: Choices) -> None:
    """The shared options before a command's name."""
    context.obj = choices.over(context.obj)


_SHARED = tuple(inspect.signature(_keep, eval_str=True).parameters.values())
before_the_command = flattened(_keep, _SHARED)


def _carry_out(work: Callable[[CommandContext], Report], choices: Choices) -> int:
    context = CommandContext(choices)
    try:
        report = work(context)
    except MtlsRotationError as error:
        return refuse(error, context.as_json)
    except Exception as error:
        from botocore.exceptions import BotoCoreError, ClientError

        from mtlsctl.errors import from_aws

        if not isinstance(error, ClientError | BotoCoreError):
            raise
        return refuse(from_aws(error), context.as_json)
    if context.as_json:
        print(report.model_dump_json(indent=2, ensure_ascii=True))
    else:
        out = Terminal()
        for part in report.render():
            out.print(part, soft_wrap=isinstance(part, Text) and bool(part.no_wrap))  # print() forgets no_wrap
    return report.exit_status


def refuse(error: MtlsRotationError, as_json: bool = False) -> int:
    """Say why a command cannot do what it was asked for, and what to do. The exit status."""
    members = {name: without_keys(getattr(error, name)) for name in ("code", "where", "found", "expected", "remedy")}
    if as_json:
        print(json.dumps({"status": ExitStatus.UNKNOWN.word, "error": members}, indent=2))
    else:
        out = Terminal(stderr=True)
        out.print(f"[bold red]{error.code}[/]", end=" ")
        text = without_keys(str(error).removeprefix(f"{error.code} "))
        out.print(text, markup=False, highlight=False, soft_wrap=True)
    return ExitStatus.UNKNOWN
