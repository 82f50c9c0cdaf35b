"""``AWS::Lambda::Function`` and ``AWS::Lambda::EventSourceMapping``: the concurrency that a template reserves.

All else is the emulator's. https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-lambda-function.html
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.services import lambda_svc

from localaws.cloudformation.handlers import Handlers, Properties, Provisioned
from localaws.workers.concurrency import problem_with_mapping

TYPE = "AWS::Lambda::Function"
MAPPING_TYPE = "AWS::Lambda::EventSourceMapping"
_RESERVED = "ReservedConcurrentExecutions"


def handlers(emulated: Handlers) -> Handlers:
    """Return what to register for functions."""

    def create(logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
        provisioned: Provisioned = emulated["create"](logical_id, properties, stack_name)
        try:
            _reserve(provisioned[0], properties)
        except ValueError:
            emulated["delete"](provisioned[0], properties)
            raise
        return provisioned

    def update(physical_id: str, old: Properties, new: Properties, *rest: Any, **named: Any) -> Provisioned:
        provisioned: Provisioned = emulated["update"](physical_id, old, new, *rest, **named)
        if _RESERVED in new:
            _reserve(provisioned[0], new)
        elif _RESERVED in old:
            lambda_svc._delete_function_concurrency(provisioned[0])
        return provisioned

    return emulated | {"create": create, "update": update}


def mapping_handlers(emulated: Handlers) -> Handlers:
    """Return what to register for event source mappings."""

    def checked(name: str, index: int) -> Callable[..., Provisioned]:
        def provision(*arguments: Any, **named: Any) -> Provisioned:
            properties = arguments[index]
            if problem := problem_with_mapping(str(properties.get("FunctionName", "")), properties):
                raise ValueError(f"{problem} (Service: Lambda, Status Code: 400)")
            provisioned: Provisioned = emulated[name](*arguments, **named)
            return provisioned

        return provision

    return emulated | {"create": checked("create", 1), "update": checked("update", 2)}


def _reserve(name: str, properties: Properties) -> None:
    if _RESERVED in properties:
        status, _, body = lambda_svc._put_function_concurrency(name, {_RESERVED: properties[_RESERVED]})
        if status >= 400:
            raise ValueError(f"{json.loads(body)['message']} (Service: Lambda, Status Code: {status})")
