"""IAM is eventually consistent: what a role's policies say counts a while after it was written.

https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id
from ministack.services import iam

from localaws.history import History
from localaws.settings import LiveSettings

type Policies = list[Any]
type Gather = Callable[[str, str], Policies]


class LatePolicies:
    """Goes by what the policies of roles were a while ago."""

    def __init__(self, settings: LiveSettings) -> None:
        self._settings = settings
        self._history: History[tuple[str, str], Policies] = History()
        self._gather: Gather = iam_evaluator._gather_role_policies  # the emulator's own: nothing is replaced yet

    def of_role(self, emulated: Gather, role: str, account: str) -> Policies:
        """Return the policies of a role, as far as they count by now. Of one that is new there are none."""
        lag = self._settings.current.iam_policy_lag
        if not lag:
            return emulated(role, account)
        self._observe()
        return self._history.as_of((account, role), lag) or []

    def enforce(self, emulated: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Decide about a request as the emulator does; whoever sends it, a change is noticed."""
        self._observe()
        return emulated(*arguments, **named)

    def _observe(self) -> None:
        lag, account = self._settings.current.iam_policy_lag, get_account_id()
        roles = {(account, name): self._gather(name, account) for name in iam._roles} if lag else {}
        self._history.observe(roles, lag)
