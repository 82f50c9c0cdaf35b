"""Tells the answers by which a server may have refused the client certificate from all others. Calls nothing.

Most servers end the connection with an alert, of which `refusal` knows. Amazon API Gateway lets the handshake pass, and
answers with status 403 to a certificate whose issuer it does not know, whose signature is insecure, or that is
self-signed (https://repost.aws/knowledge-center/api-gateway-mutual-tls-403-errors). It does so for other reasons, too,
such as AWS WAF (https://repost.aws/knowledge-center/api-gateway-troubleshoot-403-forbidden). So none of it is certain:
it is a reason to ask whether there is a newer certificate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# What the stack's gateway answers when its authorizer keeps a caller out, such as one whose certificate is revoked.
DENIED = "urn:mtls-rotation:problem:denied"
FORBIDDEN = 403
# No lower status refuses anything.
LOWEST = 400
# Problem details (RFC 9457) that are longer are not the gateway's. Bytes.
LONGEST = 16 * 1024
_PROBLEM = "application/problem+json"
_ERROR_TYPES = frozenset({"AccessDeniedException", "ForbiddenException"})
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_NO_WORD = re.compile(r"[^a-z0-9]")
# By which some servers take another method than the request line has, in the spelling that names are compared in.
_OVERRIDES = frozenset({"x-http-method-override", "x-http-method", "x-method-override"})


@dataclass(frozen=True, slots=True)
class Answered:
    """A request, and the head of the answer to it.

    Attributes:
        origin: whom the request was sent to.
        method: the request's.
        sent: the names of the request's header fields.
        status: the answer's.
        fields: the answer's header fields, by names in any case.
        version_id: of the certificate that was presented.
    """

    origin: str
    method: str
    sent: Iterable[str]
    status: int
    fields: Mapping[str, str]
    version_id: str

    @property
    def is_repeatable(self) -> bool:
        """Whether the request may be made again though the server may have acted on it.

        By its method (RFC 9110, 9.2.2), or as its sender says so by an Idempotency-Key
        (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/). A field may name another method.
        """
        # Servers that hand fields on as variables (CGI, WSGI) take "_" for "-", and some, such as lighttpd, "." or "+".
        names = {_NO_WORD.sub("-", name.lower()) for name in self.sent}
        return "idempotency-key" in names or (self.method.upper() in _IDEMPOTENT and not _OVERRIDES & names)

    @property
    def is_api_gateways_own(self) -> bool:
        """Whether API Gateway says that it denies the request."""
        return self.status == FORBIDDEN and self.fields.get("x-amzn-errortype", "").partition(":")[0] in _ERROR_TYPES

    @property
    def has_problem(self) -> bool:
        """Whether the body says more, and is short enough to be read at once: see `is_denial`.

        A length beside a Transfer-Encoding says nothing (RFC 9112, section 6.3).
        """
        length = self.fields.get("Content-Length", "")
        return (
            self.status == FORBIDDEN
            and self.fields.get("Content-Type", "").partition(";")[0].strip().lower() == _PROBLEM
            and not {"Content-Encoding", "Transfer-Encoding"} & {it.title() for it in self.fields}
            and length.isascii()
            and length.isdigit()
            and len(length) < 6
            and int(length) <= LONGEST
        )


def is_denial(answered: Answered, body: bytes) -> bool:
    """Whether an answer that `has_problem` may be what the stack's gateway says to those whom it keeps out."""
    if answered.method.upper() == "HEAD":
        return True  # there is no body that would say which problem it is
    try:
        problem = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(problem, dict) and problem.get("type") == DENIED
