"""Rotations that stand still and a gateway that lets nobody in: status is not green while one of them is so."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from mtls_rotation.aws.certificate_index import FiledCertificate
from mtls_rotation.pki.certificates import fingerprint
from mtls_rotation.timing import utc_now
from mtlsctl.commands.status import judge
from mtlsctl.exit_status import ExitStatus
from mtlsctl.findings import DoctorContext, attention, standstill
from mtlsctl.findings.looking import looked
from mtlsctl.findings.survey import AWAITED, about_secret, unsynced
from mtlsctl.stack.survey import Survey
from tests.kit.builders import NOW, root
from tests.unit.cli.conftest import spoiled


def waiting(survey: Survey, ca: x509.Certificate, filed: datetime, pending: datetime, *, published: bool) -> Survey:
    """A CA's rotation between createSecret and setSecret."""
    stages = {"v-current": frozenset({"AWSCURRENT"}), "v-next": frozenset({"AWSPENDING"})}
    key, name = fingerprint(ca), survey.secrets[0].name
    entry = FiledCertificate(key, name, "v-next", "01", filed, authority=True)
    preview = survey.preview
    added = frozenset() if published else frozenset({key})
    seen = replace(preview.seen, issued=(entry,))
    found = spoiled(survey, pending_since=pending, stages=stages)
    return replace(
        found,
        preview=replace(preview, seen=seen, plan=replace(preview.plan, added=added)),
        unpublished_since={key: filed} if added else {},
    )


@pytest.mark.parametrize(
    ("filed", "pending", "published", "red"),
    [
        (AWAITED * 2, AWAITED * 2, False, True),
        (AWAITED * 2, AWAITED * 2, True, False),
        (AWAITED / 2, AWAITED * 2, False, False),
        # The CA was filed long ago: what waits for it waits from now on.
        (AWAITED * 9, AWAITED / 2, False, False),
    ],
)
def test_a_rotation_whose_request_to_sync_was_lost_is_told_within_minutes(
    survey: Survey, filed: timedelta, pending: timedelta, *, published: bool, red: bool
) -> None:
    seen = waiting(survey, root("Next").certificate, NOW - filed, NOW - pending, published=published)

    found = list(about_secret(seen.secrets[0], seen, (unsynced,)))

    assert [it.remedy for it in found] == ["mtlsctl truststore sync --wait"] * red
    assert not list(about_secret(seen.secrets[0], replace(seen, targets=()), (unsynced,)))


class Aws:
    """Lambda and CloudWatch, as far as they are asked here."""

    def __init__(self, held: frozenset[str] = frozenset(), metrics: dict[str, dict[int, float]] | None = None) -> None:
        self.held, self.metrics = held, metrics or {}
        self.exceptions = SimpleNamespace(ResourceNotFoundException=LookupError)
        self.calls = 0

    def get_function_concurrency(self, *, FunctionName: str) -> Any:  # noqa: N803
        self.calls += 1
        return {"ReservedConcurrentExecutions": 0} if FunctionName in self.held else {}

    def get_metric_statistics(self, *, MetricName: str, **_: Any) -> Any:  # noqa: N803
        self.calls += 1
        minute = utc_now().replace(second=0, microsecond=0)
        points = self.metrics.get(MetricName, {})
        return {"Datapoints": [{"Timestamp": minute - timedelta(minutes=ago), "Sum": it} for ago, it in points.items()]}

    def context(self) -> DoctorContext:
        resources = {"GatewayApi": "api", "RotateFunction": "rotate", "TruststoreSyncFunction": "sync"}
        deployment: Any = SimpleNamespace(name="s", resources=resources, session=SimpleNamespace(client=lambda _: self))
        return DoctorContext(deployment)


ROTATIONS, _, REQUESTS = standstill.CHECKS


def test_a_function_that_is_held_back_has_rotations_stand_still() -> None:
    findings, _ = looked(ROTATIONS, Aws(frozenset({"rotate"})).context())

    assert [(it.subject, it.remedy) for it in findings] == [
        ("RotateFunction", "aws lambda delete-function-concurrency --function-name rotate")
    ]
    assert looked(ROTATIONS, Aws().context()) == ([], [])


@pytest.mark.parametrize(
    ("count", "refused", "red"),
    [
        ({}, {}, False),
        ({3: 40.0}, {3: 40.0}, True),
        ({3: 40.0}, {3: 39.0}, False),
        # What was refused before and is let in now is over; what is refused now is not made good by what was before.
        ({9: 40.0, 3: 5.0}, {9: 40.0}, False),
        ({9: 40.0, 3: 5.0}, {3: 5.0}, True),
    ],
)
def test_a_gateway_that_refuses_all_that_is_asked_of_it_now_is_not_green(
    count: dict[int, float], refused: dict[int, float], *, red: bool
) -> None:
    aws = Aws(metrics={"Count": count, "5XXError": refused})

    findings, _ = looked(REQUESTS, aws.context())

    assert bool(findings) == red
    assert aws.calls <= 2


def test_what_stands_still_ends_status_with_its_attention(survey: Survey) -> None:
    report = judge(survey, "s", "us-east-1", [attention("AuthorizerFunction", "it lets nobody in", "aws …")])

    assert report.exit_status is ExitStatus.ATTENTION
    assert judge(survey, "s", "us-east-1").exit_status is ExitStatus.OK
