"""The KMS keys of the stack's own CAs, where they go with the stack."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mtls_rotation.aws.secret_versions import out_of_reach
from mtls_rotation.contract.labels import AWSCURRENT, AWSPREVIOUS, secret_name
from mtls_rotation.errors import MtlsRotationError
from mtls_rotation.stack.rollback import taken_back_since

if TYPE_CHECKING:
    from datetime import datetime

    from mtls_rotation.aws.services import Services
    from mtls_rotation.timing import Deadline

log = logging.getLogger(__name__)


class CaKeys:
    """Has KMS delete them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def remove(self, ca_secret: str, deadline: Deadline) -> None:
        """Have every key of the CA secret deleted: all of the stack's data goes.

        Raises:
            MtlsRotationError, ClientError, BotoCoreError: a key cannot be deleted. A repeat goes on.
        """
        self._services.signing_keys.discard_all(secret_name(ca_secret), deadline)

    def take_back(self, ca_secret: str, stack_id: str, deadline: Deadline) -> None:
        """Have the key deleted that a stack operation made for the CA secret, if CloudFormation takes that back.

        Whatever goes wrong is logged: a key that is left costs 1 USD a month, a stack that cannot be rolled back more.
        """
        try:
            since = taken_back_since(self._services.clients.of("cloudformation"), stack_id)
            if since and not self._was_there(ca_secret, since):
                self._services.signing_keys.discard_since(secret_name(ca_secret), since, deadline)
        except (MtlsRotationError, ClientError, BotoCoreError):
            log.exception("a KMS key may be left behind", extra={"secret": ca_secret})

    def _was_there(self, ca_secret: str, since: datetime) -> bool:
        """Whether a version is older than the operation: then the secret stays, and so do keys that rotations made."""
        try:
            versions = [self._services.versions.at(ca_secret, label) for label in (AWSCURRENT, AWSPREVIOUS)]
        except ClientError as error:
            if out_of_reach(error):
                return False
            raise
        return any(it is not None and it.created is not None and it.created < since for it in versions)
