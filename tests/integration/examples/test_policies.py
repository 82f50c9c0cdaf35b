"""The examples' IAM policies at work: what each lets through, what it keeps out, and that no part of it is idle.

IAM is enforced by the local AWS. It takes no heed of a KMS key when it reads a secret, so what a customer key's policy
says of calls through Secrets Manager is put to the evaluator of the same local AWS, with the keys that KMS would see.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

from mtls_client import ClientCertificate, MtlsClientError, SecretsManagerSource
from tests.integration.examples.conftest import OTHERS, Account, Policy, connected
from tests.unit.examples.files import EXAMPLES, SECRET, loaded, named

POLICIES = sorted(EXAMPLES.glob("*/policy.json"))
KEY_POLICIES = sorted(EXAMPLES.glob("*/policy-customer-key.json"))
# mtls_client, the sidecar and the CSI driver ask which version is current; the operator reads the value each time.
WATCHERS = [path for path in POLICIES if path.parent.name != "eks-external-secrets"]
(READER,) = [path for path in POLICIES if path not in WATCHERS]


def without(policy: Policy, action: str) -> Policy:
    (statement,) = policy["Statement"]
    rest = [it for it in statement["Action"] if it != action]
    assert len(rest) == len(statement["Action"]) - 1
    return policy | {"Statement": [statement | {"Action": rest}]}


def refused(call: Callable[..., Any], **arguments: Any) -> bool:
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"] in ("AccessDeniedException", "AccessDenied")
    return False


def picks_up_a_rotation(account: Account, policy: Policy) -> bool:
    """Whether a program with this policy gets the certificate, and the next one."""
    source = SecretsManagerSource(account.client("secretsmanager", policy))
    with ClientCertificate(SECRET, source=source, background=False) as certificate:
        for _ in range(2):
            newest = account.rotate()
            try:
                certificate.refresh()
            except MtlsClientError:
                return False
            if certificate.status().last_error or certificate.status().serial_number != newest:
                return False
    return True


@pytest.mark.parametrize("path", WATCHERS, ids=named)
def test_it_lets_the_certificate_and_its_rotations_through(account: Account, path: Path) -> None:
    assert picks_up_a_rotation(account, loaded(path))


@pytest.mark.parametrize("path", WATCHERS, ids=named)
@pytest.mark.parametrize("action", ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"])
def test_it_does_not_do_with_less(account: Account, path: Path, action: str) -> None:
    assert not picks_up_a_rotation(account, without(loaded(path), action))


def test_the_operator_that_syncs_secrets_needs_the_value_alone(account: Account) -> None:
    secrets = account.client("secretsmanager", loaded(READER))

    assert secrets.get_secret_value(SecretId=SECRET)["SecretString"]
    assert refused(secrets.describe_secret, SecretId=SECRET)


@pytest.mark.parametrize("path", POLICIES, ids=named)
def test_it_keeps_every_other_secret_out(account: Account, path: Path) -> None:
    secrets = account.client("secretsmanager", loaded(path))

    assert secrets.get_secret_value(SecretId=SECRET)["Name"] == SECRET
    for other in OTHERS:
        arn = account.secrets.describe_secret(SecretId=other)["ARN"]
        for identity in (other, arn):
            assert refused(secrets.get_secret_value, SecretId=identity), identity
            assert refused(secrets.describe_secret, SecretId=identity), identity


@pytest.mark.parametrize("path", POLICIES, ids=named)
def test_it_changes_nothing(account: Account, path: Path) -> None:
    secrets = account.client("secretsmanager", loaded(path))

    assert refused(secrets.put_secret_value, SecretId=SECRET, SecretString="{}")
    assert refused(secrets.rotate_secret, SecretId=SECRET)
    assert refused(secrets.delete_secret, SecretId=SECRET)
    assert refused(secrets.list_secrets)


def decision(policy: Policy, keys: dict[str, str]) -> str:
    """What becomes of Decrypt when KMS sees these condition keys."""
    (statement,) = policy["Statement"]
    context = EvalContext(
        principal_arn="arn:aws:iam::123456789012:role/billing",
        principal_type="AssumedRole",
        principal_account="123456789012",
        action="kms:Decrypt",
        resource_arn=statement["Resource"],
        region="us-east-1",
        source_ip="127.0.0.1",
        secure_transport=True,
        service_context={name.lower(): value for name, value in keys.items()},
    )
    return str(evaluate(context, [parse_policy_document(policy)]).decision)


@pytest.mark.parametrize("path", KEY_POLICIES, ids=named)
def test_a_key_decrypts_through_secrets_manager_only_and_only_this_secret(account: Account, path: Path) -> None:
    policy = loaded(path)
    this, other = (account.secrets.describe_secret(SecretId=name)["ARN"] for name in (SECRET, OTHERS[0]))
    through = {"kms:ViaService": "secretsmanager.us-east-1.amazonaws.com", "kms:EncryptionContext:SecretARN": this}

    assert decision(policy, through) == "Allow"
    assert decision(policy, through | {"kms:ViaService": "s3.us-east-1.amazonaws.com"}) == "ImplicitDeny"
    assert decision(policy, through | {"kms:EncryptionContext:SecretARN": other}) == "ImplicitDeny"
    assert decision(policy, {}) == "ImplicitDeny"


@pytest.mark.parametrize("path", KEY_POLICIES, ids=named)
def test_a_key_decrypts_nothing_that_is_handed_to_it(account: Account, path: Path) -> None:
    """The real call, made past Secrets Manager: it has none of those keys."""
    (statement,) = loaded(path)["Statement"]
    names = account.aws.environment()
    administrator = connected(account.aws, "kms", names["AWS_ACCESS_KEY_ID"], names["AWS_SECRET_ACCESS_KEY"])
    arn = administrator.create_key()["KeyMetadata"]["Arn"]
    stolen = administrator.encrypt(KeyId=arn, Plaintext=b"stolen")["CiphertextBlob"]
    conditional = {"Version": "2012-10-17", "Statement": [statement | {"Resource": arn}]}
    unconditional = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": arn, "Condition": {}}]}

    assert refused(account.client("kms", conditional).decrypt, CiphertextBlob=stolen, KeyId=arn)
    # It is the condition that keeps it out.
    assert account.client("kms", unconditional).decrypt(CiphertextBlob=stolen, KeyId=arn)["Plaintext"] == b"stolen"
