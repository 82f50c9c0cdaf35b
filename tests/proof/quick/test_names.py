"""Names are read as OpenSSL writes them, and nobody is on a list who was not put there."""

from __future__ import annotations

from tests.proof.parts import names


def test_names_and_callers_of_whatever_a_ca_puts_into_a_certificate() -> None:
    outcome = names.quick()

    assert outcome.failures == []
    assert outcome.counts["callers let in"]
    assert outcome.counts["callers kept out"]
    assert outcome.counts["pairs that OpenSSL takes for one"]
