"""When a REST API's stage may log: the account has a role for it, and AWS would accept the settings.

``access_log.py`` writes the lines.
"""

from __future__ import annotations

import json
import re
from typing import Any

from localaws.asgi import Answer, Handler, Headers, Query, ServiceError

type Json = dict[str, Any]

_ACCESS_LOG = "/accessLogSettings/"
_LEVEL = "/logging/loglevel"
_DESTINATION = re.compile(
    r"arn:aws[a-z-]*:(logs:[a-z0-9-]+:\d{12}:log-group:[^:*]+|firehose:[a-z0-9-]+:\d{12}:deliverystream/amazon-apigateway-.+)"
)
_REQUEST_IDS = ("$context.requestId", "$context.extendedRequestId")


class StageLogging:
    """Refuses UpdateStage where AWS would for the sake of logging; all else goes to the handler that it wraps."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle(self, method: str, path: str, headers: Headers, body: bytes, query: Query) -> Answer:
        """Answer one request; the signature is the emulator's for every service."""
        if method == "PATCH" and re.fullmatch(r"/restapis/[^/]+/stages/[^/]+", path):
            operations = json.loads(body or b"{}").get("patchOperations") or []
            try:
                for problem in map(_problem_with, operations):
                    if problem is not None:
                        raise ServiceError("BadRequestException", problem)
                if any(map(_turns_logging_on, operations)) and not await self._role(headers):
                    message = "CloudWatch Logs role ARN must be set in account settings to enable logging"
                    raise ServiceError("BadRequestException", message)
            except ServiceError as error:
                return error.answer("application/json")
        return await self._handler(method, path, headers, body, query)

    async def _role(self, headers: Headers) -> str:
        _, _, account = await self._handler("GET", "/account", headers, b"", {})
        return str(json.loads(account).get("cloudwatchRoleArn") or "")


def _turns_logging_on(operation: Json) -> bool:
    path, value = operation.get("path", ""), operation.get("value")
    if operation.get("op") == "remove" or not value:
        return False
    return bool(path.startswith(_ACCESS_LOG) or (path.endswith(_LEVEL) and value != "OFF"))


def _problem_with(operation: Json) -> str | None:
    path, value = operation.get("path", ""), str(operation.get("value") or "")
    if operation.get("op") == "remove" or not value:
        return None
    if path == f"{_ACCESS_LOG}destinationArn" and not _DESTINATION.fullmatch(value):
        return f"Invalid ARN specified in the request: {value} is neither a log group nor a stream for access logs."
    if path == f"{_ACCESS_LOG}format" and "\n" in value.rstrip("\n"):
        return "Access Log Format must be single line, new line character is allowed only at end of the format"
    if path == f"{_ACCESS_LOG}format" and not any(name in value for name in _REQUEST_IDS):
        return "The access log format must include $context.requestId or $context.extendedRequestId."
    return None
