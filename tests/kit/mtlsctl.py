"""mtlsctl as a test runs it: in this process, as an operator with given credentials would on a command line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from mtlsctl.app import REPORTS, app
from mtlsctl.commands.schema import schema_of


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit status."""

    exit_code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """What it said on standard error, but for the place in which it was about to change something."""
        first, _, rest = self.err.partition("\n")
        return rest if first.startswith("In account ") else self.err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Mtlsctl:
    """The command line against one AWS.

    Attributes:
        environment: the whole environment of the command.
    """

    environment: Mapping[str, str]
    stack: str

    def __call__(self, *arguments: str, typed: str | None = None) -> Ran:
        """Run a command; `typed` is what stands on its standard input."""
        with pytest.MonkeyPatch.context() as patch:
            for name in os.environ.keys() - self.environment.keys():
                patch.delenv(name)
            for name, value in (
                {"COLUMNS": "300"} | dict(self.environment) | {"MTLS_ROTATION_STACK": self.stack}
            ).items():
                patch.setenv(name, value)
            result = CliRunner().invoke(app, list(arguments), input=typed, catch_exceptions=False)
        return Ran(result.exit_code, result.stdout, result.stderr)

    def json(self, *arguments: str, typed: str | None = None) -> tuple[int, Any]:
        """Run a command with --json: its exit status, and what it printed, held to the schema that it documents."""
        ran = self(*arguments, "--json", typed=typed)
        document = ran.document
        name = next(it for it in (" ".join(arguments[:2]), arguments[0]) if it in REPORTS)
        jsonschema.validate(document, schema_of(REPORTS[name], name), jsonschema.Draft202012Validator)
        assert document["status"] == {0: "well", 1: "attention", 2: "unknown"}[ran.exit_code]
        return ran.exit_code, document
