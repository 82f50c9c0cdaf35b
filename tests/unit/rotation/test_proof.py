"""finishSecret promotes what testSecret has passed, and nothing else, in whatever order the steps are called."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from cryptography import x509

from mtls_rotation.contract.labels import UNTESTED
from mtls_rotation.contract.layout import distrusted_anchor_key
from mtls_rotation.errors import (
    HandshakeFailedError,
    MtlsRotationError,
    RejectedCertificateError,
    TruststoreNotDeployedError,
    UntestedVersionError,
)
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.memory import Memory
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.fakes import KilledError
from tests.kit.server import MutualTlsServer
from tests.kit.stack import BUCKET, CA, CLIENT, Stack

either_environment = pytest.mark.parametrize("warm", [False, True], ids=["each its own", "one environment"])
either_reading = pytest.mark.parametrize("carries_current", [False, True], ids=["empty", "a copy"])
# No time to wait for a proof that is not going to come.
SOON = 1.0


def in_environment(stack: Stack, *, warm: bool) -> None:
    stack.memory = Memory() if warm else None


def begin_with_an_untrusted_ca(stack: Stack) -> str:
    """A pending certificate whose anchor the gateway does not have yet, so that setSecret waits; its token."""
    stack.with_gateway()
    stack.add_secret("stack/newer", builders.issued_value(builders.ca_definition(), builders.root("Newer CA")))
    stack.versions.put_current(CLIENT, "c" * 32, json.dumps(builders.client_definition("stack/newer")))
    token = stack.begin()
    stack.step(Step.CREATE, token)
    return token


@either_environment
@pytest.mark.parametrize("secret", [CLIENT, CA])
def test_what_was_not_tested_is_not_promoted(stack: Stack, secret: str, warm: bool) -> None:
    in_environment(stack, warm=warm)
    before, token = stack.at("AWSCURRENT", secret), stack.begin(secret)
    for step in (Step.CREATE, Step.SET):
        stack.step(step, token, secret)
        with pytest.raises(UntestedVersionError) as failure:
            stack.step(Step.FINISH, token, secret, seconds=SOON)

    assert failure.value.retryable
    assert (stack.at("AWSCURRENT", secret), stack.at("AWSPENDING", secret)) == (before, token)
    for step in (Step.TEST, Step.FINISH):
        stack.step(step, token, secret)
    assert stack.at("AWSCURRENT", secret) == token


@either_environment
def test_finish_called_while_set_waits_promotes_nothing_that_the_gateway_would_refuse(stack: Stack, warm: bool) -> None:
    in_environment(stack, warm=warm)
    token = begin_with_an_untrusted_ca(stack)
    refused: list[type[MtlsRotationError]] = []

    def meddle() -> None:
        if len(refused) < 2:
            refused.append(UntestedVersionError)
            with pytest.raises(UntestedVersionError):
                stack.step(Step.FINISH, token, seconds=0.1)

    stack.time.meanwhile.append(meddle)
    with pytest.raises(TruststoreNotDeployedError):
        stack.step(Step.SET, token, seconds=30)

    assert refused
    assert stack.at("AWSCURRENT") != token


@either_environment
def test_testing_before_the_gateway_trusts_it_proves_nothing(stack: Stack, warm: bool) -> None:
    """Without an endpoint nothing else would tell."""
    in_environment(stack, warm=warm)
    token = begin_with_an_untrusted_ca(stack)
    with pytest.raises(TruststoreNotDeployedError):
        stack.step(Step.TEST, token, seconds=30)
    with pytest.raises(UntestedVersionError):
        stack.step(Step.FINISH, token, seconds=SOON)

    stack.reconcile()
    for step in (Step.SET, Step.TEST, Step.FINISH):
        stack.step(step, token)
    assert stack.at("AWSCURRENT") == token


@either_environment
def test_a_test_that_fails_leaves_no_proof(stack: Stack, server: MutualTlsServer, warm: bool) -> None:
    in_environment(stack, warm=warm)
    endpoint = {"url": server.url, "server_ca": server.ca}
    stack.versions.put_current(CLIENT, "c" * 32, json.dumps(builders.client_definition(endpoint=endpoint)))
    token = stack.begin()
    for step in (Step.CREATE, Step.SET):
        stack.step(step, token)
    with pytest.raises(HandshakeFailedError):
        stack.step(Step.TEST, token, seconds=SOON)
    with pytest.raises(UntestedVersionError):
        stack.step(Step.FINISH, token, seconds=SOON)


@either_environment
def test_the_test_of_another_version_proves_nothing(stack: Stack, warm: bool) -> None:
    in_environment(stack, warm=warm)
    older = stack.rotate()
    current = stack.rotate()
    token = stack.begin()
    stack.step(Step.CREATE, token)
    for other in (current, older):
        try:
            stack.step(Step.TEST, other)
        except MtlsRotationError:
            assert other == older, "it has no label any more by which it could be tested"
    with pytest.raises(UntestedVersionError):
        stack.step(Step.FINISH, token, seconds=SOON)
    assert stack.at("AWSCURRENT") == current


def test_a_reading_from_before_the_value_was_put_proves_nothing(stack: Stack) -> None:
    """The label of what is yet to be tested comes with the value, so that no reading shows the one alone."""
    token = stack.begin()
    stack.secrets.freeze(CLIENT, reads=0)
    stack.step(Step.CREATE, token)
    stack.secrets.lag = 3
    with pytest.raises(UntestedVersionError):
        stack.step(Step.FINISH, token, seconds=5)

    assert stack.at("AWSCURRENT") != token


def test_a_proof_that_reads_do_not_show_yet_is_waited_for(stack: Stack) -> None:
    token = stack.begin()
    for step in (Step.CREATE, Step.SET):
        stack.step(step, token)
    stack.secrets.freeze(CLIENT, reads=0)
    stack.step(Step.TEST, token)
    stack.secrets.lag = 3
    stack.step(Step.FINISH, token)

    assert stack.at("AWSCURRENT") == token


@either_reading
@either_environment
@pytest.mark.parametrize("rotated", [False, True], ids=["never rotated", "rotated"])
def test_a_trial_of_the_configuration_proves_nothing(
    stack: Stack, carries_current: bool, warm: bool, rotated: bool
) -> None:
    """RotateSecret with RotateImmediately=false calls testSecret alone."""
    in_environment(stack, warm=warm)
    before = stack.rotate() if rotated else stack.at("AWSCURRENT")
    token = stack.begin()
    if carries_current and (current := stack.versions.current(CLIENT)):
        stack.clients.secretsmanager.put_secret_value(
            SecretId=CLIENT, ClientRequestToken=token, SecretString=current.value, VersionStages=["AWSPENDING"]
        )
    stack.step(Step.TEST, token)
    with pytest.raises(MtlsRotationError):
        stack.step(Step.FINISH, token, seconds=SOON)

    assert stack.at("AWSCURRENT") == before


def test_a_rotation_that_an_earlier_release_began_is_given_up_and_the_next_one_ends(
    stack: Stack, ca: pki.CertifiedKey
) -> None:
    """Its value says of no version that it is for it, so no proof could be told."""
    before, token = stack.at("AWSCURRENT"), stack.begin()
    stack.clients.secretsmanager.put_secret_value(
        SecretId=CLIENT,
        ClientRequestToken=token,
        SecretString=builders.issued_value(builders.client_definition(), builders.leaf(ca)),
        VersionStages=["AWSPENDING"],
    )
    for step in (Step.SET, Step.TEST):
        stack.step(step, token)
    with pytest.raises(UntestedVersionError):
        stack.step(Step.FINISH, token, seconds=SOON)
    with pytest.raises(RejectedCertificateError, match="AWSPENDING was taken off it"):
        stack.step(Step.CREATE, token)

    assert stack.labels() == {before: {"AWSCURRENT"}}
    fresh = stack.rotate()
    assert stack.labels() == {before: {"AWSPREVIOUS"}, fresh: {"AWSCURRENT"}}


@pytest.mark.parametrize("operation", ["update_secret_version_stage", "get_secret_value"])
@pytest.mark.parametrize("when", ["kill_before", "kill_after"])
def test_a_test_that_was_cut_in_half_is_done_again(stack: Stack, operation: str, when: str) -> None:
    before, token = stack.at("AWSCURRENT"), stack.begin()
    for step in (Step.CREATE, Step.SET):
        stack.step(step, token)
    setattr(stack.secrets, when, operation)
    with pytest.raises(KilledError):
        stack.step(Step.TEST, token)
    stack.secrets.kill_before = stack.secrets.kill_after = None
    for step in Step:
        stack.step(step, token)

    assert stack.labels() == {before: {"AWSPREVIOUS"}, token: {"AWSCURRENT"}}


def test_the_label_is_on_one_version_at_a_time_and_on_none_when_a_rotation_has_ended(stack: Stack) -> None:
    """A version takes 20 labels at most."""
    for _ in range(3):
        abandoned = stack.begin()
        stack.step(Step.CREATE, abandoned)
        assert stack.at(UNTESTED) == abandoned
        stack.versions.drop_pending(CLIENT, abandoned)

    token = stack.rotate()
    assert stack.at(UNTESTED) is None
    assert stack.labels()[token] == {"AWSCURRENT"}


def cancelled_after_its_test(stack: Stack, secret: str = CLIENT) -> str:
    """AWSPENDING and the proof stay, as CancelRotateSecret leaves them; the token."""
    token = stack.begin(secret)
    for step in (Step.CREATE, Step.SET, Step.TEST):
        stack.step(step, token, secret)
    stack.clients.secretsmanager.cancel_rotate_secret(SecretId=secret)
    return token


def distrust(stack: Stack, certificate: x509.Certificate) -> None:
    key = distrusted_anchor_key(pki.fingerprint(certificate))
    stack.clients.s3.put_object(Bucket=BUCKET, Key=key, Body=b"")
    stack.pass_time(hours=3)
    stack.reconcile()
    assert pki.fingerprint(certificate) not in stack.deployed()


@either_environment
@pytest.mark.parametrize("secret", [CLIENT, CA])
def test_what_has_expired_since_its_test_is_not_promoted(stack: Stack, secret: str, warm: bool) -> None:
    """The whole life of the certificate goes by before somebody ends the rotation."""
    in_environment(stack, warm=warm)
    before, token = stack.at("AWSCURRENT", secret), cancelled_after_its_test(stack, secret)
    stack.now = stack.certificate(token, secret).not_valid_after_utc + timedelta(minutes=1)
    with pytest.raises(RejectedCertificateError, match="in date when testSecret passed"):
        stack.step(Step.FINISH, token, secret, seconds=SOON)

    assert stack.at("AWSCURRENT", secret) == before


@either_environment
def test_what_the_gateway_has_ceased_to_trust_since_its_test_is_not_promoted(
    stack: Stack, ca: pki.CertifiedKey, warm: bool
) -> None:
    """The CA's key was stolen meanwhile, the CA rotated, and its former certificate distrusted."""
    in_environment(stack, warm=warm)
    stack.with_gateway()
    before, token = stack.rotate(), cancelled_after_its_test(stack)
    new = stack.begin(CA)
    stack.step(Step.CREATE, new, CA)
    stack.reconcile()
    for step in Step:
        stack.step(step, new, CA)
    distrust(stack, ca.certificate)
    stack.pass_time(minutes=40)
    with pytest.raises(TruststoreNotDeployedError):
        stack.step(Step.FINISH, token, seconds=SOON)

    assert stack.at("AWSCURRENT") == before


