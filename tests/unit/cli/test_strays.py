"""What doctor, status and the plan say of objects that nobody reads."""

from __future__ import annotations

import shlex
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from mtls_rotation.contract.places import Unread, unread
from mtls_rotation.pki import certificates as pki
from mtls_rotation.truststore.plan import LeftOut
from mtlsctl.commands.importing import signed
from mtlsctl.commands.truststore import plan
from mtlsctl.errors import InvalidInputError
from mtlsctl.findings import truststore
from mtlsctl.findings.strays import about_strays
from mtlsctl.findings.survey import about_truststore
from mtlsctl.report import Finding, Severity
from mtlsctl.stack.strays import strays
from mtlsctl.stack.survey import Survey
from tests.kit import builders
from tests.kit.builders import NOW
from tests.kit.stack import BUCKET, Stack


def stray(key: str, *, takes_signed: bool = False) -> Unread:
    found = unread(key, 1, takes_signed=takes_signed)
    assert found
    return found


def deployed(stack: Stack, *, takes_signed: bool = False) -> Any:
    """A stack as the command line sees it."""
    resources = {"SignedCertificateFunction": "intake"} if takes_signed else {}
    services = SimpleNamespace(bucket=stack.bucket)
    return SimpleNamespace(
        name="s", services=services, resources=resources, outputs={"BucketName": BUCKET}, assembly=stack
    )


def test_what_was_uploaded_for_a_switch_that_is_off_is_told_and_read_once_it_is_on(stack: Stack) -> None:
    stack.clients.s3.put_object(Bucket=BUCKET, Key="signed/answer.pem", Body=b"-")

    def told(*, takes_signed: bool) -> list[str]:
        context: Any = SimpleNamespace(deployment=deployed(stack, takes_signed=takes_signed))
        check = next(it for it in truststore.CHECKS if it.name == "everything in the bucket is read by somebody")
        return [f"{it.subject}: {it.what}" for it in check.find(context)]

    (off,) = told(takes_signed=False)
    assert off.startswith("signed/answer.pem: nobody reads it: this stack takes no certificate that somebody")
    assert told(takes_signed=True) == []


def test_an_upload_beside_the_place_for_anchors_is_rejected_by_the_sync_and_red_in_status(
    survey: Survey, stack: Stack
) -> None:
    partner = builders.foreign(common_name="Partner")
    stack.with_gateway()
    stack.clients.s3.put_object(Bucket=BUCKET, Key="anchors/partner.pem", Body=pki.to_pem(partner).encode())
    stack.reconcile()

    (event,) = stack.heard("Truststore Anchor Rejected")
    assert event["detail"]["key"] == "anchors/partner.pem"
    assert "it would be trusted as anchors/static/partner.pem" in event["detail"]["reason"]

    left_out = stack.sync.preview().plan.left_out
    seen = replace(survey, preview=replace(survey.preview, plan=replace(survey.preview.plan, left_out=left_out)))
    (finding,) = about_truststore(seen)
    assert (finding.severity, finding.subject) == (Severity.ATTENTION, "anchors/partner.pem")
    # The command as it is printed, comment and all.
    _, _, verb, source, target = shlex.split(finding.remedy, comments=True)
    assert (verb, source, target) == ("mv", "s3://b/anchors/partner.pem", "s3://b/anchors/static/partner.pem")

    copy = {"Bucket": BUCKET, "Key": "anchors/partner.pem"}
    stack.clients.s3.copy_object(Bucket=BUCKET, Key="anchors/static/partner.pem", CopySource=copy)
    stack.clients.s3.delete_object(**copy)
    stack.reconcile()
    preview = stack.sync.preview()
    assert pki.fingerprint(partner) in preview.deployed
    assert not [it for it in preview.plan.left_out if it.rejected]


def test_a_folder_that_holds_a_certificate_is_one_that_is_read(stack: Stack) -> None:
    """`put-object --key anchors/static/` makes it: by its name a folder, by its content none."""
    partner = builders.foreign(common_name="Partner")
    stack.clients.s3.put_object(Bucket=BUCKET, Key="anchors/static/", Body=pki.to_pem(partner).encode())
    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/", Body=b"rubbish")

    assert pki.fingerprint(partner) in stack.reconcile().plan.anchors
    assert list(stack.revocation.run().refused) == ["revoked/"]


