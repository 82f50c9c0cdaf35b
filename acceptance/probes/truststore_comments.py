"""Text between the PEM blocks of a truststore."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.clients import client_of
from acceptance.probes.api import Answer, Needs, Probe
from acceptance.probes.settings import by_default
from acceptance.probes.truststores import ask_with
from demo.certificates import Authority
from mtls_rotation.pki.certificates import to_pem

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

SETTING = "comments_in_truststore"


def _ask(run: Run, scene: Scene) -> Answer:
    cas = [Authority.named(f"Acceptance commented CA {number}") for number in range(2)]
    clients = [client_of(ca, "client", scene.door.server_ca) for ca in cas]
    bundle = "".join(f"# {number}: a line of text\n{to_pem(ca.certificate)}" for number, ca in enumerate(cas))
    tried = ask_with(run, scene, bundle, *clients)
    well = tried.accepted
    return Answer("accepted" if well else "refused", str(tried))


PROBE = Probe(
    name="truststore-comments",
    question="May there be text between the PEM blocks of a truststore?",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html",
    how="The domain is given two CAs with a line of text before each; a client of each asks.",
    readings={
        "accepted": "the update is taken, and both clients are let in",
        "refused": "the update is refused, or a client is",
    },
    expected=by_default(SETTING, {"accepted": "accepted", "refused": "refused"}),
    ask=_ask,
    needs=Needs.GATEWAY,
    setting=SETTING,
)