@either_environment
def test_a_rotation_whose_proof_still_holds_is_ended_late(stack: Stack, warm: bool) -> None:
    in_environment(stack, warm=warm)
    stack.with_gateway()
    token = cancelled_after_its_test(stack)
    stack.pass_time(days=3)
    stack.step(Step.FINISH, token, seconds=SOON)

    assert stack.at("AWSCURRENT") == token


def test_what_is_in_use_already_is_concluded_whatever_has_become_of_it(stack: Stack) -> None:
    """A run was killed after it had moved AWSCURRENT: another refusal would leave AWSPENDING for ever."""
    token = cancelled_after_its_test(stack)
    stack.secrets.kill_after = "update_secret_version_stage"
    with pytest.raises(KilledError):
        stack.step(Step.FINISH, token)
    stack.secrets.kill_after = None
    stack.pass_time(days=31)
    stack.step(Step.FINISH, token)

    assert stack.labels()[token] == {"AWSCURRENT"}


def test_right_after_the_test_the_end_asks_no_gateway(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    in_environment(stack, warm=True)
    stack.with_gateway()
    token = cancelled_after_its_test(stack)
    monkeypatch.delattr(type(stack.gateway), "get_domain_name")
    stack.step(Step.FINISH, token)

    assert stack.at("AWSCURRENT") == token
