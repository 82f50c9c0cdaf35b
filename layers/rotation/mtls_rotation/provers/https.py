"""https: a GET, and the HTTP statuses that prove acceptance.

Of an answer the status and one header are looked at. So no more is read than its head (RFC 9112, 2.1), up to a bound,
and what a body would hold, or unpack to, is never seen.
"""

from __future__ import annotations

import io
import re
from http.client import HTTPConnection, HTTPException, parse_headers
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from mtls_rotation.contract.endpoint import EndpointSettings
from mtls_rotation.provers.api import Answer
from mtls_rotation.provers.handshake import READ_TIMEOUT, Protocol, UnexpectedAnswerError, prove_by
from mtls_rotation.timing import Deadline

if TYPE_CHECKING:
    import ssl

    from mtls_rotation.provers.api import Identity, Proof

_PORT = 443
# API Gateway completes the handshake of a certificate that it does not trust, and answers the request with status 403
# and this error: https://repost.aws/knowledge-center/api-gateway-mutual-tls-403-errors. So it answers a path without an
# API, too, a wrong API key, and what AWS WAF blocks; a denial by the API itself has another name:
# https://repost.aws/knowledge-center/api-gateway-troubleshoot-403-forbidden. Gateway responses may change the status.
_ERROR, _REFUSAL = "x-amzn-errortype", "ForbiddenException"
# Bytes that the head of an answer may have, with those of interim answers before it. Servers bound what they are sent
# at 8 KiB to 64 KiB, and send less themselves.
_LONGEST_HEAD = 65_536
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: [^\r\n]*)?\r?\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class HttpsSettings(EndpointSettings):
    """What an `endpoint` says whose URL is asked for with GET.

    Attributes:
        expected_status: the HTTP statuses that prove acceptance. Redirects are not followed. A ForbiddenException of
            API Gateway proves nothing, whatever its status.
    """

    expected_status: Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...], Field(min_length=1)] = (200,)


class HttpsProver:
    """Asks an endpoint for its URL."""

    Settings = HttpsSettings

    def prove(self, settings: HttpsSettings, identity: Identity, deadline: Deadline) -> Proof:
        """Ask once."""
        protocol = Protocol(_PORT, lambda secure: _get(secure, settings))
        return prove_by(protocol, settings, identity, deadline)


def _get(secure: ssl.SSLSocket, settings: HttpsSettings) -> Answer:
    try:
        url = parse_url(settings.url)
        server = f"{url.host}:{url.port}" if url.port not in {None, _PORT} else str(url.host)
        http = HTTPConnection(server)
        http.sock = secure
        headers = {"Host": server, "Connection": "close", "User-Agent": "mtls-rotation"}
        # As RFC 3986 has it: without dot segments, and what may not stand in a URL is percent-encoded.
        http.request("GET", url.request_uri, headers=headers)
        status, named = _answer(secure)
    except ConnectionError:
        raise
    except (HTTPException, LocationParseError) as error:
        raise UnexpectedAnswerError(str(error) or type(error).__name__) from None
    text = f"HTTP status {status}"
    if named == _REFUSAL:
        problem = f"{text} with {_REFUSAL}, API Gateway's answer to a certificate that it does not trust"
        return Answer(text, f"{problem}, and to a path without an API", status, refuses=True)
    if status in settings.expected_status:
        return Answer(text, http_status=status)
    expected = " or ".join(map(str, settings.expected_status))
    return Answer(text, f"{text}, where {expected} was expected", status)


def _answer(secure: ssl.SSLSocket) -> tuple[int, str]:
    """The status of the answer, and the error that API Gateway names in its head; empty if none.

    Raises:
        UnexpectedAnswerError: it is no HTTP, or its head has no end within the bound.
        HTTPException: its head cannot be read.
        OSError: it did not come in time, however it trickles in, or the connection ended.
    """
    deadline, received, left = Deadline.within(READ_TIMEOUT), b"", _LONGEST_HEAD
    while True:
        while (end := _END_OF_HEAD.search(received)) is None:
            if not left:
                raise UnexpectedAnswerError(f"an answer whose head has more than {_LONGEST_HEAD} bytes")
            if not (more := _read(secure, left, deadline)):
                raise ConnectionResetError("closed before the head of an answer was over")
            received, left = received + more, left - len(more)
        head, received = received[: end.end()], received[end.end() :]
        line = _STATUS_LINE.match(head)
        if line is None:
            raise UnexpectedAnswerError(f"no HTTP: {head[:40]!r}")
        if 100 <= (status := int(line[1])) < 200 and status != 101:
            continue  # an interim answer (RFC 9110, 15.2): what counts comes after it
        named = parse_headers(io.BytesIO(head[line.end() :])).get(_ERROR, "")
        return status, named.partition(":")[0].strip()


def _read(secure: ssl.SSLSocket, most: int, deadline: Deadline) -> bytes:
    if not (seconds := deadline.remaining()):
        raise TimeoutError
    secure.settimeout(seconds)
    return secure.recv(min(most, 8192))


PROVER = HttpsProver()
