"""Whether a certificate does its work, as a list of named checks. Pure: what they judge by was gathered before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import field_serializer

from mtls_rotation.pki.certificates import fingerprint, public_key_fingerprint, serial, short_subject
from mtls_rotation.pki.verification import refusals
from mtls_rotation.provers.api import Outcome
from mtls_rotation.targets.limits import API_GATEWAY
from mtls_rotation.timing import to_rfc3339
from mtlsctl.report import Model
from mtlsctl.show import moment
from mtlsctl.stack.material import Label
from mtlsctl.terminal import in_one_piece

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from mtls_rotation.contract.endpoint import EndpointSettings
    from mtls_rotation.provers.api import Proof
    from mtls_rotation.revocation.register import Register, Revoked
    from mtlsctl.stack.material import Material
    from mtlsctl.stack.targets import Target

# Where a certificate is filed that no gateway of ours is to trust.
OUTSIDE = ""


class Result(StrEnum):
    """What came of a check."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Check(Model):
    """One check.

    Attributes:
        name: what was looked at.
        reason: what was found, whichever the result.
        remedy: what to do about it; empty where all is well, or nothing of the stack's would help.
    """

    name: str
    result: Result
    reason: str
    remedy: str = ""

    @field_serializer("reason")
    def _with_blanks(self, reason: str) -> str:
        return reason.replace(in_one_piece(" "), " ")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that is looked at.

    Attributes:
        public_key: of the private key that the secret holds or names; in words, why it cannot be had.
        filed: what the bucket holds for this version, by the anchor that it is filed under, or `OUTSIDE`; None for what
            cannot be read.
        targets: the stack's; none where its truststore is not to hold the anchor.
        register: the revocation list; None if there is none.
        by_own_ca: whether a CA secret of the stack holds, or held, the CA that has signed the certificate.
        crl: of the CA that has signed the certificate; None if there is none.
        endpoint: where it is tried; None where there is nowhere to.
        probed: what came of that; in words, why it was not tried.
    """

    now: datetime
    label: Label
    material: Material
    public_key: CertificatePublicKeyTypes | str
    filed: Mapping[str, x509.Certificate | None]
    targets: tuple[Target, ...]
    register: Register | None
    by_own_ca: bool
    crl: x509.CertificateRevocationList | None
    endpoint: EndpointSettings | None
    probed: Proof | str

    @property
    def is_authority(self) -> bool:
        """Whether it is a CA's own certificate."""
        return self.material.secret.kind == "ca"

    @property
    def listed(self) -> Revoked | None:
        """What the revocation list says of it; None if it is not revoked."""
        found = self.register.revocations.find(self.material.certificate) if self.register else None
        return self.register.revoked[found] if self.register and found else None


def examine(seen: Evidence) -> list[Check]:
    """Every check that applies, in order."""
    return [_with_remedy(check, rule, seen) for rule in RULES for check in rule(seen)]


def _with_remedy(check: Check, rule: Callable[[Evidence], Iterator[Check]], seen: Evidence) -> Check:
    if check.result is Result.OK or rule not in REMEDIES or check.remedy:
        return check
    return check.model_copy(update={"remedy": REMEDIES[rule].format(secret=seen.material.name)})


def _value(_: Evidence) -> Iterator[Check]:
    yield Check(name="value", result=Result.OK, reason="a managed secret's, with a certificate")


def _key(seen: Evidence) -> Iterator[Check]:
    name = "key by KMS" if seen.material.secret.key_id else "private key"
    if isinstance(seen.public_key, str):
        # A key in the secret that cannot be read is wrong; one in KMS may only be out of the operator's sight.
        result = Result.UNKNOWN if seen.material.secret.key_id else Result.FAILED
        yield Check(name=name, result=result, reason=seen.public_key)
    elif seen.public_key != seen.material.certificate.public_key():
        yield Check(name=name, result=Result.FAILED, reason="it is another certificate's")
    else:
        yield Check(name=name, result=Result.OK, reason="it is the certificate's")


def _dates(seen: Evidence) -> Iterator[Check]:
    certificate = seen.material.certificate
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if seen.now < begin:
        yield Check(name="dates", result=Result.FAILED, reason=f"it is not valid before {moment(begin)}")
    elif seen.now > end:
        yield Check(name="dates", result=Result.FAILED, reason=f"it expired on {moment(end)}")
    else:
        left = (end - seen.now) / timedelta(days=1)
        yield Check(name="dates", result=Result.OK, reason=f"until {moment(end)}, {left:.1f} days left")


