"""What a caller is told where there is no answer from upstream (RFC 9457). Says no address, no name and no key.

The cause in full is in the function's log, under the same request id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no answer from upstream.

    Attributes:
        code: stable, for programs; `docs/gateway.md` lists them.
        detail: for people. The caller sees it.
        allow: the methods that may be asked for, where another was (RFC 9110, section 15.5.6).
    """

    status: HTTPStatus
    code: str
    detail: str
    allow: tuple[str, ...] = ()

    def document(self, request_id: str) -> bytes:
        """The body, of the type `application/problem+json`."""
        return json.dumps(
            {
                "type": f"urn:mtls-rotation:problem:{self.code}",
                "title": self.status.phrase,
                "status": self.status.value,
                "detail": self.detail,
                "instance": f"urn:mtls-rotation:request:{request_id}",
            }
        ).encode()


class NoAnswerError(Exception):
    """There is no answer from upstream, and `problem` is what the caller is told instead."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.detail)


def unknown_route(name: str) -> Problem:
    """The path names no route."""
    return Problem(HTTPStatus.NOT_FOUND, "unknown-route", f"There is no route {name[:64]!r}.")


def method_not_allowed(method: str, allow: tuple[str, ...]) -> Problem:
    """The route does not allow the method."""
    detail = f"The route does not allow {method}."
    return Problem(HTTPStatus.METHOD_NOT_ALLOWED, "method-not-allowed", detail, allow)


def unusable_request(detail: str) -> Problem:
    """A path or header that is not passed on."""
    return Problem(HTTPStatus.BAD_REQUEST, "unusable-request", f"The request is not passed on: {detail}.")


def answer_too_large(limit: int) -> Problem:
    """The upstream's answer does not fit into a function's answer."""
    return Problem(HTTPStatus.BAD_GATEWAY, "answer-too-large", f"The upstream's answer has more than {limit} bytes.")


def too_slow(seconds: float) -> Problem:
    """The upstream did not answer in time."""
    return Problem(HTTPStatus.GATEWAY_TIMEOUT, "upstream-timeout", f"The upstream did not answer within {seconds:g} s.")


UNREACHABLE = Problem(HTTPStatus.BAD_GATEWAY, "upstream-unreachable", "No connection to the upstream could be made.")
BAD_SERVER_CERTIFICATE = Problem(
    HTTPStatus.BAD_GATEWAY, "upstream-certificate", "The upstream's certificate is not to be trusted."
)
REFUSED_CERTIFICATE = Problem(
    HTTPStatus.BAD_GATEWAY, "certificate-refused", "The upstream refused the gateway's client certificate."
)
TLS_FAILED = Problem(HTTPStatus.BAD_GATEWAY, "upstream-tls", "The TLS handshake with the upstream failed.")
BROKEN_ANSWER = Problem(HTTPStatus.BAD_GATEWAY, "upstream-protocol", "The upstream broke off, or did not speak HTTP.")
NO_CERTIFICATE = Problem(
    HTTPStatus.SERVICE_UNAVAILABLE, "no-client-certificate", "The gateway has no client certificate for this route."
)
MISCONFIGURED = Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no-route-table", "The gateway's route table cannot be read.")
