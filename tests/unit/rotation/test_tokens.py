"""A rotation's token is whatever its starter chose: what is filed and made for it is found again."""

from __future__ import annotations

import json

import pytest

from mtls_rotation.aws.certificate_index import CertificateIndex
from mtls_rotation.errors import InvalidEventError
from mtls_rotation.rotation.request import RotationRequest, Step
from tests.kit import builders
from tests.kit.stack import CA, CLIENT, Stack

ODD = [
    "a/b/" * 8,
    "../" * 12,
    "x.5e1.20261225T101112Z.ca.pem/" * 2,
    "\u0416\u6f22\U0001f600 {}$(x)'\"" * 4,
    "_YWJj" * 8,
]


@pytest.mark.parametrize("token", ODD)
@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_is_found_by_its_version_whatever_the_token(stack: Stack, token: str, trusted: bool) -> None:
    secret = "stack/another/one"
    stack.add_secret(secret, builders.client_definition(trusted_by_gateway=trusted))
    stack.secrets.stage(secret, token)
    for step in Step:
        stack.step(step, token, secret)

    assert stack.at("AWSCURRENT", secret) == token
    (filed,) = CertificateIndex.read(stack.bucket).of_version(secret, token)
    assert filed.serial_number == stack.serial(token, secret)


@pytest.mark.parametrize("token", ODD)
def test_a_ca_in_kms_is_made_and_filed_whatever_the_token(empty_stack: Stack, token: str) -> None:
    empty_stack.add_secret(CA, builders.ca_definition(issuer={"type": "kms"}))
    empty_stack.secrets.stage(CA, token)
    for step in Step:
        empty_stack.step(step, token, CA)

    assert empty_stack.at("AWSCURRENT", CA) == token
    (filed,) = CertificateIndex.read(empty_stack.bucket).of_version(CA, token)
    assert filed.authority


@pytest.mark.parametrize("token", ODD)
def test_a_rotation_by_an_odd_token_syncs(stack: Stack, token: str) -> None:
    stack.with_gateway()
    stack.secrets.stage(CA, token)
    stack.step(Step.CREATE, token, CA)
    stack.reconcile()
    for step in (Step.SET, Step.TEST, Step.FINISH):
        stack.step(step, token, CA)

    assert stack.at("AWSCURRENT", CA) == token
    assert stack.at("AWSCURRENT", CLIENT)


def test_a_token_that_is_no_text_is_refused() -> None:
    event = json.loads('{"Step": "createSecret", "SecretId": "arn:x", "ClientRequestToken": "\\ud800"}')
    with pytest.raises(InvalidEventError, match="ClientRequestToken"):
        RotationRequest.from_event(event)
