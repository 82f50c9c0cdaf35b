"""How API Gateway refuses a client that presents no certificate."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from acceptance.probes.api import Answer, Needs, Probe
from acceptance.probes.requests import request

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(_: Run, scene: Scene) -> Answer:
    told = request(scene.door.url, ssl.create_default_context(cadata=scene.door.server_ca or None))
    return Answer("closed" if told.status is None else f"HTTP {told.status}", str(told))


PROBE = Probe(
    name="no-certificate-answer",
    question="How does API Gateway refuse a client that presents no certificate?",
    source="https://repost.aws/knowledge-center/api-gateway-mutual-tls-403-errors",
    how="A client without a certificate asks; what it is told is noted.",
    readings={"closed": "the connection ends", "HTTP 403": "an answer of HTTP"},
    expected="closed",
    ask=_ask,
    certain=True,
    needs=Needs.GATEWAY,
)
