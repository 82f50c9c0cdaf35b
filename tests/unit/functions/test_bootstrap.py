"""The bootstrap: through its own handler with CloudFormation's payloads, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import boto3
import pytest
from botocore.exceptions import ClientError

from mtls_rotation.contract.layout import REVOCATION_LIST, TRUSTSTORE, crl_key
from mtls_rotation.errors import (
    DomainBusyError,
    InvalidEventError,
    InvalidSecretError,
    OutOfTimeError,
    SelfSignedClientError,
    UnusableIssuerError,
)
from mtls_rotation.pki import certificates as pki
from mtls_rotation.revocation import crl
from mtls_rotation.stack.bootstrap import SecretDefinition
from mtls_rotation.stack.custom_resource import CloudFormation
from mtls_rotation.stack.removal import Removal
from mtls_rotation.timing import utc_now
from tests.kit import builders
from tests.kit.fakes import refused
from tests.kit.lambda_functions import Context, load, sample
from tests.kit.serving import serving
from tests.kit.stack import BUCKET, CA, CLIENT, DOMAIN, Stack


class Cloudformation(ThreadingHTTPServer):
    """Where CloudFormation waits for an answer."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Put)
        self.answers: list[dict[str, Any]] = []
        self.content_types: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/answer?X-Amz-Signature=0"


