"""How API Gateway refuses a client whose CA it does not trust."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.clients import client_of
from acceptance.probes.api import Answer, Needs, Probe
from acceptance.probes.requests import request
from acceptance.probes.settings import by_default
from demo.certificates import Authority

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

SETTING = "refusal_of_clients"


def _ask(_: Run, scene: Scene) -> Answer:
    stranger = client_of(Authority.named("Unknown CA"), "stranger", scene.door.server_ca)
    told = request(scene.door.url, stranger.held.context)
    if told.status == 403:
        return Answer("HTTP 403", str(told))
    if told.status is None:
        return Answer("closed", str(told))
    return Answer("something else", str(told))


PROBE = Probe(
    name="unknown-issuer-answer",
    question="How does API Gateway refuse a client whose CA is not in the truststore?",
    source="https://repost.aws/knowledge-center/api-gateway-mutual-tls-403-errors",
    how="A client of a CA that nobody has uploaded asks; status, headers and body are noted.",
    readings={
        "HTTP 403": "an answer of HTTP, which no TLS alert tells of",
        "closed": "the connection ends, with or without an alert",
    },
    expected=by_default(SETTING, {"403": "HTTP 403", "alert": "closed"}),
    ask=_ask,
    promise=True,
    needs=Needs.GATEWAY,
    setting=SETTING,
)
