"""The documents name what the code says: operators look up the words that they are shown."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore import xform_name
from botocore.session import Session

from mtls_rotation.contract import events
from mtls_rotation.gateway.authorizer.caller import Caller
from mtls_rotation.gateway.authorizer.decision import NO_CERTIFICATE, NOT_ALLOWED, REVOKED, UNREADABLE
from mtls_rotation.gateway.proxy.routes import Route
from mtls_rotation.pki.certificates import CertifiedKey, to_pem
from mtls_rotation.truststore.guards import Guard
from mtls_rotation.truststore.plan import Why
from tests.kit.metrics import METRICS
from tests.kit.template import resources, template
from tests.repository.documents import links, markdown
from tests.repository.documents.commands import Command, commands, of
from tests.repository.documents.tables import between, tables
from tests.repository.documents.verdicts import Held, NeedsAccount, Run, verdict

ROOT = Path(__file__).parents[2]
TRUSTSTORE = (ROOT / "docs" / "truststore.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
GATEWAY = (ROOT / "docs" / "gateway.md").read_text()
PACKAGE = ROOT / "layers" / "rotation" / "mtls_rotation"
EVENTS = sorted(
    value
    for value in vars(events).values()
    if isinstance(value, str) and re.fullmatch("([A-Z][a-z]+ )+[A-Z][a-z]+", value)
)


@pytest.mark.parametrize("why", Why)
def test_every_reason_for_an_anchor_is_explained(why: Why) -> None:
    assert f"\n| `{why}`" in TRUSTSTORE


@pytest.mark.parametrize("guard", Guard)
def test_every_guard_is_explained_and_whether_it_can_be_forced(guard: Guard) -> None:
    (row,) = re.findall(rf"^\| `{guard}` \|.*$", TRUSTSTORE, re.MULTILINE)

    assert row.rstrip(" |").rpartition("| ")[2].startswith("yes" if guard.may_be_forced else "no")
    assert f"`{guard}`:" in OPERATIONS


PROBLEMS = sorted(
    {
        *re.findall(r'HTTPStatus\.\w+,\s*"([a-z-]+)"', (PACKAGE / "gateway" / "proxy" / "problems.py").read_text()),
        *re.findall(r"urn:mtls-rotation:problem:([a-z-]+)", (ROOT / "template.yaml").read_text()),
    }
)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem_that_a_caller_may_be_told_of_is_explained(problem: str) -> None:
    assert len(PROBLEMS) > 14
    assert re.search(rf"^\| [45]\d\d \| `{problem}` \|", GATEWAY, re.MULTILINE)


@pytest.mark.parametrize("denial", [NO_CERTIFICATE, UNREADABLE, REVOKED, NOT_ALLOWED])
def test_every_denial_is_explained(denial: str) -> None:
    assert f"\n| `{denial}` |" in GATEWAY


@pytest.mark.parametrize("member", Route.model_fields)
def test_every_member_of_a_route_is_explained(member: str) -> None:
    assert re.search(rf"^\| [^|]*`{member}`[^|]* \|", GATEWAY, re.MULTILINE)


def test_what_a_backend_is_told_is_explained(ca: CertifiedKey) -> None:
    for key in Caller.from_pem(to_pem(ca.certificate)).context():
        assert f"`{key}`" in GATEWAY


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_is_listed_for_operators_own_rules(event: str) -> None:
    assert f"| `{event}` |" in OPERATIONS or event == events.TRUSTSTORE_SYNC_REQUESTED


@pytest.mark.parametrize("service", METRICS)
def test_every_metric_is_listed(service: str) -> None:
    table = OPERATIONS.partition("\n## Alarms and metrics\n")[2].partition("\n## ")[0]
    listed, current = set(), ""
    for name, metrics in re.findall(r"^\| (?:`(\w+)`)? *\| (.+?) \|", table, re.MULTILINE):
        current = name or current
        listed |= {it for it in re.findall(r"`(\w+)`", metrics) if current == service}
    assert listed == {it for names in METRICS[service].values() for it in names}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", markdown(), ids=relative)
def test_every_link_leads_somewhere(path: Path) -> None:
    assert links.broken(path) == []


def test_the_readme_leads_to_every_document() -> None:
    readme = ROOT / "README.md"
    led_to = {(ROOT / target.partition("#")[0]).resolve() for target in links.targets(readme.read_text())}

    assert led_to >= {*(ROOT / "docs").glob("*.md"), ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md"}


# The fleet's takes a simulation: `tests/proof/quick/test_fleet_simulation.py` makes it.
FLEET = ("README.md", "fleet")


@pytest.mark.parametrize(("document", "name"), [it for it in tables() if it != FLEET])
def test_every_table_is_as_its_program_makes_it(document: str, name: str) -> None:
    assert between((ROOT / document).read_text(), name) == tables()[document, name](), (
        "python -m tests.repository.documents"
    )


SECURITY = (ROOT / "docs" / "security.md").read_text()
LOCAL_TESTS = {path.name for path in (ROOT / "tests").rglob("test_*.py")}


def in_roles(node: Any) -> Iterator[str]:
    """Every action of every statement, however it is wrapped."""
    match node:
        case {"Action": str() as one}:
            yield one
        case {"Action": [*several]}:
            yield from several
        case dict():
            for value in node.values():
                yield from in_roles(value)
        case list():
            for value in node:
                yield from in_roles(value)


def test_the_document_on_security_has_every_role_and_every_action_and_no_other() -> None:
    kinds = {"AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"}
    identities = {name: it for name, it in resources().items() if it["Type"] in kinds}
    policies = [
        it["Properties"].get("Policies", it["Properties"].get("PolicyDocument", [])) for it in identities.values()
    ]
    listed = between(SECURITY, "roles")

    roles = {name for name, it in identities.items() if it["Type"] == "AWS::IAM::Role"}
    assert set(re.findall(r"^`(\w+)`, for ", listed, re.MULTILINE)) == roles
    assert set(re.findall(r"`([a-z0-9-]+:[A-Za-z]+)`", listed)) == set(in_roles(policies))
    assert not [it for it in resources().values() if "Policies" in it["Properties"] and it["Type"] not in kinds]


def test_the_document_on_security_says_what_each_functions_role_is_worth_to_a_thief() -> None:
    functions = {name for name in resources() if name.endswith("Role") and f"{name[:-4]}Function" in resources()}

    assert set(re.findall(r"^\| `(\w+Role)` \| [^`]", SECURITY, re.MULTILINE)) == functions


@pytest.mark.parametrize("path", [*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"], ids=relative)
def test_every_test_that_a_document_names_is_there(path: Path) -> None:
    for folders, file, test in re.findall(r"(?<![\w/.])((?:\w+/)*)(test_\w+\.py)(?:::(test_\w+))?", path.read_text()):
        found = [it for it in (ROOT / "tests").rglob(file) if relative(it).endswith(f"{folders}{file}")]
        assert found, f"{folders}{file}"
        assert not test or any(f"def {test}(" in it.read_text() for it in found), f"{file}::{test}"


WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def test_ci_runs_what_a_developer_runs_and_holds_nothing_that_is_secret() -> None:
    text = WORKFLOW.read_text()
    workflow = yaml.safe_load(text)
    (job,) = workflow["jobs"].values()
    commands = [step["run"] for step in job["steps"] if "run" in step]

    assert commands == [".ci/run"]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert workflow[True].keys() == {"push", "pull_request"}  # YAML 1.1 takes `on` for a truth value
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in job
    assert workflow["concurrency"]["group"]
    assert all(isinstance(it["timeout-minutes"], int) for it in [job, *job["steps"]] if it is job or "run" in it)
    assert "secrets." not in text
    assert (ROOT / ".python-version").read_text().strip() == job["steps"][1]["with"]["python-version"]


def test_ci_takes_actions_by_their_commit() -> None:
    used = re.findall(r"uses: (\S+) # (v\d+\.\d+\.\d+)$", WORKFLOW.read_text(), re.MULTILINE)

    assert len(used) == WORKFLOW.read_text().count("uses:") == 2
    assert all(re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) for action, _ in used)


def test_contributors_are_told_of_every_target_that_they_need() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"`make (\w+)`", text)) <= targets
    assert {"setup", "check", "test", "lint", "format", "local"} <= set(re.findall(r"make (\w+)", text))


@pytest.mark.parametrize("command", commands(), ids=str)
def test_every_command_is_run_or_held_by_a_test_that_is_there_or_needs_an_account(command: Command) -> None:
    match verdict(command):
        case Run():
            pass
        case Held(test, because):
            file, _, name = test.partition("::")
            assert (ROOT / file).exists(), test
            assert not name or f"def {name}(" in (ROOT / file).read_text(), test
            assert because
        case NeedsAccount():
            assert command.text.startswith(("make acceptance", "make deploy", "sam build && sam deploy"))
        case None:
            pytest.fail(f"{command}: neither run nor held; see tests/repository/documents/verdicts.py")


def test_no_command_is_overlooked() -> None:
    text = """
