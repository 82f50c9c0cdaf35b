"""A secret whose value somebody has written over: what each command hands out brings it back, followed to the end."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from mtlsctl.app import app
from mtlsctl.stack import deployment
from mtlsctl.stack.versions import bring_back, way_out
from tests.kit.stack import CLIENT, Stack
from tests.proof.readers.command_lines import Placed, world


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """One whose client secret somebody has written over."""
    aws = world()
    aws.begin()
    monkeypatch.setattr(deployment, "Deployment", Placed)
    aws.clients.secretsmanager.put_secret_value(SecretId=CLIENT, SecretString='{"oops": 1}')
    yield aws.stack
    aws.end()


def report(*line: str) -> tuple[int, Any]:
    ran = CliRunner().invoke(app, [*line, "--json"])
    return ran.exit_code, json.loads(ran.stdout)


def about_client(document: Any) -> list[dict[str, str]]:
    return [it for it in document["findings"] if it["subject"] == CLIENT]


def follow(stack: Stack, remedy: str) -> None:
    """What an operator does who pastes it. Secrets Manager would invoke the function that the stack plays here."""
    aws, _, mtlsctl = remedy.partition(" && ")
    words = shlex.split(aws)
    assert words[:3] == ["aws", "secretsmanager", "update-secret-version-stage"]
    options = dict(zip(words[3::2], words[4::2], strict=True))
    stack.secrets.update_secret_version_stage(
        SecretId=options["--secret-id"],
        VersionStage=options["--version-stage"],
        MoveToVersionId=options["--move-to-version-id"],
        RemoveFromVersionId=options["--remove-from-version-id"],
    )
    assert shlex.split(mtlsctl) == ["mtlsctl", "rotate", CLIENT, "--wait"]
    stack.rotate(CLIENT)
    stack.pass_time(minutes=1)
    stack.reconcile()


def test_a_value_that_was_written_over_is_brought_back_by_what_status_and_rebuild_hand_out(stack: Stack) -> None:
    back = bring_back(CLIENT, {it: frozenset(labels) for it, labels in stack.labels().items()})
    good, wrong = stack.at("AWSPREVIOUS"), stack.at("AWSCURRENT")
    assert good
    assert wrong
    assert back

    (told,) = about_client(report("status")[1])
    exit_status, rebuilt = report("truststore", "rebuild", "--yes")

    assert told["remedy"] == f"mtlsctl truststore rebuild  # if it says that this value cannot be used: {back}"
    (found,) = about_client(rebuilt)
    assert (exit_status, found["remedy"], found["runbook"]) == (1, back, "MTLS-101")

    follow(stack, found["remedy"])

    assert about_client(report("status")[1]) == []
    assert about_client(report("truststore", "rebuild", "--yes")[1]) == []
    assert stack.at("AWSPREVIOUS") == good
    assert wrong not in stack.labels() or not stack.labels()[wrong]
    assert stack.value(stack.at("AWSCURRENT"))["certificate"]


def test_of_a_value_that_was_written_over_twice_the_last_version_that_a_rotation_made_is_brought_back(
    stack: Stack,
) -> None:
    """At AWSPREVIOUS is the first of the two wrong values: to go back there, or to rotate, would help nobody."""
    good = stack.at("AWSPREVIOUS")
    stack.clients.secretsmanager.put_secret_value(SecretId=CLIENT, SecretString='{"oops": 2}')
    wrong = stack.at("AWSCURRENT")
    assert good not in stack.labels() or not stack.labels()[good]

    told = {it["remedy"] for it in about_client(report("status")[1])}
    of_rebuild = {it["remedy"] for it in about_client(report("truststore", "rebuild", "--yes")[1])}
    verified = {it["remedy"] for it in report("verify", "client")[1]["checks"]}
    back = next(it for it in of_rebuild if "update-secret-version-stage" in it)

    assert f"--move-to-version-id {good} --remove-from-version-id {wrong}" in back
    assert f"mtlsctl truststore rebuild  # if it says that this value cannot be used: {back}" in told
    assert verified == {back}

    follow(stack, back)

    assert about_client(report("status")[1]) == []
    assert (stack.at("AWSPREVIOUS"), report("verify", "client")[1]["checks"][0]["result"]) == (good, "ok")


def test_a_wrong_value_at_awspending_is_no_cause_to_go_back_to_the_version_before(stack: Stack) -> None:
    """What is in use is good: only the version that the error names gives way."""
    pending, error = "p" * 32, "MTLS-101 secret s/client{}: found no request; expected request to be there. Correct it."

    of_pending = way_out(CLIENT, pending, error.format(f", version {pending}"), stack.services)
    of_current = way_out(CLIENT, pending, error.format(""), stack.services)

    assert f"--version-stage AWSPENDING --remove-from-version-id {pending} && mtlsctl rotate {CLIENT}" in of_pending
    assert "AWSCURRENT" not in of_pending
    assert f"--version-stage AWSCURRENT --move-to-version-id {stack.at('AWSPREVIOUS')}" in of_current


def test_where_no_version_was_before_nothing_is_handed_out() -> None:
    assert bring_back("s/client", {"v": ["AWSCURRENT"]}) == ""
    assert bring_back("s/client", {"v": ["AWSPREVIOUS"], "w": ["AWSPENDING"]}) == ""
