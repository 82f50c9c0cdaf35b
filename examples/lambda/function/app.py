"""Asks a partner for orders over mutual TLS, always with the newest client certificate."""

from __future__ import annotations

import json
import os
from typing import Any

from mtls_client import ClientCertificate

# Outside of the handler: made once in each execution environment, and kept from one invocation to the next, so that
# connections are kept too. Nothing is asked for before the first request.
certificate = ClientCertificate(os.environ["CLIENT_SECRET"])
partner = certificate.httpx_client(base_url=os.environ["PARTNER_URL"], timeout=10)


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Ask for the orders of one page.

    Args:
        event: may have `page`.
        context: not used.

    Returns:
        What the partner answered, and the serial number of the certificate that it saw.
    """
    answer = partner.get("/orders", params={"page": event.get("page", 1)})
    answer.raise_for_status()
    print(json.dumps({"certificate": certificate.status().serial_number, "status": answer.status_code}))
    return {"orders": answer.json()["orders"], "serial_number": certificate.status().serial_number}
