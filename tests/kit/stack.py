"""A stack as tests see it: moto's AWS, the engine joined to it, and what is to be looked at afterwards."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from cryptography import x509

from mtls_rotation.aws.bucket import CertificateBucket
from mtls_rotation.aws.bus import EventBus
from mtls_rotation.aws.clients import Clients
from mtls_rotation.aws.key_policy import KeyUsers
from mtls_rotation.aws.secret_versions import SecretVersions
from mtls_rotation.aws.services import Services
from mtls_rotation.contract.issuance import Issuance
from mtls_rotation.contract.layout import MANAGED_ANCHORS, TRUSTSTORE, EmptyKey, IssuedKey
from mtls_rotation.issuers.external.intake import Intake
from mtls_rotation.issuers.registry import Issuers
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from mtls_rotation.revocation.run import Revocation, RevocationResult
from mtls_rotation.rotation.admission import Admission
from mtls_rotation.rotation.memory import Memory
from mtls_rotation.rotation.request import RotationRequest, Step
from mtls_rotation.rotation.run import Rotation
from mtls_rotation.stack.bootstrap import Bootstrap
from mtls_rotation.targets.limits import API_GATEWAY
from mtls_rotation.targets.registry import TruststoreTargets
from mtls_rotation.truststore.anchor_objects import Bounds
from mtls_rotation.truststore.plan import Settings
from mtls_rotation.truststore.sync import SyncResult, TruststoreSync
from mtls_rotation.truststore.turn import Turn
from tests.kit import builders
from tests.kit.fakes import ACCOUNT, ApiGateway, Domain, FakeTime, KeyTags, Kms, PrivateCa, SecretsManager

NAME = "stack"
TAG = "mtls-rotation:stack"
BUCKET = "certificates"
QUEUE = "heard"
DOMAIN = "api.example.com"
CA, CLIENT = f"{NAME}/ca", f"{NAME}/client"


@dataclass
class Mocked:
    """boto3's clients, made once: making them takes longer than most tests."""

    secretsmanager: Any
    s3: Any
    events: Any
    sqs: Any
    kms: Any
    acm_pca: Any


KEY_USERS = KeyUsers(
    makers=tuple(f"arn:aws:iam::{ACCOUNT}:role/{NAME}-{it}-1a2B3c" for it in ("RotateRole", "BootstrapRole")),
    signers=(f"arn:aws:iam::{ACCOUNT}:role/{NAME}-RevocationRole-1a2B3c",),
)


# What most tests are not about.
ANYTHING = Issuance(NAME, trusted=("*",))


@dataclass(frozen=True)
class Names:
    """What is called how in a stack of the tests."""

    stack: str = NAME
    bucket: str = BUCKET
    event_bus: str = "default"
    key_users: KeyUsers = KEY_USERS
    issuance: Issuance = ANYTHING


