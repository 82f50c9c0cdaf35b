"""Every call of AWS that the product makes, as its source has it: service, operation, parameters."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
from botocore import xform_name

from localaws.iam import permissions

ROOT = Path(__file__).parents[2]
ENGINE = ("layers/rotation/mtls_rotation", "functions")
PRODUCT = (*ENGINE, "client/mtls_client", "sidecar/mtls_sidecar", "cli/mtlsctl")
# Calls that a library makes: Powertools' provider of parameters.
# https://docs.aws.amazon.com/powertools/python/latest/utilities/parameters/
MADE_BY_OTHERS = {"SSMProvider": ("ssm", "GetParameter", frozenset({"Name", "WithDecryption"}))}

# Services that IAM names otherwise.
_IN_IAM = {"resourcegroupstaggingapi": "tag"}


class UnknownServiceError(LookupError):
    """A call of AWS whose service the source does not tell."""


@dataclass(frozen=True)
class Call:
    """A call.

    Attributes:
        where: file and line.
        service: as botocore names it.
        operation: as botocore names it.
        parameters: those that the source names.
        whole: whether these are all; not so where a mapping is handed on (`**more`).
    """

    where: str
    service: str
    operation: str
    parameters: frozenset[str]
    whole: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.service} {self.operation}"


def named(call: Call) -> str:
    """A call's service, as IAM has it, and its operation."""
    return f"{_IN_IAM.get(call.service, call.service)}:{call.operation}"


def actions(call: Call) -> tuple[str, ...]:
    """The permissions that a call takes."""
    name = named(call)
    return permissions.own(name, call.parameters) + permissions.further(name, call.parameters)


@dataclass(frozen=True)
class Module:
    """A module of the product.

    Attributes:
        path: where it is.
        tree: its source, read.
        services: those whose clients it makes or is given.
    """

    path: Path
    tree: ast.Module
    services: frozenset[str]

    def has(self, name: object) -> bool:
        """Whether one of its clients has such an operation."""
        return isinstance(name, str) and any(name in operations(it) for it in self.services)

    def where(self, node: ast.AST) -> str:
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


@cache
def model(service: str) -> Any:
    """The model of a service."""
    return _session().get_service_model(service)


@cache
def operations(service: str) -> dict[str, str]:
    """The operations of a service, by the names that clients have for them."""
    return {xform_name(name): name for name in model(service).operation_names}


@cache
def _session() -> Any:
    return botocore.session.get_session()


