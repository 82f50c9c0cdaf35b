"""`mtlsctl schema`: what the JSON of a command looks like, as JSON Schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtlsctl.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import UnionType

    from mtlsctl.report import Report


def schema_of(report: type[Report] | UnionType, name: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a command's report, or of the error that it may print instead.

    Args:
        report: what it reports: one thing, or one of several.
        name: of the command.
    """
    from pydantic import TypeAdapter

    described = TypeAdapter(report).json_schema(mode="serialization")
    definitions = described.pop("$defs", {})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"mtlsctl {name} --json",
        "anyOf": [described, _ERROR],
        **({"$defs": definitions} if definitions else {}),
    }


def printer(reports: Mapping[str, type[Report] | UnionType]) -> Any:
    """The command: it knows every other command's report."""

    def schema(
        name: Annotated[str, typer.Argument(metavar="COMMAND", help="Such as status, or 'truststore plan'.")] = "",
    ) -> None:
        """Print the JSON Schema of a command's --json; without a command, their names."""
        if not name:
            print("\n".join(sorted(reports)))
        elif name in reports:
            print(json.dumps(schema_of(reports[name], name), indent=2))
        else:
            raise InvalidInputError(
                where="mtlsctl schema",
                found=repr(name),
                expected="one of " + ", ".join(sorted(reports)),
                remedy="Name one of these.",
            )

    return schema


_TEXT = {"type": "string"}
_MEMBERS = ("code", "where", "found", "expected", "remedy")
_ERROR = {
    "title": "Error",
    "description": "The command could not do it; docs/operations.md has a section for each code.",
    "type": "object",
    "properties": {
        "status": {"const": "unknown"},
        "error": {
            "type": "object",
            "properties": dict.fromkeys(_MEMBERS, _TEXT),
            "required": list(_MEMBERS),
            "additionalProperties": False,
        },
    },
    "required": ["status", "error"],
    "additionalProperties": False,
}
