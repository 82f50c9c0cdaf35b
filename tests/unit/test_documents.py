"""The documents name what the code says: operators look up the words that they are shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mtls_rotation import bus
from mtls_rotation.authorizer.caller import Caller
from mtls_rotation.authorizer.decision import NO_CERTIFICATE, NOT_ALLOWED, REVOKED, UNREADABLE
from mtls_rotation.pki.certificates import CertifiedKey, to_pem
from mtls_rotation.proxy.routes import Route
from mtls_rotation.truststore.guards import Guard
from mtls_rotation.truststore.plan import Why

ROOT = Path(__file__).parents[2]
TRUSTSTORE = (ROOT / "docs" / "truststore.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
GATEWAY = (ROOT / "docs" / "gateway.md").read_text()
PACKAGE = ROOT / "layers" / "rotation" / "mtls_rotation"
EVENTS = sorted(
    value
    for value in vars(bus).values()
    if isinstance(value, str) and re.fullmatch("([A-Z][a-z]+ )+[A-Z][a-z]+", value)
)


@pytest.mark.parametrize("why", Why)
def test_every_reason_for_an_anchor_is_explained(why: Why) -> None:
    assert f"\n| `{why}`" in TRUSTSTORE


@pytest.mark.parametrize("guard", Guard)
def test_every_guard_is_explained_and_whether_it_can_be_forced(guard: Guard) -> None:
    (row,) = re.findall(rf"^\| `{guard}` \|.*$", TRUSTSTORE, re.MULTILINE)

    assert row.rstrip(" |").rpartition("| ")[2].startswith("yes" if guard.may_be_forced else "no")
    assert f"`{guard}`:" in OPERATIONS


PROBLEMS = sorted(
    {
        *re.findall(r'HTTPStatus\.\w+,\s*"([a-z-]+)"', (PACKAGE / "proxy" / "problems.py").read_text()),
        *re.findall(r"urn:mtls-rotation:problem:([a-z-]+)", (ROOT / "template.yaml").read_text()),
    }
)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem_that_a_caller_may_be_told_of_is_explained(problem: str) -> None:
    assert len(PROBLEMS) > 14
    assert re.search(rf"^\| [45]\d\d \| `{problem}` \|", GATEWAY, re.MULTILINE)


@pytest.mark.parametrize("denial", [NO_CERTIFICATE, UNREADABLE, REVOKED, NOT_ALLOWED])
def test_every_denial_is_explained(denial: str) -> None:
    assert f"\n| `{denial}` |" in GATEWAY


@pytest.mark.parametrize("member", Route.model_fields)
def test_every_member_of_a_route_is_explained(member: str) -> None:
    assert re.search(rf"^\| [^|]*`{member}`[^|]* \|", GATEWAY, re.MULTILINE)


def test_what_a_backend_is_told_is_explained(ca: CertifiedKey) -> None:
    for key in Caller.from_pem(to_pem(ca.certificate)).context():
        assert f"`{key}`" in GATEWAY


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_is_listed_for_operators_own_rules(event: str) -> None:
    assert f"| `{event}` |" in OPERATIONS or event == bus.TRUSTSTORE_SYNC_REQUESTED


def test_every_metric_is_listed() -> None:
    for app in sorted((ROOT / "functions").glob("*/app.py")):
        if "aws_lambda_powertools.metrics" in app.read_text():
            for metric in re.findall(r'(?:name=|_count\()?"([A-Z][A-Za-z]+)"(?:[:,)]| if )', app.read_text()):
                assert f"`{metric}`" in OPERATIONS, metric
