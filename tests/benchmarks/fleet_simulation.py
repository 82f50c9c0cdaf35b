"""A whole fleet that falls due at one moment, played against AWS's quotas: how long, how many calls, what holds it up.

Nothing is measured here, and no clock is looked at: it is computed, and comes out the same each time. What a step calls
is counted by `tests.benchmarks.calls`, what a sync calls is bounded by `tests.kit.fleet`, the functions' settings are
the template's, pauses and time-outs are those of the code, and the account is that of `tests.benchmarks.account`.

Two scenarios. In the everyday one the domain runs what it needs. In the other, the fleet's certificates chain to a CA
that the truststore does not hold yet, as when the CA behind a Private CA or an external issuer changes: every setSecret
waits until the domain runs the new truststore, and the domain was updated the moment before. (A CA of the stack's own
does that waiting by itself, before anything is issued from it.)
"""

from __future__ import annotations

import ast
import bisect
import contextlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

from rich.console import Console
from rich.table import Table

from mtls_rotation.aws import clients
from mtls_rotation.rotation.backoff import backoff, jittered
from mtls_rotation.rotation.request import Step
from mtls_rotation.targets.api_gateway import UPDATE_INTERVAL
from mtls_rotation.timing import Deadline
from mtls_rotation.truststore.rollout import LOOK_AGAIN
from tests.benchmarks import calls
from tests.benchmarks.account import (
    CONCURRENCY,
    DESCRIBE,
    FILE,
    LABEL,
    LIST,
    LOOK,
    PUT,
    QUOTAS,
    READ,
    SYNC_S3,
    TELL,
    UPDATE,
    Assumed,
    Environment,
    Environments,
    Process,
    Quota,
    ThrottledError,
    World,
)
from tests.benchmarks.figures import Results, beside
from tests.kit.fleet import Fleet
from tests.kit.template import listed, resources
from tests.repository.documents import ROOT, costs

FLEETS = (100, 1_000, 10_000)
# Where the simulation ends, if it has not before.
HORIZON = 3600.0
# A window of rotation as Secrets Manager has it for `rate(... hours)`; for days it is the rest of the day.
# https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html
WINDOW = 3600.0
# How far the exponent of a growth in proportion may be from 1.
LINEAR = 0.1
# What Lambda takes of a batch: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
PAYLOAD = 6 * 1024 * 1024


class Scenario(StrEnum):
    """Whether the domain has to be updated before the fleet's new certificates are used."""

    EVERYDAY = "without a CA change"
    CA_CHANGE = "with a CA change"


@dataclass(frozen=True, slots=True)
class Functions:
    """What the template and the code say of the two functions.

    Attributes:
        rotate_seconds, sync_seconds: how long a step, or a sync, may wait for a domain.
        rotate_at_once: executions that the account has left for rotate.
        events: the kinds of event that the queue is sent.
        again: seconds until a batch that failed comes again.
        attempts: how often a call is made that AWS throttles; `patience`, one of a rotation's to Secrets Manager.
    """

    rotate_seconds: float
    sync_seconds: float
    rotate_at_once: int
    sync_at_once: int
    batch: int
    window: float
    events: frozenset[str]
    again: int
    attempts: int
    patience: int


