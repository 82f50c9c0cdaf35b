"""Metrics, alarms, dashboard and log lines: all watch what the functions really say, and lead to the runbook."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws

from mtls_rotation.errors import TruststoreGuardError
from mtls_rotation.pki import certificates as pki
from tests.kit import builders
from tests.kit.lambda_functions import Context, load, sample
from tests.kit.metrics import METRICS, NAMESPACE
from tests.kit.rendering import rendered, there
from tests.kit.stack import BUCKET, CLIENT, DOMAIN, NAME, Mocked, Stack
from tests.kit.template import template
from tests.unit.issuers.test_issuers import answer, csr_of, wait

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "operations.md").read_text()
PLAIN: dict[str, str] = {}
WHOLE = {
    "DomainName": DOMAIN,
    "HostedZoneId": "Z0123456789ABCDEFGHIJ",
    "ProxyRoutesParameter": "/mtls/routes",
    "ProxyCallers": "both",
    "ExternalIssuer": "enabled",
}
STEPS = ("create", "set", "test", "finish")

type Series = tuple[str, frozenset[tuple[str, str]]]


# what the functions say -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def printed() -> Iterator[list[dict[str, Any]]]:
    """The JSON lines that are printed meanwhile."""
    out, lines = io.StringIO(), list[dict[str, Any]]()
    with contextlib.redirect_stdout(out):
        yield lines
    lines += [json.loads(line) for line in out.getvalue().splitlines() if line.startswith("{")]


def series(lines: list[dict[str, Any]]) -> set[Series]:
    """The metrics in lines of the embedded metric format, each with its dimensions and their values."""
    found = set()
    for line in lines:
        for directive in line.get("_aws", {}).get("CloudWatchMetrics", []):
            assert directive["Namespace"] == NAMESPACE
            for dimensions in directive["Dimensions"]:
                values = frozenset((name, line[name]) for name in dimensions)
                found |= {(metric["Name"], values) for metric in directive["Metrics"]}
    return found


def run_rotate(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    app = load("rotate", monkeypatch)
    token = stack.begin()
    for step in STEPS:
        app.handler(sample(f"rotate-{step}-secret", stack, ClientRequestToken=token), Context())
    for step in STEPS:
        with contextlib.suppress(Exception):
            app.handler(sample(f"rotate-{step}-secret", stack, ClientRequestToken="0" * 32), Context(seconds=11.0))
    external = stack.add_secret("stack/external", builders.client_definition(issuer={"type": "external"}))
    assert external
    app.assembly.rotation = stack.rotation
    token = stack.begin("stack/external")
    event = {
        "Step": "createSecret",
        "SecretId": stack.secrets.record("stack/external").arn,
        "ClientRequestToken": token,
    }
    with contextlib.suppress(Exception):
        app.handler(event, Context())


def run_truststore_sync(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = stack.clients.sqs.create_queue(QueueName="sync")["QueueUrl"]
    app = load("truststore_sync", monkeypatch, QUEUE_URL=queue)
    app.handler(sample("sync-schedule"), Context())
    run = app.assembly.sync.run
    for error in (RuntimeError("a fault"), TruststoreGuardError(where="", found="", expected="", remedy="")):
        app.assembly.sync.run = _raising(error)
        with contextlib.suppress(type(error)):
            app.handler(sample("sync-schedule"), Context())
    app.assembly.sync.run = run


def run_revocation(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    load("revocation", monkeypatch).handler(sample("revocation-schedule"), Context())


def run_authorizer(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    event = sample("authorizer")
    event["requestContext"]["identity"]["clientCert"]["clientCertPem"] = pki.to_pem(builders.root().certificate)
    with contextlib.suppress(Exception):
        load("authorizer", monkeypatch).handler(event, Context())
    stack.revocation.run()
    routes = json.dumps({"routes": {"GET /": ["subject:CN=nobody"]}})
    load("authorizer", monkeypatch, ALLOW_LIST=routes).handler(event, Context())


def run_mtls_proxy(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    load("mtls_proxy", monkeypatch, ROUTES="{", CLIENT_SECRET=CLIENT).handler(sample("proxy"), Context())
    routes = json.dumps({"routes": {"billing": {"upstream": "https://localhost"}}})
    app = load("mtls_proxy", monkeypatch, ROUTES=routes, CLIENT_SECRET=CLIENT)
    app.handler(sample("proxy", httpMethod="TRACE"), Context())
    app.assembly.forwarding.close()


def run_signed_certificate(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.clients.secretsmanager.delete_secret(SecretId=CLIENT, ForceDeleteWithoutRecovery=True)
    stack.add_secret(CLIENT, builders.client_definition(issuer={"type": "external"}))
    wait(stack, stack.begin())
    partner = builders.root("Partner CA")
    leaf = answer(partner, csr_of(stack))
    event = sample("signed-certificate")
    app = load("signed_certificate", monkeypatch)
    app.assembly.intake = stack.intake
    for body in (pki.to_pem(leaf), pki.to_pem(leaf, partner.certificate)):
        stack.clients.s3.put_object(Bucket=BUCKET, Key=event["detail"]["object"]["key"], Body=body.encode())
        app.handler(event, Context())


RUNS: dict[str, Callable[[Stack, pytest.MonkeyPatch], None]] = {
    name.removeprefix("run_"): run for name, run in list(globals().items()) if name.startswith("run_")
}


@pytest.fixture(scope="module")
def emitted(clients: Mocked) -> dict[str, set[Series]]:
    """What each function has written in runs that end well, fail and wait, by the function's name."""
    found = {}
    for service, run in RUNS.items():
        with mock_aws(), pytest.MonkeyPatch.context() as monkeypatch, printed() as lines:
            stack = Stack(clients)
            stack.create()
            stack.add_ca(builders.root())
            stack.add_secret(CLIENT, builders.client_definition())
            stack.reconcile()
            stack.rotate()
            run(stack, monkeypatch)
        found[service] = series(lines)
    return found


