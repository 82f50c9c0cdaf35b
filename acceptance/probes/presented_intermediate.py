"""An intermediate CA that a client presents, where the truststore has its root alone."""

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
    root = authority("Acceptance root CA")
    intermediate = authority("Acceptance intermediate CA", root)
    client = client_of(intermediate, "client", scene.door.server_ca, presenting=[intermediate])
    tried = ask_with(run, scene, to_pem(root.certificate), client)
    well = tried.accepted
    return Answer("accepted" if well else "refused", str(tried))


PROBE = Probe(
    name="presented-intermediate",
    question="Is a client let in that presents its intermediate CA, whose root alone is in the truststore?",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html",
    how="The domain is given the root; a client of the intermediate presents both certificates.",
    readings={"accepted": "what it presents is used", "refused": "the intermediate has to be in the truststore"},
    expected=by_default(SETTING, {"accepted": "accepted", "refused": "refused"}),
    ask=_ask,
    promise=True,
    needs=Needs.GATEWAY,
    setting=SETTING,
)
