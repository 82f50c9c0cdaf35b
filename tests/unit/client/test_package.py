"""The package as a whole: what importing it costs, that it works on boto3's own client, and that it writes nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

import mtls_client
from mtls_client import ClientCertificate, InvalidSecretError, MissingExtraError, SecretUnavailableError
from mtls_rotation.pki.certificates import CertifiedKey
from tests.kit import builders
from tests.unit.client.conftest import Clock, serial_of
from tests.unit.client.secrets_manager import SECRET, value_of

NOUNS = {"AgentSource", "ClientCertificate", "Credential", "LambdaExtensionSource", "SecretVersion"} | {
    "SecretsManagerSource",
    "Source",
    "Status",
}
EXPENSIVE = {"boto3", "botocore", "cryptography", "httpx", "mtls_rotation", "ssl"}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unit")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield boto3.session.Session().client("secretsmanager", region_name="eu-central-1")


def test_importing_it_imports_nothing_expensive() -> None:
    program = "import sys, mtls_client; mtls_client.ClientCertificate('mtls/billing'); print(*sys.modules)"
    path = str(Path(mtls_client.__file__).parents[1])
    command = [sys.executable, "-S", "-c", f"import sys; sys.path.insert(0, {path!r}); {program}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not EXPENSIVE & set(loaded.split())


def test_everything_that_is_public_can_be_imported_from_the_top() -> None:
    errors = {name for name, it in vars(mtls_client.errors).items() if isinstance(it, type) and name.endswith("Error")}
    assert errors | NOUNS == set(mtls_client.__all__)


def test_an_arn_is_asked_for_in_its_own_region_and_followed_through_a_rotation(
    account: Any, ca: CertifiedKey, clock: Clock
) -> None:
    first, second = builders.leaf(ca), builders.leaf(ca)
    arn = account.create_secret(Name=SECRET, SecretString=value_of(first))["ARN"]
    with ClientCertificate(arn, clock=clock) as certificate:
        assert certificate.refresh() is True
        assert certificate.status().serial_number == serial_of(first)
        account.put_secret_value(SecretId=arn, SecretString=value_of(second))
        assert certificate.refresh() is True
        assert certificate.status().serial_number == serial_of(second)
        assert certificate.refresh() is False
    assert certificate.refresh() is False  # closed connections are made anew


def test_a_name_is_asked_for_in_the_region_of_the_environment(account: Any, clock: Clock) -> None:
    account.create_secret(Name=SECRET, SecretString="{}")
    with pytest.raises(SecretUnavailableError, match="ResourceNotFoundException"):
        ClientCertificate(SECRET, clock=clock).refresh()


def test_the_region_may_be_told_as_containers_are_told_it(account: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    account.create_secret(Name=SECRET, SecretString="{}")
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    with pytest.raises(InvalidSecretError):
        ClientCertificate(SECRET).refresh()


def test_a_missing_region_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SecretUnavailableError, match="NoRegionError"):
        ClientCertificate(SECRET).refresh()


def test_a_missing_boto3_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(MissingExtraError, match=r"mtls-client\[boto3\]"):
        ClientCertificate(SECRET).refresh()


def test_a_missing_httpx_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mtls_client.httpx_transport", raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"mtls-client\[httpx\]"):
        ClientCertificate(SECRET).httpx_client()
