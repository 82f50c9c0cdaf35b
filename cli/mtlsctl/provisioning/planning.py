"""Whether a secret can be made as it is asked for. Everything is found out before anything is made."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from mtls_rotation.contract.issuance import Issuance, Secret, parse_rules
from mtls_rotation.contract.tags import KIND_TAG, PROXY_TAG, STACK_TAG
from mtls_rotation.errors import InvalidSecretError, UnusableIssuerError
from mtls_rotation.gateway.live_document import plain
from mtls_rotation.issuers import registry
from mtls_rotation.issuers.api import Order
from mtls_rotation.issuers.ca_secret import require_within
from mtls_rotation.pki.profile import BACKDATE
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.rotation.admission import Admission, require_listed
from mtls_rotation.rotation.value import parse_value
from mtls_rotation.timing import Deadline, utc_now
from mtlsctl.errors import InvalidInputError, NameTakenError
from mtlsctl.files import documents
from mtlsctl.provisioning import schedule
from mtlsctl.stack import authorities

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography import x509

    from mtls_rotation.contract.secret import ManagedSecret
    from mtlsctl.provisioning.options import Document, Kind
    from mtlsctl.stack.deployment import Deployment

_NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
# A name that ends like an ARN is taken for one: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html
_LIKE_AN_ARN = re.compile(r".*-[A-Za-z0-9]{6}")
# The parameter of the template for the stack's own client → the option that says the same of another.
_OPTIONS = {"CaSecret": "ca_secret", "PrivateCaArn": "private_ca_arn"}


@dataclass(frozen=True, slots=True)
class Plan:
    """A secret that can be made.

    Attributes:
        definition: the part of its value that an operator would write.
        key_id: the KMS key that encrypts it; None for the AWS managed one.
        notes: what an operator should know of it.
    """

    name: str
    definition: Document
    secret: ManagedSecret
    tags: Mapping[str, str]
    schedule: str
    description: str
    key_id: str | None = None
    notes: tuple[str, ...] = field(default=())


class Planner:
    """Looks at a deployment for what a new secret of its needs."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    @property
    def parameters(self) -> Mapping[str, str]:
        """The stack's parameters."""
        return self._deployment.parameters

    def issuer(self, options: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> Document:
        """The `issuer` of a client secret: by options, else a file's, else as the stack's own client has it."""
        before = dict(before or {})
        kind = str(options.get("issuer") or before.get("type") or self.parameters["ClientIssuer"])
        made: Document = {"type": kind} | (before if before.get("type") == kind else {})
        parameters = _parameters_of(kind)
        for member, parameter in parameters.items():
            option = _OPTIONS.get(parameter, "")
            made[member] = options.get(option) or made.get(member) or self._own(parameter)
        _require_fitting(kind, parameters, options)
        if path := options.get("ca_certificates"):
            made["ca_certificates"] = documents.certificates(str(path), "--ca-certificates")
        return made

    def ca_issuer(self, option: str | None, before: Document | None) -> Document:
        """The `issuer` of a CA secret: by the option, else a file's, else as the stack's own CA keeps its key."""
        if option is None and before:
            return before
        return {"type": str(option or registry.kind(self.parameters["ClientIssuer"]).ca_issuer)}

    def plan(self, kind: Kind, name: str, definition: Document, options: Mapping[str, Any], *, proxy: bool) -> Plan:
        """See whether a secret can be made.

        Raises:
            MtlsRotationError: it cannot; the message says why. Nothing was made.
        """
        name = full_name(name, self._deployment.name)
        rotates = options.get("schedule") or self.parameters[f"{kind.capitalize()}RotationSchedule"]
        secret = _parsed(definition, name)
        schedule.require_usable(rotates, secret.request.validity)
        require_enabled(secret, self.parameters)
        require_permitted(secret, name, self._deployment.name, self.parameters, self._deployment.outputs)
        self._require_free(name)
        definition, notes = self._with_authority(secret, definition, name)
        notes += alarming(kind, secret.request.validity, rotates, self.parameters)
        return Plan(
            name=name,
            definition=definition,
            secret=_parsed(definition, name),
            tags=self._tags(kind, proxy=proxy),
            schedule=rotates,
            description=options.get("description") or _DESCRIPTIONS[kind],
            key_id=self._deployment.resources["Key"] if self.parameters.get("EncryptionKey") == "customer" else None,
            notes=notes,
        )

    def _own(self, parameter: str) -> str:
        """What the stack's own client has there."""
        if parameter != "CaSecret":
            return self.parameters.get(parameter, "")
        if arn := self._deployment.outputs.get("CaSecret"):
            return arn
        raise InvalidInputError(
            where="--ca-secret",
            found="none, and a stack without a CA of its own",
            expected="the CA secret to issue from",
            remedy="Make one with `mtlsctl create ca`, and name it; nothing was made.",
        )

    def _tags(self, kind: Kind, *, proxy: bool) -> Mapping[str, str]:
        tags = dict(self._deployment.tags) | {STACK_TAG: self._deployment.name}
        if kind == "ca":
            tags[KIND_TAG] = "ca"
        return tags | ({PROXY_TAG: "allowed"} if proxy else {})

    def _require_free(self, name: str) -> None:
        try:
            answer = self._deployment.session.client("secretsmanager").describe_secret(SecretId=name)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            return
        raise name_taken(name, deleted="DeletedDate" in answer)

    def _with_authority(
        self, secret: ManagedSecret, definition: Document, name: str
    ) -> tuple[Document, tuple[str, ...]]:
        """The definition with its CA secret by ARN, once that was found fit to issue."""
        reference = getattr(secret.issuer, "ca_secret", None)
        if secret.kind == "ca" or reference is None:
            return definition, ()
        description = self._deployment.secret(reference)
        if description.arn == self._deployment.outputs.get("CaSecret"):
            _require_own_kind(secret, self.parameters["ClientIssuer"])
        ca = authorities.issuing(self._deployment.services.bucket, description, utc_now())
        if ca is None and description.tags.get(KIND_TAG) != "ca":
            raise InvalidInputError(
                where="--ca-secret",
                found=f"{description.name}, which is no CA's secret",
                expected="a secret of the stack that holds a CA",
                remedy="`mtlsctl status` marks those with (CA); `mtlsctl create ca` makes one. Nothing was made.",
            )
        if ca is None:
            raise UnusableIssuerError(
                where=f"CA secret {description.name}",
                found="no CA certificate that was filed for it",
                expected="a CA secret that has been rotated once, so that its CA is made",
                remedy=f"Rotate it with `mtlsctl rotate {description.name} --wait`; nothing was made.",
            )
        notes = _see_that_it_lasts(secret, ca, description.arn, name)
        return definition | {"issuer": definition["issuer"] | {"ca_secret": description.arn}}, notes


# The options that are not called as what they set.
_FLAGS = {
    "dns_names": "--dns-name",
    "uris": "--uri",
    "emails": "--email",
    "ip_addresses": "--ip-address",
    "extended_key_usages": "--extended-key-usage",
    "url": "--prove-at",
    "type": "--issuer",
}


def _parsed(definition: Document, name: str) -> ManagedSecret:
    """The secret that is to be made.

    Raises:
        InvalidSecretError: none can be made of this. It names the option: there is no secret yet to correct.
    """
    try:
        return parse_value(json.dumps(definition), f"secret {name}")
    except InvalidSecretError as error:
        raise InvalidSecretError(
            where=error.where, found=error.found, expected=error.expected, remedy=_correction(error.remedy)
        ) from None


def _correction(remedy: str) -> str:
    path = found[1] if (found := re.match(r"Correct (\S+) in the secret's value", remedy)) else ""
    _, _, member = path.partition(".")
    member = member.partition(".")[0] or path
    if not re.fullmatch("[a-z_]+", member):
        return "Correct what was given; nothing was made."
    flag = _FLAGS.get(member, f"--{member.replace('_', '-')}")
    return f"Correct {flag}, or {path} in the file of --from; nothing was made."


_DESCRIPTIONS = {
    "client": "A client certificate with its private key.",
    "ca": "A certificate authority that signs client certificates, with its private key.",
}


def full_name(name: str, stack: str) -> str:
    """The name of a secret of the stack: the stack's own stands in front.

    Raises:
        InvalidInputError: Secrets Manager takes no such name, or would take it for an ARN.
    """
    full = name if name.startswith(f"{stack}/") else f"{stack}/{name}"
    if name and _NAME.fullmatch(full) and not full.endswith("/") and not _LIKE_AN_ARN.fullmatch(full):
        return full
    raise InvalidInputError(
        where="NAME",
        found=repr(name),
        expected="letters, digits and /_+=.@-, not ending in a hyphen and six characters, as ARNs do",
        remedy="Choose another name; nothing was made.",
    )


def name_taken(name: str, *, deleted: bool) -> NameTakenError:
    """The error for a name that is in use, or was until lately."""
    if deleted:
        return NameTakenError(
            where=f"secret {name}",
            found="a secret of that name in its recovery window",
            expected="a name that is free",
            remedy=f"Bring it back with `aws secretsmanager restore-secret --secret-id {name}`, or free the name for"
            f" good with `aws secretsmanager delete-secret --secret-id {name} --force-delete-without-recovery`.",
        )
    return NameTakenError(
        where=f"secret {name}",
        found="a secret of that name",
        expected="a name that is free",
        remedy="Choose another name. To change what the certificate says, edit `request` in the secret.",
    )


def require_enabled(secret: ManagedSecret, parameters: Mapping[str, str]) -> None:
    """See that the stack's functions may do what a secret asks for. Pure.

    Raises:
        InvalidInputError: a parameter of the template must be set first.
        SelfSignedClientError: the stack's gateway is not known to let in what the issuer makes.
    """
    enabling = registry.kind(secret.issuer.type).enabling(secret.issuer)
    if enabling and not any(parameters.get(name) == value for name, value in enabling.settings):
        raise _not_enabled(enabling.what, "=".join(enabling.settings[-1]))
    gateways = any(parameters.get(name) for name in ("DomainName", "FurtherDomains"))
    Admission(gateways, parameters.get("SelfSignedClients") == "accepted").require(secret, "the new secret")


def require_permitted(
    secret: ManagedSecret, name: str, stack: str, parameters: Mapping[str, str], outputs: Mapping[str, str]
) -> None:
    """See that a new secret may ask for what it does, as far as the stack's parameters tell. Pure.

    A CA secret of an operator's own may say more, which only the rotate function reads.

    Raises:
        UnentitledRequestError: its CA may not issue it that.
        UnlistedAuthorityError: the truststore would have to hold its anchor, and nobody listed it.
    """
    issuance = Issuance(
        stack,
        reserved=parameters.get("ClientCommonName", ""),
        trusted=tuple(filter(None, map(str.strip, parameters.get("TrustedSecrets", "").split(",")))),
    )
    new = Secret(name, "")
    require_listed(issuance, secret, new)
    ca_secret = getattr(secret.issuer, "ca_secret", None)
    if secret.kind == "client" and ca_secret in {outputs.get("CaSecret"), f"{stack}/ca"} - {None}:
        where, text = "the template's parameter MayIssue", parameters.get("MayIssue", "")
        rules = parse_rules(plain(text, where), where) if text else ()
        ca = CertificateRequest(common_name="CA", organization=parameters.get("CaOrganization") or None)
        issuance.require_entitled(new, secret.request, ca, rules)
    elif secret.issuer.type == "acm-pca":
        issuance.require_entitled(new, secret.request)


def alarming(kind: Kind, validity: timedelta, schedule_: str, parameters: Mapping[str, str]) -> tuple[str, ...]:
    """What to know where the stack's alarm would ring before each rotation, though nothing is wrong. Pure."""
    name = f"{kind.capitalize()}AlarmDays"
    every, threshold = schedule.interval(schedule_), timedelta(days=float(parameters.get(name) or 0))
    if every is None or validity - every >= threshold:
        return ()
    left = (validity - every) / timedelta(days=1)
    rings = f"{kind.capitalize()}ExpiryAlarm will ring before each rotation: {left:.2g} days are left then."
    return (f"{rings} Rotate more often, or deploy the stack with a {name} below that.",)


def _not_enabled(what: str, parameter: str) -> InvalidInputError:
    return InvalidInputError(
        where="the stack's parameters",
        found=f"no {parameter}",
        expected=f"the parameter that lets the rotate function serve {what}",
        remedy=f"Deploy the stack with {parameter} first; nothing was made.",
    )


def _parameters_of(kind: str) -> Mapping[str, str]:
    """What an issuer is told, by the template's parameter that says it; nothing where a file names none that exists."""
    return registry.kind(kind).parameters if kind in registry.MODULES else {}


def _require_fitting(kind: str, parameters: Mapping[str, str], options: Mapping[str, Any]) -> None:
    for parameter, option in _OPTIONS.items():
        if options.get(option) and parameter not in parameters.values():
            raise InvalidInputError(
                where=f"--{option.replace('_', '-')}",
                found=f'it beside the issuer "{kind}", which has no use for it',
                expected="an issuer that it belongs to",
                remedy="Leave it out, or choose another --issuer; nothing was made.",
            )
    reference = registry.kind(kind).reference if kind in registry.MODULES else None
    if options.get("ca_certificates") and reference and "ca_certificates" not in reference.model_fields:
        raise InvalidInputError(
            where="--ca-certificates",
            found=f'it beside the issuer "{kind}", which has no use for it',
            expected="an issuer that it belongs to",
            remedy="Leave it out, or choose another --issuer; nothing was made.",
        )


def _require_own_kind(secret: ManagedSecret, own: str) -> None:
    """See that the stack's own CA is asked for by the issuer that it has its key with."""
    if secret.issuer.type != own:
        raise InvalidInputError(
            where="issuer.type",
            found=f'"{secret.issuer.type}" with the stack\'s own CA, whose key the issuer "{own}" signs with',
            expected=f'"{own}", or another CA',
            remedy="Leave --issuer out, or name a CA of your own with --ca-secret; nothing was made.",
        )


def _see_that_it_lasts(secret: ManagedSecret, ca: x509.Certificate, ca_arn: str, name: str) -> tuple[str, ...]:
    """See that the CA outlives the certificate, or that its successor will."""
    now, validity = utc_now(), secret.request.validity
    lifetime = ca.not_valid_after_utc - ca.not_valid_before_utc - BACKDATE
    # A CA that ends too soon is rotated first, if that helps: see `rotation.ca_renewal`.
    if now + validity > ca.not_valid_after_utc and validity <= lifetime:
        return (f"The CA ends on {ca.not_valid_after_utc:%Y-%m-%d}, before the certificate: it is rotated first.",)
    require_within(Order(secret, ca_arn, name, "", now, Deadline.within(0)), ca, "rotate the CA first.")
    return ()
