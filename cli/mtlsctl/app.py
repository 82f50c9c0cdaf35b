"""The typer application: which command has which name."""

from __future__ import annotations

import typer

from mtlsctl.commands import schema
from mtlsctl.commands.create import creating
from mtlsctl.commands.doctor import doctor
from mtlsctl.commands.explain import explain
from mtlsctl.commands.export import export
from mtlsctl.commands.importing.group import importing
from mtlsctl.commands.revoke import revoke
from mtlsctl.commands.rotate import rotate
from mtlsctl.commands.status import status
from mtlsctl.commands.truststore.group import truststore
from mtlsctl.commands.verify import verify
from mtlsctl.frame.command import REPORTS, before_the_command, command

app = typer.Typer(
    help="Keeps an eye and a hand on mtls-rotation: certificates, rotations, the truststore.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.callback()(before_the_command)

command(app, "status")(status)
command(app, "doctor")(doctor)
command(app, "explain")(explain)
command(app, "verify")(verify)
app.add_typer(truststore)
command(app, "revoke")(revoke)
command(app, "export")(export)
command(app, "rotate")(rotate)
app.add_typer(creating)
app.add_typer(importing)

app.command("schema")(schema.printer(REPORTS))