def _raising(error: Exception) -> Callable[..., None]:
    def run(*_: object, **__: object) -> None:
        raise error

    return run


@pytest.mark.parametrize("service", METRICS)
def test_what_a_function_writes_is_what_is_declared(emitted: dict[str, set[Series]], service: str) -> None:
    written = defaultdict(set)
    for name, dimensions in emitted.get(service, ()):
        written[tuple(sorted(key for key, _ in dimensions))].add(name)
        values = dict(dimensions)
        assert values["stack"] == NAME
        assert values.get("service", service) == service
    assert written == METRICS[service]


def test_every_function_is_looked_at() -> None:
    assert set(METRICS) == {path.name for path in (ROOT / "functions").iterdir() if (path / "app.py").is_file()}


def test_a_rotation_that_ends_well_ends_the_failure_before_it(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    app = load("rotate", monkeypatch)
    with printed() as lines, contextlib.suppress(Exception):
        app.handler(sample("rotate-set-secret", stack), Context(seconds=11.0))
    assert [line["RotationFailed"] for line in lines if "RotationFailed" in line] == [[1.0]]
    token = stack.begin()
    with printed() as lines:
        for step in STEPS:
            app.handler(sample(f"rotate-{step}-secret", stack, ClientRequestToken=token), Context())
    assert [line["RotationFailed"] for line in lines if "RotationFailed" in line] == [[0.0]], "at the end, and once"


@pytest.mark.parametrize(("series_", "expected"), [("0", 0), ("1", 1), ("20", 2)])
def test_a_fleet_costs_no_more_metrics_than_one_allows_and_the_least_is_always_there(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, series_: str, expected: int
) -> None:
    stack.rotate()
    queue = stack.clients.sqs.create_queue(QueueName="sync")["QueueUrl"]
    app = load("truststore_sync", monkeypatch, QUEUE_URL=queue, EXPIRY_SERIES=series_)
    with printed() as lines:
        app.handler(sample("sync-schedule"), Context())

    found = series(lines)
    by_secret = [dict(dimensions)["secret"] for _, dimensions in found if "secret" in dict(dimensions)]
    assert len(by_secret) == expected
    assert not by_secret or CLIENT in by_secret, "it ends before the CA does"
    assert {"ClientDaysToExpiry", "CaDaysToExpiry", "AnchorDaysToExpiry"} <= {name for name, _ in found}


def test_one_query_shows_a_rotation_in_both_functions(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    token = stack.begin()
    with printed() as lines:
        rotate = load("rotate", monkeypatch)
        for step in STEPS:
            rotate.handler(sample(f"rotate-{step}-secret", stack, ClientRequestToken=token), Context())
    said = [line for line in lines if "message" in line]
    assert {line["correlation_id"] for line in said} == {token}
    assert {line["message"] for line in said} >= {"step done", "issued a certificate"}, "the package's lines too"
    assert {line["service"] for line in said} == {"rotate"}

    queue = stack.clients.sqs.create_queue(QueueName="sync")["QueueUrl"]
    event = sample("sync-requested", stack)
    body = json.loads(event["Records"][0]["body"])
    body["detail"]["version_id"] = token
    event["Records"][0]["body"] = json.dumps(body)
    with printed() as lines:
        load("truststore_sync", monkeypatch, QUEUE_URL=queue).handler(event, Context())
    assert [line["rotations"] for line in lines if "message" in line] == [[token]]


# alarms ---------------------------------------------------------------------------------------------------------------


def alarms(parameters: dict[str, str]) -> dict[str, dict[str, Any]]:
    return {
        name: rendered(it["Properties"], parameters)
        for name, it in there(parameters).items()
        if it["Type"] == "AWS::CloudWatch::Alarm"
    }


ALARMS = alarms(WHOLE)
# Metrics of AWS's own, by what they are of.
OF_AWS = {
    "AWS/SQS": ({"ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"}, {"QueueName"}),
    "AWS/Lambda": ({"Errors", "Throttles", "Duration", "Invocations"}, {"FunctionName"}),
    "AWS/ApiGateway": ({"Count", "4XXError", "5XXError", "Latency", "IntegrationLatency"}, {"ApiName", "Stage"}),
}


def is_there(namespace: str, name: str, dimensions: dict[str, str]) -> bool:
    """Whether somebody writes that metric: we ourselves with these values, or AWS with these dimensions."""
    if namespace == NAMESPACE:
        assert dimensions["stack"] == NAME
        return name in METRICS[dimensions["service"]].get(tuple(sorted(dimensions)), ())
    names, of = OF_AWS[namespace]
    return name in names and set(dimensions) == of


def watched(alarm: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, str]]]:
    metrics = [it["MetricStat"]["Metric"] for it in alarm.get("Metrics", []) if "MetricStat" in it] or [alarm]
    for metric in metrics:
        yield metric["Namespace"], metric["MetricName"], {it["Name"]: it["Value"] for it in metric["Dimensions"]}


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


