"""The command line: `mtls-sidecar files` and `mtls-sidecar proxy`. Its flags are the fields of `settings`."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from mtls_client import ClientCertificate, MtlsClientError
from mtls_sidecar import logs
from mtls_sidecar.configuration import Given, Origin, check, flag, gather, key, variable
from mtls_sidecar.errors import ConfigurationError, SidecarError
from mtls_sidecar.lifecycle import Shutdown
from mtls_sidecar.run import certificate_for, run_files, run_proxy
from mtls_sidecar.settings import FilesSettings, ProxySettings, Settings

FAILED = 1
MISCONFIGURED = 2

# Tracebacks are plain, so that none shows what variables hold. Help is plain: it has brackets that are meant as such.
app = typer.Typer(
    name="mtls-sidecar",
    help="Gives programs in any language an mTLS client certificate that is always the newest.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> None:
    """The command `mtls-sidecar`."""
    app()


def _command[S: Settings](
    model: type[S], run: Callable[[S, ClientCertificate, Shutdown], Coroutine[Any, Any, None]]
) -> Callable[..., None]:
    """A command whose parameters are the model's fields. Typer learns of them by the signature."""

    def command(context: typer.Context, **_: Any) -> None:
        try:
            settings = gather(model, _given(context, model), context.params["config"])
            check(settings)
        except ConfigurationError as error:
            sys.stderr.write(f"mtls-sidecar: {error}\n")
            raise typer.Exit(MISCONFIGURED) from None
        if context.params["check"]:
            sys.stdout.write(json.dumps(settings.model_dump(mode="json"), indent=2) + "\n")
            return
        logs.set_up(settings.log_format)
        try:
            with certificate_for(settings) as certificate:
                asyncio.run(run(settings, certificate, Shutdown()))
        except (SidecarError, MtlsClientError) as error:
            logs.logger.error("%s", error)
            raise typer.Exit(FAILED) from None

    parameters = [_parameter(model, name) for name in model.model_fields]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [_plain("context", typer.Context, inspect.Parameter.empty), *parameters, _CONFIG, _CHECK]
    )
    return command


def _parameter(model: type[Settings], name: str) -> inspect.Parameter:
    """The flag of one field. It has no default here: what is not given is left to the file, and then to the model."""
    field = model.model_fields[name]
    default = "" if field.is_required() or field.default is None else f" Default: {shown(field.default)}."
    if name == "secret":
        argument = typer.Argument(metavar="SECRET", envvar=variable(name), help=field.description, show_default=False)
        return _plain(name, Annotated[str | None, argument], None)
    kind = bool if field.annotation is bool else str
    spelling = f"{flag(name)}/--no-{key(name)}" if kind is bool else flag(name)
    of_flag = typer.Option(spelling, envvar=variable(name), help=f"{field.description}{default}", show_default=False)
    return _plain(name, Annotated[kind | None, of_flag], None)


def shown(default: object) -> str:
    """How a default is written in a list of flags."""
    if isinstance(default, bool):
        return "no"
    return f"{default:g}" if isinstance(default, float) else str(default)


def _plain(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


_CONFIG = _plain(
    "config",
    Annotated[
        Path | None,
        typer.Option(
            "--config",
            envvar=variable("config"),
            help="TOML file with the flags' names for keys. Flags and environment go before it.",
        ),
    ],
    None,
)
_CHECK = _plain(
    "check",
    Annotated[
        bool,
        typer.Option("--check", help="See whether the settings are right, show them, and end. Asks AWS nothing."),
    ],
    False,
)


def _given(context: typer.Context, model: type[Settings]) -> dict[str, Given]:
    given = {}
    for name in model.model_fields:
        value = context.params[name]
        source = context.get_parameter_source(name)
        if value is not None and source is not None:
            given[name] = Given(value, Origin.ENVIRONMENT if source.name == "ENVIRONMENT" else Origin.FLAG)
    return given


app.command("files", help="Keep tls.crt, tls.key and ca.crt in a directory in memory.")(
    _command(FilesSettings, run_files)
)
app.command("proxy", help="Forward plain HTTP to an upstream over mTLS.")(_command(ProxySettings, run_proxy))
