"""https: a GET, and the HTTP statuses that prove acceptance."""

from __future__ import annotations

from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import Field

from mtls_rotation.contract.endpoint import EndpointSettings
from mtls_rotation.provers.api import Answer
from mtls_rotation.provers.handshake import Protocol, UnexpectedAnswerError, prove_by

if TYPE_CHECKING:
    import ssl

    from mtls_rotation.provers.api import Identity, Proof
    from mtls_rotation.timing import Deadline


class HttpsSettings(EndpointSettings):
    """What an `endpoint` says whose URL is asked for with GET.

    Attributes:
        expected_status: the HTTP statuses that prove acceptance. Redirects are not followed.
    """

    expected_status: Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...], Field(min_length=1)] = (200,)


class HttpsProver:
    """Asks an endpoint for its URL."""

    Settings = HttpsSettings

    def prove(self, settings: HttpsSettings, identity: Identity, deadline: Deadline) -> Proof:
        """Ask once."""
        protocol = Protocol(443, lambda secure: _get(secure, settings))
        return prove_by(protocol, settings, identity, deadline)


def _get(secure: ssl.SSLSocket, settings: HttpsSettings) -> Answer:
    url = urlsplit(settings.url)
    http = HTTPConnection(url.netloc)
    http.sock = secure
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    headers = {"Host": url.netloc, "Connection": "close", "User-Agent": "mtls-rotation"}
    try:
        http.request("GET", target, headers=headers)
        with http.getresponse() as response:
            status = response.status
    except ConnectionError:
        raise
    except HTTPException as error:
        raise UnexpectedAnswerError(str(error) or type(error).__name__) from None
    text = f"HTTP status {status}"
    if status in settings.expected_status:
        return Answer(text, http_status=status)
    expected = " or ".join(map(str, settings.expected_status))
    return Answer(text, f"{text}, where {expected} was expected", status)


PROVER = HttpsProver()
