"""What is wrong with what a survey saw: rules of one thing each, which `status` and `doctor` both judge by. Pure.

A rule's docstring says what is so where it finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from shlex import quote
from typing import TYPE_CHECKING

from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING
from mtls_rotation.contract.layout import MANAGED_ANCHORS
from mtls_rotation.contract.places import unread
from mtls_rotation.contract.tags import STACK_TAG
from mtls_rotation.pki.certificates import fingerprint, short_subject
from mtls_rotation.truststore.distrust import Distrust
from mtls_rotation.truststore.expiry import lasts
from mtls_rotation.truststore.guards import Guard
from mtlsctl.findings import attention, unknown
from mtlsctl.findings.strays import about_strays
from mtlsctl.report import Finding, Model
from mtlsctl.show import moment
from mtlsctl.stack.survey import SecretState, Survey
from mtlsctl.stack.targets import NO_DOMAIN
from mtlsctl.stack.versions import bring_back, filed_of

if TYPE_CHECKING:
    from cryptography import x509

    from mtls_rotation.contract.places import Unread
    from mtls_rotation.truststore.plan import Plan
    from mtlsctl.stack.deletions import Deletion
    from mtlsctl.stack.targets import Target

# A certificate needs attention this long before its end, or in the last quarter of its life if that is shorter.
SOON = timedelta(days=7)
# A rotation that has been under way for longer is stuck: each of its four steps has a quarter of an hour at most.
STUCK = timedelta(hours=1)
# A sync takes seconds, and its queue tries again for minutes: what has not been published for longer will not be.
UNPUBLISHED = timedelta(minutes=15)
# What a rotation waits for comes sooner: a request to sync that is lost is made again after a quarter of an hour only.
AWAITED = timedelta(minutes=3)
# How late a scheduled rotation may be: Secrets Manager rotates within a window that may be a day long.
LATE = timedelta(days=1)

type SecretRule = Callable[[SecretState, Survey], Iterator[Finding]]


class Acceptance(Model):
    """Whether a domain accepts a certificate now.

    Attributes:
        reason: why it does not, or why that cannot be told; empty if it does.
    """

    domain: str
    accepted: bool | None
    reason: str


def acceptances(secret: SecretState, survey: Survey, *, previous: bool = False) -> Iterator[Acceptance]:
    """What each target makes of a secret's certificate, by verifying it against the truststore that the target runs.

    Args:
        secret: whose.
        survey: what there is.
        previous: that at AWSPREVIOUS in place of that at AWSCURRENT.
    """
    filed = secret.previous if previous else secret.current
    if filed is None or not filed.anchors:
        return
    certificate = filed.certificate
    for target in survey.targets:
        if target.anchors is None:
            yield Acceptance(domain=target.name, accepted=None, reason=target.problem)
        elif secret.kind == "ca":
            trusted = fingerprint(certificate) in target.anchors
            yield Acceptance(
                domain=target.name, accepted=trusted, reason="" if trusted else "it is not in the truststore"
            )
        else:
            reasons = target.servers(survey.now).refusals(certificate)
            yield Acceptance(domain=target.name, accepted=not reasons, reason="; ".join(reasons))


def deletion(secret: SecretState, _: Survey) -> Iterator[Finding]:
    """It stays."""
    yield attention(
        secret.name, "it is marked for deletion", f"aws secretsmanager restore-secret --secret-id {secret.name}"
    )


def certificate(secret: SecretState, survey: Survey) -> Iterator[Finding]:
    """There is one, and it lasts."""
    remedy = f"mtlsctl rotate {secret.name} --wait"
    if secret.current is None:
        if any(name == secret.name for name, _ in survey.preview.seen.unfiled) or secret.edited:
            return  # that is told by itself
        if secret.pending_since is None or is_stuck(secret, survey):
            yield attention(secret.name, "no certificate of its own is filed for AWSCURRENT", remedy)
        return
    left = secret.current.certificate.not_valid_after_utc - survey.now
    if left < timedelta(0):
        yield attention(secret.name, "its certificate has expired", remedy)
    elif left < attention_before_end(secret.current.certificate):
        yield attention(secret.name, f"its certificate ends in {left / timedelta(days=1):.1f} days", remedy)


def switched_off(secret: SecretState, _: Survey) -> Iterator[Finding]:
    """It is rotated."""
    if not secret.rotation_enabled:
        yield attention(secret.name, "its rotation is switched off", "mtlsctl doctor  # shows the command", "MTLS-105")


def unsigned(secret: SecretState, survey: Survey) -> Iterator[Finding]:
    """A rotation does not wait for an external CA's signature for long."""
    if is_stuck(secret, survey) and secret.unsigned:
        yield attention(
            secret.name,
            f"it has waited since {moment(secret.pending_since)} for a certificate that somebody else signs",
            f"mtlsctl import signed FILE --secret {secret.name} --wait  # hands it in; what is in use stays so",
            "MTLS-207",
        )


