"""What `mtlsctl create` makes of options and files, and what it refuses. No AWS."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from mtls_rotation.errors import InvalidSecretError, SelfSignedClientError
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.value import parse_value
from mtlsctl.errors import InvalidInputError
from mtlsctl.files import documents
from mtlsctl.provisioning import schedule
from mtlsctl.provisioning.options import Proof, endpoint_of, request_of, require_kind, require_no_certificate
from mtlsctl.provisioning.planning import Planner, alarming, full_name, require_enabled
from tests.kit import builders
from tests.kit.stack import CLIENT, Stack


@pytest.mark.parametrize(
    ("expression", "every"),
    [
        ("rate(4 hours)", timedelta(hours=4)),
        ("rate(1 day)", timedelta(days=1)),
        ("rate(999 days)", timedelta(days=999)),
        ("cron(0 3 ? * MON *)", None),
        ("cron(0 8 1/1 * ? *)", None),
    ],
)
def test_a_schedule_that_secrets_manager_takes_is_taken(expression: str, every: timedelta | None) -> None:
    assert schedule.interval(expression) == every


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "10 days",
        "rate(3 hours)",
        "rate(0 days)",
        "rate(1000 days)",
        "rate(99999999999999999999 hours)",
        "rate(10 minutes)",
        "rate(10 days) ",
        "cron(5 3 ? * MON *)",
        "cron(0 3 ? * MON)",
    ],
)
def test_any_other_schedule_is_refused(expression: str) -> None:
    with pytest.raises(InvalidInputError, match="rate"):
        schedule.interval(expression)


def test_a_rotation_that_would_come_after_the_end_is_refused() -> None:
    schedule.require_usable("rate(10 days)", timedelta(days=30))
    with pytest.raises(InvalidInputError, match="before the certificate ends"):
        schedule.require_usable("rate(30 days)", timedelta(days=30))


@pytest.mark.parametrize(
    ("name", "full"),
    [("billing", "s/billing"), ("s/billing", "s/billing"), ("team/billing", "s/team/billing"), ("a.b@c", "s/a.b@c")],
)
def test_the_stacks_name_stands_in_front(name: str, full: str) -> None:
    assert full_name(name, "s") == full


@pytest.mark.parametrize("name", ["", "a b", "ä", "x" * 512, "folder/", "billing-abc123"])
def test_a_name_that_secrets_manager_would_not_take_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="MTLS-403 NAME"):
        full_name(name, "s")


@pytest.mark.parametrize(
    ("options", "before", "expected"),
    [
        ({}, None, {"common_name": "billing", "validity_days": 30}),
        ({"country": "DE"}, {"common_name": "b"}, {"common_name": "b", "country": "DE", "validity_days": 30}),
        ({"common_name": "a"}, {"common_name": "b", "validity_hours": 8}, {"common_name": "a", "validity_hours": 8}),
        ({"validity_hours": 8}, {"validity_days": 9}, {"common_name": "billing", "validity_hours": 8}),
        ({"uris": ["x:y"]}, {"uris": ["a:b", "c:d"]}, {"common_name": "billing", "uris": ["x:y"], "validity_days": 30}),
    ],
)
def test_an_option_counts_for_more_than_a_file_and_a_file_for_more_than_the_stack(
    options: dict[str, Any], before: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    assert request_of("team/billing", options, before, 30) == expected


def test_the_endpoint_is_the_files_with_the_options_over_it(tmp_path: Path) -> None:
    pem = pki.to_pem(builders.root().certificate)
    (tmp_path / "ca.pem").write_text(f"# A CA\n{pem}")
    before = {"url": "https://a.example/", "expected_status": [200]}

    assert endpoint_of(Proof()) == {}
    assert endpoint_of(Proof(expected_status=[204], server_ca=str(tmp_path / "ca.pem")), before) == {
        "url": "https://a.example/",
        "expected_status": [204],
        "server_ca": pem,
    }
    with pytest.raises(InvalidInputError, match="--prove-at"):
        endpoint_of(Proof(expected_status=[204]))


PARAMETERS = {
    "ClientIssuer": "secretsmanager",
    "ClientRotationSchedule": "rate(10 days)",
    "ClientAlarmDays": "7",
    "TrustedSecrets": "*",
}


@pytest.mark.parametrize(
    ("request_", "option"),
    [
        ({"country": "Norway"}, "--country, or request.country in the file of --from"),
        ({"dns_names": ["a b"]}, "--dns-name, or request.dns_names"),
        ({"validity_days": 0}, "--validity-days, or request.validity_days"),
    ],
)
def test_what_is_wrong_with_an_option_is_not_looked_for_in_a_secret_that_is_not_there(
    request_: dict[str, Any], option: str
) -> None:
    planner = Planner(cast("Any", SimpleNamespace(name="stack", parameters=PARAMETERS, outputs={})))
    definition = builders.client_definition() | {"request": {"common_name": "a", "validity_days": 30} | request_}

    with pytest.raises(InvalidSecretError, match=re.escape(f"Correct {option}")) as told:
        planner.plan("client", "further", definition, {}, proxy=False)

    assert "secret's value" not in str(told.value)


def test_a_secret_that_holds_no_ca_cannot_issue_and_its_rotation_does_not_help(stack: Stack) -> None:
    stack.rotate(CLIENT)
    deployment = SimpleNamespace(
        name="stack",
        parameters=PARAMETERS,
        outputs={},
        services=stack.services,
        session=stack,
        secret=stack.services.versions.describe,
    )
    definition = builders.client_definition(CLIENT)

    with pytest.raises(InvalidInputError, match=r"stack/client, which is no CA's secret") as told:
        Planner(cast("Any", deployment)).plan("client", "further", definition, {}, proxy=False)

    assert "mtlsctl rotate" not in told.value.remedy


def test_a_country_is_no_truth_value_in_yaml(tmp_path: Path) -> None:
    file = tmp_path / "billing.yaml"
    file.write_text("request: {common_name: billing, country: NO}\nnotes: [yes, true]\n")

    assert documents.definition(str(file)) == {
        "request": {"common_name": "billing", "country": "NO"},
        "notes": ["yes", True],
    }


@pytest.mark.parametrize("content", ["", "[]", "just a text", "{", "request: [a, b]", "!!python/object:os.system {}"])
def test_a_file_that_holds_no_definition_is_refused_and_not_quoted(content: str, tmp_path: Path) -> None:
    file = tmp_path / "billing"
    file.write_text(content)

    with pytest.raises(InvalidInputError, match="MTLS-403 --from: found"):
        documents.definition(str(file))


def test_a_definition_with_a_certificate_is_for_import() -> None:
    with pytest.raises(InvalidInputError, match="mtlsctl import client"):
        require_no_certificate({"request": {}, "private_key": "secret"})


def test_a_definition_of_another_kind_is_refused() -> None:
    require_kind({}, "client")
    with pytest.raises(InvalidInputError, match="mtlsctl create ca"):
        require_kind({"kind": "ca"}, "client")


OFF = {"ClientIssuer": "secretsmanager", "KmsIssuer": "disabled", "ExternalIssuer": "disabled", "PrivateCaArn": ""}
PRIVATE_CA = "arn:aws:acm-pca:eu-west-1:123456789012:certificate-authority/abc"


@pytest.mark.parametrize(
    ("definition", "switch"),
    [
        ({"issuer": {"type": "kms", "ca_secret": "s/ca"}}, {"KmsIssuer": "enabled"}),
        ({"issuer": {"type": "kms", "ca_secret": "s/ca"}}, {"ClientIssuer": "kms"}),
        ({"issuer": {"type": "external"}}, {"ExternalIssuer": "enabled"}),
        ({"issuer": {"type": "acm-pca", "certificate_authority_arn": PRIVATE_CA}}, {"PrivateCaArn": PRIVATE_CA}),
    ],
)
def test_what_the_stacks_functions_may_not_do_needs_a_parameter(
    definition: dict[str, Any], switch: dict[str, str]
) -> None:
    secret = parse_value(json.dumps(builders.client_definition() | definition), "the test's secret")

    require_enabled(secret, OFF | switch)
    with pytest.raises(InvalidInputError, match=r"Deploy the stack with (KmsIssuer|ExternalIssuer|PrivateCaArn)="):
        require_enabled(secret, OFF)


def test_the_cas_of_an_external_issuer_come_from_a_file_and_belong_to_no_other(tmp_path: Path) -> None:
    file = tmp_path / "partner.pem"
    file.write_text(pki.to_pem(builders.root().certificate))
    planner = Planner(cast("Any", SimpleNamespace(parameters={"ClientIssuer": "self-signed"}, outputs={})))
    options = {"issuer": "external", "ca_certificates": str(file)}

    assert planner.issuer(options) == {"type": "external", "ca_certificates": file.read_text()}
    with pytest.raises(InvalidInputError, match="--ca-certificates"):
        planner.issuer(options | {"issuer": "self-signed"})


@pytest.mark.parametrize("gateway", [{"DomainName": "api.example.com"}, {"FurtherDomains": "arn:aws:apigateway:::x"}])
def test_a_self_signed_client_of_a_gateway_is_refused_until_the_stack_says_that_it_is_let_in(
    gateway: dict[str, str],
) -> None:
    pinned = builders.client_definition(issuer={"type": "self-signed"})
    secret = parse_value(json.dumps(pinned), "the test's secret")
    elsewhere = parse_value(json.dumps(pinned | {"trusted_by_gateway": False}), "the test's secret")
    refused = OFF | {"SelfSignedClients": "refused", "DomainName": "", "FurtherDomains": ""}

    require_enabled(secret, refused)
    require_enabled(elsewhere, refused | gateway)
    require_enabled(secret, refused | gateway | {"SelfSignedClients": "accepted"})
    with pytest.raises(SelfSignedClientError, match="SelfSignedClients=accepted"):
        require_enabled(secret, refused | gateway)


@pytest.mark.parametrize(
    "content",
    [
        "request: {common_name: a}\nx: !!binary aGVsbG8=\n",
        "request: {common_name: a}\nx: !!set {a, b}\n",
        "request: {common_name: a}\nx: !!timestamp 2026-02-31\n",
        "[" * 200_000,
        '{"a":' * 100_000,
        "",
    ],
    ids=["binary", "a set", "no day", "deep lists", "deep objects", "nothing"],
)
def test_a_file_that_json_has_no_words_for_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "definition.yaml"
    file.write_text(content)

    with pytest.raises(InvalidInputError, match="no JSON or YAML object"):
        documents.definition(str(file))


def test_a_date_in_yaml_is_a_text_and_every_name_is_one() -> None:
    said = documents.mapping("until: 2026-01-01\nnever: 2026-02-31\n1: one\n")

    assert said == {"until": "2026-01-01", "never": "2026-02-31", "1": "one"}


@pytest.mark.parametrize(
    ("hours", "rotated", "told"),
    [
        (30 * 24, "rate(10 days)", False),
        (250, "rate(10 days)", True),
        (250, "rate(3 days)", False),
        (48, "cron(0 3 * * ? *)", False),
    ],
)
def test_whoever_asks_for_so_short_a_life_that_the_alarm_rings_is_told(hours: int, rotated: str, *, told: bool) -> None:
    notes = alarming("client", timedelta(hours=hours), rotated, {"ClientAlarmDays": "7"})

    assert [note for note in notes if "ClientExpiryAlarm will ring" in note] == list(notes)
    assert bool(notes) == told
    assert alarming("client", timedelta(hours=hours), rotated, {}) == (), "an older stack"
