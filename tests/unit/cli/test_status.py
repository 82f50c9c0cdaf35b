"""What `mtlsctl status` makes of what it saw."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from rich.console import Console

from mtls_rotation.pki.certificates import CertifiedKey, fingerprint
from mtls_rotation.truststore.guards import Guard, Stop
from mtls_rotation.truststore.plan import Anchor, LeftOut, Reason, Why
from mtlsctl.commands.status import StatusReport, judge
from mtlsctl.exit_status import ExitStatus
from mtlsctl.findings.survey import about_target
from mtlsctl.report import Severity
from mtlsctl.stack.survey import Filed, Survey
from mtlsctl.stack.targets import NO_DOMAIN
from tests.kit.builders import NOW, leaf, named, root
from tests.unit.cli.conftest import spoiled


def judged(survey: Survey) -> StatusReport:
    return judge(survey, "s", "us-east-1")


def whats(report: StatusReport) -> list[str]:
    return [finding.what for finding in report.findings]


def test_what_is_well_is_well(survey: Survey) -> None:
    report = judged(survey)

    assert (report.exit_status, report.findings) == (ExitStatus.OK, [])
    assert [it.accepted for it in report.secrets[0].accepted] == [True]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"rotation_enabled": False}, "its rotation is switched off"),
        ({"deleted": True}, "it is marked for deletion"),
        ({"current": None}, "no certificate of its own is filed for AWSCURRENT"),
        ({"pending_since": NOW - timedelta(hours=2)}, "a rotation has been under way since"),
        ({"pending_since": NOW - timedelta(hours=2), "unsigned": True}, "it has waited since"),
        ({"next_rotation": NOW - timedelta(days=2)}, "its rotation was due on"),
    ],
)
def test_what_is_not_well_with_a_secret_needs_attention(survey: Survey, changes: dict[str, object], what: str) -> None:
    report = judged(spoiled(survey, **changes))

    assert report.exit_status is ExitStatus.ATTENTION
    assert [it.startswith(what) for it in whats(report)] == [True]


@pytest.mark.parametrize(
    "changes",
    [
        {"pending_since": NOW - timedelta(minutes=2)},
        {"pending_since": NOW - timedelta(minutes=2), "unsigned": True},
        {"current": None, "pending_since": NOW},  # the first rotation is under way
        {"next_rotation": NOW - timedelta(hours=2)},
    ],
)
def test_what_takes_its_time_is_well(survey: Survey, changes: dict[str, object]) -> None:
    assert judged(spoiled(survey, **changes)).exit_status is ExitStatus.OK


@pytest.mark.parametrize(
    ("validity", "after", "what"),
    [
        (timedelta(days=30), timedelta(days=24), "its certificate ends in 6.0 days"),
        (timedelta(days=30), timedelta(days=22), None),
        (timedelta(days=30), timedelta(days=31), "its certificate has expired"),
        # One that never has seven days is well until its last quarter.
        (timedelta(days=2), timedelta(days=1), None),
        (timedelta(days=2), timedelta(days=1.75), "its certificate ends in 0.2 days"),
    ],
)
def test_a_certificate_near_its_end_needs_attention(
    survey: Survey, authority: CertifiedKey, validity: timedelta, after: timedelta, what: str | None
) -> None:
    issued = leaf(authority, validity_days=validity.days)
    filed = Filed(issued.certificate, frozenset({fingerprint(issued.anchor)}))
    later = replace(spoiled(survey, current=filed, next_rotation=NOW + after), now=NOW + after)

    found = [it for it in whats(judged(later)) if "its certificate" in it]
    assert found == ([what] if what else [])


def test_a_domain_that_lacks_the_anchor_does_not_accept_the_certificate(survey: Survey) -> None:
    stranger = root("Stranger").certificate
    (target,) = survey.targets
    lacking = replace(survey, targets=(replace(target, anchors={fingerprint(stranger): stranger}),))

    report = judged(lacking)

    assert [it.accepted for it in report.secrets[0].accepted] == [False]
    assert whats(report)[0].startswith("api.example.com does not accept it: no chain to a trusted anchor")


def test_a_first_rotation_that_is_stuck_is_told_with_the_certificate_that_is_lacking(survey: Survey) -> None:
    stuck = spoiled(survey, current=None, pending_since=NOW - timedelta(hours=2))

    lacking, under_way = whats(judged(stuck))
    assert lacking.startswith("no certificate of its own")
    assert under_way.startswith("a rotation has been under way since")


def test_a_secret_whose_rotation_is_off_is_not_overdue_too(survey: Survey) -> None:
    off = spoiled(survey, rotation_enabled=False, next_rotation=NOW - timedelta(days=2))

    assert whats(judged(off)) == ["its rotation is switched off"]


def test_a_certificate_for_servers_elsewhere_is_asked_of_no_domain(survey: Survey) -> None:
    current = survey.secrets[0].current
    assert current
    outside = spoiled(survey, current=replace(current, anchors=frozenset()))
    (target,) = outside.targets
    report = judged(replace(outside, targets=(replace(target, anchors={}),)))

    assert (report.secrets[0].accepted, report.findings) == ([], [])


def test_a_ca_is_accepted_if_it_is_in_the_truststore_itself(survey: Survey, authority: CertifiedKey) -> None:
    filed = Filed(authority.certificate, frozenset({fingerprint(authority.certificate)}))
    ca = spoiled(survey, kind="ca", tagged_as_ca=True, current=filed)
    (target,) = ca.targets

    def verdicts(anchors: dict[str, x509.Certificate]) -> list[bool | None]:
        report = judged(replace(ca, targets=(replace(target, anchors=anchors),)))
        return [it.accepted for it in report.secrets[0].accepted]

    # Of the same name: the truststore has to hold this very one.
    successor = named(authority.certificate.subject).certificate
    assert verdicts({fingerprint(authority.certificate): authority.certificate}) == [True]
    assert verdicts({fingerprint(successor): successor}) == [False]


def test_a_domain_with_a_problem_is_not_up_to_date_whatever_version_it_names(survey: Survey) -> None:
    (target,) = survey.targets
    report = judged(replace(survey, targets=(replace(target, problem="runs s3://other/truststore.pem"),)))

    assert [it.up_to_date for it in report.domains] == [False]


def test_a_guard_needs_no_attention_where_there_is_no_gateway(survey: Survey) -> None:
    stop = Stop(Guard.DROPS_TOO_MANY, "60% less", "force it")
    report = judged(replace(survey, targets=(), preview=replace(survey.preview, stop=stop)))

    assert report.exit_status is ExitStatus.OK


def test_a_domain_whose_truststore_cannot_be_had_is_not_guessed_about(survey: Survey) -> None:
    (target,) = survey.targets
    gone = replace(survey, targets=(replace(target, anchors=None, problem="runs an object version that is gone"),))

    report = judged(gone)

    assert [it.accepted for it in report.secrets[0].accepted] == [None]
    assert {it.severity for it in report.findings} == {Severity.ATTENTION, Severity.UNKNOWN}


def test_a_domain_that_runs_an_older_truststore_or_warns_needs_attention(survey: Survey) -> None:
    (target,) = survey.targets
    behind = replace(target, version_id="v1", warnings=("certificate expired",))

    assert whats(judged(replace(survey, targets=(behind,)))) == [
        "it does not run the published truststore",
        "API Gateway warns: certificate expired",
    ]


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        (
            {"exists": False, "problem": "no mutual TLS"},
            "aws apigateway update-domain-name --domain-name api.example.com",
        ),
        ({"exists": False, "problem": NO_DOMAIN}, "Deploy without DomainName, then with it"),
        ({"problem": "runs an object version that is gone"}, "mtlsctl truststore sync --wait"),
    ],
)
def test_what_a_domain_lacks_is_not_mended_by_deploying_the_same_again(
    survey: Survey, changes: dict[str, Any], remedy: str
) -> None:
    lacking = replace(survey.targets[0], anchors=None, **changes)
    (finding,) = about_target(lacking, survey)
    assert finding.remedy.startswith(remedy)


def test_a_domain_that_is_stuck_or_names_no_version_needs_attention(survey: Survey) -> None:
    stuck = replace(survey.targets[0], settled=False, stuck=True, state="FAILED", message="not readable")
    unversioned = replace(
        survey.targets[0], version_id=None, anchors=None, problem="does not say which version it runs"
    )

    for domain, what in ((stuck, "it is FAILED: not readable"), (unversioned, "does not say which version it runs")):
        found = [it for it in judged(replace(survey, targets=(domain,))).findings if it.subject == domain.name]
        assert [it.what for it in found] == [what]


def test_a_guard_and_a_rejected_upload_need_attention(survey: Survey) -> None:
    rejected = LeftOut("anchors/static/partner.pem", 2, "CN=Partner", "", "it has expired", rejected=True)
    left_out = LeftOut("anchors/managed/x.pem", 1, "CN=Old", "", "nothing live chains to it")
    plan = replace(survey.preview.plan, left_out=(rejected, left_out))
    stop = Stop(Guard.DROPS_TOO_MANY, "60% less", "force it")
    report = judged(replace(survey, preview=replace(survey.preview, plan=plan, stop=stop)))

    assert [(it.subject, it.what) for it in report.findings] == [
        ("truststore", "the guard drops-too-many: 60% less"),
        ("anchors/static/partner.pem, certificate 2", "it is not trusted: it has expired"),
    ]
    shown, _, otherwise = report.findings[1].remedy.partition("  # ")
    assert shown == f"aws s3 cp s3://{survey.bucket}/anchors/static/partner.pem -"
    assert otherwise.endswith(f"aws s3 rm s3://{survey.bucket}/anchors/static/partner.pem")


@pytest.mark.parametrize(("minutes", "told"), [(1, False), (16, True)])
def test_an_anchor_that_is_not_published_for_long_needs_attention(
    survey: Survey, authority: CertifiedKey, *, minutes: int, told: bool
) -> None:
    since = {fingerprint(authority.certificate): NOW - timedelta(minutes=minutes)}
    lagging = replace(survey, unpublished_since=since)

    assert any("it is not in the truststore" in it for it in whats(judged(lagging))) == told
    assert whats(judged(replace(lagging, targets=()))) == []


@pytest.mark.parametrize(
    ("why", "of_current", "told"),
    [
        (Why.IN_USE, False, False),
        (Why.RETIRING, False, False),
        (Why.IN_USE, True, True),
        (Why.UPLOADED, False, True),
        (Why.ISSUES, False, True),
    ],
)
def test_an_anchor_that_ends_needs_attention_if_somebody_needs_it_from_now_on(
    survey: Survey, why: Why, *, of_current: bool, told: bool
) -> None:
    """A CA that only a certificate at AWSPREVIOUS chains to ends when it is over, as it should."""
    ending = root("Ending", now=NOW - timedelta(days=362))
    key = fingerprint(ending.certificate)
    plan = replace(survey.preview.plan, anchors={key: Anchor(ending.certificate, (Reason(why, ("x",)),))})
    seen = replace(survey, preview=replace(survey.preview, plan=plan))
    if of_current:
        current = survey.secrets[0].current
        assert current
        seen = spoiled(seen, current=replace(current, anchors=frozenset({key})))

    assert any(it.startswith("it ends in") for it in whats(judged(seen))) == told


def test_names_that_somebody_else_chose_are_shown_as_they_are(survey: Survey) -> None:
    """A subject may hold what rich would take for markup."""
    nasty = leaf(root("[bold]CA[/bold]"), common_name="[red]x[/red]")
    filed = Filed(nasty.certificate, frozenset())
    console = Console(width=300, record=True)
    for part in judged(spoiled(survey, current=filed)).render():
        console.print(part)

    assert "[bold]CA[/bold]" in console.export_text()
