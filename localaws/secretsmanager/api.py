"""The Secrets Manager API where the emulator is more lenient than AWS: values, versions, labels, reads.

Rotation itself is in ``rotation.py``, the delay of reads in ``consistency.py``. What is not named here
goes to the emulator unchanged.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.core.router import extract_access_key_id
from ministack.services import kms

from localaws.asgi import Answer, Handler, Headers, Query, ServiceError, json_answer
from localaws.iam import delegated
from localaws.secretsmanager import record as secret_record
from localaws.secretsmanager.consistency import DelayedReads
from localaws.secretsmanager.record import CURRENT, Secret
from localaws.secretsmanager.rotation import RotationEngine

type Input = dict[str, Any]
_DAY = 86_400


class SecretsManagerApi:
    """Answers Secrets Manager requests, wrapping the emulator's handler."""

    def __init__(self, emulator: Handler, rotations: RotationEngine, reads: DelayedReads) -> None:
        self._emulator = emulator
        self._rotations = rotations
        self._reads = reads
        self._actions: dict[str, Callable[[Input], Awaitable[Answer] | Answer]] = {
            "CreateSecret": self._create,
            "PutSecretValue": self._put_value,
            "UpdateSecret": self._update,
            "UpdateSecretVersionStage": self._update_stage,
            "GetSecretValue": self._get_value,
            "DescribeSecret": self._describe,
            "ListSecrets": self._list,
            "ListSecretVersionIds": self._list_versions,
            "RotateSecret": rotations.rotate,
            "CancelRotateSecret": rotations.cancel,
        }

    async def handle(self, method: str, path: str, headers: Headers, body: bytes, query: Query) -> Answer:
        """Answer one request; the signature is the emulator's for every service."""
        name = str(headers.get("x-amz-target", "")).rpartition(".")[2]
        action = self._actions.get(name)
        self._reads.observe()
        try:
            if action is None:
                return await self._emulator(method, path, headers, body, query)
            data = json.loads(body or b"{}")
            _require_further_permissions(name, data, extract_access_key_id(headers, query))
            answer = action(data)
            return answer if isinstance(answer, tuple) else await answer
        except ServiceError as error:
            return error.answer()
        finally:
            self._reads.observe()

    async def _create(self, data: Input) -> Answer:
        """Create a secret; without a value it has no version at all, and a repeated token is no error."""
        name, token = data.get("Name"), data.get("ClientRequestToken") or str(uuid.uuid4())
        string, binary = data.get("SecretString"), data.get("SecretBinary")
        known = secret_record.find(name)
        if known is not None and known.has_value(token):
            known.put(token, string=string, binary=binary, labels=[])
            return json_answer({"ARN": known.arn, "Name": known.name, "VersionId": token})
        if known is not None and known.deleted:
            raise ServiceError(
                "InvalidRequestException",
                "You can't create this secret because a secret with this name is already scheduled for deletion.",
            )
        answer = await self._emulator("POST", "/", _target("CreateSecret"), json.dumps(data).encode(), {})
        if answer[0] >= 400:
            return answer
        secret = secret_record.require(name)
        secret.versions.clear()
        if string is None and binary is None:
            return json_answer({"ARN": secret.arn, "Name": secret.name})
        secret.put(token, string=string, binary=binary, labels=[CURRENT])
        return json_answer({"ARN": secret.arn, "Name": secret.name, "VersionId": token})

    def _put_value(self, data: Input) -> Answer:
        secret = secret_record.require(data.get("SecretId"))
        secret_record.refuse_replica(secret)
        token = data.get("ClientRequestToken") or str(uuid.uuid4())
        string, binary = _value(data)
        secret.put(token, string=string, binary=binary, labels=data.get("VersionStages") or [CURRENT])
        stages = secret.versions[token]["Stages"]
        return json_answer({"ARN": secret.arn, "Name": secret.name, "VersionId": token, "VersionStages": stages})

    async def _update(self, data: Input) -> Answer:
        secret = secret_record.require(data.get("SecretId"))
        rest = {name: data[name] for name in ("SecretId", "Description", "KmsKeyId") if name in data}
        answer = await self._emulator("POST", "/", _target("UpdateSecret"), json.dumps(rest).encode(), {})
        if answer[0] >= 400 or ("SecretString" not in data and "SecretBinary" not in data):
            return answer
        token = data.get("ClientRequestToken") or str(uuid.uuid4())
        string, binary = _value(data)
        secret.put(token, string=string, binary=binary, labels=[CURRENT])
        return json_answer({"ARN": secret.arn, "Name": secret.name, "VersionId": token})

    def _update_stage(self, data: Input) -> Answer:
        secret = secret_record.require(data.get("SecretId"))
        secret_record.refuse_replica(secret)
        label, to, source = (data.get(name) for name in ("VersionStage", "MoveToVersionId", "RemoveFromVersionId"))
        if not label or not (to or source):
            raise _invalid("You must specify VersionStage, and MoveToVersionId or RemoveFromVersionId.")
        for version_id in filter(None, (to, source)):
            if version_id not in secret.versions:
                raise ServiceError(
                    "ResourceNotFoundException",
                    f"Secrets Manager can't find the specified secret version: {version_id}.",
                )
        was = secret.version_at(label)
        if source and was != source:
            raise _invalid(f"The staging label {label} is not attached to version {source}.")
        if to and was and was != to and not source:
            raise _invalid(
                f"The parameter RemoveFromVersionId can't be empty. Staging label {label} is currently attached to "
                f"version {was}, so you must explicitly reference that version in RemoveFromVersionId."
            )
        if not to and label == CURRENT:
            raise _invalid(
                f"You can only move staging label {CURRENT} to a different secret version. "
                "It can't be completely removed."
            )
        if to:
            secret.move_label(label, to)
        else:
            secret.remove_label(label, source or "")
        secret.touch()
        return json_answer({"ARN": secret.arn, "Name": secret.name})

    def _visible(self, secret_id: str | None) -> Secret:
        live = secret_record.existing(secret_id)
        shown = self._reads.single(live, live.key)
        if shown is None:
            raise ServiceError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
        return shown

    def _get_value(self, data: Input) -> Answer:
        secret = self._visible(data.get("SecretId"))
        if secret.deleted:
            raise ServiceError(
                "InvalidRequestException",
                "You can't perform this operation on the secret because it was marked for deletion.",
            )
        version_id = _requested_version(secret, data)
        version = secret.versions[version_id]
        live = secret_record.find(data.get("SecretId"))
        if live is not None:
            live.record["LastAccessedDate"] = _today()
        return json_answer(
            {
                "ARN": secret.arn,
                "Name": secret.name,
                "VersionId": version_id,
                "SecretString": version.get("SecretString"),
                "SecretBinary": version.get("SecretBinary"),
                "VersionStages": version["Stages"] or None,
                "CreatedDate": version["CreatedDate"],
            }
        )

    def _describe(self, data: Input) -> Answer:
        secret = self._visible(data.get("SecretId"))
        stages = {vid: v["Stages"] for vid, v in secret.versions.items() if v["Stages"]}
        return json_answer(
            _facts(secret)
            | {
                "VersionIdsToStages": stages or None,
                "ReplicationStatus": secret.record.get("ReplicationStatus") or None,
            }
        )

    def _list(self, data: Input) -> Answer:
        mine = secret_record.request_scope()
        shown = [s for s in self._reads.listing() if s.key[:2] == mine]
        if not data.get("IncludePlannedDeletion"):
            shown = [s for s in shown if not s.deleted]
        shown = [s for s in shown if all(_matches(s, f) for f in data.get("Filters", []))]
        shown.sort(key=lambda s: (s.record["CreatedDate"], s.name), reverse=data.get("SortOrder", "desc") == "desc")
        page, token = _page(shown, data)
        entries = []
        for secret in page:
            stages = {vid: v["Stages"] for vid, v in secret.versions.items() if v["Stages"]}
            facts = _facts(secret) | {"SecretVersionsToStages": stages or None}
            entries.append({name: value for name, value in facts.items() if value is not None})
        return json_answer({"SecretList": entries, "NextToken": token})

    def _list_versions(self, data: Input) -> Answer:
        secret = self._visible(data.get("SecretId"))
        versions = [
            {"VersionId": vid, "VersionStages": v["Stages"] or None, "CreatedDate": v["CreatedDate"]}
            for vid, v in secret.versions.items()
            if v["Stages"] or data.get("IncludeDeprecated")
        ]
        page, token = _page(versions, data)
        present = [{name: value for name, value in v.items() if value is not None} for v in page]
        return json_answer({"ARN": secret.arn, "Name": secret.name, "Versions": present, "NextToken": token})


