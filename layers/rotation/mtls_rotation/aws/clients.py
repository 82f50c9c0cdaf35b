"""Clients of AWS, and how each call is made: its time-outs, and how often it is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtls_rotation.aws.retries import Patience

# How functions call AWS. boto3's own time-outs are 60 s each, five times over: one connection that went dead would eat
# a function's whole time. What AWS is asked for here takes it a fraction of a second, so that 5 s of silence mean that
# no answer comes. One call takes 55 s at worst, pauses included, when nothing is answered: less than the shortest
# time-out of a function that calls so, 60 s. "standard" also tries again what "legacy", the default, gives up on at
# once, such as an answer that broke off. "adaptive" would hold back calls while others of the account are throttled,
# and a function has no time for that.
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
CALLS = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 5})
# A rotation asks Secrets Manager for longer. It takes 50 writes a second of an account, and a fleet that falls due at
# once makes more; a step that gives up has all before it run again, which are more calls still. The function has 15
# minutes, and one call takes four of them at worst.
# https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
PATIENT_CALLS = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 12})
# What must not be done twice because an answer was lost: made once, and looked at before it is made again. An update of
# a domain name also uses up the rate: one in 30 s.
SINGLE_CALLS = Config(connect_timeout=3, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 1})
# Where a request waits for the answer: silence of a second means that the call is made anew. `retries.tries` says how
# often.
BRIEF_CALLS = Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 2})


class Clients:
    """Makes the client of a service.

    Args:
        create: makes one, as `botocore.session.Session.create_client` and `boto3.Session.client` do.
        patience: with what is denied; None for none.
    """

    def __init__(self, create: Callable[..., Any], patience: Patience | None = None) -> None:
        self._create = create
        self._patience = patience
        self._made: dict[tuple[str, int], Any] = {}

    def of(self, service: str, calls: Config = CALLS) -> Any:
        """The client of the service of this name which calls as `calls`, one of those above, says. Made once."""
        key = service, id(calls)
        if key not in self._made:
            client = self._made[key] = self._create(service, config=calls)
            if self._patience:
                client.meta.events.register("needs-retry", self._patience.needs_retry)
        return self._made[key]
