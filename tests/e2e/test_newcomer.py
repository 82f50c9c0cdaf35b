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

from demo import local, sam
from demo.waiting import await_condition
from tests.kit.hostile import hostile, wanted_elsewhere
from tests.repository.documents.commands import commands


@pytest.fixture(scope="module")
def environment_file(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file that another shell sources, while `make local` runs."""
    directory = tmp_path_factory.mktemp("local")
    file, log = directory / "local.env", directory / "log"
    # A script's shell has what it starts in the background ignore SIGINT.
    ignore = functools.partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "demo.local", str(file)],
            cwd=directory,
            env={**os.environ, "PYTHONPATH": str(sam.ROOT)},
            stdout=output,
            stderr=output,
            preexec_fn=ignore,
        )
    try:
        await_condition(lambda: "mtlsctl status" in log.read_text() or process.poll() is not None, "it is up", 120.0)
        assert process.poll() is None, log.read_text()
        yield file
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(30)
    assert status == 0, log.read_text()
    assert not file.exists()
    # To build, SAM goes to the package index by the proxy that the user had.
    allowed = re.compile(r"proxy\.internal:3128 by \[.*/sam', 'build'")
    assert [it for it in wanted_elsewhere(directory).splitlines() if not allowed.match(it)] == []


def shell(file: Path, commands: str) -> subprocess.CompletedProcess[str]:
    """Run it in the shell of somebody who works with a real account, and has sourced the file."""
    script = f"set -e; source {shlex.quote(str(file))}\n{commands}"
    return subprocess.run(
        ["bash", "-c", script],
        cwd=sam.ROOT,
        env=hostile(file.parent) | {"COLUMNS": "200"},
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


def test_the_readmes_client_of_one_line_is_answered(environment_file: Path) -> None:
    (client,) = (it.text for it in commands() if it.document == "README.md" and it.text.startswith("python -c "))
    answered = shell(environment_file, client)

    assert (answered.returncode, answered.stdout) == (0, "{'message': 'Hello, mTLS!'}\n"), answered
    assert client == local.client()


def test_what_the_readmes_commands_need_is_set(environment_file: Path) -> None:
    told = shell(environment_file, "aws s3 ls $BUCKET; aws secretsmanager describe-secret --secret-id $CLIENT_SECRET")

    assert told.returncode == 0, told
    assert "truststore.pem" in told.stdout


# A function and a layer as the stack has them, with nothing to fetch.
BUILT_BY_SAM = {
    "template.yaml": """\
Transform: AWS::Serverless-2016-10-31
Resources:
  Function:
    Type: AWS::Serverless::Function
    Properties: {CodeUri: function, Handler: app.handler, Runtime: python3.13}
  Layer:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layer, CompatibleRuntimes: [python3.13]}
    Metadata: {BuildMethod: makefile}
""",
    "function/app.py": "def handler(event, context): ...\n",
    "function/requirements.txt": "",
    "layer/Makefile": 'build-Layer:\n\tpython3.13 -m pip --version >"$(ARTIFACTS_DIR)/pip"\n',
}


def test_sam_builds_with_the_pip_that_it_needs_and_finds_the_stack(environment_file: Path, tmp_path: Path) -> None:
    for name, text in BUILT_BY_SAM.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    built = shell(environment_file, f"cd {tmp_path}; sam build")
    listed = shell(environment_file, "sam list stack-outputs --stack-name $STACK")

    assert built.returncode == 0, built
    assert ".venv-sam" in (tmp_path / ".aws-sam" / "build" / "Layer" / "pip").read_text()
    assert (tmp_path / ".aws-sam" / "build" / "Function" / "app.py").exists()
    assert "BucketName" in listed.stdout, listed
