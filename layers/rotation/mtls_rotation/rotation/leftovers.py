"""Clearing away what an issuer made for a version that does not hold it. It is never what a step fails for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mtls_rotation.errors import MtlsRotationError
from mtls_rotation.issuers.api import Discarding

if TYPE_CHECKING:
    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.issuers.api import Issuer, Order

log = logging.getLogger(__name__)


def clear_away(issuer: Issuer, order: Order, kept: ManagedSecret | None) -> None:
    """Have an issuer discard what is of no use to `kept`, if it is one that may have something. See `Discarding`."""
    if not isinstance(issuer, Discarding):
        return
    try:
        issuer.discard(order, kept)
    except (MtlsRotationError, ClientError, BotoCoreError):
        log.exception("left behind", extra={"secret": order.name, "version": order.version_id})
