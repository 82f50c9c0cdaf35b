"""The command line as such: options before the command and after it, help, schemas, the runbook, mistakes."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from importlib.metadata import version
from io import StringIO
from itertools import chain, combinations
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
from rich.table import Table
from typer.testing import CliRunner

from mtls_rotation.errors import MtlsRotationError
from mtls_rotation.pki import certificates as pki
from mtlsctl.app import ENTRIES, REPORTS, app
from mtlsctl.commands.schema import schema_of
from mtlsctl.errors import NotConfirmedError
from mtlsctl.frame.asking import confirm, passphrase, passphrase_of
from mtlsctl.frame.command import Choices, CommandContext
from mtlsctl.stack import deployment
from mtlsctl.stack.account import DEFAULT_STACK, Account
from mtlsctl.terminal import Terminal
from tests.kit import builders
from tests.kit.mtlsctl import Mtlsctl

# Nothing listens there: a command that asks AWS ends at once.
CLOSED = "http://127.0.0.1:9"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "AWS_ENDPOINT_URL": CLOSED,
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_REGION": "us-east-1",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
COMMANDS = sorted(REPORTS)
CHANGING = {
    "rotate",
    "revoke",
    "truststore distrust",
    "truststore sync",
    "truststore rebuild",
    "create client",
    "create ca",
    "import client",
    "import signed",
}
# Enough for each command to begin.
CALLS = {
    **{name: name.split() for name in COMMANDS},
    "rotate": ["rotate", "client"],
    "revoke": ["revoke", "client"],
    "verify": ["verify", "client"],
    "export": ["export", "client", "--out", "x.pem"],
    "explain": ["explain", "MTLS-202"],
    "truststore distrust": ["truststore", "distrust", "0" * 64],
    "create client": ["create", "client", "x"],
    "create ca": ["create", "ca", "x"],
    "import client": ["import", "client", "x", "--from", "-"],
    "import signed": ["import", "signed", "-"],
}


def powerset(places: Sequence[str]) -> Iterable[tuple[str, ...]]:
    return chain.from_iterable(combinations(places, number) for number in range(len(places) + 1))


@pytest.fixture
def mtlsctl() -> Mtlsctl:
    return Mtlsctl(ENVIRONMENT, "s")


def test_what_is_given_after_the_command_counts_for_more_than_what_stands_before() -> None:
    before = Choices(stack="a", region="eu-west-1")

    assert Choices(stack="b", as_json=True).over(before) == Choices(stack="b", region="eu-west-1", as_json=True)


@pytest.mark.parametrize("arguments", [("--json", "explain", "MTLS-202"), ("explain", "MTLS-202", "--json")])
def test_the_shared_options_stand_before_the_command_or_after(mtlsctl: Mtlsctl, arguments: tuple[str, ...]) -> None:
    assert mtlsctl(*arguments).document["topic"] == "MTLS-202"


class SeenError(MtlsRotationError):
    """Ends a command once it is known where it would act."""

    code = "MTLS-000"


PLACES = ("before", "between", "after")
# The shared options that say where a command acts, and the variables that do.
SHARED = [it.name for it in fields(Account)]
VARIABLES = {"stack": "MTLS_ROTATION_STACK", "region": "AWS_REGION"}


def placed(monkeypatch: pytest.MonkeyPatch) -> list[Account]:
    """Where each command is about to act, which it does not get to."""
    seen: list[Account] = []

    def look(account: Account) -> None:
        seen.append(account)
        raise SeenError(where="", found="", expected="", remedy="")

    monkeypatch.setattr(deployment, "Deployment", look)
    return seen


def line_of(command: str, flags: Mapping[str, Sequence[str]]) -> list[str]:
    """A command's line with flags before everything, behind its group's name, and behind everything."""
    given = {it: [word for flag in flags.get(it, ()) for word in (flag, it)] for it in PLACES}
    group, rest = (CALLS[command][:1], CALLS[command][1:]) if " " in command else ([], CALLS[command])
    return [*given["before"], *group, *(given["between"] if group else []), *rest, *given["after"]]


@pytest.mark.parametrize("command", ["rotate", "truststore sync"])
@pytest.mark.parametrize("option", SHARED)
@pytest.mark.parametrize("variable", [True, False])
@pytest.mark.parametrize("places", list(powerset(PLACES)), ids=" ".join)
def test_a_command_acts_where_it_was_told_last_and_by_a_variable_only_if_nowhere(
    monkeypatch: pytest.MonkeyPatch, command: str, option: str, variable: bool, places: tuple[str, ...]
) -> None:
    seen = placed(monkeypatch)
    for name in VARIABLES.values():
        monkeypatch.delenv(name, raising=False)
    if variable and option in VARIABLES:
        monkeypatch.setenv(VARIABLES[option], "variable")
    flag = f"--{option.replace('_', '-')}"

    CliRunner().invoke(app, line_of(command, {it: [flag] for it in places}))

    told = [it for it in places if " " in command or it != "between"]
    expected = told[-1] if told else "variable" if variable and option in VARIABLES else None
    assert getattr(seen[0], option) == (expected or (DEFAULT_STACK if option == "stack" else None))


@pytest.mark.parametrize("command", [it for it in COMMANDS if it != "explain"])
def test_every_command_acts_where_it_was_told_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str
) -> None:
    """All options at once, in each combination of places, with every variable and with none."""
    seen = placed(monkeypatch)
    monkeypatch.chdir(tmp_path)
    flags = [f"--{it.replace('_', '-')}" for it in SHARED]
    held = builders.leaf(builders.root())
    typed = pki.to_pem(held.certificate) + ("" if command == "import signed" else pki.key_to_pem(held.key))
    for variable in (True, False):
        for name in VARIABLES.values():
            monkeypatch.setenv(name, "variable") if variable else monkeypatch.delenv(name, raising=False)
        for places in powerset(PLACES):
            seen.clear()

            CliRunner().invoke(app, line_of(command, dict.fromkeys(places, flags)), input=typed)

            told = [it for it in places if " " in command or it != "between"]
            by_variable = {it: "variable" for it in VARIABLES if variable}
            expected = dict.fromkeys(SHARED, told[-1]) if told else {"stack": DEFAULT_STACK} | by_variable
            assert [{it: getattr(seen[0], it) for it in SHARED}] == [dict.fromkeys(SHARED) | expected], places


@pytest.mark.parametrize("places", list(powerset(["before", "after"])), ids=" ".join)
@pytest.mark.parametrize("command", ["rotate", "truststore distrust", "import signed"])
def test_json_is_printed_wherever_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, mtlsctl: Mtlsctl, command: str, places: tuple[str, ...]
) -> None:
    placed(monkeypatch)
    before, after = (["--json"] if it in places else [] for it in ("before", "after"))

    ran = mtlsctl(*before, *CALLS[command], *after, typed=pki.to_pem(builders.leaf(builders.root()).certificate))

    assert bool(ran.out) == bool(places)
    assert not places or ran.document["error"]["code"] == "MTLS-000"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_command_that_changes_something_says_where_first_and_one_that_only_looks_does_not(
    monkeypatch: pytest.MonkeyPatch, mtlsctl: Mtlsctl, options: tuple[str, ...]
) -> None:
    place = "account 123456789012, region eu-west-1, stack s"

    class Placed:
        def __init__(self, account: Account) -> None:
            self.place = place

        def __getattr__(self, name: str) -> object:
            raise SeenError(where="", found="", expected="", remedy="")

    monkeypatch.setattr(deployment, "Deployment", Placed)
    held = builders.leaf(builders.root())
    typed = {"import client": pki.key_to_pem(held.key)}
    said = {
        name: mtlsctl(*arguments, *options, typed=pki.to_pem(held.certificate) + typed.get(name, "")).err
        for name, arguments in CALLS.items()
    }

    assert {name for name, it in said.items() if f"In {place}:\n" in it} == CHANGING
    assert {name for name, it in ENTRIES.items() if it.changes} == CHANGING


def test_there_is_no_emoji_and_no_style_in_what_is_not_ours(monkeypatch: pytest.MonkeyPatch, mtlsctl: Mtlsctl) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:mtls-rotation/[red]zz[/]"

    def refuse(account: Account) -> None:
        raise SeenError(where=arn, found=arn, expected=arn, remedy=arn)

    monkeypatch.setattr(deployment, "Deployment", refuse)

    assert mtlsctl("status").err.count(arn) == 4


def test_ctrl_c_says_that_what_was_waited_for_goes_on_and_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, mtlsctl: Mtlsctl
) -> None:
    def wait(account: Account) -> None:
        with CommandContext(Choices()).waiting("It goes on by itself."):
            raise KeyboardInterrupt

    monkeypatch.setattr(deployment, "Deployment", wait)

    ran = mtlsctl("status")

    assert (ran.exit_code, ran.err) == (130, "It goes on by itself.\n")


def test_where_a_command_acts_is_said_by_the_console_that_shows_what_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So that it gets a line of its own: another console would go on in the line that shows it."""
    monkeypatch.setattr(deployment, "Deployment", lambda account: SimpleNamespace(place="account 1, stack s"))
    out = StringIO()
    context = CommandContext(Choices(), changes=True)
    context.progress = Terminal(file=out, force_terminal=True, color_system=None, width=200)

    with context.doing("starting"):
        assert context.deployment.place == "account 1, stack s"

    assert "In account 1, stack s:\n" in out.getvalue()


