"""What status and doctor say of a bucket that was emptied or edited, and of a tag that is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from mtlsctl.findings.survey import about_secret, about_truststore
from mtlsctl.stack.survey import Filed, Survey
from tests.kit.builders import NOW, leaf, root


def seen(survey: Survey, **changes: Any) -> Survey:
    """The survey with what a sync sees changed."""
    return replace(survey, preview=replace(survey.preview, seen=replace(survey.preview.seen, **changes)))


def test_a_bucket_that_is_well_is_not_spoken_of(survey: Survey) -> None:
    assert not list(about_truststore(survey))


@pytest.mark.parametrize(
    ("changes", "what", "remedy"),
    [
        ({"ours": False}, "it is not what the sync published last", "mtlsctl truststore sync --wait"),
        ({"untagged": ("s/client",)}, "it has lost the stack's tag", "aws secretsmanager tag-resource"),
        (
            {"live": frozenset({("s/client", "v")}), "in_place": frozenset({("s/client", "v")})},
            "nothing is filed for its version v",
            "mtlsctl truststore rebuild",
        ),
    ],
)
def test_what_is_lost_is_told_with_what_mends_it(
    survey: Survey, changes: dict[str, Any], what: str, remedy: str
) -> None:
    (finding,) = about_truststore(seen(survey, **changes))
    assert finding.what.startswith(what)
    assert finding.remedy.startswith(remedy)
    assert finding.runbook == "The bucket was emptied or edited"


def test_a_bucket_without_versions_is_told(survey: Survey) -> None:
    (finding,) = about_truststore(replace(survey, keeps_versions=False))
    assert finding.runbook == "MTLS-305"


def test_an_object_that_was_written_over_is_told(survey: Survey) -> None:
    edited = replace(survey.secrets[0], edited=("issued/a/s/client/v.1.pem",))
    (finding,) = about_truststore(replace(survey, secrets=(edited,)))
    assert "issued/a/s/client/v.1.pem was written over" in finding.what


def test_a_certificate_at_awsprevious_that_is_refused_is_told(survey: Survey) -> None:
    other = leaf(root("Another CA"))
    previous = replace(survey.secrets[0], previous=Filed(other.certificate, frozenset({"f" * 64})))
    found = [it.what for it in about_secret(previous, survey)]
    assert any("does not accept its certificate at AWSPREVIOUS" in it for it in found)

    late = replace(survey, now=NOW + timedelta(days=3650))
    assert not [it for it in about_secret(previous, late) if "AWSPREVIOUS" in it.what]
