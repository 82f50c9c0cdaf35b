"""A gateway's whole life: deployed from nothing, updated, moved to another domain name, and deleted with its data."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from demo import gateway as on_gateway
from demo import sam
from demo.gateway import architecture
from demo.waiting import await_condition
from localaws import LocalAws
from mtls_rotation.contract import layout
from mtls_rotation.pki import certificates as pki
from tests.e2e.conftest import IAM_LAG, log
from tests.kit import builders, change_sets
from tests.kit.deployment import DOMAIN, Deployment, await_first_rotation
from tests.repository.documents.commands import commands

if TYPE_CHECKING:
    from demo.certificates import Held

MOVED = "moved.e2e.example"
CERTIFICATE = "arn:aws:acm:us-east-1:123456789012:certificate/e2e"
OWNERSHIP = "arn:aws:acm:us-east-1:123456789012:certificate/0f1e2d3c-owner"


@pytest.fixture(scope="module")
def life(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A stack as it is on the day that it is made. The tests of this file run in order on it."""
    # The rate of domain updates is not what is tried here.
    rate: dict[str, Any] = {"domain_update_interval": timedelta(seconds=1), "iam_policy_lag": IAM_LAG}
    with LocalAws.start(log_path=log(tmp_path_factory), enforce_iam=True, **rate) as aws:
        # DNS is the operator's to set, and the account is a new one.
        given = {"HostedZoneId": "", "CertificateArn": CERTIFICATE, "GatewayLoggingRole": "none"}
        made = on_gateway.deploy(aws, "e2e-life", DOMAIN, **given)
        yield Deployment(aws, made.stack, made.environment, made.parameters)


def client(deployment: Deployment, service: str) -> Any:
    return sam.session(deployment.environment).client(service)  # type: ignore[call-overload]


def get(deployment: Deployment, held: Held, path: str = "") -> httpx.Response:
    with httpx.Client(verify=held.context, trust_env=False, timeout=20.0) as http:
        return http.get(f"{deployment.url}{path}")


def newest_truststore(deployment: Deployment) -> str:
    return deployment.s3.head_object(Bucket=deployment.bucket, Key=layout.TRUSTSTORE)["VersionId"]


def zone(deployment: Deployment) -> str:
    (found,) = client(deployment, "route53").list_hosted_zones()["HostedZones"]
    identity: str = found["Id"].rpartition("/")[2]
    return identity


def test_nothing_is_rotated_until_dns_leads_to_the_gateway_and_the_client_has_a_certificate_all_the_same(
    life: Deployment,
) -> None:
    first, target = life.held(), life.stack.outputs["GatewayTarget"]
    assert target in life.stack.outputs["GatewaySteps"]
    assert {run.trigger for run in life.aws.rotations()} == {"test"}
    with pytest.raises(httpx.TransportError):
        get(life, first)

    record = {"Name": DOMAIN, "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": target}]}
    client(life, "route53").change_resource_record_sets(
        HostedZoneId=zone(life), ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    )
    assert get(life, first).status_code == 200
    life.await_rest(life.client)  # what was only tried goes on until then
    life.rotate(life.client, 60.0)
    assert life.held().serial != first.serial


def test_the_first_deploy_makes_all_that_it_takes_in_one_go(life: Deployment) -> None:
    greeting = get(life, life.held())

    assert (greeting.status_code, greeting.json()) == (200, {"message": "Hello, mTLS!"})
    await_condition(lambda: life.deployed_truststore() == newest_truststore(life), "the sync has told the domain", 60.0)
    revoked = life.s3.get_object(Bucket=life.bucket, Key=layout.REVOCATION_LIST)["Body"].read()
    assert json.loads(revoked)["revoked"] == []
    assert get(life, life.held(), "proxy/billing/x").status_code == 403
    # It had no need of a role that a new account does not have, and set none for every other API.
    assert not client(life, "apigateway").get_account().get("cloudwatchRoleArn")


def test_an_update_takes_parts_away_and_adds_others_and_never_sets_the_truststore_back(life: Deployment) -> None:
    first = life.deployed_truststore()
    partner = builders.root("Partner of this life")
    key = f"{layout.STATIC_ANCHORS}partner.pem"
    life.s3.put_object(Bucket=life.bucket, Key=key, Body=pki.to_pem(partner.certificate).encode())
    await_condition(lambda: life.deployed_truststore() != first, "the partner is trusted", 60.0)
    newest = life.deployed_truststore()
    acl = client(life, "wafv2").create_web_acl(
        Name="guard",
        Scope="REGIONAL",
        DefaultAction={"Allow": {}},
        VisibilityConfig={"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": "guard"},
    )["Summary"]["ARN"]
    routes = json.dumps({"routes": {"billing": {"upstream": "https://127.0.0.1:1", "connect_timeout": 1}}})
    life.parameters |= {"GatewayLoggingRole": "create", "ExecutionLogs": "errors"}
    life.aws.configure(domain_update_interval=timedelta(seconds=30))
    life.update(
        sam.deploy,
        Authorizer="disabled",
        ProxyRoutes=base64.b64encode(routes.encode()).decode(),
        ProxyCallers="mtls",
        WebAclArn=acl,
        ThrottlingRateLimit="77",
        # This changes the domain: CloudFormation's own update of it comes right after one of the sync's.
        OwnershipVerificationCertificateArn=OWNERSHIP,
        OnDelete="delete",
    )

    domain = client(life, "apigateway").get_domain_name(domainName=DOMAIN)
    assert domain["ownershipVerificationCertificateArn"] == OWNERSHIP
    assert domain["mutualTlsAuthentication"].get("truststoreVersion", newest) == newest == newest_truststore(life)
    life.aws.configure(domain_update_interval=timedelta(seconds=1))
    functions = {it["FunctionName"] for it in client(life, "lambda").list_functions()["Functions"]}
    assert not [name for name in functions if "Authorizer" in name]
    assert get(life, life.held()).status_code == 200
    answer = get(life, life.held(), "proxy/billing/x")
    assert (answer.status_code, answer.headers["content-type"]) == (502, "application/problem+json")
    (api,) = client(life, "apigateway").get_rest_apis()["items"]
    stage = client(life, "apigateway").get_stage(restApiId=api["id"], stageName="live")
    assert stage["methodSettings"]["*/*"]["throttlingRateLimit"] == 77
    assert stage["methodSettings"]["*/*"]["loggingLevel"] == "ERROR"
    assert life.access_log()[-1]["path"] == "/proxy/billing/x"
    assert client(life, "logs").describe_log_groups(logGroupNamePrefix=life.stack.outputs["GatewayErrors"])["logGroups"]
    stage_arn = f"arn:aws:apigateway:us-east-1::/restapis/{api['id']}/stages/live"
    assert client(life, "wafv2").get_web_acl_for_resource(ResourceArn=stage_arn)["WebACL"]["ARN"] == acl


