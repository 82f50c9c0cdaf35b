"""What is killed at each of its calls: rotations by every issuer, and each other function of the stack."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from mtls_rotation.pki import certificates as pki
from mtls_rotation.rotation.request import Step
from mtls_rotation.stack.bootstrap import SecretDefinition
from tests.kit import builders
from tests.kit.stack import CA, CLIENT
from tests.proof.endings import contents
from tests.proof.monitor import object_versions
from tests.proof.retries import World

EXTERNAL = {"type": "external"}
SELF_SIGNED = {"type": "self-signed"}
KMS = {"type": "kms"}
UPLOADED = "signed/answer.pem"


@dataclass(frozen=True)
class Scenario:
    """One thing that happens to a stack.

    Attributes:
        arrange: makes the stack, undisturbed.
        act: what is killed.
        quick: whether it is in the quick form.
        patient: whether what a killed run has begun is done before that run is repeated.
        waiting: whether it ends with a version at AWSPENDING, which waits for a partner.
    """

    name: str
    arrange: tuple[Callable[[World], object], ...]
    act: Callable[[World], object]
    quick: bool = False
    patient: bool = False
    waiting: bool = False


# what is arranged -----------------------------------------------------------------------------------------------------


@cache
def first_ca() -> pki.CertifiedKey:
    return builders.root()


def ca(world: World, **changes: Any) -> None:
    """A CA secret whose first CA is there already."""
    world.stack.add_ca(first_ca(), **changes)


def ca_without_certificate(world: World, **changes: Any) -> None:
    world.stack.add_secret(CA, builders.ca_definition(**changes))


def dying_ca(world: World, days: int, **changes: Any) -> None:
    """A CA that ends so soon that it is rotated early."""
    world.stack.add_ca(builders.root(days=days), **changes)


def ca_in_kms(world: World) -> None:
    ca_without_certificate(world, issuer=KMS)
    world.rotate(CA)


def client(world: World, **changes: Any) -> None:
    """A client secret that was never rotated."""
    world.stack.add_secret(CLIENT, builders.client_definition(**changes))


def private_ca(world: World) -> None:
    """A client secret whose issuer is a CA of AWS Private CA, which is there already."""
    aws = world.stack.clients.acm_pca
    arn = aws.create_certificate_authority(
        CertificateAuthorityConfiguration={
            "KeyAlgorithm": "RSA_2048",
            "SigningAlgorithm": "SHA256WITHRSA",
            "Subject": {"CommonName": "Private CA"},
        },
        CertificateAuthorityType="ROOT",
    )["CertificateAuthorityArn"]
    made = aws.issue_certificate(
        CertificateAuthorityArn=arn,
        Csr=aws.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"].encode(),
        SigningAlgorithm="SHA256WITHRSA",
        TemplateArn="arn:aws:acm-pca:::template/RootCACertificate/V1",
        Validity={"Type": "DAYS", "Value": 365},
    )["CertificateArn"]
    root = aws.get_certificate(CertificateAuthorityArn=arn, CertificateArn=made)["Certificate"]
    aws.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=root.encode())
    world.stack.now = datetime.now(UTC) + timedelta(seconds=2)  # moto's CA is no older than that, and not backdated
    world.stack.private_ca.pending = 2
    world.private_ca = arn


def client_of_private_ca(world: World) -> None:
    private_ca(world)
    client(world, issuer={"type": "acm-pca", "certificate_authority_arn": world.private_ca})


def published(world: World) -> None:
    """The truststore, as the bootstrap leaves it."""
    world.stack.reconcile()


def gateway(world: World) -> None:
    world.stack.with_gateway()


def two_domains(world: World) -> None:
    world.stack.with_gateway()
    world.stack.add_domains("partners.example.com")


def rotated(world: World, secret: str = CLIENT, times: int = 2) -> None:
    """A secret in its everyday state."""
    for _ in range(times):
        world.rotate(secret)
        world.settle()


def asked(world: World) -> None:
    """A request to a partner is out."""
    world.rotate()
    world.settle()


def static(world: World, name: str = "partner.pem", *certificates: x509.Certificate) -> None:
    """A bundle that an operator uploads."""
    body = pki.to_pem(*(certificates or (other_ca().certificate,)))
    world.stack.clients.s3.put_object(Bucket=world.stack.bucket.name, Key=f"anchors/static/{name}", Body=body.encode())


@cache
def other_ca() -> pki.CertifiedKey:
    return builders.root("Partner's CA")


def client_of_another_ca(world: World) -> None:
    """The client is to have a CA that the gateway does not know: nobody has run the sync since it was made."""
    name = f"{CA}-2"
    world.stack.add_ca(builders.root("Second CA"), name)
    client(world, issuer={"type": "secretsmanager", "ca_secret": name})


def long_ago(world: World, **span: float) -> None:
    world.stack.pass_time(**span)


# what is killed -------------------------------------------------------------------------------------------------------


def rotate(world: World, secret: str = CLIENT) -> None:
    """A whole rotation, with the runs of the sync that it asks for."""
    world.rotate(secret)
    world.settle()


def reconcile(world: World) -> None:
    world.settle()


def upload_and_reconcile(world: World) -> None:
    """An operator's bundle, one certificate of which is no CA's."""
    static(world, "partner.pem", other_ca().certificate, builders.leaf(first_ca()).certificate)
    world.settle()


def overwrite_and_reconcile(world: World) -> None:
    """Somebody writes a truststore of their own over ours."""
    theirs = pki.to_pem(first_ca().certificate, other_ca().certificate)
    world.stack.clients.s3.put_object(Bucket=world.stack.bucket.name, Key="truststore.pem", Body=theirs.encode())
    world.settle()


def set_back_and_reconcile(world: World) -> None:
    """Somebody sets a domain back to a truststore of before."""
    domain = next(iter(world.stack.gateway.domains.values()))
    domain.version_id = object_versions(world.stack, "truststore.pem")[0][0]
    world.settle()


def answer(world: World) -> bytes:
    """What the partner signs, with the CA that it signs by."""
    requests = [body for key, body in contents(world.stack).items() if key.endswith(".csr")]
    csr = x509.load_pem_x509_csr(requests[0])
    partner = other_ca()
    builder = (
        x509.CertificateBuilder()
        .subject_name(csr.subject)
        .issuer_name(partner.certificate.subject)
        .public_key(csr.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(world.stack.moment - timedelta(hours=1))
        .not_valid_after(world.stack.moment + timedelta(days=60))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(csr.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(partner.key.public_key()), critical=False)
    )
    for extension in csr.extensions:
        builder = builder.add_extension(extension.value, critical=extension.critical)
    signed = builder.sign(partner.key, hashes.SHA256())
    return pki.to_pem(signed, partner.certificate).encode()


def take_in(world: World) -> None:
    """The partner's answer is uploaded and taken in, and the rotation goes on."""
    world.stack.clients.s3.put_object(Bucket=world.stack.bucket.name, Key=UPLOADED, Body=answer(world))
    world.take_in(UPLOADED)
    world.settle()


