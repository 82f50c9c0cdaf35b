"""Secrets Manager, S3, EventBridge and API Gateway in memory, as far as the engine calls them: for histories.

moto takes more than a millisecond for a call, has its own clock, and forgets labels; a history takes a thousand calls,
has a clock of its own, and is about labels. What is kept here is by AWS's documentation; `tests/unit/proof/
test_quick_aws.py` holds it to what moto and the local AWS answer.

Each call of a `Process` passes `Wire.call`: there it is suspended, may fail, and is looked at afterwards.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

from tests.kit.fakes import ApiGateway, refused
from tests.proof.processes import Process, running

ROTATES = "arn:aws:lambda:us-east-1:123456789012:function:rotate"
CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
THROTTLED = {
    "secretsmanager": "ThrottlingException",
    "s3": "SlowDown",
    "events": "ThrottlingException",
    "apigateway": "TooManyRequestsException",
}
# An UpdateDomainName that is held up for longer, in seconds, never arrives: by the time-outs in `assembly`.
TAKES_EFFECT = 23.0


@dataclass
class Wire:
    """What every call goes over.

    Attributes:
        now: the time, in seconds.
        faults: by service, how its next calls fail: "throttled" and "error" before they do anything, "unanswered"
            after.
        injected: how often each has been.
        before: called with (process, operation, request) before each call that does something.
        after: likewise, after it.
    """

    tick: Callable[[], object]
    now: Callable[[], float] = lambda: 0.0
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    injected: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    before: Callable[[Process, str, dict[str, Any]], object] = lambda *_: None
    after: Callable[[Process, str, dict[str, Any]], object] = lambda *_: None

    def call(self, service: str, operation: str, act: Callable[..., Any], request: dict[str, Any]) -> Any:
        """Make a call; by a process in its turn, by whoever drives them at once."""
        process = running()
        if process is None:
            return act(**request)
        began = self.now()
        process.suspend()
        self.tick()
        self.calls[service] += 1
        if operation == "UpdateDomainName" and self.now() - began > TAKES_EFFECT:
            process.disturbed = True
            raise ConnectTimeoutError(endpoint_url=f"https://{service}.example")
        fault = self.faults[service].pop(0) if self.faults[service] else None
        if fault:
            self.injected[f"{service} {fault}"] += 1
            process.disturbed = True
        if fault in {"throttled", "error"}:
            raise refused(THROTTLED[service] if fault == "throttled" else "InternalError", operation, status=503)
        self.before(process, operation, request)
        answer = act(**request)
        self.after(process, operation, request)
        if fault == "unanswered":
            raise ReadTimeoutError(endpoint_url=f"https://{service}.example")
        return answer


class _Client:
    """A client whose methods are the operations that it defines with a leading underscore."""

    service = ""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        act = object.__getattribute__(self, f"_{name}")
        operation = name.title().replace("_", "")

        def call(**request: Any) -> Any:
            return self._wire.call(self.service, operation, act, request)

        return call

    def get_paginator(self, operation: str) -> _Pages:
        return _Pages(getattr(self, operation))


@dataclass
class _Pages:
    """All pages in one: the engine makes nothing of where one ends."""

    call: Callable[..., Any]

    def paginate(self, **request: Any) -> Iterator[Any]:
        yield self.call(**request)


# Secrets Manager ------------------------------------------------------------------------------------------------------


@dataclass
class Record:
    """A secret; `versions` has moto's form, which `tests.kit.stack` reads."""

    name: str
    arn: str
    tags: list[dict[str, str]]
    rotation_enabled: bool = False
    deleted_date: datetime | None = None
    versions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def at(self, label: str) -> str | None:
        """The version with this label."""
        return next((key for key, it in self.versions.items() if label in it["version_stages"]), None)

    def stages(self) -> dict[str, list[str]]:
        """Version id → labels, of those that have any."""
        return {key: list(it["version_stages"]) for key, it in self.versions.items() if it["version_stages"]}

    def copy(self) -> Record:
        versions = {key: dict(it, version_stages=list(it["version_stages"])) for key, it in self.versions.items()}
        return Record(self.name, self.arn, self.tags, self.rotation_enabled, self.deleted_date, versions)


