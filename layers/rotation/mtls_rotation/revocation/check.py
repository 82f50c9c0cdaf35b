"""The revocation list as the authorizer asks it: kept in memory, never older than its time to live."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mtls_rotation.aws import retries
from mtls_rotation.aws.last_readable import last_readable
from mtls_rotation.contract.layout import REVOCATION_LIST
from mtls_rotation.contract.revocations import Revocations
from mtls_rotation.errors import RevocationUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from mtls_rotation.aws.bucket import CertificateBucket, Stored

log = logging.getLogger(__name__)

# Seconds until a list that could not be read is asked for again: S3 may be slow to fail, and requests wait for it.
_PAUSE = 1.0
# Seconds until it is told again that the list is lost: hundreds of environments may find it so at once.
_TOLD_FOR = 300.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment on two clocks, in seconds, neither of which can be trusted alone in an environment that may be frozen.

    Attributes:
        monotonic: never goes back, but may stand still while the environment is frozen.
        wall: goes on, but may be set.
    """

    monotonic: float
    wall: float

    @classmethod
    def now(cls) -> Moment:
        """This one."""
        return cls(time.monotonic(), time.time())

    def since(self, earlier: Moment) -> float:
        """Seconds since an earlier moment, by whichever clock says more; for ever if the wall clock was set back."""
        by_wall = self.wall - earlier.wall
        return max(self.monotonic - earlier.monotonic, by_wall) if by_wall >= 0 else inf


class RevocationCheck:
    """Knows which certificates are revoked.

    The list is asked for again when half of its time has gone, so that one failure does no harm. It costs a read only
    if it has changed. Where somebody has deleted it or written over it, the newest of its versions counts that can be
    read: nobody has changed by that who is revoked. Where nothing is known yet, as in a fresh execution environment, a
    call that fails is made again for some seconds: an answer that is late lets more in than a refusal.

    Args:
        bucket: where the list lies.
        ttl: how old what is known may be. A revocation counts after that at the latest.
        fail_open: what to do once it is older. True: go on with what was known last, if anything. False: refuse to
            answer.
        clock: the present moment.
        tries: counts how often to ask where nothing that may be relied on is known.
        lost: told where the list lies, and what is wrong with it, where somebody has deleted it or written over it;
            once in five minutes.
    """

    def __init__(
        self,
        bucket: CertificateBucket,
        ttl: timedelta,
        *,
        fail_open: bool = False,
        clock: Callable[[], Moment] = Moment.now,
        tries: Callable[[], Iterable[int]] = retries.tries,
        lost: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._bucket = bucket
        self._ttl = ttl.total_seconds()
        self._fail_open = fail_open
        self._clock = clock
        self._tries = tries
        self._lost = lost
        self._stored: Stored | None = None
        self._revoked = Revocations()
        self._as_of: Moment | None = None
        self._failed_at: Moment | None = None
        self._told_at: Moment | None = None

    def revoked(self) -> Revocations:
        """What is revoked.

        Raises:
            RevocationUnknownError: what is known is too old, and `fail_open` is False.
        """
        now = self._clock()
        problem = ""
        if self._is_due(now):
            for _ in (1,) if self._is_known(now) else self._tries():
                now = self._clock()
                problem, passing = self._refresh(now)
                if not passing:
                    break
        if self._is_fresh(now):
            return self._revoked
        where = f"s3://{self._bucket.name}/{REVOCATION_LIST}"
        if self._fail_open:
            log.error("the revocation list is too old, and is relied on all the same", extra={"list": where})
            return self._revoked
        raise RevocationUnknownError(
            where=where,
            found=problem or "a list that could not be read a moment ago",
            expected=f"the revocation list, read within the last {self._ttl:g} s",
            remedy="It is asked for again with the next request. If it goes on, look at S3 and at the function's role;"
            " the revocation function writes a list that is missing.",
        )

    def _is_due(self, now: Moment) -> bool:
        if self._failed_at is not None and now.since(self._failed_at) < min(_PAUSE, self._ttl / 10):
            return False
        return self._as_of is None or now.since(self._as_of) >= self._ttl / 2

    def _is_fresh(self, now: Moment) -> bool:
        return self._as_of is not None and now.since(self._as_of) <= self._ttl

    def _is_known(self, now: Moment) -> bool:
        """Whether a request can be decided about without asking."""
        return self._is_fresh(now) or (self._fail_open and self._stored is not None)

    def _refresh(self, now: Moment) -> tuple[str, bool]:
        """Ask for the list. What is wrong, in words, empty if nothing; and whether it may be right a moment later."""
        passing = lost = False
        try:
            stored = self._bucket.newer(REVOCATION_LIST, self._stored)
            problem = "no such object" if stored is None else self._take(stored)
            lost = bool(problem)
        except (ClientError, BotoCoreError) as error:
            problem, passing = str(error), retries.passes(error)
            # Without the right to list the bucket, an object that is gone is answered as one that may not be read.
            # https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html
            lost = isinstance(error, ClientError) and retries.denied(error)
        if lost and self._restore(problem, now):
            problem = ""
        if not problem:
            # As of when it was asked for: what was revoked while the answer came may not be in it.
            self._as_of, self._failed_at = now, None
            return "", False
        self._failed_at = now
        log.warning("the revocation list could not be read", extra={"reason": problem})
        return problem, passing

    def _take(self, stored: Stored) -> str:
        """Take a list as the one that counts; what is wrong with it, in words, empty if nothing."""
        if stored is not self._stored:
            try:
                self._revoked, self._stored = Revocations.parse(stored.body), stored
            except ValueError as error:
                return str(error)
        return ""

    def _restore(self, problem: str, now: Moment) -> bool:
        """Take the newest version that can be read, and have the list made again; whether there is one."""
        try:
            found = last_readable(self._bucket, REVOCATION_LIST, Revocations.parse)
        except (ClientError, BotoCoreError):
            log.exception("the older versions of the revocation list could not be read")
            return False
        if found is None:
            return False
        self._revoked, self._stored = found, None
        if self._told_at is None or now.since(self._told_at) >= _TOLD_FOR:
            self._told_at = now
            self._lost(self._bucket.uri(REVOCATION_LIST), problem)
        return True
