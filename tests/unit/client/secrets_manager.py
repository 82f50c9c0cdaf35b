"""Secrets Manager at the boundary where boto3's client is handed in, with reads that lag and calls that fail.

moto has no lag, and lets a version be read by a label that it does not carry.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from typing import Any

from botocore.exceptions import ClientError
from botocore.model import ServiceModel
from botocore.session import Session
from botocore.validate import ParamValidator

from mtls_rotation.pki.certificates import CertifiedKey, key_to_pem, to_pem
from tests.kit.fakes import refused

SECRET = "mtls/billing"


def value_of(issued: CertifiedKey, **changes: Any) -> str:
    """A secret's value, with members changed; None leaves one out."""
    members = {
        "certificate": to_pem(issued.certificate),
        "certificate_chain": to_pem(*issued.chain),
        "private_key": key_to_pem(issued.key),
        "owner": "an operator's own note",
    }
    return json.dumps({key: value for key, value in (members | changes).items() if value is not None})


@cache
def _model() -> ServiceModel:
    return Session().get_service_model("secretsmanager")


class SecretsManager:
    """One secret. Requests are checked against botocore's model; `calls` counts them.

    - `described`: what DescribeSecret names as AWSCURRENT where its replica lags.
    - `hidden`: versions that GetSecretValue cannot find yet.
    - `failing`: what every call raises.
    """

    def __init__(self) -> None:
        self.values: dict[str, str | bytes] = {}
        self.current = ""
        self.described: str | None = None
        self.hidden: set[str] = set()
        self.failing: Exception | None = None
        self.calls: Counter[str] = Counter()

    def rotate(self, value: str | bytes) -> str:
        """A new version with this value is AWSCURRENT; returns its id."""
        self.current = f"{len(self.values) + 1:032d}"
        self.values[self.current] = value
        return self.current

    def describe_secret(self, **request: Any) -> dict[str, Any]:
        self._called("DescribeSecret", request)
        current = self.described or self.current
        stages = {version: ["AWSCURRENT"] if version == current else ["AWSPREVIOUS"] for version in self.values}
        return {"Name": SECRET, "VersionIdsToStages": stages}

    def get_secret_value(self, **request: Any) -> dict[str, Any]:
        self._called("GetSecretValue", request)
        version = request.get("VersionId", self.current)
        carries = version in (self.current, self.described)
        if version in self.hidden or (request.get("VersionStage") == "AWSCURRENT" and not carries):
            raise refused("ResourceNotFoundException", "GetSecretValue")
        value = self.values[version]
        member = "SecretString" if isinstance(value, str) else "SecretBinary"
        return {"Name": SECRET, "VersionId": version, member: value}

    def _called(self, operation: str, request: dict[str, Any]) -> None:
        self.calls[operation] += 1
        shape = _model().operation_model(operation).input_shape
        assert shape is not None
        report = ParamValidator().validate(request, shape)
        assert not report.has_errors(), report.generate_report()
        if request["SecretId"] != SECRET:
            raise refused("ResourceNotFoundException", operation)
        if self.failing:
            raise self.failing


def throttled() -> ClientError:
    return refused("ThrottlingException", "DescribeSecret", "Rate exceeded")