def refuse(world: World) -> None:
    """An upload for which nobody waits."""
    stranger = pki.to_pem(builders.leaf(other_ca()).certificate).encode()
    world.stack.clients.s3.put_object(Bucket=world.stack.bucket.name, Key=UPLOADED, Body=stranger)
    world.take_in(UPLOADED)
    world.settle()


def ask_otherwise(world: World) -> None:
    """The operator asks the partner for something else, while a request is out."""
    changed = builders.client_definition(request={"common_name": "invoices", "validity_days": 30}, issuer=EXTERNAL)
    world.stack.clients.secretsmanager.put_secret_value(SecretId=CLIENT, SecretString=json.dumps(changed))
    world.stack.secrets._note_current(world.stack.secrets.record(CLIENT))
    world.stack.secrets.rotations.append((CLIENT, str(world.stack.at("AWSPENDING"))))
    world.settle()


def notice(world: World, name: str, body: str) -> None:
    world.stack.clients.s3.put_object(Bucket=world.stack.bucket.name, Key=f"revoked/{name}", Body=body.encode())


def revoke(world: World, label: str = "AWSCURRENT") -> None:
    """An operator revokes a client's certificate; it is rotated."""
    notice(world, "lost.pem", pki.to_pem(world.stack.certificate(world.stack.at(label))))
    world.revoke()
    world.settle()


def rotation_under_way(world: World) -> None:
    """A certificate is being rotated in."""
    world.stack.step(Step.CREATE, world.stack.begin())


def revocation(world: World) -> None:
    """The first run, or the hourly one."""
    world.revoke()


