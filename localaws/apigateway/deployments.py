"""What a stage of a REST API serves: the API's definition as it was when the stage's deployment was made.

The emulator does so for gateway responses alone, and serves all else as the API is now.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from ministack.services import apigateway_v1 as store

from localaws.apigateway.exchange import current
from localaws.asgi import Answer

type Json = dict[str, Any]

STORES = ("_resources", "_authorizers_v1", "_rest_apis")
_definitions: dict[tuple[str, str], Json] = {}  # by API and deployment


def create(emulated: Callable[[str, Json], Answer], api_id: str, data: Json) -> Answer:
    """Create a deployment, and keep the API's definition with it."""
    answer = emulated(api_id, data)
    if answer[0] < 400:
        definition = {name: copy.deepcopy(getattr(store, name).get(api_id)) for name in STORES}
        _definitions[api_id, json.loads(answer[2])["id"]] = definition
    return answer


def definition_of(api_id: str, stage: str) -> Json | None:
    """Return what ``stage`` serves; None if it has no deployment that was made here."""
    record = store.stages_for_api(api_id).get(stage) or {}
    return _definitions.get((api_id, record.get("deploymentId", "")))


def view_of(name: str) -> Callable[[type], type]:
    """Return how to subclass a store's class so that it shows a request what was deployed, and else the API as it is.

    The emulator reads definitions from its stores, wherever it needs them.
    """

    def subclass(emulated: type) -> type:
        class DeployedView(emulated):  # type: ignore[misc]
            __slots__ = ()

            def get(self, key: str, default: Any = None) -> Any:
                exchange = current.get()
                if exchange is not None and exchange.deployed is not None and exchange.api_id == key:
                    return exchange.deployed[name]
                return super().get(key, default)

        return DeployedView

    return subclass
