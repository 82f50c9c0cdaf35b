"""Whole histories of a stack: whatever happens, in whatever order, at whatever moment, the invariants hold.

A state machine (hypothesis) draws the histories. Functions run at once, suspended before any of their calls to AWS, and
everything else happens in between: other functions, hands, faults, time. `tests.proof.world` says what is claimed. At
the end of each history all is let settle, and must be as if nothing had happened.

Played again by ``python -m tests.proof.parts.histories --seed N --count C``, which prints the steps of the shortest
history that fails.
"""

from __future__ import annotations

import argparse
import json
import logging
import secrets
import sys
import time
import traceback
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from typing import Any, ClassVar, cast

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.stack import CA, CLIENT, DOMAIN
from tests.proof import Outcome
from tests.proof.processes import Process
from tests.proof.quick_aws import CURRENT, PENDING, PREVIOUS
from tests.proof.world import (
    AUTHORITIES,
    DEFINITIONS,
    HOURS,
    NOTICED,
    PARTNER,
    PINNED,
    SECOND_DOMAIN,
    Run,
    ViolationError,
    World,
    endpoint_of,
)

OTHERS = (HOURS, NOTICED, PINNED, PARTNER)
WHICH = st.integers(0, 6)
# Most often a few calls; None is to the end.
CALLS = st.sampled_from([None, None, 1, 2, 3, 5, 8, 13])
SERVICES = ("secretsmanager", "s3", "events", "apigateway")


