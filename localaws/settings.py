"""What can be set on a local AWS, at start and while it runs. Both sides of the process boundary use it.

How a setting takes effect lives with the rule that reads it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from typing import Any, Literal, get_args, get_origin, get_type_hints

MAX_LIST_LAG = timedelta(minutes=5)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings, each with its default.

    Attributes:
        consistency_lag: how long a read of one secret goes on showing the state before a write.
        list_lag: the same for ``ListSecrets``; at most five minutes, as its API page says.
        domain_update_time: how long a custom domain stays ``UPDATING``.
        requests_while_updating: what requests meet meanwhile: the truststore before, or none that lets anybody in.
        domain_update_interval: the least time between two ``UpdateDomainName`` calls of an account.
        concurrent_executions: the account's quota of functions that run at once; an account that is new has ten.
        dns: which custom domains clients find: those that a record in Route 53 points to, or every one.
        rotation_retries: how often a failed rotation is tried again by itself.
        rotation_retry_backoff: the pause before the first retry; it doubles with each one.
        rotation_trial: what the version of a trial (RotateImmediately=false) holds: the value at AWSCURRENT, or none.
        refusal_of_clients: how API Gateway refuses a client certificate: by HTTP 403 over a connection that it has
            accepted, or by a TLS alert.
        equal_subjects: which anchors API Gateway looks at that have one subject: the first in the bundle, or any.
        self_signed_clients: whether a client certificate may be its own anchor.
        incomplete_chains: whether an authority of a client may be missing in the truststore, above an anchor or below.
        comments_in_truststore: whether a truststore may have text outside of its PEM blocks.
        queue_purge_time: how long a queue is being purged, in which what is sent to it is lost.
        kms_key_lag: how long a new KMS key is not found, at first, and then in no state to be used.
        kms_tag_lag: how long a change of a KMS key's tags does not count, nor show in the tagging API.
        iam_policy_lag: how long a change of a role's policies does not count, with ``enforce_iam``.
        cloudformation_waits_for_domains: whether CloudFormation tries again when UpdateDomainName is refused for being
            too early, and waits until the domain is AVAILABLE; if not, the resource has failed.
        cloudformation_patches: what CloudFormation sends of a domain that a template changes: all that the template
            says of it, or what it changes.
        enforce_iam: whether requests are authorized against IAM policies. Read at start only.
    """

    consistency_lag: timedelta = timedelta(0)
    list_lag: timedelta = timedelta(0)
    domain_update_time: timedelta = timedelta(seconds=1)
    requests_while_updating: Literal["old", "refused"] = "old"
    domain_update_interval: timedelta = timedelta(seconds=30)
    concurrent_executions: int = 10
    dns: Literal["records", "everything"] = "records"
    rotation_retries: int = 3
    rotation_retry_backoff: timedelta = timedelta(seconds=2)
    rotation_trial: Literal["current", "empty"] = "current"
    refusal_of_clients: Literal["403", "alert"] = "403"
    equal_subjects: Literal["first", "any"] = "first"
    self_signed_clients: Literal["refused", "accepted"] = "refused"
    incomplete_chains: Literal["refused", "accepted"] = "refused"
    comments_in_truststore: Literal["refused", "accepted"] = "refused"
    queue_purge_time: timedelta = timedelta(seconds=60)
    kms_key_lag: timedelta = timedelta(0)
    kms_tag_lag: timedelta = timedelta(0)
    iam_policy_lag: timedelta = timedelta(0)
    cloudformation_waits_for_domains: bool = False
    cloudformation_patches: Literal["all", "changes"] = "all"
    enforce_iam: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, timedelta) and value < timedelta(0):
                raise ValueError(f"{name} cannot be negative: {value}")
        for name, hint in get_type_hints(type(self)).items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                raise ValueError(f"{name} is {' or '.join(get_args(hint))}; got {getattr(self, name)}")
        if self.list_lag > MAX_LIST_LAG:
            raise ValueError(f"list_lag is at most {MAX_LIST_LAG}, as ListSecrets documents; got {self.list_lag}")
        if self.concurrent_executions < 1:
            raise ValueError(f"concurrent_executions is at least 1: {self.concurrent_executions}")
        if self.rotation_retries < 0:
            raise ValueError(f"rotation_retries cannot be negative: {self.rotation_retries}")

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; durations are seconds."""
        return {k: v.total_seconds() if isinstance(v, timedelta) else v for k, v in asdict(self).items()}

    def changed(self, values: dict[str, Any]) -> Settings:
        """Return a copy with ``values``, a JSON object as :meth:`to_json` makes it (a part of it will do)."""
        known = {field.name: field for field in fields(self)}
        unknown = values.keys() - known.keys()
        if unknown:
            raise ValueError(f"no such setting: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
        durations = {name for name in known if isinstance(getattr(self, name), timedelta)}
        typed: dict[str, Any] = {k: timedelta(seconds=v) if k in durations else v for k, v in values.items()}
        return replace(self, **typed)


class LiveSettings:
    """Holds the settings in force; readers ask for :attr:`current` each time."""

    def __init__(self, initial: Settings) -> None:
        self.current = initial

    def change(self, values: dict[str, Any]) -> Settings:
        """Put ``values`` in force and return all settings."""
        if "enforce_iam" in values and values["enforce_iam"] != self.current.enforce_iam:
            raise ValueError("enforce_iam can only be set at start")
        self.current = self.current.changed(values)
        return self.current
