"""Which module imports which, by the source alone.

Imports in functions and under TYPE_CHECKING count like any other. So do those by name: of ``import_module``, and of
entry points, ``"package.module:name"``.

A module imports a package's ``__init__`` if it takes a name from it. To take a module of the package is no import of
``__init__``, which is only loaded on the way.
"""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeIs


@dataclass(frozen=True)
class Import:
    """One import: by a module, of a module or of what is in no package that is looked at."""

    importer: str
    imported: str
    line: int

    def __str__(self) -> str:
        """Return it as a failure shows it."""
        return f"{self.importer} imports {self.imported} (line {self.line})"


def modules(package: Path) -> dict[str, Path]:
    """Return every module of a package by its dotted name, which begins with the name of the folder."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: Path) -> list[Import]:
    """Return every import in a package; those of the package's own modules by the module's name."""
    known = modules(package)
    return [
        Import(importer, imported, line)
        for importer, path in known.items()
        for imported, line in _imports(importer, path, known)
        if imported != importer
    ]


def circles(found: Iterable[Import]) -> list[list[str]]:
    """Return a shortest circle through each knot of modules that import each other, each ending where it began."""
    graph: dict[str, set[str]] = {}
    for it in found:
        graph.setdefault(it.importer, set()).add(it.imported)
    seen: set[str] = set()
    circles = []
    for module in sorted(graph):
        circle = None if module in seen else _way_back(module, graph)
        if circle is not None:
            circles.append(circle)
            seen |= _knot(module, graph)
    return circles


def _imports(importer: str, path: Path, known: Mapping[str, Path]) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Import(names=names):
                yield from ((_module(alias.name, known), node.lineno) for alias in names)
            case ast.ImportFrom(names=names):
                source = _source(node, importer, path)
                for alias in names:
                    name = f"{source}.{alias.name}"
                    yield name if name in known else _module(source, known), node.lineno
            case ast.Constant(value=str(text)) if (
                text.partition(":")[0] in known and text.partition(":")[2].isidentifier()
            ):
                yield text.partition(":")[0], node.lineno
            case ast.Call(func=ast.Name("import_module") | ast.Attribute(attr="import_module"), args=args):
                yield from ((_module(str(it.value), known), node.lineno) for it in args[:1] if _is_string(it))


def _is_string(node: ast.expr) -> TypeIs[ast.Constant]:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _source(node: ast.ImportFrom, importer: str, path: Path) -> str:
    """Return the absolute name after ``from``."""
    if not node.level:
        return node.module or ""
    parts = importer.split(".")
    package = parts[: len(parts) - node.level + (path.name == "__init__.py")]
    return ".".join([*package, *([node.module] if node.module else [])])


def _module(name: str, known: Mapping[str, Path]) -> str:
    """Return the module of ``known`` that a name is of; the name if it is of none."""
    module = name
    while module and module not in known:
        module = module.rpartition(".")[0]
    return module or name


def _way_back(start: str, graph: Mapping[str, set[str]]) -> list[str] | None:
    ways = deque([[start]])
    seen = set()
    while ways:
        way = ways.popleft()
        for module in sorted(graph.get(way[-1], ())):
            if module == start:
                return [*way, start]
            if module not in seen:
                seen.add(module)
                ways.append([*way, module])
    return None


def _knot(module: str, graph: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that import ``module`` and that it imports, by whatever way."""
    backwards: dict[str, set[str]] = {}
    for importer, imported in graph.items():
        for it in imported:
            backwards.setdefault(it, set()).add(importer)
    return _reachable(module, graph) & _reachable(module, backwards)


def _reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        for module in graph.get(waiting.pop(), ()):
            if module not in found:
                found.add(module)
                waiting.append(module)
    return found
