"""`mtlsctl create`: a further client secret or CA secret, with its rotation."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Annotated, Any, override

import typer
from rich.json import JSON
from rich.text import Text

from mtlsctl.commands.rotate import DEFAULT_TIMEOUT, RotationReport, Timeout, Wait, followed
from mtlsctl.exit_status import ExitStatus
from mtlsctl.files import documents
from mtlsctl.frame.command import CommandContext
from mtlsctl.provisioning.options import (
    AlternativeNames,
    CaKey,
    Kind,
    Proof,
    Signing,
    Subject,
    Upkeep,
    endpoint_of,
    given,
    request_of,
    require_kind,
    require_no_certificate,
)
from mtlsctl.provisioning.planning import Plan, Planner
from mtlsctl.provisioning.secret import make
from mtlsctl.report import Report
from mtlsctl.show import line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="The secret's name, below the stack's own.", show_default=False)
]
From = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="FILE",
        help="JSON or YAML of the secret's shape (request, issuer, endpoint, ...). Options change what it says.",
        show_default=False,
    ),
]
Proxy = Annotated[
    bool, typer.Option("--proxy", help="Let the stack's proxy present the certificate.", rich_help_panel="The secret")
]


class CreationReport(Report):
    """A secret that was made, or would be.

    Attributes:
        arn: null in a dry run.
        made: false in a dry run.
        definition: the part of its value that an operator would write.
        encryption_key: the KMS key; null for the one that AWS manages.
        notes: what to know of it.
        rotation: its first rotation; null in a dry run.
    """

    secret: str
    arn: str | None
    made: bool
    definition: dict[str, Any]
    tags: dict[str, str]
    schedule: str
    rotation_function: str
    encryption_key: str | None
    notes: list[str]
    rotation: RotationReport | None

    @property
    @override
    def exit_status(self) -> ExitStatus:
        return self.rotation.exit_status if self.rotation else ExitStatus.OK

    @override
    def render(self) -> Iterable[RenderableType]:
        if self.made:
            yield line((f"✓ {self.secret} is made.", "bold green"))
        else:
            yield line((f"{self.secret} would be made; nothing was.", "bold"))
        yield from plan_lines(self.tags, self.schedule, self.rotation_function, self.encryption_key)
        yield JSON.from_data(self.definition).text
        yield from map(Text, self.notes)
        if self.rotation:
            yield from self.rotation.render()


def plan_lines(
    tags: dict[str, str], schedule: str, rotation_function: str, encryption_key: str | None
) -> Iterable[RenderableType]:
    """What a secret is, beside its value."""
    facts = {
        "tags": ", ".join(f"{name} = {value}" for name, value in tags.items()),
        "rotated": f"{schedule}, by {rotation_function}",
        "encrypted with": encryption_key or "the key that AWS manages",
    }
    for name, value in facts.items():
        yield line((f"  {name}: ", "dim"), (value, ""))


def client(
    context: CommandContext,
    name: Name,
    subject: Subject,
    alternatives: AlternativeNames,
    signing: Signing,
    proof: Proof,
    upkeep: Upkeep,
    from_file: From = None,
    proxy: Proxy = False,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> CreationReport:
    """Make a client secret: its first certificate is made at once, and renewed by a schedule.

    All is checked before anything is made.

    Exit status: 0 it is made (with --wait: and has its certificate), 1 its first rotation failed or waits for a
    signature, 2 it could not be made, or the rotation had not ended in time.
    """
    with context.doing("checking"):
        planner = Planner(context.deployment)
        document = _document(from_file, "client")
        options = given(subject) | given(alternatives)
        validity = int(planner.parameters["ClientValidityDays"])
        definition = document | {
            "request": request_of(name, options, document.get("request"), validity),
            "issuer": planner.issuer(given(signing), document.get("issuer")),
        }
        if endpoint := endpoint_of(proof, document.get("endpoint")):
            definition["endpoint"] = endpoint
        if signing.trusted_by_gateway is not None:
            definition["trusted_by_gateway"] = signing.trusted_by_gateway
        plan = planner.plan("client", name, definition, given(upkeep), proxy=proxy)
    return _carry_out(context, plan, dry_run=upkeep.dry_run, wait=wait, timeout=timeout)


def ca(
    context: CommandContext,
    name: Name,
    subject: Subject,
    proof: Proof,
    upkeep: Upkeep,
    from_file: From = None,
    issuer: Annotated[
        CaKey | None, typer.Option(help="Where its key is: self-signed, in the secret; or kms.", show_default=False)
    ] = None,
    notice_days: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            help="Days that a new CA is trusted before anything is issued from it.",
            show_default=False,
        ),
    ] = None,
    wait: Wait = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> CreationReport:
    """Make a CA secret, to issue client certificates from: the CA is made at once, and renewed by a schedule.

    All is checked before anything is made.

    Exit status: as for a client.
    """
    with context.doing("checking"):
        planner = Planner(context.deployment)
        document = _document(from_file, "ca")
        definition = document | {
            "kind": "ca",
            "request": request_of(
                name, given(subject), document.get("request"), int(planner.parameters["CaValidityDays"])
            ),
            "issuer": planner.ca_issuer(issuer, document.get("issuer")),
        }
        if endpoint := endpoint_of(proof, document.get("endpoint")):
            definition["endpoint"] = endpoint
        if notice_days is not None:
            definition["notice_days"] = notice_days
        plan = planner.plan("ca", name, definition, given(upkeep), proxy=False)
    return _carry_out(context, plan, dry_run=upkeep.dry_run, wait=wait, timeout=timeout)


def _document(path: str | None, kind: Kind) -> dict[str, Any]:
    """What the file of --from says, if one is named."""
    if path is None:
        return {}
    document = documents.definition(path)
    require_no_certificate(document)
    require_kind(document, kind)
    return document


def _carry_out(context: CommandContext, plan: Plan, *, dry_run: bool, wait: bool, timeout: float) -> CreationReport:
    function = context.deployment.outputs["RotateFunction"]
    started = None
    if not dry_run:
        with context.doing("making"):
            value = plan.secret.render()
            started = make(context.deployment, plan, value, str(uuid.uuid4()), immediately=True, function=function)
    return CreationReport(
        secret=plan.name,
        arn=started.arn if started else None,
        made=started is not None,
        definition=plan.definition,
        tags=dict(plan.tags),
        schedule=plan.schedule,
        rotation_function=function,
        encryption_key=plan.key_id,
        notes=list(plan.notes),
        rotation=followed(context, started, wait=wait, timeout=timeout) if started else None,
    )
