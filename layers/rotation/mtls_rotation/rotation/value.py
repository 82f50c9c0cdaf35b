"""The value of a managed secret, read by the issuer and the prover that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtls_rotation.contract.endpoint import Endpoint
from mtls_rotation.issuers.registry import parse_secret
from mtls_rotation.provers import registry as provers

if TYPE_CHECKING:
    from mtls_rotation.contract.secret import ManagedSecret


def parse_value(text: str, where: str) -> ManagedSecret:
    """Read a secret's value.

    Args:
        text: the secret's `SecretString`.
        where: what to call the secret in an error.

    Returns:
        The secret, its endpoint with what its prover assumes where the operator said nothing.

    Raises:
        InvalidSecretError: it is not JSON, lacks a key, or says something that no certificate could be made from, or
            proved by.
    """
    secret = parse_secret(text, where)
    if secret.endpoint is None:
        return secret
    settings = provers.settings_of(secret.endpoint, where)
    endpoint = Endpoint.model_validate(settings.model_dump(mode="json", exclude_none=True))
    return secret.model_copy(update={"endpoint": endpoint})
