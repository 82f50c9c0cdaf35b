"""The runbook and the code know the same errors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from mtls_client.errors import MtlsClientError
from mtls_rotation.errors import InvalidSecretError, MtlsRotationError, code_of
from mtls_sidecar.errors import SidecarError
from mtlsctl.errors import AwsError

RUNBOOK = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
# The command line adds its own to the functions'; what AWS says has AWS's code.
ENGINE = [error for error in MtlsRotationError.__subclasses__() if error is not AwsError]
CODES = sorted(
    [it.code for it in ENGINE]
    + [it.code for it in MtlsClientError.__subclasses__()]
    + [it.code for it in SidecarError.__subclasses__()]
)


def test_no_two_errors_have_one_code() -> None:
    assert len(CODES) == len(set(CODES)) > 20


def test_the_index_has_a_row_for_every_code_and_no_other() -> None:
    assert sorted(re.findall(r"^\| \[(MTLS-[1-6]\d\d)\]\(#", RUNBOOK, re.MULTILINE)) == CODES


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_section_that_the_index_leads_to(code: str) -> None:
    (heading,) = re.findall(rf"^### ({code}: .+)$", RUNBOOK, re.MULTILINE)
    link = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    assert f"| [{code}](#{link}) |" in RUNBOOK
    section = RUNBOOK.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    for part in (
        "What happened",
        "What is still all right",
        "How to see it",
        "What to do",
        "How you know it is mended",
    ):
        assert f"**{part}.**" in section, part


def test_every_link_within_the_runbook_leads_to_a_heading() -> None:
    headings = {re.sub(r"[^\w\- ]", "", it.lower()).replace(" ", "-") for it in re.findall(r"(?m)^#+ (.+)$", RUNBOOK)}
    assert set(re.findall(r"\]\(#([^)]+)\)", RUNBOOK)) <= headings


def test_an_error_has_our_code_or_that_of_aws_or_its_name() -> None:
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": ""}}, "GetObject")
    ours = InvalidSecretError(where="", found="", expected="", remedy="")
    assert [code_of(it) for it in (ours, denied, TimeoutError())] == ["MTLS-101", "AWS.AccessDenied", "TimeoutError"]