class SecretsManager(_Client):
    """Secrets Manager. Writes act on what is; reads show each secret as it was a while ago.

    Attributes:
        read_lags: how late the next reads of one secret are, in turn; the last goes on. So they can go back in time.
        list_lags: how late ListSecrets shows a secret, by name.
        heard: what it says to EventBridge.
        rotate: called with (name, token) for each walk through the steps that RotateSecret starts.
    """

    service = "secretsmanager"

    def __init__(self, wire: Wire, clock: Callable[[], datetime], new_token: Callable[[], str]) -> None:
        super().__init__(wire)
        self._clock = clock
        self._new_token = new_token
        self.secrets: dict[str, Record] = {}
        self._history: dict[str, list[tuple[datetime, Record | None]]] = defaultdict(list)
        self.read_lags: list[timedelta] = [timedelta()]
        self.list_lags: dict[str, timedelta] = {}
        self.heard: Callable[[dict[str, Any]], object] = lambda _: None
        self.rotate: Callable[[str, str], object] = lambda *_: None
        self.values_put: Counter[str] = Counter()

    # what a test does -------------------------------------------------------------------------------------------------

    def record(self, secret_id: str) -> Record:
        """What there is of a secret now."""
        name = secret_id.split(":", 6)[-1].rpartition("-")[0] if secret_id.startswith("arn:") else secret_id
        if name not in self.secrets:
            raise refused("ResourceNotFoundException", "SecretsManager")
        return self.secrets[name]

    def enable_rotation(self, secret_id: str, *, enabled: bool = True) -> None:
        """As RotateSecret and CancelRotateSecret leave the secret."""
        self.record(secret_id).rotation_enabled = enabled
        self._note(self.record(secret_id))

    def stage(self, secret_id: str, version_id: str) -> None:
        """A version at AWSPENDING without a value: what a rotation starts from."""
        record = self.record(secret_id)
        record.versions[version_id] = {"version_id": version_id, "version_stages": []}
        self._attach(record, PENDING, version_id)
        self._note(record)

    def lose(self, name: str) -> None:
        """The recovery window is over."""
        del self.secrets[name]
        self._history[name].append((self._clock(), None))

    # operations -------------------------------------------------------------------------------------------------------

    def _create_secret(self, **request: Any) -> dict[str, Any]:
        name = request["Name"]
        arn = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-AbCdEf"
        record = self.secrets[name] = Record(name, arn, request.get("Tags", []))
        answer = {"ARN": arn, "Name": name}
        if text := request.get("SecretString"):
            answer["VersionId"] = self._new_token()
            self._put(record, answer["VersionId"], text, [CURRENT])
        self._note(record)
        return answer

    def _describe_secret(self, **request: Any) -> dict[str, Any]:
        record = self._seen(request["SecretId"])
        answer: dict[str, Any] = {
            "ARN": record.arn,
            "Name": record.name,
            "RotationEnabled": record.rotation_enabled,
            "VersionIdsToStages": record.stages(),
            "Tags": record.tags,
        }
        return answer | ({"DeletedDate": record.deleted_date} if record.deleted_date else {})

    def _list_secrets(self, **request: Any) -> dict[str, Any]:
        listed = []
        for name in sorted(self._history):
            record = self._as_of(name, self.list_lags.get(name, timedelta()))
            if record is None or (record.deleted_date and not request.get("IncludePlannedDeletion")):
                continue
            entry: dict[str, Any] = {"ARN": record.arn, "Name": name, "Tags": record.tags}
            entry |= {"RotationEnabled": record.rotation_enabled, "SecretVersionsToStages": record.stages()}
            entry["RotationLambdaARN"] = ROTATES
            wanted = {value for it in request.get("Filters", ()) if it["Key"] == "name" for value in it["Values"]}
            if wanted and not any(name.startswith(it) for it in wanted):
                continue
            listed.append(entry | ({"DeletedDate": record.deleted_date} if record.deleted_date else {}))
        return {"SecretList": listed}

    def _get_secret_value(self, **request: Any) -> dict[str, Any]:
        record = self._seen(request["SecretId"])
        self._require_kept(record, "GetSecretValue")
        version_id = request.get("VersionId") or record.at(request.get("VersionStage", CURRENT))
        version = record.versions.get(version_id or "")
        if version is None or "secret_string" not in version:
            raise refused("ResourceNotFoundException", "GetSecretValue")
        answer = {"ARN": record.arn, "Name": record.name, "VersionId": version_id}
        return answer | {"SecretString": version["secret_string"], "VersionStages": list(version["version_stages"])}

    def _put_secret_value(self, **request: Any) -> dict[str, Any]:
        record = self.record(request["SecretId"])
        self._require_kept(record, "PutSecretValue")
        version_id, text = request["ClientRequestToken"], request["SecretString"]
        stored = record.versions.get(version_id, {}).get("secret_string")
        if stored is not None and stored != text:
            raise refused("ResourceExistsException", "PutSecretValue")
        if stored is None:
            self._put(record, version_id, text, request.get("VersionStages", [CURRENT]))
            self._note(record)
        return {"ARN": record.arn, "Name": record.name, "VersionId": version_id}

    def _update_secret_version_stage(self, **request: Any) -> dict[str, Any]:
        record = self.record(request["SecretId"])
        self._require_kept(record, "UpdateSecretVersionStage")
        label, old, new = request["VersionStage"], request.get("RemoveFromVersionId"), request.get("MoveToVersionId")
        holder = record.at(label)
        if new is not None and new not in record.versions:
            raise refused("ResourceNotFoundException", "UpdateSecretVersionStage")
        if (old and old != holder) or (new and holder not in {None, new, old}) or (label == CURRENT and not new):
            raise refused("InvalidParameterException", "UpdateSecretVersionStage")
        if new:
            self._attach(record, label, new)
        elif old:
            record.versions[old]["version_stages"].remove(label)
        self._note(record)
        return {"ARN": record.arn, "Name": record.name}

    def _rotate_secret(self, **request: Any) -> dict[str, Any]:
        record = self.record(request["SecretId"])
        self._require_kept(record, "RotateSecret")
        if not record.rotation_enabled:
            raise refused("InvalidRequestException", "RotateSecret", "No Lambda rotation function ARN is associated")
        unfinished = record.at(PENDING)
        if unfinished is not None and unfinished != record.at(CURRENT):
            self.rotate(record.name, unfinished)
            message = "A previous rotation isn't complete. That rotation will be reattempted."
            raise refused("InvalidRequestException", "RotateSecret", message)
        token = request.get("ClientRequestToken") or self._new_token()
        self.stage(record.name, token)
        self.rotate(record.name, token)
        return {"ARN": record.arn, "Name": record.name, "VersionId": token}

    def _delete_secret(self, **request: Any) -> dict[str, Any]:
        record = self.record(request["SecretId"])
        record.deleted_date = self._clock()
        self._note(record)
        return {"ARN": record.arn, "Name": record.name}

    def _restore_secret(self, **request: Any) -> dict[str, Any]:
        record = self.record(request["SecretId"])
        record.deleted_date = None
        self._note(record)
        return {"ARN": record.arn, "Name": record.name}

    # how --------------------------------------------------------------------------------------------------------------

    def _put(self, record: Record, version_id: str, text: str, labels: list[str]) -> None:
        version = record.versions.setdefault(version_id, {"version_id": version_id, "version_stages": []})
        version["secret_string"] = text
        self.values_put[version_id] += 1
        for label in labels if len(record.versions) > 1 or CURRENT in labels else [*labels, CURRENT]:
            self._attach(record, label, version_id)

    def _attach(self, record: Record, label: str, version_id: str) -> None:
        holder = record.at(label)
        if holder == version_id:
            return
        if holder is not None:
            record.versions[holder]["version_stages"].remove(label)
        record.versions[version_id]["version_stages"].append(label)
        if label == CURRENT and holder is not None:
            before = record.at(PREVIOUS)
            if before is not None:
                record.versions[before]["version_stages"].remove(PREVIOUS)
            record.versions[holder]["version_stages"].append(PREVIOUS)
        if label not in {PENDING, PREVIOUS}:
            detail = {"name": record.name, "labelUpdated": label, "versionId": version_id}
            self.heard({"detail-type": "Secret Label Updated", "resources": [record.arn], "detail": detail})

    def _note(self, record: Record) -> None:
        history = self._history[record.name]
        history.append((self._clock(), record.copy()))
        del history[:-64]

    def _as_of(self, name: str, lag: timedelta) -> Record | None:
        if not lag:
            return self.secrets.get(name)
        moment = self._clock() - lag
        return next((record for at, record in reversed(self._history[name]) if at <= moment), None)

    def _seen(self, secret_id: str) -> Record:
        self.record(secret_id)
        lag = self.read_lags.pop(0) if len(self.read_lags) > 1 else self.read_lags[0]
        record = self._as_of(self.record(secret_id).name, lag)
        if record is None:
            raise refused("ResourceNotFoundException", "GetSecretValue")
        return record

    @staticmethod
    def _require_kept(record: Record, operation: str) -> None:
        if record.deleted_date:
            raise refused("InvalidRequestException", operation, "it was marked for deletion")


