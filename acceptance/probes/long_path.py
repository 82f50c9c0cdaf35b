"""A path that is longer than a method's ARN may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.probes.api import Answer, Needs, Probe
from acceptance.probes.requests import request
from acceptance.scenarios.gateway import ROUTE

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(_: Run, scene: Scene) -> Answer:
    held = scene.gateway.held(scene.door.server_ca)
    told = request(f"{scene.door.url}proxy/{ROUTE}/{'a' * 1700}", held.context)
    return Answer(f"HTTP {told.status}" if told.status else "closed", str(told))


PROBE = Probe(
    name="long-path",
    question="What is a client told whose path makes the ARN of the method longer than 1,600 bytes?",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html",
    how="A client that is let in asks for a path of 1,700 letters.",
    readings={
        "HTTP 414": "URI Too Long",
        "HTTP 403": "what is answered where there is no such method",
        "HTTP 500": "the authorizer's answer is not taken",
    },
    expected="HTTP 414",
    ask=_ask,
    needs=Needs.GATEWAY,
)
