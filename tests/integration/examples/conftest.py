"""What the examples at work share: the local AWS, with IAM enforced and the client certificate's secret in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config

from localaws import LocalAws
from mtls_rotation.pki.certificates import CertifiedKey, serial
from tests.kit import builders
from tests.unit.client.secrets_manager import value_of
from tests.unit.examples.files import SECRET

# Names that begin as the secret's does, and one that has nothing to do with it.
OTHERS = [f"{SECRET}-of-another", f"{SECRET}s", f"{SECRET}/more", "mtls-rotation/ca"]

type Policy = dict[str, Any]
type AccessKey = tuple[str, str]


@dataclass
class Account:
    """The local AWS with the client certificate's secret in it, rotated by hand."""

    aws: LocalAws
    secrets: Any
    iam: Any
    ca: CertifiedKey
    users: int = 0

    def rotate(self) -> str:
        """Make another certificate the current one, and return its serial number."""
        issued = builders.leaf(self.ca)
        self.secrets.put_secret_value(SecretId=SECRET, SecretString=value_of(issued))
        return serial(issued.certificate)

    def access_key(self, policy: Policy) -> AccessKey:
        """Of a new user who has this policy and no other."""
        self.users += 1
        name = f"user-{self.users}"
        self.iam.create_user(UserName=name)
        self.iam.put_user_policy(UserName=name, PolicyName="example", PolicyDocument=json.dumps(policy))
        key = self.iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def client(self, service: str, policy: Policy) -> Any:
        """Act as a new user who has this policy and no other."""
        return connected(self.aws, service, *self.access_key(policy))


def connected(aws: LocalAws, service: str, key: str, password: str) -> Any:
    session: Any = boto3.Session(key, password, region_name="us-east-1")
    once = Config(retries={"total_max_attempts": 1})
    return session.client(service, endpoint_url=aws.endpoint_url, config=once)


@pytest.fixture(scope="package")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    log = tmp_path_factory.mktemp("examples") / "log"
    with LocalAws.start(log_path=log, enforce_iam=True) as aws:
        names = aws.environment()
        secrets, iam = (
            connected(aws, service, names["AWS_ACCESS_KEY_ID"], names["AWS_SECRET_ACCESS_KEY"])
            for service in ("secretsmanager", "iam")
        )
        for name in (SECRET, *OTHERS):
            secrets.create_secret(Name=name, SecretString=value_of(builders.leaf(builders.root())))
        yield Account(aws, secrets, iam, builders.root())
