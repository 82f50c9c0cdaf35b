"""The policy of a KMS key that holds a CA's: who may use it, and which version of which CA secret it was made for.

https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from mtls_rotation.contract.layout import encoded

# What the account keeps, so that a key never goes out of hand: all that administers it. Not to sign, and not to give
# that away by a grant: whom IAM alone lets use any key would sign as the CA.
# https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html#key-policy-default-allow-administrators
_ADMINISTRATION = [
    "kms:CreateAlias",
    "kms:Describe*",
    "kms:Enable*",
    "kms:List*",
    "kms:Put*",
    "kms:Update*",
    "kms:Revoke*",
    "kms:Disable*",
    "kms:Get*",
    "kms:Delete*",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:ScheduleKeyDeletion",
    "kms:CancelKeyDeletion",
]
_SIGNING = ["kms:GetPublicKey", "kms:Sign"]
_MAKING = [*_SIGNING, "kms:GetKeyPolicy", "kms:ScheduleKeyDeletion"]


@dataclass(frozen=True, slots=True)
class KeyUsers:
    """The roles that use the keys of CAs, by ARN.

    Attributes:
        makers: those that make them. They sign, and have a key deleted that they made in vain.
        signers: those that sign and no more.
    """

    makers: tuple[str, ...]
    signers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a key is made for: a version of a CA secret of a stack."""

    stack: str
    secret: str
    version_id: str

    def __str__(self) -> str:
        """The policy's `Id`. No stack and no secret can have a colon in its name."""
        return f"mtls-rotation:{self.stack}:{self.secret}:{self.encoded_version}"

    @property
    def encoded_version(self) -> str:
        """The version's id as a tag and a policy may hold it: a rotation's token may have any character.

        https://docs.aws.amazon.com/kms/latest/APIReference/API_Tag.html
        """
        return encoded(self.version_id)

    def is_of(self, policy: str) -> bool:
        """Whether this is what a key was made for, by its policy."""
        try:
            document = json.loads(policy)
        except (ValueError, RecursionError):
            return False
        return isinstance(document, dict) and document.get("Id") == str(self)


def policy(users: KeyUsers, purpose: Purpose) -> str:
    """The policy that a key is made with.

    The roles are named by condition, not as principals: KMS takes no principal that it does not see yet, such as a role
    that was made a moment ago, and a principal is one role, which another of the same name is not. So the key goes on
    with a stack that is made again from what a deleted one kept. CloudFormation ends a role's name in what it makes up,
    for which the pattern here stands.
    https://docs.aws.amazon.com/kms/latest/APIReference/API_CreateKey.html#KMS-CreateKey-request-Policy
    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-caller-account
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalarn
    """
    partition, account = _owner(users)
    statements = [
        {
            "Sid": "TheAccountAdministersTheKey",
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{partition}:iam::{account}:root"},
            "Action": _ADMINISTRATION,
            "Resource": "*",
        },
        _allowed("TheStackMakesCas", _MAKING, users.makers, account),
        _allowed("TheStackSignsLists", _SIGNING, users.signers, account),
    ]
    return json.dumps({"Version": "2012-10-17", "Id": str(purpose), "Statement": statements})


def _allowed(sid: str, actions: list[str], roles: tuple[str, ...], account: str) -> dict[str, object]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": actions,
        "Resource": "*",
        "Condition": {
            "StringEquals": {"kms:CallerAccount": account},
            "ArnLike": {"aws:PrincipalArn": [_by_name(role) for role in roles]},
        },
    }


def _by_name(role: str) -> str:
    """The ARNs of a role of the stack's, however often it is made anew."""
    return re.sub(r"-[A-Za-z0-9]+$", "-*", role)


def _owner(users: KeyUsers) -> tuple[str, str]:
    """The partition and the account of the stack, by its roles."""
    _, partition, _, _, account, _ = users.makers[0].split(":", 5)
    return partition, account