class _Put(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        server = cast("Cloudformation", self.server)
        server.answers.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        server.content_types.append(self.headers["content-type"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the standard library
        pass


@pytest.fixture(scope="module")
def _cloudformation() -> Iterator[Cloudformation]:
    with serving(Cloudformation()) as server:
        yield server


@pytest.fixture
def cloudformation(_cloudformation: Cloudformation) -> Cloudformation:
    _cloudformation.answers.clear()
    return _cloudformation


@pytest.fixture
def new(empty_stack: Stack) -> Stack:
    """A stack as the template has made it when the custom resource's turn comes: secrets without a value."""
    for name in (CA, CLIENT):
        empty_stack.add_secret(name, None, rotates=False)
    return empty_stack


STACK_ID = sample("bootstrap-create")["StackId"]


@pytest.fixture
def app(new: Stack, cloudformation: Cloudformation, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    app = load("bootstrap", monkeypatch)
    app.assembly.cloudformation = asking(new.cloudformation, cloudformation.url)
    return app


def asking(client: Any, endpoint: str, region: str = "us-east-1") -> CloudFormation:
    """CloudFormation, where S3 is at this endpoint."""
    return CloudFormation(
        STACK_ID, client, cast("Any", SimpleNamespace(meta=SimpleNamespace(endpoint_url=endpoint, region_name=region)))
    )


def run(app: ModuleType, new: Stack, server: Cloudformation, name: str, **properties: Any) -> dict[str, Any]:
    """Send a sample payload; CloudFormation's answer. What follows goes by the clock that the function has."""
    new.now = utc_now()
    event = sample(name, new, ResponseURL=server.url)
    event["ResourceProperties"] |= properties
    app.handler(event, Context())
    return server.answers[-1]


def test_the_first_run_makes_all_that_the_stack_needs_to_go_on(
    new: Stack, app: ModuleType, cloudformation: Cloudformation
) -> None:
    answer = run(app, new, cloudformation, "bootstrap-create")

    ca = new.certificate(new.at("AWSCURRENT", CA), CA)
    anchor = pki.fingerprint(ca)
    assert pki.subject(ca).startswith("CN=mtls-rotation CA,dnQualifier=")
    assert f"anchors/managed/{anchor}.pem" in new.objects()
    assert new.published() == {anchor}
    client = new.value(new.at("AWSCURRENT"))
    assert client["request"]["common_name"] == "mtls-client"
    assert client["issuer"] == {"type": "secretsmanager", "ca_secret": new.secrets.record(CA).arn}
    assert "certificate" not in client
    assert (answer["Status"], answer["Data"]) == ("SUCCESS", {"TruststoreUri": f"s3://{BUCKET}/{TRUSTSTORE}"})


def test_where_no_rotation_can_prove_one_yet_the_first_certificate_is_there_and_trusted_all_the_same(
    new: Stack, app: ModuleType, cloudformation: Cloudformation
) -> None:
    run(app, new, cloudformation, "bootstrap-create", FirstCertificate="bootstrap")

    first, ca = new.value(new.at("AWSCURRENT")), new.certificate(new.at("AWSCURRENT", CA), CA)
    assert new.certificate(new.at("AWSCURRENT")).issuer == ca.subject
    assert new.published() == {pki.fingerprint(ca)}
    run(app, new, cloudformation, "bootstrap-update", FirstCertificate="bootstrap")
    assert new.value(new.at("AWSCURRENT"))["certificate"] == first["certificate"]
    new.secrets.enable_rotation(CLIENT)
    assert new.rotate(CLIENT) == new.at("AWSCURRENT")


def test_the_first_run_makes_the_lists_that_the_authorizer_and_servers_elsewhere_read(
    new: Stack, app: ModuleType, cloudformation: Cloudformation
) -> None:
    run(app, new, cloudformation, "bootstrap-create")

    ca = new.certificate(new.at("AWSCURRENT", CA), CA)
    assert json.loads(new.objects()[REVOCATION_LIST])["revoked"] == []
    found = crl.parse(new.objects()[crl_key(pki.fingerprint(ca))])
    assert found is not None
    assert found.is_signature_valid(ca.public_key())  # type: ignore[arg-type]


def test_the_answer_is_what_cloudformation_asks_for(
    new: Stack, app: ModuleType, cloudformation: Cloudformation
) -> None:
    event = sample("bootstrap-create")
    created = run(app, new, cloudformation, "bootstrap-create")
    updated = run(app, new, cloudformation, "bootstrap-update")

    echoed = ("StackId", "RequestId", "LogicalResourceId")
    assert [created[key] for key in echoed] == [event[key] for key in echoed]
    assert created["PhysicalResourceId"] == updated["PhysicalResourceId"], "an update would be taken for a replacement"
    assert set(cloudformation.content_types) <= {None, ""}


def test_what_the_bootstrap_leaves_can_be_rotated(new: Stack, app: ModuleType, cloudformation: Cloudformation) -> None:
    run(app, new, cloudformation, "bootstrap-create")
    for secret in (CLIENT, CA):
        new.secrets.enable_rotation(secret)
        assert new.rotate(secret) == new.at("AWSCURRENT", secret)


def test_a_repeat_of_the_same_request_changes_nothing(
    new: Stack, app: ModuleType, cloudformation: Cloudformation
) -> None:
    first = run(app, new, cloudformation, "bootstrap-create")
    before, ca = new.snapshot(), new.labels(CA)

    assert run(app, new, cloudformation, "bootstrap-create") == first
    assert (new.snapshot(), new.labels(CA)) == (before, ca)
    assert new.object_versions(TRUSTSTORE) == 1


def test_an_update_of_the_definition_keeps_certificate_and_key(
    new: Stack, app: ModuleType, cloudformation: Cloudformation
) -> None:
    run(app, new, cloudformation, "bootstrap-create")
    new.secrets.enable_rotation(CLIENT)
    rotated = new.value(new.rotate())
    ca = new.value(new.at("AWSCURRENT", CA), CA)
    run(app, new, cloudformation, "bootstrap-update", CaValidityDays="365")

    updated = new.value(new.at("AWSCURRENT"))
    assert updated["request"] | {"organization": "Example Ltd", "validity_days": 14} == updated["request"]
    assert updated["request"]["dns_names"] == ["billing.example.com"]
    kept = ("certificate", "private_key", "anchor", "serial_number", "not_after")
    assert [updated[key] for key in kept] == [rotated[key] for key in kept]
    now = new.value(new.at("AWSCURRENT", CA), CA)
    assert now["request"]["validity_days"] == 365
    assert [now[key] for key in kept] == [ca[key] for key in kept]


def test_what_the_operator_added_to_a_secret_survives_an_update(new: Stack) -> None:
    own = builders.client_definition() | {"owner": "team"}
    new.versions.put_current(CLIENT, "o" * 32, json.dumps(own))
    definition = SecretDefinition(CLIENT, builders.client_definition(request={"common_name": "renamed"}))
    new.bootstrap.run(SecretDefinition(CA, builders.ca_definition()), definition, "request-1", new.time.deadline())

    value = new.value(new.at("AWSCURRENT"))
    assert (value["owner"], value["request"]["common_name"]) == ("team", "renamed")


@pytest.mark.parametrize("value", ["oops", "[1]", "null", "[" * 5000], ids=lambda it: it[:4])
def test_what_somebody_wrote_over_a_secret_is_told_of_and_stays(new: Stack, value: str) -> None:
    new.versions.put_current(CLIENT, "o" * 32, value)
    ca, client = builders.ca_definition(), builders.client_definition()
    with pytest.raises(InvalidSecretError, match=f"secret {CLIENT}: found a value that is no JSON object"):
        new.bootstrap.run(SecretDefinition(CA, ca), SecretDefinition(CLIENT, client), "r", new.time.deadline())
    current = new.versions.current(CLIENT)
    assert current
    assert current.value == value


@pytest.mark.parametrize("broken", ["ca", "client"])
def test_a_bad_definition_writes_nothing_of_either_secret(new: Stack, broken: str) -> None:
    ca, client = builders.ca_definition(), builders.client_definition()
    (ca if broken == "ca" else client)["request"] = {"common_name": ""}
    with pytest.raises(InvalidSecretError, match="the definition of secret"):
        new.bootstrap.run(SecretDefinition(CA, ca), SecretDefinition(CLIENT, client), "r", new.time.deadline())

    assert (new.labels(CA), new.labels(CLIENT), new.objects()) == ({}, {}, {})


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"ClientCommonName": "c" * 65}, "at most 64 characters"),
        ({"ClientValidityDays": "many"}, "ClientValidityDays: found 'many'; expected a whole number"),
        ({"CaCommonName": ""}, "CaCommonName: found nothing"),
        ({"ClientDnsNames": ["-bad-"]}, "a DNS name"),
        ({"EndpointUrl": "http://a.example"}, "URL such as https://"),
        ({"EndpointUrl": "https://a.example", "EndpointServerCa": "%%%"}, "a PEM file in base64"),
        ({"EndpointUrl": "https://a.example", "EndpointServerCa": "eA=="}, "the PEM of one CA certificate"),
        ({"AllowList": '{"routes": {"GET /": ["billing"]}}'}, "the template's parameter AllowList: found an unusable"),
        ({"ProxyRoutes": '{"routes": {"a": {"upstream": "http://a.example"}}}'}, "parameter ProxyRoutes: found an"),
        ({"ProxyRoutes": "eyJyb3V0ZXMiOiB7fX0="}, "parameter ProxyRoutes: found an unusable routes"),
        ({"ProxyRoutes": "no base64!"}, "the base64 of one"),
        ({"AllowListParameter": "/not/there"}, "parameter /not/there of Systems Manager: found"),
    ],
)
def test_a_failure_is_answered_with_its_reason(
    new: Stack, app: ModuleType, cloudformation: Cloudformation, properties: dict[str, Any], reason: str
) -> None:
    answer = run(app, new, cloudformation, "bootstrap-create", **properties)

    assert answer["Status"] == "FAILED"
    assert reason in answer["Reason"]
    assert Context().log_stream_name in answer["Reason"]
    assert (new.labels(CA), new.labels(CLIENT), new.objects()) == ({}, {}, {})


