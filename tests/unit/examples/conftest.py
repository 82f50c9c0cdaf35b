"""What the examples' Python runs against: a partner by its name, and Secrets Manager with the stack's secret in it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from mtls_rotation.pki.certificates import CertifiedKey
from tests.kit import builders
from tests.kit.serving import serving
from tests.unit.client.secrets_manager import value_of
from tests.unit.examples.files import SECRET
from tests.unit.examples.partner import HOST, Partner


@pytest.fixture
def partner(ca: CertifiedKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Partner]:
    """The server that `HOST` leads to, with a CA that the system trusts."""
    look_up = socket.getaddrinfo

    def leading_here(host: Any, port: Any, *rest: Any, **options: Any) -> Any:
        if host in (HOST, HOST.encode()):
            host, port = "127.0.0.1", server.port
        return look_up(host, port, *rest, **options)

    with serving(Partner(tmp_path)) as server:
        server.trust(ca)
        monkeypatch.setattr(socket, "getaddrinfo", leading_here)
        monkeypatch.setenv("SSL_CERT_FILE", str(server.server_ca))
        yield server


@pytest.fixture
def secrets(ca: CertifiedKey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Secrets Manager with the client's secret."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "unit")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    with mock_aws():
        client = boto3.client("secretsmanager")
        client.create_secret(Name=SECRET, SecretString=value_of(builders.leaf(ca)))
        yield client
