"""Custom domain names of API Gateway: creating and updating them, and the truststore each one serves with.

The rules of truststores are in ``client_auth.py``; the TLS listener that uses them is ``doors/front_door.py``.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from ministack import app as emulator
from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.core.router import extract_access_key_id
from ministack.services import apigateway_v1 as store

from localaws.apigateway.client_auth import Truststore, UnusableTruststoreError, parse_truststore
from localaws.asgi import Answer, Handler, Headers, Query, ServiceError, json_answer
from localaws.iam import delegated
from localaws.settings import LiveSettings

type DomainKey = tuple[str, str, str]
type Record = dict[str, Any]

_REST_JSON = "application/json"
_MTLS = "/mutualTlsAuthentication/"
# Where UpdateDomainName may patch, from the table of patch operations in the API Gateway reference.
_PATCHABLE = {
    "/certificateArn",
    "/certificateName",
    "/regionalCertificateArn",
    "/regionalCertificateName",
    "/securityPolicy",
    "/ownershipVerificationCertificateArn",
    "/endpointAccessMode",
    "/routingMode",
    "/policy",
    f"{_MTLS}truststoreUri",
    f"{_MTLS}truststoreVersion",
}
_PATCHABLE_PREFIXES = ("/endpointConfiguration/types", "/endpointConfiguration/ipAddressType")
# DomainNameStatus in botocore's model of the service.
STATES = (
    "AVAILABLE",
    "UPDATING",
    "PENDING",
    "PENDING_CERTIFICATE_REIMPORT",
    "PENDING_OWNERSHIP_VERIFICATION",
    "FAILED",
)
_SECURITY_POLICIES = ("TLS_1_0", "TLS_1_2", "SecurityPolicy_")


@dataclass(frozen=True)
class ServedDomain:
    """What the data plane serves a domain with at this instant."""

    name: str
    account_id: str
    region: str
    truststore: Truststore | None


@dataclass(frozen=True)
class _State:
    served: Truststore | None
    pending: Truststore | None = None
    available_at: float = 0.0


class CustomDomains:
    """Answers the ``/domainnames`` part of the API Gateway API, wrapping the emulator's handler."""

    def __init__(self, emulator: Handler, s3: Handler, settings: LiveSettings) -> None:
        self._emulator = emulator
        self._s3 = s3
        self._settings = settings
        self._states: dict[DomainKey, _State] = {}
        self._last_update: dict[tuple[str, str], float] = {}

    async def handle(self, method: str, path: str, headers: Headers, body: bytes, query: Query) -> Answer:
        """Answer one request; the signature is the emulator's for every service."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        try:
            if (method, parts) == ("POST", ["v2", "domainnames"]):
                return await self._create_by_v2(json.loads(body or b"{}"), headers, query)
            if parts[0] != "domainnames" or len(parts) > 2:
                return await self._emulator(method, path, headers, body, query)
            self._settle()
            if method == "POST" and len(parts) == 1:
                return await self._create(json.loads(body or b"{}"), extract_access_key_id(headers, query))
            if method == "PATCH" and len(parts) == 2:
                return await self._update(parts[1], json.loads(body or b"{}"), extract_access_key_id(headers, query))
            answer = await self._emulator(method, path, headers, body, query)
            if method == "DELETE" and answer[0] < 400:
                self._states.pop(_key(parts[1]), None)
            return answer
        except ServiceError as error:
            return error.answer(_REST_JSON)

    def served(self) -> dict[str, ServedDomain]:
        """Return every domain by its lower-case name, with the truststore in force now."""
        self._settle()
        return {
            key[2].lower(): ServedDomain(key[2], key[0], key[1], self._met(state))
            for key, state in self._states.items()
        }

    def set_status(self, name: str, status: str, message: str = "") -> None:
        """Bring a domain into a state. An update that is under way ends there, without effect unless it is AVAILABLE.

        Raises:
            ValueError: there is no such domain or state.
        """
        if status not in STATES:
            raise ValueError(f"no such state: {status}; there are {', '.join(STATES)}")
        key = next((key for key in self._states if key[2] == name), None)
        record = store._domain_names.get_scoped(*key) if key else None
        if key is None or record is None:
            raise ValueError(f"no such domain name: {name}")
        record["domainNameStatus"] = status
        record.pop("domainNameStatusMessage", None)
        if message:
            record["domainNameStatusMessage"] = message
        state = self._states[key]
        effective = state.pending if status == "AVAILABLE" and state.pending else state.served
        self._states[key] = _State(effective, None if status == "AVAILABLE" else state.pending)

    def _met(self, state: _State) -> Truststore | None:
        """The truststore that requests meet."""
        if state.served and state.available_at and self._settings.current.requests_while_updating == "refused":
            return replace(state.served, anchors=(), digest="")
        return state.served

    # -- create

    async def _create(self, data: Record, caller: str | None) -> Answer:
        name = data.get("domainName")
        if not name:
            raise _bad_request("Domain name is required")
        if store._domain_names.get(name) is not None:
            raise ServiceError("ConflictException", "The domain name you provided already exists.", 409)
        domains = f"arn:aws:apigateway:{get_region()}::/domainnames"
        delegated.require_further(caller, "apigateway:CreateDomainName", (domains,), parameters=data)
        truststore = await self._checked_truststore(data, caller)
        answer = await self._emulator("POST", "/domainnames", {}, json.dumps(data).encode(), {})
        if answer[0] >= 400:
            return answer
        record = store._domain_names[name]
        record["domainNameStatus"] = "AVAILABLE"
        _set_members(record, truststore)
        self._states[_key(name)] = _State(truststore)
        return json_answer(record, 201, _REST_JSON)

    async def _create_by_v2(self, data: Record, headers: Headers, query: Query) -> Answer:
        """Create a domain by the API of HTTP APIs: the same domain names, in another form."""
        (configuration,) = data.get("domainNameConfigurations") or [{}]
        endpoint = {"types": [configuration.get("endpointType", "REGIONAL")]}
        record = {
            "endpointConfiguration": endpoint,
            "securityPolicy": configuration.get("securityPolicy", "TLS_1_2"),
            "mutualTlsAuthentication": data.get("mutualTlsAuthentication") or {},
        }
        truststore = await self._checked_truststore(record, extract_access_key_id(headers, query))
        answer = await self._emulator("POST", "/v2/domainnames", headers, json.dumps(data).encode(), query)
        if answer[0] < 400:
            name = data["domainName"]
            store._domain_names[name]["domainNameStatus"] = "AVAILABLE"
            _set_members(store._domain_names[name], truststore)
            self._states[_key(name)] = _State(truststore)
        return answer

    # -- update

    async def _update(self, name: str, data: Record, caller: str | None) -> Answer:
        if any(str(operation.get("path")).startswith(_MTLS) for operation in data.get("patchOperations") or []):
            domains = f"arn:aws:apigateway:{get_region()}::/domainnames"
            on = (f"{domains}/{name}", domains)
            delegated.require_further(caller, "apigateway:UpdateDomainName", on, parameters=("patchOperations",))
        self._throttle()
        record: Record | None = store._domain_names.get(name)
        if record is None:
            raise ServiceError("NotFoundException", "Invalid domain name identifier specified", 404)
        if record.get("domainNameStatus") == "UPDATING":
            raise ServiceError(
                "ConflictException", f"The domain name {name} is being updated. Try again when it is AVAILABLE.", 409
            )
        changed = _patched(record, data.get("patchOperations") or [])
        truststore = await self._checked_truststore(changed, caller)
        _set_members(changed, truststore)
        changed.pop("domainNameStatusMessage", None)
        record.clear()
        record.update(changed | {"domainNameStatus": "UPDATING"})
        state = self._states.get(_key(name)) or _State(None)
        available_at = time.monotonic() + self._settings.current.domain_update_time.total_seconds()
        self._states[_key(name)] = replace(state, pending=truststore, available_at=available_at)
        return json_answer(record, 200, _REST_JSON)

    def _throttle(self) -> None:
        """Refuse a second call of an account within the interval; a refused call does not prolong it."""
        now, caller = time.monotonic(), (get_account_id(), get_region())
        interval = self._settings.current.domain_update_interval.total_seconds()
        left = self._last_update.get(caller, float("-inf")) + interval - now
        if left > 0:
            raise ServiceError(
                "TooManyRequestsException", "Too Many Requests", 429, {"Retry-After": str(math.ceil(left))}
            )
        self._last_update[caller] = now

    # -- truststores

    async def _checked_truststore(self, record: Record, caller: str | None) -> Truststore | None:
        """Read the truststore that ``record`` names, by the rules that both create and update apply."""
        mutual_tls = record.get("mutualTlsAuthentication") or {}
        uri = mutual_tls.get("truststoreUri")
        if not uri:
            if mutual_tls.get("truststoreVersion"):
                raise _bad_request("A truststoreVersion needs a truststoreUri.")
            return None
        types = (record.get("endpointConfiguration") or {}).get("types") or ["EDGE"]
        if types != ["REGIONAL"]:
            raise _bad_request("Mutual TLS is only supported for regional custom domain names.")
        if record.get("securityPolicy") == "TLS_1_0":
            raise _bad_request("Mutual TLS needs a security policy of TLS_1_2 or later.")
        version = mutual_tls.get("truststoreVersion") or None
        pem = await self._read_object(uri, version, caller)
        try:
            return parse_truststore(pem, uri, version, datetime.now(UTC), self._settings.current)
        except UnusableTruststoreError as error:
            raise _bad_request(f"Invalid truststore: {error}") from error

    async def _read_object(self, uri: str, version: str | None, caller: str | None) -> bytes:
        parts = urlsplit(uri)
        if parts.scheme != "s3" or not parts.netloc or not parts.path.strip("/"):
            raise _bad_request(f"The truststoreUri must be s3://bucket/key; got {uri}.")
        query = {"versionId": [version]} if version else {}
        path = f"/{parts.netloc}{parts.path}"
        refused = _may_not_read(caller, f"arn:aws:s3:::{parts.netloc}{parts.path}", version)
        status, _, body = await self._s3("GET", path, _signed_by_this_account(), b"", query)
        if refused or status >= 400:
            which = f"version {version} of {uri}" if version else uri
            raise _bad_request(f"The truststore cannot be read: there is no {which}, or it is not accessible.")
        return bytes(body)

    # -- state

    def _settle(self) -> None:
        """Put every update in force whose time is over."""
        now = time.monotonic()
        for key, state in list(self._states.items()):
            record = store._domain_names.get_scoped(*key)
            if record is None:
                del self._states[key]
            elif state.available_at and state.available_at <= now:
                self._states[key] = _State(state.pending)
                record["domainNameStatus"] = "AVAILABLE"


def _key(name: str) -> DomainKey:
    return get_account_id(), get_region(), name


def _may_not_read(caller: str | None, object_arn: str, version: str | None) -> bool:
    """Whether IAM, if it is enforced, keeps the caller from the truststore; API Gateway reads it on its behalf."""
    if not emulator.AUTH or not caller:
        return False
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    return bool(iam_evaluator.enforce(caller, action, "s3", get_region(), resource_arn=object_arn))


def _signed_by_this_account() -> Headers:
    """Return the headers with which the emulator takes a read for one by this account, not an anonymous one."""
    credential = f"{get_account_id()}/20200101/{get_region()}/s3/aws4_request"
    signature = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0"
    return {"host": "127.0.0.1", "authorization": signature}


def _bad_request(message: str) -> ServiceError:
    return ServiceError("BadRequestException", message)


def _set_members(record: Record, truststore: Truststore | None) -> None:
    """Give the record the members that AWS answers with, and only those."""
    if truststore is None:
        record.pop("mutualTlsAuthentication", None)
    else:
        shown: Record = {"truststoreUri": truststore.uri, "truststoreVersion": truststore.version}
        if truststore.warnings:
            shown["truststoreWarnings"] = list(truststore.warnings)
        record["mutualTlsAuthentication"] = {name: value for name, value in shown.items() if value is not None}
    if (record.get("endpointConfiguration") or {}).get("types") == ["REGIONAL"]:
        for name in ("distributionDomainName", "distributionHostedZoneId", "certificateName", "certificateArn"):
            record.pop(name, None)
    for name in [name for name, value in record.items() if value == ""]:
        del record[name]


def _patched(record: Record, operations: list[Record]) -> Record:
    """Return a copy of ``record`` with the patch operations applied, all or none."""
    changed: Record = json.loads(json.dumps(record))
    for operation in operations:
        op, path, value = operation.get("op"), operation.get("path", ""), operation.get("value")
        if path not in _PATCHABLE and not path.startswith(_PATCHABLE_PREFIXES):
            raise _bad_request(f"Invalid patch path {path}")
        if op not in ("add", "replace", "remove"):
            raise _bad_request(f"Invalid patch operation {op} for the path {path}")
        if path == "/securityPolicy" and not str(value).startswith(_SECURITY_POLICIES):
            raise _bad_request(f"Invalid security policy {value}")
        if op == "remove" and path == f"{_MTLS}truststoreUri":
            value = ""
        _apply(changed, path, None if op == "remove" else value)
    return changed


def _apply(record: Record, path: str, value: Any) -> None:
    parts = path.strip("/").split("/")
    if parts[:2] == ["endpointConfiguration", "types"]:
        record["endpointConfiguration"]["types"] = [value]
        return
    target = record
    for part in parts[:-1]:
        target = target.setdefault(part, {})
    if value in (None, ""):
        target.pop(parts[-1], None)
        if parts[-1] == "truststoreUri":
            target.pop("truststoreVersion", None)
    else:
        target[parts[-1]] = value
