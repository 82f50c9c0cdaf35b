"""What a stage of a REST API serves: the API's definition as it was when the stage's deployment was made.

The emulator keeps gateway responses that way, and serves all else as it is now.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from ministack.core.responses import AccountRegionScopedDict
from ministack.services import apigateway_v1 as store

from localaws.apigateway.exchange import current
from localaws.asgi import Answer

type Json = dict[str, Any]

_PARTS = ("_resources", "_authorizers_v1", "_rest_apis")
_definitions: dict[tuple[str, str], Json] = {}  # by API and deployment


def install() -> None:
    """Keep the definition with every deployment, and let requests find that one.

    The emulator reads a definition from its stores, wherever it is needed. So while a request is answered the stores
    show what was deployed; to all others they show the API as it is.
    """
    emulated = store._create_deployment

    def create(api_id: str, data: Json) -> Answer:
        answer: Answer = emulated(api_id, data)
        if answer[0] < 400:
            definition = {part: copy.deepcopy(getattr(store, part).get(api_id)) for part in _PARTS}
            _definitions[api_id, json.loads(answer[2])["id"]] = definition
        return answer

    store._create_deployment = create
    for part in _PARTS:
        getattr(store, part).__class__ = _as_deployed(part)


def definition_of(api_id: str, stage: str) -> Json | None:
    """Return what ``stage`` serves; None if it has no deployment that was made here."""
    record = store.stages_for_api(api_id).get(stage) or {}
    return _definitions.get((api_id, record.get("deploymentId", "")))


def _as_deployed(part: str) -> type:
    class AsDeployed(AccountRegionScopedDict):  # type: ignore[misc]
        __slots__ = ()

        def get(self, key: str, default: Any = None) -> Any:
            exchange = current.get()
            if exchange is not None and exchange.deployed is not None and exchange.api_id == key:
                return exchange.deployed[part]
            return super().get(key, default)

    return AsDeployed
