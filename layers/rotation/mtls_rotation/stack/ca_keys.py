"""The KMS keys of the stack's own CAs, where they go with the stack."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mtls_rotation.contract.labels import secret_name
from mtls_rotation.errors import MtlsRotationError
from mtls_rotation.stack.rollback import taken_back_since

if TYPE_CHECKING:
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
            if since := taken_back_since(self._services.clients.of("cloudformation"), stack_id):
                self._services.signing_keys.discard_since(secret_name(ca_secret), since, deadline)
        except (MtlsRotationError, ClientError, BotoCoreError):
            log.exception("a KMS key may be left behind", extra={"secret": ca_secret})
