"""setSecret and testSecret: nothing is promoted that the gateway or the endpoint would refuse."""

from __future__ import annotations

import json
import uuid
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import pytest

from mtls_rotation.errors import (
    HandshakeFailedError,
    InvalidSecretError,
    RejectedCertificateError,
    TruststoreNotDeployedError,
    UnusableDomainError,
)
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.fakes import refused
from tests.kit.server import MutualTlsServer
from tests.kit.stack import CA, CLIENT, DOMAIN, Stack


def begin_with_a_new_ca(stack: Stack) -> tuple[str, str]:
    """A pending certificate whose anchor the gateway does not have yet: the token and the anchor's fingerprint."""
    stack.with_gateway()
    newer = builders.root("Newer CA")
    stack.add_secret("stack/newer", builders.issued_value(builders.ca_definition(), newer))
    stack.versions.put_current(CLIENT, "c" * 32, json.dumps(builders.client_definition("stack/newer")))
    token = stack.begin()
    stack.step(Step.CREATE, token)
    return token, pki.fingerprint(newer.certificate)


# setSecret ------------------------------------------------------------------------------------------------------------


def test_set_returns_at_once_without_a_gateway(stack: Stack) -> None:
    token = stack.begin()
    stack.step(Step.CREATE, token)
    stack.step(Step.SET, token)

    assert (stack.time.now, stack.heard()) == (0, [])


def test_set_returns_at_once_where_the_domain_is_not_made_yet(stack: Stack) -> None:
    stack.expect_gateway()
    token = stack.begin()
    stack.step(Step.CREATE, token)
    stack.step(Step.SET, token)

    assert (stack.time.now, stack.heard()) == (0, [])


def test_set_returns_at_once_if_the_anchor_is_deployed(stack: Stack) -> None:
    stack.with_gateway()
    token = stack.begin()
    stack.step(Step.CREATE, token)
    stack.step(Step.SET, token)

    assert (stack.time.now, stack.heard(), stack.gateway.updates) == (0, [], [])


def test_set_asks_for_a_sync_and_waits_until_the_gateway_trusts_the_anchor(stack: Stack) -> None:
    token, anchor = begin_with_a_new_ca(stack)
    pauses: list[Any] = []

    def work_off() -> None:
        pauses.append(stack.deployed())
        if len(pauses) == 2:
            named = [(event["detail"]["secret_arn"], event["detail"]["version_id"]) for event in stack.heard()]
            stack.sync.run(stack.time.deadline(0), named)
        if len(pauses) == 4:
            stack.gateway.settle()

    stack.time.meanwhile.append(work_off)
    stack.step(Step.SET, token)

    assert len(pauses) >= 4, "it did not wait for the domain name to be AVAILABLE"
    assert anchor in stack.deployed()
    assert stack.gateway.domains[DOMAIN].status == "AVAILABLE"


