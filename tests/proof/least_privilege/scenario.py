"""One stack that has every part, and a life for it in which every permission is needed. IAM is enforced throughout.

It does what operators, partners and time do to a stack; the functions answer under the template's own roles, and the
local AWS writes down what they were allowed. Nothing here calls AWS in a function's place.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509

from demo import sam
from demo.certificates import Held
from demo.waiting import await_condition, await_rotation
from localaws import LocalAws, sealed
from localaws.iam.authorizations import DIRECTORY
from mtls_rotation.contract import layout
from mtls_rotation.contract.labels import secret_name
from mtls_rotation.pki import certificates as pki
from mtls_rotation.pki import profile
from mtls_rotation.pki.request import CertificateRequest
from mtls_rotation.truststore.state import SyncState
from tests.kit import builders, change_sets
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation
from tests.kit.upstream import Upstream, upstream

STACK, FURTHER = "least", "orders.e2e.example"
ROUTES, ALLOW_LIST = "/least/routes", "/least/allow-list"
TAG = {"Key": "mtls-rotation:stack", "Value": STACK}
_LONG = 90.0


@dataclass
class Life:
    """The stack, and what happens to it."""

    deployment: Deployment
    partner: Upstream

    def has_fired(self, logical_id: str) -> bool:
        """Whether one of the stack's rules has told its target anything, by the records."""
        source = f':rule/{self.rule(logical_id)}"'
        return any(source in line for it in Path(os.environ[DIRECTORY]).glob("*.jsonl") for line in _sources(it))

    def client(self, service: str) -> Any:
        return sam.session(self.deployment.environment).client(service)  # type: ignore[call-overload]

    @cached_property
    def events(self) -> Any:
        return self.client("events")

    def rule(self, logical_id: str) -> str:
        """The name of one of the stack's rules."""
        names = [rule["Name"] for page in self._rules() for rule in page["Rules"]]
        (name,) = [it for it in names if f"-{logical_id}-" in f"{it}-"]
        return str(name)

    def _rules(self) -> list[Any]:
        return [self.events.list_rules(NamePrefix=STACK)]

    def function(self, logical_id: str) -> str:
        """The name of one of the stack's functions."""
        functions = self.client("lambda").list_functions()["Functions"]
        (name,) = [it["FunctionName"] for it in functions if f"-{logical_id}-" in it["FunctionName"]]
        return str(name)

    def listen(self, *, to_the_queue: bool) -> None:
        """Have the sync take from its queue, or leave in it what comes."""
        functions = self.client("lambda")
        (mapping,) = functions.list_event_source_mappings(FunctionName=self.function("TruststoreSyncFunction"))[
            "EventSourceMappings"
        ]
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=to_the_queue)

    def further_truststore(self) -> str:
        """The version that the further domain names; empty if none."""
        shown = self.deployment.apigateway.get_domain_name(domainName=FURTHER)
        return shown["mutualTlsAuthentication"].get("truststoreVersion", "")

    def put(self, key: str, body: str | bytes) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.deployment.s3.put_object(Bucket=self.deployment.bucket, Key=key, Body=data)

    def get(self, key: str) -> bytes:
        return self.deployment.s3.get_object(Bucket=self.deployment.bucket, Key=key)["Body"].read()

    def lose(self, prefix: str) -> None:
        """Delete what lies under a prefix."""
        for key in self.keys(prefix):
            self.deployment.s3.delete_object(Bucket=self.deployment.bucket, Key=key)

    def keys(self, prefix: str) -> list[str]:
        answer = self.deployment.s3.list_objects_v2(Bucket=self.deployment.bucket, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", [])]

    def make(self, name: str, definition: dict[str, Any], *tags: tuple[str, str]) -> str:
        """A secret of an operator's own, under the stack's tag. Its ARN."""
        made = self.deployment.secrets.create_secret(
            Name=f"{STACK}/{name}",
            SecretString=json.dumps(definition),
            Tags=[TAG, *({"Key": f"mtls-rotation:{key}", "Value": value} for key, value in tags)],  # type: ignore[list-item]
        )
        return made["ARN"]

    def hurry(self) -> None:
        """Have the sync forget when it last updated a domain: it keeps to API Gateway's 30 seconds by itself."""
        self.deployment.s3.delete_object(Bucket=self.deployment.bucket, Key=layout.SYNC_NOTES)

    def start(self, secret: str) -> str:
        """Have a secret rotated for the first time, and return the version."""
        self.hurry()
        answer = self.deployment.secrets.rotate_secret(
            SecretId=secret,
            RotationLambdaARN=self.deployment.stack.outputs["RotateFunction"],
            RotationRules={"ScheduleExpression": "rate(10 days)"},
        )
        return answer["VersionId"]

    def filed(self, secret: str, version: str, prefix: str) -> str:
        """The key of a version's public certificate."""
        (key,) = [it for it in self.keys(prefix) if f"/{secret}/{version}." in it]
        return key

    def revoke(self, name: str, key: str) -> None:
        """What an operator does: copy the certificate to where an upload revokes."""
        self.put(f"{layout.REVOKED}{name}.pem", self.get(key))

    def is_revoked(self, key: str) -> bool:
        serial = pki.serial(x509.load_pem_x509_certificate(self.get(key)))
        return serial.encode() in self.get(layout.REVOCATION_LIST)


def _sources(record: Path) -> list[str]:
    return [line.partition('"source": ')[2].partition(", ")[0] for line in record.read_text().splitlines()]


@contextmanager
def recorded(directory: Path) -> Iterator[None]:
    """Have the local AWSs that are started here write down what they allow."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DIRECTORY, str(directory))
        yield


def run(directory: Path, say: Callable[[str], None] = print) -> list[Path]:
    """Live the life, and return the records. ``directory`` is made, and must be empty."""
    directory.mkdir(parents=True, exist_ok=True)
    records = directory / "records"
    settings: dict[str, Any] = {
        "domain_update_interval": timedelta(seconds=2),
        "domain_update_time": timedelta(seconds=0.2),
        "rotation_retries": 0,
        "concurrent_executions": 1000,
    }
    with ExitStack() as stack:
        stack.enter_context(recorded(records))
        identity = builders.server_certificate(builders.root("Partner's server CA"))
        partner = stack.enter_context(upstream(identity))
        log = directory / "local-aws.log"
        aws = stack.enter_context(LocalAws.start(log_path=log, enforce_iam=True, **settings))
        life = born(aws, partner)
        for part in PARTS:
            say(part.__name__)
            part(life)
    return sorted(records.glob("*.jsonl"))


def born(aws: LocalAws, partner: Upstream) -> Life:
    """The stack with every part there is, but a CA of AWS Private CA."""
    parameters = sam.session(sealed(os.environ, aws.environment())).client("ssm")
    routes = {"routes": {"billing": {"upstream": partner.url, "server_ca": partner.ca, "timeout": 10}}}
    parameters.put_parameter(Name=ROUTES, Type="String", Value=json.dumps(routes))
    allowed = {"routes": {"* /**": ["*"]}, "otherwise": "deny"}
    parameters.put_parameter(Name=ALLOW_LIST, Type="String", Value=json.dumps(allowed))
    made = change_sets.deploy_gateway(
        aws,
        STACK,
        DOMAIN,
        ClientIssuer="kms",
        ExternalIssuer="enabled",
        EncryptionKey="customer",
        Tracing="enabled",
        AllowListParameter=ALLOW_LIST,
        ProxyRoutesParameter=ROUTES,
        ProxyCallers="both",
        ProxyCertificateCheckSeconds="1",
        RevocationTtlSeconds="1",
    )
    deployment = Deployment(aws, made.stack, made.environment, made.parameters)
    return Life(await_first_rotation(deployment), partner)


# -- what happens, in this order


def clients_come_in_and_call_out(life: Life) -> None:
    """By the gateway, to the proxy, and to the proxy with a signature."""
    gateway, held = life.deployment, life.deployment.held()
    life.partner.trust(*gateway.published())
    assert _status(gateway.url, held) == 200
    assert _status(f"{gateway.url}proxy/billing/orders", held) == 200
    url = f"{gateway.aws.endpoint_url}/_aws/execute-api/{gateway.stack.outputs['ProxyApi']}/live/proxy/billing/orders"
    signed = AWSRequest("GET", url, headers={"Host": urlsplit(url).netloc})
    key = gateway.environment
    credentials = Credentials(key["AWS_ACCESS_KEY_ID"], key["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(credentials, "execute-api", "us-east-1").add_auth(signed)
    assert httpx.get(url, headers=dict(signed.headers), trust_env=False, timeout=20.0).status_code == 200


def _status(url: str, held: Held) -> int:
    with httpx.Client(verify=held.context, trust_env=False, timeout=20.0) as client:
        return client.get(url).status_code


def partners_upload_their_authorities(life: Life) -> None:
    """Two, one after the other: the second has to wait for API Gateway's 30 seconds to be over, in the queue.

    The truststore is written over before the second, and the CAs are lost: what the gateway runs counts, is read by its
    version, and filed anew.
    Beside it a CA of the name of the stack's own is uploaded, with another key identifier: what clients hold is read.
    """
    (ours,) = pki.from_pem(life.deployment.value(life.deployment.ca)["certificate"])
    life.hurry()
    for number in range(2):
        if number == 1:
            life.put(layout.TRUSTSTORE, "written over by hand")
            life.lose(layout.MANAGED_ANCHORS)
        before = life.deployment.deployed_truststore()
        anchor = builders.root(f"Partner {number}").certificate
        beside = [builders.twin(ours, b"another")] * number
        life.put(f"{layout.STATIC_ANCHORS}{number}.pem", pki.to_pem(anchor, *beside))
        await_condition(
            lambda before=before: life.deployment.deployed_truststore() != before,  # type: ignore[misc]
            "a partner's CA is deployed",
            _LONG,
        )


def the_authority_is_rotated_and_a_killed_run_leaves_a_key_behind(life: Life) -> None:
    """The CA, its key in KMS, and then one of which two runs made a key: the second is discarded."""
    gateway = life.deployment
    gateway.await_rest(gateway.ca)
    life.hurry()
    gateway.rotate(gateway.ca, within=_LONG)
    life.hurry()
    gateway.rotate(gateway.client, within=_LONG)

    ca = life.make("kms", builders.ca_definition(issuer={"type": "kms"}), ("kind", "ca"))
    version = life.start(ca)
    await_rotation(gateway.aws, version, _LONG)
    gateway.await_rest(ca)
    # Reads lag: another run of createSecret does not see the value. The note of the first's key is gone.
    gateway.aws.configure(consistency_lag=timedelta(seconds=4))
    life.hurry()
    version = gateway.secrets.rotate_secret(SecretId=ca)["VersionId"]
    keys = life.client("resourcegroupstaggingapi")
    of_the_version = [{"Key": "mtls-rotation:version", "Values": [version]}]

    def first() -> list[Any]:
        found: list[Any] = keys.get_resources(ResourceTypeFilters=["kms:key"], TagFilters=of_the_version)[
            "ResourceTagMappingList"
        ]
        return found

    await_condition(lambda: bool(first()), "the first run's key", _LONG)
    life.client("s3").delete_object(Bucket=gateway.bucket, Key=layout.key_note(secret_name(ca)))
    event = {"Step": "createSecret", "SecretId": ca, "ClientRequestToken": version}
    life.client("lambda").invoke(FunctionName=life.function("RotateFunction"), Payload=json.dumps(event))
    gateway.aws.configure(consistency_lag=timedelta(0))
    await_rotation(gateway.aws, version, _LONG)


def an_authority_has_a_key_that_an_operator_made(life: Life) -> None:
    """The roles sign with it by its tag: the CA's certificate, and its CRL."""
    tags = [{"TagKey": "mtls-rotation:stack", "TagValue": STACK}]
    made = life.client("kms").create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Tags=tags)["KeyMetadata"]
    ca = life.make("named", builders.ca_definition(issuer={"type": "kms", "key_id": made["Arn"]}), ("kind", "ca"))
    await_rotation(life.deployment.aws, life.start(ca), _LONG)
    (certificate,) = pki.from_pem(life.deployment.value(ca)["certificate"])
    crl = layout.crl_key(pki.fingerprint(certificate))
    await_condition(lambda: crl in life.keys(layout.CRLS), "its CRL", _LONG)


