"""A stack whose functions can be killed at any call, and AWS around it, which runs them again as the real one does.

Secrets Manager begins a rotation again at createSecret with the same token; the queue hands a batch to the sync again;
Lambda runs a failed asynchronous event again; CloudFormation repeats its request.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from mtls_rotation.errors import WaitingForCertificateError
from mtls_rotation.rotation.request import Step
from mtls_rotation.stack.bootstrap import SecretDefinition
from mtls_rotation.truststore.sync import SyncResult
from tests.kit.stack import CLIENT, Mocked
from tests.proof.monitor import Monitor
from tests.proof.quick_aws import S3, Events, Wire
from tests.proof.wire import Call, Killed, Listener, WiredStack

# How often AWS tries before it is taken that it would for ever.
TRIES = 8


class StuckError(AssertionError):
    """What was killed does not come to its end, however often it is run again."""


@dataclass(frozen=True, slots=True)
class Kill:
    """Where a process ends: before a call, or after it, when its effect has happened and its answer is lost."""

    number: int
    after: bool

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.number}"


class Killer(Listener):
    """Counts the calls, and asks at each point whether the process is to end there.

    Args:
        here: is asked with the point; whether to kill.
    """

    def __init__(self, here: Callable[[Kill], bool]) -> None:
        self.calls: list[str] = []
        self.kills: list[str] = []
        self.at_work = False
        self._here = here

    def before(self, call: Call) -> None:
        if self.at_work:
            self.calls.append(f"{call.caller}: {call.service} {call.operation}")
            self._ask(Kill(len(self.calls), after=False))

    def after(self, call: Call) -> None:
        if self.at_work:
            self._ask(Kill(len(self.calls), after=True))

    def _ask(self, point: Kill) -> None:
        if self._here(point):
            self.kills.append(f"{point} ({self.calls[-1]})")
            raise Killed


class World:
    """A stack, the monitor that watches it, and AWS that keeps it going.

    Attributes:
        heard: the events that the stack has put, each as (detail-type, detail).
        patient: whether what a killed run has begun is done before that run is repeated.
        forced: whether the sync is run with force.
        private_ca: the ARN of the CA in AWS Private CA, if there is one.
    """

    def __init__(self, clients: Mocked, here: Callable[[Kill], bool]) -> None:
        # The bucket and the bus in memory, as the greater part of the calls go there.
        wire = Wire(lambda: None)
        quick = replace(clients, s3=S3(wire, lambda: self.stack.moment), events=Events(wire))
        self.stack = WiredStack(quick, self_signed_clients=True)
        self.monitor = Monitor(self.stack)
        self.killer = Killer(here)
        # Who is killed before a call makes none; what is said after one was said even if its sayer is killed then.
        self.stack.wire.listeners = [self.killer, _Bus(self), *self.stack.wire.listeners]
        self.stack.time.meanwhile += [self.stack.gateway.settle, self.serve]
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.patient = self.forced = False
        self.private_ca = ""
        self._asked: set[tuple[str, str]] = set()
        self._synced = True
        self._under_way: set[str] = set()
        self._rotations = 0

    def count_anew(self) -> None:
        """Count calls and checks from here on."""
        self.stack.wire.calls = 0
        self.monitor.checks = self.monitor.judged = self.monitor.verifications = 0

    def hear(self, detail_type: str, detail: dict[str, Any]) -> None:
        """An event of the stack."""
        self.heard.append((detail_type, detail))
        if detail_type == "Truststore Sync Requested":
            self._asked.add((detail["secret_arn"], detail["version_id"]))
            self._synced = False

    # what AWS does ----------------------------------------------------------------------------------------------------

    def rotate(self, secret: str = CLIENT) -> None:
        """As Secrets Manager's schedule does."""
        self._rotations += 1
        token = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{secret} {self._rotations}"))
        self.stack.secrets.stage(secret, token)
        self._play(secret, token)

    def sync(self) -> None:
        """As the queue does: again until nothing is left to be done."""
        for _ in range(TRIES):
            named = frozenset(self._asked)
            self._asked.clear()
            self._synced = True
            result = self._again(partial(self._reconcile, named))
            if result.retry_after is None:
                return
            self.stack.time.sleep(result.retry_after)
        raise StuckError("the sync goes on asking to be run again")

    def _reconcile(self, named: frozenset[tuple[str, str]]) -> SyncResult:
        return self.stack.sync.run(self.stack.time.deadline(), named, force=self.forced)

    def take_in(self, key: str) -> None:
        """As Lambda does, when an answer of a partner was uploaded. What a killed run began may be done by then."""
        self._again(lambda: self.stack.intake.run(key), between=self.serve if self.patient else None)

    def revoke(self) -> None:
        """As Lambda does, when a notice was uploaded."""
        result = self._again(self.stack.revocation.run, between=self.serve if self.patient else None)
        assert not result.problems, result.problems

    def set_up(self, ca: SecretDefinition | None, client: SecretDefinition) -> None:
        """As CloudFormation does."""
        self._again(lambda: self.stack.bootstrap.run(ca, client, "request", self.stack.time.deadline()))

    def serve(self) -> None:
        """Do what the stack has asked for: rotations, and a run of the sync."""
        if not self._synced and "sync" not in self._under_way:
            self._under_way.add("sync")
            try:
                self.sync()
            finally:
                self._under_way.discard("sync")
        rotations, self.stack.secrets.rotations = self.stack.secrets.rotations, []
        for name, token in dict.fromkeys(rotations):
            self._play(name, token)

    def settle(self) -> None:
        """Go on until nobody asks for anything any more; the labels that moved have asked for a sync."""
        self._synced = False
        for _ in range(TRIES):
            self.serve()
            if self._synced and not self.stack.secrets.rotations:
                self.stack.gateway.settle()
                return
        raise StuckError("the stack goes on asking for things")

    def _play(self, name: str, token: str) -> None:
        """Run the steps; begin again at the first after a kill."""
        labels = self.stack.labels(name).get(token, set())
        if name in self._under_way or labels == {"AWSCURRENT"}:
            return
        self._under_way.add(name)
        try:
            self._again(partial(self._steps, name, token))
        except WaitingForCertificateError:
            return
        finally:
            self._under_way.discard(name)
        self._asked.add((self.stack.secrets.record(name).arn, token))
        self._synced = False

    def _steps(self, name: str, token: str) -> None:
        for step in Step:
            self.stack.step(step, token, name)

    def _again(self, run: Callable[[], Any], between: Callable[[], None] | None = None) -> Any:
        for _ in range(TRIES):
            try:
                return run()
            except Killed:
                if between:
                    between()
        raise StuckError("killed more often than was planned")


class _Bus(Listener):
    """Hears the events that the stack puts."""

    def __init__(self, world: World) -> None:
        self._world = world

    def after(self, call: Call) -> None:
        if call.operation == "put_events":
            for entry in call.request["Entries"]:
                self._world.hear(entry["DetailType"], json.loads(entry["Detail"]))
