"""A part of the template as CloudFormation makes it: conditions decided, references and texts filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.kit.template import holds, resources, template

NO_VALUE = object()
PSEUDO = {
    "AWS::StackName": "stack",
    "AWS::StackId": "arn:aws:cloudformation:us-east-1:123456789012:stack/stack/51af3dc0-da77-11e4-872e-1234567db123",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}


def rendered(node: Any, parameters: Mapping[str, str]) -> Any:
    """The value of a node. What another resource answers is `<resource>` or `<resource.attribute>`."""
    match node:
        case {"Fn::If": [condition, yes, no]}:
            return rendered(yes if holds(condition, parameters) else no, parameters)
        case {"Ref": "AWS::NoValue"}:
            return NO_VALUE
        case {"Ref": name} | {"Fn::GetAtt": name} if isinstance(name, str):
            return _named(name, parameters)
        case {"Fn::GetAtt": [name, attribute]}:
            return _named(f"{name}.{attribute}", parameters)
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([^!}]+)\}", lambda it: str(_named(it[1], parameters)), text)
        case {"Fn::Join": [separator, parts]}:
            return separator.join(rendered(parts, parameters))
        case dict():
            made = {key: rendered(value, parameters) for key, value in node.items()}
            return {key: value for key, value in made.items() if value is not NO_VALUE}
        case list():
            return [value for it in node if (value := rendered(it, parameters)) is not NO_VALUE]
    return node


def there(parameters: Mapping[str, str]) -> dict[str, Any]:
    """The resources that a stack with these parameters has, by logical id."""
    return {name: it for name, it in resources().items() if holds(it.get("Condition"), parameters)}


def _named(name: str, parameters: Mapping[str, str]) -> str:
    resource = name.partition(".")[0]
    if name in PSEUDO:
        return PSEUDO[name]
    if name in template()["Parameters"]:
        return parameters.get(name, str(template()["Parameters"][name]["Default"]))
    assert resource in there(parameters), f"{name} is not there with {parameters}"
    return f"<{name}>"
