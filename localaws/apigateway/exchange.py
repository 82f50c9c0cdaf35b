"""One request to an API of API Gateway on its way to its answer: what events, gateway responses and logs say of it.

``doors/`` makes it. No rule of API Gateway lives here.
"""

from __future__ import annotations

import contextvars
import secrets
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True)
class Request:
    """What a client sent, untouched.

    Attributes:
        path: still percent-encoded, without the query.
        query: what stood after the question mark, still encoded.
        headers: every line in its order.
    """

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    source_ip: str
    protocol: str = "HTTP/1.1"

    def values(self, name: str) -> list[str]:
        """Return what was sent under the header ``name``, a line each."""
        return [value for sent, value in self.headers if sent.lower() == name]

    def joined_headers(self) -> dict[str, str]:
        """Return the headers with a name in lower case once, as the emulator takes them."""
        joined: dict[str, str] = {}
        for name, value in self.headers:
            key = name.lower()
            joined[key] = f"{joined[key]}{'; ' if key == 'cookie' else ', '}{value}" if key in joined else value
        return joined


@dataclass(frozen=True)
class Failure:
    """Why API Gateway answers itself: the gateway response, and what ``$context.error`` says."""

    response_type: str
    message: str
    error_type: str
    status: int | None = None


TOO_LARGE = Failure("REQUEST_TOO_LARGE", "Request Too Long", "BadRequestException")
URI_TOO_LONG = Failure("DEFAULT_4XX", "Request URI too long", "BadRequestException", 414)
AUTHORIZER_ANSWER_TOO_LARGE = Failure(
    "AUTHORIZER_CONFIGURATION_ERROR", "Internal server error", "AuthorizerConfigurationException"
)
BAD_GATEWAY = Failure("DEFAULT_5XX", "Internal server error", "InternalServerErrorException", 502)
TIMED_OUT = Failure("INTEGRATION_TIMEOUT", "Endpoint request timed out", "InternalServerErrorException")
# Lambda's 429 is none of the client's: https://repost.aws/knowledge-center/api-gateway-internal-server-error
THROTTLED = Failure("DEFAULT_5XX", "Internal server error", "InternalServerErrorException", 500)
NOT_BASE64 = Failure("API_CONFIGURATION_ERROR", "Internal server error", "InternalServerErrorException")


@dataclass
class Exchange:
    """A request on its way through an API.

    Attributes:
        stage_path: ``requestContext.path``: with the stage, or the base path of a custom domain.
        event_path: ``path`` of events: without the stage, with the base path of a custom domain.
        deployed: the definition that the stage serves.
        context: the ``requestContext`` that a function got.
        authorizer: what an authorizer answered as its context, in strings.
        failure: set where this side of the emulator finds that API Gateway has to answer itself.
        error: ``$context.error``, once API Gateway answered itself.
        answered_headers: the names, in lower case, of the headers that the function answered.
    """

    request: Request
    api_id: str
    stage: str
    domain_name: str
    stage_path: str
    event_path: str
    client_certificate: dict[str, Any] | None = None
    deployed: dict[str, Any] | None = None
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    extended_request_id: str = field(default_factory=lambda: f"{secrets.token_urlsafe(11)}=")
    trace_id: str = field(default_factory=lambda: f"1-{int(time.time()):08x}-{secrets.token_hex(12)}")
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    context: dict[str, Any] = field(default_factory=dict)
    authorizer: dict[str, str] = field(default_factory=dict)
    integration: dict[str, Any] = field(default_factory=dict)
    failure: Failure | None = None
    error: dict[str, Any] = field(default_factory=dict)
    answered_headers: frozenset[str] | None = None


# The exchange that is going on: the emulator's data plane has no place to carry it.
current: contextvars.ContextVar[Exchange | None] = contextvars.ContextVar("exchange", default=None)
