"""The example for Lambda: a template without a fault, and a function that presents the newest certificate."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import cfnlint  # type: ignore[import-untyped]
import cfnlint.decode.cfn_yaml  # type: ignore[import-untyped]
import pytest
from cryptography import x509
from moto import mock_aws

from mtls_rotation.pki.certificates import CertifiedKey, key_to_pem, serial, to_pem
from tests import builders
from tests.serving import serving
from tests.unit.client.secrets_manager import value_of
from tests.unit.examples.files import EXAMPLES, ROOT, SECRET, loaded, named

TEMPLATES = [EXAMPLES / "lambda" / "template.yaml", EXAMPLES / "eks-sidecar" / "pod-identity.yaml"]
ORDERS = {"orders": [{"id": 1}]}


def template(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(cfnlint.decode.cfn_yaml.load(str(path))))
    return found


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_the_template_has_no_fault(path: Path) -> None:
    options = cfnlint.ManualArgs(regions=["us-east-1"])

    assert [str(match) for match in cfnlint.lint_file(path, options)] == []


@pytest.mark.parametrize("path", TEMPLATES, ids=named)
def test_every_parameter_says_what_it_is_for_and_is_checked(path: Path) -> None:
    for name, parameter in template(path)["Parameters"].items():
        assert parameter["Description"].endswith("."), name
        assert "AllowedValues" in parameter or {"AllowedPattern", "ConstraintDescription"} <= set(parameter), name


def statements(path: Path) -> dict[str, dict[str, Any]]:
    """What the role of a template may do, by Sid, that under a condition included."""
    (policy,) = template(path)["Resources"]["Role"]["Properties"]["Policies"]
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
    example = template(EXAMPLES / "lambda" / "template.yaml")["Resources"]["ClientLayer"]
    stack = template(ROOT / "template.yaml")["Resources"]["ClientLayer"]
    code = EXAMPLES / "lambda" / example["Properties"]["ContentUri"]

    assert example["Metadata"] == stack["Metadata"]
    assert code.resolve() == (ROOT / stack["Properties"]["ContentUri"]).resolve()
    assert "build-ClientLayer:" in (code / "Makefile").read_text()


def test_the_functions_code_is_where_the_template_says() -> None:
    function = template(EXAMPLES / "lambda" / "template.yaml")["Resources"]["OrdersFunction"]["Properties"]

    assert function["Handler"] == "app.handler"
    assert (EXAMPLES / "lambda" / function["CodeUri"] / "app.py").is_file()


class Partner(ThreadingHTTPServer):
    """The partner's API: has one order, and remembers by which certificates it was asked for it."""

    daemon_threads = True

    def __init__(self, identity: CertifiedKey, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self._identity = folder / "partner.pem"
        self._identity.write_text(to_pem(identity.certificate) + key_to_pem(identity.key))
        self.url = f"https://127.0.0.1:{self.server_address[1]}"
        self.asked_by: list[str] = []
        self.paths: list[str] = []

    def trust(self, anchor: CertifiedKey) -> None:
        """From the next connection on, let in the clients of this CA and no others."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self._identity)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.load_verify_locations(cadata=to_pem(anchor.certificate))

    def finish_request(self, request: Any, client_address: Any) -> None:
        with contextlib.suppress(OSError), self.context.wrap_socket(request, server_side=True) as secure:
            peer = x509.load_der_x509_certificate(secure.getpeercert(binary_form=True) or b"")
            self.asked_by.append(serial(peer))
            _Handler(secure, client_address, self)


class _Handler(BaseHTTPRequestHandler):
    server: Partner

    def do_GET(self) -> None:
        body = json.dumps(ORDERS).encode()
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def partner(ca: CertifiedKey, tmp_path: Path) -> Iterator[Partner]:
    server_ca = builders.root("Server CA")
    (tmp_path / "server-ca.pem").write_text(to_pem(server_ca.certificate))
    with serving(Partner(builders.server_certificate(server_ca), tmp_path)) as server:
        server.trust(ca)
        yield server


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name, value in {
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "unit",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",  # by which the client knows that it is in Lambda
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        yield boto3.client("secretsmanager")


@pytest.fixture
def function(secrets: Any, partner: Partner, ca: CertifiedKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A fresh execution environment of the function."""
    arn = secrets.create_secret(Name=SECRET, SecretString=value_of(builders.leaf(ca)))["ARN"]
    monkeypatch.setenv("CLIENT_SECRET", arn)
    monkeypatch.setenv("PARTNER_URL", partner.url)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "server-ca.pem"))
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
