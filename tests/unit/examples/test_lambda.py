"""The example for Lambda: a template without a fault, and a function that presents the newest certificate."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import cfnlint  # type: ignore[import-untyped]
import pytest

from tests.kit import builders
from tests.kit.template import load, resources, template
from tests.unit.client.secrets_manager import value_of
from tests.unit.examples.files import EXAMPLES, ROOT, SECRET, loaded, named
from tests.unit.examples.partner import HOST, ORDERS, Partner

TEMPLATES = [EXAMPLES / "lambda" / "template.yaml", EXAMPLES / "eks-sidecar" / "pod-identity.yaml"]


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_the_template_has_no_fault(path: Path) -> None:
    options = cfnlint.ManualArgs(regions=["us-east-1"])

    assert [str(match) for match in cfnlint.lint_file(path, options)] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_every_parameter_says_what_it_is_for_and_is_checked(path: Path) -> None:
    for name, parameter in load(path)["Parameters"].items():
        assert parameter["Description"].endswith("."), name
        assert "AllowedValues" in parameter or {"AllowedPattern", "ConstraintDescription"} <= set(parameter), name


def statements(path: Path) -> dict[str, dict[str, Any]]:
    """What the role of a template may do, by Sid, that under a condition included."""
    (policy,) = load(path)["Resources"]["Role"]["Properties"]["Policies"]
    found = [entry["Fn::If"][1] if "Fn::If" in entry else entry for entry in policy["PolicyDocument"]["Statement"]]
    return {entry["Sid"]: entry for entry in found}


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_the_role_may_do_what_the_policies_beside_it_say(path: Path) -> None:
    found = statements(path)
    (reads,) = loaded(path.with_name("policy.json"))["Statement"]
    (decrypts,) = loaded(path.with_name("policy-customer-key.json"))["Statement"]

    assert found.keys() - {"WriteItsLog"} == {reads["Sid"], decrypts["Sid"]}
    assert found[reads["Sid"]]["Action"] == reads["Action"]
    conditions = [
        {key for block in statement["Condition"].values() for key in block}
        for statement in (found[decrypts["Sid"]], decrypts)
    ]
    assert conditions[0] == conditions[1]
    for statement in found.values():
        assert statement["Resource"] != "*"


def test_the_layer_is_the_client_as_the_stack_builds_it() -> None:
    example = load(EXAMPLES / "lambda" / "template.yaml")["Resources"]["ClientLayer"]
    stack = resources()["ClientLayer"]
    code = EXAMPLES / "lambda" / example["Properties"]["ContentUri"]

    assert example["Metadata"] == stack["Metadata"]
    assert code.resolve() == (ROOT / stack["Properties"]["ContentUri"]).resolve()
    assert "build-ClientLayer:" in (code / "Makefile").read_text()


def test_the_function_runs_on_what_its_layer_is_built_for() -> None:
    resources = load(EXAMPLES / "lambda" / "template.yaml")["Resources"]
    function, layer = resources["OrdersFunction"]["Properties"], resources["ClientLayer"]["Properties"]

    assert layer["CompatibleRuntimes"] == [template()["Globals"]["Function"]["Runtime"]]
    assert function["Runtime"] in layer["CompatibleRuntimes"]
    assert function["Architectures"] == layer["CompatibleArchitectures"]
    assert function["Handler"] == "app.handler"
    assert (EXAMPLES / "lambda" / function["CodeUri"] / "app.py").is_file()


@pytest.fixture
def function(secrets: Any, partner: Partner, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A fresh execution environment of the function."""
    monkeypatch.setenv("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001")  # by which the client knows that it is in Lambda
    monkeypatch.setenv("CLIENT_SECRET", secrets.describe_secret(SecretId=SECRET)["ARN"])
    monkeypatch.setenv("PARTNER_URL", f"https://{HOST}")
    spec = importlib.util.spec_from_file_location("app_example", EXAMPLES / "lambda" / "function" / "app.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    module.partner.close()
    module.certificate.close()


def test_the_function_asks_with_its_certificate(function: ModuleType, partner: Partner) -> None:
    answers = [function.handler({"page": page}, None) for page in (1, 2)]

    assert [answer["orders"] for answer in answers] == [ORDERS["orders"]] * 2
    assert partner.paths == ["/orders?page=1", "/orders?page=2"]
    assert {answer["serial_number"] for answer in answers} == set(partner.asked_by)


def test_the_function_presents_the_next_certificate_as_soon_as_the_old_one_is_refused(
    function: ModuleType, partner: Partner, secrets: Any
) -> None:
    first = function.handler({}, None)["serial_number"]
    next_ca = builders.root("Next CA")
    secrets.put_secret_value(SecretId=SECRET, SecretString=value_of(builders.leaf(next_ca)))
    partner.trust(next_ca)

    second = function.handler({}, None)["serial_number"]

    assert second != first
    assert partner.asked_by == [first, second]
