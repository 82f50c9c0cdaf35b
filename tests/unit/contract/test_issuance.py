"""Who gets which name of a CA, and who may have a CA trusted: by the operator's word, never by a tag."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mtls_rotation.contract.issuance import Issuance, IssuanceRule, Secret, parse_rules
from mtls_rotation.errors import InvalidSettingsError, UnentitledRequestError, UnlistedAuthorityError
from mtls_rotation.pki.request import CertificateRequest

OWN = "stack/client"


def secret(name: str, end: str = "x9Y8z7") -> Secret:
    return Secret(name, f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-{end}")


def entitled(name: str | Secret, rules: tuple[IssuanceRule, ...] = (), **request: Any) -> bool:
    asks = CertificateRequest(**{"common_name": "orders"} | request)
    ca = CertificateRequest(common_name="CA", organization="Example Ltd")
    stated = Issuance("stack", frozenset({OWN}), reserved="mtls-client", trusted=("trusted/*",))
    try:
        stated.require_entitled(secret(name) if isinstance(name, str) else name, asks, ca, rules)
    except UnentitledRequestError:
        return False
    return True


def test_without_a_rule_a_secret_gets_its_own_name_below_the_stacks() -> None:
    assert entitled("stack/orders")
    assert entitled("stack/orders", organization="Example Ltd"), "as its CA has it"
    assert entitled("stack/orders.example.com", common_name="orders.example.com")


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("stack/x", {"common_name": "orders"}),
        ("team/orders", {}),
        ("orders", {}),
        ("stack2/orders", {}),
        ("stack/team/orders", {"common_name": "team/orders"}),
        ("stack/Orders", {"common_name": "Orders"}),
        ("stack/orders", {"dns_names": ["billing.example.com"]}),
        ("stack/orders", {"uris": ["spiffe://example.com/orders"]}),
        ("stack/orders", {"emails": ["orders@example.com"]}),
        ("stack/orders", {"ip_addresses": ["192.0.2.1"]}),
        ("stack/orders", {"extended_key_usages": ["serverAuth"]}),
        ("stack/orders", {"organization": "Another Ltd"}),
        ("stack/orders", {"organizational_unit": "Payments"}),
        ("stack/mtls-client", {"common_name": "mtls-client"}),
        ("stack/orders.example.com", {"common_name": "orders.example.com", "dns_names": ["orders.example.com"]}),
    ],
)
def test_without_a_rule_it_gets_nothing_else(name: str, request_: dict[str, Any]) -> None:
    assert not entitled(name, **request_)


def test_the_templates_own_secrets_and_those_that_are_listed_get_what_they_ask_for() -> None:
    for name in (OWN, "trusted/a"):
        assert entitled(name, common_name="mtls-client", uris=["spiffe://example.com/c"])


def rules(*stated: dict[str, Any]) -> tuple[IssuanceRule, ...]:
    return parse_rules(json.dumps(stated), "here")


def test_a_rule_lets_its_secrets_ask_for_what_its_patterns_match() -> None:
    stated = rules({"secret": "orders/*", "common_name": ["orders-*"], "dns_names": ["*.orders.example.com"]})
    assert entitled("orders/a", stated, common_name="orders-1", dns_names=["a.orders.example.com"])
    assert entitled("orders/a", stated, common_name="ORDERS-1"), "case does not count"
    for more in ({"common_name": "billing"}, {"common_name": "orders-1", "uris": ["spiffe://example.com/a"]}):
        assert not entitled("orders/a", stated, **more)
    assert not entitled("team/a", stated, common_name="orders-1")


def test_a_rule_without_patterns_lets_its_secrets_ask_for_anything() -> None:
    assert entitled("team/a", rules({"secret": "team/*"}), uris=["spiffe://example.com/a"])


def test_what_a_rule_gives_to_one_secret_another_does_not_get_by_its_name() -> None:
    stated = rules({"secret": "team/billing", "common_name": ["billing*"]})
    assert not entitled("stack/billing", stated, common_name="billing")
    assert not entitled("stack/billing-2", stated, common_name="billing-2")
    assert entitled("stack/orders", stated)


def test_a_rule_may_name_one_secret_which_another_of_its_name_is_not() -> None:
    it = secret("team/billing")
    stated = rules({"secret": it.arn, "common_name": ["billing"]})
    assert entitled(it, stated, common_name="billing")
    assert not entitled(secret("team/billing", "q1w2e3"), stated, common_name="billing")


@pytest.mark.parametrize("pattern", ["[ab]", "or?ers"])
def test_only_a_star_means_something_in_a_pattern(pattern: str) -> None:
    rule = IssuanceRule(secret="*", common_name=(pattern,))
    assert rule.matches("common_name", pattern)
    assert not rule.matches("common_name", "a")
    assert not rule.matches("common_name", "orders")


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[1]", '[{"common_name": ["a"]}]', '[{"secret": "a", "names": []}]', "[" * 9999]
)
def test_what_are_no_rules_are_refused(text: str) -> None:
    with pytest.raises(InvalidSettingsError, match="here: found an unusable"):
        parse_rules(text, "here")


def test_an_anchor_comes_from_the_stacks_own_secrets_and_from_those_that_are_listed() -> None:
    stated = Issuance("stack", frozenset({OWN}), trusted=("partner/*", secret("one").arn))
    for it in (secret(OWN), secret("partner/a"), secret("one")):
        stated.require_listed(it, "the CA")
    for it in (secret("stack/ca"), secret("stack/ca-2"), secret("one", "q1w2e3"), secret("x/partner/a")):
        with pytest.raises(UnlistedAuthorityError, match="TrustedSecrets"):
            stated.require_listed(it, "the CA")
