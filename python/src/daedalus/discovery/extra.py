"""Patterns of the operator's or the client's own: a call, an import, a decorator, or a line of the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from daedalus import checks
from daedalus.checks import Check, ConfigError, table
from daedalus.discovery.found import FindNode, FindPart, Found, Look
from daedalus.discovery.patterns import ENHANCEMENT, KINDS, NAMES, Pattern

MATCHES = ("call", "import", "decorator", "source")
MAX_EXTRA = 64
#: A regular expression sees no more of a line.
LINE_CHARS = 2000
_NAME = re.compile(r"[a-z0-9_]{1,64}")
_KEYS: dict[str, Check] = {
    "name": checks.text,
    "match": checks.one_of(MATCHES),
    "target": checks.text,
    "kind": checks.one_of(KINDS),
    "weight": checks.share,
    "meaning": checks.text,
    "advice": checks.text,
}
_NODES: dict[str, tuple[type[ast.AST], ...]] = {
    "call": (ast.Call,),
    "import": (ast.Import, ast.ImportFrom),
    "decorator": (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
}


def extra_patterns(where: str, raw: Any, *, trusted: bool) -> tuple[Pattern, ...]:
    """Check a list of patterns. Only an operator may give regular expressions: one can take for ever."""
    if not isinstance(raw, list) or len(raw) > MAX_EXTRA:
        raise ConfigError(f"{where} must be a list of at most {MAX_EXTRA} tables")
    patterns = tuple(_extra(f"{where}[{index}]", one, trusted) for index, one in enumerate(raw))
    names = [*NAMES, *(pattern.name for pattern in patterns)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{where} has the name {twice[0]!r}, which another pattern has; weights change a pattern")
    return patterns


def _extra(where: str, raw: object, trusted: bool) -> Pattern:
    given = table(where, raw, _KEYS)
    missing = [key for key in ("name", "match", "target") if key not in given]
    if missing:
        raise ConfigError(f"{where}.{missing[0]} is missing")
    name, match, target = given["name"], given["match"], given["target"]
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{where}.name must be 1 to 64 of a-z, 0-9 and _, found {name!r}")
    find: FindNode | None = None
    find_part: FindPart | None = None
    if match == "source":
        find_part = _source_finder(where, target, trusted)
    else:
        find = _name_finder(match, target)
    return Pattern(
        name,
        given.get("kind", ENHANCEMENT),
        given.get("weight", 0.3),
        given.get("meaning", f"{match} of {target}"),
        given.get("advice", f"Replace the {match} of {target}."),
        _NODES.get(match, ()),
        find,
        find_part,
    )


def _source_finder(where: str, target: str, trusted: bool) -> FindPart:
    if not trusted:
        raise ConfigError(f"{where}.match 'source' is for the daemon's configuration, not for a payload")
    try:
        expression = re.compile(target)
    except re.error as error:
        raise ConfigError(f"{where}.target is no regular expression: {error}") from error

    def find(look: Look) -> Iterator[Found]:
        for number in look.part.lines:
            if expression.search(look.source.lines[number - 1][:LINE_CHARS]):
                yield Found(number)

    return find


def _name_finder(match: str, target: str) -> FindNode:
    def fits(name: str | None) -> bool:
        return name is not None and fnmatchcase(name, target)

    def find(node: ast.AST, look: Look) -> Iterator[Found]:
        if isinstance(node, ast.Call):
            if fits(look.source.called(node.func)):
                yield Found(node.lineno)
        elif isinstance(node, ast.Import):
            if any(fits(name.name) for name in node.names):
                yield Found(node.lineno)
        elif isinstance(node, ast.ImportFrom):
            module = f"{'.' * node.level}{node.module or ''}"
            if fits(module) or any(fits(f"{module}.{name.name}") for name in node.names):
                yield Found(node.lineno)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            for decorator in node.decorator_list:
                made = decorator.func if isinstance(decorator, ast.Call) else decorator
                if fits(look.source.called(made)):
                    yield Found(decorator.lineno)

    return find