HEADINGS = {slug(heading) for heading in re.findall(r"^#+ (.+)$", RUNBOOK, re.MULTILINE)}


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_watches_a_metric_that_there_is(name: str) -> None:
    assert all(is_there(*metric) for metric in watched(ALARMS[name]))


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_wakes_somebody_and_says_when_it_is_over(name: str) -> None:
    assert ALARMS[name]["AlarmActions"] == ALARMS[name]["OKActions"] == ["<Alarms>"]
    assert ALARMS[name]["TreatMissingData"] in {"ignore", "notBreaching", "breaching"}


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_links_to_its_section_of_the_runbook_which_names_it(name: str) -> None:
    (link,) = re.findall(r" Runbook: docs/operations\.md#(\S+)$", ALARMS[name]["AlarmDescription"])
    assert link in HEADINGS
    (section,) = [it for it in re.split(r"^### ", RUNBOOK, flags=re.MULTILINE) if slug(it.partition("\n")[0]) == link]
    assert f"`{name}`" in section
    for part in (
        "What happened",
        "What is still all right",
        "How to see it",
        "What to do",
        "How you know it is mended",
    ):
        assert f"**{part}.**" in section, part
    assert re.search(rf"^\| [^|]*`{name}`[^|]* \| \[[^]]+\]\(#{link}\) \|$", RUNBOOK, re.MULTILINE), "the index"


