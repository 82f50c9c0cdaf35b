"""What moto lacks, at the boundary where boto3's clients are handed in.

Each fake stands in for a client of boto3 and says in its docstring where it differs from moto.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from botocore.exceptions import ClientError
from botocore.model import ServiceModel
from botocore.session import Session
from botocore.validate import ParamValidator
from moto.secretsmanager.models import FakeSecret, secretsmanager_backends

from mtls_rotation.timing import Deadline

ACCOUNT = "123456789012"
REGION = "us-east-1"


class KilledError(BaseException):
    """The function's process was ended from outside, in the middle of a step."""


@dataclass
class FakeTime:
    """A monotonic clock on which sleeping takes no time. What `meanwhile` holds is run at every pause."""

    now: float = 0.0
    meanwhile: list[Callable[[], object]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for action in list(self.meanwhile):
            action()

    def deadline(self, seconds: float = 300.0) -> Deadline:
        return Deadline(self.now + seconds, self.sleep, lambda: self.now)


class SecretsManager:
    """A client of moto's Secrets Manager that behaves as AWS's where moto does not.

    - A version that holds a value keeps it: moto overwrites one at AWSPENDING.
    - AWSCURRENT is where the labels say: moto also keeps its own note, which UpdateSecretVersionStage forgets.
    - A version at AWSPENDING without a value, and rotation switched on, can be had without a Lambda function.
    - Reads can lag: `lag` of them show the secret as it was when `freeze` was called.
    - A call can be the last one: `kill_after` and `kill_before` name an operation.
    - A secret can be out of reach: `refuse_describe` maps it to the error's code.

    `calls` counts operations, `tokens` holds every RotationToken that PutSecretValue was given.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls: Counter[str] = Counter()
        self.tokens: list[str] = []
        self.before: dict[str, list[Callable[[], object]]] = {}
        self.kill_before: str | None = None
        self.kill_after: str | None = None
        self.before_page: Callable[[], object] | None = None
        self.refuse_describe: dict[str, str] = {}
        self._frozen: dict[str, dict[str, Any]] = {}
        self.lag = 0

    def __getattr__(self, operation: str) -> Any:
        if operation == "get_paginator":
            return self._paginator

        def call(**request: Any) -> Any:
            self.calls[operation] += 1
            for action in self.before.pop(operation, []):
                action()
            self._kill(self.kill_before, operation)
            own = getattr(self, f"_{operation}", None)
            answer = own(request) if own else getattr(self._client, operation)(**request)
            self._kill(self.kill_after, operation)
            return answer

        return call

    def record(self, secret_id: str) -> FakeSecret:
        """What moto holds of a secret."""
        secret = secretsmanager_backends[ACCOUNT][REGION].secrets[secret_id]
        assert isinstance(secret, FakeSecret)
        return secret

    def enable_rotation(self, secret_id: str) -> None:
        """As RotateSecret leaves the secret, without its four invocations."""
        record = self.record(secret_id)
        record.rotation_requested = record.rotation_enabled = True

    def stage(self, secret_id: str, version_id: str) -> None:
        """A version at AWSPENDING with no value: what RotateSecret makes before it invokes the function."""
        self.record(secret_id).versions[version_id] = {
            "createdate": 0,
            "version_id": version_id,
            "version_stages": ["AWSPENDING"],
        }

    def freeze(self, secret_id: str, reads: int) -> None:
        """Have the next `reads` reads show the versions and labels as they are now."""
        versions = self.record(secret_id).versions
        self._frozen = {
            key: dict(value, version_stages=list(value["version_stages"])) for key, value in versions.items()
        }
        self.lag = reads

    def _paginator(self, operation: str) -> Any:
        """Pages are counted as calls; what `before_page` holds is run once, before the next of them."""
        self.calls[operation] += 1
        if action := self.before_page:
            self.before_page = None
            action()
        return self._client.get_paginator(operation)

    def _kill(self, planned: str | None, operation: str) -> None:
        if planned == operation:
            raise KilledError(operation)

    def _stale(self, secret_id: str) -> bool:
        self.lag -= 1
        return self.lag >= 0 and bool(secret_id)

    def _get_secret_value(self, request: dict[str, Any]) -> Any:
        if self._stale(request["SecretId"]):
            wanted, label = request.get("VersionId"), request.get("VersionStage", "AWSCURRENT")
            for version_id, version in self._frozen.items():
                found = version_id == wanted if wanted else label in version["version_stages"]
                if found and "secret_string" in version:
                    answer = self._client.get_secret_value(SecretId=request["SecretId"], VersionId=version_id)
                    return answer | {"VersionStages": list(version["version_stages"])}
            raise refused("ResourceNotFoundException", "GetSecretValue")
        return self._client.get_secret_value(**request)

    def _describe_secret(self, request: dict[str, Any]) -> Any:
        if code := self.refuse_describe.get(request["SecretId"]):
            raise refused(code, "DescribeSecret")
        answer = self._client.describe_secret(**request)
        if self._stale(request["SecretId"]):
            stages = {key: value["version_stages"] for key, value in self._frozen.items()}
            return answer | {"VersionIdsToStages": stages}
        return answer

    def _put_secret_value(self, request: dict[str, Any]) -> Any:
        if token := request.pop("RotationToken", None):
            self.tokens.append(token)
        record = self.record(request["SecretId"])
        version = record.versions.get(request["ClientRequestToken"], {})
        stored = version.get("secret_string")
        if stored is not None:
            if stored != request["SecretString"]:
                raise refused("ResourceExistsException", "PutSecretValue")
            return {"ARN": record.arn, "Name": record.name}
        answer = self._client.put_secret_value(**request)
        self._note_current(record)
        return answer

    def _update_secret_version_stage(self, request: dict[str, Any]) -> Any:
        answer = self._client.update_secret_version_stage(**request)
        self._note_current(self.record(request["SecretId"]))
        return answer

    @staticmethod
    def _note_current(record: FakeSecret) -> None:
        for version_id, version in record.versions.items():
            if "AWSCURRENT" in version["version_stages"]:
                record.set_default_version_id(version_id)


def refused(code: str, operation: str) -> ClientError:
    """The error that botocore raises when AWS refuses an operation."""
    return ClientError({"Error": {"Code": code, "Message": code}}, operation)


@cache
def _model() -> ServiceModel:
    return Session().get_service_model("apigateway")


@dataclass
class Domain:
    """A custom domain name, as API Gateway keeps it."""

    uri: str
    version_id: str | None
    status: str = "AVAILABLE"
    warnings: tuple[str, ...] = ()
    mutual_tls: bool = True


class ApiGateway:
    """Custom domain names with mutual TLS, which moto has without UpdateDomainName.

    An update takes effect when `settle` is called. Requests are checked against botocore's model of the operation.
    """

    class exceptions:  # noqa: N801 - the name that boto3's clients give it
        class NotFoundException(ClientError):
            pass

    def __init__(self, has_object_version: Callable[[str], bool]) -> None:
        self.domains: dict[str, Domain] = {}
        self.updates: list[tuple[str, str]] = []
        self.refuse_updates: str | None = None
        self._has_object_version = has_object_version

    def settle(self) -> None:
        """End every update that is under way."""
        for domain in self.domains.values():
            domain.status = "AVAILABLE"

    def get_domain_name(self, **request: Any) -> dict[str, Any]:
        domain = self._domain("GetDomainName", request)
        if not domain.mutual_tls:
            return {"domainName": request["domainName"], "domainNameStatus": domain.status}
        mutual_tls: dict[str, Any] = {"truststoreUri": domain.uri, "truststoreWarnings": list(domain.warnings)}
        if domain.version_id:
            mutual_tls["truststoreVersion"] = domain.version_id
        return {
            "domainName": request["domainName"],
            "domainNameStatus": domain.status,
            "mutualTlsAuthentication": mutual_tls,
        }

    def update_domain_name(self, **request: Any) -> dict[str, Any]:
        domain = self._domain("UpdateDomainName", request)
        if self.refuse_updates:
            raise refused(self.refuse_updates, "UpdateDomainName")
        if domain.status != "AVAILABLE":
            raise refused("ConflictException", "UpdateDomainName")
        for patch in request["patchOperations"]:
            assert patch["op"] == "replace"
            match patch["path"]:
                case "/mutualTlsAuthentication/truststoreUri":
                    domain.uri = patch["value"]
                case "/mutualTlsAuthentication/truststoreVersion":
                    if not self._has_object_version(patch["value"]):
                        raise refused("BadRequestException", "UpdateDomainName")
                    domain.version_id = patch["value"]
                case _:
                    raise refused("BadRequestException", "UpdateDomainName")
        domain.status = "UPDATING"
        self.updates.append((request["domainName"], domain.version_id or ""))
        return self.get_domain_name(domainName=request["domainName"])

    def _domain(self, operation: str, request: dict[str, Any]) -> Domain:
        shape = _model().operation_model(operation).input_shape
        assert shape is not None
        report = ParamValidator().validate(request, shape)
        assert not report.has_errors(), report.generate_report()
        if request["domainName"] not in self.domains:
            answer: Any = {"Error": {"Code": "NotFoundException", "Message": "Invalid domain name identifier"}}
            raise self.exceptions.NotFoundException(answer, operation)
        return self.domains[request["domainName"]]
