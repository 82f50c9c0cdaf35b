"""What a function behind a Lambda proxy integration of a REST API may answer, and what of it reaches the client. Pure.

That no member is needed and no unknown one allowed is not in AWS's pages; it is as observed.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from localaws.apigateway.exchange import BAD_GATEWAY, NOT_BASE64, Failure

type Json = dict[str, Any]

# Lambda's quota for a synchronous answer, and the 100 bytes that it has over the quota of requests.
_ANSWER_BYTES = 6 * 1024 * 1024 + 100
# All may be left out, and there may be no others.
_MEMBERS = {"isBase64Encoded", "statusCode", "headers", "multiValueHeaders", "body"}
_REMAPPED = {
    "authorization",
    "connection",
    "content-length",
    "content-md5",
    "date",
    "max-forwards",
    "server",
    "user-agent",
    "warn",
    "www-authenticate",
}
_DROPPED = {"expect", "host", "keep-alive", "proxy-authenticate", "te", "trailer", "transfer-encoding", "upgrade"}


class RefusedAnswerError(ValueError):
    """API Gateway does not pass a function's answer on; ``failure`` is what it answers instead."""

    def __init__(self, message: str, failure: Failure = BAD_GATEWAY) -> None:
        super().__init__(message)
        self.failure = failure


def read(result: Json) -> Json:
    """Return a function's answer with all headers as lists, named as the client gets them.

    Raises:
        RefusedAnswerError: the function failed, or its answer is too large or malformed.
    """
    answer = result.get("body")
    if result.get("error"):
        raise RefusedAnswerError("The function failed.")
    if isinstance(answer, str | bytes):
        try:
            answer = json.loads(answer)
        except ValueError as error:
            raise RefusedAnswerError("Malformed Lambda proxy response: not a JSON object") from error
    if len(json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()) > _ANSWER_BYTES:
        raise RefusedAnswerError("The function's answer is larger than 6 MB.")
    if not isinstance(answer, dict):
        raise RefusedAnswerError("Malformed Lambda proxy response: not a JSON object")
    if unknown := answer.keys() - _MEMBERS:
        raise RefusedAnswerError(f"Malformed Lambda proxy response: unknown members {sorted(unknown)}")
    body = answer.get("body")
    if not isinstance(body, str | None):
        raise RefusedAnswerError("Malformed Lambda proxy response: the body is not a string")
    if answer.get("isBase64Encoded"):
        try:
            base64.b64decode(body or "")
        except binascii.Error as error:
            raise RefusedAnswerError("The body is not base64.", NOT_BASE64) from error
    return {
        "statusCode": _status(answer),
        "multiValueHeaders": _passed_on(_merged(answer)),
        "body": body or "",
        "isBase64Encoded": bool(answer.get("isBase64Encoded")),
    }


def _status(answer: Json) -> int:
    try:
        return int(answer.get("statusCode") or 200)
    except (TypeError, ValueError) as error:
        raise RefusedAnswerError("Malformed Lambda proxy response: the statusCode is not a number") from error


def _merged(answer: Json) -> dict[str, list[str]]:
    """Return ``headers`` and ``multiValueHeaders`` as one; a pair that is in both comes once."""
    single, multi = answer.get("headers") or {}, answer.get("multiValueHeaders") or {}
    if not isinstance(single, dict) or not isinstance(multi, dict):
        raise RefusedAnswerError("Malformed Lambda proxy response: the headers are not an object")
    merged: dict[str, list[str]] = {}
    spelled = {name.lower(): name for name in (*single, *multi)}
    for name, value in single.items():
        merged[spelled[name.lower()]] = [_text(value)]
    for name, values in multi.items():
        several = [_text(value) for value in (values if isinstance(values, list) else [values])]
        first = [value for value in merged.get(spelled[name.lower()], []) if value not in several]
        merged[spelled[name.lower()]] = first + several
    return merged


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        raise RefusedAnswerError("Malformed Lambda proxy response: a header is not a string")
    return value


def _passed_on(headers: dict[str, list[str]]) -> dict[str, list[str]]:
    return {
        (f"x-amzn-Remapped-{name}" if name.lower() in _REMAPPED else name): values
        for name, values in headers.items()
        if name.lower() not in _DROPPED
    }
