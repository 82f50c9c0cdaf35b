"""What compares the granted with the used sees both; and what cannot be used on the local AWS is needed as well."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.kit.stack import Stack
from tests.kit.template import resources, statements
from tests.proof.least_privilege import Usage, difference, usage
from tests.proof.least_privilege.elsewhere import ELSEWHERE
from tests.proof.least_privilege.granted import INVOKE, Grant, grants
from tests.proof.least_privilege.report import KEPT, write
from tests.repository.documents import ROOT
from tests.unit.proof.private_ca import issued_by_private_ca

FILLED_IN = {
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::AccountId": "123456789012",
    "DomainName": "api.example.com",
    "FurtherDomains": "arn:aws:apigateway:us-east-1::/domainnames/orders.example.com",
    "CaSecret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:stack/ca-abc123",
    "ClientSecret": "arn:aws:secretsmanager:us-east-1:123456789012:secret:stack/client-abc123",
    "Bucket.Arn": "arn:aws:s3:::stack-bucket-abc",
    "GatewayApi": "1a2b3c",
    "ProxyApi": "4d5e6f",
}


def deployed(place: str) -> str:
    """A place as it is deployed, about."""

    def filled_in(found: re.Match[str]) -> str:
        name = found[1].partition(".")[0]
        return FILLED_IN.get(found[1]) or f"arn:aws:some:us-east-1:123456789012:stack-{name}-1A2B"

    return re.sub(r"\$\{([^}]+)\}", filled_in, place)


def line(grant: Grant, **changes: Any) -> dict[str, Any]:
    """A use of a grant of a role, as the local AWS writes it down."""
    attached = "-1A2B" if grant.policy in resources() else ""
    return {
        "role": f"stack-{grant.holder}-1A2B",
        "policy": f"stack-{grant.policy}{attached}" if attached else grant.policy,
        "sid": grant.sid,
        "action": grant.action,
        "patterns": [deployed(grant.place)],
        "sole": True,
        "resource": "what it was used on",
    } | changes


def service_line(grant: Grant) -> dict[str, Any]:
    """The same, of a grant to a service."""
    kind = "lambda" if grant.action == INVOKE else "sqs"
    return {
        "service": grant.policy,
        "sid": grant.sid if grant.action != INVOKE else f"stack-{grant.sid}-1a2b",
        "action": grant.action,
        "source": deployed(grant.place) if "$" in grant.place else f"arn:aws:x:us-east-1:123456789012:{_rule(grant)}",
        "condition": "{}",
        "resource": f"arn:aws:{kind}:us-east-1:123456789012:function:stack-{grant.holder}-1A2B",
    }


def _rule(grant: Grant) -> str:
    return f"rule/stack-{grant.sid.removesuffix('Permission')}-1A2B"


def used(grant: Grant) -> dict[str, Any]:
    return service_line(grant) if grant.policy.endswith(".amazonaws.com") else line(grant)


def covered(grant: Grant) -> bool:
    return any(it.covers(grant) for it in ELSEWHERE)


def taken(*lines: dict[str, Any]) -> Usage:
    found = Usage()
    for it in lines:
        found.take(it)
    return found


def record(folder: Path, *lines: dict[str, Any]) -> list[Path]:
    """The lines, in two files: those of several local AWSs count together."""
    files = [folder / "one.jsonl", folder / "other.jsonl"]
    for number, file in enumerate(files):
        file.write_text("".join(json.dumps(it) + "\n" for it in lines[number::2]))
    return files


def test_what_is_granted_is_read_from_the_template_in_whole() -> None:
    found = Counter(grant.holder for grant in grants())

    assert {name for name, it in resources().items() if it["Type"] == "AWS::IAM::Role"} <= {
        *found,
        "ApiGatewayLoggingRole",  # by a policy of AWS's own, which API Gateway asks for
    }
    permissions = [name for name, it in resources().items() if it["Type"] == "AWS::Lambda::Permission"]
    assert {name for name in permissions if name not in {grant.sid for grant in grants()}} == set()
    assert found["SyncQueue"] == 5
    assert len(grants()) > 150


@pytest.mark.parametrize("kind", ["AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"])
def test_what_a_policy_grants_to_a_role_that_it_names_itself_is_read(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = {"Effect": "Allow", "Sid": "Planted", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    properties = {"Roles": [{"Ref": "TruststoreSyncRole"}], "PolicyDocument": {"Statement": [read]}}
    monkeypatch.setitem(resources(), "Planted", {"Type": kind, "Properties": properties})

    assert [it.holder for it in grants.__wrapped__() if it.sid == "Planted"] == ["TruststoreSyncRole"]
    assert "Planted" in [it.sid for it in statements("TruststoreSyncRole")]


@pytest.mark.parametrize("grant", grants(), ids=str)
def test_a_use_counts_for_its_grant_and_for_no_other(grant: Grant) -> None:
    assert set(taken(used(grant)).used) == {grant}


def test_when_all_is_used_nothing_is_different(tmp_path: Path) -> None:
    lines = [used(grant) for grant in grants() if not covered(grant)]

    assert difference(record(tmp_path, *lines)) == []


def test_what_was_granted_and_never_used_is_named(tmp_path: Path) -> None:
    (left_out,) = [it for it in grants() if (it.holder, it.action) == ("AuthorizerRole", "ssm:GetParameter")]
    lines = [used(grant) for grant in grants() if grant != left_out and not covered(grant)]
    (said,) = difference(record(tmp_path, *lines))

    assert said.startswith(f"granted, and never used: {left_out}; ")
    assert "template.yaml" in said


def test_one_of_several_places_of_a_statement_that_was_never_used_is_named() -> None:
    places = [it for it in grants() if (it.holder, it.sid) == ("RotateRole", "FilePublicCertificates")]
    assert len(places) > 1
    for place in places:
        assert place in taken(*(used(it) for it in places if it != place)).unused


def test_what_was_used_and_is_in_no_policy_of_the_template_is_named(tmp_path: Path) -> None:
    grant = next(it for it in grants() if it.holder == "RotateRole")
    strange = line(grant, action="iam:CreateUser")
    assert [it for it in difference(record(tmp_path, strange)) if it.startswith("used, and not in the template")]

    # Roles and policies that tests make for themselves are none of the template's.
    assert not taken(line(grant, role="application", action="iam:CreateUser")).unknown


def test_a_statement_whose_every_use_another_allows_as_well_is_redundant() -> None:
    one, other = [it for it in grants() if it.sid == "WriteItsLog" and it.action == "logs:PutLogEvents"][:2]
    found = taken(line(one, sole=False), line(other, sole=False), line(other))

    assert found.redundant == [(one.holder, one.policy, one.sid)]


def test_the_report_tells_of_each_grant_what_it_was_used_on(tmp_path: Path) -> None:
    one = next(it for it in grants() if it.holder == "RotateRole")
    write(taken(*(line(one, resource=f"object {number}") for number in range(5))), tmp_path / "report.txt")
    text = (tmp_path / "report.txt").read_text()

    assert f"{one}\n    object 0\n    object 1\n    object 2\n    and 2 more\n" in text
    assert text.count("    not used\n") == len(grants()) - 1


def test_records_may_be_of_no_use_at_all(tmp_path: Path) -> None:
    assert usage([]).used == {}
    assert len(difference(record(tmp_path))) == len([it for it in grants() if not covered(it)])


@pytest.mark.parametrize("it", ELSEWHERE, ids=lambda it: it.sid)
def test_what_cannot_be_used_here_is_held_by_a_test_that_there_is(it: Any) -> None:
    file, _, name = it.test.partition("::")
    functions = [node.name for node in ast.walk(ast.parse((ROOT / file).read_text())) if hasattr(node, "name")]

    assert name in functions
    assert it.why
    assert [grant for grant in grants() if it.covers(grant)]


def test_each_action_on_a_private_ca_is_one_that_issuing_calls_on_that_ca_and_no_other(empty_stack: Stack) -> None:
    arn, called = issued_by_private_ca(empty_stack)

    granted = {it.action for it in grants() if it.sid == "IssueFromThePrivateCa"}
    assert {f"acm-pca:{operation}" for operation, _ in called} == granted
    assert {on for _, on in called} == {arn}
    assert {it.place for it in grants() if it.sid == "IssueFromThePrivateCa"} == {"${PrivateCaArn}"}


def test_whatever_is_granted_was_used_in_the_full_run_that_was_kept_or_is_proved_elsewhere() -> None:
    kept = set(KEPT.read_text().splitlines())
    granted = {str(it) for it in grants()}
    elsewhere = {str(it) for it in grants() if any(e.covers(it) for e in ELSEWHERE)}

    assert granted - elsewhere - kept == set(), "run `make prove`, and keep what it used"
    assert kept - granted == set(), "used once, and granted no more"