def an_authority_that_ends_too_early_is_rotated_before_it_issues(life: Life) -> None:
    """A CA with as many days as the certificates that it issues: a moment later it has fewer."""
    month = {"validity_days": 30}
    ca = life.make("soon", builders.ca_definition(request={"common_name": "Soon", **month}), ("kind", "ca"))
    await_rotation(life.deployment.aws, life.start(ca), _LONG)
    first = life.deployment.labels(ca)["AWSCURRENT"]
    client = life.make(
        "orders", builders.client_definition(f"{STACK}/soon", request={"common_name": "orders", **month})
    )
    await_rotation(life.deployment.aws, life.start(client), _LONG)
    assert life.deployment.labels(ca)["AWSCURRENT"] != first


def a_partner_signs_by_hand(life: Life) -> None:
    """The request goes out, the answer comes in, and the rotation that waited goes on: also while the list is lost."""
    gateway, ca = life.deployment, builders.root("Partner's client CA")
    rules = [life.rule(f"RevocationFunction{it}") for it in ("ListWritten", "ListLost")]
    for rule in rules:
        life.events.disable_rule(Name=rule)
    gateway.s3.delete_object(Bucket=gateway.bucket, Key=layout.REVOCATION_LIST)
    secret = life.make("partner", builders.client_definition(issuer={"type": "external"}))
    life.start(secret)
    await_condition(lambda: any(it.endswith(".csr") for it in life.keys(layout.REQUESTED)), "the request", _LONG)
    (key,) = [it for it in life.keys(layout.REQUESTED) if it.endswith(".csr")]
    request = x509.load_pem_x509_csr(life.get(key))
    wanted = CertificateRequest(common_name="billing", validity_days=30)
    signed = profile.issue_leaf(wanted, request.public_key(), ca.certificate, ca.key, builders.NOW)
    life.put(f"{layout.SIGNED}nobody.pem", pki.to_pem(builders.leaf(ca).certificate, ca.certificate))
    life.put(f"{layout.SIGNED}answer.pem", pki.to_pem(signed, ca.certificate))
    await_condition(lambda: "certificate" in gateway.value(secret), "the certificate", _LONG)
    await_condition(lambda: not life.keys(layout.REQUESTED), "the request is withdrawn", _LONG)
    # What is filed already is looked up: this one, and one for the gateway.
    gateway.await_rest(secret)
    life.put(f"{layout.SIGNED}again.pem", pki.to_pem(signed, ca.certificate))
    life.put(f"{layout.SIGNED}own.pem", gateway.value(gateway.client)["certificate"])
    for rule in rules:
        life.events.enable_rule(Name=rule)
    life.put(layout.REVOCATION_LIST, "written over by hand")
    await_condition(lambda: b'"revoked"' in life.get(layout.REVOCATION_LIST), "the list is made again", _LONG)


