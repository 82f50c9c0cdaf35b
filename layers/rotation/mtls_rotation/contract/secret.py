"""The JSON of a managed secret: what it may say, how it is read, how it is written. Calls nothing.

The operator writes `request`, `issuer` and `endpoint`; rotation writes the rest. Keys that are not ours are carried
over untouched.
"""

import json
from datetime import timedelta
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, SerializeAsAny, ValidationError

from mtls_rotation.contract.endpoint import Endpoint
from mtls_rotation.contract.explain import Problem, explain
from mtls_rotation.contract.issuance import IssuanceRule
from mtls_rotation.contract.issuer import IssuerReference, IssuerReferences, SecretKind, parse_issuer
from mtls_rotation.errors import InvalidSecretError
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.timing import from_rfc3339

_NO_JSON = object()


def _moment(text: str) -> str:
    try:
        if text:
            from_rfc3339(text)
    except ValueError:
        pass
    else:
        return text
    # Raised here, it has no context that would quote the text.
    raise ValueError("a moment in RFC 3339 with its time zone, as the rotation wrote it")


class ManagedSecret(BaseModel):
    """The value of one version of a client secret or CA secret.

    `certificate` and the keys after it are absent until the first rotation. `certificate_chain` holds the
    intermediates, root left out; `anchor` is the certificate that a truststore must hold for `certificate` to be
    accepted. `serial_number` and `fingerprint_sha256` are lower-case hex; times are RFC 3339 in UTC.

    Attributes:
        trusted_by_gateway: whether the stack's truststore is to hold the anchor. When absent: as the issuer has it.
        notice_days: CA only. How long a new CA is trusted before anything is issued from it.
        may_issue: CA only. What it signs for whom, beside a secret's own name.
        key_id: in place of `private_key`, the KMS key that holds the CA's.
        use_from: CA only. The end of the notice: until then the CA before it issues.
        version_id: the version that createSecret has put this value for. A copy of the value is another version's.
    """

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    kind: SecretKind = "client"
    request: CertificateRequest
    issuer: SerializeAsAny[IssuerReference]
    endpoint: Endpoint | None = None
    trusted_by_gateway: Annotated[bool, Field(strict=True)] | None = None
    notice_days: Annotated[int, Field(ge=0, le=365, strict=True)] | None = None
    may_issue: tuple[IssuanceRule, ...] | None = None
    certificate: str | None = None
    certificate_chain: str | None = None
    anchor: str | None = None
    private_key: SecretStr | None = None
    key_id: str | None = None
    serial_number: str | None = None
    fingerprint_sha256: str | None = None
    not_before: str | None = None
    not_after: str | None = None
    use_from: Annotated[str, AfterValidator(_moment)] | None = None
    version_id: str | None = None

    @classmethod
    def parse(cls, text: str, where: str, issuers: IssuerReferences) -> Self:
        """Read a secret's value.

        Args:
            text: the secret's `SecretString`.
            where: what to call the secret in an error.
            issuers: by `issuer.type`, what reads `issuer`. The issuers' registry hands them in.

        Raises:
            InvalidSecretError: it is not JSON, lacks a key, or says something that no certificate could be made from.
        """
        # Errors are raised after `except`: raised within, they would carry the value along, as what they came of.
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = _NO_JSON
        if document is _NO_JSON:
            raise InvalidSecretError(
                where=where,
                found="a value that is not JSON",
                expected='a JSON object with "request" and "issuer"',
                remedy="Put a new value; docs/architecture.md shows one.",
            )
        if _deeper_than(_DEEPEST, document):
            raise InvalidSecretError(
                where=where,
                found=f"a value with more than {_DEEPEST} levels",
                expected="one that is no deeper: it is written again with every rotation",
                remedy="Put a flatter value, or keep what is deep in a secret of its own.",
            )
        secret = cls._validated(document, issuers)
        if isinstance(secret, Problem):
            raise explain(secret, where)
        if incoherence := next((it for rule in _COHERENCE if (it := rule(secret, issuers))), None):
            found, expected = incoherence
            raise InvalidSecretError(
                where=where, found=found, expected=expected, remedy="Correct the secret's value; nothing was changed."
            )
        return secret

    @classmethod
    def _validated(cls, document: Any, issuers: IssuerReferences) -> Self | Problem:
        """The secret, or the first problem of a document in the order of the members."""
        issuer: IssuerReference | Problem | None = None
        if isinstance(document, dict) and "issuer" in document:
            issuer = parse_issuer(document["issuer"], issuers)
            document = document | {"issuer": _UNUSABLE if isinstance(issuer, Problem) else issuer}
        try:
            secret = cls.model_validate(document)
        except ValidationError as error:
            problem = Problem.first_of(error)
            comes_first = problem.location[:1] in {("kind",), ("request",)}
            return issuer if isinstance(issuer, Problem) and not comes_first else problem
        return issuer if isinstance(issuer, Problem) else secret

    @property
    def issued(self) -> bool:
        """Whether this value holds a certificate and its key, or the KMS key's id in place of it."""
        return bool(self.certificate and self.anchor and (self.private_key or self.key_id))

    @property
    def gateway_trusts(self) -> bool:
        """Whether the stack's truststore is to hold the anchor."""
        return self.issuer.trusted_by_default if self.trusted_by_gateway is None else self.trusted_by_gateway

    @property
    def notice(self) -> timedelta:
        """How long a new CA is trusted before anything is issued from it."""
        return timedelta(days=self.notice_days or 0)

    def render(self) -> str:
        """The value as the JSON to store. It holds the private key."""
        document = self.model_dump(mode="json", exclude_none=True) | (self.model_extra or {})
        if self.private_key is not None:
            document["private_key"] = self.private_key.get_secret_value()
        return json.dumps(document, indent=1)


