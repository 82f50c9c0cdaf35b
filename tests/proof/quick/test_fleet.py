"""The sync over a fleet on the local AWS: what it costs in AWS calls. `make bench` runs the same at full size."""

from __future__ import annotations

from typing import Any

import pytest

from tests.benchmarks.fleet import DOMAIN, measure
from tests.kit.fleet import Fleet

SMALL = Fleet(clients=230, authorities=5, uploads=40)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return measure(SMALL)


def test_the_first_sync_reads_every_anchor_once_and_no_client_certificate(measured: dict[str, Any]) -> None:
    first = measured["first"]

    assert (first["anchors"], first["published"]) == (SMALL.anchors, True)
    # What a publish takes beside itself: whether the bucket keeps versions, and truststore.txt.
    published = 2
    assert first["calls_total"] <= SMALL.most_calls() + SMALL.anchors + published
    assert not {"secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"} & set(first["calls"])


def test_a_sync_that_finds_nothing_new_reads_no_certificate_and_keeps_to_its_budget_of_calls(
    measured: dict[str, Any],
) -> None:
    unchanged = measured["unchanged"]

    assert unchanged["calls"] == {
        "apigateway:GetDomainName": 1,
        "s3:GetObject": 2,
        "s3:ListObjectsV2": 3,
        "secretsmanager:ListSecrets": 3,
    }
    assert unchanged["calls_total"] <= SMALL.most_calls()
    assert not unchanged["published"]


def test_an_upload_among_many_costs_one_read_and_one_update(measured: dict[str, Any]) -> None:
    after, unchanged = measured["after_an_upload"], measured["unchanged"]

    assert after["updated"] == [DOMAIN]
    assert after["calls"]["s3:GetObject"] == unchanged["calls"]["s3:GetObject"] + 1
    assert after["calls"]["apigateway:UpdateDomainName"] == 1


@pytest.mark.parametrize("run", ["first", "unchanged", "after_an_upload"])
def test_a_sync_fits_the_functions_memory(measured: dict[str, Any], run: str) -> None:
    assert measured[run]["peak_mib"] < 512
