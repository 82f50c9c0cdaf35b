"""The stack with no parameter: deployed as a user would, rotated, read by the client library, deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from acceptance import stacks
from acceptance.scenarios.api import Scenario
from mtls_client import ClientCertificate, SecretsManagerSource

if TYPE_CHECKING:
    from acceptance.report import Checks
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _play(run: Run, checks: Checks, _: Scene) -> None:
    with checks.step("deploys with no parameter, by `sam deploy`"):
        stack = stacks.deploy_by_sam(run, "plain")
    with checks.step("the first certificate is made"):
        stack.await_first_rotation()
    secrets = run.account.clients.secrets
    certificate = ClientCertificate(stack.client, source=SecretsManagerSource(secrets), background=False)
    first = certificate.credential()
    with checks.step("rotates"):
        stack.rotate(stack.client)
    certificate.refresh()
    second = certificate.credential()
    checks.hold(
        "the client library takes up the new certificate",
        first.serial_number != second.serial_number and second.version_id == stack.labels(stack.client)["AWSCURRENT"],
        f"from {first.serial_number} to {second.serial_number}",
    )
    checks.hold("it is valid now", second.not_before <= datetime.now(UTC) < second.not_after)
    with checks.step("deletes the stack"):
        stack.delete()
    checks.hold(
        "the secrets are kept",
        all("DeletedDate" not in secrets.describe_secret(SecretId=it) for it in (stack.client, stack.ca)),
    )


SCENARIO = Scenario(
    "end-to-end",
    "A stack with no parameter makes a certificate, rotates it, and the client library has the newest.",
    _play,
)
