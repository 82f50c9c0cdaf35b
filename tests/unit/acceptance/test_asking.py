"""Nothing is made before somebody has said yes, with real credentials, and with a domain that is free."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from acceptance import account, asking
from acceptance.__main__ import main, say


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("answer", ["y", "Y", "yes", " yes "])
def test_yes_goes_on(answer: str) -> None:
    asking.ask("Go on?", yes=False, terminal=Terminal(), answer=lambda _: answer)


@pytest.mark.parametrize("answer", ["", "n", "no", "yesterday"])
def test_anything_else_does_not(answer: str) -> None:
    with pytest.raises(asking.DeclinedError):
        asking.ask("Go on?", yes=False, terminal=Terminal(), answer=lambda _: answer)


def test_without_a_terminal_it_is_said_how_to_go_on() -> None:
    with pytest.raises(asking.UnansweredError, match="YES=1"):
        asking.ask("Go on?", yes=False, terminal=io.StringIO())
    asking.ask("Go on?", yes=True, terminal=io.StringIO())


class Gone(io.StringIO):
    """The terminal of a connection that has ended."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_what_is_told_to_a_terminal_that_is_gone_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("acceptance.__main__.console", Console(file=Gone()))
    say("removing what was made")
    say("removed: a stack")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials, wherever boto3 looks."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.mark.usefixtures("nobody")
def test_without_credentials_or_a_region_nothing_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with pytest.raises(account.NoAccountError, match="no AWS credentials"):
        main([], tmp_path)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(account.NoAccountError, match="no AWS credentials"):
        main([], tmp_path)
    monkeypatch.delenv("AWS_REGION")
    with pytest.raises(account.NoAccountError, match="AWS_REGION"):
        main([], tmp_path)


def test_a_domain_without_its_zone_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--domain-name", "api.example.com"], tmp_path)
    assert "belong together" in capsys.readouterr().err