def test_set_asks_less_often_once_api_gateway_has_refused_and_goes_on_waiting(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that wait for one update share ten calls a second with it."""
    stack.with_gateway()
    token, asked, look = stack.begin(), [], stack.gateway.get_domain_name
    stack.step(Step.CREATE, token)

    def crowded(**request: Any) -> dict[str, Any]:
        asked.append(stack.time.now)
        if len(asked) <= 3:
            raise refused("TooManyRequestsException", "GetDomainName")
        return look(**request)

    monkeypatch.setattr(stack.gateway, "get_domain_name", crowded)
    stack.step(Step.SET, token)

    pauses = [after - before for before, after in pairwise(asked)]
    assert len(pauses) == 3
    for pause, pace in zip(pauses, (10, 20, 40), strict=True):
        assert pace / 2 <= pause <= pace * 1.5 + 1
    assert stack.heard() == []  # the domain had it all the time


def test_set_fails_retryably_when_api_gateway_refuses_to_tell_all_the_time(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.with_gateway()
    token = stack.begin()
    stack.step(Step.CREATE, token)
    error = refused("TooManyRequestsException", "GetDomainName")
    monkeypatch.setattr(stack.gateway, "get_domain_name", Mock(side_effect=error))
    with pytest.raises(TruststoreNotDeployedError, match="asked too often to tell") as failure:
        stack.step(Step.SET, token)

    assert failure.value.retryable


def test_what_set_asks_for_names_the_version_and_its_anchor(stack: Stack) -> None:
    token, anchor = begin_with_a_new_ca(stack)
    with pytest.raises(TruststoreNotDeployedError):
        stack.step(Step.SET, token)

    (event,) = stack.heard("Truststore Sync Requested")
    assert event["detail"] == {
        "secret_arn": stack.secrets.record(CLIENT).arn,
        "secret_name": CLIENT,
        "version_id": token,
        "anchors": [anchor],
    }


def test_set_asks_again_for_what_a_purged_queue_has_lost(stack: Stack) -> None:
    token, anchor = begin_with_a_new_ca(stack)
    asked: list[float] = []

    def work_off_the_second() -> None:
        heard = stack.heard("Truststore Sync Requested")
        asked.extend(stack.time.now for _ in heard)
        if len(asked) == 2 and heard:
            stack.reconcile()
            stack.gateway.settle()

    stack.time.meanwhile.append(work_off_the_second)
    stack.step(Step.SET, token, seconds=890)

    assert anchor in stack.deployed()
    first, second = asked
    assert 300 <= second - first <= 310


def test_set_fails_retryably_when_its_time_is_up(stack: Stack) -> None:
    token, anchor = begin_with_a_new_ca(stack)
    with pytest.raises(TruststoreNotDeployedError) as failure:
        stack.step(Step.SET, token, seconds=60)

    assert failure.value.retryable
    assert anchor in str(failure.value)
    assert DOMAIN in str(failure.value)
    assert 50 <= stack.time.now <= 60


def test_a_domain_that_is_updating_does_not_count_as_deployed(stack: Stack) -> None:
    stack.with_gateway()
    stack.gateway.domains[DOMAIN].status = "UPDATING"
    token = stack.begin()
    stack.step(Step.CREATE, token)
    with pytest.raises(TruststoreNotDeployedError):
        stack.step(Step.SET, token)


def test_a_domain_that_runs_a_version_which_is_gone_does_not_count_as_deployed(stack: Stack) -> None:
    stack.with_gateway()
    stack.gateway.domains[DOMAIN].version_id = "gone"
    token = stack.begin()
    stack.step(Step.CREATE, token)
    with pytest.raises(TruststoreNotDeployedError):
        stack.step(Step.SET, token)


def test_a_domain_that_runs_the_latest_of_another_object_does_not_count_as_deployed(stack: Stack) -> None:
    stack.with_gateway()
    stack.gateway.domains[DOMAIN].uri = "s3://elsewhere/truststore.pem"
    stack.gateway.domains[DOMAIN].version_id = None
    token = stack.begin()
    stack.step(Step.CREATE, token)
    with pytest.raises(TruststoreNotDeployedError):
        stack.step(Step.SET, token)


def test_a_domain_without_mutual_tls_is_an_error(stack: Stack) -> None:
    stack.with_gateway()
    stack.gateway.domains[DOMAIN].mutual_tls = False
    token = stack.begin()
    stack.step(Step.CREATE, token)
    with pytest.raises(UnusableDomainError, match="found no mutual TLS"):
        stack.step(Step.SET, token)


# testSecret -----------------------------------------------------------------------------------------------------------


def endpoint(server: MutualTlsServer, **more: Any) -> dict[str, Any]:
    return {"url": server.url, "server_ca": server.ca} | more


def define(stack: Stack, server: MutualTlsServer, **more: Any) -> str:
    """Give the client secret an endpoint and a pending certificate; the token."""
    definition = builders.client_definition(endpoint=endpoint(server, **more))
    stack.versions.put_current(CLIENT, "d" * 32, json.dumps(definition))
    token = stack.begin()
    stack.step(Step.CREATE, token)
    return token


def test_a_certificate_is_proved_by_a_real_handshake(
    stack: Stack, server: MutualTlsServer, ca: pki.CertifiedKey
) -> None:
    server.trust(ca.certificate)
    stack.step(Step.TEST, define(stack, server))

    assert server.clients == ["billing"]
    assert stack.time.now == 0


def test_a_server_that_trusts_another_ca_fails_the_test_retryably(stack: Stack, server: MutualTlsServer) -> None:
    server.trust(builders.root("Another CA").certificate)
    token = define(stack, server)
    current = stack.at("AWSCURRENT")
    with pytest.raises(HandshakeFailedError) as failure:
        stack.step(Step.TEST, token, seconds=20)

    assert failure.value.retryable
    assert server.url in str(failure.value)
    assert server.clients == []
    assert stack.at("AWSCURRENT") == current


def test_a_server_that_comes_to_trust_the_ca_is_waited_for(
    stack: Stack, server: MutualTlsServer, ca: pki.CertifiedKey
) -> None:
    token = define(stack, server)
    stack.time.meanwhile.append(lambda: server.trust(ca.certificate))
    stack.step(Step.TEST, token)

    assert server.clients == ["billing"]


def test_a_server_that_is_not_who_it_should_be_fails_the_test(
    stack: Stack, server: MutualTlsServer, ca: pki.CertifiedKey
) -> None:
    server.trust(ca.certificate)
    token = define(stack, server, server_ca=pki.to_pem(builders.root("Not the server's").certificate))
    with pytest.raises(HandshakeFailedError, match="CERTIFICATE_VERIFY_FAILED"):
        stack.step(Step.TEST, token, seconds=1)

    assert server.clients == []


@pytest.mark.parametrize(("status", "accepted"), [(204, True), (200, False), (403, False), (302, False)])
def test_only_the_statuses_that_the_operator_names_prove_it(
    stack: Stack, server: MutualTlsServer, ca: pki.CertifiedKey, status: int, accepted: bool
) -> None:
    server.trust(ca.certificate)
    server.status = status
    token = define(stack, server, expected_status=[204, 404])
    if accepted:
        stack.step(Step.TEST, token)
    else:
        with pytest.raises(HandshakeFailedError, match=f"HTTP status {status}, where 204 or 404 was expected"):
            stack.step(Step.TEST, token, seconds=1)


def test_a_failed_handshake_names_no_key(stack: Stack, server: MutualTlsServer) -> None:
    token = define(stack, server)
    with pytest.raises(HandshakeFailedError) as failure:
        stack.step(Step.TEST, token, seconds=1)

    assert stack.value(token)["private_key"].splitlines()[1] not in str(failure.value)


def test_without_an_endpoint_the_certificate_is_verified_locally(stack: Stack) -> None:
    token = stack.begin()
    stack.step(Step.CREATE, token)
    stack.pass_time(days=31)
    with pytest.raises(RejectedCertificateError, match="it expired on"):
        stack.step(Step.TEST, token)


def test_a_pending_value_whose_key_is_anothers_is_rejected(stack: Stack, ca: pki.CertifiedKey) -> None:
    token = stack.begin()
    value = builders.issued_value(builders.client_definition(), builders.leaf(ca))
    other = pki.key_to_pem(builders.leaf(ca).key)
    stack.versions.put_pending(CLIENT, token, builders.changed(value, private_key=other), None)
    with pytest.raises(RejectedCertificateError, match="the private key is not the one"):
        stack.step(Step.TEST, token)


def test_a_pending_value_without_a_certificate_is_refused(stack: Stack) -> None:
    token = stack.begin()
    another = builders.client_definition() | {"endpoint": {"url": "https://another.example/"}}
    stack.versions.put_pending(CLIENT, token, json.dumps(another), None)
    with pytest.raises(InvalidSecretError, match="without certificate, anchor or private_key"):
        stack.step(Step.TEST, token)


# RotateSecret with RotateImmediately=false: testSecret alone, on a version that no createSecret has filled ------------

# Whether that version is empty or carries the value at AWSCURRENT, AWS's page does not say.
either_reading = pytest.mark.parametrize("carries_current", [False, True], ids=["empty", "carries AWSCURRENT's value"])


def begin_trial(stack: Stack, *, carries_current: bool) -> str:
    """Stage what Secrets Manager makes for a trial; its version id."""
    token = stack.begin()
    if carries_current:
        current = stack.versions.current(CLIENT)
        assert current
        stack.versions.put_pending(CLIENT, token, current.value, None)
    return token


@either_reading
def test_trying_a_configuration_tests_the_current_certificate(
    stack: Stack, server: MutualTlsServer, ca: pki.CertifiedKey, carries_current: bool
) -> None:
    server.trust(ca.certificate)
    token = define(stack, server)
    for step in (Step.SET, Step.TEST, Step.FINISH):
        stack.step(step, token)
    server.clients.clear()
    stack.step(Step.TEST, begin_trial(stack, carries_current=carries_current))

    assert server.clients == ["billing"]


@either_reading
def test_trying_a_configuration_fails_where_the_current_certificate_is_refused(
    stack: Stack, server: MutualTlsServer, ca: pki.CertifiedKey, carries_current: bool
) -> None:
    server.trust(ca.certificate)
    token = define(stack, server)
    for step in (Step.SET, Step.TEST, Step.FINISH):
        stack.step(step, token)
    server.trust(builders.root("Another CA").certificate)
    with pytest.raises(HandshakeFailedError):
        stack.step(Step.TEST, begin_trial(stack, carries_current=carries_current), seconds=30)


@either_reading
def test_trying_the_configuration_of_a_secret_that_was_never_rotated_passes(
    stack: Stack, carries_current: bool
) -> None:
    stack.step(Step.TEST, begin_trial(stack, carries_current=carries_current))


@pytest.mark.parametrize("rotated", [False, True], ids=["never rotated", "rotated"])
def test_a_rotation_that_takes_up_what_a_trial_left_does_not_end_with_the_old_certificate(
    stack: Stack, rotated: bool
) -> None:
    before = stack.rotate() if rotated else stack.at("AWSCURRENT")
    left = begin_trial(stack, carries_current=True)
    with pytest.raises(RejectedCertificateError, match="a trial of the rotation left it"):
        stack.step(Step.CREATE, left)

    assert stack.at("AWSPENDING") is None
    assert stack.at("AWSCURRENT") == before
    fresh = stack.rotate()
    assert stack.at("AWSCURRENT") == fresh
    assert not rotated or stack.serial(fresh) != stack.serial(before)


@pytest.mark.parametrize("rotated", [False, True], ids=["never rotated", "rotated"])
def test_what_a_trial_left_is_given_up_though_the_definition_has_changed_since(stack: Stack, rotated: bool) -> None:
    before = stack.rotate() if rotated else stack.at("AWSCURRENT")
    left = begin_trial(stack, carries_current=True)
    changed = stack.value(before)
    changed["request"]["organization"] = "Renamed"  # as the bootstrap does in an update: what was issued is carried on
    stack.versions.put_current(CLIENT, str(uuid.uuid4()), json.dumps(changed))
    with pytest.raises(RejectedCertificateError, match="a trial of the rotation left it"):
        stack.step(Step.CREATE, left)

    assert stack.at("AWSPENDING") is None
    fresh = stack.rotate()
    assert stack.value(fresh)["request"]["organization"] == "Renamed"
    assert not rotated or stack.serial(fresh) != stack.serial(before)


# CA secrets -----------------------------------------------------------------------------------------------------------


def test_a_new_ca_is_proved_by_a_leaf_that_it_signs(empty_stack: Stack, server: MutualTlsServer) -> None:
    stack = empty_stack
    stack.add_ca(builders.root(), endpoint=endpoint(server))
    token = stack.begin(CA)
    stack.step(Step.CREATE, token, CA)
    newer = stack.certificate(token, CA)
    before = stack.objects()
    server.trust(newer)
    stack.step(Step.TEST, token, CA)

    assert server.clients == ["probe of stack/ca"]
    assert stack.objects() == before, "the probe was kept"


def test_a_new_ca_that_the_server_does_not_trust_is_not_promoted(empty_stack: Stack, server: MutualTlsServer) -> None:
    stack = empty_stack
    older = builders.root()
    first = stack.add_ca(older, endpoint=endpoint(server))
    server.trust(older.certificate)
    token = stack.begin(CA)
    stack.step(Step.CREATE, token, CA)
    with pytest.raises(HandshakeFailedError):
        stack.step(Step.TEST, token, CA, seconds=1)

    assert stack.at("AWSCURRENT", CA) == first


def test_a_ca_is_trusted_before_a_client_certificate_hangs_on_it(stack: Stack, ca: pki.CertifiedKey) -> None:
    stack.with_gateway()
    token = stack.begin(CA)
    stack.step(Step.CREATE, token, CA)
    newer = pki.fingerprint(stack.certificate(token, CA))
    stack.reconcile()
    stack.step(Step.SET, token, CA)

    assert stack.at("AWSCURRENT", CA) != token
    assert stack.deployed() == {newer, pki.fingerprint(ca.certificate)}


def test_a_ca_of_a_single_day_is_proved_too(empty_stack: Stack) -> None:
    stack = empty_stack
    stack.add_ca(builders.root(), request={"common_name": "Test CA", "validity_days": 1})
    token = stack.begin(CA)
    for step in Step:
        stack.step(step, token, CA)
        stack.pass_time(minutes=10)

    assert stack.at("AWSCURRENT", CA) == token
