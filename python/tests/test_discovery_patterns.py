"""Each pattern: code that has it, at which lines and with what instead, and code that only looks like it."""

from __future__ import annotations

import pytest

from daedalus.discovery.patterns import NAMES, PATTERNS
from daedalus.discovery.scan import Finding, components

LONG = "def f() -> None:\n" + "    x = 1\n" * 60

#: Pattern, code, and the line and replacement of each occurrence.
HAS: list[tuple[str, str, list[tuple[int, str | None]]]] = [
    (
        "shell_command",
        "import os\nos.system('ls -l')",
        [(2, "subprocess.run(['ls', '-l'], check=True)")],
    ),
    ("shell_command", "import os\nos.system('ls | wc')", [(2, None)]),
    ("shell_command", "from os import popen as p\np('ls')", [(2, None)]),
    ("shell_command", "import subprocess as sp\nsp.run(\n    c, shell=True)", [(2, None)]),
    ("deprecated_module", "import optparse, sys", [(1, "import argparse")]),
    ("deprecated_module", "from distutils.core import setup\nsetup()", [(1, "import setuptools"), (2, None)]),
    ("dynamic_code", "eval('1')\nexec('x = 1')", [(1, None), (2, None)]),
    ("unsafe_deserialization", "import pickle\npickle.loads(b)", [(2, None)]),
    ("unsafe_deserialization", "import yaml\nyaml.load(t)", [(2, "yaml.safe_load(t)")]),
    (
        "blocking_in_async",
        "import time\nasync def f():\n    time.sleep(1)",
        [(3, "await asyncio.sleep(1)")],
    ),
    (
        "blocking_in_async",
        "import requests\nclass A:\n    async def f(self):\n        requests.get(u, timeout=3)",
        [(4, "await asyncio.to_thread(requests.get, u, timeout=3)")],
    ),
    ("bare_except", "try:\n    f()\nexcept:\n    g()", [(3, "except Exception:")]),
    (
        "mutable_default",
        "def f(a, b=[], *, c={}): pass",
        [
            (
                1,
                "def f(a, b=None, *, c=None):\n    if b is None:\n        b = []\n    if c is None:\n        c = {}",
            )
        ],
    ),
    ("mutable_default", "def f(a=list()): pass", [(1, "def f(a=None):\n    if a is None:\n        a = list()")]),
    ("mutable_default", "g = lambda a=[]: a", [(1, None)]),
    ("python2_idiom", "class A(object): pass", [(1, "class A:")]),
    (
        "python2_idiom",
        "class A(B, object):\n    def f(self):\n        super(A, self).f()",
        [(1, "class A(B):"), (3, "super()")],
    ),
    ("python2_idiom", "for k in d.iteritems(): pass", [(1, "d.items()")]),
    ("python2_idiom", "d.has_key(k)", [(1, "k in d")]),
    ("python2_idiom", "for i in xrange(3): unicode(i)", [(1, "range(3)"), (1, None)]),
    ("python2_idiom", "import six\nfrom __future__ import print_function", [(1, None), (2, None)]),
    ("swallowed_exception", "try:\n    f()\nexcept ValueError:\n    pass", [(3, None)]),
    ("swallowed_exception", "try:\n    f()\nexcept ValueError:\n    ...", [(3, None)]),
    ("open_without_with", "f = open('x')", [(1, "with open('x') as file:")]),
    ("open_without_with", "import io\nio.open('x').read()", [(2, "with io.open('x') as file:")]),
    ("global_state", "def f():\n    global a\n    a = 1", [(2, None)]),
    ("long_function", LONG, [(1, None)]),
    ("todo_density", "# TODO one\nx = 1  # FIXME: two", [(1, None), (2, None)]),
    ("percent_format", "'%s: %d' % (a, b.c)", [(1, "f'{a}: {b.c:d}'")]),
    ("percent_format", "'%5.2f%% of %r' % (x, y)", [(1, "f'{x:5.2f}% of {y!r}'")]),
    ("percent_format", "'%(a)s' % d\n'%s %s' % x\n'%-5s' % x", [(1, None), (2, None), (3, None)]),
    ("type_comparison", "type(x) == int", [(1, "isinstance(x, int)")]),
    ("type_comparison", "type(x) is not int", [(1, "not isinstance(x, int)")]),
    ("print_logging", "print('a')\nprint(a, b)", [(1, "logger.info('a')"), (2, None)]),
    ("missing_type_hints", "def f(a: int): pass\ndef g(a) -> None: pass", [(1, None), (2, None)]),
    ("missing_type_hints", "class A:\n    def f(self, *a) -> None: pass", [(2, None)]),
    ("os_path", "import os\nos.path.join(a, b)", [(2, None)]),
    ("os_path", "from os import path\npath.exists(a)", [(2, None)]),
]
#: Pattern, and code that does not have it.
HAS_NOT: list[tuple[str, str]] = [
    ("shell_command", "import subprocess\nsubprocess.run(['ls'], shell=False)\nos.system('ls')"),
    ("deprecated_module", "import importlib\nfrom .imp import x\nfrom impala import y"),
    ("dynamic_code", "import ast\nast.literal_eval('1')\nmodel.eval()\ndef exec(x): pass\nexec(1)"),
    (
        "unsafe_deserialization",
        "import json, yaml\njson.loads(t)\nyaml.load(t, Loader=yaml.SafeLoader)\npickle.load(f)",
    ),
    (
        "blocking_in_async",
        "import time\ndef f(): time.sleep(1)\nasync def g():\n    def h(): time.sleep(1)\n    lambda: time.sleep(1)",
    ),
    ("bare_except", "try:\n    f()\nexcept (OSError, Exception):\n    g()"),
    ("mutable_default", "def f(a=(), b=None, c='', *, d): pass\nclass A:\n    x = []"),
    (
        "python2_idiom",
        "class A(B): pass\nsuper().f()\ndef xrange(): pass\nxrange()\nfrom __future__ import annotations",
    ),
    ("swallowed_exception", "try:\n    f()\nexcept ValueError:\n    x = 1"),
    (
        "open_without_with",
        "import contextlib\nwith open('x') as f: pass\ndef g():\n    return open('x')\n"
        "stack.enter_context(open('x'))\ncontextlib.closing(open('x'))\nself.open('x')",
    ),
    ("global_state", "a = 1\ndef f():\n    a = 2\n    def g():\n        nonlocal a"),
    ("long_function", LONG.removesuffix("    x = 1\n")),
    ("todo_density", "# TODO one\nx = '# TODO two'\n"),
    ("todo_density", "# TODO one\n# TODO two\n" + "x = 1\n" * 50),
    ("percent_format", "a % b\n7 % 2\nb'%d' % x\n'{}'.format(x)"),
    ("type_comparison", "type(x)\nisinstance(x, int)\ntype(x) in (int, str)\nx == int"),
    ("print_logging", "log.print('a')\ndef print(x): pass\nprint('a')"),
    (
        "missing_type_hints",
        "class A:\n    def __init__(self): pass\n    @staticmethod\n    def s(a: int) -> int: pass\n"
        "    def f(self, a: int, *b: int, **c: int) -> None: pass",
    ),
    ("os_path", "from pathlib import Path\nPath(a) / b\nos.path.join(a, b)"),
]


