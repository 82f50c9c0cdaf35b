"""What a shell is told when somebody presses the tab key: never an error."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mtlsctl.app import app
from mtlsctl.frame import completion
from mtlsctl.stack.account import Account
from tests.unit.cli.test_app import ENVIRONMENT


@pytest.mark.parametrize(
    ("words", "stack", "region"),
    [
        ("mtlsctl rotate cl", "variable", "variable"),
        ("mtlsctl --stack b --region r rotate cl", "b", "r"),
        ("mtlsctl --stack b rotate --region r cl", "b", "r"),
        ("mtlsctl --stack b import signed --stack c answer.pem --secret cl", "c", "variable"),
        ("mtlsctl import --stack c signed answer.pem --secret cl", "c", "variable"),
    ],
)
def test_the_names_are_those_of_the_stack_that_the_command_would_act_on(
    monkeypatch: pytest.MonkeyPatch, words: str, stack: str, region: str
) -> None:
    seen: list[Account] = []

    def names(account: Account, incomplete: str) -> list[str]:
        seen.append(account)
        return []

    monkeypatch.setattr(completion, "_names", names)
    asked = {"_MTLSCTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    for name, value in (asked | {"MTLS_ROTATION_STACK": "variable", "AWS_REGION": "variable"}).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit):
        app(prog_name="mtlsctl")

    assert [(it.stack, it.region) for it in seen] == [(stack, region)]


@pytest.mark.parametrize(
    "words", ["mtlsctl rotate cl", "mtlsctl import signed answer.pem --secret ", "mtlsctl rotate "]
)
@pytest.mark.parametrize("lacking", [(), ("AWS_REGION", "AWS_ENDPOINT_URL")], ids=["no AWS", "no region"])
def test_without_an_answer_nothing_is_completed_and_nothing_is_said(words: str, lacking: tuple[str, ...]) -> None:
    asked = {"_MTLSCTL_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in lacking} | asked
    told = subprocess.run(
        [sys.executable, "-m", "mtlsctl"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert (told.returncode, told.stdout.strip(), told.stderr) == (0, "", "")
