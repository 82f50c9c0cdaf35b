"""The rules that `doctor` looks for are those of the template, each with its events and its target."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mtlsctl.stack import rules
from tests.kit import template

NAMES = rules.Names("STACK", "STACK-ID", "BUCKET")
SUBSTITUTES = {"AWS::StackName": "STACK", "AWS::StackId": "STACK-ID", "Bucket": "BUCKET"}


def plain(node: Any) -> Any:
    """What a template says with the names of a stack in it."""
    if isinstance(node, dict):
        return SUBSTITUTES[node["Ref"]] if node.keys() == {"Ref"} else {key: plain(it) for key, it in node.items()}
    return [plain(it) for it in node] if isinstance(node, list) else node


def in_the_template() -> dict[str, tuple[str, Any, str, str]]:
    """Rule → target, pattern, schedule and the target's id, as SAM makes them of a function's events, too."""
    found: dict[str, tuple[str, Any, str, str]] = {}
    for name, resource in template.resources().items():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Events::Rule":
            (target,) = properties["Targets"]
            pattern = plain(properties.get("EventPattern"))
            schedule = properties.get("ScheduleExpression", "")
            found[name] = (target["Arn"]["Fn::GetAtt"][0], pattern, schedule, target["Id"])
        for event, it in properties.get("Events", {}).items():
            if it["Type"] in {"EventBridgeRule", "Schedule"}:
                of = it["Properties"]
                found[name + event] = (name, plain(of.get("Pattern")), of.get("Schedule", ""), "")
    return found


def test_every_rule_of_the_template_is_known_with_what_it_hears_and_whom_it_tells() -> None:
    known = {it.rule: (it.target, it.pattern(NAMES), it.schedule, it.target_id) for it in rules.RULES}

    assert known == in_the_template()


@pytest.mark.parametrize("it", [it for it in rules.RULES if not it.schedule], ids=lambda it: it.rule)
def test_each_alternative_of_a_pattern_is_in_a_sample(it: rules.StackRule) -> None:
    pattern = it.pattern(NAMES)
    assert pattern is not None
    texts = json.dumps(list(rules.samples(pattern)))

    for alternative in alternatives(pattern):
        assert (alternative["prefix"] if isinstance(alternative, dict) else alternative) in texts


def alternatives(node: Any) -> list[Any]:
    if isinstance(node, list):
        return node
    return [it for value in node.values() for it in alternatives(value)]


def test_the_order_of_alternatives_is_no_difference_and_anything_else_is() -> None:
    pattern = {"source": ["a", "b"], "detail": {"key": [{"prefix": "x"}, {"prefix": "y"}]}}

    assert rules.same(pattern, {"detail": {"key": [{"prefix": "y"}, {"prefix": "x"}]}, "source": ["b", "a"]})
    assert not rules.same(pattern, {"source": ["a", "b"]})
    assert not rules.same(pattern, pattern | {"detail-type": ["c"]})


@pytest.mark.parametrize(
    ("deployed", "keeps_up"),
    [
        ("rate(1 day)", True),
        ("rate(24 hours)", True),
        ("rate(1 minute)", True),
        ("cron(0 3 * * ? *)", True),
        ("rate(2 days)", False),
        ("rate(25 hours)", False),
        ("rate(365 days)", False),
        ("", False),
    ],
)
def test_a_rule_that_comes_less_often_than_the_templates_does_not_keep_up(deployed: str, keeps_up: bool) -> None:
    assert rules.keeps_up(deployed, "rate(1 day)") is keeps_up
