"""An intermediate CA alone in the truststore, without its root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.clients import authority, client_of
from acceptance.probes.api import Answer, Needs, Probe
from acceptance.probes.settings import by_default
from acceptance.probes.truststores import ask_with
from mtls_rotation.pki.certificates import to_pem

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

SETTING = "incomplete_chains"


def _ask(run: Run, scene: Scene) -> Answer:
    intermediate = authority("Acceptance intermediate CA", authority("Acceptance root CA"))
    client = client_of(intermediate, "client", scene.door.server_ca)
    tried = ask_with(run, scene, to_pem(intermediate.certificate), client)
    well = tried.accepted
    return Answer("accepted" if well else "refused", str(tried))


PROBE = Probe(
    name="intermediate-as-anchor",
    question="Is a client let in whose intermediate CA is in the truststore, and its root is not?",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html",
    how="The domain is given the intermediate alone; a client of it asks.",
    readings={"accepted": "it is let in", "refused": "the update or the request is refused"},
    expected=by_default(SETTING, {"accepted": "accepted", "refused": "refused"}),
    ask=_ask,
    needs=Needs.GATEWAY,
    setting=SETTING,
)
