"""A probe tells the readings apart: the local AWS plays the one that is not its default, and the probe says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from acceptance import account
from acceptance.account import Account, Domain
from acceptance.conduct import Conductor, Programme, TakenError
from acceptance.ledger import Ledger
from acceptance.probes.registry import PROBES
from acceptance.run import Run, fresh_name
from acceptance.scenarios.api import Scene
from acceptance.waiting import Waiting
from demo.certificates import Authority
from localaws import LocalAws, Settings
from mtls_rotation.pki.certificates import to_pem

DOMAIN = "api.readings.example"
AT_ONCE = timedelta(0)
LATE = {
    "kms_key_lag": timedelta(seconds=1),
    "kms_tag_lag": timedelta(seconds=1),
    "iam_policy_lag": timedelta(seconds=1),
}
QUICK = {"domain_update_time": timedelta(seconds=0.2), "domain_update_interval": timedelta(seconds=0.3)}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    log = tmp_path_factory.mktemp("local-aws") / "log"
    with LocalAws.start(log_path=log, enforce_iam=True) as aws:
        yield account.on(aws)


@pytest.fixture(scope="module")
def run(local: Account, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run with a bucket, and a domain that greets."""
    name = fresh_name()
    ledger = Ledger.begin(tmp_path_factory.mktemp("ledgers"), name, local.id, local.region)
    made = Run(name, local, ledger, Waiting(0.1), Domain(DOMAIN, "Z1"), "", print)
    made.make_bucket()
    made.put("first.pem", to_pem(Authority.named("The first CA").certificate))
    greet(local, f"s3://{made.bucket}/first.pem")
    yield made
    ledger.close(empty=True)


def greet(local: Account, truststore: str) -> None:
    """A domain of an API that answers what the gateway does."""
    gateway: Any = local.clients.apigateway
    api = gateway.create_rest_api(name="hello")["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    method = {"restApiId": api, "resourceId": root, "httpMethod": "GET"}
    gateway.put_method(**method, authorizationType="NONE")
    gateway.put_integration(**method, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    gateway.put_method_response(**method, statusCode="200")
    gateway.put_integration_response(
        **method, statusCode="200", responseTemplates={"application/json": json.dumps({"message": "Hello, mTLS!"})}
    )
    gateway.create_deployment(restApiId=api, stageName="live")
    made = gateway.create_domain_name(
        domainName=DOMAIN,
        regionalCertificateArn="arn:aws:acm:::certificate/x",
        endpointConfiguration={"types": ["REGIONAL"]},
        securityPolicy="TLS_1_2",
        mutualTlsAuthentication={"truststoreUri": truststore},
    )
    gateway.create_base_path_mapping(domainName=DOMAIN, restApiId=api, stage="live")
    route53: Any = local.clients.route53
    zone = route53.create_hosted_zone(Name=DOMAIN, CallerReference="readings")["HostedZone"]["Id"]
    target = {"DNSName": made["regionalDomainName"], "HostedZoneId": "Z2", "EvaluateTargetHealth": False}
    record = {"Name": DOMAIN, "Type": "A", "AliasTarget": target}
    route53.change_resource_record_sets(
        HostedZoneId=zone, ChangeBatch={"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
    )


@pytest.mark.parametrize(
    ("probe", "settings", "reading"),
    [
        ("unknown-issuer-answer", {"refusal_of_clients": "alert"}, "closed"),
        ("equal-subjects", {"equal_subjects": "any"}, "each is accepted"),
        ("truststore-comments", {"comments_in_truststore": "accepted"}, "accepted"),
        ("intermediate-as-anchor", {"incomplete_chains": "accepted"}, "accepted"),
        ("presented-intermediate", {"incomplete_chains": "accepted"}, "accepted"),
        ("self-signed-client", {"self_signed_clients": "accepted"}, "accepted"),
        ("patch-within-30-seconds", {"domain_update_time": AT_ONCE, "domain_update_interval": AT_ONCE}, "let through"),
        ("reservation-in-young-account", {"concurrent_executions": 1000}, "reserved"),
        ("rotation-trial-value", {"rotation_trial": "empty"}, "no value"),
        ("kms-new-key", {"kms_key_lag": AT_ONCE}, "usable at once"),
        ("kms-tag-lag", {"kms_key_lag": AT_ONCE, "kms_tag_lag": AT_ONCE}, "at once"),
        ("iam-lag", {"iam_policy_lag": AT_ONCE}, "at once"),
    ],
)
def test_a_probe_sees_the_reading_that_is_not_the_default(
    run: Run, probe: str, settings: dict[str, Any], reading: str
) -> None:
    local = run.account.local
    assert local
    defaults = Settings()
    quick = {**QUICK, **dict.fromkeys(LATE, AT_ONCE)}
    local.configure(**(quick | settings))
    try:
        (asked,) = [it for it in PROBES if it.name == probe]
        answer = asked.ask(run, Scene(entrance=run.account.door(Domain(DOMAIN, "Z1"))))
    finally:
        local.configure(**{name: getattr(defaults, name) for name in settings})

    assert (answer.reading, asked.expected != reading) == (reading, True), answer.detail
    assert reading in asked.readings


def test_a_domain_that_is_in_use_is_taken_from_nobody(run: Run, tmp_path: Path) -> None:
    conductor, nothing = Conductor(run.account, tmp_path, print), Programme([], [], lambda _: None)
    zone = run.account.clients.route53.list_hosted_zones()["HostedZones"][0]["Id"].rpartition("/")[2]

    with pytest.raises(TakenError, match="custom domain name of API Gateway already"):
        conductor.conduct(fresh_name(), Domain(DOMAIN, zone), nothing)

    assert not (tmp_path / "ledgers").exists()
