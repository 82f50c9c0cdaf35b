"""Every call of AWS, and every error code that is handled, is one that AWS's own model of the service has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mtlsctl.errors import DENIALS
from tests.repository import aws_calls, aws_errors
from tests.repository.aws_calls import ROOT, Call, Module
from tests.repository.aws_errors import Handled

CALLS = aws_calls.calls()
HANDLED = aws_errors.handled()


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_call_has_the_parameters_that_the_services_model_has_and_those_that_it_asks_for(call: Call) -> None:
    shape = aws_calls.model(call.service).operation_model(call.operation).input_shape
    known, required = (set(shape.members), set(shape.required_members)) if shape else (set(), set())

    assert call.parameters - known == set()
    assert required - call.parameters == set() or not call.whole


@pytest.mark.parametrize("it", HANDLED, ids=str)
def test_an_error_that_is_handled_is_one_that_the_service_answers(it: Handled) -> None:
    assert it.known


def test_every_service_of_the_product_is_looked_at() -> None:
    called = {it.service for it in CALLS}
    engine = {
        "acm-pca",
        "apigateway",
        "events",
        "kms",
        "resourcegroupstaggingapi",
        "s3",
        "secretsmanager",
        "sqs",
        "ssm",
    }

    assert called >= engine | {"cloudformation", "cloudwatch", "iam", "lambda", "logs", "sns", "sts"}
    assert {service for module in aws_calls.modules() for service in module.services} == called
    assert [it.where for it in CALLS if not it.whole] == []


def test_what_only_a_services_page_lists_is_handled_somewhere() -> None:
    codes = {it.code for it in HANDLED}
    assert aws_errors.COMMON | {code for of in aws_errors.LISTED.values() for code in of} <= codes


def test_every_way_in_which_a_service_says_no_is_a_denial() -> None:
    """By their models; `KmsAccessDenied` and the like are about a service, not about who asks."""
    called = {it.service for it in aws_calls.calls(("cli/mtlsctl",))}
    codes = {shape.error_code for service in called for shape in aws_calls.model(service).error_shapes}
    assert {it for it in codes if it.startswith(("AccessDenied", "Authorization"))} <= DENIALS


SOURCE = """
from mypy_boto3_kms import KMSClient
from mypy_boto3_s3 import S3Client
from mypy_boto3_secretsmanager import SecretsManagerClient

class Keys:
    def __init__(self, client: KMSClient, other: S3Client) -> None:
        self._client: KMSClient = client

    def sign(self):
        try:
            self._client.sign(KeyId="k", Massage=b"")
        except self._client.exceptions.NoSuchException:
            pass

    def delete(self, **which):
        return {{unclear}}

    def one(self):
        extra = {"VersionId": "v"}
        self.delete(Bucket="b", **extra)
        if error.response["Error"]["Code"] in {"NoSuchKeyException", "404"}:
            pass
"""


def module(unclear: str = "other.delete_object(**which)") -> Module:
    tree = ast.parse(SOURCE.replace("{{unclear}}", unclear))
    return Module(Path(ROOT / "planted.py"), tree, aws_calls.services(tree))


def test_what_a_call_is_made_with_is_read_from_where_it_comes_from() -> None:
    sign, delete = aws_calls.of_module(module())

    assert (sign.service, sign.operation, set(sign.parameters)) == ("kms", "Sign", {"KeyId", "Massage"})
    assert (delete.service, delete.operation, set(delete.parameters)) == ("s3", "DeleteObject", {"Bucket", "VersionId"})


def test_a_call_that_may_be_of_several_services_is_not_passed_over() -> None:
    with pytest.raises(aws_calls.UnknownServiceError, match="tag_resource"):
        list(aws_calls.of_module(module("nobody_knows.tag_resource(Tags=[])")))


def test_error_codes_are_read_from_comparisons_and_exceptions() -> None:
    codes = {code: modeled for _, code, modeled in aws_errors._codes(module().tree)}
    assert codes == {"NoSuchException": True, "NoSuchKeyException": False, "404": False}
    services = frozenset({"kms", "s3"})
    assert [code for code, modeled in codes.items() if Handled("", code, services, modeled).known] == ["404"]
