"""What all tests share: certificates that the engine issues are remembered, and looked at by the last test.

When all is over, whatever the run has said, sent and left is looked through for private keys. No test may write in the
checkout but in folders of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from mtls_rotation.contract.secret import ManagedSecret
from mtls_rotation.rotation import filing
from tests.kit import caches, checkout
from tests.kit.issued import remember
from tests.proof.key_material.watch import Watch

LAST = "test_every_certificate.py"


def pytest_configure(config: pytest.Config) -> None:
    """Have every run watched for private keys and for what it writes, and read no model of botocore twice.

    How long one example takes says more of the machine's load than of the code.
    """
    settings.register_profile("unhurried", deadline=None)
    settings.load_profile("unhurried")
    caches.install()
    config.pluginmanager.register(Watch(), "key material")
    config.pluginmanager.register(checkout.watched(), "checkout")


@pytest.fixture(scope="session", autouse=True)
def _remember_what_is_issued() -> Iterator[None]:
    file_certificate = filing.file_certificate

    def remembering(bucket: Any, secret: ManagedSecret, *arguments: str, **known: Any) -> tuple[str, ...]:
        filed = file_certificate(bucket, secret, *arguments, **known)
        remember(secret)  # after, as what was refused was never issued
        return filed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(filing, "file_certificate", remembering)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the test of every certificate after every other."""
    items.sort(key=lambda item: item.path.name == LAST)
