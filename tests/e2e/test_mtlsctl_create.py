"""`mtlsctl create` on deployed stacks: what it makes works, and what cannot be made leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from demo.waiting import await_condition
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from tests.e2e.operators import documented_actions, exists, filed, gone_afterwards, held, with_only, without
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl

BILLING = "e2e-gateway/billing"


@pytest.fixture(scope="module")
def mtlsctl(gateway: Deployment) -> Mtlsctl:
    return Mtlsctl(gateway.environment, gateway.stack.name)


def test_a_client_is_made_as_it_is_asked_for_and_is_accepted_through_its_rotations(
    mtlsctl: Mtlsctl, gateway: Deployment
) -> None:
    names = ("--common-name", "Billing", "--organization", "Example Ltd", "--uri", "spiffe://example.com/billing")
    secret = ("--schedule", "rate(5 days)", "--validity-days", "20", "--description", "Billing's", "--proxy")
    with gone_afterwards(gateway, BILLING):
        status, document = mtlsctl.json("create", "client", "billing", *names, *secret, "--wait")

        assert (status, document["made"], document["rotation"]["outcome"]) == (0, True, "done")
        description = gateway.secrets.describe_secret(SecretId=BILLING)
        assert (description["ARN"], description["Description"]) == (document["arn"], "Billing's")
        assert description["RotationRules"] == {"ScheduleExpression": "rate(5 days)"}
        assert description["RotationLambdaARN"] == gateway.stack.outputs["RotateFunction"]
        assert {it["Key"]: it["Value"] for it in description["Tags"]}.items() >= {
            ("mtls-rotation:stack", "e2e-gateway"),
            ("mtls-rotation:proxy", "allowed"),
        }
        (certificate,) = pki.from_pem(gateway.value(BILLING)["certificate"])
        assert certificate.subject.rfc4514_string() == "CN=Billing,O=Example Ltd"
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert alternative.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://example.com/billing"]

        first = held(gateway, BILLING)
        assert gateway.accepts(first)
        assert mtlsctl("rotate", "billing", "--wait").exit_code == 0
        assert gateway.accepts(held(gateway, BILLING))
        assert gateway.accepts(first)


def test_a_dry_run_says_what_a_file_and_options_come_to_and_makes_nothing(
    mtlsctl: Mtlsctl, gateway: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "billing.yaml"
    file.write_text("request: {common_name: billing, country: NO, validity_hours: 250}\nteam: payments\n")
    asked = ("create", "client", "billing", "--from", str(file), "--country", "SE", "--dry-run")

    status, document = mtlsctl.json(*asked)
    ran = mtlsctl(*asked)

    assert (status, document["made"], document["arn"], document["rotation"]) == (0, False, None, None)
    assert document["definition"] == {
        "request": {"common_name": "billing", "country": "SE", "validity_hours": 250},
        "issuer": {"type": "secretsmanager", "ca_secret": gateway.ca},
        "team": "payments",
    }
    assert document["schedule"] == "rate(10 days)"
    assert ran.exit_code == 0
    assert f"{BILLING} would be made; nothing was." in ran.out
    assert '"country": "SE"' in ran.out
    assert not exists(gateway, BILLING)


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("client", "client"), "MTLS-404", "a secret of that name"),
        (("client", "b?"), "MTLS-403", "'b?'"),
        (("client", "billing", "--country", "Norway"), "MTLS-101", 'request.country = "Norway"'),
        (("client", "billing", "--schedule", "daily"), "MTLS-403", "'daily'"),
        (
            ("client", "billing", "--schedule", "rate(31 days)"),
            "MTLS-403",
            "for a certificate that is valid for 30 days",
        ),
        (("client", "billing", "--validity-days", "7000"), "MTLS-103", "a validity of 7000 days"),
        (("client", "billing", "--ca-secret", "client"), "MTLS-403", "which is no CA's secret"),
        (("client", "billing", "--ca-secret", "nobody"), "MTLS-402", "no such secret"),
        (("client", "billing", "--issuer", "kms"), "MTLS-403", "no KmsIssuer=enabled"),
        (("client", "billing", "--issuer", "self-signed", "--ca-secret", "ca"), "MTLS-403", "has no use for it"),
        (("client", "billing", "--issuer", "acm-pca"), "MTLS-101", "certificate_authority_arn"),
        (("client", "billing", "--from", "/nowhere.yaml"), "MTLS-403", "/nowhere.yaml: No such file"),
        (("client", "billing", "--prove-at", "http://example.com/"), "MTLS-101", "endpoint.url"),
        (("ca", "billing", "--issuer", "kms"), "MTLS-403", "no KmsIssuer=enabled"),
        (("ca", "billing", "--notice-days", "400"), "MTLS-101", "notice_days = 400"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    mtlsctl: Mtlsctl, gateway: Deployment, arguments: tuple[str, ...], code: str, why: str
) -> None:
    ran = mtlsctl("create", *arguments)

    assert (ran.exit_code, ran.out) == (2, "")
    assert ran.complaint.startswith(f"{code} ")
    assert why in ran.err
    assert not exists(gateway, BILLING)


def test_a_name_in_its_recovery_window_is_taken_and_the_way_out_is_said(mtlsctl: Mtlsctl, gateway: Deployment) -> None:
    gateway.secrets.create_secret(Name=BILLING, SecretString="{}")
    with gone_afterwards(gateway, BILLING):
        gateway.secrets.delete_secret(SecretId=BILLING, RecoveryWindowInDays=7)

        status, document = mtlsctl.json("create", "client", "billing")

    assert (status, document["error"]["code"]) == (2, "MTLS-404")
    assert f"restore-secret --secret-id {BILLING}" in document["error"]["remedy"]
    assert "--force-delete-without-recovery" in document["error"]["remedy"]


def test_a_secret_whose_rotation_cannot_be_switched_on_is_taken_away_again(gateway: Deployment) -> None:
    status, document = without(gateway, "secretsmanager:RotateSecret").json("create", "client", "billing")

    assert (status, document["error"]["code"]) == (2, "AWS.AccessDeniedException")
    assert document["error"]["where"] == "RotateSecret"
    assert not exists(gateway, BILLING)
    assert filed(gateway, BILLING) == []


def test_the_documented_actions_are_all_that_it_needs(gateway: Deployment) -> None:
    with gone_afterwards(gateway, BILLING):
        ran = with_only(gateway, documented_actions("create"))("create", "client", "billing", "--wait")

    assert ran.exit_code == 0, ran.err


@pytest.fixture
def plain(end_to_end: Deployment) -> Iterator[Mtlsctl]:
    """On a Secrets Manager that does not show at once what was written."""
    with gone_afterwards(end_to_end, "e2e-plain/partners", "e2e-plain/orders", "e2e-plain/elsewhere"):
        yield Mtlsctl(end_to_end.environment, end_to_end.stack.name)


def test_a_ca_is_made_and_a_client_below_it(plain: Mtlsctl, end_to_end: Deployment) -> None:
    status, document = plain.json(
        "create", "ca", "partners", "--common-name", "Partners", "--notice-days", "7", "--wait"
    )

    assert (status, document["rotation"]["outcome"]) == (0, "done"), document["rotation"]
    assert document["tags"]["mtls-rotation:kind"] == "ca"
    await_condition(lambda: "certificate" in end_to_end.value("e2e-plain/partners"), "the reading that lags", 10.0)
    ca = end_to_end.value("e2e-plain/partners")
    assert (ca["kind"], ca["notice_days"], ca["request"]["validity_days"]) == ("ca", 7, 1095)

    made = plain("create", "client", "orders", "--ca-secret", "partners", "--wait")

    assert made.exit_code == 0, made.err
    assert "✓ The new certificate is in use." in made.out
    await_condition(
        lambda: end_to_end.value("e2e-plain/orders").get("anchor") == ca["certificate"], "the reading that lags", 10.0
    )


def test_a_client_that_no_gateway_of_ours_is_to_trust_is_made_without_a_further_parameter(
    plain: Mtlsctl, end_to_end: Deployment
) -> None:
    ran = plain("create", "client", "elsewhere", "--untrusted-by-gateway", "--wait")

    assert ran.exit_code == 0, ran.err + ran.out
    listed = end_to_end.s3.list_objects_v2(Bucket=end_to_end.bucket, Prefix=layout.OUTSIDE).get("Contents", [])
    certificates = [key for it in listed if (key := layout.OutsideKey.parse(it["Key"]))]
    assert [it.secret for it in certificates] == ["e2e-plain/elsewhere"]
