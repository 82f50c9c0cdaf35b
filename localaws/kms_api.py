"""The KMS API where the emulator is more lenient than AWS: what keys can be made, and what can be done in which state.

Keys and signatures are the emulator's. The condition keys of policies are in ``iam.py``.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions
from ministack.core.responses import get_account_id, get_region
from ministack.core.router import extract_access_key_id
from ministack.services import kms as store

from localaws import iam
from localaws.asgi import Answer, Handler, Headers, Query, ServiceError

type Input = dict[str, Any]

_ENCRYPT, _SIGN, _MAC, _AGREE = "ENCRYPT_DECRYPT", "SIGN_VERIFY", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT"
_USAGES = {
    "SYMMETRIC_DEFAULT": {_ENCRYPT},
    "RSA_": {_ENCRYPT, _SIGN},
    "ECC_NIST_EDWARDS25519": {_SIGN},
    "ECC_NIST_P": {_SIGN, _AGREE},
    "ECC_SECG_P256K1": {_SIGN},
    "HMAC_": {_MAC},
}
_DISABLED, _PENDING_DELETION = "Disabled", "PendingDeletion"
# The calls of the table of key states that the emulator lets through, and the states in which AWS does not.
_REFUSED_IN = {
    "GetPublicKey": {_DISABLED, _PENDING_DELETION},
    "EnableKey": {_PENDING_DELETION},
    "DisableKey": {_PENDING_DELETION},
    "ScheduleKeyDeletion": {_PENDING_DELETION},
    "TagResource": {_PENDING_DELETION},
    "UntagResource": {_PENDING_DELETION},
    "UpdateKeyDescription": {_PENDING_DELETION},
}


class KmsApi:
    """Answers KMS requests, wrapping the emulator's handler."""

    def __init__(self, emulator: Handler) -> None:
        self._emulator = emulator

    async def handle(self, method: str, path: str, headers: Headers, body: bytes, query: Query) -> Answer:
        """Answer one request; the signature is the emulator's for every service."""
        action = str(headers.get("x-amz-target", "")).rpartition(".")[2]
        try:
            data: Input = json.loads(body or b"{}")
            if action == "CreateKey":
                refused = _may_not_tag(extract_access_key_id(headers, query), data, body)
                if refused is not None:
                    return refused
                check_usage(data.get("KeySpec") or data.get("CustomerMasterKeySpec"), data.get("KeyUsage"))
            if action in ("CreateKey", "TagResource"):
                _check_tags(data.get("Tags") or [])
            _check_key(action, store._resolve_key(data.get("KeyId")))
        except ServiceError as error:
            return error.answer()
        return await self._emulator(method, path, headers, body, query)


def check_usage(spec: str | None, usage: str | None) -> None:
    """Raise the error for a kind of key that cannot have this usage; CloudFormation asks it too.

    Only a symmetric key for encryption may leave the usage out.
    """
    spec = spec or "SYMMETRIC_DEFAULT"
    known = next((usages for prefix, usages in _USAGES.items() if spec.startswith(prefix)), None)
    if known is None:
        return  # not a kind that the emulator has; it says so
    if usage is None and spec != "SYMMETRIC_DEFAULT":
        raise ServiceError(
            "ValidationException",
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys.",
        )
    if (usage or _ENCRYPT) not in known:
        raise ServiceError("ValidationException", f"KeyUsage {usage} is not compatible with KeySpec {spec}")


def _may_not_tag(caller: str | None, data: Input, body: bytes) -> Answer | None:
    """Return the refusal of a new key with tags to a caller who may make keys but not tag every one of them."""
    if not data.get("Tags"):
        return None
    every_key = f"arn:aws:kms:{get_region()}:{get_account_id()}:key/*"
    keys = iam_actions.request_tag_context("kms", "kms:TagResource", body, {})
    return iam.refusal("kms", caller, "kms:TagResource", every_key, keys)


def _check_tags(tags: list[dict[str, str]]) -> None:
    names = [tag.get("TagKey", "") for tag in tags]
    if len(set(names)) < len(names):
        raise ServiceError("TagException", "Duplicate tag keys")
    if any(name.lower().startswith("aws:") for name in names):
        raise ServiceError("TagException", "Tags cannot begin with aws:")


def _check_key(action: str, key: dict[str, Any] | None) -> None:
    if key is None:
        return  # no key is meant, or the emulator answers that there is none
    state = key["KeyState"]
    if state in _REFUSED_IN.get(action, ()):
        if state == _DISABLED:
            raise ServiceError("DisabledException", f"{key['Arn']} is disabled.")
        raise ServiceError("KMSInvalidStateException", f"{key['Arn']} is pending deletion.")
    if action == "CancelKeyDeletion" and state != _PENDING_DELETION:
        raise ServiceError("KMSInvalidStateException", f"{key['Arn']} is not pending deletion.")
    if action in ("Sign", "Verify") and state == "Enabled" and key["KeyUsage"] != _SIGN:
        raise ServiceError(
            "InvalidKeyUsageException", f"{key['Arn']} key usage is {key['KeyUsage']} which is not valid for {action}."
        )