def certificates_are_revoked(life: Life) -> None:
    """What a client holds, what one that is not for a gateway holds, and what is still pending."""
    _revoke_each(life, "by-upload")
    await_condition(lambda: all(map(life.is_revoked, _revoked(life))), "they are on the list", _LONG)
    _await_a_pending_one_given_up(life, "by-upload")


def _revoke_each(life: Life, name: str) -> None:
    gateway = life.deployment
    for secret in ("client", "partner"):
        gateway.await_rest(f"{STACK}/{secret}")
    nowhere = {"url": "https://127.0.0.1:1/", "expected_status": [200]}
    brief = {"common_name": name, "validity_days": 20}
    pending = life.make(name, builders.client_definition(f"{STACK}/soon", request=brief, endpoint=nowhere))
    version = life.start(pending)
    await_condition(lambda: any(f"/{name}/{version}." in it for it in life.keys(layout.ISSUED)), "it is filed", _LONG)
    for it, prefix in (("client", layout.ISSUED), ("partner", layout.OUTSIDE)):
        current = gateway.labels(f"{STACK}/{it}")["AWSCURRENT"]
        life.revoke(f"{name}-{it}", life.filed(f"{STACK}/{it}", current, prefix))
    life.revoke(name, life.filed(f"{STACK}/{name}", version, layout.ISSUED))


