"""Arguments and options read alike, whichever command they belong to."""

from __future__ import annotations

import inspect
from collections import defaultdict
from enum import Enum
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import pytest
from typer.models import ArgumentInfo, OptionInfo

from mtlsctl.app import ENTRIES
from mtlsctl.frame.command import command

# What may stand for a value in a help text.
PLACEHOLDERS = {
    *("ARN", "COMMAND", "DAYS", "FILE", "HEX", "HOURS", "ID", "NAME", "NUMBER", "SECONDS", "SECRET", "SHA256", "TEXT"),
    *("TOPIC", "URL"),
}


def parameters(name: str) -> list[tuple[str, Any, ArgumentInfo | OptionInfo]]:
    """A command's own and the shared: the name of each, the type of its value, and what typer is told."""
    found = inspect.signature(command(ENTRIES[name].load())).parameters.values()
    return [
        (it.name, get_args(it.annotation)[0], get_args(it.annotation)[1])
        for it in found
        if get_origin(it.annotation) is not None and it.name != "context"
    ]


def flags(info: ArgumentInfo | OptionInfo) -> list[str]:
    """As they were written; typer takes the first for a default."""
    return [it for it in (info.default, *(info.param_decls or ())) if isinstance(it, str) and it.startswith("--")]


def flag_of(name: str, info: ArgumentInfo | OptionInfo) -> str:
    return next(iter(flags(info)), f"--{name.replace('_', '-')}")


def is_a_choice(kind: Any) -> bool:
    kinds = [it for it in get_args(kind) if it is not NoneType] or [kind]
    return any(
        get_origin(getattr(it, "__value__", it)) is Literal or (isinstance(it, type) and issubclass(it, Enum))
        for it in (kind, *kinds)
    )


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_what_stands_for_a_value_is_in_capitals_and_help_is_a_sentence(name: str) -> None:
    for parameter, kind, info in parameters(name):
        flag = parameter if isinstance(info, ArgumentInfo) else flag_of(parameter, info)
        assert info.help, flag
        assert info.help[0].isupper() or info.help.startswith("https"), flag
        assert info.help.endswith("."), flag
        if bool in {kind, *get_args(kind)}:
            assert flags(info), f"{flag} would have a --no-"
            assert info.metavar is None, flag
        elif not is_a_choice(kind):
            assert info.metavar in PLACEHOLDERS, flag


def test_one_option_stands_for_the_same_in_every_command() -> None:
    found = defaultdict(set)
    for name in ENTRIES:
        for parameter, _, info in parameters(name):
            if isinstance(info, OptionInfo):
                found[flag_of(parameter, info)].add(info.metavar)

    # Of a CA that has signed it, what is named is the issuer itself; else, what kind of one.
    assert {flag: it for flag, it in found.items() if len(it) > 1} == {"--issuer": {None, "NAME"}}