def test_an_alarms_link_is_a_url_where_the_runbook_has_one() -> None:
    somewhere = alarms(WHOLE | {"RunbookUrl": "https://wiki.example.com/mtls"})
    assert all(" Runbook: https://wiki.example.com/mtls#" in it["AlarmDescription"] for it in somewhere.values())


def test_every_combination_of_parameters_has_its_alarms() -> None:
    assert set(ALARMS) - set(alarms(PLAIN)) == {"AuthorizationFailedAlarm"}
    assert len(alarms(PLAIN)) > 14
    for parameters in (PLAIN, WHOLE):
        for alarm in alarms(parameters).values():
            if "Metrics" in alarm:
                assert len(alarm["Metrics"]) <= 10, "CloudWatch takes ten in an alarm"
                assert [it["Id"] for it in alarm["Metrics"] if it.get("ReturnData", True)] == ["watched"]


def test_no_alarm_looks_back_further_than_cloudwatch_lets_it() -> None:
    for name, alarm in ALARMS.items():
        if "Period" in alarm:
            most = 7 * 86_400 if alarm["Period"] >= 3600 else 86_400
            assert alarm["Period"] * alarm["EvaluationPeriods"] <= most, name


def test_an_error_and_the_functions_own_count_of_it_fall_into_one_period() -> None:
    """Lambda dates an error by the invocation's begin, a function by its end: else every long failure is a crash.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    """
    longest = {it["Properties"]["Timeout"] for it in there(WHOLE).values() if "Timeout" in it.get("Properties", {})}
    compared = [it for it in ALARMS.values() if "errors -" in json.dumps(it)]
    assert len(compared) == 2
    for alarm in compared:
        for metric in (it["MetricStat"] for it in alarm["Metrics"] if "MetricStat" in it):
            assert metric["Period"] >= 4 * max(longest)


# the dashboard --------------------------------------------------------------------------------------------------------

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
VIEWS = {"timeSeries", "singleValue", "gauge", "bar", "pie", "table"}
NEEDED = {"metric": {"metrics", "region"}, "text": {"markdown"}, "alarm": {"alarms"}, "log": {"query", "region"}}


def dashboard(parameters: dict[str, str]) -> dict[str, Any]:
    properties = rendered(there(parameters)["Dashboard"]["Properties"], parameters)
    assert properties["DashboardName"] == "stack-us-east-1", "dashboards are of the account, and not of a region"
    body: dict[str, Any] = json.loads(properties["DashboardBody"])
    return body


@pytest.mark.parametrize("parameters", [PLAIN, WHOLE, {"ProxyRoutes": "{}"}, WHOLE | {"Authorizer": "disabled"}])
def test_the_dashboard_is_one_that_cloudwatch_takes(parameters: dict[str, str]) -> None:
    for widget in dashboard(parameters)["widgets"]:
        assert NEEDED[widget["type"]] <= set(widget["properties"])
        assert 1 <= widget["width"] <= 24
        assert widget["height"] >= 1
        view = widget["properties"].get("view", "timeSeries")
        assert view in VIEWS
        if view == "gauge":
            assert set(widget["properties"]["yAxis"]["left"]) == {"min", "max"}


@pytest.mark.parametrize("parameters", [PLAIN, WHOLE])
def test_the_dashboard_shows_what_there_is(parameters: dict[str, str]) -> None:
    shown = 0
    for widget in dashboard(parameters)["widgets"]:
        for metric in widget["properties"].get("metrics", []):
            match metric:
                case [{"expression": expression}]:
                    (dimension,) = re.findall(r"\{MtlsRotation,stack,(secret|anchor)\}", expression)
                    assert METRICS["truststore_sync"][(dimension, "stack")] == {"DaysToExpiry"}
                    assert 'MetricName="DaysToExpiry" stack="stack"' in expression
                case [namespace, name, *rest]:
                    pairs = [it for it in rest if isinstance(it, str)]
                    assert is_there(namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True))), metric
            shown += 1
    assert shown > 40


