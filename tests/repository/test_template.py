"""What template.yaml promises: fixed names, permissions of each function, and a gateway that is whole or absent."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mtls_rotation.contract import events, layout, probes
from mtls_rotation.issuers import registry as issuers
from tests.kit.template import listed, named_by, policies, resources, role_of, roles, statements, template

ROOT = Path(__file__).parents[2]
TEMPLATE = template()
RESOURCES = resources()
READS_VALUES = {"secretsmanager:getsecretvalue", "secretsmanager:batchgetsecretvalue"}


def found(node: Any, key: str) -> Iterator[Any]:
    """Every value under this key, however deep."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from found(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from found(value, key)


def policies_of(function: str) -> list[dict[str, Any]]:
    """What a function may do."""
    return [it.body for it in statements(role_of(function))]


def actions_of(function: str) -> set[str]:
    """The same, without where; in lower case, as IAM compares them."""
    return {action.lower() for it in statements(role_of(function)) for action in it.actions}


IDENTITY_STATEMENTS = [pytest.param(it.body, id=f"{role}-{it.sid}") for role in roles() for it in statements(role)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("RotationLayer", "AWS::Serverless::LayerVersion"),
        ("RotateFunction", "AWS::Serverless::Function"),
        ("TruststoreSyncFunction", "AWS::Serverless::Function"),
        ("BootstrapFunction", "AWS::Serverless::Function"),
        ("SignedCertificateFunction", "AWS::Serverless::Function"),
        ("AuthorizerFunction", "AWS::Serverless::Function"),
        ("RevocationFunction", "AWS::Serverless::Function"),
        ("MtlsProxyFunction", "AWS::Serverless::Function"),
        ("Bootstrap", "Custom::MtlsRotationBootstrap"),
        ("CaSecret", "AWS::SecretsManager::Secret"),
        ("ClientSecret", "AWS::SecretsManager::Secret"),
        ("CaRotation", "AWS::SecretsManager::RotationSchedule"),
        ("ClientRotation", "AWS::SecretsManager::RotationSchedule"),
        ("Bucket", "AWS::S3::Bucket"),
        ("SyncQueue", "AWS::SQS::Queue"),
        ("SyncDeadLetters", "AWS::SQS::Queue"),
        ("GatewayDomain", "AWS::ApiGateway::DomainName"),
    ],
)
def test_what_other_parts_name_is_there(name: str, kind: str) -> None:
    assert RESOURCES[name]["Type"] == kind


@pytest.mark.parametrize("name", [name for name, it in RESOURCES.items() if it["Type"] == "AWS::Serverless::Function"])
def test_every_functions_code_is_where_the_template_says(name: str) -> None:
    assert (ROOT / RESOURCES[name]["Properties"]["CodeUri"] / "app.py").is_file()


def test_the_sync_cannot_read_a_secret_value() -> None:
    actions = actions_of("TruststoreSyncFunction")

    assert "secretsmanager:listsecrets" in actions, "the test looks at the wrong policies"
    assert not actions & READS_VALUES
    assert not [action for action in actions if "*" in action or action.startswith("kms:")]


READ = {"Effect": "Allow", "Sid": "Planted", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}


def planted(kind: str, **properties: Any) -> dict[str, Any]:
    return {"Type": kind, "Properties": {**properties, "PolicyDocument": {"Statement": [READ]}}}


@pytest.mark.parametrize("kind", ["AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"])
def test_a_policy_that_names_the_role_itself_counts_as_the_functions(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RESOURCES, "Planted", planted(kind, Roles=[{"Ref": "TruststoreSyncRole"}]))

    assert READ in policies_of("TruststoreSyncFunction")
    assert READ not in policies_of("AuthorizerFunction")


@pytest.mark.parametrize(
    "resource",
    [
        planted("AWS::IAM::RolePolicy", RoleName={"Ref": "TruststoreSyncRole"}),
        planted("AWS::IAM::Policy", Roles={"Fn::If": ["UsesKms", [{"Ref": "TruststoreSyncRole"}], []]}),
        planted("AWS::IAM::Policy", Roles=[{"Fn::If": ["UsesKms", {"Ref": "TruststoreSyncRole"}, "other"]}]),
    ],
)
def test_a_way_to_attach_a_policy_that_the_tests_do_not_know_is_not_passed_over(
    resource: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RESOURCES, "Planted", resource)

    with pytest.raises(AssertionError):
        policies_of("TruststoreSyncFunction")


