"""Delayed reads: what a read of Secrets Manager shows while a write has not reached every copy yet.

Kept apart from the store: writes always act on the newest state.
"""

from __future__ import annotations

import copy
import time
from datetime import timedelta
from typing import Any

from localaws.secretsmanager.record import Secret, SecretKey, every_secret
from localaws.settings import LiveSettings

type Record = dict[str, Any]
_LONG_AGO = float("-inf")


class DelayedReads:
    """Keeps what each secret looked like before its latest writes, for as long as a lag is set."""

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings
        self._history: dict[SecretKey, list[tuple[float, Record | None]]] = {}
        self._watching = False

    def observe(self) -> None:
        """Note every difference since the last look, as a write of this moment.

        Called before and after each request, so the next request at the latest finds writes that were no requests,
        such as CloudFormation's.
        """
        lag = max(self._settings.current.consistency_lag, self._settings.current.list_lag)
        if not lag:
            self._watching = False
            self._history.clear()
            return
        stamp = time.monotonic() if self._watching else _LONG_AGO
        self._watching = True
        present = {secret.key: secret.record for secret in every_secret()}
        for key in present.keys() | self._history.keys():
            history = self._history.setdefault(key, [])
            record = present.get(key)
            if not history or _differs(history[-1][1], record):
                history.append((stamp, copy.deepcopy(record)))
            self._forget_before(history, time.monotonic() - lag.total_seconds())

    def single(self, secret: Secret | None, key: SecretKey | None) -> Secret | None:
        """Return ``secret`` as a read of one secret shows it; ``None`` if it does not show it yet."""
        return self._as_of(self._settings.current.consistency_lag, secret, key)

    def listing(self) -> list[Secret]:
        """Return the secrets of every account and region, as ``ListSecrets`` shows them."""
        lag = self._settings.current.list_lag
        if not lag:
            return every_secret()
        shown = (self._as_of(lag, None, key) for key in list(self._history))
        return [secret for secret in shown if secret is not None]

    def _as_of(self, lag: timedelta, secret: Secret | None, key: SecretKey | None) -> Secret | None:
        if not lag or key is None:
            return secret
        visible = time.monotonic() - lag.total_seconds()
        past = [record for stamp, record in self._history.get(key, []) if stamp <= visible]
        return Secret(key, past[-1]) if past and past[-1] is not None else None

    @staticmethod
    def _forget_before(history: list[tuple[float, Record | None]], moment: float) -> None:
        while len(history) > 1 and history[1][0] <= moment:
            history.pop(0)


def _differs(old: Record | None, new: Record | None) -> bool:
    if old is None or new is None:
        return old is not new
    return {**old, "LastAccessedDate": None} != {**new, "LastAccessedDate": None}
