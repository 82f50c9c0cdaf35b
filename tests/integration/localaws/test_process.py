from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from localaws import LocalAws, LocalAwsError, NotLoopbackError, require_loopback, sealed
from tests.integration.localaws.support import wait_until, zipped

_ROOT = Path(__file__).parents[3]
_FROM_ANYWHERE = {**os.environ, "PYTHONPATH": str(_ROOT)}
_PARENT = """
import sys, time
from pathlib import Path
from localaws import LocalAws
aws = LocalAws.start(log_path=Path(sys.argv[1]))
print(aws.endpoint_url, aws.front_door.port, aws._process.pid, aws._state_dir, flush=True)
time.sleep(600)
"""
_TELLER = "import os\ndef handler(event, context):\n    return os.environ['AWS_ENDPOINT_URL']\n"
_SLEEPER = "import time\ndef handler(event, context):\n    time.sleep(60)\n"


def processes_in_group(group: int) -> list[int]:
    """Return the living processes of a process group, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, pgrp = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
            except OSError:
                continue
            if int(pgrp) == group and state != "Z":
                found.append(int(entry.name))
    return found


def listening_sockets(group: int) -> dict[str, str]:
    """Return the sockets that the processes of a group listen on: the kernel's inode → the address as it writes it."""
    inodes = set()
    for process in processes_in_group(group):
        for handle in Path(f"/proc/{process}/fd").iterdir():
            try:
                inodes.add(str(handle.readlink()).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    return {inode: address for inode, address in all_listening_sockets().items() if inode in inodes}


def all_listening_sockets() -> dict[str, str]:
    """Return every socket of this machine that listens for TCP: inode → address."""
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A":
                found[parts[9]] = parts[1].partition(":")[0]
    return found


def client(aws_url: str, service: str) -> Any:
    session: Any = boto3.Session()
    return session.client(
        service,
        endpoint_url=aws_url,
        region_name="us-east-1",
        aws_access_key_id="123456789012",
        aws_secret_access_key="x",
    )


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A program that has started a local AWS, and what it printed of it."""
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "log")], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()
        finally:
            process.kill()


def test_it_listens_on_loopback_only(aws: LocalAws) -> None:
    assert set(listening_sockets(aws._process.pid).values()) == {"0100007F"}  # 127.0.0.1


def test_nothing_is_left_when_the_parent_is_killed(parent: tuple[subprocess.Popen[str], list[str]]) -> None:
    process, (url, _door, group, state_dir) = parent
    client(url, "lambda").create_function(
        FunctionName="sleeper",
        Runtime="python3.13",
        Handler="app.handler",
        Role="arn:aws:iam::123456789012:role/r",
        Code={"ZipFile": zipped(_SLEEPER)},
        Timeout=90,
    )
    client(url, "lambda").invoke(FunctionName="sleeper", InvocationType="Event")
    wait_until(lambda: len(processes_in_group(int(group))) >= 2)
    sockets = listening_sockets(int(group))
    assert len(sockets) >= 2  # the API and the front door
    process.send_signal(signal.SIGKILL)
    process.wait()
    wait_until(lambda: processes_in_group(int(group)) == [])
    # A dying process shows as a zombie while its other threads still hold its sockets, and a port that is free
    # may be another program's a moment later: so await the end of these very sockets.
    wait_until(lambda: not sockets.keys() & all_listening_sockets().keys())
    assert not Path(state_dir).exists()


def test_stopping_ends_everything_and_can_be_repeated(tmp_path: Path) -> None:
    aws = LocalAws.start(log_path=tmp_path / "log")
    group, state_dir = aws._process.pid, aws._state_dir
    assert processes_in_group(group)
    aws.stop()
    aws.stop()
    assert processes_in_group(group) == []
    assert not state_dir.exists()


def test_two_at_a_time_share_nothing(aws: LocalAws, tmp_path: Path) -> None:
    with LocalAws.start(log_path=tmp_path / "log") as other:
        assert len({aws.endpoint_url, other.endpoint_url}) == 2
        assert aws.front_door.port != other.front_door.port
        assert aws.front_door.server_ca_pem != other.front_door.server_ca_pem
        client(other.endpoint_url, "secretsmanager").create_secret(Name="only-there", SecretString="x")
        listed = client(aws.endpoint_url, "secretsmanager").list_secrets()["SecretList"]
        assert "only-there" not in [entry["Name"] for entry in listed]


def test_functions_call_aws_where_they_are_told_to(tmp_path: Path) -> None:
    between = "http://127.0.0.1:9"
    with LocalAws.start(log_path=tmp_path / "log", functions_endpoint_url=between) as aws:
        functions = client(aws.endpoint_url, "lambda")
        functions.create_function(
            FunctionName="teller",
            Runtime="python3.13",
            Handler="app.handler",
            Role="arn:aws:iam::123456789012:role/r",
            Code={"ZipFile": zipped(_TELLER)},
        )
        told = json.loads(functions.invoke(FunctionName="teller")["Payload"].read())
    assert told == between


def test_functions_are_told_no_endpoint_that_is_not_loopback(tmp_path: Path) -> None:
    with pytest.raises(NotLoopbackError, match="loopback"):
        LocalAws.start(log_path=tmp_path / "log", functions_endpoint_url="https://sqs.us-east-1.amazonaws.com")


def test_a_child_that_dies_at_start_is_an_error_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localaws.sys.executable", "/bin/false")
    with pytest.raises(LocalAwsError, match="ended with status 1"):
        LocalAws.start(log_path=tmp_path / "log")


@pytest.mark.parametrize(
    "url",
    ["https://secretsmanager.us-east-1.amazonaws.com", "http://10.0.0.1:4566", "http://127.0.0.1.example.com", ""],
)
def test_an_endpoint_that_is_not_loopback_is_refused(url: str) -> None:
    with pytest.raises(NotLoopbackError, match="loopback"):
        require_loopback(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:4566", "http://localhost:4566", "https://[::1]:4566"])
def test_a_loopback_endpoint_passes(url: str) -> None:
    assert require_loopback(url) == url


_REAL = {
    "AWS_PROFILE": "production", "AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "real",
    "AWS_SESSION_TOKEN": "real", "AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://example.com",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/real", "https_proxy": "http://example.com:1",
}  # fmt: skip
_WHO = """
import boto3
session = boto3.Session()
credentials = session.get_credentials()
client = session.client("secretsmanager")
print(credentials.access_key, credentials.secret_key, credentials.token or "none", client.meta.endpoint_url)
"""


def test_real_credentials_profiles_and_endpoints_do_not_get_through(aws: LocalAws, tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[profile production]\naws_access_key_id = AKIAREAL\n")
    real = os.environ | _REAL | {"AWS_CONFIG_FILE": str(tmp_path / "config")}
    environment = sealed(real, aws.environment())
    said = subprocess.run(
        [sys.executable, "-c", _WHO], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert said == ["123456789012", "local-only", "none", aws.endpoint_url]
    overlaid = real | aws.environment()
    del overlaid["AWS_ENDPOINT_URL_SECRETS_MANAGER"]
    said = subprocess.run(
        [sys.executable, "-c", _WHO], env=overlaid, capture_output=True, text=True, check=True
    ).stdout.split()
    assert said[:3] == ["123456789012", "local-only", "none"]


def test_the_emulator_itself_runs_without_the_callers_settings(aws: LocalAws) -> None:
    inside = Path(f"/proc/{aws._process.pid}/environ").read_bytes().decode().split("\0")
    names = {line.partition("=")[0] for line in inside}
    assert not names & {"AWS_PROFILE", "AWS_SESSION_TOKEN", "PYTHONPATH"}
    assert "AWS_ACCESS_KEY_ID=123456789012" in inside


def _as_in_the_background() -> None:
    """Ignore what `nohup` ignores, and what a script's shell has its background ignore."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def ignored_by(process: int) -> set[signal.Signals]:
    """The signals that a process ignores."""
    status = Path(f"/proc/{process}/status").read_text()
    mask = int(status.partition("SigIgn:")[2].split()[0], 16)
    return {number for number in signal.Signals if mask >> (number - 1) & 1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_what_another_shell_needs_and_ends_on_a_signal_but_for_one_that_nohup_has_it_ignore(
    number: signal.Signals, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "localaws"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=_FROM_ANYWHERE, stdout=subprocess.PIPE, text=True, preexec_fn=_as_in_the_background
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        while not any(line.startswith("Log:") for line in said):
            line = process.stdout.readline()
            assert line, said
            said.append(line)
        text = "".join(said)
        file = Path(text.partition("  source ")[2].split()[0])
        (url,) = re.findall(r"^export AWS_ENDPOINT_URL=(.+)$", file.read_text(), re.MULTILINE)
        assert f"running at {url}" in text
        ca_file = Path(text.partition("--cacert ")[2].split()[0])
        assert "BEGIN CERTIFICATE" in ca_file.read_text()
        assert "PRIVATE" not in ca_file.read_text()
        assert "curl" in text
        assert signal.SIGHUP in ignored_by(process.pid)
        process.send_signal(number)
        assert process.wait(10) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(url.rpartition(":")[2]))) != 0
    assert not ca_file.exists()
    assert not file.exists()
