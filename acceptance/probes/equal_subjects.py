"""Two anchors with one subject and different keys, in both orders."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.clients import authority, client_of
from acceptance.probes.api import Answer, Needs, Probe, UndecidedError
from acceptance.probes.settings import by_default
from acceptance.probes.truststores import ask_with
from mtls_rotation.pki.certificates import to_pem

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene

SETTING = "equal_subjects"


def _ask(run: Run, scene: Scene) -> Answer:
    cas = [authority("Acceptance equal CA") for _ in range(2)]
    clients = [client_of(ca, f"client {number}", scene.door.server_ca) for number, ca in enumerate(cas)]
    found, seen = set(), []
    for first, second in ((0, 1), (1, 0)):
        bundle = to_pem(cas[first].certificate) + to_pem(cas[second].certificate)
        tried = ask_with(run, scene, bundle, clients[first], clients[second])
        seen.append(str(tried))
        if tried.refused:
            found.add("the update is refused")
        else:
            found.add(_reading(*(it.status == 200 for it in tried.told)))
    detail = f"in one order: {seen[0]}; in the other: {seen[1]}"
    if len(found) > 1:
        raise UndecidedError(f"it depends on the order or on chance. {detail}")
    return Answer(found.pop(), detail)


def _reading(first: bool, last: bool) -> str:
    return {
        (True, True): "each is accepted",
        (True, False): "the first alone",
        (False, True): "the last alone",
        (False, False): "none",
    }[first, last]


PROBE = Probe(
    name="equal-subjects",
    question="Which clients are let in where two anchors have one subject and different keys?",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html",
    how="The domain is given two such CAs, in either order; a client of each asks.",
    readings={
        "each is accepted": "every anchor of that subject is tried",
        "the first alone": "the first anchor of that subject is taken",
        "the last alone": "the last one is taken",
        "none": "neither is",
        "the update is refused": "such a truststore is not taken",
    },
    expected=by_default(SETTING, {"any": "each is accepted", "first": "the first alone"}),
    ask=_ask,
    promise=True,
    needs=Needs.GATEWAY,
    setting=SETTING,
)