@cache
def modules(folders: tuple[str, ...] = PRODUCT) -> tuple[Module, ...]:
    """The modules in these folders that have to do with clients of AWS."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    read = [Module(path, tree, services(tree)) for path in paths for tree in [ast.parse(path.read_text())]]
    return tuple(it for it in read if it.services)


def services(tree: ast.AST) -> frozenset[str]:
    """The services whose clients a module makes (`.client("kms")`) or is given (`mypy_boto3_kms`)."""
    return frozenset(_services(tree))


def _services(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(name)) if name.startswith("mypy_boto3_"):
                yield _typed(name)
            case ast.Call(func=ast.Attribute(attr=made), args=[ast.Constant(value=str(name)), *_]) if made in {
                "client",
                "of",
            }:
                yield name
            case ast.Name(id=name) if name in MADE_BY_OTHERS:
                yield MADE_BY_OTHERS[name][0]


@cache
def calls(folders: tuple[str, ...] = PRODUCT) -> tuple[Call, ...]:
    """Every call of AWS in these folders."""
    return tuple(call for module in modules(folders) for call in of_module(module))


def of_module(module: Module) -> Iterator[Call]:
    """The calls in a module.

    Raises:
        UnknownServiceError: a call might be of several services.
    """
    attributes = dict(_clients(module.tree))
    for function, nodes in _functions(module.tree):
        known = attributes | dict(_clients(function))
        for node in nodes:
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="get_paginator", value=client), args=[ast.Constant(value=str(name))]
                ):
                    yield _call(module, function, node, name, _paginated(nodes, node), _service(client, known))
                case ast.Call(func=ast.Attribute(attr=name, value=client), args=[]) if module.has(name):
                    yield _call(module, function, node, name, node.keywords, _service(client, known))
                case ast.Call(args=[ast.Constant(value=str(name)), *_]) if module.has(name):
                    yield _call(module, function, node, name, node.keywords, None)
                case ast.Call(func=ast.Name(id=name)) if name in MADE_BY_OTHERS:
                    yield Call(module.where(node), *MADE_BY_OTHERS[name], True)


def _functions(tree: ast.Module) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    """Each function with what stands in it, and the module with the rest."""
    inner: set[int] = set()
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and id(function) not in inner:
            nodes = list(ast.walk(function))
            inner |= set(map(id, nodes))
            yield function, nodes
    yield tree, [node for node in ast.walk(tree) if id(node) not in inner]


# -- whose client it is


def _clients(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Names, as the source writes them, of clients that are made or said to be given here, and their services."""
    types = dict(_types(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                yield from (
                    (ast.unparse(it), made) for it, value in zip(targets, values, strict=True) if (made := _made(value))
                )
            case ast.Assign(targets=[target], value=value) if made := _made(value):
                yield ast.unparse(target), made
            case ast.AnnAssign(target=target, annotation=annotation) if of := types.get(ast.unparse(annotation)):
                yield ast.unparse(target), of
            case ast.arg(arg=name, annotation=ast.expr() as annotation) if of := types.get(ast.unparse(annotation)):
                yield name, of


def _types(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """The types of clients that a module imports: `from mypy_boto3_kms import KMSClient`."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(name), names=names) if name.startswith("mypy_boto3_"):
                yield from ((it.asname or it.name, _typed(name)) for it in names)


def _typed(module: str) -> str:
    return module.split(".")[0].removeprefix("mypy_boto3_").replace("_", "-")


def _made(value: ast.expr) -> str | None:
    """The service of a client that is made here."""
    match value:
        case ast.Call(func=ast.Attribute(attr="client" | "of"), args=[ast.Constant(value=str(name)), *_]):
            return name
    return None


def _service(client: ast.expr, known: Mapping[str, str]) -> str | None:
    return _made(client) or known.get(ast.unparse(client))


# -- what it is asked for


def _call(
    module: Module, function: ast.AST, node: ast.AST, name: str, keywords: Iterable[ast.keyword], service: str | None
) -> Call:
    fitting = [service] if service else sorted(it for it in module.services if name in operations(it))
    if len(fitting) != 1:
        raise UnknownServiceError(f"{module.where(node)}: {name} may be of {', '.join(fitting)}: type the client")
    (found,) = fitting
    if name not in operations(found):
        raise UnknownServiceError(f"{module.where(node)}: {found} has no operation {name}")
    named: set[str] = set()
    whole = True
    for it in keywords:
        if it.arg is None:
            handed_on = _handed_on(module.tree, function, it.value)
            named, whole = named | handed_on, whole and bool(handed_on)
        else:
            named.add(it.arg)
    return Call(module.where(node), found, operations(found)[name], frozenset(named), whole)


def _handed_on(tree: ast.Module, function: ast.AST, mapping: ast.expr) -> set[str]:
    """The parameters that may be in a mapping (`**which`): its literals, or what the function is called with."""
    named = {it.value for node in ast.walk(function) for it in _keys(node, ast.unparse(mapping))}
    match function:
        case ast.FunctionDef(name=called, args=ast.arguments(kwarg=ast.arg(arg=own))) if own == ast.unparse(mapping):
            for caller, nodes in _functions(tree):
                for node in nodes:
                    match node:
                        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), keywords=given) if (
                            name == called
                        ):
                            named |= {it.arg for it in given if it.arg}
                            named |= {key for it in given if not it.arg for key in _handed_on(tree, caller, it.value)}
    return {str(it) for it in named}


def _keys(node: ast.AST, mapping: str) -> Iterator[ast.Constant]:
    """The keys that a statement gives a mapping of this name, or the mapping itself if it is a literal."""
    match node:
        case ast.Assign(targets=[target], value=value) if ast.unparse(target) == mapping:
            yield from (ast.Constant(it) for it in _literals(value))
        case ast.AnnAssign(target=target, value=ast.expr() as value) if ast.unparse(target) == mapping:
            yield from (ast.Constant(it) for it in _literals(value))
        case ast.Assign(targets=[ast.Subscript(value=of, slice=ast.Constant() as key)]) if ast.unparse(of) == mapping:
            yield key
        case ast.expr() if ast.unparse(node) == mapping:
            yield from (ast.Constant(it) for it in _literals(node))


def _literals(value: ast.expr) -> Iterator[str]:
    for node in ast.walk(value):
        if isinstance(node, ast.Dict):
            yield from (it.value for it in node.keys if isinstance(it, ast.Constant) and isinstance(it.value, str))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "dict":
            yield from (it.arg for it in node.keywords if it.arg)


def _paginated(nodes: Iterable[ast.AST], made: ast.Call) -> list[ast.keyword]:
    """What a paginator is asked for: in `client.get_paginator("list_objects_v2").paginate(...)`, or in two steps."""
    found = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    asked = [it for it in found if isinstance(it.func, ast.Attribute) and it.func.attr == "paginate"]
    direct = [it for it in asked if isinstance(it.func, ast.Attribute) and it.func.value is made]
    return [it for call in direct or asked for it in call.keywords if it.arg != "PaginationConfig"]
