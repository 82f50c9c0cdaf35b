"""What the client's tests share: a secret, a clock, a partner's API that trusts its CA, and a search for leaks."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mtls_client import ClientCertificate, SecretsManagerSource
from mtls_rotation.pki.certificates import CertifiedKey, serial
from tests.kit import builders
from tests.unit.client.secrets_manager import SECRET, SecretsManager, value_of
from tests.unit.client.server import PartnerApi, partner_api

INTERVAL = timedelta(minutes=5)
# Longer than the longest jittered interval.
AN_INTERVAL = INTERVAL * 1.2


@dataclass
class Clock:
    now: datetime = builders.NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def secrets() -> SecretsManager:
    return SecretsManager()


@pytest.fixture
def first(secrets: SecretsManager, ca: CertifiedKey) -> CertifiedKey:
    """The certificate of the first version."""
    issued = builders.leaf(ca)
    secrets.rotate(value_of(issued))
    return issued


@pytest.fixture
def certificate(secrets: SecretsManager, clock: Clock) -> ClientCertificate:
    client: Any = secrets
    source = SecretsManagerSource(client)
    return ClientCertificate(SECRET, source=source, check_every=INTERVAL, background=False, clock=clock)


@pytest.fixture(scope="session")
def other_ca() -> CertifiedKey:
    return builders.root("Other CA")


@pytest.fixture
def api(ca: CertifiedKey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PartnerApi]:
    folder: Path = tmp_path_factory.mktemp("partner")
    with partner_api(builders.server_certificate(ca), folder) as server:
        server.trust(ca.certificate)
        yield server


def serial_of(issued: CertifiedKey) -> str:
    return serial(issued.certificate)


def leaks(error: BaseException, value: str | bytes) -> list[str]:
    """What of a secret's value can be found in an exception, in whatever it came from, or in their tracebacks."""
    text = value if isinstance(value, str) else value.decode()
    try:
        members = json.loads(text)
        text = str(members.get("private_key", "")) if isinstance(members, dict) else text
    except (ValueError, RecursionError):
        pass
    secret = [line for line in text.replace("\\n", "\n").splitlines() if len(line) > 20 and "-----" not in line]
    told, seen = [], [error]
    for it in seen:
        told += [str(it), repr(it), repr(vars(it)), *traceback.format_exception(it)]
        seen += [linked for linked in (it.__cause__, it.__context__) if linked is not None and linked not in seen]
        for frame, _ in traceback.walk_tb(it.__traceback__):
            if "mtls_client" in frame.f_code.co_filename:
                told.append(repr(frame.f_locals))
    return [line for line in secret if any(line in it for it in told)]
