"""The typer application: which command has which name."""

from __future__ import annotations

import typer

from mtlsctl.command import REPORTS, before_the_command, command
from mtlsctl.commands import schema
from mtlsctl.commands.status import status

app = typer.Typer(
    help="Keeps an eye and a hand on mtls-rotation: certificates, rotations, the truststore.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.callback()(before_the_command)

command(app, "status")(status)

app.command("schema")(schema.printer(REPORTS))
