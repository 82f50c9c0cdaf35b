"""The task definition: what RegisterTaskDefinition takes, and a proxy that is up before the application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.model import ListShape, MapShape, Shape, StringShape, StructureShape
from botocore.session import Session
from botocore.validate import ParamValidator

from tests.unit.examples.files import EXAMPLES, SIDECAR, loaded, named

DEFINITIONS = sorted((EXAMPLES / "ecs").glob("task-definition*.json"))
# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html: MiB by CPU units.
FARGATE_SIZES = {"256": range(512, 2049, 512), "512": range(1024, 4097, 1024), "1024": range(2048, 8193, 1024)}


def container(definition: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [it for it in definition["containerDefinitions"] if it["name"] == name]
    return dict(found)


def options(sidecar: dict[str, Any]) -> dict[str, str]:
    return dict(argument[2:].split("=", 1) for argument in sidecar["command"] if argument.startswith("--"))


def strangers(shape: Shape, value: Any) -> Iterator[str]:
    """Values that are none of an enumeration's, which botocore leaves to the service."""
    match shape:
        case StructureShape():
            for name, member in value.items():
                yield from strangers(shape.members[name], member)
        case ListShape():
            for member in value:
                yield from strangers(shape.member, member)
        case MapShape():
            for member in value.values():
                yield from strangers(shape.value, member)
        case StringShape() if shape.enum and value not in shape.enum:
            yield f"{value} is none of {shape.enum}"


@pytest.fixture(params=DEFINITIONS, ids=named)
def definition(request: pytest.FixtureRequest) -> dict[str, Any]:
    path: Path = request.param
    found: dict[str, Any] = loaded(path)
    return found


def test_ecs_takes_every_member(definition: dict[str, Any]) -> None:
    shape = Session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    assert shape is not None
    report = ParamValidator().validate(definition, shape)

    assert not report.has_errors(), report.generate_report()
    assert not list(strangers(shape, definition))


def test_a_member_that_ecs_does_not_know_would_be_found(definition: dict[str, Any]) -> None:
    shape = Session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    assert shape is not None
    misspelt = definition | {"requiresCompatibility": ["FARGATE"]}

    assert ParamValidator().validate(misspelt, shape).has_errors()
    assert list(strangers(shape, definition | {"networkMode": "vpc"}))


def test_it_is_of_a_size_that_fargate_has(definition: dict[str, Any]) -> None:
    assert definition["requiresCompatibilities"] == ["FARGATE"]
    assert definition["networkMode"] == "awsvpc"
    assert int(definition["memory"]) in FARGATE_SIZES[definition["cpu"]]
    assert sum(it["memory"] for it in definition["containerDefinitions"]) <= int(definition["memory"])


def test_the_application_starts_when_there_is_a_certificate(definition: dict[str, Any]) -> None:
    sidecar, application = container(definition, SIDECAR), container(definition, "billing")

    assert application["dependsOn"] == [{"containerName": SIDECAR, "condition": "HEALTHY"}]
    assert sidecar["essential"] is True
    assert application["environment"] == [{"name": "PARTNER_URL", "value": f"http://{options(sidecar)['listen']}"}]


def test_the_health_check_needs_nothing_that_the_image_lacks(definition: dict[str, Any]) -> None:
    sidecar = container(definition, SIDECAR)
    kind, program, flag, code = sidecar["healthCheck"]["command"]

    assert (kind, program, flag) == ("CMD", "python", "-c")
    compile(code, "health check", "exec")
    assert f"http://{options(sidecar)['admin']}/readyz" in code
    assert float(code.partition("timeout=")[2].rstrip(")")) < sidecar["healthCheck"]["timeout"]


def test_the_last_requests_have_the_time_that_they_are_given(definition: dict[str, Any]) -> None:
    sidecar = container(definition, SIDECAR)

    # 120 s is Fargate's most.
    assert float(options(sidecar)["grace"]) + 5 <= sidecar["stopTimeout"] <= 120


def test_every_container_is_confined_and_heard(definition: dict[str, Any]) -> None:
    for it in definition["containerDefinitions"]:
        assert it["readonlyRootFilesystem"] is True
        assert it["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
        assert it["user"].split(":")[0] != "0"
        assert it["logConfiguration"]["logDriver"] == "awslogs"
        assert not it.get("secrets"), "what ECS puts into the environment is read once, when the task starts"


def test_the_execution_role_may_pull_and_log_what_the_task_names(definition: dict[str, Any]) -> None:
    statements = loaded(EXAMPLES / "ecs" / "execution-policy.json")["Statement"]
    (repositories,) = [it["Resource"] for it in statements if "ecr:BatchGetImage" in it["Action"]]
    (logs,) = [it["Resource"] for it in statements if "logs:PutLogEvents" in it["Action"]]

    for it in definition["containerDefinitions"]:
        repository = it["image"].partition("/")[2].partition(":")[0]
        assert f"arn:aws:ecr:us-east-1:123456789012:repository/{repository}" in repositories
        assert logs == (
            f"arn:aws:logs:us-east-1:123456789012:log-group:{it['logConfiguration']['options']['awslogs-group']}:*"
        )
