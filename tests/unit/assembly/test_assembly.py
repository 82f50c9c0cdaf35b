"""What the functions are made of: settings that are refused, and clients that keep to API Gateway's rate."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import boto3
import pytest

from mtls_rotation.assembly import Assembly
from mtls_rotation.errors import DomainBusyError, InvalidSettingsError
from mtls_rotation.rotation.admission import Admission
from mtls_rotation.targets.api import Edition, ObjectVersion, Running
from tests.kit.serving import serving

SETTINGS = {"BUCKET_NAME": "b", "EVENT_BUS_NAME": "default", "STACK_NAME": "stack"}


def assembly(**environment: str) -> Assembly:
    return Assembly(SETTINGS | environment, boto3.Session("test", "test", region_name="us-east-1"))


class ThrottlingServer(ThreadingHTTPServer):
    """An API Gateway whose rate is used up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TooManyRequests)
        self.requests = 0


class _TooManyRequests(BaseHTTPRequestHandler):
    def do_PATCH(self) -> None:
        cast("ThrottlingServer", self.server).requests += 1
        self.send_response(429)
        self.send_header("x-amzn-ErrorType", "TooManyRequestsException")
        self.send_header("Retry-After", "17")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the standard library
        pass


@pytest.fixture
def throttling() -> Iterator[ThrottlingServer]:
    with serving(ThrottlingServer()) as server:
        yield server


def test_an_update_that_api_gateway_throttles_is_not_tried_again_at_once(
    throttling: ThrottlingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{throttling.server_address[1]}")
    (domain,) = assembly(DOMAIN_NAMES="api.example.com").targets
    edition = Edition("truststore.pem", "s3://b/truststore.pem", "new", b"", frozenset())
    with pytest.raises(DomainBusyError, match="TooManyRequestsException") as busy:
        domain.run(edition, Running(ObjectVersion("s3://b/truststore.pem", "old")))

    assert throttling.requests == 1
    assert busy.value.retry_after == 17


def test_domains_are_told_of_by_name_or_by_arn_each_once() -> None:
    names = "api.example.com, arn:aws:apigateway:eu-west-1::/domainnames/orders.example.com,,api.example.com"

    assert [domain.name for domain in assembly(DOMAIN_NAMES=names).targets] == [
        "api.example.com",
        "orders.example.com",
    ]
    assert list(assembly(DOMAIN_NAMES=" , ").targets) == []


@pytest.mark.parametrize(
    ("environment", "known"),
    [
        ({}, Admission()),
        ({"DOMAIN_NAMES": "api.example.com"}, Admission(at_gateway=True)),
        ({"DOMAIN_NAMES": "api.example.com", "SELF_SIGNED_CLIENTS": "refused"}, Admission(at_gateway=True)),
        (
            {"DOMAIN_NAMES": "api.example.com", "SELF_SIGNED_CLIENTS": "accepted"},
            Admission(at_gateway=True, self_signed_clients=True),
        ),
    ],
)
def test_self_signed_clients_of_a_gateway_are_refused_unless_the_template_says_otherwise(
    environment: dict[str, str], known: Admission
) -> None:
    assert assembly(**environment).admission == known


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ANCHOR_OVERLAP_HOURS", "0.5"),
        ("ANCHOR_OVERLAP_HOURS", "soon"),
        ("LARGEST_REMOVAL_PERCENT", "101"),
        ("LARGEST_REMOVAL_PERCENT", "-1"),
        ("LARGEST_REMOVAL_PERCENT", "nan"),
        ("TRUSTSTORE_MAX_CERTIFICATES", "0"),
        ("TRUSTSTORE_MAX_CERTIFICATES", "inf"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused_with_its_name_and_its_range(name: str, text: str) -> None:
    with pytest.raises(InvalidSettingsError, match=f"{name}: found '{text}'; expected a number of .*, .* to"):
        _ = assembly(**{name: text}).sync


def test_the_settings_are_what_the_template_sets() -> None:
    made: Any = assembly(
        ANCHOR_OVERLAP_HOURS="48", LARGEST_REMOVAL_PERCENT="20", TRUSTSTORE_MAX_CERTIFICATES="2000"
    ).sync
    settings = made._settings
    (limits,) = made._targets.limits

    assert (settings.overlap.total_seconds(), settings.most_removed, limits.capacity) == (172_800, 0.2, 2000)
