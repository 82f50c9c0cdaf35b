"""What probes ask the gateway: one request, and what came of it, in words."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 60.0


@dataclass(frozen=True)
class Told:
    """What came of a request.

    Attributes:
        status: the answer's; `None` where the connection ended without one.
        said: the body's beginning, or what the connection ended with.
    """

    status: int | None
    headers: Mapping[str, str]
    said: str

    def __str__(self) -> str:
        if self.status is None:
            return f"the connection ended: {self.said}"
        kept = ("content-type", "x-amzn-errortype", "x-amzn-requestid", "x-amz-apigw-id")
        told = ", ".join(f"{name}: {self.headers[name]}" for name in kept if name in self.headers)
        return f"HTTP {self.status} ({told}): {self.said}"


def request(url: str, context: ssl.SSLContext, *, method: str = "GET", body: bytes | None = None) -> Told:
    """Send one request on a new connection."""
    try:
        with httpx.Client(verify=context, timeout=TIMEOUT, trust_env=False) as client:
            response = client.request(method, url, content=body)
    except httpx.HTTPError as error:
        return Told(None, {}, f"{type(error).__name__}: {error}")
    return Told(response.status_code, {k.lower(): v for k, v in response.headers.items()}, response.text[:200])