@dataclass
class Stack:
    """One stack. `with_gateway` gives it a domain name.

    Attributes:
        now: its clock. It begins when the stack is made: moto's objects bear the real time, and a slow run lasts longer
            than the margins of some tests.
        capacity: how many certificates API Gateway takes.
        memory: of the execution environment that stays warm and runs every step; None: each step has one of its own.
        bounds: how much of what is uploaded the sync looks at.
        self_signed_clients: whether its gateway is said to let in clients whose certificate has signed itself.
    """

    clients: Mocked
    time: FakeTime = field(default_factory=FakeTime)
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    settings: Settings = field(default_factory=Settings)
    capacity: int = API_GATEWAY.capacity
    memory: Memory | None = None
    self_signed_clients: bool = False
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        self.secrets = SecretsManager(self.clients.secretsmanager)
        self.gateway = ApiGateway(lambda it: self.bucket.read(TRUSTSTORE, it) is not None, lambda: self.moment)
        self.kms = Kms(self.clients.kms, lambda: self.moment)
        self.private_ca: Any = PrivateCa(self.clients.acm_pca, lambda: self.moment)
        self.services = Services(Clients(self.client), Names(), lambda: self.moment)
        # moto's knows no stack that rolls back
        self.cloudformation: Any = SimpleNamespace(
            describe_stacks=lambda **_: {"Stacks": [{"StackStatus": "CREATE_IN_PROGRESS"}]}
        )
        self._targets: tuple[str, ...] = ()

    def client(self, service: str, **_: Any) -> Any:
        """A client of AWS as the engine gets it: moto's, or a stand-in where moto lacks something."""
        match service:
            case "secretsmanager":
                return self.secrets
            case "apigateway":
                return self.gateway
            case "kms":
                return self.kms
            case "resourcegroupstaggingapi":
                return KeyTags(self.kms)
            case "cloudformation":
                return self.cloudformation
            case "acm-pca":
                return self.private_ca
            case _:
                return getattr(self.clients, service)

    def bound(self, issuance: Issuance) -> None:
        """Have the operator say who may ask for what."""
        self.services = Services(Clients(self.client), Names(issuance=issuance), lambda: self.moment)

    @property
    def versions(self) -> SecretVersions:
        """Secrets Manager."""
        return self.services.versions

    @property
    def bucket(self) -> CertificateBucket:
        """The bucket."""
        return self.services.bucket

    @property
    def bus(self) -> EventBus:
        """The event bus."""
        return self.services.bus

    # making it --------------------------------------------------------------------------------------------------------

    def create(self) -> None:
        """The bucket, and a queue that hears every event with the project's source."""
        self.clients.s3.create_bucket(Bucket=BUCKET)
        self.clients.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        self._queue = self.clients.sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
        arn = f"arn:aws:sqs:us-east-1:123456789012:{QUEUE}"
        self.clients.events.put_rule(Name="all", EventPattern=json.dumps({"source": ["mtls-rotation"]}))
        self.clients.events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])

    def with_gateway(self) -> None:
        """The domain name, running the truststore that is published now."""
        published = self.bucket.read(TRUSTSTORE)
        version = published.version_id if published else None
        self.gateway.domains[DOMAIN] = Domain(self.bucket.truststore_uri, version)
        self.expect_gateway()

    def expect_gateway(self) -> None:
        """The functions are told of a domain name, which need not be there."""
        self._targets = (DOMAIN,)

    def add_targets(self, *names: str) -> None:
        """The functions are told of further targets, by name or ARN."""
        self._targets += names

    def add_domains(self, *names: str) -> tuple[str, ...]:
        """Further domain names, running what the first does."""
        first = self.gateway.domains[DOMAIN]
        for name in names:
            self.gateway.domains[name] = Domain(first.uri, first.version_id)
        self.add_targets(*names)
        return names

    def add_secret(self, name: str, value: str | dict[str, Any] | None, *, rotates: bool = True) -> str:
        """A tagged secret; the id of its version at AWSCURRENT."""
        tags = [{"Key": TAG, "Value": NAME}]
        text = {} if value is None else {"SecretString": value if isinstance(value, str) else json.dumps(value)}
        answer = self.clients.secretsmanager.create_secret(Name=name, Tags=tags, **text)
        if rotates:
            self.secrets.enable_rotation(name)
        version = str(answer.get("VersionId", ""))
        if version and '"certificate"' not in text["SecretString"]:
            self.bucket.put_once(str(EmptyKey(name, version)), "")  # as the bootstrap does, or createSecret
        return version

    def add_ca(self, ca: pki.CertifiedKey, name: str = CA, **changes: Any) -> str:
        """A CA secret that holds this CA, filed as the bootstrap files it."""
        version = self.add_secret(name, builders.issued_value(builders.ca_definition(**changes), ca))
        self.file(ca, name, version, authority=True)
        return version

    def file(self, issued: pki.CertifiedKey, secret: str, version_id: str, *, authority: bool = False) -> None:
        """The public certificate and its anchor, where createSecret puts them."""
        anchor = pki.fingerprint(issued.anchor)
        self.bucket.put_once(f"{MANAGED_ANCHORS}{anchor}.pem", pki.to_pem(issued.anchor))
        certificate = issued.certificate
        key = IssuedKey(anchor, secret, version_id, pki.serial(certificate), authority, certificate.not_valid_after_utc)
        self.bucket.put_once(str(key), pki.to_pem(issued.certificate))

    def file_again_without_ends(self) -> None:
        """Every certificate that is filed, once more as an earlier release filed it."""
        for key, body in self.objects().items():
            if issued := IssuedKey.parse(key):
                self.bucket.put_once(str(replace(issued, not_after=None)), body.decode())

    # the engine -------------------------------------------------------------------------------------------------------

    @property
    def targets(self) -> TruststoreTargets:
        """What runs the truststore, as the functions see it."""
        return TruststoreTargets(self.services, self._targets, capacity=self.capacity)

    @property
    def rotation(self) -> Rotation:
        """The four steps, in a fresh execution environment, or in the warm one, if there is one."""
        return Rotation(
            self.services,
            targets=self.targets,
            issuers=Issuers(self.services),
            memory=self.memory or Memory(),
            admission=self.admission,
        )

    @property
    def admission(self) -> Admission:
        """What is known of its gateways."""
        return Admission(bool(self._targets), self.self_signed_clients)

    @property
    def intake(self) -> Intake:
        """What takes in certificates that somebody else signed."""
        return Intake(self.services)

    @property
    def revocation(self) -> Revocation:
        """What makes the revocation list, the CRLs, and the rotations of what was revoked."""
        return Revocation(self.services, issuers=Issuers(self.services), crl_validity=timedelta(days=7))

    def revoke(self, name: str, body: str | bytes) -> RevocationResult:
        """Upload a notice, and have it taken in."""
        content = body.encode() if isinstance(body, str) else body
        self.clients.s3.put_object(Bucket=BUCKET, Key=f"revoked/{name}", Body=content)
        return self.revocation.run()

    @property
    def sync(self) -> TruststoreSync:
        """The reconcile."""
        return TruststoreSync(self.services, targets=self.targets, settings=self.settings, bounds=self.bounds)

    @property
    def bootstrap(self) -> Bootstrap:
        """The custom resource's work."""
        return Bootstrap(
            self.services,
            sync=self.sync,
            turn=Turn(self.services, self.targets),
            issuers=Issuers(self.services),
            revocation=self.revocation,
            admission=self.admission,
        )

    @property
    def moment(self) -> datetime:
        """What the time is: `now`, and what has been slept since."""
        return self.now + timedelta(seconds=self.time.now)

    def reconcile(self, **options: Any) -> SyncResult:
        """One reconcile, whose domain updates settle at once."""
        self.time.meanwhile.append(self.gateway.settle)
        try:
            return self.sync.run(self.time.deadline(), **options)
        finally:
            self.time.meanwhile.remove(self.gateway.settle)

    def begin(self, secret: str = CLIENT) -> str:
        """Stage a version as RotateSecret does; its token."""
        token = str(uuid.uuid4())
        self.secrets.stage(secret, token)
        return token

    def step(self, step: Step, token: str, secret: str = CLIENT, *, seconds: float = 300.0, **more: Any) -> None:
        """Run one step."""
        request = RotationRequest(step, self.secrets.record(secret).arn, token, **more)
        self.rotation.run(request, self.time.deadline(seconds))

    def rotate(self, secret: str = CLIENT) -> str:
        """All four steps; the token."""
        token = self.begin(secret)
        for step in Step:
            self.step(step, token, secret)
        return token

    def pass_time(self, **span: float) -> None:
        """Let time pass for everything that asks what the moment is."""
        self.now += timedelta(**span)

    # looking at it ----------------------------------------------------------------------------------------------------

    def labels(self, secret: str = CLIENT) -> dict[str, set[str]]:
        """Version id → labels, of the versions that have any."""
        versions = self.secrets.record(secret).versions
        return {key: set(value["version_stages"]) for key, value in versions.items() if value["version_stages"]}

    def at(self, label: str, secret: str = CLIENT) -> str | None:
        """The one version with this label."""
        found = [version for version, labels in self.labels(secret).items() if label in labels]
        assert len(found) <= 1, f"{label} is on {found}"
        return found[0] if found else None

    def value(self, version_id: str | None, secret: str = CLIENT) -> dict[str, Any]:
        """What a version holds; empty if nothing."""
        version = self.secrets.record(secret).versions.get(version_id or "", {})
        document: dict[str, Any] = json.loads(version.get("secret_string", "{}"))
        return document

    def certificate(self, version_id: str | None, secret: str = CLIENT) -> x509.Certificate:
        """The certificate of a version."""
        return x509.load_pem_x509_certificate(self.value(version_id, secret)["certificate"].encode())

    def serial(self, version_id: str | None, secret: str = CLIENT) -> str:
        """The serial number of a version's certificate, in hex."""
        return pki.serial(self.certificate(version_id, secret))

    def issued_key(self, version_id: str, secret: str = CLIENT) -> str:
        """Where a version's certificate is filed, under the anchor in its value."""
        certificate = self.certificate(version_id, secret)
        (anchor,) = pki.from_pem(self.value(version_id, secret)["anchor"])
        key = IssuedKey(pki.fingerprint(anchor), secret, version_id, pki.serial(certificate))
        return str(replace(key, not_after=certificate.not_valid_after_utc))

    def objects(self) -> dict[str, bytes]:
        """Key → content of everything in the bucket."""
        found = {entry.key: self.bucket.read(entry.key) for entry in self.bucket.list("")}
        return {key: stored.body for key, stored in found.items() if stored}

    def published(self) -> frozenset[str]:
        """The fingerprints in the truststore that lies in the bucket."""
        stored = self.bucket.read(TRUSTSTORE)
        return bundles.fingerprints(stored.body) if stored else frozenset()

    def deployed(self) -> frozenset[str]:
        """The fingerprints in the truststore that the gateway runs."""
        stored = self.bucket.read(TRUSTSTORE, self.gateway.domains[DOMAIN].version_id)
        return bundles.fingerprints(stored.body) if stored else frozenset()

    def served(self) -> frozenset[str]:
        """The fingerprints that the gateway checks requests against now, whatever it shows."""
        self.gateway.get_domain_name(domainName=DOMAIN)  # what is over by now has taken effect
        domain = self.gateway.domains[DOMAIN]
        stored = self.bucket.read(TRUSTSTORE, domain.served or domain.version_id)
        return bundles.fingerprints(stored.body) if stored else frozenset()

    def object_versions(self, key: str) -> int:
        """How many times an object was written."""
        listed = self.clients.s3.list_object_versions(Bucket=BUCKET, Prefix=key)
        return len([entry for entry in listed.get("Versions", []) if entry["Key"] == key])

    def snapshot(self) -> dict[str, Any]:
        """Everything that a refused step must leave as it was: versions, labels, values, objects and domain updates."""
        backend = self.secrets.record(CLIENT).versions if self.exists(CLIENT) else {}
        versions = {key: dict(value, version_stages=sorted(value["version_stages"])) for key, value in backend.items()}
        return {"versions": versions, "objects": self.objects(), "updates": list(self.gateway.updates)}

    def heard(self, detail_type: str | None = None) -> list[dict[str, Any]]:
        """The events that were put since it was asked last, of one type or all."""
        events = []
        while messages := self.clients.sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get(
            "Messages"
        ):
            for message in messages:
                self.clients.sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                events.append(json.loads(message["Body"]))
        return [event for event in events if detail_type in (None, event["detail-type"])]

    def exists(self, secret: str) -> bool:
        """Whether there is such a secret."""
        from moto.secretsmanager.models import secretsmanager_backends

        return secret in secretsmanager_backends["123456789012"]["us-east-1"].secrets
