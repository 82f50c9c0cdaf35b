"""A client certificate that is its own anchor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.clients import self_signed
from acceptance.probes.api import Answer, Needs, Probe
from acceptance.probes.settings import by_default
from acceptance.probes.truststores import ask_with

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

SETTING = "self_signed_clients"


def _ask(run: Run, scene: Scene) -> Answer:
    client = self_signed("Acceptance self-signed", scene.door.server_ca)
    tried = ask_with(run, scene, client.pem, client)
    if tried.accepted:
        return Answer("accepted", str(tried))
    return Answer("refused", str(tried))


PROBE = Probe(
    name="self-signed-client",
    question="Is a self-signed client certificate let in that is in the truststore itself?",
    source="https://repost.aws/knowledge-center/api-gateway-mutual-tls-403-errors",
    how="The domain is given the certificate as its one anchor; its holder asks.",
    readings={"accepted": "it is let in", "refused": "the update or the request is refused"},
    expected=by_default(SETTING, {"accepted": "accepted", "refused": "refused"}),
    ask=_ask,
    promise=True,
    needs=Needs.GATEWAY,
    setting=SETTING,
)
