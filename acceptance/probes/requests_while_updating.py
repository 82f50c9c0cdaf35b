"""Requests that are sent while a domain is UPDATING."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance.probes.api import Answer, Needs, Probe, UndecidedError
from acceptance.sightings import UPDATING

if TYPE_CHECKING:
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _ask(_: Run, scene: Scene) -> Answer:
    updates = [it for it in scene.sightings if it.status == UPDATING]
    meanwhile = [it for it in scene.requests if any(up.began <= it.at <= up.ended for up in updates)]
    if not meanwhile:
        raise UndecidedError(f"no request was sent during one of {len(updates)} updates, as far as was seen")
    failed = [it.failure for it in meanwhile if it.failure]
    detail = f"{len(failed)} of {len(meanwhile)} requests during {len(updates)} updates failed"
    return Answer("some fail" if failed else "none fails", f"{detail}{f': {failed[0]}' if failed else ''}")


PROBE = Probe(
    name="requests-while-updating",
    question="Do requests of clients that are trusted before and after fail while a domain is UPDATING?",
    source="https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html",
    how="The requests of the gateway's scenario are looked at that were sent during an update.",
    readings={"none fails": "what was trusted is let in all the while", "some fail": "requests fail meanwhile"},
    expected="none fails",
    ask=_ask,
    promise=True,
    needs=Needs.GATEWAY,
    setting="requests_while_updating",
)