def found(code: str, name: str) -> list[Finding]:
    return sorted(
        (one for part in components(code, "m.py", None, PATTERNS) for one in part.findings if one.pattern.name == name),
        key=lambda one: one.line,
    )


@pytest.mark.parametrize(("name", "code", "expected"), HAS)
def test_code_that_has_it(name: str, code: str, expected: list[tuple[int, str | None]]) -> None:
    assert [(one.line, one.after) for one in found(code, name)] == expected
    for one in found(code, name):
        assert one.before == code.split("\n")[one.line - 1].strip()[: len(one.before)]


@pytest.mark.parametrize(("name", "code"), HAS_NOT)
def test_code_that_has_it_not(name: str, code: str) -> None:
    assert found(code, name) == []


def test_every_pattern_is_tried_both_ways() -> None:
    assert {name for name, *_ in HAS} == {name for name, _ in HAS_NOT} == set(NAMES)
    assert len(NAMES) == len(set(NAMES))
    assert all(0 < pattern.weight < 1 and pattern.meaning and pattern.advice for pattern in PATTERNS)
    assert all((pattern.find is None) != (pattern.find_part is None) for pattern in PATTERNS)


def test_what_stands_instead_is_python() -> None:
    for name, code, _ in HAS:
        for after in (one.after for one in found(code, name) if one.after):
            block = f"{after}\n    pass" if after.startswith(("class", "with", "def")) else after
            block = f"try:\n    pass\n{after}\n    pass" if after.startswith("except") else block
            compile("async def f():\n    " + block.replace("\n", "\n    "), name, "exec")


def test_a_new_f_string_says_what_the_template_said() -> None:
    values = {"a": "ab", "b": 7, "c": 2.5}
    for template in ("%s|%5s|%.1s", "%r %% %s %s", "%05d"):
        count = template.replace("%%", "").count("%")
        names = list("aab")[:count] if count > 1 else ["b"]
        code = f"{template!r} % ({', '.join(names)},)"
        (one,) = found(code, "percent_format")
        assert one.after is not None
        assert eval(one.after, dict(values)) == eval(code, dict(values)), code
