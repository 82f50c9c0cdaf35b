"""Which secrets are a stack's: by its tag, and by what cannot be lost with it. Reads no value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.contract.tags import STACK_TAG

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from mtls_rotation.aws.secret_versions import SecretDescription, SecretVersions


def untagged_among(
    others: Iterable[SecretDescription], tagged: Iterable[SecretDescription], filed: Collection[str]
) -> Iterator[SecretDescription]:
    """Of these secrets those that are the stack's, and have lost its tag: a clean-up took it, or a tag policy.

    What is filed for a secret tells whose it is; where that is lost too, the function that rotates it does, which is
    the one that rotates the others. One that bears another stack's tag is that stack's.

    Args:
        others: any secrets of the account.
        tagged: the stack's.
        filed: the names of secrets for which something is filed.
    """
    functions = {it.function for it in tagged if it.function}
    for it in others:
        if STACK_TAG not in it.tags and (it.name in filed or it.function in functions):
            yield it


def secrets_of(versions: SecretVersions, stack: str, filed: Collection[str]) -> list[SecretDescription]:
    """Every secret of a stack, tagged or not. A call for each hundred secrets of the account."""
    everything = list(versions.list_all())
    tagged = [it for it in everything if it.tags.get(STACK_TAG) == stack]
    return [*tagged, *untagged_among(everything, tagged, filed)]
