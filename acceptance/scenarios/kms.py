"""A CA whose key is in KMS: its client rotates, and so does the CA, onto a key of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from acceptance import stacks
from acceptance.scenarios.api import Scenario
from mtls_rotation.pki import certificates as pki

if TYPE_CHECKING:
    from acceptance.report import Checks
    from acceptance.run import Run
    from acceptance.scenarios.api import Scene


def _play(run: Run, checks: Checks, _: Scene) -> None:
    with checks.step("deploys with ClientIssuer=kms"):
        stack = stacks.deploy(run, "kms", {"ClientIssuer": "kms"})
    with checks.step("the first certificate is made"):
        stack.await_first_rotation()
    before = stack.value(stack.ca)
    with checks.step("rotates the CA"):
        stack.rotate(stack.ca)
    after = stack.value(stack.ca)
    checks.hold("no private key is in the CA's secret", "private_key" not in after)
    checks.hold("the new CA has a key of its own", after["key_id"] != before["key_id"])
    with checks.step("rotates the client"):
        stack.rotate(stack.client)
    value = stack.value(stack.client)
    leaf, ca = pki.from_pem(value["certificate"])[0], pki.from_pem(after["certificate"])[0]
    leaf.verify_directly_issued_by(ca)
    checks.hold("the new CA has signed the client's certificate", value["anchor"] == after["certificate"])


SCENARIO = Scenario("kms", "A CA whose key never leaves KMS signs, and is rotated onto a new key.", _play)
