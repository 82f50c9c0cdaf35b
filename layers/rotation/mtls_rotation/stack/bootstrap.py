"""What must be there before the rest of the stack can be: the secrets' definitions, the first CA, truststore and lists.

API Gateway makes a domain name with mutual TLS only if the truststore exists already, and rotation needs a definition
and a CA. The custom resource runs this on every create and update of the stack.
"""

from __future__ import annotations

import json
import logging
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mtls_rotation.aws.retries import refused
from mtls_rotation.contract.events import TRUSTSTORE_SYNC_REQUESTED
from mtls_rotation.contract.labels import secret_name
from mtls_rotation.errors import DomainBusyError, InvalidSecretError
from mtls_rotation.issuers import registry
from mtls_rotation.issuers.api import Order
from mtls_rotation.rotation import filing
from mtls_rotation.rotation.admission import Admission
from mtls_rotation.rotation.leftovers import clear_away
from mtls_rotation.rotation.value import parse_value

if TYPE_CHECKING:
    from mtls_rotation.aws.services import Services
    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.issuers.registry import Issuers
    from mtls_rotation.revocation.run import Revocation
    from mtls_rotation.timing import Deadline
    from mtls_rotation.truststore.sync import TruststoreSync
    from mtls_rotation.truststore.turn import Turn

log = logging.getLogger(__name__)

DEFINITION_KEYS = ("kind", "request", "issuer", "endpoint", "notice_days", "may_issue")


@dataclass(frozen=True, slots=True)
class SecretDefinition:
    """What the template says of a secret: the part of its value that an operator would write.

    Attributes:
        issue: whether its first certificate is issued by the bootstrap, where a rotation could not prove one yet.
    """

    secret_id: str
    value: dict[str, Any]
    issue: bool = False


