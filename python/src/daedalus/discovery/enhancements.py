"""Finders of enhancement opportunities: what newer Python says better."""

from __future__ import annotations

import ast
import re
from collections import deque
from collections.abc import Iterator

from daedalus.discovery.found import Found, Look
from daedalus.discovery.source import written

#: Modules that are gone or will be, and what took their place.
DEPRECATED = {
    "imp": "importlib",
    "optparse": "argparse",
    "distutils": "setuptools",
    "asyncore": "asyncio",
    "asynchat": "asyncio",
    "smtpd": "aiosmtpd",
    "cgi": "urllib.parse",
    "cgitb": "traceback",
    "pipes": "shlex",
    "telnetlib": "socket",
    "crypt": "hashlib",
    "commands": "subprocess",
    "md5": "hashlib",
    "sha": "hashlib",
    "sets": "builtins",
    "urllib2": "urllib.request",
    "urlparse": "urllib.parse",
    "ConfigParser": "configparser",
    "Queue": "queue",
    "StringIO": "io",
    "cPickle": "pickle",
    "pkg_resources": "importlib.metadata",
}
_PYTHON2_BUILTINS = frozenset(
    {"basestring", "file", "long", "raw_input", "reduce", "reload", "unichr", "unicode", "xrange"}
)
_PYTHON2_METHODS = {"iteritems": "items", "iterkeys": "keys", "itervalues": "values", "has_key": ""}
_FUTURES = frozenset({"print_function", "division", "absolute_import", "unicode_literals"})
#: A conversion that an f-string writes alike: no `*`, no mapping key, no flag but a leading zero.
_CONVERSION = re.compile(r"%(?:(?P<spec>0?\d*(?:\.\d+)?)(?P<kind>[sdrfxX])|%)")


def deprecated_module(node: ast.AST, look: Look) -> Iterator[Found]:
    """An import of a module that is gone or will be, and each call into it."""
    if isinstance(node, ast.Import):
        for name in node.names:
            new = DEPRECATED.get(name.name.partition(".")[0])
            if new:
                yield Found(node.lineno, f"import {new}")
    elif isinstance(node, ast.ImportFrom):
        new = DEPRECATED.get((node.module or "").partition(".")[0]) if node.level == 0 else None
        if new:
            yield Found(node.lineno, f"import {new}")
    elif isinstance(node, ast.Call):
        called = look.source.imported(node.func) or ""
        if called.partition(".")[0] in DEPRECATED:
            yield Found(node.lineno)


def print_logging(node: ast.AST, look: Look) -> Iterator[Found]:
    """`print`, where a logger says when, who and how bad."""
    assert isinstance(node, ast.Call)
    if look.source.builtin(node.func) == "print":
        only = node.args[0] if len(node.args) == 1 and not node.keywords else None
        told = None if only is None or isinstance(only, ast.Starred) else written(only)
        yield Found(node.lineno, f"logger.info({told})" if told else None)


def percent_format(node: ast.AST, _look: Look) -> Iterator[Found]:
    """`"..." % values`."""
    assert isinstance(node, ast.BinOp)
    left = node.left
    if isinstance(node.op, ast.Mod) and isinstance(left, ast.Constant) and isinstance(left.value, str):
        yield Found(node.lineno, _f_string(left.value, node.right))


def _f_string(template: str, right: ast.expr) -> str | None:
    values = deque(right.elts if isinstance(right, ast.Tuple) else [right])
    if any(isinstance(value, (ast.Starred, ast.Dict)) for value in values):
        return None
    pieces: list[ast.expr] = []
    at = 0
    while at < len(template):
        found = _CONVERSION.search(template, at)
        plain = template[at : found.start()] if found else template[at:]
        if "%" in plain:
            return None
        pieces.append(ast.Constant(plain))
        if found is None:
            break
        at = found.end()
        if found["kind"] is None:
            pieces.append(ast.Constant("%"))
        elif values:
            pieces.append(_replacement(found["spec"], found["kind"], values.popleft()))
        else:
            return None
    return None if values else written(ast.JoinedStr(pieces))


