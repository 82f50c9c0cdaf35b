"""Which version of a CA secret is labelled to issue while its successor is only announced."""

from __future__ import annotations

from datetime import timedelta

import pytest

from mtls_rotation.aws.secret_versions import SecretDescription
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, issues_until
from mtls_rotation.rotation.ca_notice import LabelMove, ca_notice
from tests.kit.builders import NOW

NOTICE = NOW + timedelta(days=7)
OVER = issues_until(NOW - timedelta(days=1))
RUNS = issues_until(NOW + timedelta(days=3))


@pytest.mark.parametrize(
    ("labels_of_old", "labels_of_current", "announced", "moves"),
    [
        (set(), set(), True, [LabelMove(issues_until(NOTICE), None, "current")]),
        ({OVER}, set(), True, [LabelMove(OVER, "old", None), LabelMove(issues_until(NOTICE), None, "current")]),
        ({RUNS}, set(), True, [LabelMove(issues_until(NOTICE), None, "old")]),
        (set(), {issues_until(NOTICE)}, True, []),
        ({RUNS}, set(), False, [LabelMove(RUNS, "old", None)]),
        (set(), set(), False, []),
    ],
    ids=["first", "an older notice is over", "the current one is announced", "said already", "at once", "nothing"],
)
def test_the_ca_that_goes_on_issuing_is_labelled(
    labels_of_old: set[str], labels_of_current: set[str], announced: bool, moves: list[LabelMove]
) -> None:
    stages = {"old": labels_of_old, "current": {AWSCURRENT} | labels_of_current, "next": {AWSPENDING}}
    described = SecretDescription("arn", "ca", True, {key: frozenset(it) for key, it in stages.items()})

    assert ca_notice(described, NOW, NOTICE if announced else None) == moves
