"""What status and doctor say of a bucket that was emptied or edited, and of a tag that is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mtls_rotation.truststore.observation import DistrustEntry
from mtlsctl.commands.truststore.rebuild import RebuildReport, VersionLine
from mtlsctl.findings.survey import about_secret, about_truststore
from mtlsctl.stack.deletions import Deletion, deletions, emptied
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


def gone(key: str, seconds: int = 0, **changes: Any) -> Deletion:
    return Deletion(key, f"marker-{key}", NOW - timedelta(hours=1) + timedelta(seconds=seconds), **changes)


def test_what_was_uploaded_and_went_with_other_objects_is_told_with_what_brings_it_back(survey: Survey) -> None:
    markers = (gone("revoked/a b.json"), gone("truststore.pem", 9, latest=False))

    (finding,) = about_truststore(replace(survey, emptied=tuple(emptied(markers, NOW))))

    assert finding.subject == "revoked/a b.json"
    assert finding.remedy == (
        "aws s3api delete-object --bucket b --key 'revoked/a b.json' --version-id 'marker-revoked/a b.json'"
    )


@pytest.mark.parametrize(
    "markers",
    [
        (gone("revoked/a.json"),),
        (gone("revoked/a.json"), gone("revoked/b.json", 120)),
        (gone("revoked/a.json", latest=False), gone("truststore.pem", latest=False)),
        (gone("revoked/a.json", -8 * 86400), gone("truststore.pem", -8 * 86400)),
    ],
    ids=["alone", "one after the other", "brought back", "long ago"],
)
def test_what_was_deleted_on_purpose_or_is_there_again_is_not_told(markers: tuple[Deletion, ...]) -> None:
    assert not emptied(markers, NOW)


def test_deletions_are_read_to_the_last_page_and_unknown_where_nobody_may_ask() -> None:
    class S3:
        denied = False

        def list_object_versions(self, *, Prefix: str, KeyMarker: str = "", **_: str) -> dict[str, Any]:  # noqa: N803
            if self.denied:
                raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectVersions")
            marker = {"Key": f"{Prefix}x{KeyMarker}", "VersionId": "v", "LastModified": NOW, "IsLatest": True}
            goes_on = {} if KeyMarker else {"IsTruncated": True, "NextKeyMarker": "2", "NextVersionIdMarker": "v"}
            return {"DeleteMarkers": [marker], **goes_on}

    s3: Any = S3()
    found = deletions(s3, "b")
    assert found
    assert [it.key for it in found if it.key.startswith("revoked/")] == ["revoked/x", "revoked/x2"]
    s3.denied = True
    assert deletions(s3, "b") is None


def test_a_rebuild_says_what_no_secret_holds_and_counts_an_object_once() -> None:
    uploads = {"anchors/static/": 1, "anchors/distrusted/": 0, "revoked/": 2}
    versions = [
        VersionLine(secret="s/a", version_id="v", labels=[], objects=["anchors/managed/a.pem", "issued/a"]),
        VersionLine(secret="s/b", version_id="v", labels=[], objects=["anchors/managed/a.pem", "issued/b"]),
    ]
    report = RebuildReport(
        versions=2, written=versions, anchors=["a"], uploads=uploads, deletions_known=False, findings=[]
    )

    said = "\n".join(map(str, report.render()))

    assert "3 objects filed anew" in said
    assert (
        "First bring back what lay under anchors/static/, anchors/distrusted/ and revoked/: no secret holds it." in said
    )
    assert "Of these there are 1, 0, 2 objects now." in said


def test_remedies_name_the_stack_and_the_object(survey: Survey) -> None:
    entry = DistrustEntry("anchors/distrusted/ODD name", problem="no fingerprint")

    tag, distrusted = about_truststore(seen(survey, untagged=("s/client",), distrusted=(entry,)))

    assert tag.remedy.endswith("Key=mtls-rotation:stack,Value=s")
    assert distrusted.remedy == "aws s3 rm 's3://b/anchors/distrusted/ODD name'"
