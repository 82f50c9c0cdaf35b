"""How long a domain is UPDATING."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.probes.api import Answer, Needs, Probe, UndecidedError
from acceptance.sightings import UPDATING

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(_: Run, scene: Scene) -> Answer:
    took = sorted(round(it.seconds, 1) for it in scene.sightings if it.status == UPDATING)
    others = sorted({it.status for it in scene.sightings} - {UPDATING, "AVAILABLE"})
    if not took:
        raise UndecidedError("no update was seen")
    detail = f"{len(took)} updates: {took} s, as far as was seen; other states: {', '.join(others) or 'none'}"
    return Answer("under a minute" if took[-1] < 60 else "under ten minutes" if took[-1] < 600 else "longer", detail)


PROBE = Probe(
    name="updating-duration",
    question="How long is a domain UPDATING after its truststore was moved?",
    source="https://docs.aws.amazon.com/apigateway/latest/api/API_UpdateDomainName.html",
    how="The domain is looked at all the while that the gateway's scenario changes it.",
    readings={
        "under a minute": "each update",
        "under ten minutes": "the longest one",
        "longer": "the longest one",
    },
    expected="under a minute",
    ask=_ask,
    promise=True,
    needs=Needs.GATEWAY,
    setting="domain_update_time",
)
