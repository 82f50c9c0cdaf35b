"""What Secrets Manager asks a rotation function for: a step, for a version of a secret."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from mtls_rotation import invocation
from mtls_rotation.errors import InvalidEventError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Step(StrEnum):
    """A step, by the name that Secrets Manager gives it."""

    CREATE = "createSecret"
    SET = "setSecret"
    TEST = "testSecret"
    FINISH = "finishSecret"

    @classmethod
    def parse(cls, text: str) -> Step:
        """The step of that name.

        Raises:
            InvalidEventError: there is none.
        """
        try:
            return cls(text)
        except ValueError:
            raise InvalidEventError(
                where="the event's Step",
                found=repr(text),
                expected=" or ".join(cls),
                remedy="This function is for Secrets Manager to invoke; events/ holds samples.",
            ) from None


@dataclass(frozen=True, slots=True)
class RotationRequest:
    """What Secrets Manager asks for: one step for one version.

    Attributes:
        version_id: the ClientRequestToken, which is the id of the version at AWSPENDING.
        rotation_token: passed on to PutSecretValue, where given.
    """

    step: Step
    secret_id: str
    version_id: str
    rotation_token: str | None = None

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> RotationRequest:
        """Read the event that Secrets Manager invokes a rotation function with.

        Raises:
            InvalidEventError: a member is missing, or the step is unknown.
        """
        step, secret_id, version_id = (invocation.text(event, it) for it in ("Step", "SecretId", "ClientRequestToken"))
        token = invocation.member(event, "RotationToken")
        if token is not None and not isinstance(token, str):
            raise invocation.invalid(("RotationToken",), token, "a string, or nothing")
        try:
            version_id.encode()
        except UnicodeEncodeError:
            raise invocation.invalid(("ClientRequestToken",), ascii(version_id), "text in Unicode") from None
        return cls(Step.parse(step), secret_id, version_id, token)
