"""A shell that has sourced the file of a local AWS reaches it and nothing else, whatever the shell had before."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localaws import LocalAws, LocalAwsError
from localaws.__main__ import Prepared, held, shell_file
from localaws.shell import PROGRAMS
from tests.integration.localaws.conftest import Client
from tests.kit.hostile import SETTINGS, hostile, wanted_elsewhere

ROOT = Path(__file__).parents[3]
SHELLS = [it for it in ("bash", "dash", "zsh", "ksh") if shutil.which(it)]
# For the first two, version 1 of the AWS CLI has an old name of AWS's, which it takes before AWS_ENDPOINT_URL.
COMMANDS = (
    "sqs list-queues",
    "rds describe-db-instances",
    "emr list-clusters",
    "logs describe-log-groups",
    "s3 ls",
)


@dataclass(frozen=True)
class User:
    """Somebody who works with real AWS, and sources the file in a checkout whose name has a blank."""

    file: Path
    environment: dict[str, str]

    def run(self, commands: str, shell: str = "bash", *, within: bool = True) -> subprocess.CompletedProcess[str]:
        script = f"set -eu\n. {shlex.quote(str(self.file))}\nset +e\n{commands}" if within else commands
        return subprocess.run(
            [shell, "-c", script], env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture
def user(aws: LocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    checkout = tmp_path / "my checkout"
    programs = shutil.copytree(PROGRAMS.parent, checkout / "localaws" / "shell") / "bin"
    (checkout / ".venv-sam").symlink_to(ROOT / ".venv-sam")
    monkeypatch.setattr("localaws.shell.PROGRAMS", programs)
    ca_file = tmp_path / "server-ca.pem"
    ca_file.write_text(aws.front_door.server_ca_pem)
    file = checkout / "build" / "local.env"
    file.parent.mkdir()
    file.write_text(shell_file(file, aws, ca_file, Prepared(variables={"BUCKET": "b"}, programs=(ROOT / ".venv/bin",))))
    yield User(file, hostile(tmp_path))
    assert wanted_elsewhere(tmp_path) == ""


def test_every_service_is_the_local_one(user: User) -> None:
    ran = user.run("\n".join(f"aws {it} >/dev/null" for it in COMMANDS))

    assert ran.stderr == "", ran


def test_another_endpoint_is_refused_and_another_profile_is_not_there(user: User) -> None:
    elsewhere = user.run("aws sqs list-queues --endpoint-url https://sqs.eu-west-1.amazonaws.com")
    profile = user.run("aws sts get-caller-identity --profile production")

    assert elsewhere.returncode
    assert "refusing to send to https://sqs.eu-west-1.amazonaws.com" in elsewhere.stderr
    assert "leave_local" in elsewhere.stderr
    assert profile.returncode
    assert "(production) could not be found" in profile.stderr


def test_any_python_in_it_has_the_local_aws_alone(user: User, aws: LocalAws) -> None:
    program = """
