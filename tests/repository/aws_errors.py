"""Every error code of AWS that the product knows, as its source has it, and where each comes from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tests.repository import aws_calls
from tests.repository.aws_calls import PRODUCT, ROOT, Module

# Errors that any service may answer. What breaks the constraints of a parameter is a ValidationError on the page, and a
# ValidationException to services whose protocol is JSON: https://github.com/anomalyco/sst/issues/3795
# https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html
COMMON = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "ThrottlingException",
        "UnrecognizedClientException",
        "ValidationError",
        "ValidationException",
    }
)
# Errors that a service's own page lists, and its model does not. Of what has no body, as any answer to HeadObject and a
# 304, botocore takes the status for the code.
# https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
LISTED = {
    "s3": frozenset(
        {
            "304",
            "403",
            "404",
            "BucketNotEmpty",
            "ConditionalRequestConflict",
            "NoSuchVersion",
            "NotModified",
            "PreconditionFailed",
        }
    ),
}


@dataclass(frozen=True)
class Handled:
    """An error code that some code knows.

    Attributes:
        where: file and line.
        code: the code.
        services: those that may answer it there.
        modeled: it is named as an exception of a client.
    """

    where: str
    code: str
    services: frozenset[str]
    modeled: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.code}"

    @property
    def known(self) -> bool:
        """Whether some of the services answers it, by its model or by AWS's pages."""
        models = {it: {shape.error_code for shape in aws_calls.model(it).error_shapes} for it in self.services}
        if self.modeled:
            return any(self.code in {shape.name for shape in aws_calls.model(it).error_shapes} for it in self.services)
        return self.code in COMMON or any(self.code in models[it] | LISTED.get(it, set()) for it in models)


def handled(folders: tuple[str, ...] = PRODUCT) -> list[Handled]:
    """Every error code in these folders. A module without a client may be answered by any service of the product."""
    every = frozenset(service for module in aws_calls.modules(folders) for service in module.services)
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    read = [Module(path, tree, aws_calls.services(tree)) for path in paths for tree in [ast.parse(path.read_text())]]
    return [
        Handled(module.where(node), code, module.services or every, modeled)
        for module in read
        for node, code, modeled in _codes(module.tree)
    ]


def _codes(tree: ast.Module) -> Iterator[tuple[ast.AST, str, bool]]:
    named = {name for node in ast.walk(tree) for name in _names_of_codes(node)}
    sets = {name: value for node in tree.body for name, value in _assigned(node)}

    def is_code(node: ast.expr) -> bool:
        text = ast.unparse(node)
        return text in named or _gives_code(node)

    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, value=ast.Attribute(attr="exceptions", value=client)) if name[0].isupper():
                if "urllib3" not in ast.unparse(client):
                    yield node, name, True
            case ast.Compare(left=left, comparators=[right]) if is_code(left):
                value = sets.get(ast.unparse(right), right)
                yield from ((node, code, False) for code in _strings(value))
            case ast.Match(subject=subject, cases=cases) if is_code(subject):
                for case in cases:
                    yield from ((case.pattern, code, False) for code in _strings(case.pattern))


def _gives_code(node: ast.expr) -> bool:
    """Whether an expression is an error's code: `error.response["Error"]["Code"]`, `….get("Code")`, `_code(error)`."""
    match node:
        case ast.Subscript(slice=ast.Constant(value="Code")):
            return True
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value="Code"), *_]):
            return True
        case ast.Call(func=ast.Name(id="_code")):
            return True
    return False


def _names_of_codes(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if _gives_code(value):
            yield name
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            for target, value in zip(targets, values, strict=True):
                if _gives_code(value):
                    yield ast.unparse(target)


def _assigned(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            yield name, value


def _strings(node: ast.AST) -> Iterator[str]:
    for it in ast.walk(node):
        if isinstance(it, ast.Constant) and isinstance(it.value, str):
            yield it.value
