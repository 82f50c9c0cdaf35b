"""Keeps the newest good identity, and sees to it that it is looked for in time."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mtls_client.credential import parse
from mtls_client.errors import ExpiredCertificateError, InvalidSecretError, MtlsClientError
from mtls_client.forking import renew_after_fork
from mtls_client.identity import Identity
from mtls_client.refresher import Refresher
from mtls_client.source import unavailable
from mtls_client.succession import Succession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mtls_client.credential import Credential
    from mtls_client.schedule import Schedule
    from mtls_client.source import Source

logger = logging.getLogger("mtls_client")

# A server that refuses everybody must not make every request ask Secrets Manager.
REFUSAL_PAUSE = timedelta(seconds=5)
# How many seconds a use waits for a check where no thread makes them ahead of time. One takes some 20 ms; a source that
# does not answer is not to hold up a request that has a valid certificate.
PATIENCE = 1.0
_FOREVER = -1.0  # for a lock


@dataclass(frozen=True, slots=True)
class Check:
    """How the last check went."""

    at: datetime
    due: datetime
    failures: int = 0
    error: MtlsClientError | None = None

    def is_due_again(self, now: datetime) -> bool:
        """Whether the next one is due; also where the clock was put back."""
        return not self.at <= now < self.due


@dataclass(frozen=True, slots=True)
class _Calm:
    """A time in which there is nothing to do but to use the identity: what each request asks for, at little cost.

    Attributes:
        begins: seconds since the epoch. Before it the clock was put back.
        ends: when a check is due, or the identity expires.
    """

    identity: Identity
    begins: float
    ends: float

    @classmethod
    def between(cls, identity: Identity, check: Check) -> _Calm:
        """From a check to whatever comes first."""
        return cls(identity, check.at.timestamp(), min(check.due, identity.credential.not_after).timestamp())


@dataclass(slots=True)
class Counts:
    """How often what has happened. See `Status`."""

    checks: int = 0
    failed_checks: int = 0
    changes: int = 0


class Keeper:
    """The newest good identity, and how the last check went. Safe to be used by threads.

    Args:
        secret: name or ARN.
        source: whom to ask for it.
        schedule: when.
        clock: says what time it is, aware and in UTC.
        background: whether a thread checks as soon as a check is due. If not, checks are made when the certificate is
            used, and the use that finds one due waits for it, but no longer than `PATIENCE`.
        temporary_file: see `context.load`.
    """

    def __init__(
        self,
        secret: str,
        source: Source,
        schedule: Schedule,
        clock: Callable[[], datetime],
        *,
        background: bool,
        temporary_file: bool,
    ) -> None:
        self.secret = secret
        self._source = source
        self._schedule = schedule
        self._clock = clock
        self._temporary_file = temporary_file
        self._patience = 0.0 if background else PATIENCE
        self._refresher = Refresher(ahead=background)
        self._asking = threading.Lock()  # held by the one that asks
        self._succession = Succession()
        self._unusable: tuple[str, MtlsClientError] | None = None
        self._refused_at: datetime | None = None  # when that was last a reason to ask
        self._doubts = 0  # how often in a row a doubtful refusal was, in vain
        self._refused: str | None = None
        self._telling = threading.Lock()
        self._untold: deque[Credential] = deque()
        self._subscribers: tuple[Callable[[Credential], object], ...] = ()
        self.counts = Counts()
        self._seconds = time.time if clock is utc_now else lambda: clock().timestamp()
        # Each is set in one assignment, so that it may be read without a lock.
        self._calm: _Calm | None = None
        self.newest: Identity | None = None
        self.last_check: Check | None = None
        renew_after_fork(self)

    def current(self) -> Identity:
        """The identity to use now. Waits for the source only where there is none that is valid.

        Raises:
            MtlsClientError: there is none, or it has expired; the error says why.
        """
        calm = self._calm
        if calm is not None and calm.begins <= self._seconds() < calm.ends:
            return calm.identity
        now = self._clock()
        if not self._is_valid(now):
            with self._checking():
                if self._is_due(self._clock()):
                    self._check()
            if not self._patience:
                self._refresher.nudge(self)  # which has its thread begin
        elif self._is_due(now):
            self._refresher.nudge(self, self._patience)
        return self._require()

    def at_hand(self) -> Identity | None:
        """The identity to use now, if it can be had without waiting."""
        calm = self._calm
        if calm is not None and calm.begins <= self._seconds() < calm.ends:
            return calm.identity
        now = self._clock()
        if not self._is_valid(now):
            return None
        if self._is_due(now):
            if self._patience:
                return None
            self._refresher.nudge(self)
        return self.newest

    def refresh(self) -> bool:
        """Ask now. See `ClientCertificate.refresh`."""
        with self._checking():
            before = self.newest
            self._check(fresh=True)
            self._require()
            return self.newest is not before

    def check_if_due(self) -> timedelta:
        """Ask if a check is due, or if a server has refused what is held. See `refresher.Checks`."""
        with self._checking():
            refused, self._refused = self._refused, None
            if refused is not None:
                self._check_refused(refused)
            elif self._is_due(self._clock()):
                self._check()
        check = self.last_check
        return check.due - self._clock() if check else timedelta(0)

    def refused(self, version_id: str) -> None:
        """A server refused this version: have a check made, without waiting for it."""
        self._refused = version_id
        self._refresher.nudge(self)

    def replaced(self, version_id: str, *, certain: bool = True) -> bool:
        """A server refused this version: whether there is another by now. Asks at once unless somebody just has.

        Args:
            version_id: what was presented.
            certain: whether it was refused beyond doubt. If not, an older version is not taken for the next one; a
                check that somebody else makes is waited for no longer than `PATIENCE`; and as long as asking brings
                nothing, it is done twice as late each time, until it is as rare as any other check.
        """
        with self._checking(_FOREVER if certain else PATIENCE) as may_ask:
            if may_ask:
                self._check_refused(version_id, certain=certain)
            newest = self.newest
            return newest is not None and newest.credential.version_id != version_id

    def subscribe(self, callback: Callable[[Credential], object]) -> Callable[[], None]:
        """See `ClientCertificate.subscribe`."""
        self._subscribers += (callback,)

        def unsubscribe() -> None:
            self._subscribers = tuple(it for it in self._subscribers if it is not callback)

        return unsubscribe

    def close(self) -> None:
        """End the thread and the source's connections; the next use makes them anew."""
        self._refresher.stop()
        self._source.close()

    def after_fork(self) -> None:
        """See `forking`."""
        self._asking = threading.Lock()
        self._telling = threading.Lock()

    @contextmanager
    def _checking(self, patience: float = _FOREVER) -> Iterator[bool]:
        """Keep others from asking meanwhile. Subscribers are told afterwards, so that they may ask themselves.

        Args:
            patience: how many seconds to wait for another that asks; what is returned says whether that was enough.
        """
        asking = self._asking
        held = asking.acquire(timeout=patience)
        try:
            yield held
        finally:
            if held:
                asking.release()
            # One thread tells, so that it is told in order; who comes meanwhile leaves it to that one.
            while self._untold and self._telling.acquire(blocking=False):
                try:
                    while self._untold:
                        self._tell(self._untold.popleft())
                finally:
                    self._telling.release()

    def _tell(self, credential: Credential) -> None:
        for callback in self._subscribers:
            try:
                callback(credential)
            except Exception:
                logger.exception("%s failed on the new version %s", callback, credential.version_id)

    def _is_valid(self, now: datetime) -> bool:
        return self.newest is not None and not self.newest.credential.expired(now)

    def _is_due(self, now: datetime) -> bool:
        return self.last_check is None or self.last_check.is_due_again(now)

    def _check_refused(self, version_id: str, *, certain: bool = True) -> None:
        now, newest, check = self._clock(), self.newest, self.last_check
        if newest is None or newest.credential.version_id != version_id:
            return
        if certain:
            pause = REFUSAL_PAUSE
        elif check is not None and check.failures and not check.is_due_again(now):
            return  # it cannot be told now
        else:
            pause = self._schedule.after_doubts(self._doubts)
        if self._refused_at is not None and self._refused_at <= now < self._refused_at + pause:
            return
        if self._refused_at is None or now >= self._refused_at + 2 * self._schedule.every:
            self._doubts = 0  # what was long ago says nothing of now
        self._doubts += not certain
        self._refused_at = now
        self._check(fresh=True, refused=certain)

    def _require(self) -> Identity:
        now = self._clock()
        identity, check = self.newest, self.last_check
        error = check.error if check else None
        if identity is None:
            assert error is not None  # noqa: S101 - a check that brought nothing has left its error
            raise copy.copy(error)  # for each who asks a fresh one: it gathers a traceback
        credential = identity.credential
        if credential.expired(now):
            raise ExpiredCertificateError(
                where=credential.where,
                found=f"a certificate that expired at {credential.not_after:%Y-%m-%dT%H:%M:%SZ}, "
                + (f"and no newer one: {error}" if error else "and it is still the current one"),
                expected=f"one that is valid now, at {now:%Y-%m-%dT%H:%M:%SZ}",
                remedy="Rotate the secret, or remove what keeps this program from reading it.",
            )
        return identity

    def _check(self, *, fresh: bool = False, refused: bool = False) -> None:
        """Ask, and note how it went. An error is kept, not raised: the last good identity serves."""
        self.counts.checks += 1
        try:
            due = self._ask(fresh=fresh, refused=refused)
        except MtlsClientError as error:
            self._note_failure(copy.copy(error))  # without the traceback, whose frames hold the secret
        except Exception as error:  # noqa: BLE001 - a source may be anybody's; its error may quote the secret
            self._note_failure(unavailable(self.secret, "the source", type(error).__name__))
        else:
            self.last_check = Check(at=self._clock(), due=due)
        if self.newest is not None and self.last_check is not None:
            self._calm = _Calm.between(self.newest, self.last_check)

    def _note_failure(self, error: MtlsClientError) -> None:
        now = self._clock()
        failures = (self.last_check.failures if self.last_check else 0) + 1
        valid = self._is_valid(now)
        self.counts.failed_checks += 1
        due = self._schedule.after_failure(now, failures, certificate_is_valid=valid)
        self.last_check = Check(at=now, due=due, failures=failures, error=error)
        serving = "the last good certificate stays in use" if valid else "there is no valid certificate"
        logger.warning("Check %d in a row failed, %s: %s", failures, serving, error)

    def _ask(self, *, fresh: bool, refused: bool) -> datetime:
        """Ask which version is current, and take it over if it is another; returns when to ask again."""
        held = self.newest
        if held is None:
            return self._take_over(self._read())
        named = self._source.current_version(self.secret, fresh=fresh)
        now = self._clock()
        if named == held.credential.version_id:
            self._succession.settle()
            return self._schedule.after_success(now, held.credential.not_after)
        if refused or held.credential.expired(now):  # with nothing to lose there is nothing to doubt
            return self._take_over(self._read(named))
        if self._succession.is_older(named) and (until := self._succession.doubt(named, now)):
            return until
        identity = self._read(named)
        if identity.credential.not_before < held.credential.not_before:
            self._succession.note_older(named)
            if until := self._succession.doubt(named, now):
                return until
        return self._take_over(identity)

    def _read(self, version_id: str | None = None) -> Identity:
        if self._unusable and self._unusable[0] == version_id:
            raise copy.copy(self._unusable[1])
        version = self._source.read(self.secret, version_id)
        try:
            credential = parse(self.secret, version)
            credential.require_valid(self._clock())
            return Identity(credential, self.refused, temporary_file=self._temporary_file, former=self.newest)
        except InvalidSecretError as error:
            self._unusable = version.version_id, copy.copy(error)  # a version's value never changes
            raise

    def _take_over(self, identity: Identity) -> datetime:
        credential, former = identity.credential, self.newest
        self._succession.take_over(credential.version_id, former.credential.version_id if former else None)
        self._unusable = None
        self._doubts = 0
        self._calm, self.newest = None, identity
        self.counts.changes += 1
        self._untold.append(credential)
        logger.info(
            "Certificate %s of version %s in use, valid until %s.",
            credential.serial_number,
            credential.version_id,
            credential.not_after,
        )
        return self._schedule.after_success(self._clock(), credential.not_after)


def utc_now() -> datetime:
    """The clock: not the monotonic one, which may stand still while a Lambda environment is frozen."""
    return datetime.now(UTC)
