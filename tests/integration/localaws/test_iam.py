from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from localaws import LocalAws
from tests.integration.localaws.support import connected, make, wait_until, zipped

type As = Callable[..., Callable[[str], Any]]
_DOMAIN = "api.example.com"
_OBJECT = "arn:aws:s3:::truststores/truststore.pem"


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("authorizations")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, record: Path) -> Iterator[LocalAws]:
    log = tmp_path_factory.mktemp("iam") / "log"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LOCALAWS_AUTHORIZATIONS", str(record))
        with LocalAws.start(
            log_path=log, enforce_iam=True, dns="everything", domain_update_interval=timedelta(0)
        ) as running:
            yield running


def session(strict: LocalAws, key: str, password: str) -> Callable[[str], Any]:
    connection: Any = boto3.Session(key, password, region_name="us-east-1")
    return lambda service: connection.client(service, endpoint_url=strict.endpoint_url)


@pytest.fixture(scope="module")
def root(strict: LocalAws) -> Callable[[str], Any]:
    names = strict.environment()
    return session(strict, names["AWS_ACCESS_KEY_ID"], names["AWS_SECRET_ACCESS_KEY"])


@pytest.fixture
def new_user(root: Callable[[str], Any]) -> Callable[..., tuple[str, str]]:
    """Make a user who may do what is named, and nothing else, and return the user's access key."""
    iam = root("iam")

    def make_user(*statements: tuple[str, str] | dict[str, Any]) -> tuple[str, str]:
        name = f"user-{len(iam.list_users()['Users'])}"
        iam.create_user(UserName=name)
        document = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow"} | (it if isinstance(it, dict) else {"Action": it[0], "Resource": it[1]})
                for it in statements
            ],
        }
        iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=json.dumps(document))
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    return make_user


@pytest.fixture
def allowed(strict: LocalAws, new_user: Callable[..., tuple[str, str]]) -> As:
    """Act as a new user who may do what is named, and nothing else."""
    return lambda *statements: session(strict, *new_user(*statements))


