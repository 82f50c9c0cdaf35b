"""Templates as CloudFormation sees them: with their conditions decided, and SAM's resources written out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import boto3
from samtranslator.parser.parser import Parser  # type: ignore[import-untyped]
from samtranslator.translator.translator import Translator  # type: ignore[import-untyped]

from demo import sam
from tests.kit.template import NO_VALUE, TEMPLATE

# Every template that is shipped; the examples' are copied by others.
TEMPLATES = (
    TEMPLATE,
    sam.ROOT / "examples" / "lambda" / "template.yaml",
    sam.ROOT / "examples" / "eks-sidecar" / "pod-identity.yaml",
)
# It tells its own developers about metrics and feature toggles.
logging.getLogger("samtranslator").addHandler(logging.NullHandler())


def decided(template: dict[str, Any], answer: bool) -> dict[str, Any]:
    """The template with every resource in it, and the same answer given to every `Fn::If`.

    With both answers, all that any parameter can make of the template is looked at, one property at a time.
    """
    resources = {name: _decided(resource, answer) for name, resource in template["Resources"].items()}
    for resource in resources.values():
        resource.pop("Condition", None)
    kept = {part: it for part, it in template.items() if part not in ("Conditions", "Rules", "Outputs", "Metadata")}
    if "Globals" in template:
        kept["Globals"] = _decided(template["Globals"], answer)
    return kept | {"Resources": resources}


def written_out(template: dict[str, Any]) -> dict[str, Any]:
    """The template as CloudFormation makes it of SAM's resources. Where the code lies says nothing here."""
    if "Transform" not in template:
        return template
    for resource in template["Resources"].values():
        for name in {"CodeUri", "ContentUri"} & set(resource.get("Properties", {})):
            resource["Properties"][name] = "s3://bucket/key"
    translator = Translator({}, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    made: dict[str, Any] = translator.translate(template, {})
    return made


def without_metadata(template: dict[str, Any]) -> dict[str, Any]:
    """The template with nothing in it that could silence a check."""
    resources = {
        name: {part: value for part, value in resource.items() if part != "Metadata"}
        for name, resource in template["Resources"].items()
    }
    return template | {"Resources": resources}


def origin(resource: str, originals: Iterable[str]) -> str:
    """Which resource of the template one is made from: SAM's names for what it adds begin with it."""
    return max((name for name in originals if resource.startswith(name)), key=len, default=resource)


def _decided(node: Any, answer: bool) -> Any:
    match node:
        case {"Fn::If": [_, if_true, if_false]}:
            return _decided(if_true if answer else if_false, answer)
        case dict():
            values = {name: _decided(value, answer) for name, value in node.items()}
            return {name: value for name, value in values.items() if value != NO_VALUE}
        case list():
            return [value for value in (_decided(each, answer) for each in node) if value != NO_VALUE]
        case _:
            return node
