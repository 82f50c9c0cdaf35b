"""What an issuer says that it needs is what the template gives the rotate function for it: no less, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from mtls_rotation.issuers import registry
from tests.kit.template import listed, statements, template


def written(resource: Any) -> str:
    """A resource of a statement, as `Need` writes it."""
    match resource:
        case str(text) | {"Fn::Sub": str(text)}:
            return text
        case {"Ref": str(name)}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"${{{name}.{attribute}}}"
    raise AssertionError(f"a way to write a resource that no issuer has used so far: {resource}")


@pytest.mark.parametrize("name", registry.MODULES)
def test_the_template_gives_an_issuer_what_it_needs_and_nothing_else(name: str) -> None:
    kind = registry.kind(name)
    given = {
        (action, written(resource))
        for it in statements("RotateRole")
        if it.when == kind.condition and it.body["Effect"] == "Allow"
        for action in it.actions
        for resource in listed(it.body["Resource"])
    }

    assert {(action, it.resource) for it in kind.needs for action in it.actions} == given
    assert bool(kind.condition) == bool(kind.needs)


def test_the_template_lets_choose_every_issuer_and_no_other() -> None:
    assert template()["Parameters"]["ClientIssuer"]["AllowedValues"] == list(registry.MODULES)


@pytest.mark.parametrize("name", registry.MODULES)
def test_what_an_issuer_takes_from_the_template_are_parameters_of_it(name: str) -> None:
    parameters = template()["Parameters"]
    properties = template()["Resources"]["Bootstrap"]["Properties"]

    for member, parameter in registry.kind(name).parameters.items():
        assert member in registry.kind(name).reference.model_fields
        assert parameter in properties
        assert parameter == "CaSecret" or parameter in parameters