def _revoked(life: Life) -> list[str]:
    return [it for it in life.keys(layout.REVOKED) if it.endswith(".pem")]


def _await_a_pending_one_given_up(life: Life, name: str) -> None:
    """Its rotation goes on with another version, or with none."""
    key = f"{layout.REVOKED}{name}.pem"
    serial = pki.serial(x509.load_pem_x509_certificate(life.get(key)))
    (filed,) = [it for it in life.keys(layout.ISSUED) if f".{serial}." in it]
    version = layout.IssuedKey.parse(filed)
    assert version
    await_condition(
        lambda: life.deployment.labels(f"{STACK}/{name}").get("AWSPENDING") != version.version_id, "given up", _LONG
    )


def the_list_is_lost_and_time_goes_by(life: Life) -> None:
    """The list is made again, told by S3 or by the gateway; and what comes every hour and every day comes now."""
    gateway, rule = life.deployment, life.rule("RevocationFunctionListWritten")
    revoked = {pki.serial(x509.load_pem_x509_certificate(life.get(key))) for key in _revoked(life)}
    await_condition(lambda: gateway.held().serial not in revoked, "the client holds what is not revoked", _LONG)
    gateway.s3.delete_object(Bucket=gateway.bucket, Key=layout.REVOCATION_LIST)
    await_condition(lambda: bool(life.keys(layout.REVOCATION_LIST)), "the list is there again", _LONG)
    life.events.disable_rule(Name=rule)
    held = gateway.held()

    def told() -> bool:
        # Again and again: a run that was begun before may have made it meanwhile.
        gateway.s3.delete_object(Bucket=gateway.bucket, Key=layout.REVOCATION_LIST)
        assert _status(gateway.url, held) == 200, "nobody is shut out meanwhile"
        return life.has_fired("RevocationFunctionListLost")

    await_condition(told, "the gateway tells of it", _LONG)
    await_condition(lambda: bool(life.keys(layout.REVOCATION_LIST)), "the list is there again", _LONG)
    life.events.enable_rule(Name=rule)
    for logical_id in ("RevocationFunctionHourly", "DailyRule"):
        life.events.put_rule(Name=life.rule(logical_id), ScheduleExpression="rate(1 minute)", State="ENABLED")