def test_delete_succeeds_and_touches_nothing(new: Stack, app: ModuleType, cloudformation: Cloudformation) -> None:
    run(app, new, cloudformation, "bootstrap-create")
    before = new.snapshot()
    answer = run(app, new, cloudformation, "bootstrap-delete")

    assert answer["Status"] == "SUCCESS"
    assert new.snapshot() == before


def test_a_document_of_systems_manager_is_looked_at_before_anything_is_made(
    new: Stack, app: ModuleType, cloudformation: Cloudformation
) -> None:
    ssm = boto3.client("ssm", region_name="us-east-1")
    routes = {"routes": {"billing": {"upstream": "https://api.partner.example"}}}
    ssm.put_parameter(Name="/mtls/routes", Type="String", Value="{}")
    refused = run(app, new, cloudformation, "bootstrap-create", ProxyRoutesParameter="/mtls/routes")
    assert refused["Status"] == "FAILED"
    assert "parameter /mtls/routes of Systems Manager: found an unusable routes" in refused["Reason"]
    assert new.objects() == {}

    ssm.put_parameter(Name="/mtls/routes", Type="String", Value=json.dumps(routes), Overwrite=True)
    answer = run(app, new, cloudformation, "bootstrap-create", ProxyRoutesParameter="/mtls/routes")
    assert answer["Status"] == "SUCCESS"


