"""Which of the imports has which name."""

from __future__ import annotations

import typer

from mtlsctl.commands.importing.client import client
from mtlsctl.commands.importing.signed import signed
from mtlsctl.frame.command import command

importing = typer.Typer(name="import", help="Take in a certificate that is there already.", no_args_is_help=True)

command(importing, "client")(client)
command(importing, "signed")(signed)