def _target(action: str) -> Headers:
    return {"x-amz-target": f"secretsmanager.{action}"}


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameterException", message)


def _value(data: Input) -> tuple[str | None, str | None]:
    string, binary = data.get("SecretString"), data.get("SecretBinary")
    if (string is None) == (binary is None):
        raise _invalid("You must provide either SecretString or SecretBinary, and not both.")
    return string, binary


def _requested_version(secret: Secret, data: Input) -> str:
    version_id: str | None = data.get("VersionId")
    label: str | None = data.get("VersionStage")
    wanted = f"VersionId: {version_id}" if version_id else f"staging label: {label or CURRENT}"
    missing = ServiceError(
        "ResourceNotFoundException", f"Secrets Manager can't find the specified secret value for {wanted}"
    )
    found = version_id if version_id in secret.versions else None
    if version_id is None:
        found = secret.version_at(label or CURRENT)
    elif found and label and label not in secret.versions[found]["Stages"]:
        raise ServiceError(
            "InvalidRequestException",
            "You provided a VersionStage that is not associated to the provided VersionId.",
        )
    if found is None or not secret.has_value(found):
        raise missing
    return found


def _facts(secret: Secret) -> dict[str, Any]:
    """Return the members that DescribeSecret and ListSecrets have in common."""
    record = secret.record
    configured = record.get("RotationLambdaARN") is not None
    return {
        "ARN": secret.arn,
        "Name": secret.name,
        "Description": record.get("Description") or None,
        "KmsKeyId": record.get("KmsKeyId"),
        "RotationEnabled": secret.rotates if configured else None,
        "RotationLambdaARN": record.get("RotationLambdaARN"),
        "RotationRules": record.get("RotationRules"),
        "LastRotatedDate": record.get("LastRotatedDate"),
        "NextRotationDate": record.get("NextRotationDate") if secret.rotates else None,
        "LastChangedDate": record["LastChangedDate"],
        "LastAccessedDate": record.get("LastAccessedDate"),
        "DeletedDate": record.get("DeletedDate"),
        "Tags": record.get("Tags", []),
        "CreatedDate": record["CreatedDate"],
        "PrimaryRegion": record.get("_PrimaryRegion"),
    }


