"""Modules do not import each other in circles, and a room imports only from the floors below it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.repository.imports import Import, circles, imports, modules
from tests.repository.rooms import House

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "mtls_rotation": ROOT / "layers" / "rotation" / "mtls_rotation",
    "mtls_client": ROOT / "client" / "mtls_client",
    "mtls_sidecar": ROOT / "sidecar" / "mtls_sidecar",
    "mtlsctl": ROOT / "cli" / "mtlsctl",
    "localaws": ROOT / "localaws",
    "demo": ROOT / "demo",
    "acceptance": ROOT / "acceptance",
    "tests": ROOT / "tests",
}
SHIPPED = ("mtls_rotation", "mtls_client", "mtls_sidecar", "mtlsctl")
DEVELOPMENT = {"localaws", "demo", "acceptance", "tests"}


def house(package: str, *floors: str) -> House:
    return House(package, [frozenset(rooms.split()) for rooms in floors])


# A new room, or a module in no room, gets a place here: a line is a floor, the ground first.
HOUSES = [
    house(
        "mtls_rotation",
        "__init__ errors timing telemetry",
        "invocation",
        "pki",
        "contract",
        "aws",
        "issuers targets provers",
        "rotation truststore revocation gateway",
        "stack",
        "assembly",
    ),
    house(
        "mtlsctl",
        "__init__ errors exit_status terminal runbook",
        "report",
        "show",
        "stack",
        "frame files",
        "following verification revocation distrust findings",
        "provisioning",
        "commands",
        "app",
        "__main__",
    ),
    house(
        "localaws",
        "asgi clock environment history settings",
        "iam cloudwatch kms sqs workers",
        "apigateway secretsmanager cloudformation",
        "doors shell",
        "process __init__",  # the child process, and what starts it: they share no module but those on the ground
        "__main__",
    ),
    house(
        "acceptance",
        "__init__ account asking ledger plan waiting page",
        "inventory clients sightings report",
        "cleanup run",
        "stacks domains",
        "scenarios",
        "probes",
        "conduct",
        "__main__",
    ),
]


@cache
def imports_of(package: str) -> list[Import]:
    return imports(PACKAGES[package])


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package: str) -> None:
    assert [" → ".join(circle) for circle in circles(imports_of(package))] == []


@pytest.mark.parametrize("house", HOUSES, ids=lambda house: house.package)
def test_every_room_has_its_floor(house: House) -> None:
    assert house.misplaced(modules(PACKAGES[house.package])) == []


@pytest.mark.parametrize("house", HOUSES, ids=lambda house: house.package)
def test_a_room_imports_only_from_the_floors_below_it(house: House) -> None:
    assert list(house.violations(imports_of(house.package))) == []


@pytest.mark.parametrize("package", SHIPPED)
def test_what_ships_does_not_know_what_it_is_developed_with(package: str) -> None:
    assert [str(it) for it in imports_of(package) if it.imported.split(".")[0] in DEVELOPMENT] == []


# -- that these tests see what they are for


def write(package: Path, **sources: str) -> Path:
    """A package of so many modules; `a__b` is the module b in the folder a."""
    for name, source in sources.items():
        path = package.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        (path.parent / "__init__.py").touch()
    (package / "__init__.py").touch()
    return package


THREE_FLOORS = house("p", "__init__ ground", "left right", "roof")
LAZY = "def f():\n    from {} import {}\n"
TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from {} import {}\n"
BY_NAME = "import importlib\ndef f():\n    return importlib.import_module('{}.{}')\n"
ENTRY_POINT = "COMMAND = '{}.{}:run'\n"
FORMS = ["from {} import {}\n", "import {}.{}\n", LAZY, TYPES, BY_NAME, ENTRY_POINT]


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_a_circle_of_three_is_seen_however_its_last_import_is_written(form: str, tmp_path: Path) -> None:
    package = write(
        tmp_path / "p",
        a="from p.b import B\n",
        b="import p.room.c as c\n",
        room__c=form.format("p", "a"),
        d="import p.a\n",
    )

    assert circles(imports(package)) == [["p.a", "p.b", "p.room.c", "p.a"]]


def test_a_circle_of_relative_imports_is_seen_and_one_through_a_package_too(tmp_path: Path) -> None:
    package = write(tmp_path / "p", a="from .room import NAME\n", room__b="from .. import a\n")
    assert circles(imports(package)) == []

    (package / "room" / "__init__.py").write_text("from .b import NAME\n")
    assert circles(imports(package)) == [["p.a", "p.room", "p.room.b", "p.a"]]


def test_circles_that_share_nothing_are_each_seen(tmp_path: Path) -> None:
    package = write(tmp_path / "p", a="import p.b", b="import p.a", c="import p.d", d="import p.c\nimport p.a")

    assert circles(imports(package)) == [["p.a", "p.b", "p.a"], ["p.c", "p.d", "p.c"]]


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_an_import_from_above_is_seen_however_it_is_written(form: str, tmp_path: Path) -> None:
    package = write(
        tmp_path / "p", ground="", left__a=form.format("p.roof", "b"), right__a="", roof__b="import p.ground"
    )

    (violation,) = THREE_FLOORS.violations(imports(package))
    assert violation.startswith("p.left.a imports p.roof.b (line ")
    assert violation.endswith("): roof lies above left")


@pytest.mark.parametrize("form", FORMS, ids=repr)
def test_an_import_from_beside_is_seen_however_it_is_written(form: str, tmp_path: Path) -> None:
    package = write(tmp_path / "p", ground="", left__a=form.format("p.right", "b"), right__b="import p.right", roof="")

    (violation,) = THREE_FLOORS.violations(imports(package))
    assert violation.endswith("): right lies beside left")


def test_imports_from_below_and_within_a_room_are_as_they_should_be(tmp_path: Path) -> None:
    package = write(
        tmp_path / "p",
        ground="import sys\n",
        left__a="import p.ground\nimport p.left.b\n",
        left__b="",
        right="",
        roof="import p.left.a",
    )

    assert list(THREE_FLOORS.violations(imports(package))) == []
    assert THREE_FLOORS.misplaced(modules(package)) == []


def test_a_room_without_a_place_is_said_with_where_to_place_it(tmp_path: Path) -> None:
    package = write(tmp_path / "p", ground="", left__a="", right="", cellar__a="")

    assert sorted(THREE_FLOORS.misplaced(modules(package))) == [
        "p/cellar has no floor: give it one in HOUSES of tests/repository/test_rooms.py",
        "p/roof is not there: take it out of HOUSES of tests/repository/test_rooms.py",
    ]
    with pytest.raises(
        LookupError, match="p/cellar has no floor: give it one in HOUSES of tests/repository/test_rooms"
    ):
        list(THREE_FLOORS.violations([Import("p.left.a", "p.cellar.a", 1)]))


def test_a_room_has_one_floor() -> None:
    twice = house("p", "__init__ a", "a")

    assert twice.misplaced(["p", "p.a"]) == [
        "p/a has two floors: leave it one in HOUSES of tests/repository/test_rooms.py"
    ]
