"""A secret that is gone has no tags, so AWS denies it to a role that is bound to one: what each part makes of that."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from mtls_rotation.aws.secret_versions import HIDDEN, RotationStart, out_of_reach
from mtls_rotation.errors import InvalidEventError, UnusableIssuerError
from mtls_rotation.rotation.request import Step
from tests.kit.fakes import refused
from tests.kit.stack import CA, CLIENT, Stack

GONE, DENIED = "ResourceNotFoundException", "AccessDeniedException"
EITHER = pytest.mark.parametrize("code", [GONE, DENIED])


def raising(code: str, operation: str) -> Callable[[], None]:
    def refuse() -> None:
        raise refused(code, operation)

    return refuse


def test_what_aws_says_of_a_secret_is_read_in_one_place() -> None:
    assert out_of_reach(refused(GONE, "GetSecretValue")) == "no such secret, or one without a value"
    for code in (DENIED, "AccessDenied"):
        told = out_of_reach(refused(code, "GetSecretValue", "not authorized to perform: it"))
        assert told == f"{HIDDEN} ({code}: not authorized to perform: it)"
    assert out_of_reach(refused("ThrottlingException", "GetSecretValue")) is None


@EITHER
def test_a_revoked_certificate_whose_secret_is_gone_is_no_problem(stack: Stack, code: str) -> None:
    token = stack.rotate()
    stack.secrets.refuse_describe = {CLIENT: code}

    result = stack.revoke("lost.pem", stack.value(token)["certificate"])

    assert (result.rotated, result.problems) == ((), ())
    assert result.revoked == 1


def test_a_revoked_certificate_that_cannot_be_rotated_is_one_and_says_what_it_may_be(stack: Stack) -> None:
    token = stack.rotate()
    stack.secrets.before["rotate_secret"] = [raising(DENIED, "RotateSecret")]

    (problem,) = stack.revoke("lost.pem", stack.value(token)["certificate"]).problems

    assert CLIENT in problem
    assert HIDDEN in problem


@pytest.mark.parametrize(("code", "words"), [(GONE, "no value"), (DENIED, HIDDEN)])
def test_a_crl_without_its_cas_secret_says_what_it_may_be(stack: Stack, code: str, words: str) -> None:
    stack.secrets.before["get_secret_value"] = [raising(code, "GetSecretValue")]

    (problem,) = stack.revocation.run().problems

    assert "MTLS-102" in problem
    assert words in problem


@pytest.mark.parametrize(("code", "words"), [(GONE, "no such secret"), (DENIED, HIDDEN)])
def test_a_certificate_whose_ca_secret_is_gone_says_what_it_may_be(stack: Stack, code: str, words: str) -> None:
    token = stack.begin()

    def refuse_the_ca() -> None:
        stack.secrets.before["get_secret_value"] = [raising(code, "GetSecretValue")]

    stack.secrets.before["get_secret_value"] = [refuse_the_ca]  # AWSCURRENT is read, then the CA
    with pytest.raises(UnusableIssuerError) as told:
        stack.step(Step.CREATE, token)

    assert CA in told.value.where
    assert words in told.value.found


@EITHER
def test_a_step_for_a_secret_that_is_gone_or_not_the_stacks_says_so(stack: Stack, code: str) -> None:
    token = stack.begin()
    stack.secrets.before["describe_secret"] = [raising(code, "DescribeSecret")]

    with pytest.raises(InvalidEventError, match="tag mtls-rotation:stack") as told:
        stack.step(Step.CREATE, token)

    assert out_of_reach(refused(code, "DescribeSecret")) == told.value.found
    (event,) = stack.heard("Rotation Failed")
    assert (event["detail"]["code"], event["detail"]["retryable"]) == ("MTLS-100", False)


def test_a_step_whose_secret_cannot_be_read_for_another_reason_says_that(stack: Stack) -> None:
    token = stack.begin()
    stack.secrets.before["describe_secret"] = [raising("InternalServiceError", "DescribeSecret")]
    with pytest.raises(ClientError, match="InternalServiceError"):
        stack.step(Step.CREATE, token)


@EITHER
def test_a_rotation_of_a_secret_out_of_reach_is_not_started(stack: Stack, code: str) -> None:
    stack.secrets.before["rotate_secret"] = [raising(code, "RotateSecret")]
    assert stack.versions.rotate(CLIENT) is RotationStart.OUT_OF_REACH