@pytest.mark.parametrize("way", [{"Policies": [READ]}, {"Role": "arn:aws:iam::123456789012:role/other"}])
def test_a_function_that_gets_its_permissions_in_another_way_is_not_passed_over(
    way: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    function = RESOURCES["TruststoreSyncFunction"]
    changed = {**function, "Properties": {**function["Properties"], **way}}
    monkeypatch.setitem(RESOURCES, "TruststoreSyncFunction", changed)

    with pytest.raises(AssertionError):
        policies_of("TruststoreSyncFunction")


def test_every_policy_belongs_to_a_role() -> None:
    given = {it.policy for role in roles() for it in statements(role)}

    assert [name for name in policies() if not named_by(name) and name not in given] == []


@pytest.mark.parametrize("role", roles())
def test_no_policy_of_a_role_takes_the_place_of_another(role: str) -> None:
    """IAM has one policy of a name in a role: the second would replace the first."""
    own = [it["PolicyName"] for it in RESOURCES[role]["Properties"].get("Policies", [])]
    named = [RESOURCES[it]["Properties"].get("PolicyName", it) for it in policies() if role in named_by(it)]

    assert len({*own, *named}) == len(own) + len(named)


def test_the_bootstrap_waits_for_every_policy_that_names_roles_itself() -> None:
    """Nothing else does, and the bootstrap is the first of what runs while the stack is made."""
    _, waited_for = RESOURCES["BootstrapFunction"]["Properties"]["Role"]["Fn::Select"]
    lists = [it["Fn::If"][:2] if "Fn::If" in it else [None, it] for it in waited_for if "Fn::GetAtt" not in it]
    of_bootstrap = [it for it in policies() if named_by(it)]
    named = [[RESOURCES[name].get("Condition"), {"Ref": name}] for name in of_bootstrap]

    assert sorted(map(str, lists)) == sorted(map(str, named))
    assert len(lists) > 1
    for schedule in ("CaRotation", "ClientRotation"):
        assert "Bootstrap" in RESOURCES[schedule]["DependsOn"]
    assert RESOURCES["Bootstrap"]["Properties"]["ServiceToken"] == {"Fn::GetAtt": ["BootstrapFunction", "Arn"]}


# The parts of the stack that an issuer or a target may be used by; each is the same with any of them.
@pytest.mark.parametrize("role", ["RotateRole", "TruststoreSyncRole", "RevocationRole", "BootstrapRole"])
def test_what_issuers_and_targets_take_stands_in_policies_of_their_own(role: str) -> None:
    own = {it.when for it in statements(role) if it.policy in {"function", "SyncPolicy", "RevocationPolicy"}}
    of_issuers = {issuers.kind(it).condition for it in issuers.MODULES} - {""}

    assert not own & (of_issuers | {"HasTargets", "HasGateway", "HasFurtherDomains"})


def test_the_rotation_can_read_the_values_that_it_rotates() -> None:
    assert "secretsmanager:getsecretvalue" in actions_of("RotateFunction")


@pytest.mark.parametrize("statement", IDENTITY_STATEMENTS)
def test_every_statement_names_its_actions(statement: dict[str, Any]) -> None:
    assert "NotAction" not in statement
    assert statement["Sid"]
    for action in listed(statement["Action"]):
        service, _, operation = action.partition(":")
        assert service.replace("-", "").isalnum()
        assert operation.isalnum(), f"{action} is no single action"


@pytest.mark.parametrize("statement", IDENTITY_STATEMENTS)
def test_every_statement_names_its_resources(statement: dict[str, Any]) -> None:
    """That `*` stands where an action takes no resource is for `test_permissions.py`, by AWS's reference."""
    assert "NotResource" not in statement
    assert statement["Resource"]


@pytest.mark.parametrize("statement", IDENTITY_STATEMENTS)
def test_secrets_named_by_a_pattern_are_limited_to_the_stacks_own(statement: dict[str, Any]) -> None:
    if "secret:*" in json.dumps(statement["Resource"]):
        assert "aws:ResourceTag/mtls-rotation:stack" in json.dumps(statement["Condition"])


IS_GATEWAY = ("AWS::ApiGateway::", "AWS::Serverless::Api", "AWS::CertificateManager::", "AWS::Route53::")
# What each condition has in common: it is false where DomainName is empty.
NEEDS_A_DOMAIN_NAME = {"HasGateway", "MakesCertificate", "MakesAlias"}


def implies_gateway(condition: Any) -> bool:
    """Whether a condition holds only where HasGateway does."""
    match condition:
        case {"Condition": name} | str(name):
            return name == "HasGateway" or implies_gateway(TEMPLATE["Conditions"][name])
        case {"Fn::And": parts}:
            return any(implies_gateway(part) for part in parts)
        case _:
            return False


# The proxy for callers with IAM credentials needs no domain name, and the role by which it logs neither.
WITHOUT_A_DOMAIN = {"ProxyApi", "GatewayLoggingAccount"}


@pytest.mark.parametrize(
    "name",
    [name for name, it in RESOURCES.items() if it["Type"].startswith(IS_GATEWAY) and name not in WITHOUT_A_DOMAIN],
)
def test_every_part_of_the_gateway_is_left_out_without_a_domain_name(name: str) -> None:
    assert implies_gateway(RESOURCES[name]["Condition"])


def test_the_gateway_is_there_only_with_a_domain_name() -> None:
    assert TEMPLATE["Conditions"]["HasGateway"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "DomainName"}, ""]}]}