def revoked_before(world: World) -> None:
    notice(world, "lost.pem", pki.to_pem(world.stack.certificate(world.stack.at("AWSPREVIOUS"))))
    world.revoke()


def withdraw(world: World) -> None:
    """A notice is taken back, and another cannot be read."""
    world.stack.clients.s3.delete_object(Bucket=world.stack.bucket.name, Key="revoked/lost.pem")
    notice(world, "nonsense.pem", "no certificate")
    world.revoke()


def set_up(world: World, with_ca: bool = True, **changes: Any) -> None:
    """The stack is created or updated."""
    issuer = changes.get("issuer", {})
    authority = {"issuer": KMS} if issuer.get("type") == "kms" else {}
    ca_secret = SecretDefinition(CA, builders.ca_definition(**authority)) if with_ca else None
    world.set_up(ca_secret, SecretDefinition(CLIENT, builders.client_definition(**changes)))
    world.settle()


def empty_secrets(world: World) -> None:
    """The secrets as CloudFormation makes them."""
    for name in (CA, CLIENT):
        world.stack.add_secret(name, None)


def set_up_with_private_ca(world: World) -> None:
    set_up(world, with_ca=False, issuer={"type": "acm-pca", "certificate_authority_arn": world.private_ca})


def only_the_client(world: World) -> None:
    world.stack.add_secret(CLIENT, None)


def expecting(world: World) -> None:
    """The functions are told of a domain name that CloudFormation makes after the bootstrap."""
    world.stack.expect_gateway()


_KMS_CLIENT = partial(client, issuer={"type": "kms", "ca_secret": CA})
_SELF_SIGNED_CLIENT = partial(client, issuer=SELF_SIGNED)
_EXTERNAL_CLIENT = partial(client, issuer=EXTERNAL)
_PINNED = EXTERNAL | {"ca_certificates": pki.to_pem(other_ca().certificate)}
_TRUSTED_EXTERNAL_CLIENT = partial(client, issuer=_PINNED, trusted_by_gateway=True)
_CA_WITH_NOTICE = partial(ca, notice_days=14)
_EVERYDAY = (ca, client, published, gateway, rotated)

