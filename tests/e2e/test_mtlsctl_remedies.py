"""The remedies that status and doctor print, followed to the end: broken, red, the command as printed, accepted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from demo import sam
from demo.certificates import from_secret
from demo.waiting import await_condition
from localaws.shell import PROGRAMS
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from mtlsctl.commands import doctor
from mtlsctl.findings import survey
from tests.kit import builders
from tests.kit.deployment import DOMAIN, Deployment
from tests.kit.mtlsctl import Mtlsctl

QUESTIONS = {"everything in the bucket is read by somebody", "no request to sync was given up", "no call is denied"}
PARTNER = builders.root("Partner of the remedies")


class Scene:
    """A deployed stack, with what breaks it and what an operator pastes."""

    def __init__(self, gateway: Deployment) -> None:
        self.gateway = gateway
        self.mtlsctl = Mtlsctl(gateway.environment, gateway.stack.name)
        session: Any = sam.session(gateway.environment)
        self.client: Callable[[str], Any] = session.client
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate
        self.resources = {
            it["LogicalResourceId"]: it["PhysicalResourceId"]
            for page in pages(StackName=gateway.stack.name)
            for it in page["StackResourceSummaries"]
        }

    def findings(self, command: str) -> list[dict[str, Any]]:
        document = self._ask(command)
        parts = document.get("answers", [document])
        return [it for part in parts for it in part["findings"] if it["severity"] == "attention"]

    def past(self) -> list[str]:
        return [it["what"] for answer in self._ask("doctor")["answers"] for it in answer["past"]]

    def _ask(self, command: str) -> Any:
        """Of doctor, the questions alone that are of use here: all of them take seconds."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(doctor, "CHECKS", tuple(it for it in doctor.CHECKS if it.name in QUESTIONS))
            return self.mtlsctl.json(command)[1]

    def paste(self, command: str) -> str:
        """Run a command in a shell, as it is printed."""
        path = f"{PROGRAMS}:{Path(sys.executable).parent}:{self.gateway.environment['PATH']}"
        environment = {**self.gateway.environment, "PATH": path, "MTLS_ROTATION_STACK": self.gateway.stack.name}
        ran = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def accepts_the_client(self) -> bool:
        return self.gateway.accepts(self.gateway.held())

    def upload(self, key: str, *certificates: Any) -> None:
        self.gateway.s3.put_object(Bucket=self.gateway.bucket, Key=key, Body=pki.to_pem(*certificates).encode())


@pytest.fixture(scope="module")
def scene(gateway: Deployment) -> Iterator[Scene]:
    gateway.await_rest(gateway.client)
    gateway.aws.configure(domain_update_interval=timedelta(0))
    yield Scene(gateway)
    gateway.aws.configure(domain_update_interval=timedelta(seconds=30))


# What is broken; it ends with what is to be cleared away besides.
type Breakage = Callable[[Scene], Iterator[None]]


def _bundle_under_anchors(scene: Scene) -> Iterator[None]:
    scene.upload("anchors/partner.pem", PARTNER.certificate)
    yield
    scene.gateway.s3.delete_object(Bucket=scene.gateway.bucket, Key="anchors/static/partner.pem")


def _note_of_somebodys(scene: Scene) -> Iterator[None]:
    scene.gateway.s3.put_object(Bucket=scene.gateway.bucket, Key="read me.txt", Body=b"hello")
    yield


def _lost_tag(scene: Scene) -> Iterator[None]:
    scene.gateway.secrets.untag_resource(SecretId=scene.gateway.client, TagKeys=["mtls-rotation:stack"])
    yield


def _shut_authorizer(scene: Scene) -> Iterator[None]:
    functions, name = scene.client("lambda"), scene.resources["AuthorizerFunction"]
    for statement in json.loads(functions.get_policy(FunctionName=name)["Policy"])["Statement"]:
        functions.remove_permission(FunctionName=name, StatementId=statement["Sid"])
    yield


def _held_back(function: str) -> Breakage:
    def breakage(scene: Scene) -> Iterator[None]:
        name = scene.resources[function]
        scene.client("lambda").put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
        yield

    return breakage


def _no_mapping(scene: Scene) -> Iterator[None]:
    scene.gateway.apigateway.delete_base_path_mapping(domainName=DOMAIN, basePath="(none)")
    yield


