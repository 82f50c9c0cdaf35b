"""What is wrong with a secret's value, in words that an operator can act on. No word quotes a private key."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from mtls_rotation.errors import InvalidSecretError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError

_OPERATORS_OWN = {"kind", "request", "issuer", "endpoint", "trusted_by_gateway", "notice_days", "may_issue"}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a value, in the words of pydantic's `ErrorDetails`."""

    type: str
    location: tuple[int | str, ...]
    value: object
    message: str
    context: Mapping[str, Any]

    @classmethod
    def first_of(cls, error: ValidationError, *above: str) -> Self:
        """The first one of a validation, whose model is a member of others."""
        it = error.errors(include_url=False, include_context=True)[0]
        return cls(it["type"], (*above, *it["loc"]), it["input"], it["msg"], it.get("ctx", {}))


def explain(problem: Problem, where: str) -> InvalidSecretError:
    """A problem in the operator's words. Only what the operator wrote is ever quoted."""
    location = [_name(part) for part in problem.location]
    kind = problem.type
    quotable = bool(location) and location[0] in _OPERATORS_OWN
    value = problem.value
    if kind == "union_tag_invalid":
        location, value = ["issuer", "type"], problem.context["tag"]
    path = ".".join(location) or "the JSON"
    if kind == "missing":
        found, expected = f"no {path}", f"{path} to be there"
    elif kind == "extra_forbidden":
        found, expected = f"the unknown key {path}", "only keys that docs/architecture.md lists"
    else:
        found = f"{path} = {_quote(value)}" if quotable else f"an unusable value of {path}"
        expected = _expectation(problem)
    return InvalidSecretError(
        where=where,
        found=found,
        expected=expected,
        remedy=f"Correct {path} in the secret's value; nothing was changed.",
    )


def _expectation(problem: Problem) -> str:
    context = problem.context
    match problem.type:
        case "value_error":
            return str(context["error"])
        case "enum" | "literal_error":
            return f"one of {context['expected']}"
        case "union_tag_invalid":
            return f"issuer.type to be one of {context['expected_tags']}"
        case "union_tag_not_found":
            return "issuer.type to be there"
        case _:
            return re.sub(r"^\w+ should ", "it to ", problem.message)


def _name(part: int | str) -> str:
    """A member's name, which the operator chose: of a long one only how long it is, as it may be a private key, too."""
    text = str(part)
    return text if len(text) <= 80 and "PRIVATE KEY" not in text else f"(a name of {len(text)} characters)"


def _quote(value: object) -> str:
    """A short value as it was written; of any other only what it is: it may be a private key in the wrong place."""
    match value:
        case dict():
            return "an object"
        case list():
            return "a list"
        case str() if len(value) > 80 or "PRIVATE KEY" in value:
            return f"a string of {len(value)} characters"
        case _:
            return json.dumps(value, default=str, ensure_ascii=False)