@pytest.fixture(scope="module")
def domain(root: Callable[[str], Any]) -> str:
    s3 = root("s3")
    s3.create_bucket(Bucket="truststores")
    s3.put_bucket_versioning(Bucket="truststores", VersioningConfiguration={"Status": "Enabled"})
    over_tls = {
        "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [_OBJECT, "arn:aws:s3:::truststores"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }  # fmt: skip
    policy = {"Version": "2012-10-17", "Statement": [over_tls]}
    s3.put_bucket_policy(Bucket="truststores", Policy=json.dumps(policy))
    put = s3.put_object(Bucket="truststores", Key="truststore.pem", Body=make("CA", ca=True).pem.encode())
    truststore = {"truststoreUri": "s3://truststores/truststore.pem", "truststoreVersion": put["VersionId"]}
    root("apigateway").create_domain_name(
        domainName=_DOMAIN, endpointConfiguration={"types": ["REGIONAL"]}, mutualTlsAuthentication=truststore
    )
    return str(put["VersionId"])


def test_who_may_list_secrets_may_not_read_them(root: Callable[[str], Any], allowed: As) -> None:
    root("secretsmanager").create_secret(Name="s", SecretString="x")
    secrets = allowed(("secretsmanager:ListSecrets", "*"))("secretsmanager")
    assert [entry["Name"] for entry in secrets.list_secrets()["SecretList"]] == ["s"]
    for call in (
        secrets.get_secret_value,
        secrets.describe_secret,
        secrets.rotate_secret,
        secrets.cancel_rotate_secret,
    ):
        with pytest.raises(ClientError) as caught:
            call(SecretId="s")
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


def test_updating_a_domain_needs_its_own_permissions_and_that_to_read_the_truststore(domain: str, allowed: As) -> None:
    domains = "arn:aws:apigateway:us-east-1::/domainnames"
    name = f"{domains}/{_DOMAIN}"
    patch, read = ("apigateway:PATCH", name), ("s3:GetObjectVersion", _OBJECT)
    guards = [
        (f"apigateway:{action}", on)
        for action in ("AddCertificateToDomain", "RemoveCertificateFromDomain")
        for on in (name, domains)
    ]
    operations = [{"op": "replace", "path": "/mutualTlsAuthentication/truststoreVersion", "value": domain}]
    arguments = {"domainName": _DOMAIN, "patchOperations": operations}
    every = [patch, read, *guards]
    for missing in every:
        with pytest.raises(ClientError) as caught:
            allowed(*(it for it in every if it != missing))("apigateway").update_domain_name(**arguments)
        code = "BadRequestException" if missing == read else "AccessDeniedException"
        assert (missing, caught.value.response["Error"]["Code"]) == (missing, code)
    assert allowed(*every)("apigateway").update_domain_name(**arguments)["domainNameStatus"] == "UPDATING"


def test_a_call_whose_permissions_nobody_has_looked_up_fails_and_says_where_they_belong(
    strict: LocalAws, root: Callable[[str], Any], new_user: Callable[..., tuple[str, str]]
) -> None:
    key, password = new_user(("kms:*", "*"))
    headers = {"X-Amz-Target": "TrentService.Reveal", "Content-Type": "application/x-amz-json-1.1"}
    request = AWSRequest("POST", strict.endpoint_url, headers=headers, data=b"{}")
    SigV4Auth(Credentials(key, password), "kms", "us-east-1").add_auth(request)
    answer = httpx.post(strict.endpoint_url, headers=dict(request.headers), content=b"{}", trust_env=False)

    assert answer.status_code == 501
    assert answer.json()["__type"] == "UnknownCallError"
    assert "kms:Reveal" in answer.json()["message"]
    assert "localaws/iam/permissions.py" in answer.json()["message"]


def test_an_action_that_takes_no_resource_is_allowed_by_no_statement_on_one(
    root: Callable[[str], Any], allowed: As
) -> None:
    everywhere, secrets = "*", "arn:aws:secretsmanager:us-east-1:123456789012:secret:*"
    assert (
        allowed(("secretsmanager:ListSecrets", everywhere))("secretsmanager").list_secrets()["SecretList"] is not None
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        allowed(("secretsmanager:ListSecrets", secrets))("secretsmanager").list_secrets()


def test_the_loopback_endpoint_counts_as_tls_for_policies(domain: str, root: Callable[[str], Any]) -> None:
    assert root("s3").get_object(Bucket="truststores", Key="truststore.pem")["VersionId"] == domain


def test_a_policy_may_limit_the_sources_of_events(root: Callable[[str], Any], allowed: As) -> None:
    iam = root("iam")
    events = allowed(("events:ListRules", "*"))("events")
    (user,) = [user["UserName"] for user in iam.list_users()["Users"]][-1:]
    only = {"StringEquals": {"events:source": "ours"}}
    statement = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*", "Condition": only}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_user_policy(UserName=user, PolicyName="events", PolicyDocument=json.dumps(document))
    entry = {"Source": "ours", "DetailType": "t", "Detail": "{}"}
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 0
    for entries in ([entry | {"Source": "theirs"}], [entry, entry | {"Source": "theirs"}]):
        with pytest.raises(ClientError, match="AccessDenied"):
            events.put_events(Entries=entries)


def test_a_batch_call_of_sqs_needs_the_action_of_the_single_call(root: Callable[[str], Any], allowed: As) -> None:
    url = root("sqs").create_queue(QueueName="batches")["QueueUrl"]
    entries = [{"Id": "1", "MessageBody": "x"}]
    assert allowed(("sqs:SendMessage", "*"))("sqs").send_message_batch(QueueUrl=url, Entries=entries)["Successful"]
    with pytest.raises(ClientError, match="AccessDenied"):
        allowed(("sqs:ReceiveMessage", "*"))("sqs").send_message_batch(QueueUrl=url, Entries=entries)


@pytest.fixture(scope="module")
def signed_api(root: Callable[[str], Any]) -> str:
    """A REST API with a mock at /inside/{path+}, for signed requests only."""
    gateway = root("apigateway")
    api_id: str = gateway.create_rest_api(name="signed")["id"]
    parent = gateway.get_resources(restApiId=api_id)["items"][0]["id"]
    for part in ("inside", "{path+}"):
        parent = gateway.create_resource(restApiId=api_id, parentId=parent, pathPart=part)["id"]
    of = {"restApiId": api_id, "resourceId": parent, "httpMethod": "GET"}
    gateway.put_method(**of, authorizationType="AWS_IAM")
    gateway.put_integration(**of, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    gateway.create_deployment(restApiId=api_id, stageName="live")
    return api_id


def test_the_default_endpoint_takes_signed_requests_of_those_who_may_invoke_it(
    strict: LocalAws, new_user: Callable[..., tuple[str, str]], signed_api: str
) -> None:
    arn = f"arn:aws:execute-api:us-east-1:123456789012:{signed_api}/live/GET/inside/*"
    may, may_not = new_user(("execute-api:Invoke", arn)), new_user(("s3:GetObject", "*"))
    url = f"{strict.endpoint_url}/_aws/execute-api/{signed_api}/live/inside/a%2Fb/%C3%BC?x=1&y=%20"

    def status(key: tuple[str, str], sent_to: str = url) -> int:
        signed = AWSRequest("GET", url, headers={"Host": urlsplit(url).netloc})
        SigV4Auth(Credentials(*key), "execute-api", "us-east-1").add_auth(signed)
        return httpx.get(sent_to, headers=dict(signed.headers), trust_env=False).status_code

    assert status(may) == 200
    assert status(may_not) == 403
    assert status((may[0], may_not[1])) == 403
    assert status(may, sent_to=url.replace("a%2Fb", "other")) == 403
    assert httpx.get(url, trust_env=False).status_code == 403


def test_the_front_door_takes_signed_requests_of_those_who_may_invoke_the_method(
    strict: LocalAws, root: Callable[[str], Any], new_user: Callable[..., tuple[str, str]], signed_api: str
) -> None:
    name, gateway = "signed.example.com", root("apigateway")
    gateway.create_domain_name(domainName=name, endpointConfiguration={"types": ["REGIONAL"]})
    gateway.create_base_path_mapping(domainName=name, basePath="base", restApiId=signed_api, stage="live")
    arn = f"arn:aws:execute-api:us-east-1:123456789012:{signed_api}/live/GET/inside/*"
    may, may_not = new_user(("execute-api:Invoke", arn)), new_user(("s3:GetObject", "*"))
    path = "/base/inside/a%2Fb?x=1"

    def status(key: tuple[str, str] | None) -> int:
        signed = AWSRequest("GET", f"https://{name}{path}", headers={"Host": name})
        if key is not None:
            SigV4Auth(Credentials(*key), "execute-api", "us-east-1").add_auth(signed)
        with connected(strict.front_door, name) as connection:
            connection.request("GET", path, headers=dict(signed.headers))
            return connection.getresponse().status

    assert status(may) == 200
    assert [status(key) for key in (may_not, (may[0], may_not[1]), None)] == [403, 403, 403]
    gateway.delete_domain_name(domainName=name)


def test_the_simulator_takes_context_keys_and_several_resources(root: Callable[[str], Any]) -> None:
    iam = root("iam")
    trusted = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [trusted]}
    arn = iam.create_role(RoleName="simulated", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    statement = {
        "Effect": "Allow",
        "Action": "secretsmanager:GetSecretValue",
        "Resource": "arn:aws:secretsmanager:us-east-1:*:secret:mine-*",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "a"}},
    }
    document = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_role_policy(RoleName="simulated", PolicyName="p", PolicyDocument=json.dumps(document))
    mine, other = (f"arn:aws:secretsmanager:us-east-1:000000000000:secret:{it}" for it in ("mine-1", "other-1"))

    def decisions(team: str) -> dict[tuple[str, str], str]:
        results = iam.simulate_principal_policy(
            PolicySourceArn=arn,
            ActionNames=["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"],
            ResourceArns=[mine, other],
            ContextEntries=[
                {"ContextKeyName": "aws:ResourceTag/team", "ContextKeyValues": [team], "ContextKeyType": "string"}
            ],
        )["EvaluationResults"]
        return {(it["EvalActionName"].partition(":")[2], it["EvalResourceName"]): it["EvalDecision"] for it in results}

    assert {key for key, decision in decisions("a").items() if decision == "allowed"} == {("GetSecretValue", mine)}
    assert len(decisions("a")) == 4
    assert set(decisions("b").values()) == {"implicitDeny"}


def test_to_simulate_a_role_takes_permission_on_that_role(root: Callable[[str], Any], allowed: As) -> None:
    trusted = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    mine, other = (
        root("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        for name in ("mine", "other")
    )
    iam = allowed(("iam:SimulatePrincipalPolicy", mine))("iam")

    assert iam.simulate_principal_policy(PolicySourceArn=mine, ActionNames=["s3:GetObject"])["EvaluationResults"]
    with pytest.raises(ClientError):
        iam.simulate_principal_policy(PolicySourceArn=other, ActionNames=["s3:GetObject"])


def test_who_may_see_a_functions_concurrency_may_not_set_it(allowed: As) -> None:
    functions = allowed(("lambda:GetFunctionConcurrency", "*"))("lambda")

    with pytest.raises(ClientError) as seen:
        functions.get_function_concurrency(FunctionName="nowhere")
    for change, more in (("put", {"ReservedConcurrentExecutions": 0}), ("delete", {})):
        with pytest.raises(ClientError) as refused:
            getattr(functions, f"{change}_function_concurrency")(FunctionName="nowhere", **more)
        assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert seen.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_a_call_of_lambda_takes_its_own_action(root: Callable[[str], Any], allowed: As) -> None:
    mapping = {"UUID": "11112222-3333-4444-5555-666677778888", "Enabled": False}
    with pytest.raises(ClientError) as seen:
        allowed(("lambda:UpdateEventSourceMapping", "*"))("lambda").update_event_source_mapping(**mapping)
    with pytest.raises(ClientError) as refused:
        allowed(("lambda:ListEventSourceMappings", "*"))("lambda").update_event_source_mapping(**mapping)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert seen.value.response["Error"]["Code"] == "ResourceNotFoundException"


# -- what services do in somebody's name


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow"} | it for it in statements]})


@pytest.fixture
def new_function(root: Callable[[str], Any]) -> Callable[..., str]:
    """Make a function whose role may do what is named, and nothing else. Its ARN."""
    trust = document({"Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"})

    def make_function(name: str, *statements: dict[str, Any]) -> str:
        role = root("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        if statements:
            root("iam").put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document(*statements))
        made = root("lambda").create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=role,
            Handler="app.handler",
            Code={"ZipFile": zipped("def handler(event, context):\n    print('it ran')\n")},
        )
        return str(made["FunctionArn"])

    return make_function


def ran(root: Callable[[str], Any], function: str) -> bool:
    """Whether a function has written its log."""
    logs, group = root("logs"), f"/aws/lambda/{function}"
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return False
    return bool(logs.filter_log_events(logGroupName=group, filterPattern='"it ran"')["events"])


MAY_LOG = {"Sid": "Log", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}


def test_a_function_whose_role_may_not_log_leaves_no_log(
    root: Callable[[str], Any], new_function: Callable[..., str]
) -> None:
    for name, statements in (("silent", ()), ("halfway", (MAY_LOG | {"Action": "logs:PutLogEvents"},))):
        new_function(name, *statements)
        root("lambda").invoke(FunctionName=name)
    new_function("telling", MAY_LOG)
    root("lambda").invoke(FunctionName="telling")

    assert [ran(root, name) for name in ("silent", "halfway", "telling")] == [False, False, True]


def test_what_a_role_was_allowed_is_written_down_with_each_statement_that_allows_it_alone(
    root: Callable[[str], Any], new_function: Callable[..., str], record: Path
) -> None:
    again = MAY_LOG | {"Sid": "Again", "Action": "logs:PutLogEvents"}
    new_function("noted", MAY_LOG, again)
    root("lambda").invoke(FunctionName="noted")

    lines = [json.loads(line) for file in record.iterdir() for line in file.read_text().splitlines()]
    seen = {(it["sid"], it["action"], it["sole"]) for it in lines if it.get("role") == "noted"}
    assert seen == {
        ("Log", "logs:CreateLogStream", True),
        ("Log", "logs:PutLogEvents", False),
        ("Again", "logs:PutLogEvents", False),
    }


def test_a_queue_is_polled_for_a_function_whose_role_may_and_for_no_other(
    root: Callable[[str], Any], new_function: Callable[..., str]
) -> None:
    poll = {"Sid": "Poll", "Action": ["sqs:ReceiveMessage", "sqs:GetQueueAttributes"], "Resource": "*"}
    for name, statements in (("polls", (MAY_LOG, poll)), ("stays", (MAY_LOG,))):
        url = root("sqs").create_queue(QueueName=name)["QueueUrl"]
        new_function(name, *statements)
        queue = f"arn:aws:sqs:us-east-1:123456789012:{name}"
        root("lambda").create_event_source_mapping(EventSourceArn=queue, FunctionName=name, BatchSize=1)
        root("sqs").send_message(QueueUrl=url, MessageBody="{}")

    wait_until(lambda: ran(root, "polls"))
    assert not ran(root, "stays")
    # It may receive, and not delete: the message is in flight, and comes again.
    in_flight = root("sqs").get_queue_attributes(
        QueueUrl=root("sqs").get_queue_url(QueueName="polls")["QueueUrl"],
        AttributeNames=["ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    assert in_flight == {"ApproximateNumberOfMessagesNotVisible": "1"}


def test_a_rule_reaches_the_queue_and_the_function_that_let_it_and_no_others(
    root: Callable[[str], Any], new_function: Callable[..., str]
) -> None:
    rule = root("events").put_rule(Name="reaching", EventPattern=json.dumps({"source": ["reach"]}))["RuleArn"]
    other = rule.replace("reaching", "another")
    targets = []
    for name, source in (("lets", rule), ("lets-another", other), ("lets-nobody", None)):
        function = new_function(f"f-{name}", MAY_LOG)
        url = root("sqs").create_queue(QueueName=f"q-{name}")["QueueUrl"]
        queue = f"arn:aws:sqs:us-east-1:123456789012:q-{name}"
        if source:
            root("lambda").add_permission(
                FunctionName=f"f-{name}",
                StatementId="rule",
                Action="lambda:InvokeFunction",
                Principal="events.amazonaws.com",
                SourceArn=source,
            )
            sending = {"Principal": {"Service": "events.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queue}
            policy = document(sending | {"Condition": {"ArnEquals": {"aws:SourceArn": source}}})
            root("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        targets += [{"Id": f"f-{name}", "Arn": function}, {"Id": f"q-{name}", "Arn": queue}]
    root("events").put_targets(Rule="reaching", Targets=targets)
    root("events").put_events(Entries=[{"Source": "reach", "DetailType": "t", "Detail": "{}"}])

    def messages(name: str) -> bool:
        url = root("sqs").get_queue_url(QueueName=f"q-{name}")["QueueUrl"]
        return bool(root("sqs").receive_message(QueueUrl=url, VisibilityTimeout=0).get("Messages"))

    wait_until(lambda: ran(root, "f-lets") and messages("lets"))
    assert not [name for name in ("lets-another", "lets-nobody") if ran(root, f"f-{name}") or messages(name)]


def test_who_has_a_secret_rotated_must_be_allowed_to_invoke_its_function(
    root: Callable[[str], Any], allowed: As, new_function: Callable[..., str]
) -> None:
    function = new_function("rotator")
    root("lambda").add_permission(
        FunctionName="rotator",
        StatementId="sm",
        Action="lambda:InvokeFunction",
        Principal="secretsmanager.amazonaws.com",
        SourceAccount="123456789012",
    )
    secret = root("secretsmanager").create_secret(Name="to-rotate", SecretString="x")["ARN"]
    rotate, invoke = ("secretsmanager:RotateSecret", secret), ("lambda:InvokeFunction", function)
    with pytest.raises(ClientError, match="lambda:InvokeFunction"):
        allowed(rotate)("secretsmanager").rotate_secret(SecretId=secret, RotationLambdaARN=function)

    assert "RotationLambdaARN" not in root("secretsmanager").describe_secret(SecretId=secret)
    secrets = allowed(rotate, invoke)("secretsmanager")
    assert secrets.rotate_secret(SecretId=secret, RotationLambdaARN=function)["VersionId"]


def test_who_may_start_rotations_alone_sets_neither_schedule_nor_function_and_puts_none_off(
    root: Callable[[str], Any], allowed: As, new_function: Callable[..., str]
) -> None:
    function = new_function("own-rotator")
    root("lambda").add_permission(
        FunctionName="own-rotator",
        StatementId="sm",
        Action="lambda:InvokeFunction",
        Principal="secretsmanager.amazonaws.com",
        SourceAccount="123456789012",
    )
    secret = root("secretsmanager").create_secret(Name="to-start", SecretString="x")["ARN"]
    rules = {"ScheduleExpression": "rate(10 days)"}
    root("secretsmanager").rotate_secret(SecretId=secret, RotationLambdaARN=function, RotationRules=rules)
    limits = {
        "BoolIfExists": {"secretsmanager:ModifyRotationRules": "false", "secretsmanager:RotateImmediately": "true"},
        "ArnEqualsIfExists": {"secretsmanager:RotationLambdaARN": function},
    }
    starting = {"Action": "secretsmanager:RotateSecret", "Resource": secret, "Condition": limits}
    secrets = allowed(starting, ("lambda:InvokeFunction", "*"))("secretsmanager")
    for more in (
        {"RotationRules": {"AutomaticallyAfterDays": 999}},
        {"RotateImmediately": False},
        {"RotationLambdaARN": function.replace("own-rotator", "rotator")},
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            secrets.rotate_secret(SecretId=secret, **more)

    assert root("secretsmanager").describe_secret(SecretId=secret)["RotationRules"] == rules
    for more in ({}, {"RotateImmediately": True}, {"RotationLambdaARN": function}):
        # The first may be under way, which is an error of another kind.
        assert error_of(partial(secrets.rotate_secret, SecretId=secret, **more)) != "AccessDeniedException"


def error_of(call: Callable[[], object]) -> str:
    """The code of the error that a call ends with; empty if with none."""
    try:
        call()
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def test_a_policy_may_limit_the_labels_that_are_moved(root: Callable[[str], Any], allowed: As) -> None:
    made = root("secretsmanager").create_secret(Name="labelled", SecretString="x")
    which = {"SecretId": made["ARN"], "MoveToVersionId": made["VersionId"]}
    limits = {"StringEqualsIfExists": {"secretsmanager:VersionStage": "AWSPENDING"}}
    moving = {"Action": "secretsmanager:UpdateSecretVersionStage", "Resource": made["ARN"], "Condition": limits}
    secrets = allowed(moving)("secretsmanager")
    with pytest.raises(ClientError, match="AccessDenied"):
        secrets.update_secret_version_stage(**which, VersionStage="MTLS-UNTESTED")

    secrets.update_secret_version_stage(**which, VersionStage="AWSPENDING")


def test_a_function_that_lets_its_own_accounts_secrets_rotate_lets_no_other_accounts(
    strict: LocalAws, root: Callable[[str], Any], new_function: Callable[..., str]
) -> None:
    function = new_function("of-this-account")
    root("lambda").add_permission(
        FunctionName="of-this-account",
        StatementId="sm",
        Action="lambda:InvokeFunction",
        Principal="secretsmanager.amazonaws.com",
        SourceAccount="123456789012",
    )
    foreign = session(strict, "999999999999", "any")("secretsmanager")
    secret = foreign.create_secret(Name="foreign", SecretString="x")["ARN"]
    assert secret.split(":")[4] == "999999999999"
    with pytest.raises(ClientError, match="cannot invoke the specified Lambda function"):
        foreign.rotate_secret(SecretId=secret, RotationLambdaARN=function)


def test_a_secret_under_a_key_of_ones_own_takes_the_use_of_the_key_by_way_of_secrets_manager(
    root: Callable[[str], Any], allowed: As, new_user: Callable[..., tuple[str, str]], strict: LocalAws
) -> None:
    key = root("kms").create_key()["KeyMetadata"]["Arn"]
    secret = root("secretsmanager").create_secret(Name="encrypted", KmsKeyId=key, SecretString="x")["ARN"]
    calls = {
        "get_secret_value": ("secretsmanager:GetSecretValue", "kms:Decrypt", {}),
        "put_secret_value": ("secretsmanager:PutSecretValue", "kms:GenerateDataKey", {"SecretString": "y"}),
    }
    for call, (action, use, arguments) in calls.items():
        with pytest.raises(ClientError, match=use):
            getattr(allowed((action, secret))("secretsmanager"), call)(SecretId=secret, **arguments)
        user = new_user((action, secret))
        (name,) = [it["UserName"] for it in root("iam").list_users()["Users"]][-1:]
        statement = {"Action": use, "Resource": key}
        for service, through in (("s3", False), ("secretsmanager", True)):
            only = {"StringEquals": {"kms:ViaService": f"{service}.us-east-1.amazonaws.com"}}
            policy = document(statement | {"Condition": only})
            root("iam").put_user_policy(UserName=name, PolicyName="key", PolicyDocument=policy)
            secrets = session(strict, *user)("secretsmanager")
            if through:
                assert getattr(secrets, call)(SecretId=secret, **arguments)["ARN"] == secret
            else:
                with pytest.raises(ClientError, match=use):
                    getattr(secrets, call)(SecretId=secret, **arguments)


def test_a_secret_is_made_with_tags_and_a_key_by_those_who_may_tag_and_use_the_key(
    root: Callable[[str], Any], allowed: As
) -> None:
    key = root("kms").create_key()["KeyMetadata"]["Arn"]
    made = "arn:aws:secretsmanager:us-east-1:123456789012:secret:made-*"
    every = [
        ("secretsmanager:CreateSecret", made),
        ("secretsmanager:TagResource", made),
        ("kms:GenerateDataKey", key),
        ("kms:Decrypt", key),
    ]
    request = {"SecretString": "x", "KmsKeyId": key.rpartition("/")[2], "Tags": [{"Key": "team", "Value": "a"}]}
    for missing in every:
        with pytest.raises(ClientError, match=missing[0]):
            allowed(*(it for it in every if it != missing))("secretsmanager").create_secret(Name="made-a", **request)
    assert allowed(*every)("secretsmanager").create_secret(Name="made-a", **request)["ARN"]
    assert allowed(*every[:1])("secretsmanager").create_secret(Name="made-b", SecretString="x")["ARN"]


def test_a_domain_is_made_with_a_truststore_by_those_who_may_add_certificates(domain: str, allowed: As) -> None:
    domains = "arn:aws:apigateway:us-east-1::/domainnames"
    post, read = ("apigateway:POST", domains), ("s3:GetObjectVersion", _OBJECT)
    request = {
        "domainName": "another.example.com",
        "endpointConfiguration": {"types": ["REGIONAL"]},
        "mutualTlsAuthentication": {
            "truststoreUri": "s3://truststores/truststore.pem",
            "truststoreVersion": domain,
        },
    }
    with pytest.raises(ClientError, match="AddCertificateToDomain"):
        allowed(post, read)("apigateway").create_domain_name(**request)
    add = ("apigateway:AddCertificateToDomain", domains)
    gateway = allowed(post, read, add, ("apigateway:DELETE", f"{domains}/*"))("apigateway")
    assert gateway.create_domain_name(**request)["domainName"] == "another.example.com"
    gateway.delete_domain_name(domainName="another.example.com")


def test_a_key_is_made_with_tags_by_those_who_may_tag(root: Callable[[str], Any], allowed: As) -> None:
    tags = [{"TagKey": "team", "TagValue": "a"}]
    with pytest.raises(ClientError, match="kms:TagResource"):
        allowed(("kms:CreateKey", "*"))("kms").create_key(Tags=tags)

    assert allowed(("kms:CreateKey", "*"))("kms").create_key()["KeyMetadata"]
    assert allowed(("kms:CreateKey", "*"), ("kms:TagResource", "*"))("kms").create_key(Tags=tags)["KeyMetadata"]


def test_who_may_set_some_tags_alone_makes_keys_with_those_and_sets_no_other(
    strict: LocalAws, root: Callable[[str], Any], new_user: Callable[..., tuple[str, str]]
) -> None:
    """The form of it that the template has: whatever a key in the making may be to IAM."""
    user = new_user(("s3:GetObject", "*"))
    (name,) = [it["UserName"] for it in root("iam").list_users()["Users"]][-1:]
    by_us = {"StringEquals": {"aws:RequestTag/team": "a"}}
    these = by_us | {"ForAllValues:StringEquals": {"aws:TagKeys": ["team", "version"]}}
    policy = document(
        {"Action": "kms:CreateKey", "Resource": "*", "Condition": by_us},
        {"Action": "kms:TagResource", "Resource": "*", "Condition": these},
    )
    root("iam").put_user_policy(UserName=name, PolicyName="p", PolicyDocument=policy)
    tags, keys = [{"TagKey": "team", "TagValue": "a"}], session(strict, *user)("kms")

    made = keys.create_key(Tags=tags)["KeyMetadata"]["KeyId"]
    assert root("kms").list_resource_tags(KeyId=made)["Tags"] == tags
    for more in ([{"TagKey": "other", "TagValue": "a"}], [*tags, {"TagKey": "other", "TagValue": "a"}]):
        with pytest.raises(ClientError, match="AccessDenied"):
            keys.create_key(Tags=more)
        with pytest.raises(ClientError, match="AccessDenied"):
            keys.tag_resource(KeyId=made, Tags=more)


def key_policy(*statements: dict[str, Any]) -> str:
    allowed = [{"Effect": "Allow", "Resource": "*"} | it for it in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": allowed})


def test_a_key_policy_must_let_the_caller_change_it_again_unless_that_is_bypassed(
    root: Callable[[str], Any], allowed: As
) -> None:
    """By IAM where the policy leaves it to the account, or by itself."""
    account = {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*"}
    by_itself = {"Principal": {"AWS": "*"}, "Action": "kms:PutKeyPolicy"}
    making = allowed(("kms:CreateKey", "*"))("kms")
    with pytest.raises(ClientError, match="will not allow you to update the key policy in the future"):
        making.create_key(Policy=key_policy(account))

    assert making.create_key(Policy=key_policy(account), BypassPolicyLockoutSafetyCheck=True)
    assert making.create_key(Policy=key_policy(account, by_itself))
    assert allowed(("kms:CreateKey", "*"), ("kms:PutKeyPolicy", "*"))("kms").create_key(Policy=key_policy(account))
    with pytest.raises(ClientError, match="will not allow you"):
        root("kms").create_key(Policy=key_policy(by_itself | {"Action": "kms:Sign"}))


def test_a_key_policy_names_principals_that_are_there(root: Callable[[str], Any]) -> None:
    account = {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "kms:*"}
    nobody = {"Principal": {"AWS": "arn:aws:iam::123456789012:role/nobody"}, "Action": "kms:Sign"}
    for policy in (
        key_policy(account, nobody),
        key_policy(account | {"Principal": {}}),
        "{",
        key_policy({"Action": "*"}),
    ):
        with pytest.raises(ClientError, match="MalformedPolicyDocument"):
            root("kms").create_key(Policy=policy)
    key = root("kms").create_key(Policy=key_policy(account))["KeyMetadata"]["KeyId"]
    with pytest.raises(ClientError, match="invalid principals"):
        root("kms").put_key_policy(KeyId=key, Policy=key_policy(account, nobody))


def test_a_key_policy_may_let_a_role_in_by_its_name_and_account(root: Callable[[str], Any], strict: LocalAws) -> None:
    """`aws:PrincipalArn` is the role's ARN, not that of the session. IAM need allow nothing, and cannot by itself."""
    trust = document({"Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"})
    acting = {}
    for name in ("stack-Signs-1a", "other-Signs-1a"):
        role = root("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        given = root("sts").assume_role(RoleArn=role, RoleSessionName="session")["Credentials"]
        acting[name] = boto3.Session(
            given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], region_name="us-east-1"
        ).client("kms", endpoint_url=strict.endpoint_url)
    everything = document({"Action": "kms:*", "Resource": "*"})
    root("iam").put_role_policy(RoleName="other-Signs-1a", PolicyName="p", PolicyDocument=everything)
    condition = {
        "StringEquals": {"kms:CallerAccount": "123456789012"},
        "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::123456789012:role/stack-Signs-*"},
    }
    administers = {"Principal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": ["kms:Put*", "kms:Get*"]}
    signs = {"Principal": {"AWS": "*"}, "Action": "kms:Sign", "Condition": condition}
    settings = {"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
    key = root("kms").create_key(Policy=key_policy(administers, signs), **settings)["KeyMetadata"]["Arn"]
    order = {"KeyId": key, "Message": b"x", "SigningAlgorithm": "ECDSA_SHA_256"}

    assert acting["stack-Signs-1a"].sign(**order)["Signature"]
    with pytest.raises(ClientError, match="AccessDenied"):
        acting["other-Signs-1a"].sign(**order)
    with pytest.raises(ClientError, match="AccessDenied"):
        acting["stack-Signs-1a"].get_public_key(KeyId=key)


def test_who_may_not_list_a_bucket_is_not_told_what_is_missing(root: Callable[[str], Any], allowed: As) -> None:
    root("s3").create_bucket(Bucket="quiet")
    read, see = ("s3:GetObject", "arn:aws:s3:::quiet/*"), ("s3:ListBucket", "arn:aws:s3:::quiet")

    def said(*statements: tuple[str, str]) -> list[str]:
        codes = []
        for call in ("get_object", "head_object"):
            with pytest.raises(ClientError) as caught:
                getattr(allowed(*statements)("s3"), call)(Bucket="quiet", Key="missing")
            codes.append(caught.value.response["Error"]["Code"])
        return codes

    assert said(read) == ["AccessDenied", "403"]
    assert said(read, see) == ["NoSuchKey", "404"]


def test_an_alarm_reaches_the_topic_that_lets_it_and_no_other(root: Callable[[str], Any]) -> None:
    topics, alarm = {}, "arn:aws:cloudwatch:us-east-1:123456789012:alarm:*"
    for name, source in (("open", alarm), ("closed", alarm.replace("123456789012", "999999999999"))):
        topics[name] = root("sns").create_topic(Name=name)["TopicArn"]
        lets = {"Principal": {"Service": "cloudwatch.amazonaws.com"}, "Action": "sns:Publish", "Resource": topics[name]}
        policy = document(lets | {"Condition": {"ArnLike": {"aws:SourceArn": source}}})
        root("sns").set_topic_attributes(TopicArn=topics[name], AttributeName="Policy", AttributeValue=policy)
        url = root("sqs").create_queue(QueueName=f"after-{name}")["QueueUrl"]
        queue = f"arn:aws:sqs:us-east-1:123456789012:after-{name}"
        sending = {"Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": queue}
        root("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": document(sending)})
        root("sns").subscribe(TopicArn=topics[name], Protocol="sqs", Endpoint=queue)
    root("cloudwatch").put_metric_alarm(
        AlarmName="a",
        Namespace="n",
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        AlarmActions=list(topics.values()),
    )
    root("cloudwatch").put_metric_data(Namespace="n", MetricData=[{"MetricName": "m", "Value": 1}])

    def told(name: str) -> bool:
        root("cloudwatch").describe_alarms()
        url = root("sqs").get_queue_url(QueueName=f"after-{name}")["QueueUrl"]
        return bool(root("sqs").receive_message(QueueUrl=url, VisibilityTimeout=0).get("Messages"))

    wait_until(lambda: told("open"))
    assert not told("closed")
