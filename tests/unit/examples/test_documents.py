"""docs/clients: mentions every example, links to what is there, and shows code that runs."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

import mtls_client
from mtls_client import ClientCertificate
from tests.repository.documents.links import LINK
from tests.unit.examples.files import DOCUMENTS, FILES, ROOT, SECRET, blocks, named
from tests.unit.examples.partner import ORDERS, Partner

TEXTS = {path.name: path.read_text() for path in DOCUMENTS}
# Libraries that the project does not develop with: what their snippets do with the client is looked at, not run.
ABSENT = {"grpc", "websockets"}


def linked(path: Path) -> set[Path]:
    """The files that a document links to."""
    targets = (target.partition("#")[0] for target in LINK.findall(path.read_text()) if "://" not in target)
    return {(path.parent / target).resolve() for target in targets if target}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_file_of_the_examples_is_explained(path: Path) -> None:
    if path.name == "Dockerfile.dockerignore":
        assert f"`{path.name}`" in TEXTS["sidecar.md"]
    else:
        assert any(path in linked(document) for document in DOCUMENTS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_command_names_is_there(path: Path) -> None:
    for name in re.findall(r"(?<![\w/])examples/[\w./-]+", path.read_text()):
        assert (ROOT / name.rstrip(".")).exists(), name


def test_the_overview_leads_to_every_page() -> None:
    (overview,) = [path for path in DOCUMENTS if path.name == "README.md"]

    assert linked(overview) >= set(DOCUMENTS) - {overview}


def test_every_pictures_fence_is_closed_and_every_snippet_can_be_read() -> None:
    for name, text in TEXTS.items():
        assert text.count("```") % 2 == 0, name
        for block in blocks(text, "json"):
            json.loads(block)
        for block in blocks(text, "yaml"):
            assert yaml.safe_load(block)


def test_one_name_stands_for_the_secret_everywhere() -> None:
    for path in [*FILES, *DOCUMENTS]:
        for name in re.findall(r"mtls-rotation/[a-z]+\b", path.read_text()):
            assert name in (SECRET, "mtls-rotation/ca"), path


def test_ports_and_accounts_are_the_same_everywhere() -> None:
    for path in [*FILES, *DOCUMENTS]:
        text = path.read_text()
        assert set(re.findall(r"127\.0\.0\.1:(\d+)", text)) <= {"8080", "9901"}, path
        assert set(re.findall(r"(?<![\d-])\d{12}(?!\d)", text)) <= {"123456789012"}, path
        assert set(re.findall(r"\b(?:us|eu|ap)-[a-z]+-\d\b", text)) <= {"us-east-1"}, path


SNIPPETS = [
    pytest.param(block, id=f"{name}-{number}")
    for name, text in TEXTS.items()
    for number, block in enumerate(blocks(text, "python"))
]


def imported(tree: ast.AST) -> set[str]:
    """The top-level modules that a snippet imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    return names


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """What a snippet calls of a certificate, and of the package itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            match node.func:
                case ast.Attribute(value=ast.Name(id="certificate"), attr=method):
                    yield f"ClientCertificate.{method}", node
                case ast.Name(id=name) if hasattr(mtls_client, name):
                    yield name, node


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_snippet_uses_what_the_client_has(snippet: str) -> None:
    tree = ast.parse(snippet)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "mtls_client":
            assert {alias.name for alias in node.names} <= set(mtls_client.__all__)
    for name, call in calls(tree):
        method = name.partition(".")[2]
        target: Any = getattr(ClientCertificate, method) if method else getattr(mtls_client, name)
        arguments = [None] * (len(call.args) + bool(method))
        inspect.signature(target).bind(*arguments, **{str(it.arg): None for it in call.keywords})


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_snippet_runs(snippet: str, partner: Partner, secrets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_SECRET", SECRET)
    monkeypatch.setenv("PARTNER_URL", "https://api.partner.example")
    tree = ast.parse(snippet)
    if absent := imported(tree) & ABSENT:
        assert not any(find_spec(name) for name in absent), "it is here now, and so may run"
        return
    names: dict[str, Any] = {"__name__": "__main__"}

    exec(compile(tree, "snippet", "exec"), names)  # noqa: S102 - our own documents

    names["certificate"].close()
    if "/orders" in snippet:
        assert set(partner.paths) == {"/orders"}
        assert len(set(partner.asked_by)) == 1
    if "orders" in names:
        assert names["orders"] == ORDERS
