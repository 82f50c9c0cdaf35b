"""An account of AWS in a simulation: time, calls that have quotas, and Lambda's execution environments.

No clock is looked at, and chance is the same each time. What AWS does not say is assumed, and stands in `Assumed`.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Generator
from dataclasses import dataclass

from localaws.settings import Settings
from mtls_rotation.rotation.memory import REMEMBERED, TRUSTED_FOR
from mtls_rotation.targets.api_gateway import UPDATE_INTERVAL

SEED = 20260101

DESCRIBE, READ, LIST = (f"secretsmanager:{it}" for it in ("DescribeSecret", "GetSecretValue", "ListSecrets"))
PUT, LABEL = "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"
LOOK, UPDATE = "apigateway:GetDomainName", "apigateway:UpdateDomainName"
FILE, TELL = "s3:PutObject", "events:PutEvents"
SYNC_S3 = "s3:a sync's reads, listings and notes"

# A process: it yields for how many seconds it is busy, or None to stand still until somebody wakes it.
type Process[T] = Generator[float | None, None, T]


@dataclass(frozen=True, slots=True)
class Quota:
    """A token bucket of an account: `rate` a second, and `burst` at once after a rest.

    Attributes:
        of: the operations that draw on it, one by name or all of a service.
        page: where AWS states it.
    """

    name: str
    rate: float
    burst: float
    of: frozenset[str]
    page: str

    def counts(self, operation: str) -> bool:
        """Whether a call of this operation draws on it."""
        return operation in self.of or operation.partition(":")[0] in self.of


_SECRETS = "https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html"
_GATEWAY = "https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"
_EVENTS = "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html"
# Of Secrets Manager and EventBridge only rates are stated: a bucket of one second's worth. S3 takes thousands of
# requests a second for each prefix, and is no limit here. No quota of these but PutEvents can be raised.
QUOTAS = (
    Quota("reads of secrets", 10_000, 10_000, frozenset({DESCRIBE, READ}), _SECRETS),
    Quota("writes of secrets and labels", 50, 50, frozenset({PUT, LABEL}), _SECRETS),
    Quota("ListSecrets", 100, 100, frozenset({LIST}), _SECRETS),
    Quota("API Gateway's management", 10, 40, frozenset({"apigateway"}), _GATEWAY),
    Quota("UpdateDomainName", 1 / UPDATE_INTERVAL.total_seconds(), 1, frozenset({UPDATE}), _GATEWAY),
    Quota("PutEvents", 10_000, 10_000, frozenset({"events"}), _EVENTS),
)
# Executions at once in an account, and new environments of a function: so many, and again in ten seconds.
# https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html
CONCURRENCY, ENVIRONMENTS, ENVIRONMENTS_SECONDS = 1_000, 1_000, 10


@dataclass(frozen=True, slots=True)
class Assumed:
    """What no page of AWS says. How Secrets Manager tries again is as the local AWS does it, but without an end.

    Attributes:
        call: seconds that an answer takes, a refusal too.
        cold: seconds that the first invocation of an environment takes more.
        update: seconds that a domain stays UPDATING.
        retry_first, retry_longest: the pause before a failed rotation begins again, which doubles with each failure.
        retries: after how many one may have to expect that Secrets Manager leaves it until the next schedule.
    """

    call: float = 0.05
    cold: float = 2.0
    update: float = 10.0
    retry_first: float = Settings().rotation_retry_backoff.total_seconds()
    retry_longest: float = 60.0
    retries: int = Settings().rotation_retries


class Bucket:
    """The tokens of a quota, and when each was taken."""

    __slots__ = ("_at", "_quota", "_tokens", "refused", "taken")

    def __init__(self, quota: Quota) -> None:
        self._quota, self._tokens, self._at = quota, quota.burst, 0.0
        self.taken: list[float] = []
        self.refused = 0

    def has(self, now: float) -> bool:
        """Whether there is a token."""
        rested = self._tokens + (now - self._at) * self._quota.rate
        self._tokens, self._at = min(rested, self._quota.burst), now
        return self._tokens >= 1 - 1e-9  # a hair less than one, as sums of fractions are not exact

    def take(self, now: float) -> None:
        """Take the token that there is."""
        self._tokens -= 1
        self.taken.append(now)

    def empty(self) -> None:
        """Have it used up at this moment."""
        self._tokens = 0.0


class ThrottledError(Exception):
    """AWS refused a call as often as botocore makes it."""


class World:
    """Time, and everything in the account that has a quota."""

    def __init__(self, quotas: tuple[Quota, ...], assumed: Assumed, attempts: int, patience: int) -> None:
        self.now = 0.0
        self.calls: Counter[str] = Counter()
        self.buckets = {it: Bucket(it) for it in quotas}
        self._assumed = assumed
        self._attempts, self._patience = attempts, patience
        self._random = random.Random(SEED)  # noqa: S311 - the same each time is what is wanted
        self._drawn: dict[str, tuple[Bucket, ...]] = {}
        self._due: list[tuple[float, int, Process[None]]] = []
        self._number = 0
        self._running: Process[None] | None = None

    def start(self, process: Process[None], after: float = 0.0) -> None:
        """Have a process begin, or go on."""
        self._number += 1
        heapq.heappush(self._due, (self.now + after, self._number, process))

    def itself(self) -> Process[None]:
        """The process that runs now, to be woken by `start`."""
        assert self._running
        return self._running

    def run(self, until: float) -> None:
        """Until nothing is left to happen, or until then."""
        due = self._due
        while due and due[0][0] <= until:
            self.now, _, process = heapq.heappop(due)
            self._running = process
            try:
                pause = next(process)
            except StopIteration:
                continue
            if pause is not None:
                self._number += 1
                heapq.heappush(due, (self.now + pause, self._number, process))

    def admit(self, operation: str) -> bool:
        """Make a request; False if a quota is used up."""
        drawn = self._drawn.get(operation)
        if drawn is None:
            drawn = tuple(bucket for quota, bucket in self.buckets.items() if quota.counts(operation))
            self._drawn[operation] = drawn
        short = [it for it in drawn if not it.has(self.now)]
        for it in short:
            it.refused += 1
        if short:
            return False
        for it in drawn:
            it.take(self.now)
        self.calls[operation] += 1
        return True

    def call(self, operation: str, environment: Environment, attempts: int | None = None) -> Process[None]:
        """A call as botocore makes it: what is throttled is tried again after a pause by chance, which doubles.

        Raises:
            ThrottledError: it was refused each time, or the client has used up its retries.
        """
        service, retried = operation.partition(":")[0], False
        attempts = attempts or (self._patience if service == "secretsmanager" and operation != LIST else self._attempts)
        for attempt in range(attempts):
            admitted = self.admit(operation)
            yield self._assumed.call
            if admitted:
                environment.succeeded(service, retried)
                return
            if attempt + 1 < attempts:
                if not environment.may_retry(service):
                    break
                retried = True
                yield self._random.random() * min(2.0**attempt, 20.0)
        raise ThrottledError(operation)

    def chance(self) -> float:
        """A number from 0 to 1."""
        return self._random.random()


class Environment:
    """An execution environment: what it remembers, and what botocore's "standard" mode lets its clients try again.

    https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
    """

    _MOST, _COST, _SUCCESS = 500, 5, 1

    def __init__(self) -> None:
        self._left: dict[str, int] = {}
        self._remembered: deque[object] = deque(maxlen=REMEMBERED)
        self._trusted_at = -TRUSTED_FOR.total_seconds()

    def remember(self, version: object) -> None:
        """Keep what a version holds."""
        if not self.remembers(version):
            self._remembered.append(version)

    def remembers(self, version: object) -> bool:
        """Whether a step need not read the version."""
        return any(it is version for it in self._remembered)

    def trust(self, now: float) -> None:
        """Keep that the domain trusts what is rotated."""
        self._trusted_at = now

    def trusts(self, now: float) -> bool:
        """Whether that was seen a moment ago."""
        return now - self._trusted_at < TRUSTED_FOR.total_seconds()

    def may_retry(self, service: str) -> bool:
        """Pay for another try, if that can be paid for."""
        left = self._left.get(service, self._MOST)
        if left < self._COST:
            return False
        self._left[service] = left - self._COST
        return True

    def succeeded(self, service: str, retried: bool) -> None:
        """Get back what the last try cost, or a little where the first went well."""
        left = self._left.get(service, self._MOST)
        self._left[service] = min(self._MOST, left + (self._COST if retried else self._SUCCESS))


class Environments:
    """The execution environments of rotate. Whatever finds none free waits in line."""

    def __init__(self, world: World, at_once: int, assumed: Assumed) -> None:
        self._world = world
        self._at_once = at_once
        self._assumed = assumed
        self._made = 0
        self._idle: list[Environment] = []
        self._line: deque[tuple[Process[None], list[Environment]]] = deque()
        self._may_be_made, self._since = float(ENVIRONMENTS), 0.0

    def enter(self) -> Process[Environment]:
        """Get one, a fresh one if none is idle."""
        if self._idle:
            return self._idle.pop()
        if self._made < self._at_once and self._grow():
            self._made += 1
            yield self._assumed.cold
            return Environment()
        handed: list[Environment] = []
        self._line.append((self._world.itself(), handed))
        yield None
        return handed[0]

    def leave(self, environment: Environment) -> None:
        """Hand it to the next in line."""
        if not self._line:
            self._idle.append(environment)
            return
        process, handed = self._line.popleft()
        handed.append(environment)
        self._world.start(process)

    def _grow(self) -> bool:
        rested = (self._world.now - self._since) * ENVIRONMENTS / ENVIRONMENTS_SECONDS
        self._may_be_made, self._since = min(ENVIRONMENTS, self._may_be_made + rested), self._world.now
        if self._may_be_made < 1:
            return False
        self._may_be_made -= 1
        return True
