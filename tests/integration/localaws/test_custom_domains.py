from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec

from localaws import LocalAws
from tests.integration.localaws.support import Certificate, RefusedError, fetch, make, rsa_key, wait_until

_VERSION = "/mutualTlsAuthentication/truststoreVersion"
_URI = "/mutualTlsAuthentication/truststoreUri"
type Truststores = Callable[..., tuple[str, str]]
type MakeDomain = Callable[..., str]


def update(gateway: Any, domain: str, *operations: tuple[str, str, str | None]) -> Any:
    patch = [{"op": op, "path": path} | ({"value": value} if value else {}) for op, path, value in operations]
    return gateway.update_domain_name(domainName=domain, patchOperations=patch)


def error_of(call: Callable[..., Any], *arguments: Any, **named: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as caught:
        call(*arguments, **named)
    return dict(caught.value.response)


def test_an_update_is_updating_for_a_while_and_then_available(
    gateway: Any, make_domain: MakeDomain, truststores: Truststores, ca: Certificate
) -> None:
    uri, first = truststores(ca, key="updating.pem")
    domain = make_domain((uri, first))
    assert gateway.get_domain_name(domainName=domain)["domainNameStatus"] == "AVAILABLE"
    _, second = truststores(ca, make("another CA", ca=True), key="updating.pem")
    answer = update(gateway, domain, ("replace", _VERSION, second))
    assert answer["domainNameStatus"] == "UPDATING"
    assert answer["mutualTlsAuthentication"] == {"truststoreUri": uri, "truststoreVersion": second}
    assert gateway.get_domain_name(domainName=domain)["domainNameStatus"] == "UPDATING"
    wait_until(lambda: gateway.get_domain_name(domainName=domain)["domainNameStatus"] == "AVAILABLE")
    shown = gateway.get_domain_name(domainName=domain)["mutualTlsAuthentication"]
    assert shown["truststoreVersion"] == second


def test_answers_hold_only_what_the_service_model_knows(
    gateway: Any, make_domain: MakeDomain, truststores: Truststores, ca: Certificate
) -> None:
    domain = make_domain(truststores(ca))
    model = gateway.meta.service_model.operation_model("UpdateDomainName").output_shape
    raw = gateway._endpoint.http_session  # the wire, before botocore drops what it does not know
    seen: list[bytes] = []
    send = raw.send

    def keep(request: Any) -> Any:
        response = send(request)
        seen.append(response.content)
        return response

    raw.send = keep
    try:
        update(gateway, domain, ("replace", "/securityPolicy", "TLS_1_2"))
        gateway.get_domain_name(domainName=domain)
    finally:
        raw.send = send
    for content in seen:
        body = json.loads(content)
        assert body.keys() <= model.members.keys()
        assert body["mutualTlsAuthentication"].keys() <= model.members["mutualTlsAuthentication"].members.keys()


def test_one_update_in_thirty_seconds_for_the_whole_account(
    gateway: Any, make_domain: MakeDomain, settings: Callable[..., object]
) -> None:
    one, two = make_domain(), make_domain()
    policy = ("replace", "/securityPolicy", "TLS_1_2")
    update(gateway, one, policy)
    settings(domain_update_interval=timedelta(seconds=30))
    response = error_of(update, gateway, two, policy)
    assert response["Error"]["Code"] == "TooManyRequestsException"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert 25 < int(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) <= 30


def test_an_update_is_let_through_when_the_interval_is_over(
    gateway: Any, make_domain: MakeDomain, settings: Callable[..., object]
) -> None:
    one, two = make_domain(), make_domain()
    policy = ("replace", "/securityPolicy", "TLS_1_2")
    update(gateway, one, policy)
    settings(domain_update_interval=timedelta(seconds=0.5))
    started = time.monotonic()

    def let_through() -> bool:
        try:
            return bool(update(gateway, two, policy))
        except gateway.exceptions.TooManyRequestsException:
            return False

    wait_until(let_through)
    assert time.monotonic() - started < 2


def test_a_domain_that_is_updating_is_not_updated(gateway: Any, make_domain: MakeDomain) -> None:
    domain = make_domain()
    policy = ("replace", "/securityPolicy", "TLS_1_2")
    update(gateway, domain, policy)
    assert error_of(update, gateway, domain, policy)["Error"]["Code"] == "ConflictException"


OTHER_STATES = ("PENDING", "PENDING_CERTIFICATE_REIMPORT", "PENDING_OWNERSHIP_VERIFICATION", "FAILED")


@pytest.mark.parametrize("status", OTHER_STATES)
def test_a_domain_in_any_other_state_is_updated_and_comes_out_of_it(
    aws: LocalAws, gateway: Any, make_domain: MakeDomain, status: str
) -> None:
    domain = make_domain()
    aws.set_domain_status(domain, status, "what is wrong")
    shown = gateway.get_domain_name(domainName=domain)
    assert (shown["domainNameStatus"], shown["domainNameStatusMessage"]) == (status, "what is wrong")
    answer = update(gateway, domain, ("replace", "/securityPolicy", "TLS_1_2"))
    assert answer["domainNameStatus"] == "UPDATING"
    wait_until(lambda: gateway.get_domain_name(domainName=domain)["domainNameStatus"] == "AVAILABLE")
    assert "domainNameStatusMessage" not in gateway.get_domain_name(domainName=domain)


def test_a_state_that_there_is_not_and_a_domain_that_there_is_not_are_refused(
    aws: LocalAws, make_domain: MakeDomain
) -> None:
    for name, status in ((make_domain(), "BROKEN"), ("no.example.com", "FAILED")):
        with pytest.raises(ValueError, match="no such"):
            aws.set_domain_status(name, status)


def test_an_update_that_has_failed_is_shown_and_has_no_effect(
    aws: LocalAws,
    gateway: Any,
    make_domain: MakeDomain,
    truststores: Truststores,
    ca: Certificate,
    settings: Callable[..., object],
) -> None:
    settings(domain_update_time=timedelta(minutes=10))
    other = make("another CA", ca=True)
    domain = make_domain(truststores(ca, key="failing.pem"))
    _, second = truststores(other, key="failing.pem")
    update(gateway, domain, ("replace", _VERSION, second))
    aws.set_domain_status(domain, "FAILED", "the truststore could not be read")

    shown = gateway.get_domain_name(domainName=domain)
    assert shown["mutualTlsAuthentication"]["truststoreVersion"] == second
    assert accepts(aws, domain, ca)
    assert not accepts(aws, domain, other)


@pytest.mark.parametrize(("reading", "served"), [("old", True), ("refused", False)])
def test_requests_meet_the_truststore_before_or_none_while_a_domain_is_updating(
    aws: LocalAws,
    gateway: Any,
    make_domain: MakeDomain,
    truststores: Truststores,
    ca: Certificate,
    settings: Callable[..., object],
    reading: str,
    served: bool,
) -> None:
    settings(domain_update_time=timedelta(minutes=10), requests_while_updating=reading)
    other = make("another CA", ca=True)
    domain = make_domain(truststores(ca, key="meanwhile.pem"))
    _, second = truststores(ca, other, key="meanwhile.pem")
    update(gateway, domain, ("replace", _VERSION, second))
    assert accepts(aws, domain, ca) is served
    assert not accepts(aws, domain, other)

    aws.set_domain_status(domain, "AVAILABLE")
    assert accepts(aws, domain, ca)
    assert accepts(aws, domain, other)


def accepts(aws: LocalAws, domain: str, issuer: Certificate) -> bool:
    """Whether a client with a certificate by this CA gets an answer from the API."""
    try:
        return fetch(aws.front_door, domain, issuer.issue("client"))[0] == 200
    except RefusedError:
        return False


def test_a_missing_domain_is_not_found(gateway: Any) -> None:
    policy = ("replace", "/securityPolicy", "TLS_1_2")
    assert error_of(update, gateway, "no.example.com", policy)["Error"]["Code"] == "NotFoundException"


@pytest.mark.parametrize(
    "operation",
    [
        ("replace", "/colour", "blue"),
        ("replace", "/mutualTlsAuthentication/truststore", "s3://a/b"),
        ("move", "/securityPolicy", "TLS_1_2"),
        ("replace", "/securityPolicy", "SSL_3"),
        ("replace", _VERSION, "no-such-version"),
        ("replace", _URI, "s3://truststores/no-such-key"),
        ("replace", _URI, "https://example.com/truststore.pem"),
        ("replace", "/endpointConfiguration/types/EDGE", "EDGE"),
    ],
)
def test_a_bad_update_is_refused_and_changes_nothing(
    gateway: Any,
    make_domain: MakeDomain,
    truststores: Truststores,
    ca: Certificate,
    operation: tuple[str, str, str],
) -> None:
    domain = make_domain(truststores(ca))
    before = gateway.get_domain_name(domainName=domain)
    assert error_of(update, gateway, domain, operation)["Error"]["Code"] == "BadRequestException"
    after = gateway.get_domain_name(domainName=domain)
    assert {**before, "ResponseMetadata": 0} == {**after, "ResponseMetadata": 0}


@pytest.mark.parametrize(
    "text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_an_object_that_is_no_truststore_is_refused(
    gateway: Any, make_domain: MakeDomain, truststores: Truststores, ca: Certificate, text: str
) -> None:
    key = f"{uuid.uuid4().hex}.pem"
    domain = make_domain(truststores(ca, key=key))
    _, broken = truststores(text, key=key)
    assert error_of(update, gateway, domain, ("replace", _VERSION, broken))["Error"]["Code"] == "BadRequestException"


def test_certificates_that_are_not_used_are_warned_about(
    gateway: Any, make_domain: MakeDomain, truststores: Truststores, ca: Certificate
) -> None:
    expired = make("expired CA", ca=True, starts=timedelta(days=-2), ends=timedelta(days=-1))
    future = make("future CA", ca=True, starts=timedelta(days=1), ends=timedelta(days=2))
    small = make("small CA", ca=True, key=rsa_key(1024))
    curve = make("odd curve CA", ca=True, key=ec.generate_private_key(ec.SECP224R1()))
    domain = make_domain(truststores(ca, expired, future, small, curve, make("large CA", ca=True, key=rsa_key(2048))))
    warnings = gateway.get_domain_name(domainName=domain)["mutualTlsAuthentication"]["truststoreWarnings"]
    named = [next(n for n in ("expired", "future", "small", "odd curve") if f"{n} CA" in w) for w in warnings]
    assert named == ["expired", "future", "small", "odd curve"]


def test_mutual_tls_can_be_switched_off(
    gateway: Any, make_domain: MakeDomain, truststores: Truststores, ca: Certificate
) -> None:
    domain = make_domain(truststores(ca))
    assert "mutualTlsAuthentication" not in update(gateway, domain, ("replace", _URI, ""))
    wait_until(lambda: gateway.get_domain_name(domainName=domain)["domainNameStatus"] == "AVAILABLE")
    assert "mutualTlsAuthentication" not in gateway.get_domain_name(domainName=domain)


def test_a_domain_is_created_only_with_a_truststore_that_exists(make_domain: MakeDomain) -> None:
    for missing in (("s3://truststores/none.pem", "v"), ("s3://no-such-bucket/truststore.pem", "v")):
        assert error_of(make_domain, missing)["Error"]["Code"] == "BadRequestException"


def test_mutual_tls_is_for_regional_domains_with_tls_1_2(
    make_domain: MakeDomain, truststores: Truststores, ca: Certificate
) -> None:
    truststore = truststores(ca)
    for wrong in ({"endpointConfiguration": {"types": ["EDGE"]}}, {"securityPolicy": "TLS_1_0"}):
        assert error_of(make_domain, truststore, **wrong)["Error"]["Code"] == "BadRequestException"


def test_a_domain_name_is_taken_once(gateway: Any, make_domain: MakeDomain) -> None:
    domain = make_domain()
    assert error_of(gateway.create_domain_name, domainName=domain)["Error"]["Code"] == "ConflictException"