Run `aws s3 ls s3://BUCKET` or `make demo`; `aws s3 cp` and `make` are only named.

    aws s3api list-buckets \\
      --query 'Buckets[].Name' |
      grep x
    some output

```sh
# a comment
FOLDER=$(pwd)
odd() { echo 1
}
```

```
$ curl -sS https://api.example.com/
curl: (52) Empty reply from server
```
"""
    assert [command.text for command in of(text, "a.md")] == [
        "aws s3 ls s3://BUCKET",
        "make demo",
        "aws s3api list-buckets --query 'Buckets[].Name' | grep x",
        "FOLDER=$(pwd)",
        "odd() { echo 1\n}",
        "curl -sS https://api.example.com/",
    ]


DEPLOYMENTS = [it for it in commands() if isinstance(verdict(it), NeedsAccount)]


@pytest.mark.parametrize("command", DEPLOYMENTS, ids=str)
def test_every_deployment_sets_parameters_that_there_are(command: Command) -> None:
    words = shlex.split(command.text.partition("PARAMETERS=")[2].strip('"'))

    assert {word.partition("=")[0] for word in words} <= set(template()["Parameters"])


OF_AWS = [it for it in commands() if it.text.startswith("aws ")]
# The CLI's own, which are no operations of a service.
OF_THE_CLI = {("cloudformation", "deploy"), ("logs", "tail")}
# Options that every operation has, or that those with pages or streams have.
GLOBAL = {"query", "output", "region", "profile", "cli-input-json", "max-items"}


@pytest.mark.parametrize("command", OF_AWS, ids=str)
def test_every_command_of_the_aws_cli_is_one_that_it_has(command: Command) -> None:
    for _, part in itertools.groupby(shlex.split(command.text), lambda word: word == "|"):
        words = list(part)
        if words[0] != "aws" or words[1] == "s3" or tuple(words[1:3]) in OF_THE_CLI:
            continue
        service, operation, *rest = (word.replace("s3api", "s3") for word in words[1:])
        if operation == "wait":  # for a state, by an operation of the service
            waiters = Session().get_waiter_model(service)
            (waiter,) = [it for it in waiters.waiter_names if xform_name(it, "-") == rest[0]]
            operation = xform_name(waiters.get_waiter(waiter).operation, "-")
        given = {word.removeprefix("--") for word in rest if word.startswith("--")}
        model = Session().get_service_model(service)
        (name,) = [it for it in model.operation_names if xform_name(it, "-") == operation]
        shape = model.operation_model(name).input_shape
        options = {xform_name(member, "-") for member in shape.members} if shape else set()
        required = {xform_name(member, "-") for member in shape.required_members} if shape else set()

        assert {it.removeprefix("no-") for it in given} - GLOBAL <= options | {"force-delete-without-recovery"}
        assert required <= given or "cli-input-json" in given