def _no_mutual_tls(scene: Scene) -> Iterator[None]:
    off = {"op": "replace", "path": "/mutualTlsAuthentication/truststoreUri", "value": ""}
    scene.gateway.apigateway.update_domain_name(domainName=DOMAIN, patchOperations=[off])  # type: ignore[list-item]
    yield


def _dead_letter(scene: Scene) -> Iterator[None]:
    scene.gateway.sqs.send_message(QueueUrl=scene.resources["SyncDeadLetters"], MessageBody="{}")
    yield


@dataclass(frozen=True)
class Case:
    """Things that are broken at once, as few runs of a command take the least time.

    Attributes:
        command: what tells of them.
        broken: each with what its finding says, in part.
        refuses: whether the client is refused meanwhile.
    """

    name: str
    command: str
    broken: tuple[tuple[Breakage, str], ...]
    refuses: bool = False


CASES = (
    Case(
        "what stands still",
        "status",
        (
            (_bundle_under_anchors, "nobody reads it"),
            (_lost_tag, "it has lost the stack's tag"),
            (_held_back("RotateFunction"), "it is held back, so rotations stand still"),
        ),
    ),
    Case(
        "who lets nobody in",
        "status",
        (
            (_shut_authorizer, "it does not let API Gateway in"),
            (_held_back("AuthorizerFunction"), "it is held back: its reserved concurrency is 0"),
            (_no_mapping, "it leads to no API"),
            (_no_mutual_tls, "no mutual TLS"),
        ),
        refuses=True,
    ),
    Case(
        "what lies about",
        "doctor",
        ((_note_of_somebodys, "nobody reads it"), (_dead_letter, "requests to sync were given up")),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda it: it.name)
def test_remedies_as_they_are_printed_lead_from_red_to_accepted(scene: Scene, case: Case) -> None:
    said = [words for _, words in case.broken]

    def told() -> list[dict[str, Any]]:
        return [it for it in scene.findings(case.command) if any(words in it["what"] for words in said)]

    with ExitStack() as broken:
        for breakage, _ in case.broken:
            broken.enter_context(contextmanager(breakage)(scene))
        if case.refuses:
            await_condition(lambda: not scene.accepts_the_client(), "the client is refused", 30.0)
        await_condition(
            lambda: all(any(words in it["what"] for it in told()) for words in said), f"{case.command} is red", 30.0
        )
        for finding in told():
            scene.paste(finding["remedy"])
        await_condition(lambda: not told(), f"{case.command} is green", 30.0)
        await_condition(scene.accepts_the_client, "the client is accepted", 30.0)


def test_a_bundle_that_was_moved_where_it_is_read_lets_the_partner_in(scene: Scene) -> None:
    authority = builders.root("Partner in another place")
    leaf = builders.leaf(authority)
    value = {
        "certificate": pki.to_pem(leaf.certificate),
        "private_key": pki.key_to_pem(leaf.key),
        "serial_number": pki.serial(leaf.certificate),
    }
    partner = from_secret(json.dumps(value), scene.gateway.aws.front_door.server_ca_pem)
    scene.upload("anchor/partner.pem", authority.certificate)
    assert not scene.gateway.accepts(partner)

    (finding,) = [it for it in scene.findings("doctor") if it["subject"] == "anchor/partner.pem"]
    scene.paste(finding["remedy"])

    await_condition(lambda: scene.gateway.accepts(partner), "the partner is let in", 60.0)
    scene.gateway.s3.delete_object(Bucket=scene.gateway.bucket, Key="anchors/static/partner.pem")


def test_an_answer_that_nobody_takes_is_told_and_goes_as_it_is_said(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a stack with ExternalIssuer=disabled."""
    monkeypatch.setattr("mtlsctl.stack.strays.takes_signed", lambda _: False)
    # What tests have had signed before is told as well.
    scene.gateway.s3.put_object(Bucket=scene.gateway.bucket, Key=f"{layout.SIGNED}late.pem", Body=b"-")

    def told() -> list[dict[str, Any]]:
        return [it for it in scene.findings("doctor") if "ExternalIssuer=disabled" in it["what"]]

    (finding,) = [it for it in told() if it["subject"].startswith(layout.SIGNED)]
    scene.paste(finding["remedy"])
    assert not [it for it in told() if it["subject"].startswith(layout.SIGNED)]


def test_what_was_denied_and_is_mended_is_past_at_once(scene: Scene) -> None:
    """The command says that a policy denies it; once that is gone, what failed is done again."""
    iam, role = scene.client("iam"), scene.resources["RevocationRole"]
    denial = {"Effect": "Deny", "Action": "s3:PutObject", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [denial]})
    iam.put_role_policy(RoleName=role, PolicyName="somebodys", PolicyDocument=document)
    arn = f"arn:aws:s3:::{scene.gateway.bucket}/{layout.REVOCATION_LIST}"
    error = f"AccessDenied: User is not authorized to perform: s3:PutObject on resource: {arn} with an explicit deny"
    line = {"level": "ERROR", "location": "handler:47", "message": "revocation failed", "exception": error}
    logs, group = scene.client("logs"), scene.resources["RevocationLogs"]
    logs.create_log_stream(logGroupName=group, logStreamName="remedies")
    event = {"timestamp": int(time.time() * 1000), "message": json.dumps(line)}
    logs.put_log_events(logGroupName=group, logStreamName="remedies", logEvents=[event])

    (finding,) = [it for it in scene.findings("doctor") if it["what"].startswith("s3:PutObject was denied")]
    named, _, again = finding["remedy"].partition("  # ")
    await_condition(lambda: "explicitDeny" in scene.paste(named), "it is said that a policy denies it", 30.0)
    iam.delete_role_policy(RoleName=role, PolicyName="somebodys")
    await_condition(lambda: "explicitDeny" not in scene.paste(named), "nothing denies it", 30.0)
    scene.paste(again.rpartition("then: ")[2])

    await_condition(
        lambda: any(it.startswith("s3:PutObject was denied") for it in scene.past()), "the denial is past", 30.0
    )
    assert not [it for it in scene.findings("doctor") if "was denied" in it["what"]]
    logs.delete_log_stream(logGroupName=group, logStreamName="remedies")


def test_a_rotation_whose_queue_was_purged_in_the_midst_is_told_and_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, functions = scene.gateway, scene.client("lambda")
    gateway.await_rest(gateway.ca)
    name = scene.resources["TruststoreSyncFunction"]
    (mapping,) = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    # As if minutes had passed.
    monkeypatch.setattr(survey, "AWAITED", survey.AWAITED * 0)
    try:
        version = gateway.secrets.rotate_secret(SecretId=gateway.ca)["VersionId"]
        waits = gateway.sqs.get_queue_attributes
        queue = scene.resources["SyncQueue"]
        await_condition(
            lambda: waits(QueueUrl=queue, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessages"] != "0",
            "the request to sync is in the queue",
            60.0,
        )
        gateway.sqs.purge_queue(QueueUrl=queue)
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)

    def told() -> list[dict[str, Any]]:
        return [it for it in scene.findings("status") if "a sync that does not come" in it["what"]]

    await_condition(lambda: bool(told()), "status is red", 30.0)
    scene.paste(told()[0]["remedy"])

    await_condition(lambda: gateway.labels(gateway.ca).get("AWSCURRENT") == version, "the CA is in use", 90.0)
    assert told() == []
    assert scene.accepts_the_client()


def test_a_secret_that_was_written_over_is_brought_back_by_what_is_printed(scene: Scene) -> None:
    gateway = scene.gateway
    gateway.await_rest(gateway.client)
    gateway.secrets.put_secret_value(SecretId=gateway.client, SecretString='{"oops": 1}')
    words = "  # if it says that this value cannot be used: "

    def told() -> list[str]:
        return [it["remedy"] for it in scene.findings("status") if it["subject"] == f"{gateway.stack.name}/client"]

    await_condition(lambda: any(words in it for it in told()), "status is red", 30.0)
    handed_out = next(it.partition(words)[2] for it in told() if words in it)
    _, rebuilt = scene.mtlsctl.json("truststore", "rebuild", "--yes")
    _, verified = scene.mtlsctl.json("verify", gateway.client)
    rotated = scene.mtlsctl.json("rotate", gateway.client, "--wait")[1]

    assert handed_out in [it["remedy"] for it in rebuilt["findings"]]
    assert [it["remedy"] for it in verified["checks"]] == [handed_out]
    assert rotated["failure"]["remedy"] == handed_out

    scene.paste(handed_out)

    await_condition(lambda: not told(), "status is green", 30.0)
    await_condition(scene.accepts_the_client, "the client is accepted", 30.0)
