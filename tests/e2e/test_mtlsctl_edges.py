"""`mtlsctl doctor` on a deployed stack whose edges are cut: it names each, and what it prints makes it whole again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from demo.traffic import send
from demo.waiting import await_rotation
from mtlsctl.commands.doctor import AUTHORIZER, EDGES, THROUGH
from mtlsctl.findings import probing
from tests.e2e.test_mtlsctl_doctor import DoctorContext, found
from tests.kit import cuts
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl

# As an operator waits: a function that starts for the first time on a busy machine takes long.
SECONDS = str(probing.SECONDS)


@pytest.fixture(scope="module")
def stack(gateway: Deployment) -> cuts.Stack:
    context = DoctorContext(gateway)
    return cuts.Stack(context.client, context.resources, gateway.stack.outputs)


@pytest.fixture(scope="module")
def mtlsctl(gateway: Deployment) -> Mtlsctl:
    return Mtlsctl(gateway.environment, gateway.stack.name)


@pytest.fixture
def run(gateway: Deployment, programs: Path) -> Callable[[str], None]:
    return shell_of(gateway, programs)


def shell_of(gateway: Deployment, programs: Path) -> Callable[[str], None]:
    """What pastes a remedy into a shell, with what stands behind it."""
    path = f"{programs}:{gateway.environment['PATH']}"
    environment = gateway.environment | {"PATH": path, "MTLS_ROTATION_STACK": gateway.stack.name}

    def paste(command: str) -> None:
        ran = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"

    return paste


def of_edges(mtlsctl: Mtlsctl) -> list[dict[str, Any]]:
    """What is found of edges and of marked events. All else is not what is cut here."""
    _, document = mtlsctl.json("doctor", "--timeout", SECONDS)
    answers = [it for it in document["answers"] if it["question"] in EDGES | {THROUGH, AUTHORIZER}]
    assert len(answers) == len(EDGES) + 2
    return [finding for it in answers for finding in it["findings"]]


@contextmanager
def left_whole(mtlsctl: Mtlsctl, run: Callable[[str], None]) -> Iterator[None]:
    """Have a failure leave no edge cut: other tests are of the same stack."""
    try:
        yield
    except BaseException:
        for _ in range(2):
            for remedy in dict.fromkeys(remedy_of(it) for it in of_edges(mtlsctl)):
                run(remedy)
        raise


def batches() -> list[list[cuts.Cut]]:
    """All cuts in as few batches as do: those of one kind exclude each other, and of a mapping that is gone all do."""
    made: list[list[cuts.Cut]] = []
    for cut in cuts.CUTS:
        batch = next((it for it in made if not cut.of or cut.of not in {other.of for other in it}), None)
        made.append([cut]) if batch is None else batch.append(cut)
    return made


# A third has but another way to the first one's finding; the proof draws it.
@pytest.mark.parametrize("batch", batches()[:2], ids=lambda it: f"{len(it)} edges")
def test_each_edge_that_is_cut_is_named_and_what_is_printed_makes_it_whole(
    batch: list[cuts.Cut], stack: cuts.Stack, mtlsctl: Mtlsctl, run: Callable[[str], None], gateway: Deployment
) -> None:
    with left_whole(mtlsctl, run):
        for cut in batch:
            cut.make(stack)
        findings = of_edges(mtlsctl)

        assert [cut.name for cut in batch if not any(cut.names(it, stack) for it in findings)] == []
        told = [it for it in findings if not any(cut.names(it, stack) for cut in batch)]
        assert [it for it in told if "an edge is cut" not in it["what"]] == []

        for _ in range(2):  # what a first remedy makes whole may show the next one
            for remedy in dict.fromkeys(remedy_of(it) for it in findings):
                run(remedy)
            if not (findings := of_edges(mtlsctl)):
                break
        assert findings == []
    answer = send(gateway.url, gateway.held())
    assert not answer.failure, answer


def test_a_queue_that_is_purged_in_a_rotation_is_named_and_the_rotation_goes_on(
    mtlsctl: Mtlsctl, run: Callable[[str], None], gateway: Deployment, tmp_path: Path
) -> None:
    gateway.await_rest(gateway.ca)
    gateway.sqs.purge_queue(QueueUrl=gateway.stack.outputs["SyncQueue"])
    version = gateway.secrets.rotate_secret(SecretId=gateway.ca)["VersionId"]

    status, document = mtlsctl.json("doctor", "--timeout", "6")
    (finding,) = [it for it in found(document) if "was the queue purged?" in it["what"]]
    assert (status, finding["subject"].startswith("queue ")) == (1, True)
    assert gateway.labels(gateway.ca)["AWSCURRENT"] != version

    # The minute that a purge takes is over, here and in all that follows.
    gateway.aws.configure(queue_purge_time=timedelta(0))
    tmp_path.joinpath("sleep").write_text("#!/bin/sh\n")
    tmp_path.joinpath("sleep").chmod(0o755)
    run(f"PATH={tmp_path}:$PATH; {remedy_of(finding)}")

    await_rotation(gateway.aws, version, 60.0)
    assert gateway.labels(gateway.ca)["AWSCURRENT"] == version
    assert of_edges(mtlsctl) == []


def remedy_of(finding: dict[str, Any]) -> str:
    """What is printed of a remedy, with the section of the runbook behind it."""
    return f"{finding['remedy']}  # {finding['runbook']}" if finding["runbook"] else str(finding["remedy"])
