"""What reaches a terminal: texts that somebody else chose do nothing to it, and no key that was misplaced is shown."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta, timezone
from io import StringIO
from pathlib import Path

import pytest
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from mtls_rotation.pki.certificates import key_to_pem
from mtls_rotation.truststore.plan import LeftOut
from mtlsctl.commands.status import judge
from mtlsctl.findings import attention
from mtlsctl.show import shown as shown_findings
from mtlsctl.stack.survey import Survey
from mtlsctl.terminal import Terminal
from tests.kit import builders
from tests.kit.builders import NOW
from tests.kit.mtlsctl import Mtlsctl
from tests.unit.cli.conftest import spoiled
from tests.unit.cli.test_app import ENVIRONMENT

ESCAPE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
KEY = key_to_pem(builders.leaf(builders.root()).key)


def shown(*parts: object) -> str:
    out = StringIO()
    terminal = Terminal(file=out, force_terminal=True, width=200)
    for part in parts:
        terminal.print(part)
    return out.getvalue()


def test_no_text_of_somebody_elses_moves_the_cursor() -> None:
    table = Table("subject")
    table.add_row(Text(f"CN={ESCAPE}"))

    for out in (shown(Text(f"CN={ESCAPE}", style="bold")), shown(table)):
        assert "owned" in out
        for sequence in ("\x1b]", "\x1b[2J", "\x9b", "\u202e", "\x07"):
            assert sequence not in out
    assert "\x1b[1m" in shown(Text("well", style="bold"))  # our own colours stay


def test_the_name_of_an_upload_makes_no_line_of_its_own(survey: Survey) -> None:
    entry = LeftOut(f"anchors/static/a\n✓ Everything is fresh.{ESCAPE}.pem", 1, "CN=x", "", "rubbish", rejected=True)
    plan = replace(survey.preview.plan, left_out=(entry,))
    report = judge(replace(survey, preview=replace(survey.preview, plan=plan)), "s", "us-east-1")

    out = shown(*report.render())

    assert "anchors/static/a ✓ Everything is fresh." in out
    assert "\x1b]" not in out


@pytest.mark.parametrize("json", [(), ("--json",)])
@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "client", "x", "--certificate", os.devnull, "--private-key", KEY),
        ("import", "client", "x", "--from", KEY),
        ("revoke", "--certificate", KEY),
        ("verify", "client", "--server-ca", KEY),
    ],
    ids=lambda it: " ".join(it[:2]),
)
def test_a_key_in_place_of_a_files_name_is_not_repeated(arguments: tuple[str, ...], json: tuple[str, ...]) -> None:
    ran = Mtlsctl(ENVIRONMENT, "s")(*arguments, *json)

    assert ran.exit_code == 2
    said = (ran.out + ran.err).replace("\\n", "\n")
    assert not [line for line in KEY.splitlines()[1:-1] if line in said]


def test_moments_are_told_in_utc_whatever_this_machines_zone(survey: Survey) -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    report = judge(spoiled(survey, last_rotated=there), "s", "us-east-1")

    assert report.secrets[0].last_rotated == NOW
    assert f'"last_rotated":"{NOW:%Y-%m-%dT%H:%M:%SZ}"' in report.model_dump_json()


def test_a_terminal_that_lacks_a_sign_shows_the_rest(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "mtlsctl", "explain", "MTLS-203"],
        env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (told.returncode, told.stderr) == (0, "")
    assert " ? A handshake that is refused" in told.stdout, "a list, whose dots ASCII lacks"


@pytest.mark.parametrize("columns", ["0", "²", "-5", "x", ""])
@pytest.mark.parametrize("arguments", [("explain", "MTLS-203"), ("explain", "MTLS-999"), ("status", "--help")])
def test_what_is_no_width_takes_no_word_away(columns: str, arguments: tuple[str, ...]) -> None:
    """Some shells export COLUMNS=0."""
    found = Mtlsctl(ENVIRONMENT | {"COLUMNS": columns, "LINES": columns}, "s")(*arguments)
    expected = Mtlsctl(ENVIRONMENT | {"COLUMNS": "80"}, "s")(*arguments)

    assert (found.out + found.err).split() == (expected.out + expected.err).split() != []


def test_what_is_piped_on_has_no_blanks_at_the_ends_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table("subject", "why")
    table.add_row("CN=a", "")

    out = StringIO()
    terminal = Terminal(file=out)
    terminal.print(table)
    terminal.print(Markdown("## Codes\n\n    mtlsctl status\n\n- it is so"))

    assert "mtlsctl status" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) < 100
    assert not [it for it in out.getvalue().splitlines() if it != it.rstrip()]


def test_a_remedy_can_be_pasted_with_its_section_behind_it() -> None:
    finding = attention("s/client", "it is so", "mtlsctl rotate s/client --wait", "The key of a CA was stolen")

    _, remedy = shown_findings([finding], "")

    pasted = str(remedy).strip().removeprefix("→ ")
    assert shlex.split(pasted, comments=True) == ["mtlsctl", "rotate", "s/client", "--wait"]
