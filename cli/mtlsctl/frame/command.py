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
from mtlsctl.terminal import Terminal, in_one_line, without_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from mtlsctl.report import Report
    from mtlsctl.stack.deployment import Deployment

_AWS = "AWS"
# What a shell says of a command that was ended by Ctrl-C: 128 and the number of the signal.
INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Choices:
    """The options that every command takes, before its name or after it. None: not given."""

    stack: Annotated[
        str | None,
        typer.Option(
            envvar="MTLS_ROTATION_STACK",
            metavar="NAME",
            help=f"Name of the stack. Default: {DEFAULT_STACK}.",
            rich_help_panel=_AWS,
        ),
    ] = None
    profile: Annotated[
        str | None, typer.Option(metavar="NAME", help="Profile of the AWS configuration files.", rich_help_panel=_AWS)
    ] = None
    region: Annotated[
        str | None,
        typer.Option(envvar="AWS_REGION", metavar="NAME", help="Region, such as eu-west-1.", rich_help_panel=_AWS),
    ] = None
    endpoint_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="URL to send every call to, for a local AWS.", rich_help_panel=_AWS),
    ] = None
    as_json: Annotated[
        bool | None, typer.Option("--json", help="Print JSON; `mtlsctl schema` has its schema.", show_default=False)
    ] = None

    def over(self, before: Choices | None, by_variable: Collection[str] = ()) -> Choices:
        """These, and where one is not given the one of `before`.

        Args:
            before: what was given before, by option or by variable; None if this is the first place to look at.
            by_variable: the options here that nobody gave, and whose value is a variable's. What was given before
                counts for more, and if nothing was, the variable has been looked at there already.
        """
        left_out = by_variable if before is not None else ()
        given = {
            it.name: value
            for it in fields(self)
            if it.name not in left_out and (value := getattr(self, it.name)) is not None
        }
        return replace(before or Choices(), **given)


class CommandContext:
    """What a command works with: the deployment, and where it tells how it is getting on.

    Attributes:
        progress: a console on standard error, so that what is piped on is the report alone.
        interactive: whether an operator is there to ask.
    """

    def __init__(self, choices: Choices, *, changes: bool = False) -> None:
        self._choices = choices
        self._changes = changes
        self.as_json = bool(choices.as_json)
        self.progress = Terminal(stderr=True, quiet=self.as_json)
        self.interactive = somebody_types() and not self.as_json

    @cached_property
    def deployment(self) -> Deployment:
        """The stack. boto3 and the engine are imported first when a command asks for it: most of the time is theirs."""
        from mtlsctl.stack.deployment import Deployment

        it = self._choices
        deployment = Deployment(Account(it.stack or DEFAULT_STACK, it.profile, it.region, it.endpoint_url))
        if self._changes:
            # With --json, too: standard output is the program's, and this is for whoever reads its log. Elsewhere by
            # the console that shows what is under way, which gives it a line of its own.
            console = Terminal(stderr=True) if self.as_json else self.progress
            console.print(Text(in_one_line(f"In {deployment.place}:"), "dim"), soft_wrap=True)
        return deployment

    def tell(self, what: str, style: str = "") -> None:
        """Say in a line of its own how it is getting on. It is not broken: the terminal does that."""
        self.progress.print(Text(in_one_line(without_keys(what)), style), soft_wrap=True)

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show that something is under way."""
        with self.progress.status(Text(f"{what} …")):
            yield

    @contextmanager
    def waiting(self, goes_on: str) -> Iterator[None]:
        """Wait for what goes on by itself: whoever ends the waiting by Ctrl-C is told so.

        Args:
            goes_on: that it does, and how to see the end of it.
        """
        try:
            yield
        except KeyboardInterrupt as interrupt:
            raise KeyboardInterrupt(goes_on) from interrupt


def somebody_types() -> bool:
    """Whether standard input is a terminal."""
    return sys.stdin.isatty()


def _tell_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"mtlsctl {version('mtlsctl')}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version, and nothing else.")
]


def command[**P](
    function: Callable[Concatenate[CommandContext, P], Report], *, changes: bool = False
) -> Callable[..., None]:
    """What typer makes a command of a function with: its own options, and those that all share.

    Args:
        function: gets a context and its own options, and returns a report. Its docstring is the command's help.
        changes: whether it changes something on AWS. It then says where, before it does.
    """
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    @functools.wraps(function)
    def run(context: typer.Context, choices: Choices, **options: Any) -> None:
        chosen = choices.over(context.obj, _by_variable(context))
        raise typer.Exit(_carry_out(functools.partial(function, **options), chosen, changes=changes))

    return flattened(run, [*own, *_SHARED])


def _keep(context: typer.Context, choices: Choices) -> None:
    """The shared options before a command's name."""
    context.obj = choices.over(context.obj, _by_variable(context))


