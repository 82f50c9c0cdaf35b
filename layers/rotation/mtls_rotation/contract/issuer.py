"""What a secret says of its issuer, as far as the reader of a secret must know it. Each issuer has one of its own."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PlainValidator, SerializeAsAny, ValidationInfo
from pydantic_core import PydanticKnownError

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
    """

    signs: ClassVar[frozenset[SecretKind]] = frozenset({"client"})
    trusted_by_default: ClassVar[bool] = True

    type: str

    def misfit(self, kind: SecretKind) -> tuple[str, str] | None:
        """What members are wrong in a secret of a kind that it signs for: what was found, and what was expected."""
        return None


type IssuerReferences = Mapping[str, type[IssuerReference]]


def _reference(value: Any, info: ValidationInfo) -> IssuerReference:
    """The reference, read by the issuer that its `type` names. The validation's context holds them all."""
    if isinstance(value, IssuerReference):
        return value
    references: IssuerReferences = info.context or {}
    if not isinstance(value, dict):
        raise PydanticKnownError("model_attributes_type")
    if "type" not in value:
        raise PydanticKnownError("union_tag_not_found", {"discriminator": "'type'"})
    tag = value["type"]
    reference = references.get(tag) if isinstance(tag, str) else None
    if reference is None:
        expected = ", ".join(map(repr, references))
        raise PydanticKnownError(
            "union_tag_invalid", {"discriminator": "'type'", "tag": str(tag), "expected_tags": expected}
        )
    return reference.model_validate(value)


# As it stands in a secret: read and written with the members of the issuer that it names.
AnyIssuerReference = Annotated[SerializeAsAny[IssuerReference], PlainValidator(_reference)]
