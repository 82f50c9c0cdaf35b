"""Which of the truststore's commands has which name."""

from __future__ import annotations

import typer

from mtlsctl.commands.truststore.diff import diff
from mtlsctl.commands.truststore.plan import plan
from mtlsctl.commands.truststore.show import show
from mtlsctl.commands.truststore.sync import sync
from mtlsctl.frame.command import command

truststore = typer.Typer(
    name="truststore", help="Shows the truststore, and has it brought in line.", no_args_is_help=True
)

command(truststore, "show")(show)
command(truststore, "diff")(diff)
command(truststore, "plan")(plan)
command(truststore, "sync")(sync)