def _leave_behind(life: Life) -> None:
    """A CA that has left the truststore, with its CRL, and a certificate of a secret that is gone; all a month old."""
    gateway, authority = life.deployment, builders.root("Long gone")
    key = pki.fingerprint(authority.certificate)
    life.put(layout.managed_anchor_key(key), pki.to_pem(authority.certificate))
    life.put(layout.crl_key(key), b"a list")
    leaf = builders.leaf(authority).certificate
    gone = layout.OutsideKey(f"{STACK}/former", str(uuid.uuid4()), pki.serial(leaf), leaf.not_valid_after_utc)
    life.put(str(gone), pki.to_pem(leaf))
    for prefix in (layout.ISSUED, layout.OUTSIDE, layout.MANAGED_ANCHORS):
        gateway.aws.age_objects(gateway.bucket, prefix, timedelta(days=40))


def what_nobody_holds_is_forgotten(life: Life) -> None:
    """A month later, under a listing that lags: the sync asks for what an event names, and tidies up."""
    gateway = life.deployment
    gateway.await_rest(gateway.client)
    gateway.aws.configure(list_lag=timedelta(minutes=5))
    version = gateway.rotate(gateway.client, within=_LONG)
    _leave_behind(life)
    label = {"name": f"{STACK}/client", "labelUpdated": "AWSCURRENT", "versionId": version}
    entry = {
        "Source": "aws.secretsmanager",
        "DetailType": "Secret Label Updated",
        "Detail": json.dumps(label),
        "Resources": [gateway.client],
    }
    before = len(life.keys(layout.ISSUED))
    life.events.put_events(Entries=[entry])
    await_condition(lambda: len(life.keys(layout.ISSUED)) < before, "old entries are gone", _LONG)
    gateway.aws.configure(list_lag=timedelta(0))


def the_stack_is_updated_while_its_functions_hear_nothing(life: Life) -> None:
    """Whatever happened meanwhile, the bootstrap sees to: uploads, revocations, a domain that was set back."""
    gateway = life.deployment
    for name in ("RevocationFunctionHourly", "DailyRule"):
        await_condition(lambda name=name: life.has_fired(name), f"{name} comes", 90.0)  # type: ignore[misc]
    for name in ("Notice", "NewCa", "Hourly", "ListWritten", "ListLost"):
        life.events.disable_rule(Name=life.rule(f"RevocationFunction{name}"))
    authority = life.make("late", builders.ca_definition(), ("kind", "ca"))
    await_rotation(gateway.aws, life.start(authority), _LONG)
    life.listen(to_the_queue=False)
    for _ in range(3):
        gateway.rotate(gateway.client, within=_LONG)
    _revoke_each(life, "meanwhile")
    life.put(f"{layout.STATIC_ANCHORS}late.pem", pki.to_pem(builders.root("Late").certificate))
    life.lose(layout.MANAGED_ANCHORS)
    _leave_behind(life)
    _make_a_further_domain(life)
    life.put(layout.TRUSTSTORE, "written over by hand")
    gateway.s3.delete_object(Bucket=gateway.bucket, Key=layout.REVOCATION_LIST)
    _update_and_tell(life, FURTHER)
    assert life.further_truststore()
    assert all(map(life.is_revoked, _revoked(life)))


