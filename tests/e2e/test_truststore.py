"""The truststore of a deployed gateway: uploads with the AWS CLI, bursts, drift, and what is announced."""

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo import sam
from demo.certificates import Authority
from demo.waiting import await_condition
from localaws import LocalAws
from mtls_rotation.contract import layout
from mtls_rotation.pki import bundles
from mtls_rotation.pki import certificates as pki
from tests.e2e.conftest import log, remember_what_was_issued
from tests.integration.localaws.support import Certificate, fetch
from tests.kit import builders, change_sets
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation

if TYPE_CHECKING:
    from mypy_boto3_events.type_defs import PutEventsRequestEntryTypeDef

UPLOADED = builders.root("Partner of both domains")
GARBAGE = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"


@dataclass
class Heard:
    """Every event with the project's source, from when it was made."""

    deployment: Deployment
    events: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        session = sam.session(self.deployment.environment)
        self._sqs, events = session.client("sqs"), session.client("events")
        self._queue = self._sqs.create_queue(QueueName="heard")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"][
            "QueueArn"
        ]
        rule = events.put_rule(Name="heard", EventPattern=json.dumps({"source": ["mtls-rotation"]}))["RuleArn"]
        lets = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage"}
        of_the_rule = {"Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": rule}}}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [lets | of_the_rule]})
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": policy})
        events.put_targets(Rule="heard", Targets=[{"Id": "queue", "Arn": arn}])

    def details(self, detail_type: str) -> list[dict[str, Any]]:
        """The details of the events of a type that came until now."""
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
                self.events.append(json.loads(message["Body"]))
        return [event["detail"] for event in self.events if event["detail-type"] == detail_type]


