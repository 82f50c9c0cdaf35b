"""What holds the templates and the pins to account sees what it should, on small cases; and the pins hold."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from demo import sam
from tests.kit.template import load, resources, template
from tests.repository.template import checkov, linting, pins
from tests.repository.template.checkov import Finding, Suppression, judge, suppressions
from tests.repository.template.cloudformation import (
    TEMPLATES,
    decided,
    origin,
    without_metadata,
    written_out,
)

UNENCRYPTED = Finding("template.yaml", "SyncQueue", "CKV_AWS_27")
REASON = "SqsManagedSseEnabled encrypts it for nothing."
HASH = "--hash=sha256:" + "a" * 64


def test_a_finding_that_nobody_explained_fails() -> None:
    (failure,) = judge({UNENCRYPTED: "Ensure all data is encrypted"}, [])
    assert failure == "template.yaml: SyncQueue: CKV_AWS_27: Ensure all data is encrypted"


def test_a_finding_that_is_explained_passes() -> None:
    assert judge({UNENCRYPTED: "Ensure all data is encrypted"}, [Suppression(UNENCRYPTED, REASON)]) == []


def test_an_explanation_for_one_resource_does_not_hold_for_another() -> None:
    other = Finding("template.yaml", "SyncDeadLetters", "CKV_AWS_27")
    assert len(judge({UNENCRYPTED: "words", other: "words"}, [Suppression(UNENCRYPTED, REASON)])) == 1


@pytest.mark.parametrize("reason", ["", "not needed", "No comment provided"])
def test_a_suppression_without_a_reason_fails(reason: str) -> None:
    (failure,) = judge({UNENCRYPTED: "words"}, [Suppression(UNENCRYPTED, reason)])
    assert "without a reason" in failure


def test_a_suppression_of_what_is_not_found_fails() -> None:
    (failure,) = judge({}, [Suppression(UNENCRYPTED, REASON)])
    assert "never found" in failure


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.parent.name)
def test_every_suppression_in_a_template_has_its_check_and_its_reason(path: Path) -> None:
    for suppression in suppressions(path.name, load(path)):
        assert suppression.finding.check.startswith("CKV_AWS_")
        assert len(suppression.reason) >= checkov.SHORTEST_REASON, suppression.finding


def test_nothing_is_suppressed_but_at_a_resource() -> None:
    """No settings file of either tool, no comment, and nothing in a template that leaves out rules of cfn-lint."""
    settings = {".checkov.yaml", ".checkov.yml", ".cfnlintrc", ".cfnlintrc.yaml", ".cfnlintrc.yml", ".bridgecrew.yaml"}
    assert not [name for name in settings if (sam.ROOT / name).exists()]
    for path in TEMPLATES:
        assert "checkov:skip" not in path.read_text()
        assert not linting.silences(load(path))


@pytest.mark.parametrize(
    "template",
    [
        {"Metadata": {"cfn-lint": {"config": {"ignore_checks": ["W1100", "W1001"]}}}, "Transform": "AWS::Serverless"},
        {"Metadata": {"cfn-lint": {"config": {"ignore_checks": ["W1100"]}}}},
        {"Resources": {"Bucket": {"Metadata": {"cfn-lint": linting.MERGED_BY_SAM}}}, "Transform": "AWS::Serverless"},
    ],
)
def test_a_template_that_leaves_out_another_rule_of_cfn_lint_is_seen(template: dict[str, Any]) -> None:
    assert linting.silences(template)


@pytest.mark.parametrize("answer", [True, False])
def test_both_decisions_of_every_condition_hold_every_resource(answer: bool) -> None:
    made = written_out(without_metadata(decided(template(), answer)))

    assert {origin(name, resources()) for name in made["Resources"]} == set(resources())
    assert "Fn::If" not in json.dumps(made)
    assert "checkov" not in json.dumps(made)
    traced = made["Resources"]["GatewayApiliveStage"]["Properties"]["TracingEnabled"]
    assert traced is answer


def test_what_sam_adds_is_put_down_to_the_resource_that_it_came_from() -> None:
    originals = ["Gateway", "GatewayApi", "GatewayLogs"]
    assert origin("GatewayApiliveStage", originals) == "GatewayApi"
    assert origin("Elsewhere", originals) == "Elsewhere"


def test_a_file_that_checkov_could_not_read_is_no_success() -> None:
    summary = {"passed": 1, "failed": 0, "skipped": 0, "parsing_errors": 1, "resource_count": 1}
    with pytest.raises(ValueError, match="could be read"):
        checkov.reading({"summary": summary, "results": {"failed_checks": []}})


def test_a_report_is_read_by_file_resource_and_check() -> None:
    failed = {
        "check_id": "CKV_AWS_27",
        "check_name": "Ensure all data is encrypted",
        "resource": "AWS::SQS::Queue.SyncQueue",
        "file_abs_path": "/somewhere/template.yaml",
    }
    summary = {"passed": 3, "failed": 1, "skipped": 0, "parsing_errors": 0, "resource_count": 2}
    report = checkov.reading({"summary": summary, "results": {"failed_checks": [failed]}})

    assert report.failed == {"/somewhere/template.yaml": {("SyncQueue", "CKV_AWS_27"): "Ensure all data is encrypted"}}
    assert report.passed == 3


def test_everything_that_is_installed_is_pinned_and_checked_against_a_hash() -> None:
    assert pins.failures() == []
    assert all(count > 0 for count in pins.counts().values())


@pytest.mark.parametrize(
    "requirement",
    [
        "idna==3.20",
        f"idna>=3.20 {HASH}",
        f"idna {HASH}",
        "idna==3.20 --hash=md5:" + "a" * 32,
        f"idna==3.20 {HASH[:-1]}",
        f"--index-url https://elsewhere.example idna==3.20 {HASH}",
        f"idna @ https://elsewhere.example/idna.whl {HASH}",
        "",
    ],
)
def test_a_requirement_without_its_version_or_its_hash_is_seen(requirement: str) -> None:
    assert pins.unpinned(requirement)


def test_a_pinned_requirement_with_a_marker_and_several_hashes_passes() -> None:
    assert (
        pins.unpinned(f"cffi==2.1.1 ; platform_python_implementation != 'PyPy' \\\n    {HASH} \\\n    {HASH}\n") == []
    )


@pytest.mark.parametrize(
    "package",
    [
        {"source": {"registry": "https://pypi.org/simple"}, "wheels": [{"url": "https://files.example/a.whl"}]},
        {"source": {"registry": "https://pypi.org/simple"}},
        {"source": {"git": "https://github.com/a/b"}},
        {"source": {"url": "https://files.example/a.whl"}, "wheels": [{"hash": "sha256:" + "a" * 64}]},
    ],
)
def test_a_locked_package_that_could_come_as_something_else_is_seen(package: dict[str, Any]) -> None:
    assert pins.unlocked({"package": [{"name": "a", "version": "1", **package}]})


@pytest.mark.parametrize(
    "command",
    [
        "python3 -m pip install uv",
        "python3 -m pip install \\\n  --requirement r.txt",
        "$(UV) pip sync r.txt",
        "$(UV) pip sync --require-hashes r.txt",
        "$(UV) sync --quiet",
    ],
)
def test_a_command_that_installs_something_unseen_is_seen(command: str) -> None:
    assert pins.unchecked(f"target:\n\t{command}\n")


@pytest.mark.parametrize("action", ["actions/checkout@v7", "actions/checkout@main # v7", "a/b@" + "a" * 40])
def test_an_action_that_somebody_could_move_is_seen(action: str) -> None:
    assert pins.unpinned_actions(f"      - uses: {action}\n")


def test_ci_holds_to_the_lock_and_looks_at_the_templates() -> None:
    makefile = (sam.ROOT / "Makefile").read_text()
    run = (sam.ROOT / ".ci" / "run").read_text()

    assert re.search(r"^make .*\blint\b", run, re.MULTILINE)
    assert "$(UV) lock --check" in makefile
    assert "$(PYTHON) -m tests.repository.template" in makefile
    assert makefile.count("$(UV) sync --frozen") == makefile.count("$(UV) sync") == 2


def test_the_lock_says_which_packages_the_layers_are_made_of() -> None:
    locked = {(it["name"], it.get("version")) for it in tomllib.loads((sam.ROOT / "uv.lock").read_text())["package"]}
    for path in pins.REQUIREMENTS[:2]:
        lines = pins.lines((sam.ROOT / path).read_text())
        named = {tuple(line.split(" ")[0].split("==")) for line in lines}
        assert named <= locked, path


# What the reasons lean on ---------------------------------------------------------------------------------------------

RESOURCES = resources()
REASONS = suppressions("template.yaml", template())


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {name: it["Properties"] for name, it in RESOURCES.items() if it["Type"] == kind}


def test_every_queue_is_encrypted_by_sqs() -> None:
    """Which checkov does not see: it looks for a KMS key."""
    queues = of_type("AWS::SQS::Queue")
    assert queues
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())


def test_the_operators_key_encrypts_every_log_and_every_topic() -> None:
    key = {"Fn::If": ["HasOperationKey", {"Ref": "OperationKeyArn"}, {"Ref": "AWS::NoValue"}]}
    logs, topics = of_type("AWS::Logs::LogGroup"), of_type("AWS::SNS::Topic")

    assert len(logs) > len(of_type("AWS::Serverless::Function"))
    assert all(it["KmsKeyId"] == key for it in logs.values())
    assert [it["KmsMasterKeyId"] for it in topics.values()] == [key]


def test_the_operators_bucket_has_a_line_for_each_request() -> None:
    (logging,) = [it["LoggingConfiguration"]["Fn::If"] for it in of_type("AWS::S3::Bucket").values()]
    assert logging[0] == "HasAccessLogBucket"
    assert logging[1]["DestinationBucketName"] == {"Ref": "AccessLogBucket"}


def test_what_the_queues_function_cannot_do_is_kept_and_rings() -> None:
    queue = RESOURCES["SyncQueue"]["Properties"]
    assert queue["RedrivePolicy"]["deadLetterTargetArn"] == {"Fn::GetAtt": ["SyncDeadLetters", "Arn"]}
    assert "SyncDeadLettersAlarm" in RESOURCES


def test_an_error_of_any_function_that_is_not_tried_again_rings() -> None:
    alarm = json.dumps(RESOURCES["FunctionErrorsAlarm"])
    for function in ("SignedCertificateFunction", "RevocationFunction", "BootstrapFunction"):
        assert f'{{"Ref": "{function}"}}' in alarm


@pytest.mark.parametrize("suppression", REASONS, ids=lambda it: f"{it.finding.resource}-{it.finding.check}")
def test_a_reason_names_only_what_is_in_the_template(suppression: Suppression) -> None:
    known = {*resources(), *template()["Parameters"], "SqsManagedSseEnabled"}
    services = {"CloudWatch", "CloudFormation", "EventBridge"}
    named = set(re.findall(r"\b(?:[A-Z][a-z]+){2,}\b", suppression.reason)) - services
    assert named <= known


@pytest.mark.parametrize("path", TEMPLATES[:2], ids=lambda path: path.parent.name)
def test_a_layer_is_built_anew_for_another_processor(path: Path) -> None:
    """SAM's cache tells layers apart by this alone, and would hand out compiled code for the processor before."""
    layers = [it for it in load(path)["Resources"].values() if it["Type"] == "AWS::Serverless::LayerVersion"]
    assert layers
    assert all(it["Metadata"]["BuildArchitecture"] == {"Ref": "Architecture"} for it in layers)
