"""The list of what is replaced of the emulator is complete, and an emulator that differs from it does not start."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localaws.environment import server_environment
from localaws.process.patching import EmulatorChangedError, Replacement, apply, around, instead

_ROOT = Path(__file__).parents[3]
# Every module of the emulator that the local AWS names, loaded before anything of the local AWS is.
_EMULATOR = r"""
import ast, importlib, json, re, socket, sys
from pathlib import Path

for path in sorted(Path("localaws").rglob("*.py")):
    for name in re.findall(r'"(ministack(?:\.\w+)+)"', path.read_text()):
        importlib.import_module(name)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "ministack":
            module = importlib.import_module(node.module)
            for alias in node.names:
                if not hasattr(module, alias.name):
                    importlib.import_module(f"{node.module}.{alias.name}")
"""
_SERVER = """
from localaws.process.server import Server
from localaws.settings import Settings

server = Server(Settings(), socket.socket())
"""
_COMPARED = """
def members(value):
    if isinstance(value, dict):
        return {f"[{key}]": inner for key, inner in list(value.items())}
    if isinstance(value, set):
        return {f"[{key}]": key for key in value}
    if type(value).__module__.startswith("ministack"):
        return {".__class__": type(value)}
    if isinstance(value, type) and value.__module__.startswith("ministack"):
        return {f".{name}": inner for name, inner in list(vars(value).items())}
    return {}

class Snapshot:
    def __init__(self):
        self.seen = {}
        for module_name, module in sorted(sys.modules.items()):
            if module_name.split(".")[0] == "ministack":
                for name, value in list(vars(module).items()):
                    self.add(module, f".{name}", value, module_name, 4)

    def add(self, holder, part, value, name, depth):
        if depth and (id(holder), part) not in self.seen:
            self.seen[id(holder), part] = holder, value, name + part
            for inner_part, inner in members(value).items():
                self.add(value, inner_part, inner, name + part, depth - 1)

def changes(before, after, listed):
    nothing = None, ..., ""
    keys = before.seen.keys() | after.seen.keys()
    keys = {key for key in keys if before.seen.get(key, nothing)[1] is not after.seen.get(key, nothing)[1]}
    names = {key: (after.seen.get(key) or before.seen[key])[2] for key in keys}
    within = tuple(f"{name}{mark}" for name in names.values() for mark in ".[")
    labels = {}
    for it in listed:
        holder, last = it.holder()
        labels[id(holder), f"[{last}]" if it.in_registry else f".{last}"] = str(it)
    return sorted(labels.get(key, name) for key, name in names.items() if not name.startswith(within))

before = Snapshot()
"""
_LISTED = """
from localaws.cloudformation.domain_names import DomainNames
from localaws.process.replacements import replacements
from localaws.iam.late_policies import LatePolicies
from localaws.kms.late_keys import LateKeys
from localaws.sqs.purging import Purging
from localaws.workers.concurrency import Concurrency

stateful = {"executions": Concurrency(None), "domain_names": DomainNames(None)}
late = {"keys": LateKeys(None), "policies": LatePolicies(None), "purging": Purging(None)}
listed = replacements(secrets_manager=None, api_gateway=None, **stateful, **late)
print(json.dumps([sorted({str(it) for it in listed}), changes(before, Snapshot(), listed)]))
"""
_PATCHED = """
from ministack.core.responses import AccountRegionScopedDict
from ministack.services import apigateway_v1, sqs
from ministack.services.cloudformation import provisioners

