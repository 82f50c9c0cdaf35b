"""One secret as the emulator stores it, and the rules for its versions and staging labels.

No request is parsed here and no function is invoked.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import secretsmanager as store

from localaws.asgi import ServiceError

CURRENT, PENDING, PREVIOUS = "AWSCURRENT", "AWSPENDING", "AWSPREVIOUS"
_SILENT_LABELS = (PENDING, PREVIOUS)

type SecretKey = tuple[str, str, str]


@dataclass(frozen=True)
class Secret:
    """A view on one stored record; changes go straight to the record."""

    key: SecretKey
    record: dict[str, Any]

    @property
    def name(self) -> str:
        """The friendly name."""
        return str(self.record["Name"])

    @property
    def arn(self) -> str:
        """The whole ARN."""
        return str(self.record["ARN"])

    @property
    def versions(self) -> dict[str, dict[str, Any]]:
        """The stored versions by id, those without a label included."""
        return self.record["Versions"]  # type: ignore[no-any-return]

    @property
    def deleted(self) -> bool:
        """Whether it is marked for deletion."""
        return bool(self.record.get("DeletedDate"))

    @property
    def rotates(self) -> bool:
        """Whether rotation is switched on."""
        return bool(self.record.get("RotationEnabled"))

    def version_at(self, label: str) -> str | None:
        """Return the id of the version that carries ``label``."""
        return next((vid for vid, version in self.versions.items() if label in version["Stages"]), None)

    def has_value(self, version_id: str) -> bool:
        """Whether the version exists and is not the empty one of a rotation."""
        version = self.versions.get(version_id)
        return version is not None and not _is_empty(version)

    def value_of(self, version_id: str) -> tuple[str | None, str | None]:
        """The string and the binary value of a version; neither if it is empty or not there."""
        version = self.versions.get(version_id, {})
        return version.get("SecretString"), version.get("SecretBinary")

    def copy_current_to(self, version_id: str) -> None:
        """Make a version without a label that holds what AWSCURRENT does, if that holds anything."""
        current = self.version_at(CURRENT)
        if current is not None and version_id not in self.versions:
            string, binary = self.value_of(current)
            value = {"SecretString": string, "SecretBinary": binary}
            self.versions[version_id] = value | {"CreatedDate": int(time.time()), "Stages": []}

    def unfinished_rotation(self) -> str | None:
        """Return the version that a rotation left at AWSPENDING without making it AWSCURRENT."""
        pending = self.version_at(PENDING)
        return pending if pending is not None and pending != self.version_at(CURRENT) else None

    def put(self, version_id: str, *, string: str | None, binary: str | None, labels: list[str]) -> None:
        """Store a value under a version id, by the idempotency rule of ``ClientRequestToken``, and move the labels."""
        existing = self.versions.get(version_id)
        if existing is not None and not _is_empty(existing):
            if (existing.get("SecretString"), existing.get("SecretBinary")) == (string, binary):
                return
            raise ServiceError(
                "ResourceExistsException",
                f"You can't use ClientRequestToken {version_id} because that value is already in use.",
            )
        created = existing["CreatedDate"] if existing else int(time.time())
        self.versions[version_id] = {
            "SecretString": string,
            "SecretBinary": binary,
            "CreatedDate": created,
            "Stages": existing["Stages"] if existing else [],
        }
        if not self.version_at(CURRENT) and CURRENT not in labels and len(self.versions) == 1:
            labels = [*labels, CURRENT]
        for label in labels:
            self.move_label(label, version_id)
        self.touch()

    def add_pending(self, version_id: str) -> None:
        """Make the version without a value that a rotation starts from."""
        self.versions.setdefault(
            version_id,
            {"SecretString": None, "SecretBinary": None, "CreatedDate": int(time.time()), "Stages": []},
        )
        self.move_label(PENDING, version_id)
        self.touch()

    def move_label(self, label: str, to: str) -> None:
        """Attach ``label`` to one version and to no other; AWSCURRENT leaves AWSPREVIOUS where it was."""
        was = self.version_at(label)
        if was == to:
            return
        if was is not None:
            self.remove_label(label, was)
        self.versions[to]["Stages"] = [*self.versions[to]["Stages"], label]
        if label == CURRENT and was is not None:
            previous = self.version_at(PREVIOUS)
            if previous is not None:
                self.remove_label(PREVIOUS, previous)
            self.versions[was]["Stages"] = [*self.versions[was]["Stages"], PREVIOUS]
        if label not in _SILENT_LABELS:
            store._emit_secret_label_updated(self.record, label, to)

    def remove_label(self, label: str, version_id: str) -> None:
        """Take ``label`` off a version, which stays, unlabelled if need be."""
        version = self.versions[version_id]
        version["Stages"] = [kept for kept in version["Stages"] if kept != label]

    def touch(self) -> None:
        """Note the change and bring the replicas up to date."""
        self.record["LastChangedDate"] = int(time.time())
        store._sync_replicas(self.record)


def _is_empty(version: dict[str, Any]) -> bool:
    return version.get("SecretString") is None and version.get("SecretBinary") is None


def find(secret_id: str | None) -> Secret | None:
    """Look a secret up by name, ARN or ARN without its random suffix, in the account and region of the request."""
    key, record = store._resolve(secret_id)
    if record is None:
        return None
    return Secret((*request_scope(), key), record)


def request_scope() -> tuple[str, str]:
    """Return the account and region of the request that is being answered."""
    return get_account_id(), get_region()


def every_secret() -> list[Secret]:
    """Return the secrets of every account and region."""
    return [Secret(key, record) for key, record in store._secrets.all_items()]


def require(secret_id: str | None) -> Secret:
    """Like :func:`find`, with the errors of AWS for a secret that is missing or marked for deletion."""
    secret = existing(secret_id)
    if secret.deleted:
        raise ServiceError(
            "InvalidRequestException",
            "You can't perform this operation on the secret because it was marked for deletion.",
        )
    return secret


def existing(secret_id: str | None) -> Secret:
    """Like :func:`require`, for the calls that also work on a secret marked for deletion."""
    secret = find(secret_id)
    if secret is None:
        raise ServiceError("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
    return secret


def refuse_replica(secret: Secret) -> None:
    """Raise the error for a change of a replica."""
    if store._is_replica(secret.record):
        raise ServiceError("InvalidRequestException", "You can't perform this operation on a replica secret.")
