"""Checks of secrets and their rotation."""

from __future__ import annotations

import re
from shlex import quote
from typing import TYPE_CHECKING

from mtlsctl.findings import DoctorCheck, DoctorContext, attention
from mtlsctl.findings.history import judged
from mtlsctl.findings.survey import (
    about_secret,
    attention_before_end,
    certificate,
    deletion,
    distrusted,
    is_stuck,
    overdue,
    unsigned,
    unsynced,
)
from mtlsctl.report import PastFinding
from mtlsctl.show import moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mtlsctl.report import Finding

# Of an error of ours, as its text begins.
_CODE = re.compile(r"MTLS-\d{3}")

SURVEY = (
    "secretsmanager:ListSecrets",
    "secretsmanager:DescribeSecret",
    "secretsmanager:ListSecretVersionIds",
    "s3:ListBucket",
    "s3:ListBucketVersions",
    "s3:GetObject",
    "s3:GetObjectVersion",
    "apigateway:GET",
)


def _rotation_is_on(context: DoctorContext) -> Iterator[Finding]:
    function = context.deployment.outputs["RotateFunction"]
    for secret in context.survey.secrets:
        if secret.deleted:
            continue
        command = (
            f"aws secretsmanager rotate-secret --secret-id {secret.name} --rotation-lambda-arn {function} "
            f"--rotation-rules ScheduleExpression='{secret.schedule or 'rate(10 days)'}' --no-rotate-immediately"
        )
        if not secret.rotation_enabled:
            yield attention(secret.name, "its rotation is switched off", command, "MTLS-105")
        elif secret.function != function:
            yield attention(secret.name, f"it is rotated by {secret.function or 'nothing'}", command)


def _none_is_stuck(context: DoctorContext) -> Iterator[Finding]:
    for secret in context.survey.secrets:
        if secret.unsigned:
            continue  # it waits for an external CA's signature: to begin afresh would not help
        if is_stuck(secret, context.survey):
            pending = next(version for version, labels in secret.stages.items() if "AWSPENDING" in labels)
            yield attention(
                secret.name,
                f"its version {pending} has been at AWSPENDING since {moment(secret.pending_since)}",
                f"mtlsctl rotate {secret.name} --wait  # shows what it fails at; to begin afresh: aws secretsmanager "
                f"update-secret-version-stage --secret-id {secret.name} --version-stage AWSPENDING "
                f"--remove-from-version-id {quote(pending)}",
                "A rotation is stuck",
            )


def _none_waits_in_vain(context: DoctorContext) -> Iterator[Finding]:
    for secret in context.survey.secrets:
        yield from about_secret(secret, context.survey, (unsynced,))


def _certificates_last(context: DoctorContext) -> Iterator[Finding]:
    for secret in context.survey.secrets:
        yield from about_secret(secret, context.survey, (deletion, certificate, unsigned, overdue, distrusted))


def _schedules_fit(context: DoctorContext) -> Iterator[Finding]:
    for secret in context.survey.secrets:
        if secret.current is None or secret.next_rotation is None:
            continue
        certificate = secret.current.certificate
        if secret.next_rotation > certificate.not_valid_after_utc - attention_before_end(certificate):
            yield attention(
                secret.name,
                f"it is rotated next on {moment(secret.next_rotation)}, and its certificate ends on "
                f"{moment(certificate.not_valid_after_utc)}",
                "Rotate it more often, or ask for more days: the validity should be three times the interval.",
            )


def _cas_are_tagged(context: DoctorContext) -> Iterator[Finding]:
    for secret in context.survey.secrets:
        if secret.kind == "ca" and not secret.tagged_as_ca:
            yield attention(
                secret.name,
                "it holds a CA and lacks the tag mtls-rotation:kind=ca, so no CRL can be signed for it",
                f"aws secretsmanager tag-resource --secret-id {secret.name} --tags Key=mtls-rotation:kind,Value=ca",
                "Revocation fails",
            )


def _no_step_fails(context: DoctorContext) -> Iterator[Finding | PastFinding]:
    """Of each step by itself: one that fails now is not hidden by another that failed before."""
    failures = context.failures.get("RotateFunction", [])
    for episode in judged((("", it) for it in failures), context.record.since):
        last = episode.last
        said = f"{last.step or 'a step'} failed: {(last.text.strip().splitlines() or ['?'])[-1]}"
        name = context.record.name(last.secret) if last.secret else "RotateFunction"
        if success := episode.success:
            yield PastFinding(subject=name, what=said, at=last.at, mended=success.what, mended_at=success.at)
            continue
        code = _CODE.search(said)
        explained = f"; mtlsctl explain {code[0]}" if code else ""
        yield attention(
            name,
            said,
            f"mtlsctl rotate {name if last.secret else 'client'} --wait  # shows what it fails at{explained}",
            "A rotation failed",
        )


CHECKS = (
    DoctorCheck("rotation is switched on, by the stack's function", SURVEY, _rotation_is_on),
    DoctorCheck("no rotation is stuck", SURVEY, _none_is_stuck),
    DoctorCheck("no rotation waits for a sync that does not come", SURVEY, _none_waits_in_vain),
    DoctorCheck("no rotation fails", (*SURVEY, "logs:FilterLogEvents"), _no_step_fails),
    DoctorCheck("every certificate is there and lasts", SURVEY, _certificates_last),
    DoctorCheck("every certificate outlives its next rotation", SURVEY, _schedules_fit),
    DoctorCheck("every CA is tagged as one", SURVEY, _cas_are_tagged),
)
