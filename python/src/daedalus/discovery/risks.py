"""Finders of risk factors: what may go wrong, now or in a migration."""

from __future__ import annotations

import ast
import copy
import shlex
from collections.abc import Iterator

from daedalus.discovery.found import Found, Look
from daedalus.discovery.source import dotted, written

LONG_FUNCTION_LINES = 60
#: One remark in so many lines is dense; a single one is no density.
LINES_PER_TODO = 25
LEAST_TODOS = 2
_SHELL_SIGNS = frozenset("|&;<>()$`\\\"'*?[]#~=%{}\n")
_SHELLS = frozenset({"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"})
_BLOCKING = frozenset(
    {
        "time.sleep",
        "os.system",
        "subprocess.run",
        "subprocess.call",
        "subprocess.check_call",
        "subprocess.check_output",
        "urllib.request.urlopen",
        "socket.create_connection",
        *(f"requests.{verb}" for verb in ("get", "post", "put", "patch", "delete", "head", "request")),
    }
)
_UNSAFE_LOADS = frozenset(
    {f"{module}.{name}" for module in ("pickle", "cPickle", "marshal", "dill") for name in ("load", "loads")}
    | {"shelve.open"}
)
_OPENS = frozenset({"io.open", "codecs.open", "gzip.open", "bz2.open"})
_MUTABLE = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)


def shell_command(node: ast.AST, look: Look) -> Iterator[Found]:
    """`os.system` and its kin, and `shell=True`."""
    assert isinstance(node, ast.Call)
    name = look.source.imported(node.func) or ""
    if name in _SHELLS or name.startswith("commands."):
        yield Found(node.lineno, _without_shell(node) if name == "os.system" else None)
    elif name.startswith("subprocess.") and any(
        keyword.arg == "shell" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in node.keywords
    ):
        yield Found(node.lineno)


def _without_shell(node: ast.Call) -> str | None:
    command = node.args[0] if len(node.args) == 1 else None
    if not isinstance(command, ast.Constant) or not isinstance(command.value, str):
        return None
    if _SHELL_SIGNS & set(command.value):
        return None
    return f"subprocess.run({shlex.split(command.value)!r}, check=True)"


def dynamic_code(node: ast.AST, look: Look) -> Iterator[Found]:
    """`eval` and `exec`."""
    assert isinstance(node, ast.Call)
    if look.source.builtin(node.func) in ("eval", "exec", "execfile"):
        yield Found(node.lineno)


def bare_except(node: ast.AST, _look: Look) -> Iterator[Found]:
    """`except:` also takes KeyboardInterrupt and SystemExit."""
    assert isinstance(node, ast.ExceptHandler)
    if node.type is None:
        yield Found(node.lineno, "except Exception:")


def swallowed_exception(node: ast.AST, _look: Look) -> Iterator[Found]:
    """A handler that does nothing."""
    assert isinstance(node, ast.ExceptHandler)
    if all(
        isinstance(line, ast.Pass) or (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for line in node.body
    ):
        yield Found(node.lineno)


def mutable_default(node: ast.AST, look: Look) -> Iterator[Found]:
    """A default that all calls share; once for a function, however many it has."""
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    given = node.args
    named = [*given.posonlyargs, *given.args]
    pairs = [*zip(named[len(named) - len(given.defaults) :], given.defaults, strict=True)]
    pairs += [(arg, default) for arg, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default]
    bad = {arg.arg: default for arg, default in pairs if _is_mutable(default, look)}
    if bad:
        yield Found(node.lineno, None if isinstance(node, ast.Lambda) else _with_none(node, bad))


def _is_mutable(default: ast.expr, look: Look) -> bool:
    if isinstance(default, ast.Call):
        return look.source.builtin(default.func) in ("list", "dict", "set")
    return isinstance(default, _MUTABLE)


def _with_none(node: ast.FunctionDef | ast.AsyncFunctionDef, bad: dict[str, ast.expr]) -> str | None:
    values = {name: written(default) for name, default in bad.items()}
    if None in values.values():
        return None
    changed = copy.copy(node.args)
    none, marked = ast.Constant(None), {id(default) for default in bad.values()}
    changed.defaults = [none if id(default) in marked else default for default in changed.defaults]
    changed.kw_defaults = [none if id(default) in marked else default for default in changed.kw_defaults]
    head = written(type(node)(name=node.name, args=changed, body=[ast.Pass()], decorator_list=[], returns=node.returns))
    if head is None:
        return None
    lines = [f"    if {name} is None:\n        {name} = {value}" for name, value in values.items()]
    return "\n".join([head.removesuffix("\n    pass"), *lines])


def global_state(node: ast.AST, _look: Look) -> Iterator[Found]:
    """A function that assigns to the module's variables."""
    assert isinstance(node, ast.Global)
    yield Found(node.lineno)


def blocking_in_async(node: ast.AST, look: Look) -> Iterator[Found]:
    """A call that stops the event loop."""
    assert isinstance(node, ast.Call)
    name = look.source.imported(node.func)
    if look.place.is_async and name in _BLOCKING:
        if name == "time.sleep":
            function: ast.expr = ast.parse("asyncio.sleep", mode="eval").body
            call = ast.Call(function, node.args, node.keywords)
        else:
            function = ast.parse("asyncio.to_thread", mode="eval").body
            call = ast.Call(function, [node.func, *node.args], node.keywords)
        yield Found(node.lineno, written(ast.Await(call)))


def unsafe_deserialization(node: ast.AST, look: Look) -> Iterator[Found]:
    """Data that can run code when it is loaded."""
    assert isinstance(node, ast.Call)
    name = look.source.imported(node.func)
    if name in _UNSAFE_LOADS:
        yield Found(node.lineno)
    elif name == "yaml.load":
        loaders = [*node.args[1:2], *(keyword.value for keyword in node.keywords if keyword.arg == "Loader")]
        if not any("Safe" in (dotted(loader) or "") for loader in loaders):
            function = ast.parse("yaml.safe_load", mode="eval").body
            yield Found(node.lineno, written(ast.Call(function, node.args[:1], [])) if node.args else None)


def open_without_with(node: ast.AST, look: Look) -> Iterator[Found]:
    """A file that nobody is sure to close."""
    if isinstance(node, (ast.With, ast.AsyncWith)):
        look.managed.update(id(item.context_expr) for item in node.items)
    elif isinstance(node, ast.Return):
        look.managed.add(id(node.value))
    elif isinstance(node, ast.Call):
        if (dotted(node.func) or "").rpartition(".")[2] in ("closing", "enter_context"):
            look.managed.update(id(argument) for argument in node.args)
        opens = look.source.builtin(node.func) == "open" or look.source.imported(node.func) in _OPENS
        if opens and id(node) not in look.managed:
            code = written(node)
            yield Found(node.lineno, f"with {code} as file:" if code else None)


def long_function(node: ast.AST, _look: Look) -> Iterator[Found]:
    """More lines than one can see at once."""
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    if (node.end_lineno or node.lineno) - node.lineno + 1 > LONG_FUNCTION_LINES:
        yield Found(node.lineno)


def todo_density(look: Look) -> Iterator[Found]:
    """Many remarks that something is not finished."""
    remarks = [line for line in look.part.lines if line in look.source.remarks]
    if len(remarks) >= LEAST_TODOS and len(remarks) * LINES_PER_TODO >= len(look.part.lines):
        yield from map(Found, remarks)