sqs._get_q = print
sqs.something_new = print
del sqs._collect_msgs
provisioners._RESOURCE_HANDLERS["AWS::SQS::Queue"]["create"] = print
apigateway_v1._OPENAPI_HTTP_METHODS.add("trace")
apigateway_v1._resources.__class__ = type("Other", (AccountRegionScopedDict,), {"__slots__": ()})
AccountRegionScopedDict.get = print
print(json.dumps(changes(before, Snapshot(), [])))
"""


def run(program: str, state_dir: Path) -> subprocess.CompletedProcess[str]:
    url = "http://127.0.0.1:1"
    environment = server_environment(
        os.environ, endpoint_url=url, functions_endpoint_url=url, state_dir=str(state_dir), enforce_iam=False
    )
    return subprocess.run(
        [sys.executable, "-c", program], cwd=_ROOT, env=environment, capture_output=True, text=True, check=False
    )


def answer(program: str, state_dir: Path) -> Any:
    """What a program prints at its end."""
    done = run(program, state_dir)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_what_is_replaced_of_the_emulator_is_what_the_list_says(tmp_path: Path) -> None:
    listed, changed = answer(f"{_EMULATOR}{_COMPARED}{_SERVER}{_LISTED}", tmp_path)

    assert changed == listed


def test_a_patch_that_is_not_in_the_list_would_be_seen(tmp_path: Path) -> None:
    changed = answer(f"{_EMULATOR}{_COMPARED}{_PATCHED}", tmp_path)

    expected = (
        "sqs._get_q",
        "sqs.something_new",
        "sqs._collect_msgs",
        "_RESOURCE_HANDLERS[AWS::SQS::Queue][create]",
        "apigateway_v1._OPENAPI_HTTP_METHODS[trace]",
        "apigateway_v1._resources.__class__",
        "AccountRegionScopedDict.get",
    )
    assert {end for end in expected if any(name.endswith(end) for name in changed)} == set(expected)
    assert len(changed) == len(expected)


def test_an_emulator_that_has_renamed_a_function_does_not_start_and_says_which(tmp_path: Path) -> None:
    done = run(
        f"{_EMULATOR}\nfrom ministack.services import sqs\ndel sqs._delete_messages_for_esm\n{_SERVER}", tmp_path
    )

    assert done.returncode != 0
    assert re.search(r"EmulatorChangedError: ministack [\d.]+ is not as", done.stderr)
    assert "ministack.services.sqs._delete_messages_for_esm is not there" in done.stderr


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module in the place of one of the emulator's."""
    module: Any = types.ModuleType("emulated")
    module.greet = "hello {}".format
    module.handlers = {"known": len}
    module.store = type("Store", (), {})()
    monkeypatch.setitem(sys.modules, "emulated", module)
    return module


def replace(name: str, change: Callable[[Any], Any] | None = None, *, new: bool = False) -> Replacement:
    return Replacement("emulated", name, change or instead(repr), "a test", new=new)


def test_what_is_replaced_may_call_the_emulators_own_and_the_later_wraps_the_earlier(emulator: Any) -> None:
    def louder(emulated: Callable[[str], str], name: str) -> str:
        return emulated(name) + "!"

    apply([replace("greet", around(louder)), replace("greet", around(lambda emulated, name: emulated(name.upper())))])

    assert emulator.greet("you") == "hello YOU!"


def test_attributes_entries_of_registries_and_attributes_of_objects_are_replaced(emulator: Any) -> None:
    class Other:
        pass

    apply(
        [
            replace("greet"),
            replace("handlers[known]"),
            replace("handlers[AWS::Some.Type]", new=True),
            replace("store.__class__", instead(Other)),
        ]
    )

    assert emulator.greet is repr
    assert emulator.handlers == {"known": repr, "AWS::Some.Type": repr}
    assert isinstance(emulator.store, Other)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (replace("missing"), "emulated.missing is not there"),
        (replace("handlers[missing]"), "emulated.handlers[missing] is not there"),
        (replace("registry[any]"), "emulated.registry[any] is out of reach"),
        (replace("registry[any]", new=True), "emulated.registry[any] is out of reach"),
        (replace("handlers[known]", new=True), "emulated.handlers[known] is there by now"),
        (Replacement("emulated.gone", "any", instead(repr), "a test"), "emulated.gone.any is out of reach"),
    ],
    ids=str,
)
def test_a_name_that_is_not_as_expected_is_an_error_and_nothing_is_replaced(
    emulator: Any, wrong: Replacement, message: str
) -> None:
    greet = emulator.greet

    with pytest.raises(EmulatorChangedError, match=re.escape(message)):
        apply([replace("greet"), wrong])

    assert emulator.greet is greet
    assert emulator.handlers == {"known": len}


def test_every_module_that_the_document_names_is_there() -> None:
    text = (_ROOT / "docs" / "local-aws.md").read_text()
    defects = text.partition("## Defects of MiniStack")[2]
    rooms = text.partition("## Its rooms")[2].partition("\n## ")[0]
    named = set(re.findall(r"`((?:\w+/)?\w+\.py)`", defects + rooms)) - {"test_rooms.py"}

    assert len(named) > 20
    assert [name for name in sorted(named) if not (_ROOT / "localaws" / name.removeprefix("localaws/")).is_file()] == []
    assert {f"{path.name}/" for path in (_ROOT / "localaws").iterdir() if (path / "__init__.py").exists()} == set(
        re.findall(r"`(\w+/)`[,| ]", rooms.partition("| --- |")[2].partition("\n\n")[0])
    )