# Stands for an issuer that cannot be used, while what else is wrong is found out.
_UNUSABLE = IssuerReference(type="")
# Whatever writes JSON has an end to its levels, and none of them is less than this.
_DEEPEST = 100


def _deeper_than(levels: int, document: object) -> bool:
    """Whether a JSON document has more levels of lists and objects."""
    level = [document]
    for _ in range(levels):
        level = [
            child
            for it in level
            if isinstance(it, dict | list)
            for child in (it.values() if isinstance(it, dict) else it)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


# What the keys of a secret must be to each other: (what was found, what was expected) where they are not.
type _Problem = tuple[str, str] | None


def _the_issuer_signs_for_the_kind(secret: ManagedSecret, issuers: IssuerReferences) -> _Problem:
    if secret.kind in secret.issuer.signs:
        return None
    kind = {"ca": "CA", "client": "client"}[secret.kind]
    able = " or ".join(f'"{it}"' for it, reference in issuers.items() if secret.kind in reference.signs)
    return f'a {kind} whose issuer.type is "{secret.issuer.type}"', f"issuer.type {able} in a {kind} secret"


def _a_ca_has_no_names_of_a_client(secret: ManagedSecret, _: IssuerReferences) -> _Problem:
    if secret.kind == "ca" and (fields := secret.request.leaf_only_fields):
        return f"request.{', request.'.join(fields)} in a CA secret", "those in client secrets only"
    return None


def _the_issuer_is_told_what_the_kind_needs(secret: ManagedSecret, _: IssuerReferences) -> _Problem:
    return secret.issuer.misfit(secret.kind, trusted=secret.gateway_trusts)


def _only_a_ca_gives_notice(secret: ManagedSecret, _: IssuerReferences) -> _Problem:
    if secret.kind == "client" and secret.notice_days:
        return f"notice_days = {secret.notice_days} in a client secret", "notice_days in CA secrets only"
    return None


def _only_a_ca_issues(secret: ManagedSecret, _: IssuerReferences) -> _Problem:
    if secret.kind == "client" and secret.may_issue is not None:
        return "may_issue in a client secret", "may_issue in CA secrets only"
    return None


_COHERENCE = (
    _only_a_ca_issues,
    _the_issuer_signs_for_the_kind,
    _a_ca_has_no_names_of_a_client,
    _the_issuer_is_told_what_the_kind_needs,
    _only_a_ca_gives_notice,
)
