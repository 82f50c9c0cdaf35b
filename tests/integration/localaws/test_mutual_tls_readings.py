"""What AWS's pages leave open of mutual TLS: each reading, by the setting that chooses it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localaws import FrontDoor, LocalAws
from localaws.settings import Settings
from tests.integration.localaws.support import (
    FORBIDDEN,
    Certificate,
    RefusedError,
    connected,
    fetch,
    make,
    send,
)

type Truststores = Callable[..., tuple[str, str]]
type MakeDomain = Callable[..., str]
type Change = Callable[..., object]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture
def door(aws: LocalAws) -> FrontDoor:
    return aws.front_door


@pytest.mark.parametrize("version", VERSIONS)
def test_a_refused_client_is_told_by_http_over_a_connection_that_stands(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, ca: Certificate, version: ssl.TLSVersion
) -> None:
    domain = make_domain(truststores(ca))
    with connected(door, domain, make("stranger", ca=True).issue("billing"), version) as connection:
        for _ in range(2):
            status, headers, body = send(connection, "GET", "/")
            assert (status, headers["x-amzn-ErrorType"], body) == (
                403,
                "ForbiddenException",
                b'{"message":"Forbidden"}',
            )


@pytest.mark.parametrize("version", VERSIONS)
def test_a_client_may_be_refused_by_an_alert(
    door: FrontDoor,
    make_domain: MakeDomain,
    truststores: Truststores,
    ca: Certificate,
    settings: Change,
    version: ssl.TLSVersion,
) -> None:
    settings(refusal_of_clients="alert")
    domain = make_domain(truststores(ca))
    assert fetch(door, domain, ca.issue("billing"), version=version)[0] == 200
    for refused in (None, make("stranger", ca=True).issue("billing"), make("alone")):
        with pytest.raises(RefusedError, match="alert" if version is ssl.TLSVersion.TLSv1_2 else None):
            fetch(door, domain, refused, version=version)


def test_of_anchors_with_one_subject_the_first_alone_is_looked_at(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, settings: Change
) -> None:
    settings(equal_subjects="first")
    older, newer = make("the CA", ca=True), make("the CA", ca=True)
    for first, second in ((older, newer), (newer, older)):
        domain = make_domain(truststores(make("another CA", ca=True), first, second))
        assert fetch(door, domain, first.issue("billing"))[0] == 200
        assert fetch(door, domain, second.issue("billing")) == FORBIDDEN
    expired = make("The CA", ca=True, starts=timedelta(days=-2), ends=timedelta(days=-1))
    assert fetch(door, make_domain(truststores(expired, newer)), newer.issue("billing")) == FORBIDDEN


def test_of_anchors_with_one_subject_any_may_be_looked_at(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, settings: Change
) -> None:
    settings(equal_subjects="any")
    older, newer = make("the CA", ca=True), make("the CA", ca=True)
    domain = make_domain(truststores(older, newer))
    assert {fetch(door, domain, it.issue("billing"))[0] for it in (older, newer)} == {200}


def test_the_name_of_an_anchor_is_no_intermediates_that_a_client_presents(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, settings: Change
) -> None:
    settings(incomplete_chains="accepted")
    root, same_name = make("root", ca=True), make("issuing CA", ca=True)
    client = root.issue("issuing CA", ca=True).issue("billing")
    alone, beside = make_domain(truststores(root)), make_domain(truststores(root, same_name))
    for reading, expected in (("first", 403), ("any", 200)):
        settings(equal_subjects=reading)
        assert (fetch(door, alone, client)[0], fetch(door, beside, client)[0]) == (200, expected)


def test_a_client_certificate_is_not_its_own_anchor(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, ca: Certificate, settings: Change
) -> None:
    settings(self_signed_clients="refused")
    alone, issued = make("alone"), ca.issue("billing")
    domain = make_domain(truststores(alone, issued, make("another CA", ca=True)))
    assert fetch(door, domain, alone) == FORBIDDEN
    assert fetch(door, domain, issued) == FORBIDDEN


def test_a_client_certificate_may_be_its_own_anchor(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, settings: Change
) -> None:
    settings(self_signed_clients="accepted")
    alone = make("alone", signs=False)
    domain = make_domain(truststores(alone))
    assert fetch(door, domain, alone)[0] == 200
    assert fetch(door, domain, make("alone")) == FORBIDDEN


@pytest.mark.parametrize(("reading", "expected"), [("refused", 403), ("accepted", 200)])
def test_a_truststore_has_every_authority_of_a_client_or_need_not(
    door: FrontDoor,
    make_domain: MakeDomain,
    truststores: Truststores,
    settings: Change,
    reading: str,
    expected: int,
) -> None:
    settings(incomplete_chains=reading)
    root = make("root", ca=True)
    intermediate = root.issue("intermediate", ca=True)
    client, of_the_root = intermediate.issue("billing"), root.issue("billing")
    whole, top, bottom = (make_domain(truststores(*it)) for it in ((intermediate, root), (root,), (intermediate,)))
    assert (fetch(door, whole, client)[0], fetch(door, whole, of_the_root)[0]) == (200, 200)
    assert (fetch(door, top, client)[0], fetch(door, bottom, client)[0]) == (expected, expected)
    assert (fetch(door, top, of_the_root)[0], fetch(door, bottom, of_the_root)) == (200, FORBIDDEN)


def test_a_truststore_with_text_between_its_blocks_is_refused(
    gateway: Any, make_domain: MakeDomain, truststores: Truststores, ca: Certificate, settings: Change
) -> None:
    settings(comments_in_truststore="refused")
    commented = truststores("# CN=first CA\n", ca, key="commented.pem")
    with pytest.raises(ClientError, match=r"BadRequestException.*CreateDomainName"):
        make_domain(commented)
    domain = make_domain(truststores(ca, "\n\n", make("another CA", ca=True), key="commented.pem"))
    version = {"op": "replace", "path": "/mutualTlsAuthentication/truststoreVersion", "value": commented[1]}
    with pytest.raises(ClientError, match=r"BadRequestException.*UpdateDomainName"):
        gateway.update_domain_name(domainName=domain, patchOperations=[version])


def test_a_truststore_with_text_between_its_blocks_may_be_accepted(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, ca: Certificate, settings: Change
) -> None:
    settings(comments_in_truststore="accepted")
    domain = make_domain(truststores("# CN=first CA\n", ca))
    assert fetch(door, domain, ca.issue("billing"))[0] == 200


def test_a_change_of_reading_holds_from_the_next_connection_on(
    door: FrontDoor, make_domain: MakeDomain, truststores: Truststores, settings: Change
) -> None:
    alone = make("alone")
    domain = make_domain(truststores(alone))
    for reading, expected in (("accepted", 200), ("refused", 403), ("accepted", 200)):
        settings(self_signed_clients=reading)
        assert fetch(door, domain, alone)[0] == expected


def test_a_reading_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="refusal_of_clients is 403 or alert; got silence"):
        Settings().changed({"refusal_of_clients": "silence"})
