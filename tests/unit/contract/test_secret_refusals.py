"""A definition that no certificate can be made from is refused in words an operator can act on, before any write."""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from mtls_rotation.errors import (
    InvalidEventError,
    InvalidSecretError,
    MtlsRotationError,
    RotationNotEnabledError,
    UnusableIssuerError,
    ValidityBeyondIssuerError,
    VersionNotStagedError,
)
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import RotationRequest, Step
from mtls_rotation.rotation.value import parse_value
from tests.kit import builders
from tests.kit.stack import CA, CLIENT, Stack


def request(**members: Any) -> dict[str, Any]:
    return builders.client_definition(request={"common_name": "billing", "validity_days": 30} | members)


def refuse_create(stack: Stack, expected: type[MtlsRotationError], token: str | None = None) -> MtlsRotationError:
    """createSecret fails with this error, and nothing was written."""
    token = token or stack.begin()
    before = stack.snapshot()
    with pytest.raises(expected) as failure:
        stack.step(Step.CREATE, token)
    assert stack.snapshot() == before
    error = failure.value
    assert error.where
    assert error.found
    assert error.expected
    assert error.remedy
    for part in (error.code, error.where, error.found, error.expected, error.remedy):
        assert part in str(error)
    assert not error.retryable
    return error


@pytest.mark.parametrize(
    ("value", "found", "expected"),
    [
        ("not json", "not JSON", '"request" and "issuer"'),
        ("[1]", "the JSON", "dictionary"),
        (builders.client_definition(request=None), "no request", "request to be there"),
        (builders.client_definition(issuer=None), "no issuer", "issuer to be there"),
        (builders.client_definition(issuer={}), "issuer", "issuer.type to be there"),
        (
            builders.client_definition(issuer={"type": "acme"}),
            "acme",
            "'secretsmanager', 'kms', 'acm-pca', 'self-signed', 'external'",
        ),
        (builders.client_definition(issuer={"type": "secretsmanager"}), "no issuer.ca_secret", "issuer.ca_secret"),
        (builders.client_definition(use_from="2026-12-01T00:00:00"), "an unusable value of use_from", "its time zone"),
        (builders.client_definition(use_from="soon"), "an unusable value of use_from", "its time zone"),
        (builders.client_definition(kind="server"), 'kind = "server"', "'client' or 'ca'"),
        (request(common_name=None), "request.common_name = null", "valid string"),
        (request(common_name=""), 'request.common_name = ""', "at least 1 character"),
        (request(common_name=" billing"), 'request.common_name = " billing"', "without spaces at its ends"),
        (request(common_name="bill\ning"), "request.common_name", "without control characters"),
        (request(common_name="b" * 65), "request.common_name", "at most 64 characters"),
        (request(common_name="é" * 33), "request.common_name", "64 bytes of UTF-8"),
        (request(organization="o" * 65), "request.organization", "at most 64 characters"),
        (request(dns_names=["-a.example.com"]), 'request.dns_names.0 = "-a.example.com"', "a DNS name"),
        (request(dns_names=["a..b"]), 'request.dns_names.0 = "a..b"', "a DNS name"),
        (request(dns_names=["büch er.example"]), "request.dns_names.0", "a DNS name"),
        (request(dns_names=["a.example", "a.example"]), "request.dns_names", "each value once"),
        (request(country="de"), 'request.country = "de"', "^[A-Z]{2}$"),
        (request(locality="l" * 129), "request.locality", "at most 128 characters"),
        (request(state="s" * 129), "request.state", "at most 128 characters"),
        (request(organizational_unit="o" * 65), "request.organizational_unit", "at most 64 characters"),
        (request(ip_addresses=["192.0.2.256"]), 'request.ip_addresses.0 = "192.0.2.256"', "an IPv4 or IPv6 address"),
        (request(ip_addresses=["fe80::1%eth0"]), 'request.ip_addresses.0 = "fe80::1%eth0"', "without a zone"),
        (request(extended_key_usages=["server"]), 'request.extended_key_usages.0 = "server"', "serverAuth"),
        (request(extended_key_usages=["2.5.29.37.0"]), "request.extended_key_usages.0", "good for everything"),
        (request(uris=["spiffe://Example.com/a"]), "request.uris.0", "a SPIFFE ID"),
        (request(uris=["spiffe://a.example/x", "spiffe://a.example/y"]), "request.uris", "one SPIFFE ID at most"),
        (request(emails=["büro@example.com"]), "request.emails.0", "nothing but ASCII before the @"),
        (request(validity_hours=12), "request", "validity_days or validity_hours, not both"),
        (request(uris=["/relative"]), 'request.uris.0 = "/relative"', "an absolute URI"),
        (request(uris=["spiffe://a b"]), "request.uris.0", "an absolute URI"),
        (request(uris=["http://[::1"]), "request.uris.0", "an absolute URI"),
        (request(emails=["team"]), 'request.emails.0 = "team"', "an e-mail address"),
        (request(emails=["te am@example.com"]), "request.emails.0", "an e-mail address"),
        (request(key_algorithm="DSA"), 'request.key_algorithm = "DSA"', "'EC_P256'"),
        (request(validity_days=0), "request.validity_days = 0", "greater than or equal to 1"),
        (request(validity_days="30"), 'request.validity_days = "30"', "valid integer"),
        (request(validity_day=30), "the unknown key request.validity_day", "only keys"),
        (builders.client_definition(endpoint={"url": "http://a.example"}), "endpoint.url", "URL such as https://"),
        (builders.client_definition(endpoint={"url": "https://u:p@a.example"}), "endpoint.url", "no user"),
        (builders.client_definition(endpoint={"url": "https://a.example:0x/"}), "endpoint.url", "URL such as https://"),
        (
            builders.client_definition(endpoint={"url": "https://a.example", "expected_status": []}),
            "endpoint.expected_status",
            "at least 1 item",
        ),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused_before_anything_is_written(
    empty_stack: Stack, ca: pki.CertifiedKey, value: str | dict[str, Any], found: str, expected: str
) -> None:
    empty_stack.add_ca(ca)
    empty_stack.add_secret(CLIENT, value)
    error = refuse_create(empty_stack, InvalidSecretError)

    assert error.where == f"secret {CLIENT}"
    assert found in error.found
    assert expected in error.expected


def test_a_certificate_that_would_outlive_its_ca_is_refused_with_how_many_days_it_may_last(
    empty_stack: Stack,
) -> None:
    # A new CA would live no longer, so rotating this one early would help nobody.
    empty_stack.add_ca(
        builders.root(now=empty_stack.now, days=20), request={"common_name": "Test CA", "validity_days": 20}
    )
    empty_stack.add_secret(CLIENT, builders.client_definition())
    error = refuse_create(empty_stack, ValidityBeyondIssuerError)

    assert "a validity of 30 days" in error.found
    assert "CN=Test CA" in error.expected
    assert "20 days or fewer" in error.remedy


@pytest.mark.parametrize("microseconds", [0, 400_000])
def test_a_certificate_that_ends_in_the_same_second_as_its_ca_is_issued(empty_stack: Stack, microseconds: int) -> None:
    """As with a CA that was rotated early for it: that one is asked for a moment later, and ends at a whole second."""
    ca = builders.root(now=empty_stack.now, days=30)
    empty_stack.pass_time(microseconds=microseconds)
    # A new one would live no longer, so it is not rotated once more.
    empty_stack.add_ca(ca, request={"common_name": "Test CA", "validity_days": 20})
    empty_stack.add_secret(CLIENT, builders.client_definition())

    assert empty_stack.value(empty_stack.rotate())["certificate"]


def _other_key() -> str:
    return pki.key_to_pem(ec.generate_private_key(ec.SECP256R1()))


EXPIRED = builders.root(now=builders.NOW - timedelta(days=400))
BORN_LATER = builders.root(now=builders.NOW + timedelta(days=1))
LEAF = builders.leaf(builders.root())


@pytest.mark.parametrize(
    ("ca_value", "found"),
    [
        (None, "no such secret, or one without a value"),
        ("garbage", "not JSON"),
        (builders.ca_definition(), "holds no CA"),
        (builders.issued_value(builders.client_definition(), LEAF), "holds no CA"),
        (builders.issued_value(builders.ca_definition(), LEAF), "CN=billing, which is not a CA's"),
        (builders.issued_value(builders.ca_definition(), EXPIRED), "a CA that is valid until"),
        (builders.issued_value(builders.ca_definition(), BORN_LATER), "a CA that is valid"),
        (
            builders.changed(builders.issued_value(builders.ca_definition(), builders.root()), certificate="x"),
            "cannot be read",
        ),
        (
            builders.changed(builders.issued_value(builders.ca_definition(), builders.root()), private_key="x"),
            "cannot be read",
        ),
        (
            builders.changed(
                builders.issued_value(builders.ca_definition(), builders.root()), private_key=_other_key()
            ),
            "a private key that is not the one of CN=Test CA",
        ),
    ],
    ids=["absent", "garbage", "never issued", "client", "leaf", "expired", "future", "no PEM", "no key", "other key"],
)
def test_a_ca_secret_that_cannot_sign_is_refused_before_anything_is_written(
    empty_stack: Stack, ca_value: str | dict[str, Any] | None, found: str
) -> None:
    if ca_value is not None:
        empty_stack.add_secret(CA, ca_value)
    empty_stack.add_secret(CLIENT, builders.client_definition())
    error = refuse_create(empty_stack, UnusableIssuerError)

    assert CA in error.where
    assert found in error.found


def test_a_secret_that_has_no_value_is_refused(empty_stack: Stack, ca: pki.CertifiedKey) -> None:
    empty_stack.add_ca(ca)
    empty_stack.add_secret(CLIENT, None)

    assert "no value at AWSCURRENT" in refuse_create(empty_stack, InvalidSecretError).found


def test_a_token_that_is_not_staged_is_refused(stack: Stack) -> None:
    error = refuse_create(stack, VersionNotStagedError, token="11111111-2222-4333-8444-555555555555")

    assert "no such version with a label" in error.found


def test_a_token_that_has_become_the_previous_version_is_refused(stack: Stack) -> None:
    previous = stack.rotate()
    stack.rotate()

    assert "AWSPREVIOUS" in refuse_create(stack, VersionNotStagedError, token=previous).found


def test_a_secret_without_rotation_is_refused(stack: Stack) -> None:
    token = stack.begin()
    stack.secrets.record(CLIENT).rotation_enabled = False

    assert "rotation switched off" in refuse_create(stack, RotationNotEnabledError, token).found


def test_a_secret_that_does_not_exist_is_refused(stack: Stack) -> None:
    wanted = RotationRequest(Step.CREATE, "arn:aws:secretsmanager:us-east-1:123456789012:secret:gone-AbCdEf", "t" * 32)
    with pytest.raises(
        InvalidEventError, match=r"SecretId arn:.*gone-AbCdEf: found no such secret.*; expected a secret that exists"
    ):
        stack.rotation.run(wanted, stack.time.deadline())


@pytest.mark.parametrize("step", ["deleteSecret", "CREATESECRET"])
def test_an_unknown_step_is_refused(step: str) -> None:
    event = {"Step": step, "SecretId": "a", "ClientRequestToken": "b"}
    with pytest.raises(InvalidEventError, match=r"the event's Step: found '.*'"):
        RotationRequest.from_event(event)


@pytest.mark.parametrize("member", ["Step", "SecretId", "ClientRequestToken"])
@pytest.mark.parametrize("value", [None, "", 7])
def test_an_event_that_lacks_a_member_is_refused(member: str, value: object) -> None:
    event = {"Step": "createSecret", "SecretId": "a", "ClientRequestToken": "b"} | {member: value}
    with pytest.raises(InvalidEventError, match=f"the event's {member}: found"):
        RotationRequest.from_event(event)


def test_unknown_keys_at_the_top_are_carried_over_untouched(empty_stack: Stack, ca: pki.CertifiedKey) -> None:
    own = {"owner": "team é", "nothing": None, "deep": {"a": None, "b": [1, 2.5, None, True]}}
    empty_stack.add_ca(ca)
    empty_stack.add_secret(CLIENT, json.dumps(builders.client_definition() | own))
    value = empty_stack.value(empty_stack.rotate())

    assert {key: value[key] for key in own if key in value} == own


# In PKCS#8, as rotation stores it, the private number begins at the 48th character; in the older form near the start.
STORED = pki.key_to_pem(LEAF.key)
KEY = LEAF.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
KEY_BODY = "".join(KEY.splitlines()[1:-1])
ISSUED = builders.issued_value(builders.client_definition(), LEAF)


@pytest.mark.parametrize(
    "value",
    [
        ISSUED[:-1],
        ISSUED.replace(json.dumps(STORED), json.dumps(STORED)[:150]),
        ISSUED.replace('"private_key": ', '"private_key" '),
        builders.changed(ISSUED, private_key=[KEY]),
        builders.changed(ISSUED, private_key={"pem": KEY}),
        builders.changed(ISSUED, certificate=[KEY]),
        builders.changed(ISSUED, request=None),
        builders.changed(ISSUED, request=KEY),
        builders.changed(ISSUED, request={"common_name": KEY}),
        builders.changed(ISSUED, request={"common_name": "a", "key_algorithm": KEY}),
        builders.changed(ISSUED, request={"common_name": "a", "organization": {"key": KEY_BODY}}),
        builders.changed(ISSUED, request={"common_name": "a", "private_key": KEY}),
        builders.changed(ISSUED, request={"common_name": "a", KEY: "x"}),
        builders.changed(ISSUED, issuer={"type": "self-signed", KEY_BODY: "x"}),
        builders.changed(ISSUED, endpoint={"url": "https://a.example", KEY: {KEY: KEY}}),
        builders.changed(ISSUED, issuer={"type": KEY}),
        builders.changed(ISSUED, issuer={"type": "x", "private_key": KEY}),
        builders.changed(ISSUED, issuer={"key": KEY_BODY}),
        builders.changed(ISSUED, endpoint={"url": "https://a.example", "server_ca": KEY}),
        builders.changed(ISSUED, endpoint={"url": KEY}),
        builders.changed(ISSUED, kind=KEY),
        json.dumps(KEY),
        json.dumps([KEY]),
    ],
)
def test_no_error_text_ever_holds_a_private_key(value: str) -> None:
    with pytest.raises(InvalidSecretError) as failure:
        parse_value(value, "secret x")

    shown = "".join(traceback.format_exception(failure.value)) + repr(failure.value) + str(vars(failure.value))
    assert not _leaked(shown)
    # Nor is one in what it came of: what a traceback leaves out, whoever reports exceptions to a service may send.
    assert (failure.value.__context__, failure.value.__cause__) == (None, None)


@pytest.mark.parametrize(
    "show",
    [
        lambda: repr(parse_value(ISSUED, "secret x")),
        lambda: str(parse_value(ISSUED, "secret x").model_dump(mode="json")),
        lambda: repr(LEAF),
    ],
)
def test_no_repr_ever_holds_a_private_key(show: Callable[[], str]) -> None:
    assert not _leaked(show())


def test_no_repr_of_a_version_holds_its_value(stack: Stack) -> None:
    token = stack.rotate()
    version = stack.versions.version(CLIENT, token)

    assert token in repr(version)
    assert not _leaked(repr(version), stack.value(token)["private_key"])


def _leaked(shown: str, stored: str = STORED) -> list[str]:
    """What of the private number can be found in a text, in either form and however its line breaks were written."""
    key = pki.key_from_pem(stored)
    older = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    private = [_body(stored)[48:88], _body(older)[10:50]]
    plain = re.sub(r"\\n|\s", "", shown)
    return [part for text in private for start in range(32) if (part := text[start : start + 8]) in plain]


def _body(pem: str) -> str:
    return "".join(pem.splitlines()[1:-1])