def test_the_gateway_takes_tls_1_2_and_only_by_its_domain_name() -> None:
    domain, (api,) = RESOURCES["GatewayDomain"], found(TEMPLATE, "DisableExecuteApiEndpoint")

    assert domain["Properties"]["SecurityPolicy"] == "TLS_1_2"
    assert api is True


def test_the_template_names_no_version_of_the_truststore_so_that_no_update_or_rollback_sets_one() -> None:
    """The sync sets it. CloudFormation would send what it recorded, which a client's anchor may have come after."""
    assert set(RESOURCES["GatewayDomain"]["Properties"]["MutualTlsAuthentication"]) == {"TruststoreUri"}


def test_a_sync_follows_whatever_cloudformation_has_done_to_the_stack() -> None:
    pattern = RESOURCES["StackChangedRule"]["Properties"]["EventPattern"]

    assert pattern["detail"]["stack-id"] == [{"Ref": "AWS::StackId"}]
    ends = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"}
    assert set(pattern["detail"]["status-details"]["status"]) == ends


def test_what_the_bootstrap_leaves_to_the_queue_reaches_it() -> None:
    """A domain may be busy, and is told later; an event that no rule takes is lost."""
    assert {"SyncRequestedRule", "SyncQueuePolicy"} <= set(RESOURCES["Bootstrap"]["DependsOn"])


def test_every_parameter_says_what_it_is_for_and_has_a_default() -> None:
    for name, parameter in TEMPLATE["Parameters"].items():
        assert parameter["Description"].endswith((".", ")")), name
        assert "Default" in parameter, f"{name}: sam deploy must go through with no parameter set"


def test_every_free_text_is_checked_before_anything_is_deployed() -> None:
    for name, parameter in TEMPLATE["Parameters"].items():
        if parameter["Type"] == "String" and "AllowedValues" not in parameter:
            assert parameter["AllowedPattern"].startswith("^"), name
            assert parameter["AllowedPattern"].endswith("$"), name
            assert parameter["ConstraintDescription"], name
        if parameter["Type"] == "Number":
            assert "AllowedValues" in parameter or {"MinValue", "MaxValue"} <= set(parameter), name


@pytest.mark.parametrize("name", ["ClientRotationSchedule", "CaRotationSchedule"])
@pytest.mark.parametrize(
    ("schedule", "taken"),
    [
        ("rate(4 hours)", True),
        ("rate(12 hours)", True),
        ("rate(1 day)", True),
        ("rate(999 days)", True),
        ("cron(0 3 ? * MON *)", True),
        ("cron(0 /8 1,15 * ? *)", True),
        ("rate(1 hour)", False),
        ("rate(3 hours)", False),
        ("rate(0 days)", False),
        ("rate(1000 days)", False),
        ("rate(10 minutes)", False),
        ("cron(30 3 ? * MON *)", False),
        ("cron(0 3 * * *)", False),
    ],
)
def test_a_schedule_that_secrets_manager_would_not_take_is_refused_before_anything_is_made(
    name: str, schedule: str, taken: bool
) -> None:
    """https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html."""
    assert bool(re.fullmatch(TEMPLATE["Parameters"][name]["AllowedPattern"], schedule)) is taken


