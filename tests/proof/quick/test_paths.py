"""Hundreds of chains, the same in each run and new ones: we differ from OpenSSL and GnuTLS where that was decided."""

from __future__ import annotations

import pytest

from mtls_rotation.pki import servers
from tests.proof.parts import paths
from tests.proof.paths import gnutls

COUNT = 120


def test_every_difference_is_one_that_was_decided() -> None:
    outcome = paths.run(COUNT, by_command=8)

    assert outcome.failures == []
    assert outcome.counts["chains"] == 2 * COUNT
    assert outcome.counts["accepted"] > COUNT / 2
    assert outcome.counts["refused"] > COUNT / 2
    assert outcome.counts["kinds_of_oddities"] > 65


def test_a_judge_that_looks_at_less_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers._Certificate, "problem_with_names_of", lambda *_: None)
    assert paths.run(40, (1,), by_command=0).failures


def test_without_gnutls_the_part_says_that_it_has_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gnutls, "version", lambda: None)
    outcome = paths.run(5, (1,), by_command=0)

    assert outcome.counts["judged"]["GnuTLS"] == "not judged"
    assert any("GnuTLS has not judged" in it for it in outcome.notes)
