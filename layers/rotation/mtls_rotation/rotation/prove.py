"""testSecret: verify the pending certificate, prove it at the secret's endpoint, and leave the proof."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from mtls_rotation.contract.issuance import Secret
from mtls_rotation.contract.labels import AWSCURRENT, UNTESTED
from mtls_rotation.contract.material import certificates_of, private_key_of
from mtls_rotation.errors import (
    HandshakeFailedError,
    NotYetVisibleError,
    RejectedCertificateError,
    UnusableIssuerError,
)
from mtls_rotation.issuers.api import Signer
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.pki.verification import refusals
from mtls_rotation.provers import registry as provers
from mtls_rotation.provers.api import Identity, Outcome
from mtls_rotation.rotation.admission import require_listed
from mtls_rotation.rotation.filing import certified
from mtls_rotation.rotation.proof import is_its_own
from mtls_rotation.rotation.trust import TrustStep
from mtls_rotation.rotation.value import parse_value

if TYPE_CHECKING:
    from cryptography import x509

    from mtls_rotation.aws.secret_versions import SecretVersion
    from mtls_rotation.contract.endpoint import EndpointSettings
    from mtls_rotation.contract.secret import ManagedSecret
    from mtls_rotation.provers.api import Proof
    from mtls_rotation.rotation.context import StepContext
    from mtls_rotation.rotation.request import RotationRequest
    from mtls_rotation.timing import Deadline

# Seconds that an endpoint has to accept a certificate: what it trusts may take a while to reach all of it.
PROPAGATION = 120.0


class ProveStep:
    """testSecret."""

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._versions = context.services.versions
        self._clock = context.services.clock
        self._trust = TrustStep(context)

    def run(self, request: RotationRequest, deadline: Deadline) -> None:
        """Verify the certificate, see that every target trusts it, and have the endpoint accept it, if there is one.

        Raises:
            UnlistedAuthorityError: it is a CA's that may not sign, as nobody listed it.
            RejectedCertificateError: no server would accept it.
            TruststoreNotDeployedError: a target does not trust it, so setSecret has not passed.
            HandshakeFailedError: the endpoint does not.
        """
        stored = self._tried(request, deadline)
        if stored.version_id == request.version_id and AWSCURRENT in stored.stages:
            return
        if self._is_definition(stored, request):
            return  # a configuration is tried before there is a certificate
        secret = certified(stored)
        # What a trial of the configuration finds is not what a rotation is to end with, and leaves no proof.
        of_rotation = stored.version_id == request.version_id and is_its_own(stored, secret)
        where = f"secret {stored.name}, version {stored.version_id}"
        chain, key = self._identity(secret, stored, deadline)
        _, anchor = certificates_of(secret)
        if reasons := refusals(chain[0], key, chain[1:], [anchor], self._clock()):
            raise RejectedCertificateError(
                where=where,
                found="; ".join(reasons),
                expected="a client certificate that its anchor vouches for, in date, with its own key",
                remedy="Rotate the secret anew; if it goes on, look at the issuer.",
            )
        if of_rotation:
            self._trust.require_unless_seen(secret, request, deadline)
        if secret.endpoint is not None:
            identity = Identity(pki.to_pem(*chain), pki.key_to_pem(key))
            self._present(identity, provers.settings_of(secret.endpoint, where), where, deadline)
        if of_rotation:
            self._leave_proof(stored, secret, request)

    def _present(self, identity: Identity, settings: EndpointSettings, where: str, deadline: Deadline) -> None:
        for _ in deadline.sooner(PROPAGATION).attempts():
            proof = provers.prove(settings, identity, deadline)
            if proof.accepted:
                return
        raise HandshakeFailedError(
            where=where,
            found=f"{settings.url} refused it: {_reason(proof)}",
            expected="the endpoint to accept the pending certificate",
            remedy="Secrets Manager tries again by itself. If it goes on, see that the endpoint trusts the CA.",
        )

    def _leave_proof(self, stored: SecretVersion, secret: ManagedSecret, request: RotationRequest) -> None:
        """For finishSecret, in whatever environment it runs: see `proof`."""
        if UNTESTED in stored.stages:
            self._versions.drop_label(stored.arn, UNTESTED, stored.version_id)
        self._context.memory.keep(request, secret)
        self._context.memory.test(request)

    def _identity(
        self, secret: ManagedSecret, stored: SecretVersion, deadline: Deadline
    ) -> tuple[tuple[x509.Certificate, ...], pki.SigningKey]:
        """What is presented: the certificate with its intermediates and its key; of a CA, those of a leaf by it.

        Raises:
            UnlistedAuthorityError: the CA is none that may sign.
        """
        if secret.kind == "ca":
            require_listed(self._context.services.issuance, secret, Secret(stored.name, stored.arn))
            return self._leaf_of(secret, stored.name, deadline)
        return certificates_of(secret)[0], private_key_of(secret)

    def _tried(self, request: RotationRequest, deadline: Deadline) -> SecretVersion:
        """The version to try: the token's, or else AWSCURRENT.

        RotateSecret with RotateImmediately=false tries the configuration by this step alone, on a version at AWSPENDING
        that no createSecret has filled. It is empty or carries the value at AWSCURRENT, the page does not say which:
        https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html
        """
        try:
            return self._context.pending(request, deadline)
        except NotYetVisibleError:
            if current := self._versions.current(request.secret_id):
                return current
            raise

    def _is_definition(self, stored: SecretVersion, request: RotationRequest) -> bool:
        """Whether this is what AWSCURRENT holds before the first rotation: a definition, and no certificate yet."""
        if parse_value(stored.value, f"secret {stored.name}").issued:
            return False
        if stored.version_id != request.version_id:
            return True
        current = self._versions.current(request.secret_id)
        return current is not None and current.value == stored.value

    def _leaf_of(
        self, ca: ManagedSecret, name: str, deadline: Deadline
    ) -> tuple[tuple[x509.Certificate, ...], pki.SigningKey]:
        """A CA is proved by a leaf that it signs: one that lives for a day and is kept nowhere."""
        chain, _ = certificates_of(ca)
        issuer = self._context.issuers.of(ca)
        if not isinstance(issuer, Signer):
            raise UnusableIssuerError(
                where=f"secret {name}",
                found=f'a CA whose issuer.type is "{ca.issuer.type}"',
                expected="one that can sign with the CA",
                remedy="Correct issuer.type, and rotate anew.",
            )
        ca_key = issuer.signing_key(ca, f"secret {name}", deadline)
        request = CertificateRequest(common_name=f"probe of {name}"[:64], validity_hours=24)
        key = profile.generate_key(request.key_algorithm)
        # Dated a day back where the CA itself has less than a day left.
        now = min(self._clock(), chain[0].not_valid_after_utc - timedelta(days=1))
        return (profile.issue_leaf(request, key.public_key(), chain[0], ca_key, now), *chain[1:]), key


def _reason(proof: Proof) -> str:
    """Why the certificate is not proved, as OpenSSL has it where it is the server that is not trusted."""
    prefix = "CERTIFICATE_VERIFY_FAILED: " if proof.outcome is Outcome.UNTRUSTED else ""
    return prefix + proof.problem
