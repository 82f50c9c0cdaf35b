"""What the unit tests and the repository's share: a fresh stack on moto, a CA, a server that asks for certificates."""

from __future__ import annotations

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from mtls_rotation.pki.certificates import CertifiedKey
from tests.kit import builders, caches
from tests.kit.server import MutualTlsServer
from tests.kit.stack import CLIENT, Mocked, Stack


@pytest.fixture(scope="session")
def clients() -> Mocked:
    caches.install_for_moto()
    session = boto3.Session("unit", "test", region_name="us-east-1")
    return Mocked(*(session.client(name) for name in ("secretsmanager", "s3", "events", "sqs", "kms", "acm-pca")))


@pytest.fixture
def empty_stack(clients: Mocked) -> Iterator[Stack]:
    """A stack with its bucket and nothing in it."""
    with mock_aws():
        stack = Stack(clients)
        stack.create()
        yield stack


@pytest.fixture(scope="session")
def ca() -> CertifiedKey:
    return builders.root()


@pytest.fixture
def stack(empty_stack: Stack, ca: CertifiedKey) -> Stack:
    """A stack with a CA, a client secret that was never rotated, and the truststore published."""
    empty_stack.add_ca(ca)
    empty_stack.add_secret(CLIENT, builders.client_definition())
    empty_stack.reconcile()
    empty_stack.heard()
    return empty_stack


@pytest.fixture(scope="session")
def _server() -> Iterator[MutualTlsServer]:
    identity = builders.server_certificate(builders.root("Server CA"))
    server = MutualTlsServer(identity)
    yield server
    server.close()


@pytest.fixture
def server(_server: MutualTlsServer) -> MutualTlsServer:
    """A server that trusts nobody yet."""
    _server.reset()
    return _server