class History(RuleBasedStateMachine):
    """A stack through its life."""

    played: ClassVar[Counter[str]] = Counter()
    ended: ClassVar[Counter[str]] = Counter()
    injected: ClassVar[Counter[str]] = Counter()
    histories = 0
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.world: World  # once it has begun
        self.failed = False

    @initialize(others=st.sets(st.sampled_from(OTHERS), max_size=2), two=st.booleans())
    def begin(self, others: set[str], two: bool) -> None:
        """What the bootstrap leaves behind, and up to two further secrets; one domain or two."""
        self._endpoint: Any = None
        self.world = World.begun(sorted(others), domains=1 + two)
        self._endpoint = endpoint_of(self.world)
        self._endpoint.__enter__()

    def teardown(self) -> None:
        if not self._begun():
            return
        try:
            if self.world.violation is None and not self.failed:
                self.world.settle()
                self.world.require_settled()
        finally:
            self.world.abandon()
            self._endpoint.__exit__(None, None, None)
            History.histories += 1
            History.injected += self.world.wire.injected
            History.calls += self.world.wire.calls.total()

    # rotations --------------------------------------------------------------------------------------------------------

    @rule(which=WHICH)
    def rotate_secret(self, which: int) -> None:
        """RotateSecret. An unfinished rotation is taken up again with its token."""
        self._play("rotate")
        name = self._secret(which)
        self.world.secrets.enable_rotation(name)
        self.world.operator(self.world.secrets.rotate_secret, SecretId=name)

    @precondition(lambda self: self.world.runs)
    @rule(which=WHICH, calls=CALLS)
    def take_a_step(self, which: int, calls: int | None) -> None:
        """Secrets Manager invokes the next step, or the one under way goes on for some calls."""
        self._play("step")
        run = self._run(which)
        self._go(run.process or self.world.start_step(run), calls)

    @precondition(lambda self: self.world.runs)
    @rule(which=WHICH, ahead=st.integers(1, 9), calls=CALLS)
    def take_the_same_step_twice(self, which: int, ahead: int, calls: int | None) -> None:
        """The same step of the same version, at once: an event that came twice, or a retry of one that seemed dead."""
        self._play("same step twice")
        run = self._run(which)
        twin = Run(run.secret, run.token, run.step)
        self.world.runs.append(twin)
        process = run.process or self.world.start_step(run)
        self._go(process, ahead)
        self._go(self.world.start_step(twin), calls)

    @rule(which=WHICH, times=st.integers(1, 3))
    def rotate_all_through(self, which: int, times: int) -> None:
        """Whole rotations, one after the other."""
        self._play("rotate through")
        for _ in range(times):
            self.world.rotate_through(self._secret(which))

    @rule(times=st.integers(1, 2))
    def rotate_everything(self, times: int) -> None:
        """The CAs first, then whatever chains to them."""
        self._play("rotate everything")
        for name in sorted(self.world.names(), key=lambda it: it not in AUTHORITIES):
            for _ in range(1 if name in AUTHORITIES else times):
                self.world.rotate_through(name)

    @rule(which=WHICH, off=st.booleans(), forget=st.booleans())
    def cancel(self, which: int, off: bool, forget: bool) -> None:
        """AWSPENDING is taken off by hand, rotation perhaps switched off. What is under way may go on all the same."""
        self._play("cancel")
        name = self._secret(which)
        record = self.world.quick_secrets.record(name)
        if pending := record.at(PENDING):
            more = {"VersionStage": PENDING, "RemoveFromVersionId": pending}
            self.world.operator(self.world.secrets.update_secret_version_stage, SecretId=name, **more)
        if off:
            self.world.secrets.enable_rotation(name, enabled=False)
        if forget:
            self.world.runs[:] = [it for it in self.world.runs if it.secret != name or it.process]

    # what is under way ------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.world.processes)
    @rule(which=WHICH, calls=CALLS)
    def go_on(self, which: int, calls: int | None) -> None:
        """A function that is suspended goes on."""
        self._play("interleave")
        self._go(self._process(which), calls)

    @precondition(lambda self: self.world.processes)
    @rule(which=WHICH)
    def kill(self, which: int) -> None:
        """A function is ended from outside, wherever it is."""
        self._play("kill")
        self.world.kill(self._process(which))

    # the sync and its events ------------------------------------------------------------------------------------------

    @rule(calls=CALLS, repeat=st.booleans(), data=st.data())
    def sync(self, calls: int | None, repeat: bool, data: st.DataObject) -> None:
        """The sync, with any of the events, in any order; they may come again. Beside one that runs, perhaps."""
        self._play("sync")
        queue = self.world.queue
        order = data.draw(st.lists(st.integers(0, min(len(queue), 4) - 1), unique=True)) if queue else []
        self._go(self.world.start_sync([queue[it] for it in order], repeat=repeat), calls)

    @rule(which=WHICH, calls=st.integers(6, 24), moment=st.integers(0, 1))
    def overtake_a_sync(self, which: int, calls: int, moment: int) -> None:
        """One that has something to publish stops on its way; others publish and deploy meanwhile; it goes on."""
        self._play("overtake a sync")
        self.upload_a_bundle(2, "good")
        self.world.pass_seconds(31)
        process = self.world.start_sync(self.world.queue)
        self._go(process, calls)
        self.world.rotate_through(self._secret(which))
        self.world.pass_seconds(31 * moment)
        if not process.is_over():
            self._go(process, None)

    @rule()
    def sync_until_nothing_is_left(self) -> None:
        self._play("sync through")
        self.world.deliver_all()

    @precondition(lambda self: self.world.queue)
    @rule(which=WHICH)
    def lose_events(self, which: int) -> None:
        """Some never come."""
        self._play("lose events")
        del self.world.queue[which % len(self.world.queue) :]

    @rule()
    def lose_the_notes(self) -> None:
        """`state/sync.json` may be deleted at any time."""
        self._play("lose the notes")
        self.world.s3.delete_object(Bucket="certificates", Key=layout.SYNC_NOTES)
        self.world.unsure()

    # hands ------------------------------------------------------------------------------------------------------------

    @rule(which=WHICH)
    def delete_a_secret(self, which: int) -> None:
        """It can be restored for a while."""
        self._play("delete")
        if len(self.world.names()) > 1:
            self.world.operator(self.world.secrets.delete_secret, SecretId=self._secret(which))

    @precondition(lambda self: self._deleted())
    @rule(which=WHICH, for_good=st.sampled_from([False, False, True]))
    def restore_or_lose_a_secret(self, which: int, for_good: bool) -> None:
        """A CA is restored in any case: what to do without one is no matter of the engine."""
        self._play("restore")
        name = self._deleted()[which % len(self._deleted())]
        if for_good and name not in AUTHORITIES:
            self.world.pass_seconds(7 * 86400)
            self.world.runs[:] = [it for it in self.world.runs if it.secret != name]
            self.world.secrets.lose(name)
        else:
            self.world.operator(self.world.secrets.restore_secret, SecretId=name)

    @rule(which=WHICH)
    def roll_back(self, which: int) -> None:
        """AWSPREVIOUS is made AWSCURRENT by hand, of clients and of CAs."""
        self._play("roll back")
        name = self._secret(which)
        record = self.world.quick_secrets.record(name)
        if (current := record.at(CURRENT)) and (previous := record.at(PREVIOUS)):
            more = {"VersionStage": CURRENT, "RemoveFromVersionId": current, "MoveToVersionId": previous}
            self.world.operator(self.world.secrets.update_secret_version_stage, SecretId=name, **more)

    @rule(which=WHICH, what=st.sampled_from(["carry over", "carry over", "validity", "bare"]))
    def edit_by_hand(self, which: int, what: str) -> None:
        """A new value: with the certificate carried over, with another validity, or a bare definition of a client."""
        self._play("edit")
        name = self._secret(which)
        value = self.world.value(self.world.quick_secrets.record(name).at(CURRENT), name) | {"note": what}
        if what == "bare" and name not in AUTHORITIES:
            value = dict(DEFINITIONS[name])
        elif what == "validity" and name not in AUTHORITIES:
            value["request"] = {"common_name": value["request"]["common_name"], "validity_hours": 20}
        self.world.put_by_hand(name, value)

    @rule(number=st.integers(0, 2), what=st.sampled_from(["good", "short", "expired", "malformed", "ours"]))
    def upload_a_bundle(self, number: int, what: str) -> None:
        """Good for long or a day, expired, cut off in the middle, or a CA of ours."""
        self._play("upload")
        days = {"short": 1, "expired": -1}.get(what, 300)
        before, end = self.world.moment - timedelta(days=2), self.world.moment + timedelta(days=days)
        pem = pki.to_pem(builders.foreign(common_name=f"Partner {number}", not_before=before, not_after=end))
        if what == "ours":
            value = self.world.value(self.world.quick_secrets.record(CA).at(CURRENT), CA)
            pem = value.get("certificate", pem)
        text = pem[: len(pem) // 2] if what == "malformed" else pem
        self.world.upload(f"{layout.STATIC_ANCHORS}{number}.pem", text.encode())

    @rule(number=st.integers(0, 2))
    def take_a_bundle_away(self, number: int) -> None:
        self._play("remove a bundle")
        self.world.remove(f"{layout.STATIC_ANCHORS}{number}.pem")

    @rule(which=WHICH, second=st.booleans())
    def set_a_domain_back(self, which: int, second: bool) -> None:
        """Somebody sets a domain to an older truststore."""
        self._play("set a domain back")
        name = SECOND_DOMAIN if second and SECOND_DOMAIN in self.world.gateway.domains else DOMAIN
        self.world.set_back(name, which)

    @rule(which=WHICH, label=st.sampled_from([CURRENT, PENDING, PREVIOUS]), calls=CALLS)
    def revoke(self, which: int, label: str, calls: int | None) -> None:
        """A notice is uploaded, and revocation runs."""
        self._play("revoke")
        name = self._secret(which)
        version = self.world.quick_secrets.record(name).at(label)
        if certificate := self.world.value(version, name).get("certificate"):
            self.world.upload(f"{layout.REVOKED}{name.rpartition('/')[2]}.pem", certificate.encode())
        self._go(self.world.start_revocation(), calls)

    @precondition(lambda self: self.world.requests_out())
    @rule(which=WHICH, well=st.sampled_from([True, True, False]), days=st.sampled_from([1, 4, 400]), late=st.booleans())
    def sign(self, which: int, well: bool, days: int, late: bool) -> None:
        """The partner signs what is asked for: well or another key, for too long perhaps, days later perhaps."""
        self._play("sign")
        out = self.world.requests_out()
        key = out[which % len(out)]
        self.world.sign(key, well=well, days=days)
        if late:
            self.world.pass_seconds(3 * 86400)

    @precondition(lambda self: self.world.uploads)
    @rule(calls=CALLS)
    def take_in_what_was_signed(self, calls: int | None) -> None:
        self._play("intake")
        self._go(cast("Process", self.world.start_intake()), calls)

    @rule(days=st.sampled_from([1, 2, 3]), calls=CALLS)
    def update_the_stack(self, days: int, calls: int | None) -> None:
        """CloudFormation brings the client's definition in line with the template, and so syncs."""
        self._play("update the stack")
        if {CA, CLIENT} <= set(self.world.names()):
            self._go(self.world.start_bootstrap(self.world.new_token(), days), calls)

    # circumstances ----------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([1, 31, 31, 200, 600, 3700, 3700, 86400, 3 * 86400, 12 * 86400]))
    def let_time_pass(self, seconds: int) -> None:
        """Seconds, hours, days, past the end of leafs and of CAs."""
        self._play("time")
        self.world.pass_seconds(seconds)

    @rule(
        service=st.sampled_from(SERVICES),
        how=st.sampled_from(["throttled", "error", "unanswered"]),
        n=st.integers(1, 4),
    )
    def have_calls_fail(self, service: str, how: str, n: int) -> None:
        """The next calls of a service fail, before or after they have done what was asked."""
        self._play("fail")
        self.world.wire.faults[service] = [how] * n

    @rule(
        lists=st.lists(st.sampled_from([0, 60, 300]), min_size=7, max_size=7),
        reads=st.sampled_from([[0], [3], [0, 9, 0]]),
    )
    def let_reads_lag(self, lists: list[int], reads: list[int]) -> None:
        """ListSecrets shows each secret up to five minutes late; single reads are seconds late, and go back in time."""
        self._play("lag")
        names = sorted(DEFINITIONS)
        self.world.quick_secrets.list_lags = {
            name: timedelta(seconds=it) for name, it in zip(names, lists, strict=True) if it
        }
        self.world.quick_secrets.read_lags = [timedelta(seconds=it) for it in reads * 8]

    @rule(seconds=st.sampled_from([1, 8, 40, 400]))
    def have_updates_take(self, seconds: int) -> None:
        """How long a domain is UPDATING from now on."""
        self._play("busy domains")
        self.world.update_takes = timedelta(seconds=seconds)

    @rule(up=st.booleans())
    def have_the_endpoint(self, up: bool) -> None:
        self._play("endpoint")
        self.world.endpoint_up = up

    # what must hold ---------------------------------------------------------------------------------------------------

    @invariant()
    def all_that_is_claimed(self) -> None:
        if self._begun():
            self.world.check()

    # how --------------------------------------------------------------------------------------------------------------

    def check_invariants(self, *arguments: Any, **more: Any) -> None:
        """A history that has failed need not settle."""
        try:
            super().check_invariants(*arguments, **more)
        except ViolationError:
            self.failed = True
            raise

    def _begun(self) -> bool:
        return "world" in vars(self)

    def _play(self, name: str) -> None:
        History.played[name] += 1

    def _secret(self, which: int) -> str:
        names = self.world.names()
        return names[which % len(names)]

    def _deleted(self) -> list[str]:
        return sorted(name for name, it in self.world.quick_secrets.secrets.items() if it.deleted_date)

    def _run(self, which: int) -> Run:
        return self.world.runs[which % len(self.world.runs)]

    def _process(self, which: int) -> Process:
        return self.world.processes[which % len(self.world.processes)].process

    def _go(self, process: Process, calls: int | None) -> None:
        self.world.go(process, calls)
        if process.is_over():
            outcome = "well" if process.failure is None else type(process.failure).__name__
            History.ended[outcome] += 1


def play(count: int, seeded: int | None, *, shortest: bool = True) -> str:
    """Play histories; the first that fails, in words, or nothing.

    Args:
        count: how many.
        seeded: where they come from; None for the same in every run.
        shortest: whether to look for a shorter one that fails.
    """
    chosen = settings(
        max_examples=count,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=seeded is None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if shortest else [Phase.generate],
        verbosity=Verbosity.normal,
    )
    machine = type("SeededHistory", (History,), {})
    if seeded is not None:
        machine = seed(seeded)(machine)
    logging.disable(logging.CRITICAL)
    try:
        run_state_machine_as_test(machine, settings=chosen)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was looked for
        return "\n".join([*traceback.format_exception_only(error), *traceback.format_tb(error.__traceback__)[-3:]])
    finally:
        logging.disable(logging.NOTSET)
    return ""


BATCH = 40
SECONDS = 480.0


def run(seconds: float = SECONDS, first: int | None = None, count: int = BATCH) -> Outcome:
    """As many histories as there is time for: by turns from fixed seeds and from new ones, which are named.

    Args:
        seconds: after them no batch begins, but for the first two.
        first: what the new seeds begin at; None for one by chance.
        count: how many histories are played from a seed.
    """
    outcome = Outcome()
    base = first if first is not None else secrets.randbelow(1 << 32)
    began, batch = time.monotonic(), 0
    while batch < 2 or time.monotonic() - began < seconds:
        number = batch if batch % 2 == 0 else base + batch
        if found := play(count, number):
            outcome.failures.append(f"python -m tests.proof.parts.histories --seed {number} --count {count}\n{found}")
            if len(outcome.failures) >= 3:
                break
        batch += 1
    outcome.counts = {
        "histories": History.histories,
        "rules": History.played.total(),
        "by_rule": dict(History.played.most_common()),
        "calls_of_aws": History.calls,
        "faults": dict(sorted(History.injected.items())),
        "functions_ended": dict(History.ended.most_common()),
    }
    outcome.notes = [f"{batch} batches of {count}, by turns from the seeds 0, 2, 4 … and from {base} + 1, + 3, + 5 …"]
    return outcome


def main() -> int:
    """Play one batch again, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="of the batch that failed")
    parser.add_argument("--count", type=int, default=BATCH, help="of the histories in that batch")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        found = play(arguments.count, arguments.seed)
        print(found or "nothing fails")
        return int(bool(found))
    outcome = run(arguments.seconds)
    print(json.dumps(asdict(outcome), indent=1))
    return int(bool(outcome.failures))


if __name__ == "__main__":
    sys.exit(main())
