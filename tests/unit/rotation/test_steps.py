"""The four steps, one after the other and each for itself, looked at by what they leave in Secrets Manager and S3."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError
from cryptography import x509

from mtls_rotation import timing
from mtls_rotation.contract import layout
from mtls_rotation.errors import (
    InvalidSecretError,
    MtlsRotationError,
    NotYetVisibleError,
    RejectedCertificateError,
    VersionNotStagedError,
)
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.memory import Memory
from mtls_rotation.rotation.request import Step
from tests.kit import builders
from tests.kit.fakes import KilledError, refused
from tests.kit.stack import BUCKET, CA, CLIENT, Stack


def test_four_steps_take_a_secret_to_awscurrent_with_a_new_serial(stack: Stack) -> None:
    first = stack.rotate()
    second = stack.rotate()

    assert stack.labels() == {first: {"AWSPREVIOUS"}, second: {"AWSCURRENT"}}
    assert stack.certificate(first).serial_number != stack.certificate(second).serial_number
    assert stack.value(first)["private_key"] != stack.value(second)["private_key"]


def test_the_value_tells_of_its_certificate_and_keeps_what_the_operator_wrote(stack: Stack) -> None:
    before = stack.value(stack.at("AWSCURRENT"))
    token = stack.rotate()

    value, leaf = stack.value(token), stack.certificate(token)
    assert {key: value[key]["common_name" if key == "request" else "type"] for key in before} == {
        "request": "billing",
        "issuer": "secretsmanager",
    }
    assert value["serial_number"] == f"{leaf.serial_number:x}"
    assert value["fingerprint_sha256"] == pki.fingerprint(leaf)
    assert value["not_before"] == timing.to_rfc3339(leaf.not_valid_before_utc)
    assert value["not_after"] == timing.to_rfc3339(leaf.not_valid_after_utc)
    assert pki.key_from_pem(value["private_key"]).public_key() == leaf.public_key()


def test_the_bucket_holds_the_public_certificate_and_its_anchor_and_no_key(stack: Stack, ca: pki.CertifiedKey) -> None:
    token = stack.rotate()

    anchor = pki.fingerprint(ca.certificate)
    objects = stack.objects()
    end = stack.certificate(token).not_valid_after_utc
    key = f"issued/{anchor}/{CLIENT}/{token}.{stack.serial(token)}.{end:%Y%m%dT%H%M%SZ}.pem"
    assert objects[key].decode() == stack.value(token)["certificate"]
    assert objects[f"anchors/managed/{anchor}.pem"].decode() == pki.to_pem(ca.certificate)
    assert not [key for key, body in objects.items() if b"PRIVATE" in body]


def test_a_certificate_is_filed_only_under_a_ca_that_has_signed_it(stack: Stack, ca: pki.CertifiedKey) -> None:
    token = stack.begin()
    impostor = builders.named(ca.certificate.subject)  # the same name, another key
    leaf = builders.leaf(impostor)
    wrong = pki.CertifiedKey(leaf.key, leaf.certificate, (), ca.certificate)
    value = builders.changed(builders.issued_value(builders.client_definition(), wrong), version_id=token)
    stack.versions.put_pending(CLIENT, token, value, None)
    with pytest.raises(RejectedCertificateError, match="a pending certificate that its CA has not signed"):
        stack.step(Step.CREATE, token)

    assert not [key for key in stack.objects() if token in key]


def test_one_token_gives_one_certificate_byte_for_byte(stack: Stack) -> None:
    token = stack.begin()
    stack.step(Step.CREATE, token)
    once = stack.snapshot()
    stack.step(Step.CREATE, token)

    assert stack.snapshot() == once


def test_a_repeat_needs_no_ca_and_writes_no_object_again(stack: Stack) -> None:
    token = stack.begin()
    stack.step(Step.CREATE, token)
    stack.clients.secretsmanager.delete_secret(SecretId=CA, ForceDeleteWithoutRecovery=True)
    stack.step(Step.CREATE, token)

    written = [key for key in stack.objects() if key.startswith(("issued/", "anchors/"))]
    assert {key: stack.object_versions(key) for key in written} == dict.fromkeys(written, 1)


@pytest.mark.parametrize("repeated", list(Step))
def test_a_step_that_runs_twice_ends_as_if_it_ran_once(stack: Stack, repeated: Step) -> None:
    token = stack.begin()
    for step in Step:
        stack.step(step, token)
        if step is repeated:
            once = stack.snapshot()
            stack.step(step, token)
            assert stack.snapshot() == once

    assert stack.at("AWSCURRENT") == token
    assert stack.at("AWSPENDING") is None


@pytest.mark.parametrize("step", list(Step))
def test_every_step_after_the_rotation_has_ended_changes_nothing(stack: Stack, step: Step) -> None:
    token = stack.rotate()
    ended = stack.snapshot()
    stack.step(step, token)

    assert stack.snapshot() == ended


@pytest.mark.parametrize(
    ("step", "operation"),
    [
        (Step.CREATE, "describe_secret"),
        (Step.CREATE, "get_secret_value"),
        (Step.CREATE, "put_secret_value"),
        (Step.SET, "get_secret_value"),
        (Step.TEST, "get_secret_value"),
        (Step.FINISH, "get_secret_value"),
        (Step.FINISH, "describe_secret"),
        (Step.FINISH, "update_secret_version_stage"),
    ],
)
@pytest.mark.parametrize("when", ["kill_before", "kill_after"])
def test_a_rotation_killed_at_any_call_ends_the_same_when_run_again(
    stack: Stack, step: Step, operation: str, when: str
) -> None:
    first = stack.at("AWSCURRENT")
    token = stack.begin()
    for earlier in list(Step)[: list(Step).index(step)]:
        stack.step(earlier, token)
    setattr(stack.secrets, when, operation)
    with pytest.raises(KilledError):
        stack.step(step, token)
    stack.secrets.kill_before = stack.secrets.kill_after = None
    for again in Step:
        stack.step(again, token)

    assert stack.labels() == {first: {"AWSPREVIOUS"}, token: {"AWSCURRENT"}}
    assert stack.issued_key(token) in stack.objects()


def test_a_step_killed_after_the_value_was_put_leaves_no_gap_in_the_bucket(stack: Stack, ca: pki.CertifiedKey) -> None:
    token = stack.begin()
    stack.secrets.kill_after = "put_secret_value"
    with pytest.raises(KilledError):
        stack.step(Step.CREATE, token)
    assert not [key for key in stack.objects() if token in key]
    put = stack.value(token)

    stack.secrets.kill_after = None
    stack.step(Step.CREATE, token)

    assert stack.value(token) == put
    assert stack.objects()[stack.issued_key(token)].decode() == put["certificate"]


def test_another_run_that_put_its_value_first_wins(stack: Stack, ca: pki.CertifiedKey) -> None:
    token = stack.begin()
    winner = builders.changed(builders.issued_value(builders.client_definition(), builders.leaf(ca)), version_id=token)
    stack.secrets.before["put_secret_value"] = [
        lambda: stack.versions.put_pending(CLIENT, token, winner, None),
    ]
    stack.step(Step.CREATE, token)

    value = stack.secrets.record(CLIENT).versions[token]["secret_string"]
    assert value == winner
    filed = stack.objects()[stack.issued_key(token)]
    assert x509.load_pem_x509_certificate(filed) == stack.certificate(token)


def test_the_rotation_token_is_passed_on_when_the_value_is_put(stack: Stack) -> None:
    stack.step(Step.CREATE, stack.begin(), rotation_token="for-a-cross-account-role")
    stack.step(Step.CREATE, stack.begin())

    assert stack.secrets.tokens == ["for-a-cross-account-role"]


def test_rotation_that_was_switched_on_a_moment_ago_is_waited_for(stack: Stack) -> None:
    token = stack.begin()
    stack.secrets.record(CLIENT).rotation_enabled = False
    second: list[Callable[[], object]] = [lambda: stack.secrets.enable_rotation(CLIENT)]
    stack.secrets.before["describe_secret"] = [lambda: stack.secrets.before.update(describe_secret=second)]
    stack.step(Step.CREATE, token)

    assert stack.value(token)["certificate"]


def test_create_waits_until_secrets_manager_shows_the_label(stack: Stack) -> None:
    stack.secrets.freeze(CLIENT, reads=3)
    token = stack.begin()
    stack.step(Step.CREATE, token)

    assert stack.value(token)["certificate"]


@pytest.mark.parametrize("step", [Step.SET, Step.TEST, Step.FINISH])
def test_a_value_that_reads_do_not_show_yet_is_waited_for(stack: Stack, step: Step) -> None:
    token = stack.begin()
    stack.secrets.freeze(CLIENT, reads=0)
    for earlier in list(Step)[: list(Step).index(step)]:
        stack.step(earlier, token)
    stack.secrets.lag = 3
    stack.step(step, token)

    assert stack.secrets.lag < 0
    assert stack.time.now > 0


def test_finish_reads_again_when_awscurrent_is_elsewhere_than_was_said(stack: Stack) -> None:
    oldest = stack.at("AWSCURRENT")
    stack.secrets.freeze(CLIENT, reads=0)
    previous = stack.rotate()
    token = stack.begin()
    for step in (Step.CREATE, Step.SET, Step.TEST):
        stack.step(step, token)
    # The value can be seen, but DescribeSecret still says that the oldest version is current.
    stack.secrets.before["describe_secret"] = [lambda: setattr(stack.secrets, "lag", 2)]
    stack.step(Step.FINISH, token)

    assert stack.labels() == {previous: {"AWSPREVIOUS"}, token: {"AWSCURRENT"}}
    assert oldest not in stack.labels()


def test_finish_gives_up_retryably_when_reads_stay_behind(stack: Stack) -> None:
    stack.secrets.freeze(CLIENT, reads=0)
    previous = stack.rotate()
    token = stack.begin()
    for step in (Step.CREATE, Step.SET, Step.TEST):
        stack.step(step, token)
    stack.secrets.before["describe_secret"] = [lambda: setattr(stack.secrets, "lag", 10_000)]
    with pytest.raises(NotYetVisibleError) as failure:
        stack.step(Step.FINISH, token)

    assert failure.value.retryable
    assert stack.at("AWSCURRENT") == previous


@pytest.mark.parametrize("step", [Step.SET, Step.FINISH])
def test_a_version_without_a_value_is_never_promoted(stack: Stack, step: Step) -> None:
    current = stack.at("AWSCURRENT")
    token = stack.begin()
    with pytest.raises(NotYetVisibleError, match="found no value"):
        stack.step(step, token)

    assert stack.labels() == {current: {"AWSCURRENT"}, token: {"AWSPENDING"}}


def test_a_version_that_lost_its_label_is_never_promoted(stack: Stack) -> None:
    current = stack.at("AWSCURRENT")
    token = stack.begin()
    for step in (Step.CREATE, Step.SET, Step.TEST):
        stack.step(step, token)
    stack.versions.drop_pending(CLIENT, token)
    with pytest.raises(VersionNotStagedError):
        stack.step(Step.FINISH, token)

    assert stack.labels() == {current: {"AWSCURRENT"}}


def test_finish_announces_what_was_rotated(stack: Stack) -> None:
    first = stack.at("AWSCURRENT")
    token = stack.rotate()

    (event,) = stack.heard("Client Certificate Rotated")
    assert event["resources"] == [stack.secrets.record(CLIENT).arn]
    assert event["detail"] == {
        "secret_arn": stack.secrets.record(CLIENT).arn,
        "secret_name": CLIENT,
        "kind": "client",
        "version_id": token,
        "previous_version_id": first,
        "serial_number": stack.value(token)["serial_number"],
        "fingerprint_sha256": stack.value(token)["fingerprint_sha256"],
        "not_after": stack.value(token)["not_after"],
    }


def test_a_repeated_finish_announces_the_version_that_the_first_one_took_the_place_of(stack: Stack) -> None:
    stack.rotate()
    previous, token = stack.at("AWSCURRENT"), stack.begin()
    for step in (Step.CREATE, Step.SET, Step.TEST):
        stack.step(step, token)
    stack.heard()
    for _ in range(3):
        stack.step(Step.FINISH, token)

    told = stack.heard("Client Certificate Rotated")
    assert [it["detail"]["previous_version_id"] for it in told] == [previous] * 3


def test_a_failure_is_announced_with_its_code(stack: Stack) -> None:
    token = "11111111-2222-4333-8444-555555555555"
    with pytest.raises(MtlsRotationError) as failure:
        stack.step(Step.CREATE, token)

    (event,) = stack.heard("Rotation Failed")
    assert event["detail"] == {
        "secret_id": stack.secrets.record(CLIENT).arn,
        "version_id": token,
        "step": "createSecret",
        "code": "MTLS-104",
        "message": str(failure.value),
        "retryable": False,
    }


def test_what_aws_refuses_is_announced_with_its_code(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**_: Any) -> None:
        raise refused("AccessDeniedException", "PutSecretValue")

    token = stack.begin()
    monkeypatch.setattr(stack.secrets, "put_secret_value", denied, raising=False)
    with pytest.raises(ClientError, match="AccessDenied"):
        stack.step(Step.CREATE, token)
    (event,) = stack.heard("Rotation Failed")
    assert event["detail"]["code"] == "AWS.AccessDeniedException"
    assert event["detail"]["retryable"] is False
    assert stack.at("AWSPENDING") == token


class Panic(BaseException):
    """As pyo3's PanicException, which is what a panic of cryptography's Rust becomes: no Exception."""


@pytest.mark.parametrize(
    "error",
    [
        TypeError("-----BEGIN PRIVATE KEY-----"),
        ssl.SSLError("-----BEGIN PRIVATE KEY-----"),
        RecursionError("-----BEGIN PRIVATE KEY-----"),
        MemoryError(),
        Panic("-----BEGIN PRIVATE KEY-----"),
        BaseExceptionGroup("-----BEGIN PRIVATE KEY-----", [Panic()]),
        ParamValidationError(report="value: -----BEGIN PRIVATE KEY-----"),
    ],
    ids=lambda it: type(it).__name__,
)
def test_every_failure_is_announced_once_whatever_its_class_and_without_its_text(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(**_: Any) -> None:
        raise error

    token = stack.begin()
    monkeypatch.setattr(stack.secrets, "put_secret_value", fail, raising=False)
    with pytest.raises(type(error)):
        stack.step(Step.CREATE, token)

    (event,) = stack.heard("Rotation Failed")
    told = event["detail"]
    assert (told["code"], told["step"], told["retryable"]) == (type(error).__name__, "createSecret", False)
    assert "rotation/create.py" in told["message"]
    assert "PRIVATE KEY" not in json.dumps(event)


@pytest.mark.parametrize("end", [SystemExit, KeyboardInterrupt])
def test_the_end_of_the_process_is_no_failure(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    def fail(**_: Any) -> None:
        raise end

    token = stack.begin()
    monkeypatch.setattr(stack.secrets, "put_secret_value", fail, raising=False)
    with pytest.raises(end):
        stack.step(Step.CREATE, token)

    assert stack.heard("Rotation Failed") == []


@pytest.mark.parametrize("issuer", [{"type": "secretsmanager", "ca_secret": CA}, {"type": "self-signed"}])
def test_copies_of_a_step_that_run_at_once_leave_one_value(stack: Stack, issuer: dict[str, str]) -> None:
    stack.add_secret("stack/busy", builders.client_definition(issuer=issuer))
    token = stack.begin("stack/busy")
    for step in Step:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _, step=step: stack.step(step, token, "stack/busy"), range(4)))

    value = stack.value(token, "stack/busy")
    filed = [body for key, body in stack.objects().items() if f"/stack/busy/{token}." in key]
    assert filed == [value["certificate"].encode()]
    assert stack.labels("stack/busy")[token] == {"AWSCURRENT"}


def test_awspending_left_on_the_version_in_use_by_another_tool_does_no_harm(stack: Stack) -> None:
    left = stack.rotate()
    stack.secrets.record(CLIENT).versions[left]["version_stages"].append("AWSPENDING")
    token = stack.begin()
    stack.secrets.record(CLIENT).versions[left]["version_stages"].remove("AWSPENDING")  # RotateSecret moves it
    for step in Step:
        stack.step(step, token)

    assert stack.labels() == {left: {"AWSPREVIOUS"}, token: {"AWSCURRENT"}}


ANOTHER_DEFINITION = json.dumps(builders.client_definition() | {"endpoint": {"url": "https://another.example/"}})


@pytest.mark.parametrize("value", ['{"username": "app", "password": "x"}', "no JSON", ANOTHER_DEFINITION])
def test_a_pending_value_that_another_tool_put_is_refused_with_the_way_out_and_stays(stack: Stack, value: str) -> None:
    current = stack.at("AWSCURRENT")
    token = "11111111-2222-4333-8444-555555555555"
    stack.versions.put_pending(CLIENT, token, value, None)
    before = stack.snapshot()
    with pytest.raises(InvalidSecretError) as failure:
        stack.step(Step.CREATE, token)

    assert stack.snapshot() == before
    assert stack.at("AWSCURRENT") == current
    assert f"version {token}: found" in str(failure.value)
    assert f"--version-stage AWSPENDING --remove-from-version-id {token}" in str(failure.value)


class TestAWarmEnvironment:
    """One execution environment runs all steps, and knows from one what the next would ask for."""

    @pytest.fixture
    def warm(self, stack: Stack) -> Stack:
        stack.with_gateway()
        stack.memory = Memory()
        return stack

    def test_asks_secrets_manager_once_for_what_it_has_put(self, warm: Stack) -> None:
        token = warm.begin()
        warm.step(Step.CREATE, token)
        before = warm.secrets.calls["get_secret_value"]
        for step in (Step.SET, Step.TEST, Step.FINISH):
            warm.step(step, token)

        assert warm.at("AWSCURRENT") == token
        assert warm.secrets.calls["get_secret_value"] == before + 1  # testSecret, which needs the key

    def test_knows_no_private_key(self, warm: Stack) -> None:
        token = warm.begin()
        warm.step(Step.CREATE, token)

        assert warm.memory is not None
        (known,) = warm.memory._secrets.values()
        assert (known.private_key, known.serial_number) == (None, warm.value(token)["serial_number"])

    def test_does_not_promote_what_was_cancelled_meanwhile(self, warm: Stack) -> None:
        before, token = warm.rotate(), warm.begin()
        for step in (Step.CREATE, Step.SET, Step.TEST):
            warm.step(step, token)
        warm.versions.drop_pending(CLIENT, token)
        with pytest.raises(VersionNotStagedError):
            warm.step(Step.FINISH, token)

        assert warm.at("AWSCURRENT") == before

    def test_puts_an_anchor_again_that_went_missing_long_after(self, warm: Stack) -> None:
        warm.rotate()
        (anchor,) = (key for key in warm.objects() if layout.managed_anchor(key))
        warm.clients.s3.delete_object(Bucket=BUCKET, Key=anchor)
        warm.pass_time(hours=1)
        warm.rotate()

        assert anchor in warm.objects()