@cache
def functions() -> Functions:
    """As they are deployed with the default parameters."""
    rotate, sync = (resources()[f"{it}Function"]["Properties"] for it in ("Rotate", "TruststoreSync"))
    (source,) = (it["Properties"] for it in sync["Events"].values() if it["Type"] == "SQS")
    syncs = source["ScalingConfig"]["MaximumConcurrency"]
    return Functions(
        rotate_seconds=rotate["Timeout"] - _constant("rotate", "MARGIN"),
        sync_seconds=sync["Timeout"] - _constant("truststore_sync", "MARGIN"),
        rotate_at_once=CONCURRENCY - syncs,
        sync_at_once=syncs,
        batch=min(source["BatchSize"], PAYLOAD // _largest_record()),
        window=source["MaximumBatchingWindowInSeconds"],
        events=frozenset(_queued()),
        again=int(_constant("truststore_sync", "SOON")),
        attempts=int(vars(clients.CALLS)["retries"]["total_max_attempts"]),
        patience=int(vars(clients.PATIENT_CALLS)["retries"]["total_max_attempts"]),
    )


def _constant(function: str, name: str) -> float:
    """A constant of a function's module, which cannot be imported without its environment."""
    for node in ast.parse((ROOT / "functions" / function / "app.py").read_text()).body:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id == name:
                    return float(ast.literal_eval(node.value))
                if isinstance(target, ast.Tuple) and name in (names := [ast.unparse(it) for it in target.elts]):
                    return float(ast.literal_eval(node.value)[names.index(name)])
    raise LookupError(f"no {name} in functions/{function}/app.py")


def _queued() -> Iterator[str]:
    """The kinds of event that a rule sends to the sync's queue."""
    for it in resources().values():
        if it["Type"] == "AWS::Events::Rule" and "EventPattern" in it["Properties"]:
            targets = it["Properties"]["Targets"]
            if any(target["Arn"] == {"Fn::GetAtt": ["SyncQueue", "Arn"]} for target in targets):
                yield from listed(it["Properties"]["EventPattern"]["detail-type"])


def _largest_record() -> int:
    """Bytes of an event in a batch, as Lambda hands it over: the larger of our samples."""
    names = ("sync-label-updated", "sync-requested")
    samples = (json.loads((ROOT / "events" / f"{it}.json").read_text())["Records"] for it in names)
    return max(len(json.dumps(record)) for records in samples for record in records)


class OutOfTimeError(Exception):
    """A step waited for a domain for as long as it may."""


class Domain:
    """The custom domain name: whether it runs the truststore that is wanted, and how long it is UPDATING."""

    def __init__(self) -> None:
        self.current = True
        self.settled_at = 0.0
        self.told_at = -math.inf
        self.updates = 0

    def trusts(self, now: float) -> bool:
        """Whether a setSecret may go on."""
        return self.current and now >= self.settled_at


@dataclass(slots=True)
class Queue:
    """The sync's queue, as a number of messages that can be seen."""

    messages: int = 0
    sent: int = 0
    asleep: list[Process[None]] = field(default_factory=list)


@dataclass(slots=True)
class Secret:
    """How far a secret has come, as its labels tell the next try."""

    stored: bool = False
    tested: bool = False
    labelled: int = 0
    tries: int = 0
    done_at: float = math.inf


class Simulation:
    """One fleet in one scenario.

    Args:
        spread: over how many seconds Secrets Manager begins the rotations; 0 is all at once, the worst case.
    """

    def __init__(
        self,
        secrets: int,
        scenario: Scenario,
        *,
        quotas: tuple[Quota, ...] = QUOTAS,
        assumed: Assumed | None = None,
        setup: Functions | None = None,
        spread: float = 0.0,
    ) -> None:
        self.scenario = scenario
        self.assumed = assumed or Assumed()
        self.functions = setup or functions()
        self.world = World(quotas, self.assumed, self.functions.attempts, self.functions.patience)
        self.environments = Environments(self.world, self.functions.rotate_at_once, self.assumed)
        self.domain, self.queue = Domain(), Queue()
        self.secrets = [Secret() for _ in range(secrets)]
        self.syncs = self.syncs_failed = self.steps_failed = self.invocations = 0
        self._spread = spread
        self._filed_at = math.inf
        self._fleet = Fleet(clients=secrets, authorities=1, uploads=1)
        self._steps = {name: _in_order(made) for name, made in counted().items()}
        if scenario is Scenario.CA_CHANGE:
            self.domain.current, self.domain.told_at = False, 0.0
            for quota, bucket in self.world.buckets.items():
                if quota.counts(UPDATE) and quota.burst == 1:
                    bucket.empty()

    def run(self, until: float = HORIZON) -> None:
        """Until every secret is rotated and the queue is empty, or until then."""
        for number, secret in enumerate(self.secrets):
            self.world.start(self._rotation(secret), number * self._spread / len(self.secrets))
        for _ in range(self.functions.sync_at_once):
            self.world.start(self._worker())
        self.world.run(until)

    # a rotation -------------------------------------------------------------------------------------------------------

    def _rotation(self, secret: Secret) -> Process[None]:
        """Secrets Manager's side: the steps in order, and all of them again if one fails."""
        while True:
            secret.tries += 1
            for step in Step:
                environment = yield from self.environments.enter()
                self.invocations += 1
                try:
                    yield from self._step(step, secret, environment)
                except (ThrottledError, OutOfTimeError):
                    self.steps_failed += 1
                    # As `_announce_failure`: it must not hide what failed.
                    with contextlib.suppress(ThrottledError):
                        yield from self.world.call(TELL, environment)
                    failed = True
                else:
                    failed = False
                finally:
                    self.environments.leave(environment)
                if failed:
                    break
            else:
                secret.done_at = self.world.now
                return
            yield min(self.assumed.retry_first * 2 ** (secret.tries - 1), self.assumed.retry_longest)

    def _step(self, step: Step, secret: Secret, environment: Environment) -> Process[None]:
        deadline = self.world.now + self.functions.rotate_seconds
        made = self._steps[step]
        again = secret.tries > 1
        if step is not Step.CREATE and READ not in made and not environment.remembers(secret):
            # It was counted where one environment ran every step. Here another may have run the one before.
            made = _in_order(Counter([READ, *made]))
        if secret.labelled and step is Step.CREATE:
            made = made[:1]  # it is seen at the first look that the version is at AWSCURRENT already
        elif step is Step.CREATE and secret.stored:
            made = _once(READ, [it for it in made if it != PUT])
        elif step is Step.FINISH and again:
            made = [it for it in made if it != LABEL] + [LABEL] * (made.count(LABEL) - secret.labelled)
            made = _in_order(Counter(made))
        environment.remember(secret)
        if step is Step.SET:
            yield from self._set(made, deadline, environment)
            return
        if step is Step.TEST:
            yield from self._test(secret, deadline, environment)
            return
        for operation in made:
            yield from self.world.call(operation, environment)
            if operation == PUT:
                secret.stored = True
            elif operation == FILE:
                self._filed_at = min(self._filed_at, self.world.now)
            elif operation == LABEL:
                secret.labelled += 1
                # The first moves AWSCURRENT, of which there is an event; the second takes AWSPENDING off.
                if secret.labelled == 1 and "Secret Label Updated" in self.functions.events:
                    self._send(1)

    def _test(self, secret: Secret, deadline: float, environment: Environment) -> Process[None]:
        """The step that asks for the domain again, where its environment has not just seen it: `ProveStep.run`."""
        if not environment.trusts(self.world.now):
            yield from self._set([it for it in self._steps[Step.SET] if it != READ], deadline, environment)
        for operation in self._steps[Step.TEST]:
            if operation != LABEL or not secret.tested:
                yield from self.world.call(operation, environment)
        secret.tested = True

    def _set(self, made: list[str], deadline: float, environment: Environment) -> Process[None]:
        """The step that waits for the domain: `TrustStep.run` and `Deadline.attempts`."""
        look = [it for it in made if not it.startswith("secretsmanager:")]
        for operation in made:
            if operation not in look:
                yield from self.world.call(operation, environment)
        told, seconds = False, 0.0
        for wait in _pauses():
            try:
                yield from self._look(look, environment)
            except ThrottledError:
                seconds = backoff(seconds)
            else:
                if self.domain.trusts(self.world.now):
                    environment.trust(self.world.now)
                    return
                if not told:
                    told = True
                    yield from self.world.call(TELL, environment)
                    if "Truststore Sync Requested" in self.functions.events:
                        self._send(1)
            if seconds:
                wait += jittered(seconds, self.world.chance())
            if deadline - self.world.now <= wait:
                raise OutOfTimeError
            yield wait

    def _look(self, look: list[str], environment: Environment) -> Process[None]:
        for operation in look:
            # What a domain runs is read from the bucket only once it is AVAILABLE.
            if operation == LOOK or self.world.now >= self.domain.settled_at:
                yield from self.world.call(operation, environment)

    # the sync ---------------------------------------------------------------------------------------------------------

    def _send(self, messages: int) -> None:
        self.queue.messages += messages
        self.queue.sent += messages
        self._wake()

    def _wake(self) -> None:
        while self.queue.asleep:
            self.world.start(self.queue.asleep.pop())

    def _come_again(self, messages: int, after: float) -> None:
        def visible() -> Process[None]:
            yield after
            self.queue.messages += messages
            self._wake()

        self.world.start(visible())

    def _worker(self) -> Process[None]:
        """Lambda's side of the queue: a batch when it is full or the window is over."""
        environment = Environment()
        while True:
            if not self.queue.messages:
                self.queue.asleep.append(self.world.itself())
                yield None
                continue
            if self.queue.messages < self.functions.batch:
                yield self.functions.window
            taken = min(self.queue.messages, self.functions.batch)
            if not taken:
                continue
            self.queue.messages -= taken
            self.syncs += 1
            try:
                again = yield from self._sync(environment)
            except ThrottledError:
                self.syncs_failed += 1
                self._come_again(taken, self.functions.again)
            else:
                if again is not None:
                    self._come_again(1, again)

    def _sync(self, environment: Environment) -> Process[float | None]:
        """`TruststoreSync._reconcile`, its order and its waiting. Returns in how many seconds there is more to do."""
        began = self.world.now
        pages = math.ceil(self._fleet.secrets / 100)
        # `most_calls` counts two looks at the domain and its update, which have quotas and are made below.
        for operation in [LIST] * pages + [SYNC_S3] * (self._fleet.most_calls() - pages - 3):
            yield from self.world.call(operation, environment)
        new = self.scenario is Scenario.CA_CHANGE and self._filed_at <= began
        yield from self.world.call(LOOK, environment)
        if self.domain.current or not new:
            return None
        wait = UPDATE_INTERVAL.total_seconds() - (self.world.now - self.domain.told_at)
        if wait > 0:
            return math.ceil(max(wait, LOOK_AGAIN.total_seconds()))
        self.domain.told_at = self.world.now
        try:
            yield from self.world.call(UPDATE, environment, attempts=1)
        except ThrottledError:
            return UPDATE_INTERVAL.total_seconds()
        self.domain.current, self.domain.told_at = True, self.world.now
        self.domain.settled_at = self.world.now + self.assumed.update
        self.domain.updates += 1
        for pause in _pauses():
            yield from self.world.call(LOOK, environment)
            if (
                self.world.now >= self.domain.settled_at
                or began + self.functions.sync_seconds - self.world.now <= pause
            ):
                break
            yield pause
        return None


@cache
def counted() -> Mapping[str, Mapping[str, int]]:
    """What each step of a rotation calls, where testSecret has seen the domain in its environment a moment before."""
    made = calls.count()
    seen = made[Step.SET].keys() - {READ}
    return made | {Step.TEST.value: {name: it for name, it in made[Step.TEST].items() if name not in seen}}


def _in_order(made: Mapping[str, int]) -> list[str]:
    """A step's calls in the order in which steps make them: looks first, what others can see last."""
    order = [DESCRIBE, READ, LOOK, "s3:GetObject", PUT, FILE, LABEL, TELL]
    ranked = sorted(made, key=lambda it: order.index(it) if it in order else order.index(PUT) - 0.5)
    return [it for it in ranked for _ in range(made[it])]


def _once(operation: str, made: list[str]) -> list[str]:
    return [it for number, it in enumerate(made) if it != operation or made.index(it) == number]


def _pauses() -> Iterator[float]:
    """The pauses that `Deadline.attempts` makes while there is time."""
    slept: list[float] = []
    for _ in Deadline(math.inf, slept.append, lambda: 0.0).attempts():
        if slept:
            yield slept.pop()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one fleet.

    Attributes:
        seconds: until the last secret has its new certificate, or where the simulation ended before that.
        unfinished: how many secrets did not have it by then.
        least_seconds: how long AWS's quotas take for the calls of these rotations alone, each made once.
        calls: by operation, those that AWS took; `throttled`, by quota, those that it refused.
        busy: by quota, the part of the time in which it was used up.
        steps_failed: how many steps failed, each with an event, and the rotation beginning again.
        most_tries: of the secret that took most; `left_behind`, how many took more than `Assumed.retries` allows.
    """

    secrets: int
    scenario: Scenario
    seconds: float
    unfinished: int
    least_seconds: float
    calls: dict[str, int]
    throttled: dict[str, int]
    busy: dict[str, float]
    bottleneck: str
    updates: int
    syncs: int
    syncs_failed: int
    events: int
    invocations: int
    steps_failed: int
    most_tries: int
    left_behind: int
    usd_a_month: float

    @property
    def total(self) -> int:
        """Calls that AWS took."""
        return sum(self.calls.values())

    def by_service(self) -> dict[str, int]:
        """The same, by service."""
        found: Counter[str] = Counter()
        for operation, number in self.calls.items():
            found[operation.partition(":")[0]] += number
        return dict(sorted(found.items()))

    def document(self) -> dict[str, Any]:
        """As it is written to a file."""
        return {
            "seconds_to_converge": round(self.seconds, 1),
            "unfinished": self.unfinished,
            "least_seconds_of_quotas": round(self.least_seconds, 1),
            "calls": self.total,
            "calls_each_secret": round(self.total / self.secrets, 2),
            "calls_by_service": self.by_service(),
            "refused_by_quota": self.throttled,
            "busy_by_quota": self.busy,
            "bottleneck": self.bottleneck,
            "domain_updates": self.updates,
            "syncs": self.syncs,
            "syncs_failed": self.syncs_failed,
            "events_to_the_queue": self.events,
            "invocations": self.invocations,
            "steps_failed": self.steps_failed,
            "most_tries_of_a_secret": self.most_tries,
            "beyond_retries": self.left_behind,
            "usd_a_month": round(self.usd_a_month, 2),
        }


@cache
def outcome(secrets: int, scenario: Scenario, spread: float = 0.0) -> Outcome:
    """Play one fleet."""
    simulation = Simulation(secrets, scenario, spread=spread)
    simulation.run(spread + HORIZON)
    return conclude(simulation)


def conclude(simulation: Simulation) -> Outcome:
    """What a simulation that was run has come to."""
    world, number = simulation.world, len(simulation.secrets)
    ends = sorted(it.done_at for it in simulation.secrets)
    seconds = min(ends[-1], world.now)
    busy = {}
    for quota, bucket in world.buckets.items():
        used_up_first = quota.burst == 1 and simulation.scenario is Scenario.CA_CHANGE
        rested = bisect.bisect_right(bucket.taken, seconds) - (0.0 if used_up_first else quota.burst)
        busy[quota.name] = round(min(1.0, max(0.0, rested) / quota.rate / seconds), 3)
    most = max(busy, key=lambda name: busy[name])
    return Outcome(
        secrets=number,
        scenario=simulation.scenario,
        seconds=seconds,
        unfinished=sum(it > world.now for it in ends),
        least_seconds=least(number, simulation.scenario, tuple(world.buckets)),
        calls=dict(sorted(world.calls.items())),
        throttled={it.name: bucket.refused for it, bucket in world.buckets.items() if bucket.refused},
        busy=busy,
        bottleneck=most if busy[most] >= 0.5 else "none",
        updates=simulation.domain.updates,
        syncs=simulation.syncs,
        syncs_failed=simulation.syncs_failed,
        events=simulation.queue.sent,
        invocations=simulation.invocations,
        steps_failed=simulation.steps_failed,
        most_tries=max(it.tries for it in simulation.secrets),
        left_behind=sum(it.tries > simulation.assumed.retries + 1 for it in simulation.secrets),
        usd_a_month=costs.total(number, gateway=True),
    )


def least(secrets: int, scenario: Scenario, quotas: tuple[Quota, ...] = QUOTAS) -> float:
    """How long the quotas take for the rotations' own calls, each made once; with a CA change, also for the update."""
    total: Counter[str] = Counter()
    for made in counted().values():
        total.update(made)
    found = []
    for it in quotas:
        needed = secrets * sum(number for operation, number in total.items() if it.counts(operation))
        found.append((needed - it.burst) / it.rate)
    waiting = UPDATE_INTERVAL.total_seconds() + Assumed().update if scenario is Scenario.CA_CHANGE else 0.0
    alone = sum(total.values()) * Assumed().call + Assumed().cold
    return max(*found, waiting + alone)


def growth(few: Outcome, many: Outcome) -> dict[str, float]:
    """The exponents of growth from one fleet to a larger one: 1 is in proportion, 0 is not at all."""
    factor = math.log(many.secrets / few.secrets)

    def exponent(before: float, after: float) -> float:
        return round(math.log(after / before) / factor, 3) if before and after else 0.0

    return {
        "calls": exponent(few.total, many.total),
        "updates": exponent(few.updates, many.updates),
        "seconds": exponent(few.seconds, many.seconds),
        "usd": exponent(few.usd_a_month, many.usd_a_month),
    }


def measure() -> Results:
    """Every fleet in both scenarios, the exponents, and each fleet's time beside the least that the quotas allow."""
    results, played = Results(), {it: [outcome(number, it) for number in FLEETS] for it in Scenario}
    document: dict[str, Any] = {"quotas": {it.name: it.page for it in QUOTAS}, "scenarios": {}}
    for scenario, outcomes in played.items():
        grown = growth(outcomes[0], outcomes[-1])
        document["scenarios"][scenario.value] = {
            "fleets": {str(it.secrets): it.document() for it in outcomes},
            "fleets_spread_over_an_hour": {str(it): outcome(it, scenario, WINDOW).document() for it in FLEETS},
            "exponents": grown,
            "all_fresh": not any(it.unfinished for it in outcomes),
            "calls_are_linear": abs(grown["calls"] - 1) <= LINEAR,
            "updates_are_constant": len({it.updates for it in outcomes}) == 1,
        }
        results.figures += [
            beside(
                f"time of {it.secrets:,} rotations due at once, {scenario.value}, computed",
                "s",
                "the least that AWS's quotas allow",
                [(it.seconds, it.least_seconds)],
            )
            for it in outcomes
        ]
    results.details["fleet_simulation"] = document
    return results


def table() -> str:
    """The table of README.md."""
    lines = [
        f"| client secrets, all due at once | {' | '.join(f'{it:,}' for it in FLEETS)} |",
        f"| --- |{' ---: |' * len(FLEETS)}",
    ]

    def row(name: str, scenario: Scenario, value: Callable[[Outcome], str], spread: float = 0.0) -> None:
        lines.append(f"| {name} | {' | '.join(value(outcome(it, scenario, spread)) for it in FLEETS)} |")

    for scenario in Scenario:
        row(f"**all fresh, {scenario.value}**", scenario, lambda it: f"**{_time(it)}**")
        row("AWS calls", scenario, lambda it: f"{it.total:,}")
        row("`UpdateDomainName` among them", scenario, lambda it: str(it.updates))
        row("steps that failed, and their rotations begun again", scenario, lambda it: f"{it.steps_failed:,}")
        row("the quota that holds it up", scenario, lambda it: it.bottleneck)
    for scenario in Scenario:
        name = f"steps that failed, spread over an hour, {scenario.value}"
        row(name, scenario, lambda it: f"{it.steps_failed:,}", WINDOW)
    row("USD a month, with a gateway", Scenario.EVERYDAY, lambda it: f"{it.usd_a_month:,.2f}")
    return "\n".join([*lines, ""])


def _time(it: Outcome) -> str:
    if it.unfinished:
        return f"not within {it.seconds / 60:.0f} min"
    return f"{it.seconds:.0f} s" if it.seconds < 120 else f"{it.seconds / 60:.0f} min"


def main() -> None:
    """Print what came out."""
    shown = Table("computed, not measured", *(f"{it:,} secrets" for it in FLEETS))
    document = measure().details["fleet_simulation"]
    for name, scenario in document["scenarios"].items():
        for part, how in (("fleets", "all at once"), ("fleets_spread_over_an_hour", "spread over an hour")):
            shown.add_section()
            shown.add_row(f"[bold]{name}, {how}")
            fleets = scenario[part].values()
            for key in next(iter(fleets)):
                shown.add_row(key.replace("_", " "), *(_shown(fleet[key]) for fleet in fleets))
        shown.add_section()
        for key in ("exponents", "all_fresh", "calls_are_linear", "updates_are_constant"):
            shown.add_row(f"[bold]{key.replace('_', ' ')}, all at once", "", "", _shown(scenario[key]))
    Console().print(shown)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{name}: {_shown(it)}" for name, it in value.items())
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


if __name__ == "__main__":
    main()