def _chain(seen: Evidence) -> Iterator[Check]:
    """Up to the anchor that the secret names, at a moment at which the certificate itself is in date."""
    held = seen.material
    if seen.is_authority:
        unfit = API_GATEWAY.refusal(held.certificate, _in_date(seen))
        if held.anchor != held.certificate:
            unfit = "its anchor is another certificate"
        yield _judged("certificate of the CA", [unfit] if unfit else [], "a CA that API Gateway takes as an anchor")
        return
    reasons = refusals(held.certificate, None, held.chain, [held.anchor], _in_date(seen))
    yield _judged("chain", reasons, f"for clientAuth, up to {in_one_piece(short_subject(held.anchor))}")


def _in_date(seen: Evidence) -> datetime:
    certificate = seen.material.certificate
    return min(max(seen.now, certificate.not_valid_before_utc), certificate.not_valid_after_utc)


def _stored_facts(seen: Evidence) -> Iterator[Check]:
    secret, certificate = seen.material.secret, seen.material.certificate
    facts = {
        "serial_number": (secret.serial_number, serial(certificate)),
        "fingerprint_sha256": (secret.fingerprint_sha256, fingerprint(certificate)),
        "not_after": (secret.not_after, to_rfc3339(certificate.not_valid_after_utc)),
    }
    wrong = [f"{name} is {said}, the certificate's is {is_}" for name, (said, is_) in facts.items() if said != is_]
    yield _judged("facts beside it", wrong, f"{', '.join(facts)} are the certificate's")


def _filed(seen: Evidence) -> Iterator[Check]:
    """Under every CA that it chains to: the sync knows by nothing else what is in use."""
    held = seen.material
    places = [fingerprint(it) for it in held.authorities] if held.secret.gateway_trusts else [OUTSIDE]
    wrong = [problem for place in places if (problem := _misfiled(place, seen))]
    yield _judged("filed in the bucket", wrong, f"under {' and '.join(map(_prefix, places))}")


def _misfiled(place: str, seen: Evidence) -> str:
    held = seen.material
    if place not in seen.filed:
        return f"nothing for version {held.version_id[:8]} under {_prefix(place)}"
    if seen.filed[place] is None:
        return f"what cannot be read, under {_prefix(place)}"
    return "" if seen.filed[place] == held.certificate else f"another certificate under {_prefix(place)}"


def _prefix(anchor: str) -> str:
    return f"issued/{anchor[:8]}…" if anchor else "outside/"


def _targets(seen: Evidence) -> Iterator[Check]:
    for target in seen.targets:
        yield _acceptance(target, seen)
        yield _state(target)


def _acceptance(target: Target, seen: Evidence) -> Check:
    """By what the target runs, which may be older or newer than what is published."""
    name = f"trusted by {target.name}"
    if target.anchors is None:
        return Check(name=name, result=Result.UNKNOWN, reason=target.problem)
    held, version = seen.material, (target.version_id or "")[:8]
    lacking = [it for it in held.authorities if fingerprint(it) not in target.anchors]
    reasons = [
        f"its truststore (version {version}) lacks {in_one_piece(short_subject(it))} {fingerprint(it)[:8]}…"
        for it in lacking
    ]
    if not reasons and not seen.is_authority:
        reasons = refusals(held.certificate, None, (), target.anchors.values(), seen.now)
    return _judged(name, reasons, f"by the truststore that it runs, version {version}")


def _state(target: Target) -> Check:
    name = f"state of {target.name}"
    if not target.exists:
        return Check(name=name, result=Result.FAILED, reason=target.problem, remedy="mtlsctl explain MTLS-303")
    if target.stuck:
        reason = f"{target.condition}: it may run the truststore before"
        return Check(name=name, result=Result.UNKNOWN, reason=reason, remedy="mtlsctl explain MTLS-304")
    if not target.settled:
        reason = f"{target.state}: an update is under way"
        return Check(name=name, result=Result.UNKNOWN, reason=reason, remedy="mtlsctl truststore diff")
    return Check(name=name, result=Result.OK, reason=target.state)


def _revocation(seen: Evidence) -> Iterator[Check]:
    if seen.is_authority:
        return  # a CA is not revoked but taken out of the truststore
    name = "revocation list"
    if seen.register is None:
        missing = "there is no revocation/list.json, and the gateway lets nobody in without it"
        yield Check(name=name, result=Result.UNKNOWN, reason=missing)
    elif entry := seen.listed:
        reason, remedy = (
            f"revoked since {moment(entry.at)}: {entry.reason}",
            f"mtlsctl rotate {seen.material.name} --wait",
        )
        yield Check(name=name, result=Result.FAILED, reason=reason, remedy=remedy)
    else:
        yield Check(name=name, result=Result.OK, reason="it is not on it")