def test_a_mistaken_folder_is_told_once_and_moves_as_a_whole() -> None:
    (finding,) = about_strays([stray("anchor/a.pem"), stray("anchor/b/c d.pem")], "b")

    assert finding.subject == "anchor/"
    assert shlex.split(finding.remedy, comments=True) == [
        *("aws", "s3", "mv", "--recursive", "s3://b/anchor/", "s3://b/anchors/static/")
    ]


def test_many_strays_of_one_kind_are_bounded_and_their_number_is_told() -> None:
    findings = list(about_strays([stray(f"{number}.txt") for number in range(50)], "b"))

    assert len(findings) == 11
    assert findings[-1].what.startswith("there are 40 further objects")


@pytest.mark.parametrize("key", ["anchor/it's $(id).pem", "a b;c", "x\ny", "anchor/`id`/x.pem"])
def test_a_remedy_is_pasted_as_it_is_whatever_the_object_is_called(key: str) -> None:
    (finding,) = about_strays([stray(key)], "b")

    words = shlex.split(finding.remedy, comments=True)
    assert words[3] == f"s3://b/{key}"
    assert words[:3] in (["aws", "s3", "mv"], ["aws", "s3", "rm"])


def test_a_bucket_too_large_to_be_looked_through_is_not_called_well(stack: Stack) -> None:
    stack.clients.s3.put_object(Bucket=BUCKET, Key="x.pem", Body=b"-")

    found, whole = strays(deployed(stack))
    assert ([it.key for it in found], whole) == (["x.pem"], True)
    assert strays(deployed(stack), most=1)[1] is False


def test_the_plan_names_what_was_meant_to_be_trusted_and_lies_elsewhere(survey: Survey) -> None:
    found = [stray("anchor/partner.pem"), stray("revoke/x.json")]

    report = plan.judge(survey.targets, survey.preview, NOW, found)

    (line,) = report.left_out
    assert (line.key, line.rejected) == ("anchor/partner.pem", True)
    assert line.reason.endswith("it would be trusted as anchors/static/partner.pem")


def test_a_managed_anchor_that_is_lost_is_no_stray(survey: Survey) -> None:
    lost = LeftOut(f"anchors/managed/{'a' * 64}.pem", 1, "unknown", "a" * 64, "it is not in the bucket", rejected=True)
    seen = replace(survey, preview=replace(survey.preview, plan=replace(survey.preview.plan, left_out=(lost,))))

    assert [it.remedy for it in about_truststore(seen)] == ["mtlsctl truststore rebuild"]


def test_an_answer_is_not_handed_in_where_nobody_takes_it(stack: Stack, tmp_path: Any) -> None:
    answer = tmp_path / "answer.pem"
    answer.write_text(pki.to_pem(builders.foreign()))
    context: Any = SimpleNamespace(deployment=deployed(stack), doing=lambda _: _Doing())

    with pytest.raises(InvalidInputError) as refused:
        signed.signed(context, str(answer))

    assert "ExternalIssuer=disabled" in str(refused.value)
    assert not list(stack.bucket.list("signed/"))


@pytest.mark.parametrize(
    ("resources", "red"),
    [({"GatewayApi": "a"}, True), ({"GatewayApi": "a", "AuthorizerFunction": "f"}, False), ({}, False)],
)
def test_a_revocation_that_the_gateway_does_not_ask_for_is_told(
    stack: Stack, resources: dict[str, str], *, red: bool
) -> None:
    check = next(it for it in truststore.CHECKS if it.name == "the gateway asks who is revoked")
    context: Any = SimpleNamespace(deployment=deployed(stack), physical=resources.get)
    assert not list(check.find(context))

    stack.clients.s3.put_object(Bucket=BUCKET, Key="revoked/stolen.json", Body=b"{}")

    assert [it.subject for it in check.find(context) if isinstance(it, Finding)] == ["revoked/stolen.json"] * red


class _Doing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass
