"""Keeps the newest good identity. Checks are made on use, by whoever comes when one is due: in Lambda nothing runs
between two invocations, so there is no thread that could make them.
"""

from __future__ import annotations

import copy
import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mtls_client.credential import parse
from mtls_client.errors import ExpiredCertificateError, InvalidSecretError, MtlsClientError
from mtls_client.forking import renew_after_fork
from mtls_client.identity import Identity
from mtls_client.succession import Succession

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtls_client.schedule import Schedule
    from mtls_client.source import Source

logger = logging.getLogger("mtls_client")

# A server that refuses everybody must not make every request ask Secrets Manager.
REFUSAL_PAUSE = timedelta(seconds=5)


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


class Keeper:
    """The newest good identity, and how the last check went. Safe to be used by threads."""

    def __init__(self, source: Source, schedule: Schedule, clock: Callable[[], datetime]) -> None:
        self._source = source
        self._schedule = schedule
        self._clock = clock
        self._asking = threading.Lock()  # held by the one that asks Secrets Manager
        self._succession = Succession()
        self._unusable: tuple[str, MtlsClientError] | None = None
        self._refused_at: datetime | None = None
        # Each is set in one assignment, so that it may be read without a lock.
        self.newest: Identity | None = None
        self.last_check: Check | None = None
        renew_after_fork(self)

    def current(self) -> Identity:
        """The identity to use now. Asks Secrets Manager if a check is due and nobody else is at it.

        Raises:
            MtlsClientError: there is none, or it has expired; the error says why.
        """
        now = self._clock()
        if self._usable(now):
            if self._is_due(now) and self._asking.acquire(blocking=False):
                try:
                    self._check_if_due()
                finally:
                    self._asking.release()
        else:
            with self._asking:
                self._check_if_due()
        return self._require()

    def refresh(self) -> bool:
        """Ask now. See `ClientCertificate.refresh`."""
        with self._asking:
            before = self.newest
            self._check()
            self._require()
            return self.newest is not before

    def replaced(self, identity: Identity) -> bool:
        """A server refused it: whether there is another by now. Asks at once unless somebody has just asked."""
        with self._asking:
            if self.newest is identity and not self._asked_for_refusal(now := self._clock()):
                self._refused_at = now
                self._check(refused=True)
            return self.newest is not identity

    def after_fork(self) -> None:
        """See `forking`."""
        self._asking = threading.Lock()

    def _usable(self, now: datetime) -> bool:
        return self.newest is not None and not self.newest.credential.expired(now)

    def _is_due(self, now: datetime) -> bool:
        return self.last_check is None or self.last_check.is_due_again(now)

    def _asked_for_refusal(self, now: datetime) -> bool:
        return self._refused_at is not None and self._refused_at <= now < self._refused_at + REFUSAL_PAUSE

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

    def _check_if_due(self) -> None:
        if self._is_due(self._clock()):
            self._check()

    def _check(self, *, refused: bool = False) -> None:
        """Ask, and note how it went. An error is kept, not raised: the last good identity serves."""
        try:
            due = self._ask(refused=refused)
        except MtlsClientError as error:
            self._note_failure(copy.copy(error))  # without the traceback, whose frames hold the secret
        else:
            self.last_check = Check(at=self._clock(), due=due)

    def _note_failure(self, error: MtlsClientError) -> None:
        now = self._clock()
        failures = (self.last_check.failures if self.last_check else 0) + 1
        valid = self._usable(now)
        due = self._schedule.after_failure(now, failures, certificate_is_valid=valid)
        self.last_check = Check(at=now, due=due, failures=failures, error=error)
        serving = "the last good certificate stays in use" if valid else "there is no valid certificate"
        logger.warning("Check %d in a row failed, %s: %s", failures, serving, error)

    def _ask(self, *, refused: bool) -> datetime:
        """Ask which version is current, and take it over if it is another; returns when to ask again."""
        held = self.newest
        if held is None:
            return self._take_over(self._read())
        named = self._source.current_version()
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
        version = self._source.read(version_id)
        try:
            credential = parse(self._source.secret, version)
            credential.require_valid(self._clock())
            return Identity(credential, self.newest)
        except InvalidSecretError as error:
            self._unusable = version.version_id, copy.copy(error)  # a version's value never changes
            raise

    def _take_over(self, identity: Identity) -> datetime:
        credential, former = identity.credential, self.newest
        self._succession.take_over(credential.version_id, former.credential.version_id if former else None)
        self._unusable = None
        self.newest = identity
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
