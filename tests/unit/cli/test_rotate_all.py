"""`mtlsctl rotate --all --ca`: the order that keeps the rest alive, and what shuts nobody out unasked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from mtls_rotation.pki.certificates import fingerprint
from mtls_rotation.rotation.request import Step
from mtlsctl.commands import rotate_all
from mtlsctl.commands.rotate_all import ReplacementReport
from mtlsctl.errors import InvalidInputError, NotConfirmedError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.following.log import Line, Result
from mtlsctl.following.rotation import Outcome, Sight, Started
from tests.kit import builders
from tests.kit.stack import CA, CLIENT, Stack

if TYPE_CHECKING:
    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtlsctl.frame.command import CommandContext

MANY = [f"stack/client-{number}" for number in range(7)]


@dataclass
class Console:
    """What is told on the way, and what an operator answers; without answers, nobody is there to ask."""

    stack: Stack
    answers: list[bool] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    told: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def deployment(self) -> Any:
        return SimpleNamespace(
            name="stack",
            outputs={"RotateFunction": "arn:aws:lambda:us-east-1:123456789012:function:rotate"},
            services=self.stack.services,
            assembly=SimpleNamespace(sync=self.stack.sync, targets=self.stack.targets),
            session=self.stack,
            secret=self.stack.services.versions.describe,
        )

    def tell(self, what: str) -> None:
        self.told.append(what)

    @property
    def progress(self) -> Any:
        return SimpleNamespace(print=lambda text: self.told.append(str(text)))

    @contextmanager
    def doing(self, _: str) -> Iterator[None]:
        yield

    @contextmanager
    def waiting(self, _: str) -> Iterator[None]:
        self.stack.pass_time(minutes=1)
        self.stack.reconcile()
        yield

    def confirm(self, _: object, question: str, *, yes: bool) -> None:
        if yes:
            return
        self.asked.append(question)
        if not self.answers or not self.answers.pop(0):
            raise NotConfirmedError(where="", found="no", expected="", remedy="")


@pytest.fixture
def console(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Console:
    """A stack with a gateway, on which rotations are played as they are started."""
    stack.with_gateway()
    stack.time.meanwhile.append(lambda: stack.reconcile())
    stack.rotate(CLIENT)
    stack.pass_time(hours=2)
    console = Console(stack)

    def start(_: object, secret: SecretDescription) -> Started:
        console.told.append(f"started {secret.name}")
        pending = stack.at("AWSPENDING", secret.name)
        taken_up = pending is not None and pending != stack.at("AWSCURRENT", secret.name)
        version = pending if pending is not None and taken_up else stack.begin(secret.name)
        return Started(secret.arn, secret.name, version, datetime.now(UTC), taken_up)

    def follow(rotation: Started, _: float) -> tuple[Sight, Outcome]:
        if rotation.name in console.broken:
            lines = {Step.CREATE: Line(Step.CREATE, Result.FAILED, reason="MTLS-103 too long")}
            return Sight(lines=lines), Outcome.FAILED
        for step in Step:
            stack.step(step, rotation.version_id, rotation.name)
        return Sight(), Outcome.DONE

    monkeypatch.setattr(rotate_all, "start", start)
    monkeypatch.setattr(rotate_all, "Follower", lambda _: SimpleNamespace(follow=follow))
    monkeypatch.setattr(rotate_all, "confirm", console.confirm)
    return console


def run(console: Console, name: str = CA, *, yes: bool = True) -> ReplacementReport:
    return rotate_all.rotate_all(cast("CommandContext", console), name, timeout=60.0, yes=yes)


def anchor_of(stack: Stack, secret: str, label: str = "AWSCURRENT") -> str:
    (key,) = [
        it for it in stack.objects() if f"/{secret}/{stack.at(label, secret)}." in it and it.startswith("issued/")
    ]
    return key.split("/")[1]


def add_clients(stack: Stack, *names: str) -> None:
    for name in names:
        stack.add_secret(name, builders.client_definition(CA, request={"common_name": name[-9:], "validity_days": 2}))
        stack.rotate(name)


@pytest.fixture
def old(stack: Stack) -> str:
    return anchor_of(stack, CA)


def test_the_new_ca_is_trusted_first_then_clients_move_and_then_the_former_goes(console: Console, old: str) -> None:
    stack = console.stack
    report = run(console)

    assert report.exit_status is ExitStatus.OK
    assert (report.distrusted, report.completed, report.former) == (True, True, [old])
    assert [it.secret for it in report.rotated] == [CLIENT]
    new = anchor_of(stack, CA)
    assert stack.deployed() == {new}
    assert anchor_of(stack, CLIENT) == new
    begun = [it for it in console.told if it.startswith("started")]
    assert begun == [f"started {CA}", f"started {CLIENT}"]
    # All that is refused by it is what the client had before.
    assert {(it.secret, tuple(it.labels)) for it in report.refused} == {(CLIENT, ("AWSPREVIOUS",))}


def test_one_of_many_that_fails_is_not_shut_out_unasked(
    console: Console, old: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails in the middle: those after it go on, and --yes does not answer for it."""
    monkeypatch.setattr(rotate_all, "_AT_ONCE", 3)
    stack = console.stack
    add_clients(stack, *MANY)
    console.broken.add(MANY[3])
    report = run(console, yes=True)

    assert (report.distrusted, report.exit_status) == (False, ExitStatus.ATTENTION)
    assert {it.secret for it in report.rotated} == {CLIENT, *MANY}
    assert [it.secret for it in report.rotated if not it.done] == [MANY[3]]
    assert old in stack.deployed()
    assert anchor_of(stack, MANY[3]) == old
    assert {anchor_of(stack, it) for it in MANY if it != MANY[3]} == {anchor_of(stack, CA)}
    (question,) = console.asked
    assert question.startswith(f"Their certificates in use are refused then: {MANY[3]}.")
    failed, trusted = report.findings
    assert "MTLS-103 too long" in failed.what
    assert trusted.remedy == f"mtlsctl truststore distrust {old[:16]} --wait"


