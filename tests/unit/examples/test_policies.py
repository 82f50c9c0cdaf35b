"""The IAM policies: what they name, and that they name no more. What they let through is tested on the local AWS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.examples.files import EXAMPLES, SECRET, loaded, named

POLICIES = sorted(EXAMPLES.glob("*/policy.json"))
KEY_POLICIES = sorted(EXAMPLES.glob("*/policy-customer-key.json"))
TRUST_POLICIES = sorted(EXAMPLES.glob("*/trust-policy*.json"))
# Six characters of Secrets Manager's own end the ARN. A secret whose name goes on after this one's does not fit.
ARN = f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{SECRET}-??????"


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statement(path: Path) -> dict[str, Any]:
    document = loaded(path)
    assert document["Version"] == "2012-10-17"
    (found,) = document["Statement"]
    assert found["Effect"] == "Allow"
    assert found["Sid"].isalnum()
    return dict(found)


def test_every_example_has_both_policies() -> None:
    examples = {path.name for path in EXAMPLES.iterdir() if path.is_dir()} - {"sidecar-image"}

    assert {path.parent.name for path in POLICIES} == examples
    assert {path.parent.name for path in KEY_POLICIES} == examples


@pytest.mark.parametrize("path", POLICIES, ids=named)
def test_a_policy_lets_one_secret_be_read_and_nothing_else(path: Path) -> None:
    found = statement(path)

    assert found["Resource"] == ARN
    # The External Secrets Operator reads the value each time, and asks for no description.
    reads = {"secretsmanager:GetSecretValue"}
    describes = set() if path.parent.name == "eks-external-secrets" else {"secretsmanager:DescribeSecret"}
    assert set(listed(found["Action"])) == reads | describes


@pytest.mark.parametrize("path", KEY_POLICIES, ids=named)
def test_a_key_decrypts_this_secret_through_secrets_manager_only(path: Path) -> None:
    found = statement(path)

    assert found["Action"] == "kms:Decrypt"
    assert found["Resource"].startswith("arn:aws:kms:us-east-1:123456789012:key/")
    assert found["Condition"] == {
        "StringEquals": {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com"},
        "StringLike": {"kms:EncryptionContext:SecretARN": ARN},
    }


@pytest.mark.parametrize("path", TRUST_POLICIES, ids=named)
def test_a_role_trusts_one_kind_of_workload(path: Path) -> None:
    found = statement(path)
    (principal,) = found["Principal"].values()

    assert principal not in ("*", ["*"])
    # An instance profile is handed out by iam:PassRole; EC2 sends no key to hold it to.
    assert "Condition" in found or path.parent.name == "ec2"


def test_each_way_of_identity_names_the_service_account() -> None:
    irsa = statement(EXAMPLES / "eks-sidecar" / "trust-policy-irsa.json")["Condition"]["StringEquals"]
    pods = statement(EXAMPLES / "eks-sidecar" / "trust-policy-pod-identity.json")["Condition"]["StringEquals"]

    (subject,) = [value for key, value in irsa.items() if key.endswith(":sub")]
    namespace, account = (pods[f"aws:RequestTag/kubernetes-{it}"] for it in ("namespace", "service-account"))
    assert subject == f"system:serviceaccount:{namespace}:{account}"
