"""https: a GET, and the HTTP statuses that prove acceptance."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from mtls_rotation.contract.endpoint import EndpointSettings
from mtls_rotation.provers.api import Answer
from mtls_rotation.provers.handshake import Protocol, UnexpectedAnswerError, prove_by

if TYPE_CHECKING:
    import ssl

    from mtls_rotation.provers.api import Identity, Proof
    from mtls_rotation.timing import Deadline

_PORT = 443
# API Gateway completes the handshake of a certificate that it does not trust, and answers the request with status 403
# and this error: https://repost.aws/knowledge-center/api-gateway-mutual-tls-403-errors. So it answers a path without an
# API, too, a wrong API key, and what AWS WAF blocks; a denial by the API itself has another name:
# https://repost.aws/knowledge-center/api-gateway-troubleshoot-403-forbidden. Gateway responses may change the status.
_ERROR, _REFUSAL = "x-amzn-errortype", "ForbiddenException"


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
        with http.getresponse() as response:
            status, named = response.status, response.getheader(_ERROR, "").partition(":")[0].strip()
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


PROVER = HttpsProver()
