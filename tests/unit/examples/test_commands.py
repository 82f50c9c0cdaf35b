"""Every command line of the sidecar in the examples and their documents is one that the sidecar takes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

import mtls_sidecar.cli
from tests.unit.examples.files import COMMANDS, SECRET, Command


def shown(command: Command, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings that the sidecar makes of a command line, by its own --check."""
    # Whether directories and programs are there is for the machine that it is meant for.
    monkeypatch.setattr(mtls_sidecar.cli, "check", lambda _: None)
    result = CliRunner().invoke(mtls_sidecar.cli.app, [*command.arguments, "--check"])
    assert result.exit_code == 0, result.output
    settings: dict[str, Any] = json.loads(result.stdout)
    return settings


def test_there_are_some_of_each_mode() -> None:
    assert {command.arguments[0] for command in COMMANDS} == {"files", "proxy"}
    assert len({command.where for command in COMMANDS}) > 6


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_the_sidecar_takes_it(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = shown(command, monkeypatch)

    assert settings["secret"] == SECRET
    if command.arguments[0] == "proxy":
        assert settings["upstream"].removesuffix("/") == "https://api.partner.example"
        assert settings["listen"].startswith(("127.0.0.1:", "unix:/"))
    else:
        assert settings["directory"].startswith("/run/")
        assert not settings["allow_disk"]


def test_a_mistake_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssertionError):
        shown(Command("here", ("proxy", SECRET, "--upstreams=https://api.partner.example")), monkeypatch)
