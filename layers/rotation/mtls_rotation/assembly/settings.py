"""The settings of a function: its environment variables, as the template sets them. Read and checked here alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from math import nan
from typing import TYPE_CHECKING

from mtls_rotation.errors import InvalidSettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mtls_rotation.aws.key_policy import KeyUsers
    from mtls_rotation.contract.issuance import Issuance


@dataclass(frozen=True, slots=True)
class _Range:
    unit: str
    least: float
    most: float
    because: str = ""


_HOURS = _Range("hours", 1, 8760, ": ListSecrets may be minutes behind")
_DAYS = _Range("days", 1, 365)
_SECONDS = _Range("seconds", 1, 3600)
_PERCENT = _Range("percent", 0, 100)
_CERTIFICATES = _Range("certificates", 1, 1_000_000)
_SERIES = _Range("metrics", 0, 100)


class Settings:
    """A function's settings. Each is read when it is asked for: no function has them all.

    Every property raises InvalidSettingsError where its variable makes no sense, or is missing and has no default.

    Args:
        environment: `BUCKET_NAME`, `EVENT_BUS_NAME`, `STACK_NAME`, and where there is a gateway `DOMAIN_NAMES`
            (names or ARNs, separated by commas) and `SELF_SIGNED_CLIENTS` ("refused" or
            "accepted"); for sync also `QUEUE_URL`, `ANCHOR_OVERLAP_HOURS`,
            `LARGEST_REMOVAL_PERCENT`, `TRUSTSTORE_MAX_CERTIFICATES` and `EXPIRY_SERIES`; for revocation
            `CRL_VALIDITY_DAYS`; for the authorizer `REVOCATION_TTL_SECONDS`, `WHEN_REVOCATION_IS_UNKNOWN` ("deny" or
            "allow"), and where there is an allow-list `ALLOW_LIST` or `ALLOW_LIST_PARAMETER`; for the proxy `ROUTES` or
            `ROUTES_PARAMETER`, `CLIENT_SECRET` and `CERTIFICATE_CHECK_SECONDS`; for the bootstrap `STACK_ID`; for it
            and for rotate, which make keys of CAs, `CA_KEY_MAKERS` and `CA_KEY_SIGNERS` (ARNs, separated by commas),
            `OWN_SECRETS` ("ca,client"), `OWN_COMMON_NAME` and `TRUSTED_SECRETS`.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment

    @property
    def stack(self) -> str:
        """The stack's name: the value of its secrets' tag, and of a dimension of its metrics."""
        return self.required("STACK_NAME")

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.required("BUCKET_NAME")

    @property
    def event_bus(self) -> str:
        """The event bus's name."""
        return self.required("EVENT_BUS_NAME")

    @cached_property
    def issuance(self) -> Issuance:
        """What the operator says of who may ask for what."""
        from mtls_rotation.contract.issuance import Issuance

        return Issuance(
            self.stack,
            own=frozenset(f"{self.stack}/{it}" for it in self._listed("OWN_SECRETS")),
            reserved=self.optional("OWN_COMMON_NAME"),
            trusted=self._listed("TRUSTED_SECRETS"),
        )

    @property
    def key_users(self) -> KeyUsers:
        """The roles that use the keys of CAs."""
        from mtls_rotation.aws.key_policy import KeyUsers

        makers, signers = (self.required(f"CA_KEY_{it}").split(",") for it in ("MAKERS", "SIGNERS"))
        return KeyUsers(tuple(makers), tuple(signers))

    @property
    def queue_url(self) -> str:
        """The URL of the truststore function's queue."""
        return self.required("QUEUE_URL")

    @property
    def targets(self) -> tuple[str, ...]:
        """What runs the truststore: names or ARNs of domain names, as the template lists them."""
        return self._listed("DOMAIN_NAMES")

    @property
    def accepts_self_signed_clients(self) -> bool:
        """Whether what runs the truststore is known to let in clients whose certificate has signed itself."""
        return self.optional("SELF_SIGNED_CLIENTS") == "accepted"

    @property
    def client_secret(self) -> str:
        """The secret that the proxy presents where a route names none."""
        return self.required("CLIENT_SECRET")

    @property
    def expiry_series(self) -> int:
        """How many secrets, and how many anchors, have a metric of their own."""
        return int(self._number("EXPIRY_SERIES", 20.0, _SERIES))

    @property
    def anchor_overlap(self) -> timedelta:
        """How long an anchor stays in the truststore once nothing needs it."""
        return timedelta(hours=self._number("ANCHOR_OVERLAP_HOURS", 1.0, _HOURS))

    @property
    def largest_removal(self) -> float:
        """The share of anchors, from 0 to 1, that may leave at once."""
        return self._number("LARGEST_REMOVAL_PERCENT", 50.0, _PERCENT) / 100

    @property
    def most_anchors(self) -> int:
        """How many certificates a truststore may hold."""
        return int(self._number("TRUSTSTORE_MAX_CERTIFICATES", 1000.0, _CERTIFICATES))

    @property
    def crl_validity(self) -> timedelta:
        """The time from a CRL to its next update."""
        return timedelta(days=self._number("CRL_VALIDITY_DAYS", 7.0, _DAYS))

    @property
    def revocation_ttl(self) -> timedelta:
        """How old the authorizer's revocation list may be."""
        return timedelta(seconds=self._number("REVOCATION_TTL_SECONDS", 60.0, _SECONDS))

    @property
    def lets_in_when_revocation_is_unknown(self) -> bool:
        """Whether the authorizer lets a client in while it has no list that is fresh enough."""
        return self.optional("WHEN_REVOCATION_IS_UNKNOWN") == "allow"

    @property
    def certificate_check_interval(self) -> timedelta:
        """How often the proxy looks for a newer certificate."""
        return timedelta(seconds=self._number("CERTIFICATE_CHECK_SECONDS", 60.0, _SECONDS))

    def optional(self, name: str) -> str:
        """The variable of this name; empty where it is not set."""
        return self._environment.get(name, "")

    def required(self, name: str) -> str:
        """The variable of this name, which must be set."""
        value = self.optional(name)
        if not value:
            raise InvalidSettingsError(
                where="the function's environment",
                found=f"no {name}",
                expected=f"{name} as the template sets it",
                remedy="Deploy the stack again.",
            )
        return value

    def _listed(self, name: str) -> tuple[str, ...]:
        return tuple(filter(None, map(str.strip, self.optional(name).split(","))))

    def _number(self, name: str, default: float, allowed: _Range) -> float:
        text = self.optional(name)
        try:
            number = float(text) if text else default
        except ValueError:
            number = nan
        if not allowed.least <= number <= allowed.most:
            raise InvalidSettingsError(
                where=f"the function's environment, {name}",
                found=repr(text),
                expected=f"a number of {allowed.unit}, {allowed.least:g} to {allowed.most:g}{allowed.because}",
                remedy="Correct the template's parameter.",
            )
        return number
