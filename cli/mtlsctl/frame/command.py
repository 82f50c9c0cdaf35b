"""How a function becomes a command: the options that all commands share, what is printed, and the exit status."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, cast

import typer
from botocore.exceptions import BotoCoreError, ClientError
from rich.text import Text

from mtls_rotation.errors import MtlsRotationError
from mtlsctl.errors import from_aws
from mtlsctl.report import ExitStatus, Report
from mtlsctl.stack.deployment import DEFAULT_STACK, Account, Deployment
from mtlsctl.terminal import Terminal, without_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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

    def over(self, before: Choices) -> Choices:
        """These, and where one is not given the one of `before`."""
        given = {it.name: value for it in fields(self) if (value := getattr(self, it.name)) is not None}
        return replace(before, **given)


class CommandContext:
    """What a command works with: the deployment, and where it tells how it is getting on.

    Attributes:
        progress: a console on standard error, so that what is piped on is the report alone.
        interactive: whether there is somebody to ask.
    """

    def __init__(self, choices: Choices) -> None:
        self.as_json = bool(choices.as_json)
        self.progress = Terminal(stderr=True, quiet=self.as_json)
        self.interactive = sys.stdin.isatty() and not self.as_json
        self.deployment = Deployment(
            Account(choices.stack or DEFAULT_STACK, choices.profile, choices.region, choices.endpoint_url)
        )

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show that something is under way."""
        with self.progress.status(f"{what} …"):
            yield


# What each command reports, by its whole name: for `mtlsctl schema`.
REPORTS: dict[str, type[Report]] = {}


def command[**P](app: typer.Typer, name: str) -> Callable[[Callable[Concatenate[CommandContext, P], Report]], None]:
    """Register a function as a command. It gets a context and its own options, and returns a report.

    Options that several commands share are the fields of a dataclass; a parameter of that type gets one, filled in.

    Args:
        app: where to. The name of an application that is part of another comes before the command's.
        name: the command's.
    """

    def register(function: Callable[Concatenate[CommandContext, P], Report]) -> None:
        signature = inspect.signature(function, eval_str=True)
        own = list(signature.parameters.values())[1:]
        group = app.info.name
        REPORTS[f"{group} {name}" if isinstance(group, str) else name] = signature.return_annotation

        @functools.wraps(function)
        def run(**values: Any) -> None:
            context: typer.Context = values.pop("context")
            choices = _given(values).over(context.obj or Choices())
            bundles = {it.name: _fold(it.annotation, values) for it in own if is_dataclass(it.annotation)}
            raise typer.Exit(_carry_out(functools.partial(function, **values, **bundles), choices))

        _declare(run, [option for it in own for option in _unfold(it)])
        app.command(name)(run)

    return register


def before_the_command(context: typer.Context, **values: Any) -> None:
    """The shared options before a command's name."""
    context.obj = _given(values).over(context.obj or Choices())


def _carry_out(work: Callable[[CommandContext], Report], choices: Choices) -> int:
    context = CommandContext(choices)
    try:
        report = work(context)
    except MtlsRotationError as error:
        return refuse(error, context.as_json)
    except (ClientError, BotoCoreError) as error:
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


def _given(values: dict[str, Any]) -> Choices:
    """Take the shared options out of a command's."""
    return Choices(**{it.name: values.pop(it.name) for it in fields(Choices)})


def _unfold(parameter: inspect.Parameter) -> Iterable[inspect.Parameter]:
    """The options that a parameter stands for: the fields of a dataclass, or itself."""
    if is_dataclass(parameter.annotation):
        bundle = cast("Callable[..., object]", parameter.annotation)
        return inspect.signature(bundle, eval_str=True).parameters.values()
    return (parameter,)


def _fold(bundle: Any, values: dict[str, Any]) -> Any:
    """Take a dataclass's options out of a command's."""
    return bundle(**{it.name: values.pop(it.name) for it in fields(bundle)})


def _declare(function: Callable[..., None], own: list[inspect.Parameter]) -> None:
    """Give a function the parameters that typer is to make options of: its own, and those of all commands."""
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    shared = inspect.signature(Choices, eval_str=True).parameters.values()
    keywords = [it.replace(kind=inspect.Parameter.KEYWORD_ONLY) for it in (*own, context, *shared)]
    function.__signature__ = inspect.Signature(keywords, return_annotation=None)  # type: ignore[attr-defined]
    function.__annotations__ = {it.name: it.annotation for it in keywords}


_declare(before_the_command, [])
