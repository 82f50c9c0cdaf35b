"""What a secret says of its issuer, as far as the reader of a secret must know it. Each issuer has one of its own."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationError

from mtls_rotation.contract.explain import Problem
from mtls_rotation.pki.request import Strict

type SecretKind = Literal["client", "ca"]

SecretReference = Annotated[str, Field(min_length=1, max_length=2048)]


def _pem(text: str) -> str:
    _, begin, rest = text.partition("-----BEGIN CERTIFICATE-----")
    if not begin or rest.find("-----END CERTIFICATE-----") < 1:
        raise ValueError("the PEM of one CA certificate or more")
    return text


CaCertificates = Annotated[str, AfterValidator(_pem)]


class IssuerReference(Strict):
    """Which issuer signs, and what it is told. Each issuer derives one, whose `type` is a literal of its own.

    Attributes:
        signs: the kinds of secrets that it signs for.
        trusted_by_default: whether the stack's truststore is to hold its anchors where a secret does not say.
        self_signed: whether a certificate by it has signed itself, and is its own anchor.
        in_kms: whether a KMS key signs that a secret names.
    """

    signs: ClassVar[frozenset[SecretKind]] = frozenset({"client"})
    trusted_by_default: ClassVar[bool] = True
    self_signed: ClassVar[bool] = False
    in_kms: ClassVar[bool] = False

    type: str

    def misfit(self, kind: SecretKind, *, trusted: bool) -> tuple[str, str] | None:
        """What members are wrong in a secret of a kind that it signs for: what was found, and what was expected.

        Args:
            kind: the secret's.
            trusted: whether the stack's truststore is to hold the anchors of what it signs.
        """
        return None


type IssuerReferences = Mapping[str, type[IssuerReference]]


def parse_issuer(value: object, issuers: IssuerReferences) -> IssuerReference | Problem:
    """A secret's `issuer`, read by the one that its `type` names; else what is wrong with it.

    Raises nothing: an exception would hold what was written there, which may be a private key in the wrong place.
    """
    if not isinstance(value, dict):
        return Problem("model_type", ("issuer",), value, _NO_OBJECT, {})
    if "type" not in value:
        return Problem("union_tag_not_found", ("issuer",), value, "", {})
    tag = value["type"]
    if not isinstance(tag, str) or tag not in issuers:
        expected = ", ".join(map(repr, issuers))
        return Problem("union_tag_invalid", ("issuer",), value, "", {"tag": str(tag), "expected_tags": expected})
    try:
        return issuers[tag].model_validate(value)
    except ValidationError as error:
        return Problem.first_of(error, "issuer")


_NO_OBJECT = "Input should be a valid dictionary or object to extract fields from"
