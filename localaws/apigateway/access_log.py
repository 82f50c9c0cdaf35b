"""Access logs of REST API stages: a line a request, in the stage's format, written to its log group.

What a line can say is in ``context_variables.py``; whether a stage may log is decided in ``stage_logging.py``.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

from ministack import app as emulator
from ministack.core.responses import request_scope
from ministack.services import apigateway_v1 as store

from localaws.apigateway import context_variables
from localaws.apigateway.exchange import Exchange

type Json = dict[str, Any]

logger = logging.getLogger("localaws.apigateway.access_log")


async def write(exchange: Exchange, status: int, length: int) -> None:
    """Write the line of a request that was answered with ``status`` and a body of ``length`` bytes."""
    settings = (store.stages_for_api(exchange.api_id).get(exchange.stage) or {}).get("accessLogSettings") or {}
    destination, template = settings.get("destinationArn", ""), settings.get("format")
    scope = store.find_api_scope(exchange.api_id)
    if not destination or not template or scope is None:
        return
    latency = round((datetime.now(UTC) - exchange.received_at).total_seconds() * 1000)
    answered = {"status": status, "responseLength": length, "responseLatency": latency}
    variables = context_variables.of(exchange) | answered
    variables["accountId"] = variables["accountId"] or scope[0]
    line = context_variables.render(template, variables, absent="-")
    group = destination.partition(":log-group:")[2].removesuffix(":*")
    # One stream for a stage; AWS spreads over several, with names of this form.
    stream = hashlib.md5(f"{exchange.api_id}/{exchange.stage}".encode(), usedforsecurity=False).hexdigest()
    event = {"timestamp": int(time.time() * 1000), "message": line}
    names = {"logGroupName": group, "logStreamName": stream}
    with request_scope(*scope):
        if not await _call("PutLogEvents", names | {"logEvents": [event]}):
            await _call("CreateLogStream", names)
            if not await _call("PutLogEvents", names | {"logEvents": [event]}):
                logger.warning("no access log of %s/%s: there is no %s", exchange.api_id, exchange.stage, group)


async def _call(action: str, request: Json) -> bool:
    headers = {"x-amz-target": f"Logs_20140328.{action}", "content-type": "application/x-amz-json-1.1"}
    status, _, _ = await emulator.SERVICE_HANDLERS["logs"]("POST", "/", headers, json.dumps(request).encode(), {})
    return bool(status < 400)