import boto3
client = boto3.client("sqs")
key = boto3.Session().get_credentials()
print(client.meta.endpoint_url, key.access_key, key.token or "none", client.list_queues().get("NextToken", "all"))
"""
    ran = user.run(f"python -c {shlex.quote(program)}")

    assert ran.stdout.split() == [aws.endpoint_url, "123456789012", "none", "all"], ran


def test_whatever_else_asks_for_another_host_gets_nowhere(user: User) -> None:
    for url in ("https://sqs.us-east-1.amazonaws.com/", "http://169.254.169.254/latest/meta-data/"):
        ran = user.run(f"curl -sS --max-time 5 {url}")
        assert (ran.returncode, "127.0.0.1 port 9" in ran.stderr) == (7, True), ran


@pytest.mark.parametrize("shell", SHELLS)
def test_leaving_gives_back_all_that_the_shell_had(user: User, shell: str) -> None:
    kept = "env | grep -v -e ^_= -e ^SHLVL= | sort; echo $plain"
    before = user.run(f"plain=1 BUCKET='not exported'\n{kept}; echo $BUCKET", shell, within=False)
    source = f". {shlex.quote(str(user.file))}"
    after = user.run(
        f"plain=1 BUCKET='not exported'\n{source}; {source}; unset AWS_REGION; leave_local\n{kept}; echo $BUCKET",
        shell,
        within=False,
    )

    assert after.returncode == 0, after
    assert after.stdout == before.stdout
    assert "AWS_PROFILE=production" in after.stdout


NAMES = st.sampled_from([*SETTINGS, "BUCKET", "STACK", "AWS_SOMETHING_NEW", "SAM_CLI_X", "HTTP_PROXY"])
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0")).map(lambda it: it.replace("\r", "\n"))


@pytest.mark.parametrize("shell", SHELLS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(NAMES, VALUES | st.sampled_from(["'", '"', "$(exit 3)", "`id`", "a\nAWS_X=b", "* ?", " a ", "-n"]))
)
def test_whatever_its_variables_hold_they_come_back(user: User, shell: str, theirs: dict[str, str]) -> None:
    had = {name: value for name, value in user.environment.items() if name not in SETTINGS} | theirs
    names = " ".join(sorted({*theirs, *SETTINGS, "BUCKET", "AWS_X"}))
    show = f'for it in {names}; do eval "printf \'%s=%s\\\\0\' $it \\"\\${{$it-unset}}\\""; done'
    source = f". {shlex.quote(str(user.file))}"
    inside = 'printf "%s %s %s\\0" $AWS_ACCESS_KEY_ID ${AWS_ENDPOINT_URL_SQS-unset} ${AWS_SOMETHING_NEW-unset}'

    def ran(script: str) -> str:
        run = subprocess.run(
            [shell, "-euc", script], env=had, capture_output=True, check=False, timeout=60, encoding="utf-8"
        )
        assert (run.returncode, run.stderr) == (0, ""), run
        return run.stdout

    assert ran(f"{source}; {inside}; leave_local; {show}") == "123456789012 unset unset\0" + ran(show)


@pytest.mark.parametrize("shell", SHELLS)
def test_it_works_in_every_shell_of_the_kind(user: User, shell: str) -> None:
    ran = user.run("aws sts get-caller-identity --query Account --output text; echo $BUCKET; leave_local", shell)

    assert (ran.returncode, ran.stdout.split()) == (0, ["123456789012", "b"]), ran


def test_one_that_has_ended_is_told_of_and_nothing_goes_elsewhere(user: User, aws: LocalAws) -> None:
    config = aws.environment()["AWS_CONFIG_FILE"]
    text = user.file.read_text()
    user.file.write_text(text.replace(config, f"{config}-gone"))
    sourced = user.run(f". {shlex.quote(str(user.file))}; echo $?; echo $AWS_PROFILE", within=False)
    user.file.write_text(text)
    later = user.run(f"AWS_CONFIG_FILE={config}-gone; aws sqs list-queues")

    assert sourced.stdout.split() == ["1", "production"]
    assert "has ended. Start it again" in sourced.stderr
    assert later.returncode == 255
    assert "the local AWS that this shell is for has ended" in later.stderr


def test_two_do_not_share_a_file(tmp_path: Path) -> None:
    file = tmp_path / "local.env"
    with held(file), pytest.raises(LocalAwsError, match="another local AWS, which is running"), held(file):
        pass
    with held(file):
        file.write_text("")
    assert not file.exists()


@pytest.fixture
def group(client: Client) -> Iterator[str]:
    logs: Any = client("logs")
    logs.create_log_group(logGroupName="/tail")
    logs.create_log_stream(logGroupName="/tail", logStreamName="one")
    now = int(time.time() * 1000)
    events = [{"timestamp": now - 7_200_000, "message": "old"}, {"timestamp": now, "message": '{"a": 1}'}]
    logs.put_log_events(logGroupName="/tail", logStreamName="one", logEvents=events)
    yield "/tail"
    logs.delete_log_group(logGroupName="/tail")


def test_logs_are_tailed_as_the_runbook_does(user: User, group: str) -> None:
    short = user.run(f"aws logs tail {group} --since 3h --format short").stdout.splitlines()
    detailed = user.run(f"aws logs tail {group}").stdout.splitlines()
    unknown = user.run(f"aws logs tail {group} --since yesterday")

    assert [line.split(" ", 1)[1] for line in short] == ["old", '{"a": 1}']
    assert [line.split(" ", 1)[1] for line in detailed] == ['one {"a": 1}']
    assert unknown.returncode
    assert "yesterday" in unknown.stderr
