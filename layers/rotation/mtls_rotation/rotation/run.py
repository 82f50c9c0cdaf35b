"""The four steps of a rotation, for client secrets and CA secrets alike.

Secrets Manager calls them in order with one token, stops at the first that fails, and begins again at the first with
the same token. So each step looks at what is there before it acts, and may be killed anywhere and run again.
https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotating-secrets-lambda-function-overview.html
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zlib import crc32

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import SecretStr

from mtls_rotation import timing
from mtls_rotation.aws.retries import throttled
from mtls_rotation.aws.secret_versions import SecretVersion
from mtls_rotation.contract import layout
from mtls_rotation.contract.events import CLIENT_CERTIFICATE_ROTATED, ROTATION_FAILED, TRUSTSTORE_SYNC_REQUESTED
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, AWSPREVIOUS, end_of_issuing, issues_until, secret_name
from mtls_rotation.contract.secret import ManagedSecret
from mtls_rotation.errors import (
    HandshakeFailedError,
    InvalidEventError,
    InvalidSecretError,
    MtlsRotationError,
    NotYetVisibleError,
    OutOfTimeError,
    RejectedCertificateError,
    RotationNotEnabledError,
    TruststoreNotDeployedError,
    UnusableIssuerError,
    VersionNotStagedError,
    WaitingForCertificateError,
    code_of,
)
from mtls_rotation.issuers.api import Concluding, Discarding, HasAuthority, Order, Signer
from mtls_rotation.pki import bundles, profile
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.pki.verification import refusals, signed_by
from mtls_rotation.provers.https import try_endpoint
from mtls_rotation.rotation.ca_renewal import EarlyRotation
from mtls_rotation.rotation.memory import Memory
from mtls_rotation.rotation.request import Step

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from cryptography import x509

    from mtls_rotation.aws.bucket import CertificateBucket
    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtls_rotation.aws.services import Services
    from mtls_rotation.issuers.api import Issuer
    from mtls_rotation.issuers.registry import Issuers
    from mtls_rotation.rotation.request import RotationRequest
    from mtls_rotation.targets.api import Target
    from mtls_rotation.timing import Deadline

log = logging.getLogger(__name__)

# How long a step waits for Secrets Manager to show a write, and testSecret for an endpoint to accept a certificate.
VISIBILITY = 15.0
PROPAGATION = 120.0
# Seconds between two questions to API Gateway once it has refused one; doubled each time it does, up to the second.
CROWDED, MOST_CROWDED = 10.0, 160.0
# What AWS says where the same call will fail again until somebody changes a policy.
_DENIALS = frozenset({"AccessDenied", "AccessDeniedException"})


class Rotation:
    """Runs steps. One instance serves every invocation of an execution environment, whose memory is `memory`."""

    def __init__(
        self,
        services: Services,
        *,
        domains: Sequence[Target],
        issuers: Issuers,
        memory: Memory | None = None,
    ) -> None:
        self._versions = services.versions
        self._bucket = services.bucket
        self._bus = services.bus
        self._domains = domains
        self._issuers = issuers
        self._early = EarlyRotation(services)
        self._clock = services.clock
        self._memory = memory or Memory()

    def run(self, request: RotationRequest, deadline: Deadline) -> None:
        """Run one step.

        Raises:
            MtlsRotationError: the step could not be done. AWSCURRENT is as it was, and `Rotation Failed` was put.
            ClientError, BotoCoreError: AWS refused a call, or could not be reached; likewise.
        """
        steps = {
            Step.CREATE: self._create,
            Step.SET: self._set,
            Step.TEST: self._test,
            Step.FINISH: self._finish,
        }
        try:
            if not deadline.remaining():
                raise OutOfTimeError(
                    where=f"secret {request.secret_id}, version {request.version_id}",
                    found=f"no time left for {request.step}",
                    expected="a function with a timeout of minutes",
                    remedy="Secrets Manager tries again by itself. If it goes on, raise the function's timeout.",
                )
            steps[request.step](request, deadline)
        except WaitingForCertificateError as waiting:
            # No failure, and announced when the request was published. Secrets Manager must stop here all the same.
            log.info("waiting for a certificate", extra={"secret": request.secret_id, "reason": str(waiting)})
            raise
        except MtlsRotationError as error:
            self._announce_failure(request, code_of(error), str(error), retryable=error.retryable)
            raise
        except ClientError as error:
            code = error.response["Error"]["Code"]
            self._announce_failure(request, code_of(error), str(error), retryable=code not in _DENIALS)
            raise
        except BotoCoreError as error:
            self._announce_failure(request, code_of(error), str(error), retryable=True)
            raise

    # createSecret -----------------------------------------------------------------------------------------------------

    def _create(self, request: RotationRequest, deadline: Deadline) -> None:
        description = self._staged(request, deadline)
        if AWSCURRENT in description.stages[request.version_id]:
            return
        stored = self._versions.version(description.arn, request.version_id)
        if stored is None:
            stored = self._issue(description, request, deadline)
        else:
            self._give_up_if_expired(stored)
        secret, now = _certified(stored), self._clock()
        filed = file_certificate(
            self._bucket, secret, stored.name, stored.version_id, known_anchors=self._memory.filed(now)
        )
        self._memory.file(filed, now)
        self._memory.keep(request, secret)

    def _give_up_if_expired(self, stored: SecretVersion) -> None:
        """Take AWSPENDING off a version that nobody can use any more: Secrets Manager would try it again for ever.

        Raises:
            RejectedCertificateError: its certificate expired while the rotation stood still.
        """
        end = _certificates(_certified(stored))[0][0].not_valid_after_utc
        if self._clock() <= end:
            return
        self._versions.drop_pending(stored.arn, stored.version_id)
        raise RejectedCertificateError(
            where=f"secret {stored.name}, version {stored.version_id}",
            found=f"a pending certificate that expired on {end:%Y-%m-%d %H:%M} UTC, before its rotation could end",
            expected="one that is in date",
            remedy="AWSPENDING was taken off it, so the next rotation issues a fresh one. Start it with"
            " `aws secretsmanager rotate-secret`, or leave it to the schedule.",
        )

    def _staged(self, request: RotationRequest, deadline: Deadline) -> SecretDescription:
        """The secret's description, once it shows the token's version with a label, and rotation switched on.

        What rotation was switched on a moment ago for may not show it yet.
        """
        for _ in deadline.sooner(VISIBILITY).attempts():
            description = self._describe(request.secret_id)
            labels = description.stages.get(request.version_id, frozenset())
            if description.rotation_enabled and labels & {AWSPENDING, AWSCURRENT}:
                return description
        if not description.rotation_enabled:
            raise RotationNotEnabledError(
                where=f"secret {description.name}",
                found="rotation switched off",
                expected="a secret with a rotation schedule",
                remedy="Switch it on with `aws secretsmanager rotate-secret --rotation-lambda-arn ...`.",
            )
        raise _not_staged(description.name, request.version_id, labels)

    def _describe(self, secret_id: str) -> SecretDescription:
        try:
            return self._versions.describe(secret_id)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ResourceNotFoundException":
                raise
            raise InvalidEventError(
                where="the event's SecretId",
                found=secret_id,
                expected="a secret that exists in this account and region",
                remedy="Check the ARN; the secret may have been deleted.",
            ) from None

    def _issue(self, description: SecretDescription, request: RotationRequest, deadline: Deadline) -> SecretVersion:
        """Make the pending version: what AWSCURRENT requests, freshly issued. Whoever puts a value first, wins."""
        current = self._versions.current(description.arn)
        if current is None:
            raise InvalidSecretError(
                where=f"secret {description.name}",
                found="no value at AWSCURRENT",
                expected='a value with "request" and "issuer"',
                remedy="Put one; docs/architecture.md shows it.",
            )
        definition = ManagedSecret.parse(current.value, f"secret {description.name}")
        order = Order(definition, description.arn, description.name, request.version_id, self._clock(), deadline)
        issuer = self._issuer(order)
        issued = issuer.issue(order)
        value = with_certificate(definition, issued, self._clock()).render()
        if not self._versions.put_pending(description.arn, request.version_id, value, request.rotation_token):
            stored = self._versions.await_version(description.arn, request.version_id, deadline.sooner(VISIBILITY))
            if isinstance(issuer, Discarding):
                issuer.discard(issued, _certified(stored))
            return stored
        log.info(
            "issued a certificate",
            extra={
                "secret": description.name,
                "version": request.version_id,
                "serial": pki.serial(issued.certificate),
                "issuer": pki.subject(issued.anchor),
                "not_after": timing.to_rfc3339(issued.certificate.not_valid_after_utc),
            },
        )
        return SecretVersion(description.arn, description.name, request.version_id, frozenset({AWSPENDING}), value)

    def _issuer(self, order: Order) -> Issuer:
        """The issuer that the definition names, its CA rotated first where it would not outlive the certificate."""
        issuer = self._issuers.of(order.definition)
        if order.definition.kind == "ca" or not isinstance(issuer, HasAuthority):
            return issuer
        renewed = self._early.see_to(issuer.authority(order), order)
        return self._issuers.of(order.definition) if renewed else issuer

    # setSecret --------------------------------------------------------------------------------------------------------

    def _set(self, request: RotationRequest, deadline: Deadline) -> None:
        secret = self._secret(request, deadline)
        if not secret.gateway_trusts:
            return
        anchors = frozenset(map(pki.fingerprint, _authorities(secret)))
        name, told, pace = secret_name(request.secret_id), False, 0.0
        waiting: list[str] = []
        for _ in deadline.attempts():
            try:
                waiting = self._domains_without(anchors)
            except ClientError as error:
                if not throttled(error):
                    raise
                # API Gateway takes ten calls a second of an account. The sync's update is one of them, for which all
                # that ask here are waiting: so whoever is refused asks less often from then on.
                pace = min(max(2 * pace, CROWDED), MOST_CROWDED)
            else:
                if not waiting:
                    return
                if not told:
                    self._ask_for_sync(request, name, anchors)
                    told = True
            if pace:
                deadline.sleep(min(pace * (0.5 + _lot(request.version_id)), deadline.remaining()))
        raise TruststoreNotDeployedError(
            where=f"secret {name}, version {request.version_id}",
            found=f"a truststore without {' or '.join(sorted(anchors))} on {
                ', '.join(waiting) or 'API Gateway, which was asked too often to tell'
            }",
            expected="the anchor deployed, and the domain name AVAILABLE, within the step's time",
            remedy="Secrets Manager tries again by itself. If it goes on, look at truststore_sync and its queue.",
        )

    def _ask_for_sync(self, request: RotationRequest, name: str, anchors: frozenset[str]) -> None:
        detail: dict[str, object] = {
            "secret_arn": request.secret_id,
            "secret_name": name,
            "version_id": request.version_id,
            "anchors": sorted(anchors),
        }
        self._bus.put(TRUSTSTORE_SYNC_REQUESTED, detail, request.secret_id)

    def _domains_without(self, anchors: frozenset[str]) -> list[str]:
        """The domains whose running truststore lacks one of `anchors`. A domain that is not there (yet) lacks none."""
        lacking = []
        for domain in self._domains:
            deployed = domain.deployed()
            if deployed is None:
                continue
            running = self._anchors_of(deployed.version_id) if deployed.settled else None
            if running is None or not anchors <= running:
                lacking.append(domain.name)
        return lacking

    def _anchors_of(self, version_id: str | None) -> frozenset[str] | None:
        """The anchors of a version of the truststore, by fingerprint; None if there is no such version."""

        def read() -> frozenset[str] | None:
            stored = self._bucket.read(layout.TRUSTSTORE, version_id)
            return frozenset(bundles.fingerprints(stored.body)) if stored else None

        return self._memory.truststore(version_id, read)

    # testSecret -------------------------------------------------------------------------------------------------------

    def _test(self, request: RotationRequest, deadline: Deadline) -> None:
        stored = self._pending(request, deadline)
        if stored.version_id == request.version_id:
            if AWSCURRENT in stored.stages:
                return
        elif not ManagedSecret.parse(stored.value, f"secret {stored.name}").issued:
            return  # a configuration is tried before there is a certificate
        secret = _certified(stored)
        chain, anchor = _certificates(secret)
        where = f"secret {stored.name}, version {stored.version_id}"
        if secret.kind == "ca":
            chain, key = self._probe(secret, stored.name)
        else:
            key = _private_key(secret)
        if reasons := refusals(chain[0], key, chain[1:], [anchor], self._clock()):
            raise RejectedCertificateError(
                where=where,
                found="; ".join(reasons),
                expected="a client certificate that its anchor vouches for, in date, with its own key",
                remedy="Rotate the secret anew; if it goes on, look at the issuer.",
            )
        if secret.endpoint is None:
            return
        for _ in deadline.sooner(PROPAGATION).attempts():
            refusal = try_endpoint(secret.endpoint, pki.to_pem(*chain), pki.key_to_pem(key))
            if not refusal:
                return
        raise HandshakeFailedError(
            where=where,
            found=f"{secret.endpoint.url} refused it: {refusal}",
            expected="the endpoint to accept the pending certificate",
            remedy="Secrets Manager tries again by itself. If it goes on, see that the endpoint trusts the CA.",
        )

    def _probe(self, ca: ManagedSecret, name: str) -> tuple[tuple[x509.Certificate, ...], pki.SigningKey]:
        """A CA is proved by a leaf that it signs: one that lives for a day and is kept nowhere."""
        chain, _ = _certificates(ca)
        issuer = self._issuers.of(ca)
        if not isinstance(issuer, Signer):
            raise UnusableIssuerError(
                where=f"secret {name}",
                found=f'a CA whose issuer.type is "{ca.issuer.type}"',
                expected="one that can sign with the CA",
                remedy="Correct issuer.type, and rotate anew.",
            )
        ca_key = issuer.signing_key(ca, f"secret {name}")
        request = CertificateRequest(common_name=f"probe of {name}"[:64], validity_hours=24)
        key = profile.generate_key(request.key_algorithm)
        # Dated a day back where the CA itself has less than a day left.
        now = min(self._clock(), chain[0].not_valid_after_utc - timedelta(days=1))
        return (profile.issue_leaf(request, key.public_key(), chain[0], ca_key, now), *chain[1:]), key

    # finishSecret -----------------------------------------------------------------------------------------------------

    def _finish(self, request: RotationRequest, deadline: Deadline) -> None:
        secret = self._secret(request, deadline)
        description, previous = self._promote(request, secret, deadline)
        self._versions.drop_pending(description.arn, request.version_id)
        issuer = self._issuers.of(secret)
        if isinstance(issuer, Concluding):
            issuer.conclude(secret, description.arn, description.name)
        detail: dict[str, object] = {
            "secret_arn": description.arn,
            "secret_name": description.name,
            "kind": secret.kind,
            "version_id": request.version_id,
            "previous_version_id": previous,
            "serial_number": secret.serial_number,
            "fingerprint_sha256": secret.fingerprint_sha256,
            "not_after": secret.not_after,
        }
        self._bus.put(CLIENT_CERTIFICATE_ROTATED, detail, description.arn)

    def _promote(
        self, request: RotationRequest, secret: ManagedSecret, deadline: Deadline
    ) -> tuple[SecretDescription, str | None]:
        """Move AWSCURRENT to the token's version. A stale reading is read again.

        Returns:
            The secret, and the version that had AWSCURRENT. Where it has been moved already, by a run that was killed,
            AWSPREVIOUS tells which that was.

        Raises:
            VersionNotStagedError: AWSPENDING was taken off the version.
        """
        for _ in deadline.sooner(VISIBILITY).attempts():
            description = self._describe(request.secret_id)
            current = description.version_at(AWSCURRENT)
            if current == request.version_id:
                return description, description.version_at(AWSPREVIOUS)
            if description.version_at(AWSPENDING) != request.version_id:
                # The reading is behind, unless the version itself has no label.
                stored = self._versions.version(description.arn, request.version_id)
                if stored is not None and not stored.stages & {AWSPENDING, AWSCURRENT}:
                    raise _not_staged(description.name, request.version_id, stored.stages)
                continue
            try:
                if secret.kind == "ca":
                    self._give_notice(description, secret)
                self._versions.make_current(description, request.version_id)
            except ClientError as error:
                if error.response["Error"]["Code"] != "InvalidParameterException":
                    raise
            else:
                return description, current
        raise NotYetVisibleError(
            where=f"secret {description.name}",
            found=f"AWSCURRENT on {current}, and AWSPENDING on {description.version_at(AWSPENDING)}, which is behind",
            expected=f"AWSPENDING on {request.version_id}, and one answer about where AWSCURRENT is",
            remedy="Secrets Manager tries the rotation again by itself.",
        )

    def _give_notice(self, description: SecretDescription, successor: ManagedSecret) -> None:
        """Label the CA that goes on issuing while its successor is announced; take labels off whose time is over."""
        running = {
            label: version
            for version, labels in description.stages.items()
            for label in labels
            if (end := end_of_issuing(label)) is not None and end > self._clock()
        }
        for version, labels in description.stages.items():
            for label in sorted(labels):
                # A successor without notice issues at once, and ends every other's time.
                if end_of_issuing(label) is not None and (label not in running or successor.use_from is None):
                    self._versions.move_label(description.arn, label, version, None)
        if successor.use_from is None:
            return
        label = issues_until(datetime.fromisoformat(successor.use_from))
        # A CA that is itself still announced issues nothing yet: whichever issues for it, goes on.
        issuing = next(iter(running.values()), description.version_at(AWSCURRENT))
        if issuing is not None and running.get(label) != issuing:
            self._versions.move_label(description.arn, label, running.get(label), issuing)

    # shared -----------------------------------------------------------------------------------------------------------

    def _secret(self, request: RotationRequest, deadline: Deadline) -> ManagedSecret:
        """What the token's version holds, as this environment knows it from a step before, or else read.

        Without its private key where it is known. Where it is read, it must have a label.
        """
        known = self._memory.secret(request)
        if known is None:
            known = _certified(self._pending(request, deadline))
            self._memory.keep(request, known)
        return known

    def _pending(self, request: RotationRequest, deadline: Deadline) -> SecretVersion:
        """The token's version with its value, at AWSPENDING or, in a repeat, at AWSCURRENT already."""
        try:
            stored = self._versions.await_version(request.secret_id, request.version_id, deadline.sooner(VISIBILITY))
        except NotYetVisibleError:
            description = self._describe(request.secret_id)
            labels = description.stages.get(request.version_id, frozenset())
            if AWSPENDING not in labels:
                raise _not_staged(description.name, request.version_id, labels) from None
            if request.step is Step.TEST and (current := self._versions.current(description.arn)):
                # RotateSecret with RotateImmediately=false tries the configuration by this step alone, on a version
                # that no createSecret has filled: https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html
                return current
            raise
        if not stored.stages & {AWSPENDING, AWSCURRENT}:
            raise _not_staged(stored.name, request.version_id, stored.stages)
        return stored

    def _announce_failure(self, request: RotationRequest, code: str, message: str, *, retryable: bool) -> None:
        detail: dict[str, object] = {
            "secret_id": request.secret_id,
            "version_id": request.version_id,
            "step": request.step.value,
            "code": code,
            "message": message,
            "retryable": retryable,
        }
        try:
            self._bus.put(ROTATION_FAILED, detail, request.secret_id)
        except (ClientError, BotoCoreError, RuntimeError):
            log.exception("could not announce the failure; the failure itself follows")


