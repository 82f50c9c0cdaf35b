"""`sam build` and `sam deploy`, as an operator would run them, against a given AWS. The end-to-end tests use it too."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import boto3

from localaws import require_loopback

ROOT = Path(__file__).resolve().parent.parent
SAM_ENVIRONMENT = ROOT / ".venv-sam" / "bin"
# Set in the environment where `.aws-sam/` is up to date. `sam build` takes everything out of it before it fills it
# anew, so that of those that share it at the same time none may build.
ALREADY_BUILT = "MTLS_ROTATION_ALREADY_BUILT"


class SamError(Exception):
    """`sam` ended with an error; the message holds what it printed."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack.

    Attributes:
        outputs: output key → value.
    """

    name: str
    outputs: Mapping[str, str]


def build(architecture: str) -> None:
    """Build the functions and the layer into `.aws-sam/`; what has not changed is taken from SAM's cache.

    Nothing is built where the environment says that it is :data:`ALREADY_BUILT`.

    Raises:
        SamError: something could not be built.
    """
    if ALREADY_BUILT in os.environ:
        return
    settings = {"ARCHITECTURE": architecture, "AWS_DEFAULT_REGION": "us-east-1"}
    _sam(["build", "--parameter-overrides", f"Architecture={architecture}"], os.environ | settings)


def deploy(name: str, parameters: Mapping[str, str], environment: Mapping[str, str]) -> Stack:
    """Deploy what was built.

    Args:
        name: the stack's.
        parameters: the template's parameters.
        environment: the whole environment, which says which AWS, with which credentials.

    Raises:
        SamError: the stack could not be made or updated.
    """
    overrides = [f"{key}={value}" for key, value in parameters.items()]
    command = ["deploy", "--stack-name", name]
    _sam([*command, *(["--parameter-overrides", *overrides] if overrides else [])], environment)
    return describe(name, session(environment))


def describe(name: str, aws: boto3.Session) -> Stack:
    """The stack of that name."""
    (stack,) = aws.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    return Stack(name, {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])})


def session(environment: Mapping[str, str]) -> boto3.Session:
    """Clients for the AWS that `environment` names, whatever this process's own environment says."""
    made = boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
    endpoint = require_loopback(environment["AWS_ENDPOINT_URL"])
    make_client = made.client
    made.client = partial(make_client, endpoint_url=endpoint)  # type: ignore[method-assign]
    return made


def _sam(arguments: list[str], environment: Mapping[str, str]) -> None:
    # SAM builds with the first python3.13 on PATH that has pip: its own environment's.
    path = f"{SAM_ENVIRONMENT}{os.pathsep}{environment['PATH']}"
    finished = subprocess.run(
        [str(SAM_ENVIRONMENT / "sam"), *arguments],
        cwd=ROOT,
        env={**environment, "PATH": path, "SAM_CLI_TELEMETRY": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise SamError(f"sam {arguments[0]} ended with status {finished.returncode}:\n{finished.stdout}")