def test_every_parameter_is_in_a_group_and_every_group_holds_parameters() -> None:
    groups = TEMPLATE["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]

    assert sorted(grouped) == sorted(TEMPLATE["Parameters"])


def test_no_secret_value_is_in_the_template() -> None:
    for resource in RESOURCES.values():
        if resource["Type"] == "AWS::SecretsManager::Secret":
            assert not {"SecretString", "GenerateSecretString"} & set(resource["Properties"])
            assert {"Key": "mtls-rotation:stack", "Value": {"Ref": "AWS::StackName"}} in resource["Properties"]["Tags"]


def test_the_bootstrap_samples_hold_the_properties_that_the_template_passes() -> None:
    passed = set(RESOURCES["Bootstrap"]["Properties"])
    for sample in ("create", "update", "delete"):
        event = json.loads((ROOT / "events" / f"bootstrap-{sample}.json").read_text())
        assert set(event["ResourceProperties"]) == passed, sample


def ruled(node: Any, parameters: dict[str, str]) -> Any:
    """What a rule's function comes to, as CloudFormation works it out."""
    match node:
        case {"Ref": name}:
            return parameters[name]
        case {"Fn::Equals": [one, other]}:
            return ruled(one, parameters) == ruled(other, parameters)
        case {"Fn::Not": [it]}:
            return not ruled(it, parameters)
        case {"Fn::And": parts}:
            return all(ruled(it, parameters) for it in parts)
        case {"Fn::Or": parts}:
            return any(ruled(it, parameters) for it in parts)
        case str():
            return node
        case _:
            pytest.fail(f"no function that rules have: {node}")


def refusals(**changes: str) -> list[str]:
    """The rules that refuse the template with these parameters."""
    defaults = {name: str(it.get("Default", "")) for name, it in TEMPLATE["Parameters"].items()}
    parameters = defaults | changes
    return [
        name
        for name, rule in TEMPLATE["Rules"].items()
        if ruled(rule["RuleCondition"], parameters)
        and not all(ruled(it["Assert"], parameters) for it in rule["Assertions"])
    ]


GATEWAY = {"DomainName": "api.example.com", "HostedZoneId": "Z1"}


@pytest.mark.parametrize(
    ("parameters", "refused"),
    [
        ({}, []),
        (GATEWAY, []),
        ({"ClientIssuer": "self-signed"}, []),
        ({"ClientIssuer": "self-signed", **GATEWAY}, ["GatewayIsKnownToAcceptTheClient"]),
        ({"ClientIssuer": "self-signed", **GATEWAY, "SelfSignedClients": "accepted"}, []),
        ({"DomainName": "api.example.com"}, ["GatewayHasACertificate"]),
        ({"ClientIssuer": "external", **GATEWAY}, ["GatewayHasAnAnchor"]),
    ],
)
def test_what_no_stack_could_serve_is_refused_before_one_is_made(
    parameters: dict[str, str], refused: list[str]
) -> None:
    assert refusals(**parameters) == refused


def test_every_event_of_a_rule_has_a_sample_that_the_rule_matches() -> None:
    samples = [
        json.loads(json.loads(path.read_text())["Records"][0]["body"])
        for path in sorted((ROOT / "events").glob("sync-*.json"))
    ]
    told = {(event["source"], event["detail-type"]) for event in samples}
    patterns = [it["Properties"].get("EventPattern") for it in RESOURCES.values() if it["Type"] == "AWS::Events::Rule"]
    wanted = {(source, kind) for it in patterns if it for source in it["source"] for kind in it["detail-type"]}

    assert told == wanted | {("aws.events", "Scheduled Event")}


def test_the_intake_of_signed_certificates_hears_of_uploads_and_cannot_read_a_secret() -> None:
    sample = json.loads((ROOT / "events" / "signed-certificate.json").read_text())
    pattern = RESOURCES["SignedCertificateRule"]["Properties"]["EventPattern"]
    actions = actions_of("SignedCertificateFunction")

    assert "s3:getobject" in actions
    assert sample["detail-type"] in pattern["detail-type"]
    assert sample["detail"]["object"]["key"].startswith(pattern["detail"]["object"]["key"][0]["prefix"])
    assert not actions & READS_VALUES


@pytest.mark.parametrize("issuer", issuers.MODULES)
def test_the_document_on_issuers_lists_the_permissions_that_the_template_gives_for_each(issuer: str) -> None:
    text = (ROOT / "docs" / "issuers.md").read_text().partition("## What each needs")[2]
    (row,) = [line for line in text.splitlines() if line.startswith(f"| `{issuer}` |")]
    told = set(re.findall(r"`([a-z0-9-]+:\w+)`", row.split("|")[3]))
    given = {a for it in statements("RotateRole") if it.when == issuers.kind(issuer).condition for a in it.actions}

    assert told == given


def test_no_function_takes_from_a_young_accounts_concurrency_unless_it_is_told_to() -> None:
    reservations = {name: list(found(it, "ReservedConcurrentExecutions")) for name, it in RESOURCES.items()}
    (of_the_sync,) = reservations.pop("TruststoreSyncFunction")
    condition, reserved, otherwise = of_the_sync["Fn::If"]
    (started,) = found(RESOURCES["TruststoreSyncFunction"], "ScalingConfig")

    assert not any(reservations.values())
    assert otherwise == {"Ref": "AWS::NoValue"}
    assert TEMPLATE["Conditions"][condition] == {"Fn::Equals": [{"Ref": "SyncConcurrency"}, "reserved"]}
    assert TEMPLATE["Parameters"]["SyncConcurrency"]["Default"] != "reserved"
    # Lambda refuses a queue's mapping that may start more than are reserved.
    assert reserved >= started["MaximumConcurrency"]


def test_a_stack_that_could_not_be_made_leaves_no_key_behind_and_no_name_taken() -> None:
    kept = {name for name, it in RESOURCES.items() if it["Type"] in ("AWS::KMS::Key", "AWS::SecretsManager::Secret")}

    assert kept == {"Key", "CaSecret", "ClientSecret"}
    for name in kept:
        assert RESOURCES[name]["DeletionPolicy"] == "RetainExceptOnCreate"
        assert RESOURCES[name]["UpdateReplacePolicy"] == "Retain"


def test_what_an_old_stack_kept_is_named_to_a_new_one_as_the_template_names_it() -> None:
    taken_over = json.loads((ROOT / "template-kept.json").read_text())["Resources"]
    kept = {name for name, it in RESOURCES.items() if it.get("DeletionPolicy", "").startswith("Retain")}

    assert kept - taken_over.keys() == {"GatewayLoggingAccount", "ApiGatewayLoggingRole"}  # the account's, by then
    for name, resource in taken_over.items():
        for part in ("Type", "DeletionPolicy", "UpdateReplacePolicy"):
            assert resource[part] == RESOURCES[name][part]
        assert resource.get("Properties", {}).items() <= RESOURCES[name]["Properties"].items()
        # Of these types, the properties by which CloudFormation would replace the resource.
        assert {"Name", "BucketName"} & RESOURCES[name]["Properties"].keys() <= resource.get("Properties", {}).keys()


def test_nothing_is_rotated_before_dns_can_point_to_the_gateway() -> None:
    condition, awaiting, otherwise = RESOURCES["ClientRotation"]["Properties"]["RotateImmediatelyOnUpdate"]["Fn::If"]
    # Where there is a hosted zone, the alias is there first.
    assert TEMPLATE["Conditions"][condition] == {
        "Fn::And": [{"Condition": "HasGateway"}, {"Fn::Not": [{"Condition": "HasHostedZone"}]}]
    }
    assert {"Ref": "GatewayAlias"} in [it for part in found(RESOURCES["ClientRotation"], "Fn::If") for it in part]
    assert (awaiting, otherwise) == (False, True)
    assert RESOURCES["CaRotation"]["Properties"]["RotateImmediatelyOnUpdate"] is False
    # And a client has a certificate all the same.
    first = RESOURCES["Bootstrap"]["Properties"]["FirstCertificate"]
    assert first == {"Fn::If": [condition, "bootstrap", "rotation"]}
    assert TEMPLATE["Outputs"]["GatewaySteps"]["Condition"] == condition


def test_no_name_made_of_the_stacks_is_longer_than_its_service_takes() -> None:
    longest = "s" * 128  # https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateStack.html
    most = {"DisplayName": 100, "LayerName": 140, "DashboardName": 255, "Name": 512}
    for name, resource in RESOURCES.items():
        for part in most.keys() & resource["Properties"].keys():
            written = resource["Properties"][part]
            text = written if isinstance(written, str) else written.get("Fn::Sub") or f"${{{written['Ref']}}}"
            length = len(text.replace("${AWS::StackName}", longest).replace("${AWS::Region}", "ap-southeast-2"))
            assert length <= most[part], (name, part)


@pytest.mark.parametrize("name", [name for name, it in RESOURCES.items() if it["Type"] == "AWS::Serverless::Function"])
def test_no_functions_variables_outgrow_what_lambda_takes(name: str) -> None:
    """4 KB: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html."""
    domains = ["arn:aws:apigateway:ap-southeast-2::/domainnames/orders.partners.example.com"] * 35
    longest = {"FurtherDomains": ",".join(domains), "DomainName": "d" * 253, "AWS::StackName": "s" * 128}

    def length(value: Any) -> int:
        match value:
            case {"Ref": parameter}:
                limit = TEMPLATE["Parameters"].get(parameter, {}).get("MaxLength", 64)
                return len(longest.get(parameter, "x" * limit))
            case {"Fn::Join": [_, parts]}:
                return length(parts)
            case {"Fn::If": [_, one, other]}:
                return max(length(one), length(other))
            case list():
                return sum(length(it) + 1 for it in value)
            case _:
                return len(str(value))

    own = RESOURCES[name]["Properties"].get("Environment", {}).get("Variables", {})
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"] | own
    # A route table and an allow-list may each be kept in a parameter in place of the variable, never in both.
    variables = {it: value for it, value in variables.items() if not it.endswith("_PARAMETER")}
    assert sum(len(it) + length(value) for it, value in variables.items()) <= 4096


def test_the_queue_waits_six_times_as_long_as_the_sync_may_run() -> None:
    timeout = RESOURCES["TruststoreSyncFunction"]["Properties"]["Timeout"]
    assert RESOURCES["SyncQueue"]["Properties"]["VisibilityTimeout"] >= 6 * timeout


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("layers/rotation/requirements.txt", ["--package", "mtls-rotation"]),
        ("client/requirements.txt", ["--package", "mtls-client", "--extra", "httpx"]),
        ("sidecar/requirements.txt", ["--package", "mtls-sidecar"]),
        ("sidecar/build-requirements.txt", ["--only-group", "build"]),
    ],
)
def test_the_layers_and_the_image_are_built_from_the_lock(file: str, what: list[str]) -> None:
    uv = shutil.which("uv") or str(ROOT / ".tools" / "bin" / "uv")
    options = ["--no-dev", "--no-emit-project", "--no-emit-workspace", "--no-annotate", "--no-header"]
    command = [uv, "export", "-q", "--frozen", *what, *options]
    exported = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    committed = (ROOT / file).read_text()

    assert _lines(committed) == _lines(exported)
    assert "==" in exported


