"""For whom a CA signs what, and which secrets may bring an anchor of their own: what an operator says. Calls nothing.

A secret's tag says that it is the stack's. Whoever may make and tag secrets can set it, so it gives no identity.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, SerializerFunctionWrapHandler, TypeAdapter, ValidationError, model_serializer

from mtls_rotation.errors import InvalidSettingsError, UnentitledRequestError, UnlistedAuthorityError
from mtls_rotation.pki.request import Strict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mtls_rotation.pki.request import CertificateRequest

# An empty list would say that a member may be nothing, and count as if the rule did not name it.
type Patterns = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=2048)], ...], Field(min_length=1)]
_SINGLE = ("common_name", "organization", "organizational_unit", "locality", "state", "country")
_LISTS = ("dns_names", "uris", "emails", "ip_addresses", "extended_key_usages")
# Attributes that a client may share with its CA.
_SHARED = _SINGLE[1:]
# Who asks for a name by the secret's asks for one in one spelling only.
_PLAIN_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")


class IssuanceRule(Strict):
    """What secrets may ask for.

    A rule that names no member of a request lets its secrets ask for anything. One that does lets them ask for what its
    patterns match, and for nothing else. `*` stands for any characters; case does not count.

    Attributes:
        secret: a pattern of secrets' names, or one secret's ARN.
    """

    secret: Annotated[str, Field(min_length=1, max_length=2048)]
    common_name: Patterns = ()
    organization: Patterns = ()
    organizational_unit: Patterns = ()
    locality: Patterns = ()
    state: Patterns = ()
    country: Patterns = ()
    dns_names: Patterns = ()
    uris: Patterns = ()
    emails: Patterns = ()
    ip_addresses: Patterns = ()
    extended_key_usages: Patterns = ()

    @model_serializer(mode="wrap")
    def _as_written(self, serialize: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Without the members that it does not name: a list that is written is never empty."""
        return {member: value for member, value in serialize(self).items() if value}

    def is_for(self, secret: Secret) -> bool:
        """Whether it is about a secret."""
        return secret.matches(self.secret)

    @property
    def unbounded(self) -> bool:
        """Whether it lets its secrets ask for anything."""
        return not any(getattr(self, it) for it in (*_SINGLE, *_LISTS))

    def matches(self, member: str, value: str) -> bool:
        """Whether one of its patterns is of that value."""
        return any(_matches(value, it) for it in getattr(self, member))


@dataclass(frozen=True, slots=True)
class Secret:
    """Which secret asks.

    Attributes:
        arn: it ends in characters that Secrets Manager makes up, so that it is never another's.
    """

    name: str
    arn: str

    def matches(self, pattern: str) -> bool:
        """Whether a pattern of names, or an ARN, is about it."""
        return self.arn == pattern if pattern.startswith("arn:") else fnmatchcase(self.name, _literal(pattern))