def test_ctrl_c_while_something_may_have_begun_says_what_shows_it(
    monkeypatch: pytest.MonkeyPatch, mtlsctl: Mtlsctl
) -> None:
    def interrupt(account: Account) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(deployment, "Deployment", interrupt)
    said = "Ended by Ctrl-C. Whether something has begun, `mtlsctl status` shows."

    assert (mtlsctl("rotate", "client").exit_code, mtlsctl("rotate", "client").err) == (130, f"{said}\n")
    document = mtlsctl("rotate", "client", "--json").document
    assert (document["status"], document["error"]["remedy"]) == ("unknown", said)
    assert mtlsctl("status").err == "Ended by Ctrl-C.\n"


def test_ctrl_c_at_a_prompt_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(prompt: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("typer._click.termui.visible_prompt_func", interrupt)
    context = CommandContext(Choices())
    context.interactive = True

    with pytest.raises(KeyboardInterrupt, match=r"^Nothing was done\.$"):
        confirm(context, "Go on?", yes=False)


@pytest.mark.parametrize("ask", [lambda it: passphrase(it, None), lambda it: passphrase_of(it, "private key")])
def test_ctrl_c_where_a_passphrase_is_asked_for_ends_with_130_and_the_end_of_the_input_is_told(
    monkeypatch: pytest.MonkeyPatch, mtlsctl: Mtlsctl, ask: Callable[[CommandContext], object]
) -> None:
    context = CommandContext(Choices())
    context.interactive = True
    for ended, told in ((KeyboardInterrupt(), KeyboardInterrupt), (EOFError(), NotConfirmedError)):

        def end(prompt: str, ended: BaseException = ended) -> str:
            raise ended

        monkeypatch.setattr("typer._click.termui.hidden_prompt_func", end)
        with pytest.raises(told, match=r"Nothing was done\.$"):
            ask(context)


@pytest.mark.parametrize("module", ["mtlsctl.app", "mtlsctl.commands.status", "mtlsctl.stack.deployment", "boto3"])
def test_ctrl_c_before_anything_has_begun_leaves_no_traceback(module: str) -> None:
    program = (
        "import sys\n"
        "sys.argv = ['mtlsctl', 'status']\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == '{module}':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from mtlsctl.__main__ import main\n"
        "main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=False)

    assert ran.returncode == 130
    assert ran.stderr in {"", "Ended by Ctrl-C.\n"}


def test_what_is_piped_on_has_whole_lines(tmp_path: Path) -> None:
    name = "anchors/static/" + "a" * 300 + ".pem"
    table = Table("object", "subject")
    table.add_row(name, "CN=" + "b" * 200)
    with (tmp_path / "piped").open("w+") as file, pytest.MonkeyPatch.context() as patch:
        patch.delenv("COLUMNS", raising=False)
        Terminal(file=file).print(table)
        file.seek(0)

        assert any(name in it and "b" * 200 in it for it in file)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_the_options_that_all_share(mtlsctl: Mtlsctl, name: str) -> None:
    ran = mtlsctl(*name.split(), "--help")

    assert ran.exit_code == 0
    for option in ("--stack", "--profile", "--region", "--endpoint-url", "--json"):
        assert option in ran.out


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_of_each_what_its_help_begins_with(name: str) -> None:
    help_text = inspect.getdoc(ENTRIES[name].load()) or ""

    assert " ".join(help_text.partition("\n\n")[0].split()) == ENTRIES[name].summary


@pytest.mark.parametrize(
    ("arguments", "commands", "without"),
    [
        (["--help"], set(), {"boto3", "botocore", "cryptography", "pydantic", "yaml"}),
        (["truststore", "--help"], set(), {"boto3", "botocore", "cryptography", "yaml"}),
        (["explain", "MTLS-202"], {"explain"}, {"boto3", "botocore", "cryptography", "yaml"}),
        (["status", "--help"], {"status"}, {"boto3", "botocore"}),
        (["export", "--help"], {"export"}, {"boto3"}),
    ],
)
def test_a_command_starts_without_what_it_has_no_use_for(
    arguments: list[str], commands: set[str], without: set[str]
) -> None:
    imported = modules_after(*arguments)

    assert {it.partition(".")[0] for it in imported} & without == set()
    found = {it.removeprefix("mtlsctl.commands.") for it in imported if it.startswith("mtlsctl.commands.")}
    assert found == commands | {"schema"}  # which knows the others by name
    assert len(imported) < (600 if commands else 450)


def modules_after(*arguments: str) -> list[str]:
    """What a process has imported that ran a command."""
    program = (
        "import contextlib, io, sys\n"
        "from mtlsctl.__main__ import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "print(*sys.modules)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    return ran.stdout.split()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_schema(mtlsctl: Mtlsctl, name: str) -> None:
    schema = json.loads(mtlsctl("schema", name).out)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema == schema_of(REPORTS[name], name)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"status": "well"}, schema)


def test_the_names_of_all_schemas_are_listed(mtlsctl: Mtlsctl) -> None:
    assert mtlsctl("schema").out.split("\n")[:-1] == COMMANDS
    assert {"status", "doctor", "rotate", "create client", "create ca", "verify", "explain"} <= set(COMMANDS)


def test_a_service_that_does_not_answer_is_told_in_a_line(mtlsctl: Mtlsctl) -> None:
    status, document = mtlsctl.json("status")
    ran = mtlsctl("status")

    assert (status, ran.exit_code) == (2, 2)
    assert document["error"]["code"] == "AWS.EndpointConnectionError"
    assert ran.err.startswith("AWS.EndpointConnectionError the call to AWS: found Could not connect")
    assert "Traceback" not in ran.err + ran.out


def test_the_endpoint_may_be_given_as_an_option(mtlsctl: Mtlsctl) -> None:
    ran = mtlsctl("status", "--endpoint-url", "http://127.0.0.1:10")

    assert "http://127.0.0.1:10" in ran.err


def test_a_profile_that_is_not_there_is_told_in_a_line(mtlsctl: Mtlsctl) -> None:
    ran = mtlsctl("status", "--profile", "nobody")

    assert (ran.exit_code, ran.err.split()[0]) == (2, "AWS.ProfileNotFound")


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("status", "--nonsense"), ("rotate",), ("truststore", "nonsense"), ("create", "client")],
)
def test_wrong_arguments_end_with_2_and_no_traceback(mtlsctl: Mtlsctl, arguments: tuple[str, ...]) -> None:
    ran = mtlsctl(*arguments)

    assert ran.exit_code == 2
    assert "Traceback" not in ran.err + ran.out


