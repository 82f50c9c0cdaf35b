"""`mtlsctl import client`: a certificate with its key that a team has already becomes a managed secret."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, override

import typer
from rich.json import JSON
from rich.text import Text

from mtls_rotation.contract import layout
from mtls_rotation.contract.events import TRUSTSTORE_SYNC_REQUESTED
from mtls_rotation.issuers import registry
from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import fingerprint, short_subject
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.rotation.filing import file_certificate, with_certificate
from mtls_rotation.timing import utc_now
from mtlsctl.commands.create import Name, Proxy, plan_lines
from mtlsctl.commands.importing.imported import Imported, described
from mtlsctl.commands.rotate import DEFAULT_TIMEOUT, RotationReport, Timeout, Wait, followed
from mtlsctl.errors import InvalidInputError
from mtlsctl.exit_status import ExitStatus
from mtlsctl.files import documents
from mtlsctl.frame.asking import passphrase_of
from mtlsctl.frame.command import CommandContext
from mtlsctl.frame.waiting import await_end
from mtlsctl.provisioning import derived_request, identity, schedule
from mtlsctl.provisioning.options import (
    AlternativeNames,
    Proof,
    Signing,
    Subject,
    Upkeep,
    endpoint_of,
    given,
    request_of,
)
from mtlsctl.provisioning.planning import Plan, Planner
from mtlsctl.provisioning.secret import make, undone_on_failure
from mtlsctl.report import Report
from mtlsctl.show import line, moment
from mtlsctl.stack import authorities
from mtlsctl.stack.targets import look_at

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from mtls_rotation.pki.certificates import CertifiedKey
    from mtlsctl.following.rotation import Started
    from mtlsctl.stack.deployment import Deployment

_SOURCE = "Where it is"


def _file(text: str) -> Any:
    return typer.Option(help=text, metavar="FILE", rich_help_panel=_SOURCE, show_default=False)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a certificate and its key are: in files of their own, in one file, or in a secret."""

    certificate: Annotated[str | None, _file("PEM of the certificate; CAs may follow it.")] = None
    private_key: Annotated[str | None, _file("PEM of its private key; - for standard input.")] = None
    chain: Annotated[str | None, _file("PEM of the CAs above it, in any order.")] = None
    from_file: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="All in one file, or - for standard input: JSON, YAML (a Kubernetes secret, say) or PEM.",
            rich_help_panel=_SOURCE,
            show_default=False,
        ),
    ] = None
    from_secret: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="All in another secret of Secrets Manager, such as one of AWS's sample rotation for ACM.",
            rich_help_panel=_SOURCE,
            show_default=False,
        ),
    ] = None


class ImportReport(Report):
    """A certificate that was taken in, or would be.

    Attributes:
        arn: null in a dry run.
        made: false in a dry run.
        definition: what the next certificate is made from.
        lost: what the next certificate will not have.
        trusted_by: domain → true: it runs a truststore with the CAs above the certificate, without which nothing is
            made; empty where that is not wanted, and in a dry run.
        rotation: null unless it was rotated at once.
    """

    secret: str
    arn: str | None
    made: bool
    certificate: Imported
    definition: dict[str, Any]
    lost: list[str]
    tags: dict[str, str]
    schedule: str
    rotation_function: str
    encryption_key: str | None
    notes: list[str]
    trusted_by: dict[str, bool]
    rotation: RotationReport | None

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return self.rotation.exit_status if self.rotation else ExitStatus.OK

    @override
    def render(self) -> Iterable[RenderableType]:
        it = self.certificate
        if self.made:
            yield line((f"✓ {self.secret} holds {it.subject}.", "bold green"))
        else:
            yield line((f"{self.secret} would be made, with {it.subject}; nothing was.", "bold"))
        yield from it.lines()
        yield from plan_lines(self.tags, self.schedule, self.rotation_function, self.encryption_key)
        yield line(("The next certificate is made from:", ""))
        yield JSON.from_data(self.definition).text
        yield from (line((f"It will not have: {name}", "yellow")) for name in self.lost)
        yield from map(Text, self.notes)
        yield from (line((f"✓ {domain} trusts it.", "")) for domain in self.trusted_by)
        if self.rotation:
            yield from self.rotation.render()
        elif self.made:
            yield line((f"It is rotated when the schedule says so, or now by: mtlsctl rotate {self.secret} --wait", ""))


