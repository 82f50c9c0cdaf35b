"""A request that is larger than API Gateway takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.probes.api import Answer, Needs, Probe
from acceptance.probes.requests import request

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

# One byte more than https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html takes.
BYTES = 10 * 1024 * 1024 + 1


def _ask(_: Run, scene: Scene) -> Answer:
    held = scene.gateway.held(scene.door.server_ca)
    told = request(scene.door.url, held.context, method="GET", body=b"0" * BYTES)
    if told.status is None:
        return Answer("closed", str(told))
    customized = "problem" in told.headers.get("content-type", "")
    return Answer(f"HTTP {told.status}, {'the template' if customized else 'API Gateway'}'s words", str(told))


PROBE = Probe(
    name="payload-too-large",
    question="What is a client told that sends more than 10 MB, and can the template choose the words?",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html",
    how="A client that is let in sends 10 MB and a byte.",
    readings={
        "HTTP 413, API Gateway's words": "the gateway response does not apply",
        "HTTP 413, the template's words": "the gateway response applies",
        "closed": "the connection ends",
    },
    expected="HTTP 413, API Gateway's words",
    ask=_ask,
    needs=Needs.GATEWAY,
)
