"""Who may make and tag secrets gets no identity by that, and has no CA of theirs trusted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mtls_rotation.contract.issuance import Issuance, parse_rules
from mtls_rotation.contract.layout import ISSUED, MANAGED_ANCHORS
from mtls_rotation.errors import (
    InvalidSecretError,
    InvalidSettingsError,
    MtlsRotationError,
    RejectedCertificateError,
    UnentitledRequestError,
    UnlistedAuthorityError,
)
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.fakes import KilledError
from tests.kit.stack import CA, CLIENT, NAME, Stack

TEAM = "team/billing"


@pytest.fixture
def held(stack: Stack) -> Stack:
    """A stack whose operator has said nothing beside what the template says."""
    stack.rotate()
    stack.bound(Issuance(NAME, frozenset({CA, CLIENT}), reserved="mtls-client"))
    return stack


def refuse(stack: Stack, secret: str, error: type[MtlsRotationError], match: str) -> None:
    """That createSecret refuses a secret, and nothing is made by it."""
    before, objects = stack.labels(secret), stack.objects()
    token = stack.begin(secret)
    with pytest.raises(error, match=match):
        stack.step(Step.CREATE, token, secret)
    assert stack.labels(secret).get("AWSCURRENT") == before.get("AWSCURRENT")
    assert stack.objects() == objects


@pytest.mark.parametrize("issuer", ["secretsmanager", "kms"])
def test_who_may_tag_a_secret_gets_no_name_of_our_ca_by_that(held: Stack, issuer: str) -> None:
    ca = CA
    if issuer == "kms":
        ca = f"{NAME}/kms-ca"
        held.add_secret(ca, builders.ca_definition(request={"common_name": "In KMS"}, issuer={"type": "kms"}))
        held.bound(Issuance(NAME, trusted=(ca,)))
        held.rotate(ca)
    definition = builders.client_definition(issuer={"type": issuer, "ca_secret": ca})
    held.add_secret(TEAM, definition)
    refuse(held, TEAM, UnentitledRequestError, "MTLS-111 secret team/billing: found a request for common_name billing")
    held.add_secret(f"{NAME}/billing", definition)
    token = held.rotate(f"{NAME}/billing")
    assert pki.subject(held.certificate(token, f"{NAME}/billing")) == "CN=billing"


def test_the_templates_client_goes_on_whatever_it_is_called(held: Stack) -> None:
    assert held.rotate() == held.at("AWSCURRENT")
    assert held.rotate(CA) == held.at("AWSCURRENT", CA)


def test_a_ca_says_itself_what_it_signs_where_its_secret_does(held: Stack) -> None:
    value = held.value(held.at("AWSCURRENT", CA), CA)
    value["may_issue"] = [{"secret": "team/*", "common_name": ["bill*"]}]
    held.versions.put_current(CA, "m" * 32, json.dumps(value))
    held.add_secret(TEAM, builders.client_definition())
    held.add_secret("team/other", builders.client_definition(request={"common_name": "orders"}))
    assert held.rotate(TEAM) == held.at("AWSCURRENT", TEAM)
    refuse(held, "team/other", UnentitledRequestError, "common_name orders")
    held.rotate(CA)
    assert held.value(held.at("AWSCURRENT", CA), CA)["may_issue"] == [{"secret": "team/*", "common_name": ["bill*"]}]


def test_a_client_says_nothing_of_what_may_be_issued(held: Stack) -> None:
    held.add_secret(TEAM, builders.client_definition(may_issue=[{"secret": "*"}]))
    refuse(held, TEAM, InvalidSecretError, "may_issue in a client secret")


@pytest.mark.parametrize(
    "definition",
    [
        builders.ca_definition(),
        builders.client_definition(issuer={"type": "self-signed"}),
        builders.client_definition(issuer={"type": "external"}, trusted_by_gateway=True),
    ],
    ids=["CA", "self-signed", "external"],
)
def test_who_may_tag_a_secret_has_no_anchor_of_theirs_trusted_by_that(held: Stack, definition: dict[str, Any]) -> None:
    if definition["issuer"]["type"] == "external":
        ca = pki.to_pem(builders.root("Intruder").certificate)
        definition = definition | {"issuer": definition["issuer"] | {"ca_certificates": ca}}
    held.add_secret(TEAM, definition)
    refuse(held, TEAM, UnlistedAuthorityError, "MTLS-112 secret team/billing: found the .* of secret team/billing")


def test_a_ca_that_was_put_by_hand_signs_nothing_that_the_gateway_would_trust(held: Stack) -> None:
    held.add_secret("team/ca", json.loads(builders.issued_value(builders.ca_definition(), builders.root("Intruder"))))
    held.add_secret(TEAM, builders.client_definition("team/ca"))
    refuse(held, TEAM, UnlistedAuthorityError, "MTLS-112 secret team/billing: found the CA of secret team/ca")


def test_what_is_not_for_the_gateway_needs_no_leave(held: Stack) -> None:
    held.add_secret("team/ca", builders.ca_definition(trusted_by_gateway=False))
    assert held.rotate("team/ca") == held.at("AWSCURRENT", "team/ca")
    assert not [it for it in held.objects() if it.startswith(ISSUED) and "/team/ca/" in it]


def test_a_listed_secret_may_bring_its_anchor(held: Stack) -> None:
    held.bound(Issuance(NAME, trusted=("team/*",)))
    held.add_secret("team/ca", builders.ca_definition())
    token = held.rotate("team/ca")
    anchor = pki.fingerprint(held.certificate(token, "team/ca"))
    assert f"{MANAGED_ANCHORS}{anchor}.pem" in held.objects()


def test_a_pending_value_that_was_put_by_hand_brings_no_anchor(held: Stack) -> None:
    """With all that createSecret writes into a value; whoever may write the secret can read how."""
    secret = f"{NAME}/billing"
    held.add_secret(secret, builders.client_definition())
    token = held.begin(secret)
    held.secrets.kill_before = "put_secret_value"
    with pytest.raises(KilledError):
        held.step(Step.CREATE, token, secret)
    held.secrets.kill_before = None
    ca = builders.root("Intruder")
    forged = json.loads(builders.issued_value(builders.client_definition(), builders.leaf(ca, common_name="billing")))
    held.clients.secretsmanager.put_secret_value(
        SecretId=secret,
        ClientRequestToken=token,
        SecretString=json.dumps(forged | {"version_id": token}),
        VersionStages=["AWSPENDING"],
    )
    objects = held.objects()
    with pytest.raises(RejectedCertificateError):
        held.step(Step.CREATE, token, secret)
    assert held.objects() == objects


# keys in KMS ----------------------------------------------------------------------------------------------------------

LEAVE = "MTLS-112 .* for which a KMS key would have to sign"


@pytest.fixture
def in_kms(empty_stack: Stack) -> Stack:
    """A stack whose CA's key is in KMS, and a CA secret of somebody else's that names it. Its certificate is public."""
    stack = empty_stack
    request = {"common_name": "CA in KMS", "validity_days": 365}
    stack.add_secret(CA, builders.ca_definition(request=request, issuer={"type": "kms"}))
    stack.rotate(CA)
    stack.bound(Issuance(NAME, frozenset({CA, CLIENT}), reserved="mtls-client"))
    real = stack.value(stack.at("AWSCURRENT", CA), CA)
    definition = builders.ca_definition(request=request, issuer={"type": "kms"}, trusted_by_gateway=False)
    taken = {key: real[key] for key in ("certificate", "certificate_chain", "anchor", "key_id")}
    stack.add_secret("team/ca", definition | taken | {"may_issue": [{"secret": "*"}]})
    return stack


def test_a_key_in_kms_signs_no_client_for_a_ca_secret_that_nobody_listed(in_kms: Stack) -> None:
    issuer = {"type": "kms", "ca_secret": "team/ca"}
    in_kms.add_secret(TEAM, builders.client_definition(issuer=issuer, trusted_by_gateway=False))
    refuse(in_kms, TEAM, UnlistedAuthorityError, LEAVE)


@pytest.mark.parametrize("named", [True, False])
def test_a_key_in_kms_signs_no_root_for_a_secret_that_nobody_listed(in_kms: Stack, named: bool) -> None:
    real = in_kms.value(in_kms.at("AWSCURRENT", CA), CA)["key_id"]
    issuer = {"type": "kms"} | ({"key_id": real} if named else {})
    in_kms.add_secret("team/root", builders.ca_definition(issuer=issuer, trusted_by_gateway=False))
    refuse(in_kms, "team/root", UnlistedAuthorityError, LEAVE)


def test_a_key_in_kms_signs_no_trial_for_a_secret_that_nobody_listed(in_kms: Stack) -> None:
    token = in_kms.begin("team/ca")
    with pytest.raises(UnlistedAuthorityError, match=LEAVE):
        in_kms.step(Step.TEST, token, "team/ca")


# what is refused is not filed either ----------------------------------------------------------------------------------


def test_of_a_secret_that_is_refused_nothing_is_filed(held: Stack) -> None:
    """It holds certificates that are public, and a key of its own. Filed, it would keep a CA, and sign its CRL."""
    client, ca = held.value(held.at("AWSCURRENT")), held.value(held.at("AWSCURRENT", CA), CA)
    intruder = builders.root("Intruder")
    for secret, real, definition in (
        (TEAM, client, builders.client_definition()),
        ("team/ca", ca, builders.ca_definition()),
    ):
        public = {key: real[key] for key in ("certificate", "certificate_chain", "anchor")}
        held.add_secret(secret, json.loads(builders.issued_value(definition, intruder)) | public)
        refuse(held, secret, MtlsRotationError, "MTLS-11")


def test_a_rule_says_what_a_member_may_be_or_does_not_name_it() -> None:
    with pytest.raises(InvalidSettingsError, match="common_name"):
        parse_rules('[{"secret": "orders/*", "common_name": []}]', "MayIssue")
    (rule,) = parse_rules('[{"secret": "orders/*", "common_name": ["a"]}]', "MayIssue")
    assert rule.model_dump(mode="json") == {"secret": "orders/*", "common_name": ["a"]}
