"""What the tests of mtlsctl's commands that make things share: operators who may do less, secrets that go again."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from demo import sam
from demo.certificates import Held, from_secret
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from tests.kit.deployment import Deployment
from tests.kit.mtlsctl import Mtlsctl


def without(deployment: Deployment, *actions: str) -> Mtlsctl:
    """The command line of an operator who may do anything but this."""
    return _operator(deployment, {"Allow": ["*"], "Deny": list(actions)})


def with_only(deployment: Deployment, actions: Iterable[str]) -> Mtlsctl:
    """The command line of an operator who may do this and nothing else."""
    return _operator(deployment, {"Allow": sorted(actions)})


def _operator(deployment: Deployment, effects: dict[str, list[str]]) -> Mtlsctl:
    iam = sam.session(deployment.environment).client("iam")
    name = f"operator-{uuid.uuid4()}"
    iam.create_user(UserName=name)
    statements = [{"Effect": effect, "Action": actions, "Resource": "*"} for effect, actions in effects.items()]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName=name, PolicyName="operator", PolicyDocument=document)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return Mtlsctl(deployment.environment | credentials, deployment.stack.name)


def documented_actions(command: str) -> frozenset[str]:
    """The AWS actions that docs/mtlsctl.md lists for a command, with those of the command that it refers to."""
    text = (sam.ROOT / "docs" / "mtlsctl.md").read_text()
    section = text.partition(f"\n## {command.split()[0].capitalize()}\n")[2].partition("\n## ")[0]
    heading = "AWS actions:" if f"AWS actions of `{command}`:" not in section else f"AWS actions of `{command}`:"
    listed = section.partition(heading)[2].partition("\n\n")[0]
    referred = re.findall(r"those of \[`(\w+)`\]", listed)
    return frozenset(re.findall(r"`([a-z0-9-]+:[A-Za-z]+)`", listed)).union(*map(documented_actions, referred))


@contextmanager
def gone_afterwards(deployment: Deployment, *names: str) -> Iterator[None]:
    """Delete secrets for good afterwards, and what was filed for them."""
    try:
        yield
    finally:
        for name in filter(lambda it: exists(deployment, it), names):
            deployment.secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
            for key in filed(deployment, name):
                deployment.s3.delete_object(Bucket=deployment.bucket, Key=key)


def filed(deployment: Deployment, name: str) -> list[str]:
    """The keys under which a secret's certificates are filed."""
    keys = []
    for prefix, parse in ((layout.ISSUED, layout.IssuedKey.parse), (layout.OUTSIDE, layout.OutsideKey.parse)):
        for entry in deployment.s3.list_objects_v2(Bucket=deployment.bucket, Prefix=prefix).get("Contents", []):
            key = parse(entry["Key"])
            if key and key.secret == name:
                keys.append(entry["Key"])
    return keys


def exists(deployment: Deployment, name: str) -> bool:
    """Whether there is a secret of that name, deleted or not."""
    try:
        deployment.secrets.describe_secret(SecretId=name)
    except deployment.secrets.exceptions.ResourceNotFoundException:
        return False
    return True


def held(deployment: Deployment, name: str, label: str = "AWSCURRENT") -> Held:
    """The certificate of a secret, as an application holds it."""
    return from_secret(json.dumps(deployment.value(name, label)), deployment.aws.front_door.server_ca_pem)


def written_out(issued: pki.CertifiedKey) -> dict[str, str]:
    """A certificate with its key and its CA, in PEM."""
    return {
        "certificate": pki.to_pem(issued.certificate),
        "private_key": pki.key_to_pem(issued.key),
        "certificate_chain": pki.to_pem(*issued.chain, issued.anchor),
    }