class Bootstrap:
    """Makes a new stack able to rotate; on an update, brings the definitions in line with the template."""

    def __init__(
        self,
        services: Services,
        *,
        sync: TruststoreSync,
        turn: Turn,
        issuers: Issuers,
        revocation: Revocation,
        admission: Admission | None = None,
    ) -> None:
        self._versions = services.versions
        self._bucket = services.bucket
        self._bus = services.bus
        self._clock = services.clock
        self._stack = services.stack
        self._sync = sync
        self._turn = turn
        self._issuers = issuers
        self._revocation = revocation
        self._admission = admission or Admission()

    def run(
        self,
        ca: SecretDefinition | None,
        client: SecretDefinition,
        request_id: str,
        deadline: Deadline,
        updates: str = "",
    ) -> str:
        """Bring the secrets and the truststore into being.

        Domains are told of it as the rate allows; what is left is the queue's. None is waited for but the one that the
        template updates next.

        Args:
            ca: the CA secret, if the client's issuer has one. It is issued here and now, once: nothing chains to a
                first CA yet.
            client: the client secret. Its first certificate comes from its first rotation, but for two cases in which
                it is issued here: no CA secret gives the truststore its first anchor, without which a gateway cannot be
                made; or the definition says so. Nobody holds one before, and the gateway is made with its anchor.
            request_id: CloudFormation's, so that a repeat of the request writes the same versions.
            deadline: until when to wait for a domain that takes no update.
            updates: the domain name that CloudFormation updates once it is answered; empty where it updates none.

        Returns:
            The truststore's URI.

        Raises:
            DomainBusyError: the domain that CloudFormation updates takes no update in the time there is.
            MtlsRotationError: a definition is wrong, or the truststore could not be published.
        """
        # All are looked at before one is written: a stack that fails leaves nothing half done.
        defined = [it for it in (ca, client) if it is not None]
        types = [self._usable(it).issuer.type for it in defined]
        may_be_a_rollback = bool(updates) and self._turn.reserve(updates, deadline)
        if ca is not None:
            self._define(ca, request_id, deadline, issue=True)
        issue = client.issue or registry.kind(types[-1]).issued_at_bootstrap
        self._define(client, request_id, deadline, issue=issue)
        self._reconcile(deadline)
        # Without a list the authorizer denies every request. What else it could not do, the function's alarm tells.
        revocation = self._revocation.run(deadline)
        for problem in (*revocation.problems, *revocation.late):
            log.error("revocation: %s", problem)
        if updates:
            self._leave_to_cloudformation(updates, deadline, never_fail=may_be_a_rollback)
        return self._bucket.truststore_uri

    def _usable(self, definition: SecretDefinition) -> ManagedSecret:
        where = f"the definition of secret {definition.secret_id}"
        secret = parse_value(json.dumps(definition.value), where)
        self._admission.require(secret, where)
        return secret

    def _reconcile(self, deadline: Deadline) -> None:
        """Publish, tell a domain if one may be told now, and have the queue see to the rest."""
        result = self._sync.run(deadline.sooner(0.0))
        if result.retry_after is not None:
            self._bus.put(TRUSTSTORE_SYNC_REQUESTED, {"stack": self._stack})

    def _leave_to_cloudformation(self, domain: str, deadline: Deadline, *, never_fail: bool) -> None:
        """Wait until the domain takes CloudFormation's update.

        A rollback goes on whatever the domain does: a stack whose rollback has failed takes no update any more.
        """
        try:
            self._turn.await_free(domain, deadline)
        except DomainBusyError as busy:
            if not never_fail:
                raise
            log.warning("CloudFormation is answered all the same", extra={"code": busy.code, "reason": str(busy)})

    def _define(self, definition: SecretDefinition, request_id: str, deadline: Deadline, *, issue: bool) -> None:
        """Put the definition at AWSCURRENT if it differs; a certificate that is there stays."""
        current = self._versions.current(definition.secret_id)
        document = _members(current.value, definition.secret_id) if current else {}
        stated = {key: value for key, value in definition.value.items() if key in DEFINITION_KEYS}
        carried = {key: value for key, value in document.items() if key not in DEFINITION_KEYS}
        secret = parse_value(json.dumps(stated | carried), f"secret {definition.secret_id}")
        version_id = current.version_id if current else ""
        new_version = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{request_id}/{definition.secret_id}"))
        if issue and not secret.issued:
            name = secret_name(definition.secret_id)
            order = Order(secret, definition.secret_id, name, new_version, self._clock(), deadline)
            secret, version_id = self._issue(secret, order), new_version
        elif current is None or parse_value(current.value, definition.secret_id) != secret:
            version_id = new_version
            self._versions.put_current(definition.secret_id, version_id, secret.render())
        self._file(definition.secret_id, version_id, deadline)

    def _issue(self, definition: ManagedSecret, order: Order) -> ManagedSecret:
        """Issue what is defined, and put it at AWSCURRENT. If that fails, nothing that was made for it is left."""
        issuer = self._issuers.of(definition)
        try:
            issued = filing.with_certificate(definition, issuer.issue(order), self._clock())
        except Exception:
            clear_away(issuer, order, None)
            raise
        try:
            self._versions.put_current(order.arn, order.version_id, issued.render())
        except Exception as error:
            if refused(error):  # else it may have been put all the same
                clear_away(issuer, order, None)
            raise
        return issued

    def _file(self, secret_id: str, version_id: str, deadline: Deadline) -> None:
        """File what is stored, which need not be what was just made: a repeat finds the first run's CA."""
        stored = self._versions.await_version(secret_id, version_id, deadline)
        secret = parse_value(stored.value, f"secret {stored.name}")
        if secret.issued:
            filing.file_certificate(self._bucket, secret, stored.name, stored.version_id)
        else:
            filing.note_held(self._bucket, secret, stored)


def _members(value: str, secret_id: str) -> dict[str, Any]:
    """What a secret's value says, whether it can be used or not.

    Raises:
        InvalidSecretError: it is no JSON object: somebody has written over it what may be worth keeping.
    """
    document: object = None
    with suppress(ValueError, RecursionError):
        document = json.loads(value)
    if isinstance(document, dict):
        return document
    raise InvalidSecretError(
        where=f"secret {secret_id}",
        found="a value that is no JSON object",
        expected="the definition that the stack has put there, or nothing",
        remedy="Make AWSPREVIOUS current again if that has it, then update the stack once more. Nothing was changed.",
    )
