"""``AWS::SecretsManager::Secret`` as the emulator has it, with two corrections.

``Ref`` is the ARN, and a secret without a value has no version.
"""

from __future__ import annotations

from dataclasses import dataclass

from ministack.services import secretsmanager as store

from localaws.cloudformation.handlers import Handlers, Properties, Provisioned

TYPE = "AWS::SecretsManager::Secret"


def handlers(emulated: Handlers) -> Handlers:
    """Return what to register for the type."""
    secrets = _Secrets(emulated)
    return emulated | {"create": secrets.create, "update": secrets.update, "delete": secrets.delete}


@dataclass(frozen=True)
class _Secrets:
    emulated: Handlers

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
        name, attributes = self.emulated["create"](logical_id, properties, stack_name)
        if "SecretString" not in properties and "GenerateSecretString" not in properties:
            store._secrets[name]["Versions"].clear()
        return attributes["Arn"], attributes

    def update(
        self, physical_id: str, old: Properties, new: Properties, stack_name: str, logical_id: str | None = None
    ) -> Provisioned:
        _, attributes = self.emulated["update"](_name(physical_id), old, new, stack_name, logical_id)
        return attributes["Arn"], attributes

    def delete(self, physical_id: str, properties: Properties) -> None:
        self.emulated["delete"](_name(physical_id), properties)


def _name(arn: str) -> str:
    return next((name for name, secret in store._secrets.items() if secret["ARN"] == arn), arn)