@dataclass(frozen=True, slots=True)
class Issuance:
    """What the stack's operator says.

    Attributes:
        stack: the stack's name.
        own: the names of the secrets that the template makes. They ask for what the template says.
        reserved: the common name of the template's own client, which no other secret gets by its name alone.
        trusted: patterns of the secrets beside the stack's own that are trusted as those are: they may ask for
            anything, and bring an anchor of their own.
    """

    stack: str
    own: frozenset[str] = frozenset()
    reserved: str = ""
    trusted: tuple[str, ...] = ()

    def is_trusted(self, secret: Secret) -> bool:
        """Whether a secret is the stack's own, or listed."""
        return secret.name in self.own or any(map(secret.matches, self.trusted))

    def require_entitled(
        self,
        secret: Secret,
        request: CertificateRequest,
        ca: CertificateRequest | None = None,
        rules: tuple[IssuanceRule, ...] = (),
    ) -> None:
        """See that a secret may ask for what it does.

        Args:
            secret: whose request it is.
            request: what it asks for.
            ca: the request of the CA that is to sign; None if it is not known.
            rules: those that the CA's definition has.

        Raises:
            UnentitledRequestError: it may not.
        """
        mine = [it for it in rules if it.is_for(secret)]
        if self.is_trusted(secret) or any(it.unbounded for it in mine):
            return
        others = [it for it in rules if not it.is_for(secret)]
        refused = [
            f"{member} {value}"
            for member, value in _asked(request)
            if not any(it.matches(member, value) for it in mine)
            and not self._by_its_name(secret, member, value, ca, others)
        ]
        if refused:
            raise UnentitledRequestError(
                where=f"secret {secret.name}",
                found=f"a request for {', '.join(refused)}",
                expected="what its CA may issue to it: without a rule, its own name below"
                f" {self.stack}/ as common name",
                remedy="Ask for that, or have an operator permit more: by a rule in the parameter MayIssue (for other"
                " CA secrets may_issue in their value), or with this secret in TrustedSecrets. Nothing was made.",
            )

    def _by_its_name(
        self, secret: Secret, member: str, value: str, ca: CertificateRequest | None, others: Iterable[IssuanceRule]
    ) -> bool:
        """Whether a secret may have a value without any rule: its own name, or what its CA has too."""
        if member in _SHARED:
            return ca is not None and value == getattr(ca, member)
        name = secret.name.removeprefix(f"{self.stack}/")
        if member != "common_name" or value != name or name == secret.name:
            return False
        taken = value == self.reserved.casefold() or any(it.matches(member, value) for it in others)
        return bool(_PLAIN_NAME.fullmatch(name)) and not taken

    def require_listed(self, secret: Secret, what: str, where: str = "", *, in_kms: bool = False) -> None:
        """See that a secret may bring an anchor of its own into the truststore, or have a KMS key sign as its CA.

        Args:
            secret: the CA's, or that of a client whose certificate is its own anchor or somebody else's.
            what: the anchor, in words.
            where: what to call the secret that asks, if it is another.
            in_kms: whether a KMS key is to sign. Which one the secret says, and the stack's roles may sign with more.

        Raises:
            UnlistedAuthorityError: it may not.
        """
        if self.is_trusted(secret):
            return
        if in_kms:
            raise UnlistedAuthorityError(
                where=where or f"secret {secret.name}",
                found=f"{what} of secret {secret.name}, for which a KMS key would have to sign",
                expected="a CA that the stack made, or one that its operator listed: whoever may make and tag secrets"
                " could name the key of any CA of the stack's",
                remedy="If KMS is to sign for it, deploy with this secret in TrustedSecrets. Nothing was made.",
            )
        raise UnlistedAuthorityError(
            where=where or f"secret {secret.name}",
            found=f"{what} of secret {secret.name}, which the truststore would have to hold",
            expected="a CA that the stack made, or one that its operator listed: whoever may make and tag secrets could"
            " have any CA trusted",
            remedy="If it is to be trusted, deploy with this secret in TrustedSecrets. If no gateway of the stack is to"
            ' trust it, say "trusted_by_gateway": false. Nothing was made.',
        )


def parse_rules(text: str, where: str) -> tuple[IssuanceRule, ...]:
    """Rules as an operator writes them: a JSON list.

    Raises:
        InvalidSettingsError: they are none.
    """
    try:
        return tuple(_RULES.validate_python(json.loads(text)))
    except (ValueError, RecursionError) as error:
        reason = error.errors()[0] if isinstance(error, ValidationError) else None
    place = ".".join(map(str, reason["loc"])) if reason else ""
    raise InvalidSettingsError(
        where=where,
        found=f"an unusable {place or 'value'}{f' ({reason["msg"]})' if reason else ''}",
        expected='a JSON list of rules such as {"secret": "mtls-rotation/orders", "common_name": ["orders-*"]}',
        remedy="Correct it; docs/issuers.md shows the form.",
    )


_RULES = TypeAdapter(list[IssuanceRule])


def _asked(request: CertificateRequest) -> Iterator[tuple[str, str]]:
    for member in _SINGLE:
        if value := getattr(request, member):
            yield member, value
    for member in _LISTS:
        yield from ((member, value) for value in getattr(request, member))


def _matches(value: str, pattern: str) -> bool:
    return fnmatchcase(value.casefold(), _literal(pattern.casefold()))


def _literal(pattern: str) -> str:
    """A pattern of `fnmatch` in which `*` alone means something."""
    return re.sub(r"[\[?]", lambda found: f"[{found.group()}]", pattern)
