"""Calls of the emulator's services from the worker thread of a stack operation: the rules of a request apply."""

from __future__ import annotations

import json
from typing import Any

from ministack import app as emulator

_TARGETS = {"secretsmanager": "secretsmanager", "wafv2": "AWSWAF_20190729"}


class CallFailedError(ValueError):
    """A service refused; the message is what the stack's event shows."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, Any]) -> None:
        super().__init__(f"{message} (Service error: {code}; Status Code: {status})")
        self.status = status
        self.retry_after_seconds = float(headers.get("Retry-After", 1))


def call_service(service: str, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call a service of the emulator; where it has actions and no paths, ``path`` is the action.

    Raises:
        CallFailedError: the answer is an error.
    """
    headers: dict[str, str] = {}
    if service in _TARGETS:
        headers, path = {"x-amz-target": f"{_TARGETS[service]}.{path}"}, "/"
    handler = emulator.SERVICE_HANDLERS[service]
    status, answered, raw = emulator.call_service_handler_sync(
        handler, method, path, headers, json.dumps(body).encode(), {}
    )
    answer: dict[str, Any] = json.loads(raw) if raw else {}
    if status >= 400:
        raise CallFailedError(status, answer.get("__type", "Error"), str(answer.get("message")), answered)
    return answer
