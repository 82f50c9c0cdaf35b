"""What the project says on EventBridge. The names here are the contract with operators' own rules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

SOURCE = "mtls-rotation"
TRUSTSTORE_SYNC_REQUESTED = "Truststore Sync Requested"
TRUSTSTORE_PUBLISHED = "Truststore Published"
TRUSTSTORE_ANCHOR_REJECTED = "Truststore Anchor Rejected"
TRUSTSTORE_WARNING = "Truststore Warning"
CLIENT_CERTIFICATE_ROTATED = "Client Certificate Rotated"
ROTATION_FAILED = "Rotation Failed"
CERTIFICATE_AUTHORITY_EXPIRING = "Certificate Authority Expiring"
CERTIFICATE_SIGNING_REQUESTED = "Certificate Signing Requested"
SIGNED_CERTIFICATE_ACCEPTED = "Signed Certificate Accepted"
SIGNED_CERTIFICATE_REJECTED = "Signed Certificate Rejected"


class EventBus:
    """Puts events with our source on one bus."""

    def __init__(self, client: EventBridgeClient, name: str) -> None:
        self._client = client
        self._name = name

    def put(self, detail_type: str, detail: dict[str, object], *resources: str) -> None:
        """Put one event.

        Raises:
            RuntimeError: EventBridge did not take it (PutEvents answers 200 even then).
        """
        answer = self._client.put_events(
            Entries=[
                {
                    "EventBusName": self._name,
                    "Source": SOURCE,
                    "DetailType": detail_type,
                    "Detail": json.dumps(detail),
                    "Resources": list(resources),
                }
            ]
        )
        if answer["FailedEntryCount"]:
            entry = answer["Entries"][0]
            raise RuntimeError(
                f"EventBridge refused {detail_type!r}: {entry.get('ErrorCode')}: {entry.get('ErrorMessage')}"
            )
