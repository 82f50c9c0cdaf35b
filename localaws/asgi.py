"""The shapes that requests and answers have between the emulator's front end and its services.

An answer that is an error is made here, so that every service words it the same way.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

type Headers = dict[str, Any]
type Query = dict[str, Any]
type Answer = tuple[int, Headers, Any]
type Handler = Callable[[str, str, Headers, bytes, Query], Awaitable[Answer]]


class ServiceError(Exception):
    """An error answer of an AWS service.

    Attributes:
        code: the error code that SDKs show, such as ``ResourceNotFoundException``.
        status: the HTTP status.
        headers: extra headers, such as ``Retry-After``.
    """

    def __init__(self, code: str, message: str, status: int = 400, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.headers = headers or {}

    def answer(self, content_type: str = "application/x-amz-json-1.1") -> Answer:
        """Return it as an HTTP answer that both the JSON and the REST protocol understand."""
        body = json.dumps({"__type": self.code, "message": self.message, "Message": self.message})
        return self.status, {"Content-Type": content_type, "x-amzn-errortype": self.code} | self.headers, body.encode()


def json_answer(body: dict[str, Any], status: int = 200, content_type: str = "application/x-amz-json-1.1") -> Answer:
    """Return ``body`` as an answer; members that are ``None`` are left out, as AWS does."""
    present = {name: value for name, value in body.items() if value is not None}
    return status, {"Content-Type": content_type}, json.dumps(present).encode()
