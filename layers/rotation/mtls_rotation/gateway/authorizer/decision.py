"""The decision about one request, and how API Gateway wants to be told of it. Calls nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mtls_rotation.gateway.authorizer.caller import AnchorsUnknownError, Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mtls_rotation.contract.revocations import Revocations
    from mtls_rotation.gateway.authorizer.allow_list import AllowList
    from mtls_rotation.gateway.authorizer.caller import Anchor
    from mtls_rotation.pki.presented import Presented

# What an authorizer may answer, in bytes, and so many names besides: a certificate may have a thousand.
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
MOST_BYTES = 8 * 1024
_MOST_NAMES = 50

NO_CERTIFICATE = "no-certificate"
UNREADABLE = "unreadable"
REVOKED = "revoked"
NOT_ALLOWED = "not-allowed"
TOO_LONG = "too-long"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may come in.

    Attributes:
        denial: why not, in a word; empty if it may.
        caller: who called, as far as that is known.
        context: what is told of the caller.
        names: the caller's subject alternative names, of which as many are told as there is room for.
    """

    denial: str
    caller: str
    context: dict[str, str] = field(default_factory=dict)
    names: tuple[str, ...] = ()

    def response(self, method_arn: str) -> dict[str, Any]:
        """What API Gateway wants of a Lambda authorizer, for this one request.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
        """
        for count in range(len(self.names[:_MOST_NAMES]), -1, -1):
            names = {"subjectAlternativeNames": json.dumps(self.names[:count])} if self.context else {}
            answer = self._answer(method_arn, self.context | names)
            if len(json.dumps(answer)) <= MOST_BYTES:
                return answer
        # The backend is told who called, or nobody is let in.
        return Decision(self.denial or TOO_LONG, self.caller)._answer(method_arn, {})

    def _answer(self, method_arn: str, context: dict[str, str]) -> dict[str, Any]:
        return {
            "principalId": self.caller,
            "policyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Action": "execute-api:Invoke",
                        "Effect": "Deny" if self.denial else "Allow",
                        "Resource": method_arn,
                    }
                ],
            },
            # API Gateway passes texts, numbers and booleans.
            "context": context | {"denial": self.denial},
        }


def decide(
    pem: str | None,
    method: str,
    path: str,
    revoked: Callable[[], Revocations],
    allow_list: Callable[[], AllowList] | None,
    anchors: Callable[[Presented], Sequence[Anchor]],
) -> Decision:
    """Decide about one request.

    Args:
        pem: the client certificate that API Gateway has verified; None where there was none.
        method: HTTP's.
        path: the path as the client sent it.
        revoked: gives what is revoked.
        allow_list: gives the allow-list, if there is one.
        anchors: gives the anchors that answer for a certificate.

    Raises:
        RevocationUnknownError: `revoked` cannot tell.
        AnchorsUnknownError: `anchors` cannot tell, and the allow-list asks.
    """
    if not pem:
        return Decision(NO_CERTIFICATE, "nobody")
    try:
        caller = Caller.from_pem(pem)
    except ValueError:
        return Decision(UNREADABLE, "nobody")
    denial = ""
    if revoked().include(caller.certificate):
        denial = REVOKED
    elif allow_list is not None and not allow_list().allows(caller, method, path, lambda: anchors(caller.certificate)):
        denial = NOT_ALLOWED
    return Decision(denial, caller.fingerprint, caller.context() | _told(caller, anchors), caller.alternative_names)


def _told(caller: Caller, anchors: Callable[[Presented], Sequence[Anchor]]) -> dict[str, str]:
    """By which anchor the caller came in; empty if it is not known."""
    try:
        anchor = next(iter(anchors(caller.certificate)), None)
    except AnchorsUnknownError:
        anchor = None
    return {
        "anchorSha256": anchor.fingerprint if anchor else "",
        "anchorManaged": str(anchor is not None and anchor.managed).lower(),
    }
