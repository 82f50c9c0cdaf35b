"""The plan names everything that is made, and what it costs."""

from __future__ import annotations

from acceptance.ledger import Kind
from acceptance.plan import ITEMS, plan
from acceptance.scenarios import gateway
from tests.kit.template import holds, resources

# What each scenario deploys with, as far as conditions ask.
SCENARIOS = {
    "end-to-end": {},
    "kms": {"ClientIssuer": "kms"},
    "gateway": {
        "DomainName": "api.example.com",
        "HostedZoneId": "Z0123456789ABCDEFGHIJ",
        "ProxyRoutes": "{}",
        "ProxyCallers": "mtls",
    },
}
# What the names of SAM's become.
BY_SAM = {
    "AWS::Serverless::Function": {f"AWS::Lambda::{it}" for it in ("Function", "EventSourceMapping", "Permission")},
    "AWS::Serverless::LayerVersion": {"AWS::Lambda::LayerVersion"},
    "AWS::Serverless::Api": {"AWS::ApiGateway::RestApi", "AWS::ApiGateway::Deployment", "AWS::ApiGateway::Stage"},
}
# What a run and its probes make beside the stacks: of each kind of the ledger.
BESIDE = {
    *(f"AWS::{it}" for it in ("CloudFormation::Stack", "S3::Bucket", "SecretsManager::Secret", "IAM::Role")),
    *(f"AWS::{it}" for it in ("KMS::Key", "Lambda::Function", "SQS::Queue", "ApiGateway::RestApi", "Logs::LogGroup")),
}


def made(parameters: dict[str, str]) -> list[str]:
    found = [it["Type"] for it in resources().values() if holds(it.get("Condition"), parameters)]
    return [name for it in found for name in sorted(BY_SAM.get(it, {it}))]


def named(*, with_gateway: bool) -> set[str]:
    return {name for item in ITEMS if with_gateway or not item.gateway for name in item.types}


def test_everything_that_is_made_is_named_before() -> None:
    without = {name for it in ("end-to-end", "kms") for name in made(SCENARIOS[it])}

    assert without | BESIDE <= named(with_gateway=False)
    assert without | {*made(SCENARIOS["gateway"])} | BESIDE == named(with_gateway=True)


def test_each_kind_that_is_removed_is_named() -> None:
    # A record is made by CloudFormation, and stands with the certificate.
    assert len(BESIDE) == len(Kind) - 1


def test_it_is_no_more_than_is_said() -> None:
    every = [name for parameters in SCENARIOS.values() for name in made(parameters)]
    for item in ITEMS:
        first = [name for name in item.types if name in {*every}]
        if first and "Lambda" not in item.what:
            assert max(every.count(name) for name in first) <= item.number, item.what


def test_it_costs_less_than_two_dollars_and_takes_less_than_an_hour() -> None:
    said = plan("account 123456789012, region eu-west-1", "mtls-acceptance-00000000", "api.example.com", ["an old run"])

    assert 0 < said.cost < said.bound <= 2
    assert all(item.source.startswith("https://aws.amazon.com/") for item in ITEMS if item.cost)
    first, *rest = said.lines()
    assert "account 123456789012, region eu-west-1" in first
    assert "an old run" in rest[0]
    assert rest[-1] == "That costs less than 2 USD, and takes less than an hour."


def test_without_a_domain_it_says_what_is_left_out() -> None:
    said = "\n".join(plan("the local AWS", "mtls-acceptance-00000000", "", []).lines())

    assert "the gateway, and all that is asked of it, is left out" in said
    assert "custom domain name" not in said


def test_the_gateways_scenario_deploys_what_the_plan_is_held_to() -> None:
    from acceptance.account import LOCALLY, Domain, Door

    class Run:
        class account:  # noqa: N801
            pace = LOCALLY

    given = gateway.parameters(Run, Domain("api.example.com", "Z1"), Door("https://api.example.com/"))  # type: ignore[arg-type]

    assert {*given} - {"RevocationTtlSeconds"} == {*SCENARIOS["gateway"]}
