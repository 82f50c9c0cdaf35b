"""What the truststore's commands make of what they saw."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mtls_rotation.pki.certificates import fingerprint, subject
from mtls_rotation.truststore.guards import Guard, Stop
from mtls_rotation.truststore.plan import Anchor, LeftOut, Reason, Why
from mtlsctl.commands.truststore.diff import judge as differ
from mtlsctl.commands.truststore.plan import judge as plan_of
from mtlsctl.commands.truststore.show import chosen
from mtlsctl.commands.truststore.show import judge as show_of
from mtlsctl.commands.truststore.sync import what_remains
from mtlsctl.errors import InvalidInputError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.stack.survey import Survey
from mtlsctl.stack.targets import Target
from tests.kit import builders
from tests.kit.builders import NOW

PARTNER = builders.root("Partner").certificate
KEY = fingerprint(PARTNER)


@pytest.fixture
def uploaded(survey: Survey) -> Survey:
    """A stack to which a partner's CA was just uploaded."""
    plan = survey.preview.plan
    anchor = Anchor(PARTNER, (Reason(Why.UPLOADED, ("anchors/static/p.pem",)),))
    plan = replace(plan, anchors={**plan.anchors, KEY: anchor}, added=frozenset({KEY}))
    return replace(survey, preview=replace(survey.preview, plan=plan))


@pytest.fixture
def leaving(survey: Survey) -> Survey:
    """A stack that has a partner's CA which nothing holds any more."""
    out = LeftOut("anchors/managed/p.pem", 1, "CN=Partner", KEY, "nothing live chains to it")
    plan = replace(survey.preview.plan, removed=frozenset({KEY}), left_out=(out,))
    deployed = {**survey.preview.deployed, KEY: PARTNER}
    domain = replace(survey.targets[0], anchors=deployed)
    return replace(survey, targets=(domain,), preview=replace(survey.preview, plan=plan, deployed=deployed))


def running(survey: Survey, **changes: object) -> Target:
    return replace(survey.targets[0], **changes)  # type: ignore[arg-type]


def test_what_is_at_rest_has_nothing_to_do(survey: Survey) -> None:
    assert differ(survey.targets, survey.preview, NOW).exit_status is ExitStatus.OK
    assert plan_of(survey.targets, survey.preview, NOW).updates == []
    assert show_of(survey.targets, survey.preview, NOW).exit_status is ExitStatus.OK
    assert what_remains(survey.preview, survey.targets) == ""


def test_an_upload_is_added_by_a_sync_and_every_domain_told(uploaded: Survey) -> None:
    report = plan_of(uploaded.targets, uploaded.preview, NOW)
    _, published = differ(uploaded.targets, uploaded.preview, NOW).differences

    assert [it.why for it in report.added] == ["uploaded in anchors/static/p.pem"]
    assert report.updates == ["api.example.com"]
    assert ([it.subject for it in published.added], published.removed) == ([subject(PARTNER)], [])
    assert what_remains(uploaded.preview, uploaded.targets) == "a change is not published yet"


def test_what_nothing_holds_any_more_is_shown_as_going_with_the_reason(leaving: Survey) -> None:
    (domain,) = show_of(leaving.targets, leaving.preview, NOW).domains
    (line,) = [it for it in domain.anchors or [] if it.goes]

    assert line.why == "it goes: nothing live chains to it"
    assert [it.fingerprint_sha256 for it in plan_of(leaving.targets, leaving.preview, NOW).removed] == [KEY]


def test_a_guard_is_what_a_plan_needs_attention_for(leaving: Survey) -> None:
    stopped = replace(leaving.preview, stop=Stop(Guard.DROPS_TOO_MANY, "1 of 2 anchors dropped at once", "Look."))

    report = plan_of(leaving.targets, stopped, NOW)

    assert report.exit_status is ExitStatus.ATTENTION
    assert report.stop
    assert (report.stop.guard, report.stop.may_be_forced) == ("drops-too-many", True)


def test_a_domain_that_is_behind_or_settling_is_waited_for(survey: Survey) -> None:
    behind, settling = running(survey, version_id="v1"), running(survey, settled=False, state="UPDATING")

    assert what_remains(survey.preview, [behind]) == "api.example.com does not run version v2 yet"
    assert what_remains(survey.preview, [settling]) == "api.example.com is UPDATING"
    (difference, _) = differ([behind], survey.preview, NOW).differences
    assert (difference.differs, difference.added, difference.removed) == (True, [], [])


def test_a_truststore_that_cannot_be_had_could_not_be_told(survey: Survey) -> None:
    gone = replace(running(survey, version_id="v0"), anchors=None, problem="runs an object version that is gone")

    assert differ([gone], survey.preview, NOW).exit_status is ExitStatus.UNKNOWN
    assert show_of([gone], survey.preview, NOW).exit_status is ExitStatus.UNKNOWN


def test_warnings_expired_anchors_and_missing_domains_need_attention(survey: Survey) -> None:
    warned = running(survey, warnings=("a certificate is about to expire",))
    expired = replace(survey.targets[0], anchors={KEY: builders.foreign(not_after=NOW)})
    missing = Target("api.example.com", exists=False, problem="no such domain name")

    for domain in (warned, missing):
        assert show_of([domain], survey.preview, NOW).exit_status is ExitStatus.ATTENTION
    later = NOW + (PARTNER.not_valid_after_utc - NOW) * 2
    assert show_of([expired], survey.preview, later).exit_status is ExitStatus.ATTENTION


def test_a_domain_that_is_stuck_is_shown_with_what_it_says_and_needs_attention(survey: Survey) -> None:
    stuck = running(survey, settled=False, stuck=True, state="FAILED", message="the truststore could not be read")
    report = show_of([stuck], survey.preview, NOW)

    (finding,) = report.findings
    assert finding.what.startswith("it is FAILED: the truststore could not be read")
    assert finding.runbook == "MTLS-304"
    assert report.domains[0].message == "the truststore could not be read"


def test_a_stack_without_a_gateway_has_no_domain_to_show() -> None:
    assert chosen([], None) == []
    with pytest.raises(InvalidInputError, match="a stack with a gateway"):
        chosen([], "api.example.com")


def test_a_domain_is_chosen_by_name(survey: Survey) -> None:
    other = Target("other.example.com", anchors={})

    assert chosen([*survey.targets, other], "other.example.com") == [other]


def test_an_object_that_is_not_the_syncs_is_not_taken_for_what_is_published(survey: Survey) -> None:
    edited = replace(survey.preview, seen=replace(survey.preview.seen, ours=False))

    for report in (plan_of(survey.targets, edited, NOW), differ(survey.targets, edited, NOW)):
        assert report.exit_status is ExitStatus.ATTENTION
        said = "\n".join(map(str, report.render()))
        assert "version v2 is not what the sync published: it is written anew" in said
        assert "It is what is published" not in said
    assert what_remains(edited, survey.targets) == "what is published is not written anew yet"


def test_a_domain_does_not_wait_for_no_version(survey: Survey) -> None:
    nothing = replace(survey.preview, editions={})

    assert what_remains(nothing, survey.targets) == "nothing is published yet"