def with_certificate(definition: ManagedSecret, issued: pki.CertifiedKey, now: datetime) -> ManagedSecret:
    """The definition with what was issued for it at `now`; the operator's own keys are carried over."""
    leaf = issued.certificate
    key_id: str | None = getattr(issued.key, "key_id", None)  # a key that is kept elsewhere
    return definition.model_copy(
        update={
            "certificate": pki.to_pem(leaf),
            "certificate_chain": pki.to_pem(*issued.chain),
            "anchor": pki.to_pem(issued.anchor),
            "private_key": None if key_id else SecretStr(pki.key_to_pem(issued.key)),
            "key_id": key_id,
            "serial_number": pki.serial(leaf),
            "fingerprint_sha256": pki.fingerprint(leaf),
            "not_before": timing.to_rfc3339(leaf.not_valid_before_utc),
            "not_after": timing.to_rfc3339(leaf.not_valid_after_utc),
            # A first CA has none before it that could go on issuing.
            "use_from": timing.to_rfc3339(now + definition.notice) if definition.notice and definition.issued else None,
        }
    )


def file_certificate(
    bucket: CertificateBucket,
    secret: ManagedSecret,
    name: str,
    version_id: str,
    *,
    known_anchors: Collection[str] = (),
) -> tuple[str, ...]:
    """Make sure that the bucket holds a version's public certificate and every CA certificate that it hangs on.

    Args:
        bucket: where to.
        secret: what the version holds.
        name: the secret's.
        version_id: the version's.
        known_anchors: the fingerprints of CA certificates that are there already.

    Returns:
        The fingerprints of the CA certificates that it was filed under.

    Raises:
        RejectedCertificateError: one of the chain has not been signed by the next. What is filed under a CA is
            taken for verified by it: the sync reads no certificates to know what hangs on what.
    """
    certificates, anchor = _certificates(secret)
    for lower, upper in pairwise((*certificates, anchor) if certificates[0] != anchor else (anchor, anchor)):
        if not signed_by(lower, upper):
            raise RejectedCertificateError(
                where=f"secret {name}, version {version_id}",
                found=f"{pki.subject(lower)}, which {pki.subject(upper)} has not signed",
                expected="a certificate with its whole chain, in order",
                remedy="Rotate the secret anew; if it goes on, look at the issuer.",
            )
    serial_number, end = pki.serial(certificates[0]), certificates[0].not_valid_after_utc
    if not secret.gateway_trusts:
        outside = layout.OutsideKey(name, version_id, serial_number, end)
        bucket.put_once(str(outside), secret.certificate or "")
        return ()
    authorities = {pki.fingerprint(authority): authority for authority in _authorities(secret)}
    for fingerprint, authority in authorities.items():
        if fingerprint not in known_anchors:
            bucket.put_once(layout.managed_anchor_key(fingerprint), pki.to_pem(authority))
        key = layout.IssuedKey(fingerprint, name, version_id, serial_number, secret.kind == "ca", end)
        bucket.put_once(str(key), secret.certificate or "")
    return tuple(authorities)