SCENARIOS = (
    # clients, by issuer
    Scenario("secretsmanager, first rotation, no gateway", (ca, client), rotate),
    Scenario("secretsmanager, later rotation, no gateway", (ca, client, rotated), rotate),
    Scenario("secretsmanager, first rotation, gateway", (ca, client, published, gateway), rotate),
    Scenario("secretsmanager, later rotation, gateway", _EVERYDAY, rotate, quick=True),
    Scenario(
        "secretsmanager, gateway that lacks the CA",
        (ca, published, gateway, client_of_another_ca),
        rotate,
    ),
    Scenario(
        "secretsmanager, known elsewhere only",
        (ca, partial(client, trusted_by_gateway=False), published, gateway, rotated),
        rotate,
    ),
    Scenario("kms, first rotation, no gateway", (ca_in_kms, _KMS_CLIENT), rotate),
    Scenario("kms, later rotation, gateway", (ca_in_kms, _KMS_CLIENT, published, gateway, rotated), rotate),
    Scenario("acm-pca, first rotation, no gateway", (client_of_private_ca,), rotate),
    Scenario(
        "acm-pca, first rotation, gateway that lacks the CA", (ca, published, gateway, client_of_private_ca), rotate
    ),
    Scenario("acm-pca, later rotation, gateway", (ca, published, gateway, client_of_private_ca, rotated), rotate),
    Scenario("self-signed, first rotation, gateway", (ca, published, gateway, _SELF_SIGNED_CLIENT), rotate),
    Scenario(
        "self-signed, later rotation, gateway",
        (ca, published, gateway, _SELF_SIGNED_CLIENT, rotated),
        rotate,
    ),
    Scenario("external, the request goes out", (_EXTERNAL_CLIENT,), rotate, waiting=True),
    Scenario("external, the answer comes in", (_EXTERNAL_CLIENT, asked), take_in, quick=True),
    Scenario("external, the answer comes in, slow retries", (_EXTERNAL_CLIENT, asked), take_in, patient=True),
    Scenario(
        "external and trusted by the gateway, the answer comes in",
        (ca, published, gateway, _TRUSTED_EXTERNAL_CLIENT, asked),
        take_in,
    ),
    Scenario("external, later rotation", (_EXTERNAL_CLIENT, asked, take_in), rotate, waiting=True),
    Scenario("external, asked otherwise meanwhile", (_EXTERNAL_CLIENT, asked), ask_otherwise, waiting=True),
    Scenario("external, an answer that nobody waits for", (_EXTERNAL_CLIENT, asked), refuse, waiting=True),
    # CAs
    Scenario("CA in its secret, first rotation", (ca_without_certificate,), partial(rotate, secret=CA)),
    Scenario("CA in its secret, no gateway", (ca, client, rotated), partial(rotate, secret=CA)),
    Scenario("CA in its secret, gateway", _EVERYDAY, partial(rotate, secret=CA)),
    Scenario(
        "CA with notice, gateway", (_CA_WITH_NOTICE, client, published, gateway, rotated), partial(rotate, secret=CA)
    ),
    Scenario(
        "CA with notice, again during the notice",
        (_CA_WITH_NOTICE, client, published, gateway, rotated, partial(rotated, secret=CA, times=1)),
        partial(rotate, secret=CA),
    ),
    Scenario("CA in KMS, first rotation", (partial(ca_without_certificate, issuer=KMS),), partial(rotate, secret=CA)),
    Scenario(
        "CA in KMS, later rotation, gateway",
        (ca_in_kms, _KMS_CLIENT, published, gateway, rotated),
        partial(rotate, secret=CA),
    ),
    # a CA that is rotated before its time
    Scenario("CA that must be rotated first, no gateway", (partial(dying_ca, days=20), client), rotate),
    Scenario(
        "CA that must be rotated first, gateway",
        (partial(dying_ca, days=20), client, published, gateway),
        rotate,
    ),
    Scenario(
        "CA that is rotated beside, gateway",
        (partial(dying_ca, days=40, notice_days=14), client, published, gateway),
        rotate,
    ),
    # the sync
    Scenario("sync, first publish", (ca, client), reconcile),
    Scenario("sync, bundle with a certificate that is refused", (*_EVERYDAY,), upload_and_reconcile),
    Scenario("sync, two domains", (ca, client, published, two_domains, rotated), upload_and_reconcile, quick=True),
    Scenario("sync, truststore written over", (*_EVERYDAY, static, reconcile), overwrite_and_reconcile),
    Scenario("sync, domain set back", (*_EVERYDAY, static, reconcile), set_back_and_reconcile),
    Scenario(
        "sync, an anchor leaves",
        (
            *_EVERYDAY,
            partial(rotated, secret=CA, times=1),
            rotated,
            partial(long_ago, hours=3),
            reconcile,
            partial(long_ago, hours=3),
        ),
        reconcile,
    ),
    Scenario("sync, what nobody holds is forgotten", (*_EVERYDAY, partial(long_ago, days=31)), reconcile),
    # revocation
    Scenario("revocation, first run", _EVERYDAY, revocation),
    Scenario("revocation, CA in KMS", (ca_in_kms, _KMS_CLIENT, rotated), revocation),
    Scenario("revocation, of a certificate in use", (*_EVERYDAY, revocation), revoke),
    Scenario("revocation, of a certificate in use, slow retries", (*_EVERYDAY, revocation), revoke, patient=True),
    Scenario(
        "revocation, of a pending certificate",
        (*_EVERYDAY, revocation, rotation_under_way),
        partial(revoke, label="AWSPENDING"),
    ),
    Scenario(
        "revocation, withdrawn, and a notice that is refused",
        (*_EVERYDAY, revocation, revoked_before),
        withdraw,
        quick=True,
    ),
    # the bootstrap
    Scenario("bootstrap, no gateway", (empty_secrets,), set_up),
    Scenario("bootstrap, gateway to come", (empty_secrets, expecting), set_up),
    Scenario(
        "bootstrap, CA in KMS", (empty_secrets, expecting), partial(set_up, issuer={"type": "kms", "ca_secret": CA})
    ),
    Scenario("bootstrap, acm-pca", (only_the_client, expecting, private_ca), set_up_with_private_ca),
    Scenario(
        "bootstrap, self-signed client",
        (only_the_client, expecting),
        partial(set_up, with_ca=False, issuer=SELF_SIGNED, request={"common_name": "billing", "validity_days": 365}),
    ),
    Scenario(
        "bootstrap, update of a stack with a gateway",
        (*_EVERYDAY, static),
        partial(set_up, request={"common_name": "renamed", "validity_days": 30}),
    ),
)