def given_in(context: typer.Context, before: Choices | None) -> Choices:
    """The shared options as far as this context's command, where nothing was run: for a shell that completes."""
    values = {it.name: context.params.get(it.name) for it in fields(Choices)}
    return Choices(**values).over(before, _by_variable(context))


def _by_variable(context: typer.Context) -> set[str]:
    """The shared options whose value comes from an environment variable."""
    sources = {it.name: context.get_parameter_source(it.name) for it in fields(Choices)}
    return {name for name, source in sources.items() if source is not None and source.name == "ENVIRONMENT"}


_SHARED = tuple(inspect.signature(_keep, eval_str=True).parameters.values())
before_the_command = flattened(_keep, _SHARED)


def _begin(context: typer.Context, choices: Choices, version: _Version = False) -> None:
    """The shared options before everything, and what ends the command line at once."""
    del version
    _keep(context, choices)


at_the_beginning = flattened(_begin, tuple(inspect.signature(_begin, eval_str=True).parameters.values()))


def _carry_out(work: Callable[[CommandContext], Report], choices: Choices, *, changes: bool) -> int:
    context = CommandContext(choices, changes=changes)
    try:
        report = work(context)
    except KeyboardInterrupt as interrupt:
        begun = " Whether something has begun, `mtlsctl status` shows." if changes else ""
        tell_interrupted(str(interrupt) or f"Ended by Ctrl-C.{begun}", context)
        return INTERRUPTED
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


def tell_interrupted(what: str, context: CommandContext) -> None:
    """Say what became of a command that was ended by Ctrl-C; a program gets JSON all the same."""
    if context.as_json:
        members = {
            "code": "INTERRUPTED",
            "where": "mtlsctl",
            "found": "Ctrl-C",
            "expected": "to come to an end by itself",
            "remedy": what,
        }
        print(json.dumps({"status": ExitStatus.UNKNOWN.word, "error": members}, indent=2))
    else:
        context.tell(what)


def refuse(error: MtlsRotationError, as_json: bool = False) -> int:
    """Say why a command cannot do what it was asked for, and what to do. The exit status."""
    members = {name: without_keys(getattr(error, name)) for name in ("code", "where", "found", "expected", "remedy")}
    if as_json:
        print(json.dumps({"status": ExitStatus.UNKNOWN.word, "error": members}, indent=2))
    else:
        out = Terminal(stderr=True)
        told = f" {members['where']}: found {members['found']}; expected {members['expected']}. {members['remedy']}"
        out.print(Text.assemble((error.code, "bold red"), told), soft_wrap=True)
    return ExitStatus.UNKNOWN


def refuse_usage(error: Any, as_json: bool) -> int:
    """Say what of a command line cannot be understood. The exit status.

    Args:
        error: typer's, which has a message and mostly a context. That no command was named has been told by its help.
        as_json: whether that was asked for somewhere in the line.
    """
    from mtlsctl.errors import InvalidInputError

    if type(error).__name__ == "NoArgsIsHelpError":
        return int(error.exit_code)
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "mtlsctl"
    usage = " ".join(context.get_usage().split()).removeprefix("Usage: ").rstrip(".") if context else "mtlsctl COMMAND"
    found = in_one_line(error.format_message()).rstrip(".")
    refused = InvalidInputError(where=path, found=found, expected=usage, remedy=f"See `{path} --help`.")
    return refuse(refused, as_json)