def _update_and_tell(life: Life, domain: str, **parameters: str) -> None:
    """Update the stack: the bootstrap tells the domain that was told longest ago, and leaves the other to the queue."""
    ages = {it: timedelta(hours=2 if it == domain else 1) for it in (DOMAIN, FURTHER)}
    receipts = {
        name: {"uri": "", "version_id": "", "digest": "", "lane": "apigateway", "revision": "", "confirmed": False}
        | {"at": (datetime.now(UTC) - age).isoformat()}
        for name, age in ages.items()
    }
    notes = json.loads(SyncState().render()) | {"receipts": receipts}
    life.put(layout.SYNC_NOTES, json.dumps(notes))
    life.deployment.aws.configure(domain_update_interval=timedelta(0))
    life.deployment.update(FurtherDomains=f"arn:aws:apigateway:us-east-1::/domainnames/{FURTHER}", **parameters)


def _make_a_further_domain(life: Life) -> None:
    """A domain of the operator's own, which runs the truststore as it is at each update, whatever its version."""
    life.deployment.apigateway.create_domain_name(
        domainName=FURTHER,
        endpointConfiguration={"types": ["REGIONAL"]},
        securityPolicy="TLS_1_2",
        mutualTlsAuthentication={"truststoreUri": life.deployment.stack.outputs["TruststoreUri"]},
    )


def both_domains_are_kept_in_step(life: Life) -> None:
    """The sync hears again. A further domain that names no version of the truststore is looked at as well."""
    gateway = life.deployment
    life.listen(to_the_queue=True)
    life.hurry()
    life.put(f"{layout.STATIC_ANCHORS}both.pem", pki.to_pem(builders.root("Both").certificate))

    def newest() -> str:
        return gateway.s3.head_object(Bucket=gateway.bucket, Key=layout.TRUSTSTORE)["VersionId"]

    before = life.further_truststore()
    await_condition(
        lambda: before != life.further_truststore() == gateway.deployed_truststore() == newest(),
        "both run the newest",
        _LONG,
    )

    # Somebody takes the version off it: it runs the object as it was then, and does not say so. A rotation has it told.
    def settled() -> bool:
        return gateway.apigateway.get_domain_name(domainName=FURTHER)["domainNameStatus"] == "AVAILABLE"

    await_condition(settled, "the domain can be updated", _LONG)
    gateway.aws.configure(domain_update_interval=timedelta(0))
    version = {"op": "remove", "path": "/mutualTlsAuthentication/truststoreVersion"}
    gateway.apigateway.update_domain_name(domainName=FURTHER, patchOperations=[version])  # type: ignore[list-item]
    assert not life.further_truststore()
    request = {"common_name": "looks", "validity_days": 20}
    looks = life.make("looks", builders.client_definition(f"{STACK}/soon", request=request))
    await_rotation(gateway.aws, life.start(looks), _LONG)


def the_stack_is_deleted_with_its_data(life: Life) -> None:
    """As `OnDelete` says."""
    gateway = life.deployment
    life.listen(to_the_queue=False)
    before = gateway.deployed_truststore()
    life.put(f"{layout.STATIC_ANCHORS}last.pem", pki.to_pem(builders.root("Last").certificate))
    _update_and_tell(life, DOMAIN, OnDelete="delete")
    assert gateway.deployed_truststore() != before
    gateway.delete()


PARTS: tuple[Callable[[Life], None], ...] = (
    clients_come_in_and_call_out,
    partners_upload_their_authorities,
    the_authority_is_rotated_and_a_killed_run_leaves_a_key_behind,
    an_authority_has_a_key_that_an_operator_made,
    an_authority_that_ends_too_early_is_rotated_before_it_issues,
    a_partner_signs_by_hand,
    certificates_are_revoked,
    the_list_is_lost_and_time_goes_by,
    what_nobody_holds_is_forgotten,
    the_stack_is_updated_while_its_functions_hear_nothing,
    both_domains_are_kept_in_step,
    the_stack_is_deleted_with_its_data,
)