@pytest.mark.parametrize("parameters", [PLAIN, WHOLE])
def test_the_dashboard_shows_every_alarm(parameters: dict[str, str]) -> None:
    (widget,) = [it for it in dashboard(parameters)["widgets"] if it["type"] == "alarm"]
    assert sorted(widget["properties"]["alarms"]) == sorted(f"<{name}.Arn>" for name in alarms(parameters))


def test_the_dashboard_shows_every_metric_that_is_declared() -> None:
    text = json.dumps(dashboard(WHOLE))
    left_out = {"StepSucceeded", "StepWaiting"}  # RotationSucceeded and RotationWaiting say it in one line
    for groups in METRICS.values():
        for names in groups.values():
            assert [name for name in names - left_out if name not in text] == []


def test_the_top_row_tells_whether_everything_is_fresh() -> None:
    text, *top = dashboard(PLAIN | {"ClientAlarmDays": "3"})["widgets"][:5]
    assert text["properties"]["markdown"].startswith("# stack: is everything fresh?\n")
    assert [it["properties"]["title"] for it in top] == ["Client certificates", "CAs", "Anchors", "Alarms"]
    assert sum(it["width"] for it in top) == 24
    first = top[0]["properties"]["annotations"]["horizontal"]
    assert [line["value"] for line in first] == [3, 30]


def test_the_links_of_the_dashboard_lead_to_headings() -> None:
    links = re.findall(r"docs/operations\.md#([\w-]+)", json.dumps(dashboard(WHOLE)))
    assert len(links) == 3
    assert set(links) <= HEADINGS


# tracing, and the application repository ------------------------------------------------------------------------------


def test_traces_are_sent_only_where_they_are_asked_for() -> None:
    xray = re.compile(r"xray:\w+")
    for parameters, count in ((WHOLE, 0), (WHOLE | {"Tracing": "enabled"}, 7)):
        roles = [
            json.dumps(rendered(it["Properties"]["Policies"], parameters))
            for it in there(parameters).values()
            if it["Type"] == "AWS::IAM::Role" and "Policies" in it["Properties"]
        ]
        assert sum(bool(xray.search(role)) for role in roles) == count
    tracing = template()["Globals"]["Function"]["Tracing"]
    assert [rendered(tracing, {"Tracing": it}) for it in ("disabled", "enabled")] == ["PassThrough", "Active"]


# https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/serverless-sam-template-publishing-applications-metadata-properties.html
def test_the_metadata_is_what_the_serverless_application_repository_takes() -> None:
    about = template()["Metadata"]["AWS::ServerlessRepo::Application"]
    assert re.fullmatch(r"[a-zA-Z0-9-]{1,140}", about["Name"])
    assert 1 <= len(about["Description"]) <= 256
    assert re.fullmatch(r"[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?", about["Author"])
    assert len(about["Author"]) <= 127
    assert len(about["Labels"]) <= 10
    assert all(re.fullmatch(r"[a-zA-Z0-9+\-_:/@]{1,127}", label) for label in about["Labels"])
    for file in (about["LicenseUrl"], about["ReadmeUrl"]):
        assert (ROOT / file).is_file()
    assert about["SpdxLicenseId"] == "Apache-2.0"
    assert "Apache License" in (ROOT / about["LicenseUrl"]).read_text()[:200]
    assert re.fullmatch(r"\d+\.\d+\.\d+", about["SemanticVersion"])
    version = re.findall(r'^version = "(.+)"$', (ROOT / "layers/rotation/pyproject.toml").read_text(), re.MULTILINE)
    assert version == [about["SemanticVersion"]]
    assert "Fn::" not in json.dumps(about), "functions are not supported there"