def _certified(stored: SecretVersion) -> ManagedSecret:
    """The version's value, which must hold a certificate."""
    secret = ManagedSecret.parse(stored.value, f"secret {stored.name}")
    if not secret.issued:
        raise InvalidSecretError(
            where=f"secret {stored.name}, version {stored.version_id}",
            found="a value without certificate, anchor or private_key",
            expected="the value that createSecret puts",
            remedy="Somebody else put it. Take AWSPENDING off that version (`aws secretsmanager"
            f" update-secret-version-stage --secret-id {stored.name} --version-stage AWSPENDING"
            f" --remove-from-version-id {stored.version_id}`), and rotate anew.",
        )
    return secret


def _certificates(secret: ManagedSecret) -> tuple[tuple[x509.Certificate, ...], x509.Certificate]:
    """The certificate with its intermediates, and its anchor."""
    return (_one(secret.certificate or ""), *pki.from_pem(secret.certificate_chain or "")), _one(secret.anchor or "")


def _authorities(secret: ManagedSecret) -> tuple[x509.Certificate, ...]:
    """What a truststore must hold: API Gateway wants the whole chain above the certificate, up to the root.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/rest-api-mutual-tls.html
    """
    (_, *intermediates), anchor = _certificates(secret)
    return (*intermediates, anchor)


def _private_key(secret: ManagedSecret) -> pki.SigningKey:
    if secret.private_key is None:
        raise ValueError("a client secret without private_key")
    return pki.key_from_pem(secret.private_key.get_secret_value())


def _one(pem: str) -> x509.Certificate:
    (certificate,) = pki.from_pem(pem)
    return certificate


def _lot(version_id: str) -> float:
    """A number from 0 to 1, of each version another: those that rotate at once do not all ask at once."""
    return crc32(version_id.encode()) / 2**32


def _not_staged(name: str, version_id: str, labels: frozenset[str]) -> VersionNotStagedError:
    return VersionNotStagedError(
        where=f"secret {name}, version {version_id}",
        found=f"the labels {', '.join(sorted(labels))}" if labels else "no such version with a label",
        expected="the version at AWSPENDING",
        remedy="Start a rotation with `aws secretsmanager rotate-secret`; this token is of none that is under way.",
    )