def stuck(secret: SecretState, survey: Survey) -> Iterator[Finding]:
    """A rotation comes to its end."""
    if is_stuck(secret, survey) and not secret.unsigned:
        yield attention(
            secret.name,
            f"a rotation has been under way since {moment(secret.pending_since)}",
            f"mtlsctl rotate {secret.name} --wait  # shows what it fails at",
            "A rotation is stuck",
        )


def unsynced(secret: SecretState, survey: Survey) -> Iterator[Finding]:
    """The sync that a rotation waits for comes."""
    if is_stuck(secret, survey) or not survey.targets or secret.pending_since is None:
        return
    pending = {it for it, labels in secret.stages.items() if AWSPENDING in labels and AWSCURRENT not in labels}
    awaited = {
        it.anchor
        for it in survey.preview.seen.issued
        if it.secret == secret.name and it.version_id in pending and it.anchor in survey.preview.plan.added
    }
    since = max(
        secret.pending_since,
        min((survey.unpublished_since.get(it, secret.pending_since) for it in awaited), default=survey.now),
    )
    if survey.now - since > AWAITED:
        yield attention(
            secret.name,
            f"its rotation has waited since {moment(since)} for a sync that does not come",
            "mtlsctl truststore sync --wait",
            "The truststore does not follow",
        )


def overdue(secret: SecretState, survey: Survey) -> Iterator[Finding]:
    """A rotation begins when it is due."""
    due = secret.next_rotation if secret.rotation_enabled and not is_stuck(secret, survey) else None
    if due and survey.now - due > LATE:
        yield attention(secret.name, f"its rotation was due on {moment(due)}", f"mtlsctl rotate {secret.name} --wait")


def acceptance(secret: SecretState, survey: Survey) -> Iterator[Finding]:
    """Every target accepts its certificate."""
    meant = _is_meant_to_be_refused(secret, survey)
    for verdict in acceptances(secret, survey):
        if verdict.accepted is False and not meant:
            yield attention(
                secret.name,
                f"{verdict.domain} does not accept it: {verdict.reason}",
                "mtlsctl truststore diff",
                "The truststore does not follow",
            )
        elif verdict.accepted is None:
            what = f"whether {verdict.domain} accepts it cannot be told: {verdict.reason}"
            yield unknown(secret.name, what, "mtlsctl doctor")
    yield from _previous_acceptance(secret, survey)


def _is_meant_to_be_refused(secret: SecretState, survey: Survey) -> bool:
    """Whether an operator distrusts what its certificate chains to, which is told by itself."""
    distrust = Distrust.among(survey.preview.seen)
    return secret.current is not None and any(map(distrust.object_against_named, _anchors(secret)))


def _anchors(secret: SecretState) -> frozenset[str]:
    """What its certificate in use chains to; of a CA, itself."""
    if secret.kind == "ca" and secret.current:
        return frozenset({fingerprint(secret.current.certificate)})
    return secret.current.anchors if secret.current else frozenset()


def _previous_acceptance(secret: SecretState, survey: Survey) -> Iterator[Finding]:
    """Clients that fetched it before the last rotation hold what is at AWSPREVIOUS yet."""
    if secret.kind == "ca" or secret.previous is None or secret.previous.certificate.not_valid_after_utc < survey.now:
        return
    distrust = Distrust.among(survey.preview.seen)
    if any(map(distrust.object_against_named, secret.previous.anchors)):
        return  # that is meant, and told by itself
    for verdict in acceptances(secret, survey, previous=True):
        if verdict.accepted is False:
            yield attention(
                secret.name,
                f"{verdict.domain} does not accept its certificate at AWSPREVIOUS: {verdict.reason}",
                "Have every client of it fetch the secret anew; mtlsctl truststore diff",
                "The truststore does not follow",
            )