def _crl(seen: Evidence) -> Iterator[Check]:
    """Of the CA that signed it, not of the one that signs the next: what was imported has a foreign CA."""
    if not (seen.is_authority or seen.by_own_ca):
        return
    ca, crl = seen.material.issuing, seen.crl
    name = f"CRL of {short_subject(ca)}"
    if crl is None:
        announced = seen.is_authority and seen.label is Label.PENDING
        result = Result.UNKNOWN if announced else Result.FAILED
        reason = "there is none yet: the CA is not AWSCURRENT" if announced else "there is none"
        yield Check(name=name, result=result, reason=reason)
        return
    wrong = list(_crl_problems(crl, ca, seen))
    yield _judged(name, wrong, f"signed by it, next update on {moment(crl.next_update_utc)}")


def _crl_problems(crl: x509.CertificateRevocationList, ca: x509.Certificate, seen: Evidence) -> Iterator[str]:
    if not crl.is_signature_valid(ca.public_key()):  # type: ignore[arg-type] # a CA's key is one that signs
        yield "the CA has not signed it"
    if crl.next_update_utc is None or crl.next_update_utc < seen.now:
        yield f"its next update was due on {moment(crl.next_update_utc)}"
    certificate = seen.material.certificate
    in_it = crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
    if in_it:
        yield "it lists the certificate"
    elif seen.listed and seen.listed.certificate.key == public_key_fingerprint(ca.public_key()):
        yield "it does not list the certificate, and the revocation list does"


def _endpoint(seen: Evidence) -> Iterator[Check]:
    if seen.endpoint is None:
        return
    name = f"request to {seen.endpoint.url}"
    if isinstance(seen.probed, str):
        yield Check(name=name, result=Result.UNKNOWN, reason=seen.probed)
        return
    result, reason = _verdict(seen.probed)
    server = " ".join(filter(None, [seen.probed.server_subject, seen.probed.tls_version]))
    yield Check(name=name, result=result, reason=f"{reason} ({server})" if server else reason)


def _verdict(probed: Proof) -> tuple[Result, str]:
    match probed.outcome:
        case Outcome.ANSWERED if probed.accepted:
            return Result.OK, f"accepted, {probed.answer}"
        case Outcome.ANSWERED if probed.http_status in {401, 403}:
            return Result.FAILED, f"{probed.answer}: the handshake was accepted, the request was not"
        case Outcome.ANSWERED:
            return Result.FAILED, f"{probed.problem}; the handshake was accepted"
        case Outcome.REFUSED:
            return Result.FAILED, f"the server refused the certificate: {probed.problem}"
        case Outcome.CLOSED:
            return (
                Result.FAILED,
                f"the server ended the connection, as one does that wants another certificate: {probed.problem}",
            )
        case Outcome.UNTRUSTED:
            return Result.FAILED, f"the server's own certificate is not trusted: {probed.problem}"
        case Outcome.UNREACHABLE:
            return Result.UNKNOWN, f"the server cannot be reached: {probed.problem}"
        case Outcome.BROKEN:
            return Result.UNKNOWN, f"no answer that tells: {probed.problem}"


def _judged(name: str, wrong: list[str], fine: str) -> Check:
    return Check(name=name, result=Result.FAILED if wrong else Result.OK, reason="; ".join(wrong) or fine)


RULES: tuple[Callable[[Evidence], Iterator[Check]], ...] = (
    _value,
    _key,
    _dates,
    _chain,
    _stored_facts,
    _filed,
    _targets,
    _revocation,
    _crl,
    _endpoint,
)
_ROTATE = "mtlsctl rotate {secret} --wait"
# By rule: what mends what it finds. Of a server that is not the stack's, nothing does.
REMEDIES: Mapping[Callable[[Evidence], Iterator[Check]], str] = {
    _key: _ROTATE,
    _dates: _ROTATE,
    _chain: _ROTATE,
    _stored_facts: _ROTATE,
    _filed: "mtlsctl truststore rebuild",
    _targets: "mtlsctl truststore sync --wait",
    _revocation: "mtlsctl doctor  # the revocation function makes the list anew within the hour, if it can",
    _crl: "mtlsctl doctor  # the revocation function makes it anew within the hour, if the CA has its tags",
}