# S3 -------------------------------------------------------------------------------------------------------------------


@dataclass
class Version:
    """A version of an object; a deletion is one without a body.

    Attributes:
        version_id: "null" for whatever was written while versioning was suspended.
        number: which write it was, counted from 1.
    """

    version_id: str
    body: bytes | None
    modified: datetime
    metadata: dict[str, str]
    number: int

    @property
    def etag(self) -> str:
        return '"' + hashlib.md5(self.body or b"", usedforsecurity=False).hexdigest() + '"'


class S3(_Client):
    """One bucket with versions: strongly consistent, with conditional writes.

    Attributes:
        withheld: by key, why an object is not handed out that is there.
    """

    service = "s3"

    def __init__(self, wire: Wire, clock: Callable[[], datetime]) -> None:
        super().__init__(wire)
        self._clock = clock
        self.objects: dict[str, list[Version]] = defaultdict(list)
        self.versioning = "Enabled"
        self.withheld: dict[str, str] = {}
        self._made = 0

    def newest(self, key: str) -> Version | None:
        """What lies under a key."""
        versions = self.objects.get(key)
        return versions[-1] if versions and versions[-1].body is not None else None

    def version(self, key: str, version_id: str | None) -> Version | None:
        """One version of an object; the newest where none is named."""
        if version_id is None:
            return self.newest(key)
        return next(
            (it for it in self.objects.get(key, ()) if it.version_id == version_id and it.body is not None), None
        )

    def _get_object(self, **request: Any) -> dict[str, Any]:
        found = self.version(request["Key"], request.get("VersionId"))
        if found is None or found.body is None:
            raise refused("NoSuchVersion" if "VersionId" in request else "NoSuchKey", "GetObject")
        if code := self.withheld.get(request["Key"]):
            raise refused(code, "GetObject", status=403)
        if request.get("IfNoneMatch") == found.etag:
            raise refused("304", "GetObject")
        answer = {"Body": io.BytesIO(found.body), "ETag": found.etag, "VersionId": found.version_id}
        return answer | {"Metadata": found.metadata, "LastModified": found.modified}

    def _head_object(self, **request: Any) -> dict[str, Any]:
        found = self.newest(request["Key"])
        if found is None:
            raise refused("404", "HeadObject")
        size = len(found.body or b"")
        answer = {"ETag": found.etag, "VersionId": found.version_id, "ContentLength": size}
        return answer | {"LastModified": found.modified}

    def _put_object(self, **request: Any) -> dict[str, Any]:
        found = self.newest(request["Key"])
        if "IfMatch" in request and found is None:
            raise refused("NoSuchKey", "PutObject")
        if found and (request.get("IfNoneMatch") == "*" or request.get("IfMatch", found.etag) != found.etag):
            raise refused("PreconditionFailed", "PutObject")
        version = self._add(request["Key"], request["Body"], request.get("Metadata", {}))
        answer = {"ETag": version.etag}
        return answer | ({"VersionId": version.version_id} if self.versioning == "Enabled" else {})

    def _delete_object(self, **request: Any) -> dict[str, Any]:
        if request["Key"] in self.objects:
            self._add(request["Key"], None, {})
        return {}

    def _add(self, key: str, body: bytes | None, metadata: dict[str, str]) -> Version:
        """A version more; where versioning is suspended, in place of the one that has no id."""
        self._made += 1
        kept = self.versioning == "Enabled"
        if not kept:
            self.objects[key][:] = [it for it in self.objects[key] if it.version_id != "null"]
        version = Version(f"v{self._made}" if kept else "null", body, self._clock(), metadata, self._made)
        self.objects[key].append(version)
        return version

    def _get_bucket_versioning(self, **_: Any) -> dict[str, Any]:
        return {"Status": self.versioning}

    def _delete_objects(self, **request: Any) -> dict[str, Any]:
        for entry in request["Delete"]["Objects"]:
            self._delete_object(Key=entry["Key"])
        return {}

    def _list_objects_v2(self, **request: Any) -> dict[str, Any]:
        contents = []
        for key in sorted(self.objects):
            if key.startswith(request["Prefix"]) and (found := self.newest(key)):
                size = len(found.body or b"")
                contents.append({"Key": key, "ETag": found.etag, "Size": size, "LastModified": found.modified})
        return {"Contents": contents}

    def _list_object_versions(self, **request: Any) -> dict[str, Any]:
        return {
            "Versions": [
                {"Key": key, "VersionId": it.version_id}
                for key, versions in sorted(self.objects.items())
                if key.startswith(request.get("Prefix", ""))
                for it in reversed(versions)
                if it.body is not None
            ]
        }


# EventBridge and API Gateway ------------------------------------------------------------------------------------------


class Events(_Client):
    """The bus. `heard` is called with each event that is put."""

    service = "events"

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.heard: Callable[[dict[str, Any]], object] = lambda _: None

    def _put_events(self, **request: Any) -> dict[str, Any]:
        for entry in request["Entries"]:
            detail = json.loads(entry["Detail"])
            self.heard({"detail-type": entry["DetailType"], "resources": entry["Resources"], "detail": detail})
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in request["Entries"]]}


class Gateway(_Client):
    """`tests.kit.fakes.ApiGateway` over the wire."""

    service = "apigateway"

    def __init__(self, wire: Wire, fake: ApiGateway) -> None:
        super().__init__(wire)
        self._get_domain_name = fake.get_domain_name
        self._update_domain_name = fake.update_domain_name
        self.exceptions = fake.exceptions


__all__ = ["S3", "ClientError", "Events", "Gateway", "Record", "SecretsManager", "Wire"]