def _replacement(spec: str, kind: str, value: ast.expr) -> ast.FormattedValue:
    # With %s a width aligns to the right, in an f-string to the left.
    if kind in "sr":
        spec = f">{spec}" if spec and not spec.startswith(".") else spec
    else:
        spec += kind
    conversion = ord(kind) if kind == "r" or (kind == "s" and spec) else -1
    return ast.FormattedValue(value, conversion, ast.JoinedStr([ast.Constant(spec)]) if spec else None)


def missing_type_hints(node: ast.AST, look: Look) -> Iterator[Found]:
    """A function whose parameters or result have no types; once for a function."""
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    given = node.args
    named = [*given.posonlyargs, *given.args]
    if look.place.klass is not None and not any(_is_static(decorator) for decorator in node.decorator_list):
        named = named[1:]
    named += [*given.kwonlyargs, *(arg for arg in (given.vararg, given.kwarg) if arg)]
    no_result = node.returns is None and node.name != "__init__"
    if no_result or any(arg.annotation is None for arg in named):
        yield Found(node.lineno)


def _is_static(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id == "staticmethod"


def python2_idiom(node: ast.AST, look: Look) -> Iterator[Found]:
    """What only Python 2 needed."""
    source = look.source
    if isinstance(node, ast.ClassDef):
        if any(source.builtin(base) == "object" for base in node.bases):
            bases = [base for base in node.bases if source.builtin(base) != "object"]
            head = ast.ClassDef(node.name, bases, node.keywords, [ast.Pass()], [])
            yield Found(node.lineno, (written(head) or "").removesuffix("\n    pass") or None)
    elif isinstance(node, ast.Import):
        if any(name.name.partition(".")[0] == "six" for name in node.names):
            yield Found(node.lineno)
    elif isinstance(node, ast.ImportFrom):
        is_six = node.level == 0 and (node.module or "").partition(".")[0] == "six"
        if is_six or (node.module == "__future__" and _FUTURES & {name.name for name in node.names}):
            yield Found(node.lineno)
    elif isinstance(node, ast.Call):
        yield from _python2_call(node, look)


def _python2_call(node: ast.Call, look: Look) -> Iterator[Found]:
    name = look.source.builtin(node.func)
    if name == "super" and len(node.args) == 2:
        yield Found(node.lineno, "super()")
    elif name in _PYTHON2_BUILTINS:
        yield Found(node.lineno, written(ast.Call(ast.Name("range"), node.args, [])) if name == "xrange" else None)
    elif isinstance(node.func, ast.Attribute) and node.func.attr in _PYTHON2_METHODS:
        new, owner = _PYTHON2_METHODS[node.func.attr], node.func.value
        if new:
            yield Found(node.lineno, written(ast.Call(ast.Attribute(owner, new), node.args, [])))
        elif len(node.args) == 1:
            yield Found(node.lineno, written(ast.Compare(node.args[0], [ast.In()], [owner])))


def os_path(node: ast.AST, look: Look) -> Iterator[Found]:
    """Functions on paths, where `pathlib` has objects."""
    assert isinstance(node, ast.Call)
    if (look.source.imported(node.func) or "").startswith("os.path."):
        yield Found(node.lineno)


def type_comparison(node: ast.AST, look: Look) -> Iterator[Found]:
    """`type(x) == T` is false for subclasses."""
    assert isinstance(node, ast.Compare)
    left, right = node.left, node.comparators[0]
    is_type = isinstance(left, ast.Call) and look.source.builtin(left.func) == "type" and len(left.args) == 1
    if is_type and len(node.ops) == 1 and isinstance(node.ops[0], (ast.Eq, ast.NotEq, ast.Is, ast.IsNot)):
        assert isinstance(left, ast.Call)
        call = written(ast.Call(ast.Name("isinstance"), [left.args[0], right], []))
        no = "not " if isinstance(node.ops[0], (ast.NotEq, ast.IsNot)) else ""
        yield Found(node.lineno, f"{no}{call}" if call and not isinstance(right, ast.Call) else None)