def _lines(requirements: str) -> list[str]:
    return [line.strip(" \\") for line in requirements.splitlines() if line.strip() and not line.startswith("#")]


def test_a_truststore_that_a_domain_may_run_is_never_expired_by_the_bucket() -> None:
    for rule in RESOURCES["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]:
        assert not "truststore.pem".startswith(rule["Prefix"])
        assert rule["Prefix"] in ("issued/", "state/", "probes/", "truststore.txt")


def test_further_domains_are_told_of_by_their_arns_and_nothing_wider() -> None:
    named = {
        "TruststoreSyncRole": "MoveFurtherDomainsToAnotherTruststore",
        "RotateRole": "SeeWhichTruststoreFurtherDomainsRun",
    }
    for role, sid in named.items():
        (statement,) = [it for it in statements(role) if it.sid == sid]
        assert statement.body["Resource"] == {"Ref": "FurtherDomains"}


def test_the_authorizer_may_read_the_revocation_list_and_nothing_that_is_secret() -> None:
    allowed = {
        (action, json.dumps(statement["Resource"]))
        for statement in policies_of("AuthorizerFunction")
        for action in listed(statement["Action"])
        if not action.startswith(("logs:", "xray:"))
    }
    bus = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/default"
    assert allowed == {
        ("s3:GetObject", json.dumps({"Fn::Sub": "${Bucket.Arn}/revocation/list.json"})),
        ("s3:GetObject", json.dumps({"Fn::Sub": "${Bucket.Arn}/truststore.pem"})),
        ("s3:ListBucket", json.dumps({"Fn::GetAtt": ["Bucket", "Arn"]})),
        ("s3:GetObjectVersion", json.dumps({"Fn::Sub": "${Bucket.Arn}/revocation/list.json"})),
        ("s3:ListBucketVersions", json.dumps({"Fn::GetAtt": ["Bucket", "Arn"]})),
        ("events:PutEvents", json.dumps({"Fn::Sub": bus})),
        (
            "ssm:GetParameter",
            json.dumps(
                {"Fn::Sub": "arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter${AllowListParameter}"}
            ),
        ),
    }


@pytest.mark.parametrize(
    ("function", "tag", "value"),
    [
        ("RevocationFunction", "aws:ResourceTag/mtls-rotation:kind", "ca"),
        ("MtlsProxyFunction", "aws:ResourceTag/mtls-rotation:proxy", "allowed"),
    ],
)
def test_a_function_reads_the_values_of_secrets_that_are_marked_for_it(function: str, tag: str, value: str) -> None:
    reading = [it for it in policies_of(function) if READS_VALUES & {a.lower() for a in listed(it["Action"])}]

    assert [it["Condition"]["StringEquals"][tag] for it in reading] == [value]
    marked = "CaSecret" if value == "ca" else "ClientSecret"
    assert value in json.dumps(RESOURCES[marked]["Properties"]["Tags"])


def test_whatever_updates_the_domain_has_the_bootstrap_run_before_which_waits_until_it_takes_an_update() -> None:
    domain, revision = RESOURCES["GatewayDomain"], "GatewayDomainRevision"
    conditions = [name for name in found(domain, "Fn::If") for name in name[:1]]
    decided_by = [TEMPLATE["Conditions"][name] for name in [*conditions, domain["Condition"]]]
    made_of = [RESOURCES["GatewayCertificate"]["Properties"]]
    changing = {name for part in (domain, *decided_by, *made_of) for name in found(part, "Ref")} & set(
        TEMPLATE["Parameters"]
    )
    properties = RESOURCES["Bootstrap"]["Properties"]

    assert changing >= {"DomainName", "CertificateArn", "HostedZoneId"}
    assert changing <= {name for name in found(properties, "Ref") if isinstance(name, str)}
    # A change of the resource in the template itself: its revision goes with it.
    form = hashlib.sha256(json.dumps(domain, sort_keys=True).encode()).hexdigest()[:12]
    assert (properties[revision], form) == ("2", "2e8fb5143715"), f"raise {revision}, and note its new form here"


def test_the_bootstrap_waits_for_all_that_the_domain_waits_for_which_is_updated_right_after_it() -> None:
    """It keeps the rate free for CloudFormation's update only for a while. ACM takes minutes for a certificate."""

    def named(resource: dict[str, Any]) -> set[str]:
        references = [it for it in found(resource["Properties"], "Ref") if isinstance(it, str)]
        attributes = [it[0] for it in found(resource["Properties"], "Fn::GetAtt")]
        depended = resource.get("DependsOn", [])
        return {*references, *attributes, *([depended] if isinstance(depended, str) else depended)} & RESOURCES.keys()

    def waited_for(name: str) -> set[str]:
        return named(RESOURCES[name]).union(*map(waited_for, named(RESOURCES[name])))

    at_once = {"BucketPolicy"}
    assert named(RESOURCES["GatewayDomain"]) - at_once - {"Bootstrap"} <= waited_for("Bootstrap")


def test_the_authorizers_answer_for_one_caller_is_not_kept_for_another() -> None:
    (authorizer,) = found(TEMPLATE, "x-amazon-apigateway-authorizer")
    assert authorizer["type"] == "request"
    assert authorizer["authorizerResultTtlInSeconds"] == 0


def test_every_operation_of_the_gateway_asks_the_authorizer_and_every_one_of_the_proxy_a_signature() -> None:
    by_certificate = {"Fn::If": ["HasAuthorizer", [{"clientCertificate": []}], []]}
    for api, security in (("GatewayApi", by_certificate), ("ProxyApi", [{"signature": []}])):
        paths = RESOURCES[api]["Properties"]["DefinitionBody"]["paths"]
        operations = [*found(paths, "get"), *found(paths, "x-amazon-apigateway-any-method")]
        assert [it["security"] for it in operations] == [security] * len(operations)
        assert len(list(found(paths, "x-amazon-apigateway-integration"))) == len(operations) >= 2


@pytest.mark.parametrize("api", ["GatewayApi", "ProxyApi"])
def test_every_request_leaves_a_line_that_says_whose_it_was(api: str) -> None:
    condition, settings, _ = RESOURCES[api]["Properties"]["AccessLogSetting"]["Fn::If"]
    line = json.loads(settings["Format"])

    assert line["subject"] == "$context.identity.clientCert.subjectDN"
    assert line["serialNumber"] == "$context.identity.clientCert.serialNumber"
    assert line["anchor"] == "$context.authorizer.anchorSha256"
    assert line["denial"] == "$context.authorizer.denial"
    assert condition == "LogsRequests"
    assert RESOURCES[api]["Properties"]["MethodSettings"][0]["ThrottlingRateLimit"] == {"Ref": "ThrottlingRateLimit"}


@pytest.mark.parametrize("api", ["GatewayApi", "ProxyApi"])
def test_an_account_without_a_role_for_logs_can_have_the_gateway_and_none_is_set_unasked(api: str) -> None:
    default = TEMPLATE["Parameters"]["GatewayLoggingRole"]["Default"]
    of_requests = TEMPLATE["Conditions"]["LogsRequests"]["Fn::And"][1]
    level = RESOURCES[api]["Properties"]["MethodSettings"][0]["LoggingLevel"]

    assert of_requests == {"Fn::Not": [{"Fn::Equals": [{"Ref": "GatewayLoggingRole"}, default]}]}
    assert level == {"Fn::If": ["LogsErrors", "ERROR", "OFF"]}
    assert TEMPLATE["Parameters"]["ExecutionLogs"]["Default"] == "disabled"
    assert {it["Condition"] for it in RESOURCES.values() if it["Type"] == "AWS::ApiGateway::Account"} == {
        "MakesLoggingRole"
    }


def test_the_accounts_role_for_logs_is_set_once_an_api_is_there() -> None:
    """CloudFormation asks for an API where none was ever made in the account.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-apigateway-account.html
    """
    role, *first = RESOURCES["GatewayLoggingAccount"]["Properties"]["CloudWatchRoleArn"]["Fn::Select"][1]

    assert role == {"Fn::GetAtt": ["ApiGatewayLoggingRole", "Arn"]}
    named = {(condition, api["Ref"]) for condition, api, _ in (it["Fn::If"] for it in first)}
    assert named == {(it["Condition"], name) for name, it in RESOURCES.items() if it["Type"] == "AWS::Serverless::Api"}


@pytest.mark.parametrize("api", ["GatewayApi", "ProxyApi"])
def test_what_went_wrong_is_logged_without_what_was_sent_and_for_as_long_as_the_rest(api: str) -> None:
    (settings,) = RESOURCES[api]["Properties"]["MethodSettings"]
    name = {"Fn::Sub": f"API-Gateway-Execution-Logs_${{{api}}}/live"}
    (group,) = (it["Properties"] for it in RESOURCES.values() if it["Properties"].get("LogGroupName") == name)

    assert settings["DataTraceEnabled"] is False
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_what_conditions_change_in_an_api_is_deployed() -> None:
    apis = [it["Properties"] for it in RESOURCES.values() if it["Type"] == "AWS::Serverless::Api"]
    conditional = [it for it in apis if list(found(it["DefinitionBody"], "Fn::If"))]

    assert conditional
    assert all(it["AlwaysDeploy"] is True for it in conditional)


def test_revocation_hears_of_uploads_of_new_cas_and_of_the_hour() -> None:
    sources = {name: it["Properties"] for name, it in RESOURCES["RevocationFunction"]["Properties"]["Events"].items()}
    sample = json.loads((ROOT / "events" / "revocation-notice.json").read_text())
    uploads, new_ca = sources["Notice"]["Pattern"], sources["NewCa"]["Pattern"]

    assert sample["detail-type"] in uploads["detail-type"]
    assert "Object Deleted" in uploads["detail-type"]
    assert sample["detail"]["object"]["key"].startswith(uploads["detail"]["object"]["key"][0]["prefix"])
    assert new_ca == {
        "source": [events.SOURCE],
        "detail-type": [events.CLIENT_CERTIFICATE_ROTATED, events.PATH_PROBED],
        "detail": {"kind": ["ca"]},
    }
    assert sources["Hourly"]["Schedule"] == "rate(1 hour)"
    assert sources["ListWritten"]["Pattern"]["detail-type"] == ["Object Created", "Object Deleted"]
    assert sources["ListWritten"]["Pattern"]["detail"]["object"]["key"] == [
        layout.REVOCATION_LIST,
        {"prefix": probes.LIST},
    ]
    assert sources["ListLost"]["Pattern"] == {
        "source": [events.SOURCE],
        "detail-type": [events.REVOCATION_LIST_LOST, events.PATH_PROBED],
        "detail": {"stack": [{"Ref": "AWS::StackName"}]},
    }
