"""``AWS::ApiGateway::Stage``: access logs and method settings of a template, through UpdateStage as AWS has it.

The stage itself is the emulator's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from localaws.cloudformation.calls import CallFailedError, call_service
from localaws.cloudformation.handlers import Handlers, Properties, Provisioned

type Operation = dict[str, str]

TYPE = "AWS::ApiGateway::Stage"
# The patch path of UpdateStage for each setting of a template.
_METHOD_SETTINGS = {
    "CacheDataEncrypted": "caching/dataEncrypted",
    "CacheTtlInSeconds": "caching/ttlInSeconds",
    "CachingEnabled": "caching/enabled",
    "DataTraceEnabled": "logging/dataTrace",
    "LoggingLevel": "logging/loglevel",
    "MetricsEnabled": "metrics/enabled",
    "ThrottlingBurstLimit": "throttling/burstLimit",
    "ThrottlingRateLimit": "throttling/rateLimit",
}
_ACCESS_LOG = {"DestinationArn": "destinationArn", "Format": "format"}


def handlers(emulated: Handlers) -> Handlers:
    """Return what to register for the type."""
    stages = _Stages(emulated)
    return emulated | {"create": stages.create, "update": stages.update}


@dataclass(frozen=True)
class _Stages:
    emulated: Handlers

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
        provisioned: Provisioned = self.emulated["create"](logical_id, _without_settings(properties), stack_name)
        try:
            _update(properties, patch_operations({}, properties))
        except CallFailedError:
            self.emulated["delete"](provisioned[0], properties)
            raise
        return provisioned

    def update(self, physical_id: str, old: Properties, new: Properties, stack_name: str) -> Provisioned:
        provisioned: Provisioned = self.emulated["update"](
            physical_id, _without_settings(old), _without_settings(new), stack_name
        )
        same = all(old.get(name) == new.get(name) for name in ("RestApiId", "StageName"))
        _update(new, patch_operations(old if same else {}, new))
        return provisioned


def patch_operations(old: Properties, new: Properties) -> list[Operation]:
    """Return the patch operations that lead from the settings of one template to those of another.

    >>> patch_operations({}, {"MethodSettings": [{"ResourcePath": "/*", "HttpMethod": "*", "ThrottlingRateLimit": 5}]})
    [{'op': 'replace', 'path': '/*/*/throttling/rateLimit', 'value': '5'}]
    """
    found: list[Operation] = []
    if old.get("AccessLogSetting") and not new.get("AccessLogSetting"):
        found.append({"op": "remove", "path": "/accessLogSettings"})
    elif old.get("AccessLogSetting") != new.get("AccessLogSetting"):
        found += _access_log(new["AccessLogSetting"])
    before, after = _by_method(old), _by_method(new)
    for method in before | after:
        if before.get(method) == after.get(method):
            continue
        if method in before:
            found.append({"op": "remove", "path": f"/{method}"})
        found += [
            {"op": "replace", "path": f"/{method}/{_METHOD_SETTINGS[name]}", "value": _text(value)}
            for name, value in after.get(method, {}).items()
        ]
    return found


def _access_log(settings: dict[str, str]) -> list[Operation]:
    # The ARN that CloudFormation has of a log group ends in :*, which UpdateStage does not take.
    return [
        {"op": "replace", "path": f"/accessLogSettings/{_ACCESS_LOG[name]}", "value": value.removesuffix(":*")}
        for name, value in settings.items()
    ]


def _by_method(properties: Properties) -> dict[str, dict[str, Any]]:
    """Return the method settings by ``{resource}/{verb}``, slashes within the resource written as ``~1``."""
    found: dict[str, dict[str, Any]] = {}
    for setting in properties.get("MethodSettings") or []:
        path = str(setting.get("ResourcePath", "/*"))
        resource = "*" if path == "/*" else path.removeprefix("/") if "~1" in path else path.replace("/", "~1")
        values = {name: setting[name] for name in _METHOD_SETTINGS if setting.get(name) is not None}
        found[f"{resource}/{setting.get('HttpMethod', '*')}"] = values
    return found


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_settings(properties: Properties) -> Properties:
    return {name: value for name, value in properties.items() if name not in ("AccessLogSetting", "MethodSettings")}


def _update(properties: Properties, operations: list[Operation]) -> None:
    if operations:
        path = f"/restapis/{properties['RestApiId']}/stages/{properties['StageName']}"
        call_service("apigateway", "PATCH", path, {"patchOperations": operations})
