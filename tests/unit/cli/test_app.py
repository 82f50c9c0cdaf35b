"""The command line as such: options before the command and after it, help, schemas, the runbook, mistakes."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys

import jsonschema
import pytest

from mtlsctl.app import ENTRIES, REPORTS
from mtlsctl.commands.schema import schema_of
from mtlsctl.frame.command import Choices
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


@pytest.fixture
def mtlsctl() -> Mtlsctl:
    return Mtlsctl(ENVIRONMENT, "s")


def test_what_is_given_after_the_command_counts_for_more_than_what_stands_before() -> None:
    before = Choices(stack="a", region="eu-west-1")

    assert Choices(stack="b", as_json=True).over(before) == Choices(stack="b", region="eu-west-1", as_json=True)


@pytest.mark.parametrize("arguments", [("--json", "explain", "MTLS-202"), ("explain", "MTLS-202", "--json")])
def test_the_shared_options_stand_before_the_command_or_after(mtlsctl: Mtlsctl, arguments: tuple[str, ...]) -> None:
    assert mtlsctl(*arguments).document["topic"] == "MTLS-202"


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


@pytest.mark.parametrize("url", ["foo", "http://", "http://[::1"])
def test_an_endpoint_that_is_no_url_is_refused(mtlsctl: Mtlsctl, url: str) -> None:
    exit_status, document = mtlsctl.json("status", "--endpoint-url", url)

    assert (exit_status, document["error"]["code"]) == (2, "MTLS-403")