def distrusted(secret: SecretState, survey: Survey) -> Iterator[Finding]:
    """No certificate in use, and none that is being made, chains to a CA that an operator distrusts."""
    seen = survey.preview.seen
    distrust, runbook = Distrust.among(seen), "The key of a CA was stolen"
    if against := next(filter(None, map(distrust.object_against_named, sorted(_anchors(secret)))), ""):
        whose = "it is" if secret.kind == "ca" else "its certificate chains to a CA that is"
        yield attention(
            secret.name, f"{whose} distrusted by {against}", f"mtlsctl rotate {secret.name} --wait", runbook
        )
    pending = {it for it, labels in secret.stages.items() if AWSPENDING in labels and AWSCURRENT not in labels}
    if any(
        it.secret == secret.name and it.version_id in pending and distrust.object_against_named(it.anchor)
        for it in seen.issued
    ):
        yield attention(
            secret.name,
            "its rotation waits, for ever, for a CA that is distrusted to be trusted",
            f"Begin afresh: aws secretsmanager update-secret-version-stage --secret-id {secret.name} --version-stage"
            f" AWSPENDING --remove-from-version-id {min(pending)} && mtlsctl rotate {secret.name} --wait",
            runbook,
        )


SECRET_RULES: tuple[SecretRule, ...] = (
    deletion,
    certificate,
    switched_off,
    unsigned,
    stuck,
    unsynced,
    overdue,
    distrusted,
    acceptance,
)


def about_secret(secret: SecretState, survey: Survey, rules: Iterable[SecretRule] = SECRET_RULES) -> Iterator[Finding]:
    """What is wrong with a secret, its rotation and its certificate. Of one that is to be deleted, that alone."""
    for rule in rules:
        if secret.deleted == (rule is deletion):
            yield from rule(secret, survey)


def about_target(target: Target, survey: Survey) -> Iterator[Finding]:
    """What is wrong with what runs the truststore."""
    if target.stuck:
        yield attention(
            target.name, f"it is {target.condition}", "Mend what it names; it is told again by itself.", "MTLS-304"
        )
    if target.exists and target.names_version and target.version_id is None:
        yield attention(target.name, target.problem, "mtlsctl truststore sync --wait", "The truststore does not follow")
        return
    if target.problem:
        yield attention(target.name, target.problem, _told_again(target, survey), "MTLS-303")
        return
    heading = "The truststore does not follow"
    if not target.runs(survey.preview):
        what = "it does not run the published truststore"
        yield attention(target.name, what, "mtlsctl truststore sync --wait", heading)
    for warning in target.warnings:
        yield attention(target.name, f"API Gateway warns: {warning}", "mtlsctl truststore show", heading)


def _told_again(target: Target, survey: Survey) -> str:
    """What has a target run the stack's truststore. A deployment of an unchanged template does nothing."""
    if target.exists:
        return "mtlsctl truststore sync --wait"
    if target.problem == NO_DOMAIN:
        return "Deploy without DomainName, then with it: CloudFormation makes none while it takes one for there."
    operation = f"op=replace,path=/mutualTlsAuthentication/truststoreUri,value=s3://{survey.bucket}/{target.key}"
    return f"aws apigateway update-domain-name --domain-name {quote(target.name)} --patch-operations {operation}"


def about_bucket(survey: Survey) -> Iterator[Finding]:
    """The bucket says of every version what it chains to, and is what the functions wrote."""
    heading, seen = "The bucket was emptied or edited", survey.preview.seen
    rebuild = "mtlsctl truststore rebuild"
    if survey.keeps_versions is False:
        yield attention(
            "bucket",
            "it keeps no versions, so nothing is published",
            "mtlsctl doctor  # shows the command",
            "MTLS-305",
        )
    if not seen.ours:
        yield attention(
            "truststore.pem",
            "it is not what the sync published last: it was deleted, written over, or brought back",
            "mtlsctl truststore sync --wait",
            heading,
        )
    for name in seen.untagged:
        yield attention(
            name,
            "it has lost the stack's tag, so it is rotated no more",
            f"aws secretsmanager tag-resource --secret-id {name} --tags Key={STACK_TAG},Value={survey.stack}",
            heading,
        )
    for name, version in sorted(seen.unfiled):
        what = f"nothing is filed for its version {version}, which is in use, so nothing leaves the truststore"
        yield attention(name, what, rebuild + _or_bring_back(name, version, survey), heading)
    for it in survey.emptied:
        yield emptied(it, survey.bucket)
    for secret in survey.secrets:
        for key in secret.edited:
            yield attention(secret.name, f"the object {key} was written over", rebuild, heading)


def _or_bring_back(name: str, version: str, survey: Survey) -> str:
    """What helps where the value itself was written over. No value is read here: rebuild says whether it was."""
    stages = next((it.stages for it in survey.secrets if it.name == name), {})
    filed = filed_of(name, survey.preview.seen.issued, survey.now)
    back = bring_back(name, stages, filed) if filed and AWSCURRENT in stages.get(version, ()) else ""
    return f"  # if it says that this value cannot be used: {back}" if back else ""


