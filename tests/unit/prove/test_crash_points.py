"""Whatever is killed, at whichever call, ends as if nothing had happened."""

from __future__ import annotations

from tests.prove.retries import Kill
from tests.prove.scenarios import SCENARIOS


def test_the_scenarios_reach_each_function_each_issuer_and_both_kinds_of_secret() -> None:
    names = " ".join(it.name for it in SCENARIOS)
    wanted = (
        "secretsmanager",
        "kms",
        "acm-pca",
        "self-signed",
        "external",
        "CA in its secret",
        "CA in KMS",
        "CA that must",
    )
    assert [it for it in (*wanted, "sync", "revocation", "bootstrap", "gateway", "no gateway") if it not in names] == []


def test_a_kill_says_where() -> None:
    assert str(Kill(3, after=True)) == "after 3"
    assert str(Kill(3, after=False)) == "before 3"
