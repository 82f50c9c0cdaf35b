"""Gathers what `checks` judge by: the secret's value, what is filed and published, the targets, a real request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mtls_rotation.contract import layout
from mtls_rotation.pki import bundles
from mtls_rotation.pki.certificates import fingerprint, key_from_pem, to_pem
from mtls_rotation.provers import registry as provers
from mtls_rotation.provers.api import Identity
from mtls_rotation.revocation import crl
from mtls_rotation.revocation.register import Register
from mtls_rotation.timing import Deadline, utc_now
from mtlsctl.stack import authorities
from mtlsctl.stack.targets import targets_of
from mtlsctl.verification.checks import OUTSIDE, Evidence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

    from mtls_rotation.contract.endpoint import EndpointSettings
    from mtls_rotation.provers.api import Proof
    from mtlsctl.stack.deployment import Deployment
    from mtlsctl.stack.material import Label, Material

# Seconds for one attempt at an endpoint.
_PATIENCE = 60.0


def gather(deployment: Deployment, material: Material, label: Label, endpoint: EndpointSettings | None) -> Evidence:
    """Look at everything that has to do with a certificate, and present it to the endpoint."""
    bucket = deployment.services.bucket
    public_key = _public_key(deployment, material)
    stored = bucket.read(layout.crl_key(fingerprint(material.issuing)))
    return Evidence(
        now=utc_now(),
        label=label,
        material=material,
        public_key=public_key,
        filed=dict(_filed(deployment, material)),
        targets=targets_of(deployment) if material.secret.gateway_trusts else (),
        register=_register(deployment),
        by_own_ca=authorities.secret_of(bucket, fingerprint(material.issuing)) is not None,
        crl=crl.parse(stored.body) if stored else None,
        endpoint=endpoint,
        probed=_probed(material, public_key, endpoint),
    )


def _public_key(deployment: Deployment, material: Material) -> CertificatePublicKeyTypes | str:
    """Of the key that belongs to the certificate; in words, why it cannot be had. No word quotes a key."""
    if material.secret.private_key is not None:
        try:
            return key_from_pem(material.secret.private_key.get_secret_value()).public_key()
        except ValueError as error:
            return str(error)
    try:
        answer = deployment.session.client("kms").get_public_key(KeyId=material.secret.key_id or "")
    except ClientError as error:
        return f"KMS does not give the public key: {error.response['Error']['Code']}"
    return load_der_public_key(answer["PublicKey"])  # type: ignore[return-value] # KMS signs with none but these


def _filed(deployment: Deployment, material: Material) -> Iterator[tuple[str, x509.Certificate | None]]:
    bucket, suffix = deployment.services.bucket, f"{material.name}/{material.version_id}."
    prefixes = {fingerprint(it): f"{layout.ISSUED}{fingerprint(it)}/{suffix}" for it in material.authorities}
    for anchor, prefix in (prefixes | {OUTSIDE: f"{layout.OUTSIDE}{suffix}"}).items():
        for entry in bucket.list(prefix):
            if stored := bucket.read(entry.key):
                yield anchor, next(iter(bundles.certificates(stored.body).values()), None)


def _register(deployment: Deployment) -> Register | None:
    stored = deployment.services.bucket.read(layout.REVOCATION_LIST)
    try:
        return Register.parse(stored.body) if stored else None
    except ValueError:
        return None


def _probed(
    material: Material, public_key: CertificatePublicKeyTypes | str, endpoint: EndpointSettings | None
) -> Proof | str:
    if endpoint is None or material.secret.private_key is None:
        return "there is nothing to present, or nowhere to"
    if public_key != material.certificate.public_key():
        return "not tried: the private key is not the certificate's"
    chain = to_pem(material.certificate, *material.chain)
    identity = Identity(chain, material.secret.private_key.get_secret_value())
    return provers.prove(endpoint, identity, Deadline.within(_PATIENCE))
