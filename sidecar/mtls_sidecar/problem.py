"""What the proxy answers where the upstream's answer cannot be had: problem details, RFC 9457."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from aiohttp import web

from mtls_client import MtlsClientError
from mtls_sidecar.headers import PSEUDONYM

_MEDIA_TYPE = "application/problem+json"


class _Bare(web.Response):
    """Without what aiohttp would say of itself."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.popall("Server", None)


@dataclass(eq=False)
class Problem(Exception):  # noqa: N818 - the name that RFC 9457 gives it
    """Why there is no answer from the upstream.

    Attributes:
        status: of the answer.
        code: stable, for programs. Where the upstream is to blame it is a proxy error type of RFC 9209, 2.3, and is in
            the field Proxy-Status as well.
        detail: for people.
        retry_after: in how many seconds it is worth another try; None where that cannot be told.
        upstream: whether the upstream is to blame.
        ends_connection: whether it is in doubt where the request ends, so that nothing may follow it: RFC 9112, 6.1.
    """

    status: int
    code: str
    detail: str
    retry_after: int | None = None
    upstream: bool = False
    ends_connection: bool = False

    def response(self) -> web.Response:
        """The answer."""
        response = _Bare(status=self.status, body=self._document(), content_type=_MEDIA_TYPE)
        if self.ends_connection:
            response.force_close()
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        if self.upstream:
            response.headers["Proxy-Status"] = f"{PSEUDONYM}; error={self.code}"
        return response

    def message(self) -> bytes:
        """The answer to the byte, for a connection on which no request has come and none will: RFC 9112, 9.6."""
        document = self._document()
        lines = [
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}",
            f"Content-Type: {_MEDIA_TYPE}",
            f"Content-Length: {len(document)}",
            "Connection: close",
            *([] if self.retry_after is None else [f"Retry-After: {self.retry_after}"]),
        ]
        return "\r\n".join([*lines, "", ""]).encode() + document

    def _document(self) -> bytes:
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        return json.dumps(document).encode()


def _upstream(status: HTTPStatus, code: str, detail: str) -> Problem:
    return Problem(status, code, detail, upstream=True)


def of_failure(error: BaseException) -> Problem:
    """What a failed request to the upstream was about.

    Args:
        error: what aiohttp or the client certificate raised.
    """
    match error:
        case MtlsClientError():
            return no_valid_certificate()
        case aiohttp.ConnectionTimeoutError():
            return _upstream(
                HTTPStatus.GATEWAY_TIMEOUT, "connection_timeout", "Connecting to the upstream took too long."
            )
        case asyncio.TimeoutError():
            return _upstream(
                HTTPStatus.GATEWAY_TIMEOUT, "http_response_timeout", "The upstream's answer took too long."
            )
        case aiohttp.ClientConnectorDNSError():
            return _upstream(HTTPStatus.BAD_GATEWAY, "dns_error", "The upstream's name could not be resolved.")
        case aiohttp.ClientConnectorCertificateError():
            detail = "The upstream's certificate is not to be trusted, or is not for its name."
            return _upstream(HTTPStatus.BAD_GATEWAY, "tls_certificate_error", detail)
    if (alert := _alert_in(error)) is not None:
        detail = f"The upstream ended the TLS connection with the alert {alert}."
        return _upstream(HTTPStatus.BAD_GATEWAY, "tls_alert_received", detail)
    match error:
        case aiohttp.ClientConnectorSSLError():
            return _upstream(
                HTTPStatus.BAD_GATEWAY, "tls_protocol_error", "No TLS connection to the upstream came about."
            )
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return _upstream(HTTPStatus.BAD_GATEWAY, "connection_refused", "The upstream refused the connection.")
        case aiohttp.ClientConnectorError():
            return _upstream(HTTPStatus.BAD_GATEWAY, "destination_unavailable", "The upstream could not be reached.")
        case aiohttp.ClientResponseError():
            detail = "What the upstream answered is not valid HTTP/1.1, or its head is larger than allowed."
            return _upstream(HTTPStatus.BAD_GATEWAY, "http_protocol_error", detail)
        case aiohttp.ClientPayloadError():
            return _upstream(HTTPStatus.BAD_GATEWAY, "http_response_incomplete", "The upstream's answer broke off.")
    detail = "The upstream ended the connection before it had answered."
    return _upstream(HTTPStatus.BAD_GATEWAY, "connection_terminated", detail)


def no_valid_certificate() -> Problem:
    """There is nothing to present to the upstream."""
    detail = "There is no valid client certificate at the moment. The sidecar's log and /readyz tell why."
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no_valid_certificate", detail, retry_after=5)


def _alert_in(error: BaseException | None) -> str | None:
    """The TLS alert that the error came from, such as UNKNOWN_CA, which OpenSSL calls TLSV1_ALERT_UNKNOWN_CA."""
    seen = 0
    while error is not None and seen < 10:
        for it in (error, getattr(error, "os_error", None)):
            if isinstance(it, ssl.SSLError) and "_ALERT_" in (it.reason or ""):
                return (it.reason or "").partition("_ALERT_")[2]
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
