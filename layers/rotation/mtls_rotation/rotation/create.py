"""createSecret: issue what AWSCURRENT requests, put it at AWSPENDING, and file its public certificate."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from mtls_rotation.aws.retries import refused
from mtls_rotation.aws.revocations import read_revocations
from mtls_rotation.aws.secret_versions import SecretVersion, out_of_reach
from mtls_rotation.contract.issuance import Secret
from mtls_rotation.contract.labels import AWSCURRENT, AWSPENDING, AWSPREVIOUS, UNTESTED
from mtls_rotation.contract.material import certificates_of
from mtls_rotation.errors import (
    InvalidSecretError,
    RejectedCertificateError,
    RotationNotEnabledError,
    UnusableIssuerError,
)
from mtls_rotation.issuers.api import HasAuthority, Order, Vouching
from mtls_rotation.issuers.registry import kind
from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation import filing
from mtls_rotation.rotation.admission import require_listed
from mtls_rotation.rotation.ca_renewal import CaRenewal
from mtls_rotation.rotation.context import not_staged
from mtls_rotation.rotation.leftovers import clear_away
from mtls_rotation.rotation.proof import is_its_own
from mtls_rotation.rotation.value import parse_value
from mtls_rotation.timing import to_rfc3339

if TYPE_CHECKING:
    from mtls_rotation.aws.secret_versions import SecretDescription
    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.issuers.api import Issuer
    from mtls_rotation.rotation.context import StepContext
    from mtls_rotation.rotation.request import RotationRequest
    from mtls_rotation.timing import Deadline

log = logging.getLogger(__name__)


class CreateStep:
    """createSecret."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._versions = context.services.versions
        self._bucket = context.services.bucket
        self._clock = context.services.clock
        self._memory = context.memory
        self._renewal = CaRenewal(context.services)

    def run(self, request: RotationRequest, deadline: Deadline) -> None:
        """Make the pending version, if there is none yet, and file its certificate.

        Raises:
            RotationNotEnabledError: the secret does not rotate.
            VersionNotStagedError: the token is of no rotation that is under way.
            RejectedCertificateError: the certificate expired or was revoked while the rotation stood still, is
                AWSCURRENT's, or is not by the CA that the secret names.
            SelfSignedClientError: the gateway that it is for may not let in what the issuer makes.
        """
        description = self._staged(request, deadline)
        if AWSCURRENT in description.stages[request.version_id]:
            return
        current, stored = None, None
        # What has just been staged has AWSPENDING alone, and mostly no value. Where nothing is lost by it, that is
        # found out when the value is put.
        if description.stages[request.version_id] == {AWSPENDING}:
            current = self._current(description)
        if current is None or not kind(current[0].issuer.type).issues_freely:
            stored = self._versions.version(description.arn, request.version_id)
        if stored is None:
            definition, held = current or self._current(description)
            order = self._order(definition, description, request, deadline)
            stored, put = self._issue(order, held, request)
        else:
            put = False
        vouched = True
        if not put:
            self._give_up_if_copied(stored, description)
            self._give_up_if_anothers(stored)
            self._give_up_if_revoked(stored)
            self._give_up_if_expired(stored)
            vouched = self._is_vouched_for(
                stored, self._order(filing.certified(stored), description, request, deadline)
            )
        secret, now = filing.certified(stored), self._clock()
        if vouched:
            filed = filing.file_certificate(
                self._bucket, secret, stored.name, stored.version_id, known_anchors=self._memory.filed(now)
            )
            self._memory.file(filed, now)
        self._memory.keep(request, secret)

    def _give_up_if_copied(self, stored: SecretVersion, description: SecretDescription) -> None:
        """Take AWSPENDING off a version that carries what is in use already: rotating to it would renew nothing.

        A trial of the configuration (RotateImmediately=false) can leave one: see `ProveStep`. What AWSCURRENT held then
        may be at AWSPREVIOUS by now, and AWSCURRENT have another definition with the same certificate.

        Raises:
            RejectedCertificateError: it does.
        """
        labelled = (description.version_at(label) for label in (AWSCURRENT, AWSPREVIOUS))
        in_use = (self._versions.version(stored.arn, it) for it in labelled if it)
        if not any(it is not None and _carries_same(stored, it) for it in in_use):
            return
        self._versions.drop_pending(stored.arn, stored.version_id)
        raise RejectedCertificateError(
            where=f"secret {stored.name}, version {stored.version_id}",
            found="a pending value that brings no new certificate: a trial of the rotation left it",
            expected="no value, or a fresh certificate",
            remedy="AWSPENDING was taken off it, so the next rotation issues a fresh one. Start it with"
            f" `aws secretsmanager rotate-secret --secret-id {stored.name}`, or leave it to the schedule.",
        )

    def _give_up_if_anothers(self, stored: SecretVersion) -> None:
        """Take AWSPENDING off a version whose value was not put for it: finishSecret would never promote it.

        Raises:
            RejectedCertificateError: somebody else has put it, or the engine of an earlier release.
        """
        if is_its_own(stored, filing.certified(stored)):
            return
        self._versions.drop_pending(stored.arn, stored.version_id)
        raise RejectedCertificateError(
            where=f"secret {stored.name}, version {stored.version_id}",
            found="a pending value that createSecret has not put for this version, so that no test of it can be told",
            expected="no value, or one of its own",
            remedy="AWSPENDING was taken off it, so the next rotation issues a fresh one. Start it with"
            f" `aws secretsmanager rotate-secret --secret-id {stored.name}`, or leave it to the schedule.",
        )

    def _give_up_if_revoked(self, stored: SecretVersion) -> None:
        """Take AWSPENDING off a version whose certificate is revoked: its key may be in wrong hands.

        The revocation function does so as well, and has the secret rotated; it may come later than this step.

        Raises:
            RejectedCertificateError: it is.
            RevocationUnknownError: the revocation list cannot be read.
        """
        (leaf, *_), _ = certificates_of(filing.certified(stored))
        revocations = read_revocations(self._bucket)
        if not revocations.include(leaf) and not revocations.include_one_for(
            pki.public_key_fingerprint(leaf.public_key())
        ):
            return
        self._versions.drop_pending(stored.arn, stored.version_id)
        raise RejectedCertificateError(
            where=f"secret {stored.name}, version {stored.version_id}",
            found="a pending certificate that is revoked, or whose key is that of one",
            expected="one that is not",
            remedy="AWSPENDING was taken off it, so the next rotation issues a fresh one, for another key. The"
            " revocation function starts it.",
        )

    def _is_vouched_for(self, stored: SecretVersion, order: Order) -> bool:
        """Whether the CA that a pending value names has signed it, if the truststore would have to hold its anchor.

        Whoever may write the secret's value could have any CA trusted by it. Of one that is not its CA's AWSPENDING is
        taken off. Where the CA is gone, nobody can tell: what was filed before stays, and nothing else is filed.

        Raises:
            RejectedCertificateError: its CA has not signed it.
            UnlistedAuthorityError, UnentitledRequestError: it would not have.
        """
        issuer = self._context.issuers.of(order.definition)
        if order.definition.kind == "ca" or not order.definition.gateway_trusts or not isinstance(issuer, Vouching):
            return True
        (leaf, *_), _ = certificates_of(order.definition)
        try:
            if issuer.has_issued(order, leaf):
                return True
        except UnusableIssuerError as error:
            log.warning("not filed anew", extra={"secret": order.name, "code": error.code, "reason": str(error)})
            return False
        self._versions.drop_pending(stored.arn, stored.version_id)
        raise RejectedCertificateError(
            where=f"secret {stored.name}, version {stored.version_id}",
            found=f"a pending certificate that its CA has not signed, by {pki.short_name(leaf.issuer)}",
            expected="one by the CA that issuer names",
            remedy="AWSPENDING was taken off it, so the next rotation issues a fresh one. See who else may write it.",
        )

    def _give_up_if_expired(self, stored: SecretVersion) -> None:
        """Take AWSPENDING off a version that nobody can use any more: Secrets Manager would try it again for ever.

        Raises:
            RejectedCertificateError: its certificate expired while the rotation stood still.
        """
        (leaf, *_), _ = certificates_of(filing.certified(stored))
        end = leaf.not_valid_after_utc
        if self._clock() <= end:
            return
        self._versions.drop_pending(stored.arn, stored.version_id)
        raise RejectedCertificateError(
            where=f"secret {stored.name}, version {stored.version_id}",
            found=f"a pending certificate that expired on {end:%Y-%m-%d %H:%M} UTC, before its rotation could end",
            expected="one that is in date",
            remedy="AWSPENDING was taken off it, so the next rotation issues a fresh one. Start it with"
            f" `aws secretsmanager rotate-secret --secret-id {stored.name}`, or leave it to the schedule.",
        )

    def _staged(self, request: RotationRequest, deadline: Deadline) -> SecretDescription:
        """The secret's description, once it shows the token's version with a label, and rotation switched on.

        What rotation was switched on a moment ago for may not show it yet.
        """
        for _ in self._context.visibility(deadline).attempts():
            description = self._context.describe(request.secret_id)
            labels = description.stages.get(request.version_id, frozenset())
            if description.rotation_enabled and labels & {AWSPENDING, AWSCURRENT}:
                return description
        if not description.rotation_enabled:
            raise RotationNotEnabledError(
                where=f"secret {description.name}",
                found="rotation switched off",
                expected="a secret with a rotation schedule",
                remedy="Switch it on: `mtlsctl doctor` shows the command.",
            )
        raise not_staged(description.name, request.version_id, labels)

    def _current(self, description: SecretDescription) -> tuple[ManagedSecret, SecretVersion]:
        """What AWSCURRENT requests, and the version.

        Raises:
            InvalidSecretError: it requests nothing, or what no certificate could be made from.
        """
        current = self._versions.current(description.arn)
        if current is None:
            raise InvalidSecretError(
                where=f"secret {description.name}",
                found="no value at AWSCURRENT",
                expected='a value with "request" and "issuer"',
                remedy="Put one; docs/architecture.md shows it.",
            )
        return parse_value(current.value, f"secret {description.name}"), current

    def _order(
        self, definition: ManagedSecret, description: SecretDescription, request: RotationRequest, deadline: Deadline
    ) -> Order:
        """What is to be issued.

        Raises:
            SelfSignedClientError: the gateway that it is for may not let in what the issuer makes.
            UnlistedAuthorityError: it would bring an anchor into the truststore that nobody listed.
        """
        order = Order(definition, description.arn, description.name, request.version_id, self._clock(), deadline)
        self._context.admission.require(definition, order.where)
        require_listed(self._context.services.issuance, definition, Secret(order.name, order.arn))
        return order

    def _issue(self, order: Order, current: SecretVersion, request: RotationRequest) -> tuple[SecretVersion, bool]:
        """Make the pending version: what is ordered, freshly issued. Whoever puts a value first, wins.

        Args:
            order: what is ordered.
            current: the version that orders it. The bucket says from now on what it holds, whoever put it.
            request: the rotation.

        Returns:
            The version, and whether it holds what was issued here.
        """
        issuer = self._issuer(order, current)
        issued = issuer.issue(order)
        value = filing.with_certificate(order.definition, issued, self._clock(), order.version_id).render()
        try:
            first = self._versions.put_pending(order.arn, order.version_id, value, request.rotation_token)
        except ClientError as error:
            if refused(error) and self._holds_nothing(order):
                clear_away(issuer, order, None)  # nobody may come back for it
            raise
        if not first:
            visible = self._context.visibility(order.deadline)
            stored = self._versions.await_version(order.arn, order.version_id, visible)
            clear_away(issuer, order, _held_by(stored))
            return stored, False
        log.info(
            "issued a certificate",
            extra={
                "secret": order.name,
                "version": order.version_id,
                "serial": pki.serial(issued.certificate),
                "issuer": pki.subject(issued.anchor),
                "not_after": to_rfc3339(issued.certificate.not_valid_after_utc),
            },
        )
        return SecretVersion(order.arn, order.name, order.version_id, frozenset({AWSPENDING, UNTESTED}), value), True

    def _holds_nothing(self, order: Order) -> bool:
        """Whether a version that could not be put has no value of another run either.

        Of a secret that is gone, or not to be read, it will have none.
        """
        try:
            return self._versions.version(order.arn, order.version_id) is None
        except ClientError as error:
            return out_of_reach(error) is not None

    def _issuer(self, order: Order, current: SecretVersion) -> Issuer:
        """The issuer that the definition names, its CA rotated first where it would not outlive the certificate.

        What AWSCURRENT holds is filed in between: once it is known that the order may be met, as what is filed keeps
        CAs trusted and has CRLs signed, and before a CA is waited for.
        """
        issuer = self._context.issuers.of(order.definition)
        authority = (
            issuer.authority(order) if order.definition.kind == "client" and isinstance(issuer, HasAuthority) else None
        )
        filing.note_held(self._bucket, order.definition, current)
        if authority is None:
            return issuer
        renewed = self._renewal.renew_if_needed(authority, order)
        return self._context.issuers.of(order.definition) if renewed else issuer


def _held_by(stored: SecretVersion) -> ManagedSecret | None:
    """What a version holds; None where that is no certificate, as somebody else put it."""
    try:
        return filing.certified(stored)
    except InvalidSecretError:
        return None


def _carries_same(pending: SecretVersion, other: SecretVersion) -> bool:
    """Whether two versions carry one value, or one certificate."""
    if pending.value == other.value:
        return True
    try:
        values = [parse_value(it.value, f"secret {it.name}") for it in (pending, other)]
    except InvalidSecretError:
        return False
    first, second = values
    return first.issued and first.certificate == second.certificate
