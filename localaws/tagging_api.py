"""The Resource Groups Tagging API where the emulator departs from AWS: GetResources has pages, and no untagged ones."""

from __future__ import annotations

import json

from localaws.asgi import Answer, Handler, Headers, Query, ServiceError, json_answer
from localaws.paging import page

_LARGEST_PAGE = 100


class TaggingApi:
    """Answers requests of the Tagging API, wrapping the emulator's handler."""

    def __init__(self, emulator: Handler) -> None:
        self._emulator = emulator

    async def handle(self, method: str, path: str, headers: Headers, body: bytes, query: Query) -> Answer:
        """Answer one request; the signature is the emulator's for every service."""
        answer = await self._emulator(method, path, headers, body, query)
        if answer[0] >= 400 or not str(headers.get("x-amz-target", "")).endswith(".GetResources"):
            return answer
        asked = json.loads(body or b"{}")
        size = asked.get("ResourcesPerPage") or _LARGEST_PAGE
        tagged = [found for found in json.loads(answer[2])["ResourceTagMappingList"] if found["Tags"]]
        try:
            if not 1 <= size <= _LARGEST_PAGE:
                raise ServiceError("InvalidParameterException", f"ResourcesPerPage is 1 to {_LARGEST_PAGE}; got {size}")
            shown, token = page(tagged, size, asked.get("PaginationToken"))
        except ServiceError as error:
            return error.answer()
        except ValueError:
            return ServiceError("InvalidParameterException", "The PaginationToken is invalid.").answer()
        return json_answer({"ResourceTagMappingList": shown, "PaginationToken": token or ""})