def test_delete_takes_the_data_with_it_where_that_was_asked_for(
    new: Stack, app: ModuleType, cloudformation: Cloudformation
) -> None:
    run(app, new, cloudformation, "bootstrap-create")
    new.clients.s3.delete_object(Bucket=BUCKET, Key=TRUSTSTORE)
    for _ in range(2):
        answer = run(app, new, cloudformation, "bootstrap-delete", OnDelete="delete")
        assert answer["Status"] == "SUCCESS", answer["Reason"]

    assert new.clients.s3.list_buckets()["Buckets"] == []
    for name in (CA, CLIENT):
        assert "DeletedDate" in new.clients.secretsmanager.describe_secret(SecretId=name)


def test_an_update_that_made_the_bootstrap_and_is_rolled_back_takes_no_data_that_was_there_before(
    new: Stack, kms_app: ModuleType, cloudformation: Cloudformation
) -> None:
    """So it goes where a stack that has taken over what another kept cannot be updated."""
    run(kms_app, new, cloudformation, "bootstrap-create", **KMS_PROPERTIES)
    before = new.objects()
    new.pass_time(days=1)
    rolled_back(new, "UPDATE_ROLLBACK_IN_PROGRESS", LastUpdatedTime=new.moment)
    deleting = KMS_PROPERTIES | {"OnDelete": "delete"}
    answer = run_later(kms_app, new, cloudformation, "bootstrap-delete", deleting)

    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert len(enabled_keys(new)) == 1
    assert new.objects() == before
    for name in (CA, CLIENT):
        assert "DeletedDate" not in new.clients.secretsmanager.describe_secret(SecretId=name)


def test_a_bucket_with_more_than_can_be_deleted_in_the_time_is_emptied_by_the_next_try(new: Stack) -> None:
    for number in range(3):
        new.clients.s3.put_object(Bucket=BUCKET, Key=f"revoked/{number}", Body=b"x")
    removal = Removal(new.clients.s3, new.clients.secretsmanager, BUCKET)
    with pytest.raises(OutOfTimeError, match="Delete the stack again"):
        removal.run([CA], new.time.deadline(0.0))
    assert new.objects()

    removal.run([CA], new.time.deadline())
    assert new.clients.s3.list_buckets()["Buckets"] == []


