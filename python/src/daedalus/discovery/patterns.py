"""The patterns that a scan looks for: a name, what it means, a weight, and how it is found."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from daedalus.discovery import enhancements, risks
from daedalus.discovery.found import FindNode, FindPart

RISK, ENHANCEMENT = "risk", "enhancement"
KINDS = (RISK, ENHANCEMENT)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Pattern:
    """One thing to look for. `weight` (0..1) is how much a single occurrence says for a migration."""

    name: str
    kind: str
    weight: float
    #: What it is, for the items of a result.
    meaning: str
    #: What to do about it, for a migration's plan.
    advice: str
    nodes: tuple[type[ast.AST], ...] = ()
    find: FindNode | None = None
    find_part: FindPart | None = None


PATTERNS: tuple[Pattern, ...] = (
    Pattern(
        "shell_command",
        RISK,
        0.5,
        "a command line that a shell interprets",
        "Use subprocess.run with a list of arguments and check=True.",
        (ast.Call,),
        risks.shell_command,
    ),
    Pattern(
        "deprecated_module",
        ENHANCEMENT,
        0.5,
        "a module that Python has removed or will remove",
        "Use the module that took its place.",
        (ast.Import, ast.ImportFrom, ast.Call),
        enhancements.deprecated_module,
    ),
    Pattern(
        "dynamic_code",
        RISK,
        0.4,
        "eval or exec of a text",
        "Use ast.literal_eval for data, or a table of functions.",
        (ast.Call,),
        risks.dynamic_code,
    ),
    Pattern(
        "unsafe_deserialization",
        RISK,
        0.4,
        "data that can run code when it is loaded",
        "Use json, or a loader that makes plain data only.",
        (ast.Call,),
        risks.unsafe_deserialization,
    ),
    Pattern(
        "blocking_in_async",
        RISK,
        0.4,
        "a blocking call in an async function",
        "Await an asynchronous one, or asyncio.to_thread.",
        (ast.Call,),
        risks.blocking_in_async,
    ),
    Pattern(
        "bare_except",
        RISK,
        0.3,
        "a handler that takes every exception, KeyboardInterrupt too",
        "Name the exceptions that are expected, or Exception.",
        (ast.ExceptHandler,),
        risks.bare_except,
    ),
    Pattern(
        "mutable_default",
        RISK,
        0.3,
        "a default that all calls share",
        "Use None as the default and make the value in the function.",
        (*_FUNCTIONS, ast.Lambda),
        risks.mutable_default,
    ),
    Pattern(
        "python2_idiom",
        ENHANCEMENT,
        0.2,
        "what only Python 2 needed",
        "Write it as Python 3 does.",
        (ast.ClassDef, ast.Import, ast.ImportFrom, ast.Call),
        enhancements.python2_idiom,
    ),
    Pattern(
        "swallowed_exception",
        RISK,
        0.2,
        "a handler that does nothing",
        "Log the exception, or use contextlib.suppress where it is expected.",
        (ast.ExceptHandler,),
        risks.swallowed_exception,
    ),
    Pattern(
        "open_without_with",
        RISK,
        0.2,
        "a file that nobody is sure to close",
        "Open it in a with statement.",
        (ast.With, ast.AsyncWith, ast.Return, ast.Call),
        risks.open_without_with,
    ),
    Pattern(
        "global_state",
        RISK,
        0.2,
        "a function that assigns to the module's variables",
        "Hold the state in an object that is passed on.",
        (ast.Global,),
        risks.global_state,
    ),
    Pattern(
        "long_function",
        RISK,
        0.2,
        f"a function of more than {risks.LONG_FUNCTION_LINES} lines",
        "Take pieces that have a name out of it.",
        _FUNCTIONS,
        risks.long_function,
    ),
    Pattern(
        "todo_density",
        RISK,
        0.1,
        f"TODO, FIXME, XXX or HACK at least twice, and once in {risks.LINES_PER_TODO} lines",
        "Settle what the remarks ask for before the code moves.",
        find_part=risks.todo_density,
    ),
    Pattern(
        "percent_format",
        ENHANCEMENT,
        0.1,
        "formatting with %",
        "Use an f-string, or str.format where the template is a variable.",
        (ast.BinOp,),
        enhancements.percent_format,
    ),
    Pattern(
        "type_comparison",
        ENHANCEMENT,
        0.1,
        "a comparison of types",
        "Use isinstance.",
        (ast.Compare,),
        enhancements.type_comparison,
    ),
    Pattern(
        "print_logging",
        ENHANCEMENT,
        0.05,
        "print, where a logger could say more",
        "Use a logger of the module.",
        (ast.Call,),
        enhancements.print_logging,
    ),
    Pattern(
        "missing_type_hints",
        ENHANCEMENT,
        0.05,
        "a function whose parameters or result have no types",
        "Write the types of the parameters and of the result.",
        _FUNCTIONS,
        enhancements.missing_type_hints,
    ),
    Pattern(
        "os_path",
        ENHANCEMENT,
        0.05,
        "a function of os.path",
        "Use pathlib.Path.",
        (ast.Call,),
        enhancements.os_path,
    ),
)
NAMES = tuple(pattern.name for pattern in PATTERNS)