def _matches(secret: Secret, condition: dict[str, Any]) -> bool:
    """Whether a secret matches one filter: by prefix; ``!`` before a value negates it."""
    tags = secret.record.get("Tags", [])
    fields: dict[str, list[str]] = {
        "name": [secret.name],
        "description": [str(secret.record.get("Description", ""))],
        "tag-key": [tag["Key"] for tag in tags],
        "tag-value": [tag["Value"] for tag in tags],
    }
    fields["all"] = [text for texts in fields.values() for text in texts]
    texts = fields.get(condition.get("Key", ""))
    if texts is None:
        raise _invalid(f"Filtering by {condition.get('Key')!r} is not emulated.")

    def holds(value: str) -> bool:
        prefix = value.removeprefix("!")
        return any(text.startswith(prefix) for text in texts) != value.startswith("!")

    return any(holds(value) for value in condition.get("Values", []))


def _page[T](items: list[T], data: Input) -> tuple[list[T], str | None]:
    try:
        start = int(base64.b64decode(data["NextToken"])) if data.get("NextToken") else 0
    except ValueError:
        raise ServiceError("InvalidNextTokenException", "The NextToken value is invalid.") from None
    end = start + min(int(data.get("MaxResults") or 100), 100)
    return items[start:end], base64.b64encode(str(end).encode()).decode() if end < len(items) else None


def _require_further_permissions(action: str, data: Input, caller: str | None) -> None:
    """Raise AWS's error unless the caller has the further permissions of a call: to tag, to invoke, to use a key."""
    call, secret = f"secretsmanager:{action}", secret_record.find(data.get("SecretId"))
    record = secret.record if secret else {}
    if action == "CreateSecret":
        new = f"arn:aws:secretsmanager:{get_region()}:{get_account_id()}:secret:{data.get('Name')}-??????"
        delegated.require_further(caller, call, (new,), parameters=data, service="secretsmanager")
    if function := data.get("RotationLambdaARN") or record.get("RotationLambdaARN"):
        delegated.require_further(caller, call, (function,), service="lambda")
    if key := kms._resolve_key(data.get("KmsKeyId") or record.get("KmsKeyId")):
        through = {"kms:ViaService": f"secretsmanager.{get_region()}.amazonaws.com"}
        delegated.require_further(caller, call, (key["Arn"],), parameters=data, service="kms", keys=through)


def _today() -> int:
    return int(time.time()) // _DAY * _DAY
