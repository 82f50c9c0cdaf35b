"""What an operator is told to do can be pasted: each command in a text of the code, and in the runbook, is one."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from botocore import xform_name
from botocore.session import Session
from typer.testing import CliRunner

from mtlsctl.app import app
from mtlsctl.frame import command as frame
from tests.repository.documents import ROOT
from tests.repository.documents.commands import of

PACKAGES = ("cli/mtlsctl", "layers/rotation/mtls_rotation", "client/mtls_client", "sidecar/mtls_sidecar", "functions")
# What stands for a value that is known first when the text is made. It is a number where one is asked for, too.
SOME = "7"
# Where a command begins that is not in backticks, and where it ends.
_COMMAND = re.compile(
    r"(?:(?<=^)|(?<=[:→(] )|(?<=\bwith )|(?<=\bthen )|(?<=\bby )|(?<=&& ))(?=(?:aws|mtlsctl) [a-z-]+)"
)
# Commands of the CLI that are no operations: https://docs.aws.amazon.com/cli/latest/reference/
OF_THE_CLI = {"s3": {"cp", "ls", "mv", "rm", "sync"}, "logs": {"tail"}}
FOR_ALL = {
    *("query", "output", "region", "profile", "endpoint-url", "cli-input-json", "no-cli-pager", "no-paginate"),
    *("max-items", "page-size", "starting-token"),
}
# The CLI's own name for an option, where the API's would be taken for one of all commands.
RENAMED = {("sns", "subscribe"): {"notification-endpoint": "endpoint"}}


def texts() -> Iterator[tuple[str, str]]:
    """Every text that the code says, with the place it stands at; what is known later is `SOME`."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in _said(ast.parse(path.read_text())):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", _text(node)


def _said(tree: ast.AST) -> Iterator[ast.expr]:
    """The expressions that are texts, without docstrings and without the parts of others."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.expr) and _is_text(node):
            yield node
        elif not (isinstance(node, ast.Expr) and _is_text(node.value)):
            waiting += ast.iter_child_nodes(node)


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _is_text(left) or _is_text(right)
    return False


def _text(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=values):
            return "".join(map(_text, values))
        case ast.BinOp(left=left, right=right):
            return _text(left) + _text(right)
        case ast.IfExp(body=body):
            return _text(body)
    return SOME


def commands_in(text: str) -> Iterator[str]:
    """The commands in a text: those in backticks, and whatever follows one that stands free, to the text's end."""
    for code in re.findall(r"`((?:aws|mtlsctl) [^`]+)`", text):
        if not _mention(code):
            yield code
    free = re.sub(r"`[^`]*`", "", text)
    found = _COMMAND.search(free)
    if found and not _mention(code := free[found.start() :].strip()):
        yield code


def _mention(code: str) -> bool:
    """Whether a sentence only names a command."""
    words = code.split()
    return code.endswith("...") or (words[0] == "mtlsctl" and len(words) < 4 and not {"-", "<"} & {*"".join(words[2:])})


_session = cache(Session)


@cache
def model(service: str) -> Any:
    return _session().get_service_model("s3" if service == "s3api" else service)


def problem(command: str) -> str:
    """Why a command cannot be pasted; empty if it can."""
    return syntax_error(command) or misuse(command)


def misuse(command: str) -> str:
    """What its program would not understand of a command."""
    try:
        words = shlex.split(command, comments=True, posix=True)
    except ValueError as error:
        return str(error)
    while words:
        end = next((at for at, word in enumerate(words) if word in {"&&", "|", ">", ";"}), len(words))
        if words[0] in {"aws", "mtlsctl"} and (why := (_of_aws if words[0] == "aws" else _of_ours)(words[1:end])):
            return why
        words = words[end + 1 :]
    return ""


def syntax_error(commands: str) -> str:
    checked = subprocess.run(["bash", "-n"], input=commands, capture_output=True, text=True, check=False)
    return checked.stderr.strip()


def problems(told: list[tuple[str, str]]) -> dict[str, str]:
    """What is wrong with commands, by their places. One shell looks at all of them, unless it finds something."""
    look = problem if syntax_error("\n".join(it for _, it in told)) else misuse
    return {f"{place}: {it}": why for place, it in told if (why := look(it))}


def _of_ours(arguments: list[str]) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame, "_carry_out", lambda *_, **__: 0)
        ran = CliRunner().invoke(app, arguments)
    return "" if ran.exit_code == 0 else ran.stderr or repr(ran.exception)


def _of_aws(arguments: list[str]) -> str:
    service, operation, *rest = arguments
    if operation in {*OF_THE_CLI.get(service, ()), "wait"} or SOME in operation:
        return ""
    options = {it.partition("=")[0].removeprefix("--") for it in rest if it.startswith("--")}
    renamed = RENAMED.get((service, operation), {})
    options = {renamed.get(it, it) for it in options}
    names = {xform_name(it, "-"): it for it in model(service).operation_names}
    if operation not in names:
        return f"{service} has no {operation}"
    shape = model(service).operation_model(names[operation]).input_shape
    members = {xform_name(it, "-"): member for it, member in shape.members.items()} if shape else {}
    switches = {f"no-{name}" for name, it in members.items() if it.type_name == "boolean"}
    if odd := options - members.keys() - switches - FOR_ALL:
        return f"{service} {operation} has no {', '.join(sorted(odd))}"
    if any(not before.startswith("--") and set(it) == {*SOME} for before, it in pairwise([operation, *rest])):
        return ""  # what is known first when the text is made may be the rest of it
    required = {xform_name(it, "-") for it in shape.required_members} if shape else set()
    lacking = required - options - {it.removeprefix("no-") for it in options}
    return f"{service} {operation} needs {', '.join(sorted(lacking))}" if lacking else ""


CODE = sorted({(place, command) for place, text in texts() for command in commands_in(text)})
RUNBOOK = sorted(
    {
        (f"{it.document}:{it.line}", it.text.replace("COMMAND", "status"))
        for it in of((ROOT / "docs/operations.md").read_text(), "docs/operations.md")
        if it.text.startswith(("aws ", "mtlsctl "))
    }
)


def test_every_command_that_an_operator_is_told_can_be_pasted() -> None:
    assert len(CODE) > 60
    assert problems(CODE) == {}


def test_every_command_of_the_runbook_can_be_pasted() -> None:
    assert len(RUNBOOK) > 40
    assert problems(RUNBOOK) == {}


@pytest.mark.parametrize(
    "command",
    [
        "mtlsctl rotate 7 --wait (MTLS-105)",
        "mtlsctl rotate 7 --await",
        "mtlsctl rotate 7, and look",
        "aws secretsmanager rotate-secret",
        "aws secretsmanager rotate-it --secret-id 7",
        "aws secretsmanager rotate-secret --secret-id 7; then mtlsctl rotate 7",
        "aws secretsmanager rotate-secret --secret-id 7 --wait",
    ],
)
def test_a_command_that_cannot_be_pasted_is_seen(command: str) -> None:
    assert problem(command)