def test_the_runbook_is_read_on_the_terminal(mtlsctl: Mtlsctl) -> None:
    status, document = mtlsctl.json("explain", "SyncFailedAlarm")
    ran = mtlsctl("explain", "SyncFailedAlarm")

    assert (status, ran.exit_code) == (0, 0)
    assert document["sections"][0]["heading"] in ran.out


def test_what_the_runbook_does_not_know_could_not_be_told(mtlsctl: Mtlsctl) -> None:
    status, document = mtlsctl.json("explain", "MTLS-999")

    assert (status, document["error"]["code"]) == (2, "MTLS-403")


@pytest.mark.parametrize("code", ["AWS.NoCredentialsError", "AWS.AccessDenied", "AWS.403"])
def test_a_code_of_aws_is_explained(mtlsctl: Mtlsctl, code: str) -> None:
    document = mtlsctl("explain", code, "--json").document

    assert [it["heading"] for it in document["sections"]] == ["AWS....: AWS refused a call"]


@pytest.mark.parametrize(
    ("topic", "nearest"), [("MTLS-2002", "MTLS-202"), ("A rotation fialed", "A rotation failed"), ("x" * 300, "")]
)
def test_what_the_runbook_does_not_know_gets_three_suggestions_that_it_does(
    mtlsctl: Mtlsctl, topic: str, nearest: str
) -> None:
    remedy = mtlsctl("explain", topic, "--json").document["error"]["remedy"]
    suggested = re.findall(r'`mtlsctl explain "([^"]+)"`', remedy)

    assert len(suggested) == 3
    assert not nearest or nearest in suggested
    assert all(mtlsctl("explain", it).exit_code == 0 for it in suggested)


