"""Splits a file into its components: the classes and functions of the module, and the module's own code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

Function = ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Place:
    """Where a node stands: the innermost function, and the class when it stands right in one."""

    function: Function | ast.Lambda | None = None
    klass: ast.ClassDef | None = None

    @property
    def is_async(self) -> bool:
        """Whether what happens here happens in an event loop."""
        return isinstance(self.function, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Part:
    """A component as a part of its file; the module's own code has no `name`."""

    name: str
    #: 1, or which one it is of those that have the same name.
    number: int
    first_line: int
    last_line: int
    #: The numbers of its lines; those of the module's own code are what is left by the others.
    lines: tuple[int, ...]
    nodes: tuple[tuple[ast.AST, Place], ...]


def split(tree: ast.Module, line_count: int) -> list[Part]:
    """The parts in the order of the file; the module's own code comes first."""
    own: list[tuple[ast.AST, Place]] = []
    parts: list[Part] = []
    seen: dict[str, int] = {}
    stack: list[ast.AST] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, DEFINITIONS):
            seen[node.name] = seen.get(node.name, 0) + 1
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            last = node.end_lineno or node.lineno
            lines = tuple(range(first, last + 1))
            parts.append(Part(node.name, seen[node.name], first, last, lines, tuple(_walk(node))))
        elif isinstance(node, ast.Lambda):
            own.extend(_walk(node))
        else:
            own.append((node, Place()))
            stack += children(node)
    theirs = {line for part in parts for line in part.lines}
    rest = tuple(line for line in range(1, line_count + 1) if line not in theirs)
    return [Part("", 1, 1, line_count, rest, tuple(own)), *parts]


def _walk(top: ast.AST) -> Iterator[tuple[ast.AST, Place]]:
    """A node and all below it, each after what it stands in. Not recursive: trees are deeper than the stack."""
    stack: list[tuple[ast.AST, Place]] = [(top, Place())]
    while stack:
        node, place = stack.pop()
        yield node, place
        inside = place
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            inside = Place(node)
        elif isinstance(node, ast.ClassDef):
            inside = Place(place.function, node)
        elif place.klass is not None and not isinstance(node, (ast.If, ast.Try, ast.With)):
            inside = Place(place.function)
        stack += [(child, inside) for child in children(node)]


def children(node: ast.AST) -> list[ast.AST]:
    """What stands right below a node, the last first; without the marks that say whether a name is read or written."""
    below: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            below += [one for one in value if isinstance(one, ast.AST)]
        elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
            below.append(value)
    below.reverse()
    return below
