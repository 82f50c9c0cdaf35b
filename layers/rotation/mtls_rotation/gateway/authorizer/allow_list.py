"""The allow-list: which callers may ask for what. Calls nothing.

    {"routes": {"GET /": ["*"],
                "* /proxy/billing/**": [{"name": "subject:CN=billing,O=Example", "ca": "managed"},
                                        {"name": "uri:spiffe://example.com/billing", "ca": "5d0a…"}]},
     "otherwise": "deny"}

A name may be bound to CAs: to those that the stack manages, whichever they are by now, or to one by the SHA-256 of its
certificate. Who may sign is then told by a signature. A name without a CA is that of whoever a trusted CA gives it to.

The first route that fits decides. In a path `*` stands for one segment, and `**` at the end for any number of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mtls_rotation.gateway.document import OperatorsDocument
from mtls_rotation.pki.distinguished_names import DistinguishedName
from mtls_rotation.pki.names import folded_email, ip_address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mtls_rotation.gateway.authorizer.caller import Anchor, Caller

_ROUTE = re.compile(r"(\*|[A-Z]{3,10}) (/\S*)")
# For the CAs that the stack manages: each of their rotations makes another, which no list would know.
MANAGED = "managed"
_SHA_256 = re.compile(r"[0-9a-f]{64}")
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
    if kind == "email:":
        return folded_email(text)
    if kind == "ip:":
        return f"{kind}{ip_address(text.removeprefix(kind))}"
    if kind == "subject:":
        try:
            return kind + str(DistinguishedName.parse(text.removeprefix(kind)))
        except ValueError as error:
            raise ValueError(
                f"a subject as RFC 4514 writes it, such as subject:CN=billing,O=Example: {error}"
            ) from None
    return text


def _ca(text: str) -> str:
    plain = re.sub(r"[:\s]", "", text).lower()
    if plain != MANAGED and not _SHA_256.fullmatch(plain):
        raise ValueError(f'"{MANAGED}", for the CAs that the stack manages, or the SHA-256 fingerprint of a CA in hex')
    return plain


def _entry(written: Any) -> Any:
    return {"name": written} if isinstance(written, str) else written


class Entry(BaseModel):
    """Whom a route lets in.

    Attributes:
        name: of the caller; `*` is every caller.
        ca: the CAs that may have given the name, by their fingerprints, or `managed`; empty if any that is trusted may.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, AfterValidator(_name)]
    ca: Annotated[
        tuple[Annotated[str, AfterValidator(_ca)], ...],
        BeforeValidator(lambda it: (it,) if isinstance(it, str) else it),
        Field(min_length=1),
    ] = Field(default=(), validate_default=False)

    def fits(self, names: frozenset[str], anchors: Callable[[], Sequence[Anchor]]) -> bool:
        """Whether this is the caller. The anchors are asked for only if the name alone does not decide it."""
        if self.name != "*" and self.name not in names:
            return False
        return not self.ca or any(it.fingerprint in self.ca or (it.managed and MANAGED in self.ca) for it in anchors())


@dataclass(frozen=True, slots=True)
class _Rule:
    """A route of the list, as it is compared."""

    method: str
    path: tuple[str, ...]
    entries: tuple[Entry, ...]

    def fits(self, method: str, asked: tuple[str, ...]) -> bool:
        pattern = self.path
        if pattern and pattern[-1] == "**":
            pattern, asked = pattern[:-1], asked[: len(pattern) - 1]
        return (
            self.method in ("*", method)
            and len(pattern) == len(asked)
            and all(want in ("*", have) for want, have in zip(pattern, asked, strict=True))
        )


class AllowList(OperatorsDocument):
    """Who may ask for what."""

    called = "allow-list"

    routes: Annotated[
        dict[Annotated[str, AfterValidator(_route)], tuple[Annotated[Entry, BeforeValidator(_entry)], ...]],
        Field(min_length=1),
    ]
    otherwise: Literal["allow", "deny"] = "deny"

    @cached_property
    def _rules(self) -> tuple[_Rule, ...]:
        """The routes in order, taken apart once and not with each request."""
        parts = ((route.partition(" "), entries) for route, entries in self.routes.items())
        return tuple(
            # Those first that need no signature.
            _Rule(method, segments(path) or (), tuple(sorted(entries, key=lambda it: bool(it.ca))))
            for (method, _, path), entries in parts
        )

    def allows(self, caller: Caller, method: str, path: str, anchors: Callable[[], Sequence[Anchor]]) -> bool:
        """Whether a caller may ask for this.

        Args:
            caller: who.
            method: HTTP's, in capitals.
            path: as the client sent it, percent-encodings included. One that two readers might take for two different
                paths (dot segments, encoded slashes, doubled ones) is never allowed.
            anchors: gives the anchors that answer for the caller.
        """
        asked = segments(path)
        if asked is None:
            return False
        rule = next((rule for rule in self._rules if rule.fits(method, asked)), None)
        if rule is not None:
            return any(it.fits(caller.names, anchors) for it in rule.entries)
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