def emptied(deletion: Deletion, bucket: str) -> Finding:
    """What was uploaded is gone, and no secret holds it."""
    return attention(
        deletion.key,
        f"it was deleted at {moment(deletion.at)}, together with the truststore, and no secret holds it",
        deletion.undo(bucket),
        "The bucket was emptied or edited",
    )


def about_truststore(survey: Survey) -> Iterator[Finding]:
    """What is wrong with what is, or should be, in the truststore."""
    yield from about_bucket(survey)
    plan = survey.preview.plan
    if (stop := survey.preview.stop) and survey.targets:
        yield attention("truststore", f"the guard {stop.guard}: {stop.found}", stop.remedy, "A guard stopped a publish")
    current = {key for it in survey.secrets if it.current and not it.deleted for key in it.current.anchors}
    for key, anchor in plan.anchors.items():
        left = anchor.certificate.not_valid_after_utc - survey.now
        # One that only a certificate at AWSPREVIOUS chains to ends when it is over, as it should.
        if left < attention_before_end(anchor.certificate) and (lasts(anchor) or key in current):
            yield attention(
                f"anchor {key[:8]}… {short_subject(anchor.certificate)}",
                f"it ends in {left / timedelta(days=1):.1f} days ({'; '.join(map(str, anchor.reasons))})",
                "Have whoever runs that CA send its successor, or rotate the CA here.",
            )
    for key, since in sorted(survey.unpublished_since.items()):
        if survey.targets and survey.now - since > UNPUBLISHED:
            yield attention(
                f"anchor {key[:8]}… {short_subject(plan.anchors[key].certificate)}",
                f"it is not in the truststore, and should be since {moment(since)}",
                "mtlsctl truststore sync --wait",
                "The truststore does not follow",
            )
    yield from _about_distrust(survey)
    yield from about_strays(misplaced(plan), survey.bucket)
    for out in plan.left_out:
        if out.rejected and unread(out.key, 1, takes_signed=True) is None:
            yield attention(
                f"{out.key}, certificate {out.position}",
                f"it is not trusted: {out.reason}",
                "mtlsctl truststore rebuild"
                if out.key.startswith(MANAGED_ANCHORS)
                else _upload_again(f"s3://{survey.bucket}/{out.key}"),
            )


def _upload_again(uri: str) -> str:
    """What shows the object. To take it away might shut out the others in it."""
    where = quote(uri)
    return f"aws s3 cp {where} -  # shows it: upload it again as it should be; if nobody needs it, aws s3 rm {where}"


def misplaced(plan: Plan) -> Iterator[Unread]:
    """What lies under `anchors/` where nobody reads it, as the plan tells of it."""
    for key in dict.fromkeys(it.key for it in plan.left_out if it.rejected):
        if stray := unread(key, 1, takes_signed=True):
            yield stray


def _about_distrust(survey: Survey) -> Iterator[Finding]:
    """What is distrusted is out, and each object that is to take one out does."""
    for entry in survey.preview.seen.distrusted:
        if entry.problem:
            yield attention(
                entry.key,
                f"it takes nothing out: {entry.problem}",
                f"aws s3 rm {quote(f's3://{survey.bucket}/{entry.key}')}",
            )
    runs = {key for it in survey.targets for key in it.anchors or ()} | set(survey.preview.deployed)
    distrust = Distrust.among(survey.preview.seen)
    for key in sorted(runs):
        against, stop = distrust.object_against_named(key), survey.preview.stop
        last = key in survey.preview.held_in and stop is not None and stop.guard is Guard.EMPTY
        if against:
            why = ": nothing would be left without it, and a truststore is never empty" if last else ""
            yield attention(
                f"anchor {key[:8]}…",
                f"it is distrusted by {against}, and still trusted{why}",
                "Have another CA trusted: mtlsctl rotate --all --ca NAME" if last else "mtlsctl truststore sync --wait",
                "The key of a CA was stolen",
            )


def is_stuck(secret: SecretState, survey: Survey) -> bool:
    """Whether a rotation has been under way for too long."""
    return secret.pending_since is not None and survey.now - secret.pending_since > STUCK


def attention_before_end(certificate: x509.Certificate) -> timedelta:
    """How long before its end a certificate needs attention."""
    return min(SOON, (certificate.not_valid_after_utc - certificate.not_valid_before_utc) / 4)