def test_the_version_and_the_short_way_to_ask_for_help(mtlsctl: Mtlsctl) -> None:
    assert mtlsctl("--version").out == f"mtlsctl {version('mtlsctl')}\n"
    for arguments in ([], ["truststore"], ["status"]):
        assert mtlsctl(*arguments, "-h").out == mtlsctl(*arguments, "--help").out != ""


def test_what_cannot_be_understood_is_told_as_every_error_is_and_quotes_no_key(mtlsctl: Mtlsctl) -> None:
    key = pki.key_to_pem(builders.leaf(builders.root()).key)
    lines = [
        ("rotate", "x", key),
        ("rotate", f"x{key}", "y\x1b[2J"),
        ("rotate", f"--timeout={key}"),
        ("verify", "x", "--label", key),
        (key,),
        ("truststore", key),
        ("status", f"--{key}"),
        ("rotate", "x", "[red]:secret:[/red]"),
    ]
    for arguments in lines:
        for json_ in ([], ["--json"]):
            ran = mtlsctl(*json_, *arguments)
            text = (ran.out + ran.err).replace("\\n", "\n").replace("\\x0a", "\n")
            assert ran.exit_code == 2
            assert not [it for it in key.splitlines()[1:-1] if it in text]
            assert "\x1b" not in text
            assert ran.err.startswith("MTLS-403 ") if not json_ else ran.document["error"]["code"] == "MTLS-403"
    assert "([red]:secret:[/red])" in ran.out


@pytest.mark.parametrize("url", ["foo", "http://", "http://[::1"])
def test_an_endpoint_that_is_no_url_is_refused(mtlsctl: Mtlsctl, url: str) -> None:
    exit_status, document = mtlsctl.json("status", "--endpoint-url", url)

    assert (exit_status, document["error"]["code"]) == (2, "MTLS-403")
