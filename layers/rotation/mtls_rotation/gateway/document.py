"""What the route table and the allow-list have in common: JSON that operators write, and what is said of a mistake."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from mtls_rotation.errors import InvalidSettingsError


class OperatorsDocument(BaseModel):
    """A document that operators write. A subclass gives it members, and says what it is called."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    called: ClassVar[str]

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Read a document.

        Args:
            text: JSON.
            where: what to call it in an error.

        Raises:
            InvalidSettingsError: it is no JSON, or says something that cannot be held to.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            location = " → ".join(str(part) for part in problem["loc"] if part != "[key]")
            raise InvalidSettingsError(
                where=where,
                found=f"an unusable {location}" if location else f"no {cls.called}",
                expected=str(problem["msg"]).removeprefix("Value error, "),
                remedy="Correct it; docs/gateway.md shows one. Until then the one before holds, if there was one.",
            ) from None