def test_a_bucket_that_another_function_writes_to_meanwhile_is_emptied_again(
    new: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = iter(["revocation/list.json", "crl/late.crl"])
    delete_bucket = new.clients.s3.delete_bucket

    def delete(**request: Any) -> Any:
        if key := next(late, None):
            new.clients.s3.put_object(Bucket=BUCKET, Key=key, Body=b"late")
        return delete_bucket(**request)

    monkeypatch.setattr(new.clients.s3, "delete_bucket", delete)
    Removal(new.clients.s3, new.clients.secretsmanager, BUCKET).run([], new.time.deadline())

    assert new.clients.s3.list_buckets()["Buckets"] == []


def test_delete_succeeds_where_nothing_was_ever_made(
    new: Stack, app: ModuleType, cloudformation: Cloudformation
) -> None:
    answer = run(app, new, cloudformation, "bootstrap-delete", ClientValidityDays="many")
    assert answer["Status"] == "SUCCESS"


# the domain, in an update of the stack --------------------------------------------------------------------------------

DEFINITIONS = (SecretDefinition(CA, builders.ca_definition()), SecretDefinition(CLIENT, builders.client_definition()))


@pytest.fixture
def made(new: Stack) -> Stack:
    """A stack that was deployed, and an anchor that has been uploaded since."""
    new.bootstrap.run(*DEFINITIONS, "request-1", new.time.deadline())
    new.with_gateway()
    partner = pki.to_pem(builders.foreign())
    new.clients.s3.put_object(Bucket=BUCKET, Key="anchors/static/p.pem", Body=partner.encode())
    new.heard()
    return new


def update(stack: Stack, updates: str = "", seconds: float = 885.0, request_id: str = "request-2") -> None:
    stack.bootstrap.run(*DEFINITIONS, request_id, stack.time.deadline(seconds), updates)


def test_an_update_tells_the_domain_and_waits_for_nothing(made: Stack) -> None:
    update(made)

    assert [name for name, _ in made.gateway.updates] == [DOMAIN]
    assert made.gateway.domains[DOMAIN].status == "UPDATING"
    assert made.time.now == 0
    assert len(made.heard("Truststore Sync Requested")) == 1, "the queue looks at how that ends"


@pytest.mark.parametrize("busy", ["UPDATING", "TooManyRequestsException"])
def test_a_domain_that_takes_no_update_now_is_left_to_the_queue(made: Stack, busy: str) -> None:
    if busy == "UPDATING":
        made.gateway.domains[DOMAIN].status = busy
    else:
        made.gateway.refuse_updates = busy
    update(made)

    assert len(made.published()) == 2
    assert (made.time.now, made.gateway.updates) == (0, [])
    (asked,) = made.heard("Truststore Sync Requested")
    assert asked["detail"] == {"stack": "stack"}


def test_further_domains_that_are_busy_for_ever_fail_no_deployment(made: Stack) -> None:
    further = made.add_domains("b.example.com", "c.example.com")
    for name in further:
        made.gateway.domains[name].status = "UPDATING"
    made.gateway.update_time = timedelta(seconds=10)
    update(made)
    update(made, updates=DOMAIN)

    assert {made.gateway.domains[name].status for name in further} == {"UPDATING"}


def test_the_domain_that_the_template_updates_has_settled_and_its_rate_is_free_before_cloudformation_is_answered(
    made: Stack,
) -> None:
    made.gateway.update_time = timedelta(seconds=100)
    made.sync.run(made.time.deadline(0.0))
    update(made, updates=DOMAIN)

    assert 100 <= made.time.now <= 110
    assert made.gateway.get_domain_name(domainName=DOMAIN)["domainNameStatus"] == "AVAILABLE"


def test_the_rate_is_waited_for_where_the_domain_has_settled_at_once(made: Stack) -> None:
    made.reconcile()
    update(made, updates=DOMAIN)

    assert 30 <= made.time.now <= 36


def test_the_turn_of_cloudformation_is_taken_by_no_sync(made: Stack) -> None:
    """Not while the bootstrap waits, nor in the 30 seconds after."""
    made.gateway.domains[DOMAIN].status = "UPDATING"
    made.gateway.domains[DOMAIN].until = made.moment + timedelta(seconds=60)
    syncs: list[Any] = []
    made.time.meanwhile.append(lambda: syncs.append(made.sync.run(made.time.deadline(0.0))))
    update(made, updates=DOMAIN)
    made.time.meanwhile.clear()

    assert len(syncs) > 3
    assert made.gateway.updates == []
    made.pass_time(seconds=29)
    assert made.sync.run(made.time.deadline(0.0)).updated == ()
    made.pass_time(seconds=2)
    assert made.sync.run(made.time.deadline(0.0)).updated == (DOMAIN,)


def test_a_domain_that_does_not_settle_in_time_fails_the_update_that_changes_it_with_its_state(made: Stack) -> None:
    made.gateway.domains[DOMAIN].status = "UPDATING"
    with pytest.raises(DomainBusyError, match="the status UPDATING, and no time left to wait") as failure:
        update(made, updates=DOMAIN)

    assert "Deploy again once it is AVAILABLE" in str(failure.value)
    assert made.time.now <= 885
    made.gateway.settle()
    assert made.sync.run(made.time.deadline(0.0)).updated == (DOMAIN,), "the syncs go on at once"


def test_a_rollback_fails_for_no_domain(made: Stack) -> None:
    """CloudFormation runs the bootstrap with the properties before; a rollback that fails leaves a stack for dead."""
    made.gateway.domains[DOMAIN].status = "UPDATING"
    with pytest.raises(DomainBusyError):
        update(made, updates=DOMAIN)
    update(made, updates=DOMAIN, request_id="rollback")

    made.pass_time(hours=3)
    with pytest.raises(DomainBusyError):
        update(made, updates=DOMAIN, request_id="request-3")


@pytest.mark.parametrize(
    ("changes", "updated"),
    [
        ({}, ""),
        ({"ClientValidityDays": "15"}, ""),
        ({"CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/b"}, DOMAIN),
        ({"HostedZoneId": "Z2"}, DOMAIN),
        ({"OwnershipVerificationCertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/c"}, DOMAIN),
        ({"GatewayDomainRevision": "99"}, DOMAIN),
        ({"DomainName": "another.example.com"}, ""),
    ],
)
def test_only_an_update_that_changes_the_domain_waits_for_it(
    made: Stack,
    app: ModuleType,
    cloudformation: Cloudformation,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    updated: str,
) -> None:
    ran: list[str] = []

    def bootstrap(*arguments: Any) -> str:
        ran.append(arguments[4])
        return "s3://b/t"

    monkeypatch.setattr(app.assembly.bootstrap, "run", bootstrap)
    event = sample("bootstrap-update", made, ResponseURL=cloudformation.url)
    before = event["ResourceProperties"] | {"DomainName": DOMAIN}
    event |= {"OldResourceProperties": before, "ResourceProperties": before | changes}
    app.handler(event, Context())

    assert ran == [updated]


# keys of CAs in KMS -------------------------------------------------------------------------------------------------


def enabled_keys(new: Stack) -> list[str]:
    client = new.clients.kms
    found = [client.describe_key(KeyId=it["KeyId"])["KeyMetadata"] for it in client.list_keys()["Keys"]]
    return [it["Arn"] for it in found if it["KeyState"] == "Enabled"]


def in_kms(new: Stack, seconds: float = 285.0) -> None:
    """The first run, of a stack whose CA has its key in KMS."""
    ca = builders.ca_definition(issuer={"type": "kms"})
    client = builders.client_definition(issuer={"type": "kms", "ca_secret": CA})
    deadline = new.time.deadline(seconds)
    new.bootstrap.run(SecretDefinition(CA, ca), SecretDefinition(CLIENT, client), "request", deadline)


def test_a_first_ca_waits_until_its_key_in_kms_and_the_keys_tags_count(new: Stack) -> None:
    new.kms.key_lag, new.kms.tag_lag = timedelta(seconds=30), timedelta(minutes=4)
    in_kms(new)
    assert new.published() == {pki.fingerprint(new.certificate(new.at("AWSCURRENT", CA), CA))}
    assert [it for it in new.objects() if it.startswith("crl/")]


@pytest.mark.parametrize("refusal", ["Sign", "PutSecretValue"])
def test_a_bootstrap_that_fails_leaves_no_key_behind(new: Stack, refusal: str) -> None:
    def refuse() -> None:
        raise refused("AccessDeniedException", refusal)

    if refusal == "Sign":
        new.kms.refuse_sign = "DisabledException"
    else:
        new.secrets.before["put_secret_value"] = [refuse]
    with pytest.raises((ClientError, UnusableIssuerError)):
        in_kms(new)
    assert enabled_keys(new) == []


@pytest.fixture
def kms_app(new: Stack, app: ModuleType) -> ModuleType:
    """The function, on what stands for KMS and the tagging API where moto lacks something."""
    app.assembly.services = new.services
    return app


def rolled_back(new: Stack, status: str, **times: Any) -> None:
    """What CloudFormation says of the stack from now on."""
    stack = {"StackStatus": status, "CreationTime": new.moment - timedelta(minutes=10)} | times
    new.cloudformation.describe_stacks = lambda **_: {"Stacks": [stack]}


KMS_PROPERTIES = {"ClientIssuer": "kms"}


@pytest.mark.parametrize(
    ("status", "created", "left"),
    [
        ("ROLLBACK_IN_PROGRESS", timedelta(minutes=10), 0),
        ("DELETE_IN_PROGRESS", timedelta(minutes=10), 1),  # its secrets are kept, and so is what they sign with
        ("ROLLBACK_IN_PROGRESS", timedelta(0), 1),  # a secret of an earlier stack's, with its key
    ],
)
def test_a_stack_whose_creation_is_rolled_back_leaves_no_key_behind_and_takes_none_of_another(
    new: Stack, kms_app: ModuleType, cloudformation: Cloudformation, status: str, created: timedelta, left: int
) -> None:
    run(kms_app, new, cloudformation, "bootstrap-create", **KMS_PROPERTIES)
    new.now += timedelta(seconds=30)
    rolled_back(new, status, CreationTime=new.moment - created)
    answer = run_later(kms_app, new, cloudformation, "bootstrap-delete", KMS_PROPERTIES)

    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert len(enabled_keys(new)) == left


def run_later(
    app: ModuleType, new: Stack, server: Cloudformation, name: str, properties: dict[str, Any], **event: Any
) -> dict[str, Any]:
    """As `run`, by the clock that the stack has."""
    payload = sample(name, new, ResponseURL=server.url) | event
    payload["ResourceProperties"] |= properties
    app.handler(payload, Context())
    return server.answers[-1]


def test_an_update_that_is_rolled_back_takes_the_key_of_the_ca_that_it_made_along(
    new: Stack, kms_app: ModuleType, cloudformation: Cloudformation
) -> None:
    run(kms_app, new, cloudformation, "bootstrap-create", **KMS_PROPERTIES)
    made = sample("bootstrap-create", new)["ResourceProperties"] | KMS_PROPERTIES
    rolled_back(new, "UPDATE_ROLLBACK_IN_PROGRESS", LastUpdatedTime=new.moment - timedelta(minutes=1))
    before = {"CaSecret": "", "ClientIssuer": "self-signed"}
    run_later(kms_app, new, cloudformation, "bootstrap-update", before, OldResourceProperties=made)

    assert enabled_keys(new) == []


def test_an_update_that_is_rolled_back_takes_no_key_of_a_ca_that_was_there_and_was_rotated_meanwhile(
    new: Stack, kms_app: ModuleType, cloudformation: Cloudformation
) -> None:
    run(kms_app, new, cloudformation, "bootstrap-create", **KMS_PROPERTIES)
    began = new.moment - timedelta(minutes=1)
    new.secrets.enable_rotation(CA)
    token = new.rotate(CA)
    for version in new.secrets.record(CA).versions.values():
        version["createdate"] = (began + timedelta(minutes=1 if version["version_id"] == token else -60)).timestamp()
    rolled_back(new, "UPDATE_ROLLBACK_IN_PROGRESS", LastUpdatedTime=began)
    run_later(kms_app, new, cloudformation, "bootstrap-delete", KMS_PROPERTIES)

    assert new.value(token, CA)["key_id"] in [it.rpartition("/")[2] for it in enabled_keys(new)]


def test_nothing_is_deleted_where_cloudformation_does_not_say_that_the_stack_goes(
    new: Stack, kms_app: ModuleType, cloudformation: Cloudformation
) -> None:
    def refuse(**_: Any) -> None:
        raise refused("AccessDenied", "DescribeStacks")

    run(kms_app, new, cloudformation, "bootstrap-create", **KMS_PROPERTIES)
    before = new.snapshot()
    new.cloudformation.describe_stacks = refuse
    deleting = KMS_PROPERTIES | {"OnDelete": "delete"}
    answer = run_later(kms_app, new, cloudformation, "bootstrap-delete", deleting)
    assert answer["Status"] == "FAILED"
    assert "of which CloudFormation does not say what it does" in answer["Reason"]
    assert new.snapshot() == before


def test_a_stack_whose_data_goes_with_it_takes_every_key_of_its_cas_along(
    new: Stack, kms_app: ModuleType, cloudformation: Cloudformation
) -> None:
    run(kms_app, new, cloudformation, "bootstrap-create", **KMS_PROPERTIES)
    new.secrets.enable_rotation(CA)
    new.rotate(CA)
    assert len(enabled_keys(new)) == 2
    rolled_back(new, "DELETE_IN_PROGRESS")
    answer = run_later(kms_app, new, cloudformation, "bootstrap-delete", KMS_PROPERTIES | {"OnDelete": "delete"})

    assert answer["Status"] == "SUCCESS", answer["Reason"]
    assert enabled_keys(new) == []


def test_an_update_that_leaves_the_ca_and_may_yet_fail_takes_no_key_though_data_goes_with_the_stack(
    new: Stack, kms_app: ModuleType, cloudformation: Cloudformation
) -> None:
    run(kms_app, new, cloudformation, "bootstrap-create", **KMS_PROPERTIES)
    made = sample("bootstrap-create", new)["ResourceProperties"] | KMS_PROPERTIES | {"OnDelete": "delete"}
    rolled_back(new, "UPDATE_IN_PROGRESS")
    leaving = {"CaSecret": "", "ClientIssuer": "self-signed", "OnDelete": "delete", "AllowList": "broken"}
    answer = run_later(kms_app, new, cloudformation, "bootstrap-update", leaving, OldResourceProperties=made)

    assert answer["Status"] == "FAILED"
    assert len(enabled_keys(new)) == 1


def test_a_self_signed_client_of_a_gateway_is_refused_before_anything_is_made(new: Stack) -> None:
    """The template's rule knows DomainName alone: CloudFormation's rules have no way to look into a list."""
    new.expect_gateway()
    client = builders.client_definition(issuer={"type": "self-signed"}, request={"common_name": "x"})
    definition, before = SecretDefinition(CLIENT, client), new.snapshot()
    with pytest.raises(SelfSignedClientError, match="SelfSignedClients=accepted"):
        new.bootstrap.run(None, definition, "request", new.time.deadline())
    assert new.snapshot() == before
    new.self_signed_clients = True
    new.bootstrap.run(None, definition, "request", new.time.deadline())

    assert new.value(new.at("AWSCURRENT"))["certificate"]


# who asks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bootstrap-create", "bootstrap-update", "bootstrap-delete"])
@pytest.mark.parametrize(
    "status", ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_FAILED", "REVIEW_IN_PROGRESS"]
)
def test_an_event_that_comes_while_cloudformation_is_not_at_work_changes_nothing(
    new: Stack, app: ModuleType, cloudformation: Cloudformation, name: str, status: str
) -> None:
    """Whoever may invoke the function could rewrite the definitions, or have the data deleted."""
    run(app, new, cloudformation, "bootstrap-create")
    before = new.snapshot()
    rolled_back(new, status)
    answer = run(app, new, cloudformation, name, ClientCommonName="billing", OnDelete="delete")

    assert (answer["Status"], new.snapshot()) == ("FAILED", before)
    assert f"MTLS-100 the event, StackId: found a stack with the status {status}" in answer["Reason"]


def test_an_event_about_another_stack_changes_nothing(
    new: Stack, app: ModuleType, cloudformation: Cloudformation
) -> None:
    """So it is where somebody's own stack has a custom resource with our function as its service."""
    run(app, new, cloudformation, "bootstrap-create")
    before, foreign = new.snapshot(), f"{STACK_ID[:-1]}4"
    event = sample("bootstrap-update", new, ResponseURL=cloudformation.url, StackId=foreign)
    app.handler(event, Context())

    answer = cloudformation.answers[-1]
    assert (answer["Status"], answer["StackId"], new.snapshot()) == ("FAILED", foreign, before)
    assert f"found the stack {foreign}; expected the one that the function belongs to, {STACK_ID}" in answer["Reason"]


S3 = "https://s3.{}.amazonaws.com"
AWAITED = "https://cloudformation-custom-resource-response-{}"


@pytest.mark.parametrize(
    ("endpoint", "region", "url"),
    [
        (
            S3.format("eu-west-1"),
            "eu-west-1",
            AWAITED.format("euwest1.s3-eu-west-1.amazonaws.com/arn%3Aaws?X-Amz-Date=1"),
        ),
        (S3.format("eu-west-1"), "eu-west-1", AWAITED.format("euwest1.s3.eu-west-1.amazonaws.com/arn%3Aaws")),
        ("https://s3.amazonaws.com", "us-east-1", AWAITED.format("useast1.s3.amazonaws.com/arn%3Aaws")),
        ("https://s3.amazonaws.com", "us-east-1", AWAITED.format("useast1.s3-us-east-1.amazonaws.com/arn%3Aaws")),
        (
            "https://s3.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
            AWAITED.format("cnnorth1.s3.cn-north-1.amazonaws.com.cn/arn%3Aaws-cn"),
        ),
        ("http://127.0.0.1:4566", "us-east-1", "http://127.0.0.1:4566/_ministack/cfn-response/1"),
    ],
)
def test_an_answer_goes_where_cloudformation_awaits_it(endpoint: str, region: str, url: str) -> None:
    asking(None, endpoint, region).require_awaits(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/",
        "http://169.254.169.254/latest/meta-data",
        AWAITED.format("useast1.s3.eu-west-1.amazonaws.com/a"),
        AWAITED.format("euwest1.evil.s3.eu-west-1.amazonaws.com/a"),
        AWAITED.format("euwest1x.s3.eu-west-1.amazonaws.com/a"),
        AWAITED.format("euwest1.s3.eu-west-1.amazonaws.com.evil.example/a"),
        AWAITED.format("euwest1.s3.eu-west-1.amazonaws.com@evil.example/a"),
        AWAITED.format("euwest1.s3.eu-west-1.amazonaws.com/a").replace("https", "http"),
        "https://bucket.s3.eu-west-1.amazonaws.com/a",
        "https://evil.example/cloudformation-custom-resource-response-euwest1.s3.eu-west-1.amazonaws.com",
        "https://[",
        "",
    ],
)
def test_an_answer_goes_nowhere_else_and_nothing_is_done(
    new: Stack, app: ModuleType, cloudformation: Cloudformation, url: str
) -> None:
    app.assembly.cloudformation = asking(new.cloudformation, S3.format("eu-west-1"), "eu-west-1")
    with pytest.raises(InvalidEventError, match=r"MTLS-100 the event, ResponseURL: found an answer to be put at"):
        app.handler(sample("bootstrap-create", new, ResponseURL=url), Context())

    assert (new.objects(), cloudformation.answers) == ({}, [])