@pytest.fixture(scope="module")
def gateway(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A stack with a gateway, at API Gateway's real rate of one update in 30 seconds."""
    with LocalAws.start(log_path=log(tmp_path_factory), enforce_iam=True) as aws:
        made = change_sets.deploy_gateway(aws, "e2e-truststore", DOMAIN)
        deployment = await_first_rotation(Deployment(aws, made.stack, made.environment, made.parameters))
        yield deployment
        remember_what_was_issued(deployment)


@pytest.fixture(scope="module")
def heard(gateway: Deployment) -> Heard:
    return Heard(gateway)


def deployed_anchors(gateway: Deployment) -> frozenset[str]:
    version = gateway.deployed_truststore()
    stored = gateway.s3.get_object(Bucket=gateway.bucket, Key=layout.TRUSTSTORE, VersionId=version)
    return bundles.fingerprints(stored["Body"].read())


def copy_to_bucket(gateway: Deployment, file: Path, key: str) -> None:
    """`aws s3 cp`, as an operator would run it."""
    command = [str(sam.SAM_ENVIRONMENT / "aws"), "s3", "cp", str(file), f"s3://{gateway.bucket}/{key}"]
    subprocess.run(command, env=gateway.environment, check=True, capture_output=True, text=True)


def request_sync(gateway: Deployment, count: int = 1) -> None:
    """So many requests at once."""
    events = sam.session(gateway.environment).client("events")
    entry: PutEventsRequestEntryTypeDef = {
        "Source": "mtls-rotation",
        "DetailType": "Truststore Sync Requested",
        "Detail": "{}",
    }

    def put(some: int) -> None:
        assert not events.put_events(Entries=[entry] * some)["FailedEntryCount"]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, [10] * (count // 10) + [count % 10] * (count % 10 > 0)))


def test_a_bundle_is_live_within_a_minute_of_its_upload_and_what_is_unfit_in_it_is_named(
    gateway: Deployment, heard: Heard, tmp_path: Path
) -> None:
    good = Authority.named("Partner CA")
    expired = builders.foreign(
        common_name="Expired", not_after=builders.NOW - timedelta(days=1), not_before=builders.NOW - timedelta(days=9)
    )
    weak = sha1_certificate(tmp_path)
    held = good.client("partner", gateway.aws.front_door.server_ca_pem)
    assert not gateway.accepts(held)
    file = tmp_path / "partner.pem"
    file.write_text(pki.to_pem(expired) + GARBAGE + "# the good one:\r\n" + pki.to_pem(good.certificate) + weak)

    copy_to_bucket(gateway, file, f"{layout.STATIC_ANCHORS}partner.pem")
    await_condition(lambda: gateway.accepts(held), "the good one's client is accepted", 60.0)

    await_condition(lambda: bool(heard.details("Truststore Anchor Rejected")), "an event for the file", 20.0)
    (detail,) = heard.details("Truststore Anchor Rejected")
    assert (detail["key"], detail["count"]) == (f"{layout.STATIC_ANCHORS}partner.pem", 3)
    rejected = {certificate["position"]: certificate for certificate in detail["certificates"]}
    assert "it expired on" in rejected[1]["reason"]
    assert rejected[1]["fingerprint_sha256"] == pki.fingerprint(expired)
    assert "cannot be read as a certificate" in rejected[2]["reason"]
    assert (rejected[4]["subject"], rejected[4]["reason"]) == (
        "CN=Weak",
        "it is signed with SHA1, where SHA-256 or stronger is required",
    )
    assert gateway.accepts(gateway.held())


def sha1_certificate(folder: Path) -> str:
    """By OpenSSL: our own library signs nothing with SHA-1."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout weak.key -out weak.pem -days 9 -subj /CN=Weak -sha1"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return (folder / "weak.pem").read_text()


def test_that_somebody_set_the_domain_back_by_hand_is_said_at_once(gateway: Deployment, heard: Heard) -> None:
    """It is brought forward again as soon as the rate allows: the next test sees it there."""
    newest = gateway.deployed_truststore()
    versions = gateway.s3.list_object_versions(Bucket=gateway.bucket, Prefix=layout.TRUSTSTORE)["Versions"]
    older = next(it["VersionId"] for it in reversed(versions) if it["VersionId"] != newest)
    gateway.aws.configure(domain_update_interval=timedelta(0))  # the hand's update is not what is tested
    gateway.apigateway.update_domain_name(
        domainName=DOMAIN,
        patchOperations=[{"op": "replace", "path": "/mutualTlsAuthentication/truststoreVersion", "value": older}],
    )
    gateway.aws.configure(domain_update_interval=timedelta(seconds=30))
    assert gateway.deployed_truststore() == older
    request_sync(gateway)

    await_condition(lambda: bool(heard.details("Truststore Drift")), "the event", 20.0)
    (said,) = heard.details("Truststore Drift")
    assert (said["domain_name"], said["found_version_id"], said["version_id"]) == (DOMAIN, older, newest)


def test_a_thousand_requests_at_once_are_a_handful_of_syncs_and_two_updates_at_most(gateway: Deployment) -> None:
    authorities = [Authority.named(f"Burst CA {number}") for number in range(20)]
    certificates = [UPLOADED.certificate, *(it.certificate for it in authorities)]
    bodies = [pki.to_pem(certificate).encode() for certificate in certificates]
    syncs = count_syncs(gateway)
    ran = [gateway.deployed_truststore()]

    def all_deployed() -> bool:
        version = gateway.deployed_truststore()
        if version != ran[-1]:
            ran.append(version)
        return {pki.fingerprint(it.certificate) for it in authorities} <= deployed_anchors(gateway)

    with ThreadPoolExecutor(4) as pool:
        requests = [pool.submit(request_sync, gateway, 500)]
        for number, body in enumerate(bodies):
            gateway.s3.put_object(Bucket=gateway.bucket, Key=f"{layout.STATIC_ANCHORS}{number}.pem", Body=body)
        requests.append(pool.submit(request_sync, gateway, 500))
        await_condition(all_deployed, "every anchor is deployed", 90.0)
        for request in requests:
            request.result()
    await_condition(lambda: queue_is_empty(gateway), "the queue is empty", 20.0)

    assert all_deployed()
    assert len(ran) - 1 <= 2, ran
    assert count_syncs(gateway) - syncs <= 12
    assert all(gateway.accepts(it.client("x", gateway.aws.front_door.server_ca_pem)) for it in authorities[::7])
    assert gateway.accepts(gateway.held())


def count_syncs(gateway: Deployment) -> int:
    """How often the sync has ended well, by its own log."""
    logs = sam.session(gateway.environment).client("logs")
    (group,) = [
        it["logGroupName"] for it in logs.describe_log_groups()["logGroups"] if "TruststoreSync" in it["logGroupName"]
    ]
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, filterPattern='"reconciled"')
    return sum(len(page["events"]) for page in pages)


def queue_is_empty(gateway: Deployment) -> bool:
    sqs = sam.session(gateway.environment).client("sqs")
    answer = sqs.get_queue_attributes(
        QueueUrl=gateway.stack.outputs["SyncQueue"],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )
    return set(answer["Attributes"].values()) == {"0"}


def test_a_domain_of_ones_own_that_serves_an_http_api_is_brought_to_the_same_truststore(gateway: Deployment) -> None:
    """The last test of this stack: with two domains, the front door asks for the server name."""
    name, http = "orders.e2e.example", sam.session(gateway.environment).client("apigatewayv2")
    versions = gateway.s3.list_object_versions(Bucket=gateway.bucket, Prefix=layout.TRUSTSTORE)["Versions"]
    newest = gateway.deployed_truststore()
    http.create_domain_name(
        DomainName=name,
        DomainNameConfigurations=[{"EndpointType": "REGIONAL", "CertificateArn": "arn:aws:acm:::certificate/x"}],
        MutualTlsAuthentication={
            "TruststoreUri": gateway.stack.outputs["TruststoreUri"],
            "TruststoreVersion": versions[-1]["VersionId"],
        },
    )
    gateway.aws.configure(dns="everything")  # its DNS is seen to by who made it
    api = http.create_api(Name="orders", ProtocolType="HTTP")["ApiId"]  # with no route: it answers 404
    http.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    http.create_api_mapping(DomainName=name, ApiId=api, Stage="$default")
    leaf = builders.leaf(UPLOADED)
    client = Certificate(leaf.certificate, leaf.key)

    def status(domain: str) -> int:
        return fetch(gateway.aws.front_door, domain, client)[0]

    assert (status(DOMAIN), status(name)) == (200, 403)
    gateway.update(FurtherDomains=f"arn:aws:apigateway:us-east-1::/domainnames/{name}")
    await_condition(lambda: (status(DOMAIN), status(name)) == (200, 404), "both accept the client", 60.0)
    shown = gateway.apigateway.get_domain_name(domainName=name)["mutualTlsAuthentication"]
    assert shown["truststoreVersion"] == gateway.deployed_truststore() == newest