def client(
    context: CommandContext,
    name: Name,
    source: Source,
    subject: Subject,
    alternatives: AlternativeNames,
    signing: Signing,
    proof: Proof,
    upkeep: Upkeep,
    proxy: Proxy = False,
    drop_unsupported: Annotated[
        bool,
        typer.Option("--drop-unsupported", help="Go on if the next certificate cannot have all that this one has."),
    ] = False,
    rotate_now: Annotated[
        bool, typer.Option("--rotate-now", help="Rotate it at once, and not first when the schedule says so.")
    ] = False,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> ImportReport:
    """Take in a client certificate that you have, with its key, and have it renewed from now on.

    It stays in use, and trusted, until its first rotation; that makes the like of it. Options say what is to be
    different. All is checked before anything is made.

    Exit status: 0 it is taken in (with --rotate-now --wait: and rotated), 1 that rotation failed or waits for a
    signature, 2 it could not be taken in, or not in time.
    """
    held, where = _identity(context, source)
    key = identity.private_key(held.key, lambda: passphrase_of(context, "private key"), where)
    with context.doing("checking"):
        deployment = context.deployment
        issued = identity.certified(held, key, _trusted(deployment), utc_now(), where)
        derived = derived_request.of(issued.certificate, (given(subject) | given(alternatives)).keys())
        if derived.lost and not drop_unsupported:
            raise _lossy(where, derived.lost)
        _require_usable(issued, where)
        plan = _plan(deployment, issued, derived, name, (subject, alternatives, signing, proof, upkeep), proxy=proxy)
        if not rotate_now:
            _require_time_to_rotate(plan, issued)
    rotation = None
    arn = None
    trusted_by: dict[str, bool] = {}
    if not upkeep.dry_run:
        started, trusted_by = _take_in(context, plan, issued, immediately=rotate_now, timeout=timeout)
        arn = started.arn
        rotation = followed(context, started, wait=wait, timeout=timeout) if rotate_now else None
    return ImportReport(
        secret=plan.name,
        arn=arn,
        made=arn is not None,
        certificate=described(issued),
        definition=plan.definition,
        lost=list(derived.lost),
        tags=dict(plan.tags),
        schedule=plan.schedule,
        rotation_function=deployment.outputs["RotateFunction"],
        encryption_key=plan.key_id,
        notes=list(plan.notes),
        trusted_by=trusted_by,
        rotation=rotation,
    )


def _identity(context: CommandContext, source: Source) -> tuple[identity.Identity, str]:
    """What was named, and what to call it."""
    apart = source.certificate or source.private_key or source.chain
    if sum(map(bool, (apart, source.from_file, source.from_secret))) != 1 or bool(source.certificate) != bool(
        source.private_key
    ):
        raise InvalidInputError(
            where="where the certificate is",
            found="none of the ways to say it, or several at once",
            expected="--certificate and --private-key; or --from; or --from-secret",
            remedy="Use one of the three; nothing was made.",
        )
    if source.from_file:
        return identity.read(documents.text(source.from_file, "--from"), "--from"), "--from"
    if source.from_secret:
        where = f"--from-secret {source.from_secret}"
        return identity.read(_value(context.deployment, source.from_secret), where), where
    texts = (
        documents.text(source.certificate or "", "--certificate"),
        documents.text(source.private_key or "", "--private-key"),
        documents.text(source.chain, "--chain") if source.chain else "",
    )
    return identity.together(*texts, "--certificate"), "--certificate"


def _value(deployment: Deployment, secret_id: str) -> str:
    version = deployment.services.versions.current(secret_id)
    if version is None:
        raise InvalidInputError(
            where="--from-secret",
            found=f"no secret {secret_id}, or none with a string for a value",
            expected="the name or ARN of a secret of this account and region",
            remedy="Check the name; nothing was made.",
        )
    return version.value


def _trusted(deployment: Deployment) -> Iterable[Any]:
    """The CAs in the truststore: a certificate below one of these needs no --chain."""
    stored = deployment.services.bucket.read(layout.TRUSTSTORE)
    return bundles.certificates(stored.body).values() if stored else ()


def _require_usable(issued: CertifiedKey, where: str) -> None:
    """See that servers take it as it is, however long it lives: how long the next one does is asked apart."""
    said = derived_request.of(issued.certificate, {"validity_days"}).request
    # Where nothing is said of a validity, 30 days are asked for, and what lives shorter is refused.
    named = CertificateRequest.model_validate({"common_name": "-", "validity_hours": 1} | said)
    if "common_name" not in said:
        named = named.model_copy(update={"common_name": None})
    identity.require_usable(issued, named, utc_now(), where)


def _plan(
    deployment: Deployment,
    issued: CertifiedKey,
    derived: derived_request.DerivedRequest,
    name: str,
    options: tuple[Subject, AlternativeNames, Signing, Proof, Upkeep],
    *,
    proxy: bool,
) -> Plan:
    subject, alternatives, signing, proof, upkeep = options
    planner = Planner(deployment)
    chosen = given(signing)
    before = None if chosen.keys() & {"issuer", "ca_secret", "private_ca_arn"} else _issuer_of(deployment, issued)
    definition: dict[str, Any] = {
        "request": request_of(name, given(subject) | given(alternatives), derived.request, None),
        "issuer": planner.issuer(chosen, before),
    }
    if endpoint := endpoint_of(proof):
        definition["endpoint"] = endpoint
    if signing.trusted_by_gateway is not None:
        definition["trusted_by_gateway"] = signing.trusted_by_gateway
    return planner.plan("client", name, definition, given(upkeep), proxy=proxy)


def _issuer_of(deployment: Deployment, issued: CertifiedKey) -> dict[str, Any]:
    """What signed the certificate, if it can be told."""
    if issued.anchor == issued.certificate:
        return {"type": "self-signed"}
    own = deployment.parameters["ClientIssuer"]
    ca_secret = authorities.secret_of(deployment.services.bucket, fingerprint(issued.anchor))
    if ca_secret and "ca_secret" in registry.kind(own).parameters:
        return {"type": own, "ca_secret": ca_secret}
    raise InvalidInputError(
        where="--issuer",
        found=f"none, and a certificate of {short_subject(issued.anchor)}, which is not a CA of this stack",
        expected="who is to sign the next one",
        remedy="Say --issuer secretsmanager (the stack's CA), or another that docs/issuers.md has; nothing was made.",
    )


def _lossy(where: str, lost: tuple[str, ...]) -> InvalidInputError:
    return InvalidInputError(
        where=where,
        found=f"what no request can ask for: {', '.join(lost)}",
        expected="a certificate that rotation can make the like of",
        remedy="If whoever checks the certificate does not need it, add --drop-unsupported; nothing was made.",
    )


def _require_time_to_rotate(plan: Plan, issued: CertifiedKey) -> None:
    """See that the certificate lives until its first rotation."""
    every = schedule.interval(plan.schedule)
    end = issued.certificate.not_valid_after_utc
    if every is not None and utc_now() + every >= end:
        raise InvalidInputError(
            where="--schedule",
            found=f"{plan.schedule}, and a certificate that ends on {moment(end)}",
            expected="a first rotation before that",
            remedy="Add --rotate-now, or rotate more often; nothing was made.",
        )


def _take_in(
    context: CommandContext, plan: Plan, issued: CertifiedKey, *, immediately: bool, timeout: float
) -> tuple[Started, dict[str, bool]]:
    """File the certificate, have the gateway trust it, and then make the secret: all of it, or nothing.

    The certificate is AWSCURRENT from its first moment, so it has to be trusted before.

    Returns:
        The secret's rotation, and by domain that it trusts the certificate.
    """
    version_id = str(uuid.uuid4())
    secret = with_certificate(plan.secret, issued, utc_now())
    deployment = context.deployment
    bucket = deployment.services.bucket

    def take_out() -> None:
        for prefix in (layout.ISSUED, layout.OUTSIDE):
            for entry in bucket.list(prefix):
                if f"/{version_id}." in entry.key:
                    bucket.delete(entry.key)

    by_hand = f"aws s3 rm s3://{bucket.name}/ --recursive --exclude '*' --include '*/{version_id}.*'"
    with undone_on_failure(take_out, by_hand):
        with context.doing("filing"):
            file_certificate(bucket, secret, plan.name, version_id)
        trusted_by = _trust(context, issued, plan.name, timeout) if plan.secret.gateway_trusts else {}
        with context.doing("making"):
            function = deployment.outputs["RotateFunction"]
            started = make(deployment, plan, secret.render(), version_id, immediately=immediately, function=function)
    return started, trusted_by


def _trust(context: CommandContext, issued: CertifiedKey, name: str, timeout: float) -> dict[str, bool]:
    """Have the gateway trust the certificate's CAs, and wait until it does. By domain, that it does.

    The sync counts what was filed lately as in use, whether there is a secret that holds it or not.

    Raises:
        StillUnderWayError: it did not within `timeout` seconds.
    """
    assembly, services = context.deployment.assembly, context.deployment.services
    anchors = frozenset(map(fingerprint, (*issued.chain, issued.anchor)))
    trusting: dict[str, bool] = {}

    def what_is_left() -> str:
        for target in (look_at(it, services.bucket) for it in assembly.targets):
            if target.exists:  # one that is not there lacks nothing
                trusting[target.name] = target.settled and anchors <= (target.anchors or {}).keys()
        return ", ".join(f"{domain} does not trust it yet" for domain, trusts in trusting.items() if not trusts)

    if what_is_left():
        services.bus.put(TRUSTSTORE_SYNC_REQUESTED, {"secret_name": name, "anchors": sorted(anchors)})
        with context.doing("waiting for the gateway to trust it"):
            await_end(
                context,
                what_is_left,
                timeout,
                where=f"secret {name}",
                expected="the gateway to run a truststore with the CAs above its certificate",
                remedy="See `mtlsctl truststore plan`, and import it again.",
                afterwards="No secret was made, and what was filed is taken away again.",
            )
    return trusting
