"""What KMS asks of a key policy before it takes it: principals that it sees, and a caller who may change it again.

https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html#KMS-CreateKey-request-Policy
https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from ministack import app as emulator
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.core.router import extract_access_key_id
from ministack.services import iam, kms

from localaws.asgi import Answer, Handler, Headers, Query, ServiceError

_MALFORMED = "MalformedPolicyDocumentException"
_LONGEST = 32768
_ACCOUNT = re.compile(r"\*|\d{12}|arn:aws[a-z-]*:iam::\d{12}:root")
_OF_THE_ACCOUNT = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):(role|user)/(?:.*/)?([^/]+)")


async def look_at_policies(
    emulated: Handler, method: str, path: str, headers: Headers, body: bytes, query: Query
) -> Answer:
    """Answer KMS; a key policy is refused that KMS would not take."""
    operation = str(headers.get("x-amz-target", "")).rpartition(".")[2]
    if operation in {"CreateKey", "PutKeyPolicy"}:
        try:
            request = json.loads(body)
            if "Policy" in request:
                _require_usable(request, extract_access_key_id(headers, query))
        except ServiceError as error:
            return error.answer()
    return await emulated(method, path, headers, body, query)


def _require_usable(request: dict[str, Any], caller: str | None) -> None:
    text = request["Policy"]
    if len(text) > _LONGEST:
        raise ServiceError("LimitExceededException", "The policy is too long.")
    try:
        document = json.loads(text)
        principals = list(_principals(document))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise ServiceError(_MALFORMED, "The policy document is malformed.") from None
    if not all(map(_is_seen, principals)):
        raise ServiceError(_MALFORMED, "Policy contains a statement with one or more invalid principals.")
    if request.get("BypassPolicyLockoutSafetyCheck") or not emulator.AUTH or not caller:
        return
    key = kms._resolve_key(request.get("KeyId"))
    if not _may_put(caller, key["Arn"] if key else f"arn:aws:kms:{get_region()}:{get_account_id()}:key/new", document):
        raise ServiceError(_MALFORMED, "The new key policy will not allow you to update the key policy in the future.")


def _principals(document: dict[str, Any]) -> Iterator[str]:
    """The principals of AWS's in a policy. A statement without any is none."""
    statements = document["Statement"]
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement["Principal"]
        for it in principal.values() if isinstance(principal, dict) else [principal]:
            names = it if isinstance(it, list) else [it]
            yield from names if principal == "*" or it is principal.get("AWS") else ()


def _is_seen(principal: str) -> bool:
    """Whether a principal is there. Of another account's nothing is known here."""
    found = _OF_THE_ACCOUNT.fullmatch(principal)
    if not found:
        return bool(_ACCOUNT.fullmatch(principal)) or ":assumed-role/" in principal
    account, kind, name = found.groups()
    return account != get_account_id() or name in (iam._roles if kind == "role" else iam._users)


def _may_put(caller: str, arn: str, document: dict[str, Any]) -> bool:
    """Whether the caller may put a policy, with that one in force: by it, or by IAM where it leaves that to IAM."""
    principal = iam_evaluator.resolve_principal(caller, get_account_id())
    if isinstance(principal, iam_evaluator.AuthError):
        return False
    context = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action="kms:PutKeyPolicy",
        resource_arn=arn,
        region=get_region(),
        service_context={"kms:calleraccount": principal.account},
        principal_keys=principal.keys,
    )
    identity = iam_evaluator.EvalResult("Allow")
    if principal.policies is not None:
        identity = iam_evaluator.evaluate(context, principal.policies, *principal.limits)
    decided = iam_evaluator.combine_resource_policy(
        identity, context, document, principal.account, required=True, limits=principal.limits
    )
    return bool(decided.decision == "Allow")
