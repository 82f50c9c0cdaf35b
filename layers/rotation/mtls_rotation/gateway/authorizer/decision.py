"""The decision about one request, and how API Gateway wants to be told of it. Calls nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mtls_rotation.gateway.authorizer.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtls_rotation.gateway.authorizer.allow_list import AllowList
    from mtls_rotation.pki.certificate_id import CertificateId

NO_CERTIFICATE = "no-certificate"
UNREADABLE = "unreadable"
REVOKED = "revoked"
NOT_ALLOWED = "not-allowed"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a request may come in.

    Attributes:
        denial: why not, in a word; empty if it may.
        caller: who called, as far as that is known.
        context: what is told of the caller.
    """

    denial: str
    caller: str
    context: dict[str, str] = field(default_factory=dict)

    def response(self, method_arn: str) -> dict[str, Any]:
        """What API Gateway wants of a Lambda authorizer, for this one request.

        https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
        """
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
            "context": self.context | {"denial": self.denial},
        }


def decide(
    pem: str | None,
    method: str,
    path: str,
    revoked: Callable[[], frozenset[CertificateId]],
    allow_list: Callable[[], AllowList] | None,
) -> Decision:
    """Decide about one request.

    Args:
        pem: the client certificate that API Gateway has verified; None where there was none.
        method: HTTP's.
        path: the path as the client sent it.
        revoked: gives what is revoked.
        allow_list: gives the allow-list, if there is one.

    Raises:
        RevocationUnknownError: `revoked` cannot tell.
    """
    if not pem:
        return Decision(NO_CERTIFICATE, "nobody")
    try:
        caller = Caller.from_pem(pem)
    except ValueError:
        return Decision(UNREADABLE, "nobody")
    denial = ""
    if caller.certificate in revoked():
        denial = REVOKED
    elif allow_list is not None and not allow_list().allows(caller, method, path):
        denial = NOT_ALLOWED
    return Decision(denial, caller.fingerprint, caller.context())
