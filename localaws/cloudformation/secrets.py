"""``AWS::SecretsManager::Secret`` as the emulator has it, with three corrections, and the type can be imported.

``Ref`` is the ARN, a secret without a value has no version, and a name that is taken makes no secret.
"""

from __future__ import annotations

from dataclasses import dataclass

from ministack.services import secretsmanager as store

from localaws.cloudformation.handlers import Handlers, Properties, Provisioned

TYPE = "AWS::SecretsManager::Secret"


def handlers(emulated: Handlers) -> Handlers:
    """Return what to register for the type."""
    secrets = _Secrets(emulated)
    own: Handlers = {"create": secrets.create, "update": secrets.update, "delete": secrets.delete, "import": take_over}
    return emulated | own


def import_lookup(identifier: str) -> str | None:
    """Return why there is nothing to import: the primary identifier of the type is the ARN, as ``Id``."""
    if any(secret["ARN"] == identifier for secret in store._secrets.values()):
        return None
    return f"Resource of type '{TYPE}' with identifier '{identifier}' was not found."


# The keys of ResourceIdentifier, and what is looked up.
IMPORT = (("Id",), import_lookup)


def take_over(identifier: dict[str, str]) -> Provisioned:
    """Have a stack take over a secret that is there, value and all."""
    return identifier["Id"], {"Id": identifier["Id"], "Arn": identifier["Id"]}


@dataclass(frozen=True)
class _Secrets:
    emulated: Handlers

    def create(self, logical_id: str, properties: Properties, stack_name: str) -> Provisioned:
        _require_free(properties.get("Name"))
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


def _require_free(name: str | None) -> None:
    """Refuse a name as CreateSecret does.

    https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
    """
    there = store._secrets.get(name) if name else None
    if there is None:
        return
    if there.get("DeletedDate"):
        message = "You can't create this secret because a secret with this name is already scheduled for deletion."
        code = "InvalidRequestException"
    else:
        message, code = f"The operation failed because the secret {name} already exists.", "ResourceExistsException"
    raise ValueError(f"{message} (Service: AWSSecretsManager; Status Code: 400; Error Code: {code})")


def _name(arn: str) -> str:
    return next((name for name, secret in store._secrets.items() if secret["ARN"] == arn), arn)
