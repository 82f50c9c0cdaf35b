"""What each part of the engine is made with: an adapter for each service that most of them need, and the clock."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from mtls_rotation.aws.bucket import CertificateBucket
from mtls_rotation.aws.bus import EventBus
from mtls_rotation.aws.clients import CALLS, PATIENT_CALLS
from mtls_rotation.aws.secret_versions import SecretVersions
from mtls_rotation.timing import utc_now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from botocore.config import Config

    from mtls_rotation.aws.clients import Clients
    from mtls_rotation.aws.key_policy import KeyUsers
    from mtls_rotation.aws.kms import SigningKeys
    from mtls_rotation.contract.issuance import Issuance


class Names(Protocol):
    """What is called how. Asking for a name that was not set may raise InvalidSettingsError."""

    @property
    def stack(self) -> str:
        """The stack's name."""
        ...

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        ...

    @property
    def event_bus(self) -> str:
        """The event bus's name."""
        ...

    @property
    def issuance(self) -> Issuance:
        """What its operator says of who may ask for what."""
        ...

    @property
    def key_users(self) -> KeyUsers:
        """The roles that use the keys of CAs."""
        ...


class Services:
    """Adapters of AWS's services, each made when it is first asked for.

    Args:
        clients: makes AWS's clients.
        names: the stack's names, each asked for when it is needed.
        clock: the present moment, aware, in UTC.
        secrets_manager_calls: how Secrets Manager is called.
    """

    def __init__(
        self,
        clients: Clients,
        names: Names,
        clock: Callable[[], datetime] = utc_now,
        *,
        secrets_manager_calls: Config = CALLS,
    ) -> None:
        self.clients = clients
        self.clock = clock
        self._names = names
        self._secrets_manager_calls = secrets_manager_calls

    @property
    def stack(self) -> str:
        """The stack's name: the value of the tag of its secrets."""
        return self._names.stack

    @property
    def issuance(self) -> Issuance:
        """What the stack's operator says of who may ask for what."""
        return self._names.issuance

    @cached_property
    def versions(self) -> SecretVersions:
        """Secrets Manager."""
        return SecretVersions(self.clients.of("secretsmanager", self._secrets_manager_calls))

    @cached_property
    def bucket(self) -> CertificateBucket:
        """The bucket."""
        return CertificateBucket(self.clients.of("s3"), self._names.bucket)

    @cached_property
    def bus(self) -> EventBus:
        """The event bus."""
        return EventBus(self.clients.of("events"), self._names.event_bus)

    @cached_property
    def signing_keys(self) -> SigningKeys:
        """KMS. Imported where it is needed, as most stacks have no key there."""
        from mtls_rotation.aws.kms import SigningKeys

        return SigningKeys(self.clients, self.stack, self.bucket, self.clock, lambda: self._names.key_users)

    def patient(self) -> Services:
        """The same, with a Secrets Manager that is asked for longer: for a rotation."""
        return Services(self.clients, self._names, self.clock, secrets_manager_calls=PATIENT_CALLS)
