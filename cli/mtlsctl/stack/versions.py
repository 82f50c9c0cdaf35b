"""What brings a secret back whose value somebody has written over: the version before is there still. Calls nothing."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

from mtls_rotation.contract.labels import AWSCURRENT, AWSPREVIOUS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def bring_back(name: str, stages: Mapping[str, Collection[str]]) -> str:
    """The commands that make the version at AWSPREVIOUS current again, and rotate from there.

    UpdateSecretVersionStage puts AWSPREVIOUS on the version that loses AWSCURRENT; the rotation takes it off again.
    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecretVersionStage.html

    Args:
        name: the secret's name or ARN.
        stages: version id → its staging labels.

    Returns:
        Empty where there is no version before.
    """
    at = {label: version for version, labels in stages.items() for label in labels}
    current, previous = at.get(AWSCURRENT), at.get(AWSPREVIOUS)
    if current is None or previous is None or current == previous:
        return ""
    return (
        f"aws secretsmanager update-secret-version-stage --secret-id {quote(name)} --version-stage {AWSCURRENT}"
        f" --move-to-version-id {quote(previous)} --remove-from-version-id {quote(current)}"
        f" && mtlsctl rotate {quote(name)} --wait"
    )
