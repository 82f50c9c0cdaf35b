"""The allow-list: which callers may ask for what. Calls nothing.

    {"routes": {"GET /": ["*"],
                "* /proxy/billing/**": ["subject:CN=billing,O=Example", "uri:spiffe://example.com/billing"]},
     "otherwise": "deny"}

The first route that fits decides. In a path `*` stands for one segment, and `**` at the end for any number of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import unquote

from cryptography import x509
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mtls_rotation.errors import InvalidSettingsError

if TYPE_CHECKING:
    from mtls_rotation.authorizer.caller import Caller

_ROUTE = re.compile(r"(\*|[A-Z]{3,10}) (/\S*)")
_KINDS = ("subject:", "dns:", "uri:", "email:", "ip:")
# What a path may not hold if it is to be compared: a backend might read another path from it.
_AMBIGUOUS = re.compile(r"//|\\|;|%(?:2[Ee5Ff]|5[Cc]|3[Bb]|[01][0-9A-Fa-f]|7[Ff])|/\.{1,2}(?:/|$)")


def _route(text: str) -> str:
    found = _ROUTE.fullmatch(text)
    if found is None or "**" in found[2].removesuffix("/**") or segments(found[2]) is None:
        raise ValueError('a method or "*" and a path, such as "GET /orders/*" or "* /proxy/billing/**"')
    return text


def _name(text: str) -> str:
    if text == "*":
        return text
    kind = next((kind for kind in _KINDS if text.startswith(kind) and len(text) > len(kind)), None)
    if kind is None:
        raise ValueError(f'"*", or a name with one of {", ".join(_KINDS)} before it')
    if kind == "dns:":
        return text.lower()
    if kind == "subject:":
        try:
            return kind + x509.Name.from_rfc4514_string(text.removeprefix(kind)).rfc4514_string()
        except ValueError:
            raise ValueError("a subject as RFC 4514 writes it, such as subject:CN=billing,O=Example") from None
    return text


class AllowList(BaseModel):
    """Who may ask for what."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    routes: Annotated[
        dict[Annotated[str, AfterValidator(_route)], tuple[Annotated[str, AfterValidator(_name)], ...]],
        Field(min_length=1),
    ]
    otherwise: Literal["allow", "deny"] = "deny"

    @classmethod
    def parse(cls, text: str, where: str) -> AllowList:
        """Read an allow-list.

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
                found=f"an unusable {location}" if location else "no allow-list",
                expected=str(problem["msg"]).removeprefix("Value error, "),
                remedy="Correct it; docs/gateway.md shows one. Until then the one before holds, if there was one.",
            ) from None

    def allows(self, caller: Caller, method: str, path: str) -> bool:
        """Whether a caller may ask for this.

        Args:
            caller: who.
            method: HTTP's, in capitals.
            path: as the client sent it, percent-encodings included. One that two readers might take for two different
                paths (dot segments, encoded slashes, doubled ones) is never allowed.
        """
        asked = segments(path)
        if asked is None:
            return False
        for route, names in self.routes.items():
            wanted_method, _, pattern = route.partition(" ")
            if wanted_method in ("*", method) and _fits(segments(pattern) or (), asked):
                return "*" in names or not {f"subject:{caller.subject}", *caller.names}.isdisjoint(names)
        return self.otherwise == "allow"


def segments(path: str) -> tuple[str, ...] | None:
    """A path's segments, decoded; None if it is ambiguous. A slash at the end says nothing: API Gateway ignores it."""
    if not path.startswith("/") or _AMBIGUOUS.search(path):
        return None
    plain = path.removesuffix("/")
    try:
        return tuple(unquote(part, errors="strict") for part in plain.split("/")[1:])
    except UnicodeDecodeError:
        return None


def _fits(pattern: tuple[str, ...], asked: tuple[str, ...]) -> bool:
    if pattern and pattern[-1] == "**":
        pattern, asked = pattern[:-1], asked[: len(pattern) - 1]
    return len(pattern) == len(asked) and all(want in ("*", have) for want, have in zip(pattern, asked, strict=True))