def test_a_table_that_cannot_be_used_fails_the_update_in_words_and_changes_nothing(life: Deployment) -> None:
    before = newest_truststore(life)
    broken = base64.b64encode(b'{"routes": {"billing": {"upstream": "http://plain.example"}}}').decode()
    with pytest.raises(sam.SamError):
        life.update(OnDelete="delete", ProxyRoutes=broken)

    events = client(life, "cloudformation").describe_stack_events(StackName=life.stack.name)["StackEvents"]
    reasons = [str(it.get("ResourceStatusReason")) for it in events if it["LogicalResourceId"] == "Bootstrap"]
    assert [it for it in reasons if "MTLS-107 the template's parameter ProxyRoutes: found an unusable routes" in it]
    assert get(life, life.held()).status_code == 200
    assert newest_truststore(life) == before
    assert life.deployed_truststore() in {"", before}, "until the sync has told it, it is the latest, by no name"


def test_the_domain_name_may_be_replaced(life: Deployment) -> None:
    life.update(DomainName=MOVED, HostedZoneId=zone(life), OnDelete="delete")

    gateway = client(life, "apigateway")
    await_condition(
        lambda: (
            gateway.get_domain_name(domainName=MOVED)["mutualTlsAuthentication"].get("truststoreVersion")
            == newest_truststore(life)
        ),
        "the sync has told the new domain its version",
        60.0,
    )
    domains = [it["domainName"] for it in client(life, "apigateway").get_domain_names()["items"]]
    assert domains == [MOVED]
    assert get(life, life.held()).status_code == 200


def test_a_new_stack_takes_over_what_a_deleted_one_of_its_name_kept(life: Deployment) -> None:
    name, parameters = "e2e-kept", {"Architecture": architecture()}
    stack = change_sets.deploy(name, parameters, life.environment)
    kept = await_first_rotation(Deployment(life.aws, stack, life.environment, parameters))
    ca, certificate, bucket = kept.value(kept.ca), kept.value(kept.client)["certificate"], kept.bucket
    kept.delete()

    with pytest.raises(sam.SamError, match="the secret e2e-kept/ca already exists"):
        change_sets.deploy(name, parameters, life.environment)
    for secret in (kept.ca, kept.client):
        kept.secrets.delete_secret(SecretId=secret, RecoveryWindowInDays=7)
    as_the_runbook_says("the-stack-cannot-be-made-again-under-its-name", kept, STACK=name, BUCKET=bucket)
    assert (kept.value(kept.ca), kept.value(kept.client)["certificate"]) == (ca, certificate)

    kept.update()
    assert kept.bucket == bucket
    await_condition(lambda: kept.value(kept.client)["certificate"] != certificate, "the first rotation", 60.0)
    kept.await_rest(kept.client)
    assert kept.value(kept.ca) == ca
    assert kept.value(kept.client)["anchor"] == ca["anchor"]


def as_the_runbook_says(section: str, deployment: Deployment, **values: str) -> None:
    """Run the commands of what a section of the runbook tells to do, in their order."""
    path = sam.ROOT / "docs" / "operations.md"
    headings = [(number, it) for number, it in enumerate(path.read_text().splitlines(), 1) if it.startswith("#")]
    begin, end = next(
        (number, following)
        for (number, it), (following, _) in itertools.pairwise(headings)
        if it.strip("# ").lower().replace(" ", "-") == section
    )
    told = [it.text for it in commands() if it.document == "docs/operations.md" and begin < it.line < end]
    script = [it for it in told if "NAME" not in it and not it.startswith("mtlsctl")]
    done = subprocess.run(
        ["bash", "-euc", "\n".join(script)],
        cwd=sam.ROOT,
        env=deployment.environment | values | {"PATH": f"{sam.SAM_ENVIRONMENT}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_deleting_the_stack_ends_and_takes_its_data_with_it_as_it_was_told(life: Deployment) -> None:
    life.delete()

    buckets = {it["Name"] for it in life.s3.list_buckets()["Buckets"]}
    assert life.bucket not in buckets
    for secret in (life.client, life.ca):
        assert "DeletedDate" in life.secrets.describe_secret(SecretId=secret)
    assert client(life, "apigateway").get_domain_names().get("items", []) == []
