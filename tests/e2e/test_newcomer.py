"""What a newcomer does by the README: `make local` in one shell, and the commands in another."""

from __future__ import annotations

import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo import sam
from demo.waiting import await_condition
from tests.repository.documents.commands import commands


@pytest.fixture(scope="module")
def environment_file(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file that another shell sources, while `make local` runs."""
    directory = tmp_path_factory.mktemp("local")
    file, log = directory / "local.env", directory / "log"
    # A script's shell has what it starts in the background ignore SIGINT.
    ignore = functools.partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with log.open("w") as output:
        local = subprocess.Popen(
            [sys.executable, "-m", "demo.local", str(file)],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(sam.ROOT)},
            stdout=output,
            stderr=output,
            preexec_fn=ignore,
        )
    try:
        await_condition(lambda: "mtlsctl status" in log.read_text() or local.poll() is not None, "it is up", 120.0)
        assert local.poll() is None, log.read_text()
        yield file
    finally:
        local.send_signal(signal.SIGINT)
        status = local.wait(30)
    assert status == 0, log.read_text()
    assert not file.exists()


def shell(file: Path, commands: str) -> subprocess.CompletedProcess[str]:
    script = f"set -e; source {shlex.quote(str(file))}\n{commands}"
    return subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_newcomer_gets_to_a_rotated_certificate_and_a_healthy_status(environment_file: Path) -> None:
    rotated = shell(environment_file, "mtlsctl rotate client --wait")
    status = shell(environment_file, "mtlsctl status")

    assert (rotated.returncode, rotated.stderr.count("Traceback")) == (0, 0), rotated
    assert status.returncode == 0, status
    assert "Everything is fresh." in status.stdout


def test_the_commands_of_aws_work_beside(environment_file: Path) -> None:
    described = shell(environment_file, "aws secretsmanager describe-secret --secret-id mtls-rotation/client")

    assert described.returncode == 0, described
    assert "AWSCURRENT" in described.stdout


def test_the_readmes_further_certificates_are_issued_by_a_stack_that_is_as_it_is(environment_file: Path) -> None:
    """No parameter lets these secrets have their names: they have them by what they are called."""
    told = [it.text for it in commands() if it.document == "README.md"]
    create, rotate = (it for it in told if re.match(r"aws secretsmanager .* mtls-rotation/orders ", it))
    stack = "aws cloudformation describe-stacks --stack-name mtls-rotation --query Stacks[0].Outputs"
    outputs = {it["OutputKey"]: it["OutputValue"] for it in json.loads(shell(environment_file, stack).stdout)}

    by_hand = shell(environment_file, f"{create}\n{rotate.replace('ROTATE_FUNCTION', outputs['RotateFunction'])}")
    waited = shell(environment_file, "mtlsctl rotate orders --wait")
    (made,) = (shell(environment_file, f"{it} --wait") for it in told if it.startswith("mtlsctl create client"))

    for done in (by_hand, waited, made):
        assert done.returncode == 0, done