def test_the_operator_may_shut_out_what_fails_once_it_is_named(console: Console, old: str) -> None:
    console.broken.add(CLIENT)
    console.answers = [True]
    report = run(console, yes=True)

    assert report.distrusted
    assert console.stack.deployed() == {anchor_of(console.stack, CA)}
    assert [it.secret for it in report.refused if it.in_use] == [CLIENT]
    assert report.exit_status is ExitStatus.ATTENTION


def test_without_a_yes_nothing_is_begun(console: Console, old: str) -> None:
    before = console.stack.snapshot()
    with pytest.raises(NotConfirmedError):
        run(console, yes=False)

    assert console.stack.snapshot() == before
    assert any(f"Then what hangs on it: {CLIENT}." in it for it in console.told)


def test_an_operator_who_says_no_in_the_end_keeps_the_former_ca(console: Console, old: str) -> None:
    console.answers = [True, False]
    report = run(console, yes=False)

    assert (report.distrusted, old in console.stack.deployed()) == (False, True)


def test_a_ca_that_does_not_rotate_leaves_its_clients_alone(console: Console, old: str) -> None:
    console.broken.add(CA)
    report = run(console)

    assert (report.rotated, report.distrusted) == ([], False)
    assert anchor_of(console.stack, CLIENT) == old


def test_what_cannot_be_rotated_is_named_beforehand_and_shut_out_by_nobody_unasked(console: Console, old: str) -> None:
    console.stack.secrets.record(CLIENT).rotation_enabled = False
    report = run(console)

    assert not report.distrusted
    assert any(f"Not {CLIENT}, which cannot be rotated: rotation switched off" in it for it in console.told)


def test_a_version_that_the_former_ca_has_signed_and_that_waits_is_made_anew(console: Console, old: str) -> None:
    """It would be taken up, and wait for ever for a CA that is distrusted."""
    stack = console.stack
    stale = stack.begin(CLIENT)
    stack.step(Step.CREATE, stale, CLIENT)
    report = run(console)

    assert report.distrusted
    assert stack.at("AWSCURRENT") not in {None, stale}
    assert stack.at("AWSPENDING") is None
    assert anchor_of(stack, CLIENT) == anchor_of(stack, CA)


def test_a_ca_that_was_being_rotated_is_rotated_once_more(console: Console, old: str) -> None:
    """Whoever could read the secret has the key of the version that was being made, too."""
    stack = console.stack
    under_way = stack.begin(CA)
    stack.step(Step.CREATE, under_way, CA)
    report = run(console)

    assert report.ca.version_id != under_way
    assert len(report.former) == 2
    assert stack.deployed() == {anchor_of(stack, CA)} == {anchor_of(stack, CLIENT)}


def test_a_ca_with_a_notice_issues_at_once(console: Console, stack: Stack) -> None:
    noticed, client = "stack/noticed-ca", "stack/noticed"
    ca = builders.root("Noticed CA", days=300)
    definition = builders.ca_definition(request={"common_name": "Noticed CA", "validity_days": 300}, notice_days=30)
    stack.add_secret(noticed, builders.issued_value(definition, ca))
    stack.file(ca, noticed, str(stack.at("AWSCURRENT", noticed)), authority=True)
    stack.reconcile()
    stack.add_secret(client, builders.client_definition(noticed, request={"common_name": "n", "validity_days": 2}))
    stack.rotate(client)
    report = run(console, noticed)

    assert report.distrusted
    assert anchor_of(stack, client) == anchor_of(stack, noticed) != fingerprint(ca.certificate)


@pytest.mark.parametrize("name", [CLIENT])
def test_a_secret_that_is_no_ca_is_refused_before_anything_is_done(console: Console, name: str) -> None:
    with pytest.raises(InvalidInputError, match="Nothing was changed"):
        run(console, name)
    assert not any(it.startswith("started") for it in console.told)
