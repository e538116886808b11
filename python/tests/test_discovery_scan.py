"""Scans of whole directories: what comes out, in which order, and what nothing can break."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from daedalus.discovery import source
from daedalus.discovery.items import KEYS, item
from daedalus.discovery.patterns import PATTERNS
from daedalus.discovery.scan import COUNTED, ID_CHARS, components, scan
from daedalus.discovery.settings import request, settings
from daedalus.discovery.source import WRITTEN_CHARS, Source, Unreadable, _has_long_name, decode

ROOM = 1 << 20


def look(top: Path, room: int = ROOM, configured: dict[str, Any] | None = None, **asked: Any) -> dict[str, Any]:
    result = scan(top, request({"path": str(top), **asked}, settings(configured or {})), room, lambda _file: None)
    assert list(result) == ["components", "scanned"]
    for index, one in enumerate(result["components"]):
        assert list(one) == list(KEYS)
        assert item(f"[{index}]", one) == one
        assert 0 < one["composite_score"] <= 1
    ids = [one["component_id"] for one in result["components"]]
    assert len(set(ids)) == len(ids)
    assert json.loads(json.dumps(result)) == result
    return result


def ids(result: dict[str, Any]) -> list[str]:
    return [one["component_id"] for one in result["components"]]


def write(top: Path, **files: str) -> Path:
    for name, text in files.items():
        path = top / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return top


SHELL = "import os\ndef f() -> None:\n    os.system('ls')\n"


def test_the_score_is_what_the_formula_says(tmp_path: Path) -> None:
    write(tmp_path, a="def f() -> None:\n    global x\n    print(1)\n    print(2)\n    print(3)\n    print(4)\n")
    (one,) = look(tmp_path)["components"]
    assert COUNTED == 3
    assert one["composite_score"] == round(1 - (1 - 0.2) * (1 - 0.05) ** 3, 3)
    assert not one["migration_recommended"]
    assert one["risk_factors"] == ["global_state: a function that assigns to the module's variables (line 2)"]
    assert one["enhancement_opportunities"] == [
        "print_logging: print, where a logger could say more (lines 3, 4, 5, 6)"
    ]


def test_the_threshold_recommends(tmp_path: Path) -> None:
    write(tmp_path, a=SHELL)
    for threshold, recommended in ((0.5, True), (0.51, False)):
        result = look(tmp_path, threshold=threshold)
        assert result["components"][0]["migration_recommended"] is recommended
        assert result["scanned"]["recommended"] == int(recommended)


def test_components_are_classes_functions_and_what_is_left_of_the_module(tmp_path: Path) -> None:
    write(
        tmp_path,
        a="import optparse\nif x:\n    def f(): pass\nelse:\n    def f(): pass\nclass A(object): pass\n",
        pkg__setup="print(1)\n",
        pkg__clean="def f() -> None: pass\n",
        empty="",
    )
    (tmp_path / "pkg" / "setup.py").rename(tmp_path / "pkg" / "__init__.py")
    result = look(tmp_path)
    assert sorted(ids(result)) == ["a.py", "a.py::A", "a.py::f", "a.py::f#2", "pkg/__init__.py"]
    names = {one["component_id"]: one["name"] for one in result["components"]}
    assert names == {"a.py": "a", "a.py::A": "A", "a.py::f": "f", "a.py::f#2": "f", "pkg/__init__.py": "pkg"}
    # The clean function, and the empty module, which is all that its file has.
    assert result["scanned"]["components"] == 7
    assert result["scanned"]["with_findings"] == 5
    assert ids(look(tmp_path, project="tram"))[0].startswith("tram/a.py")


def test_ids_are_the_same_in_every_run_and_place(tmp_path: Path) -> None:
    one, two = write(tmp_path / "one", b=SHELL, a__a=SHELL), tmp_path / "two"
    write(two, a__a="\n\n" + SHELL, b=SHELL + "x = 1\n")
    assert ids(look(one)) == ids(look(one)) == ids(look(two)) == ["a/a.py::f", "b.py::f"]
    assert {one["file_path"] for one in look(one)["components"]} == {"a/a.py", "b.py"}


def test_a_long_id_still_fits_a_key_and_is_its_own(tmp_path: Path) -> None:
    deep = "/".join(["d" * 60] * 4)
    for number in (1, 2):
        folder = tmp_path / str(number) / deep
        folder.mkdir(parents=True)
        (folder / "m.py").write_text(SHELL)
    found = ids(look(tmp_path))
    assert len(found) == 2
    assert all(len(one) == ID_CHARS and one.endswith("m.py::f") for one in found)


def test_the_best_come_first_and_the_rest_is_cut(tmp_path: Path) -> None:
    write(tmp_path, **{f"m{number:03}": SHELL + "    global x\n" * (number % 2) for number in range(100)})
    whole = look(tmp_path)
    scores = [one["composite_score"] for one in whole["components"]]
    assert scores == sorted(scores, reverse=True)
    assert ids(whole) == sorted(ids(whole)[:50]) + sorted(ids(whole)[50:])
    assert not whole["scanned"]["truncated"]
    some = look(tmp_path, limit=7)
    assert ids(some) == ids(whole)[:7]
    assert some["scanned"]["truncated"] and some["scanned"]["with_findings"] == 100
    small = look(tmp_path, room=5000)
    assert 5 < len(small["components"]) < 30
    assert ids(small) == ids(whole)[: len(small["components"])]
    assert small["scanned"]["truncated"]
    assert len(json.dumps(small["components"])) < 5000


def test_include_and_exclude(tmp_path: Path) -> None:
    write(tmp_path, a=SHELL, sub__b=SHELL, sub__gen__c=SHELL, venv__d=SHELL, x__venv__d=SHELL)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "e.py").write_text(SHELL)
    (tmp_path / "f.txt").write_text(SHELL)
    assert sorted(ids(look(tmp_path))) == ["a.py::f", "sub/b.py::f", "sub/gen/c.py::f"]
    assert ids(look(tmp_path, exclude=["sub/gen", "venv", ".*", "a.py"])) == ["sub/b.py::f"]
    assert ids(look(tmp_path, include=["*.txt"])) == ["f.txt::f"]


def test_what_cannot_be_read_is_counted_and_named(tmp_path: Path) -> None:
    write(
        tmp_path, good=SHELL, syntax="print 'python 2'\n", deep="-" * 50_000 + "1", long=f"import a{'.b' * 100_000}\n"
    )
    (tmp_path / "nul.py").write_bytes(b"x = 1\0")
    (tmp_path / "latin.py").write_bytes("# -*- coding: latin-1 -*-\nx = 'ä'\n".encode("latin-1") + SHELL.encode())
    (tmp_path / "mixed.py").write_bytes("x = 'ä'".encode("latin-1"))
    (tmp_path / "codec.py").write_bytes(b"# coding: idna\nx = 1\n")
    (tmp_path / "nocodec.py").write_bytes(b"# coding: none-such\nx = 1\n")
    (tmp_path / "large.py").write_text("x = 1\n" * 400_000)
    (tmp_path / "link.py").symlink_to(tmp_path / "good.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.py").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder.py").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.py"))).write_text(SHELL)
    (tmp_path / "line\nbreak.py").write_text(SHELL)
    result = look(tmp_path)
    assert sorted(ids(result)) == ["good.py::f", "latin.py::f"]
    assert result["scanned"]["files"] == 2
    skipped = {reason: (one["count"], one["files"]) for reason, one in result["scanned"]["skipped"].items()}
    assert skipped == {
        "binary": (1, ["nul.py"]),
        "encoding": (3, ["codec.py", "mixed.py", "nocodec.py"]),
        "name": (2, ["line\nbreak.py", "\\udcff.py"]),
        "not_a_file": (1, ["pipe.py"]),
        "symlink": (2, ["gone.py", "link.py"]),
        "syntax": (1, ["syntax.py"]),
        "too_deep": (2, ["deep.py", "long.py"]),
        "too_large": (1, ["large.py"]),
    }


def test_what_the_user_may_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, a=SHELL, b=SHELL, sub__c=SHELL)

    def forbids(call: Callable[..., Any], name: str) -> Callable[..., Any]:
        def instead(path: Any, *more: Any) -> Any:
            if Path(path).name == name:
                raise PermissionError
            return call(path, *more)

        return instead

    monkeypatch.setattr(os, "open", forbids(os.open, "a.py"))
    monkeypatch.setattr(os, "scandir", forbids(os.scandir, "sub"))
    result = look(tmp_path)
    assert result["scanned"]["skipped"] == {"unreadable": {"count": 2, "files": ["a.py", "sub"]}}
    assert ids(result) == ["b.py::f"]


@pytest.mark.parametrize(
    ("configured", "files", "why"),
    [({"max_files": 3}, 3, "max_files"), ({"max_bytes": 4 * len(SHELL)}, 4, "max_bytes"), ({"max_files": 9}, 9, None)],
)
def test_a_scan_ends_at_its_limits(tmp_path: Path, configured: dict[str, Any], files: int, why: str | None) -> None:
    write(tmp_path, **{f"m{number}": SHELL for number in range(9)})
    scanned = look(tmp_path, configured=configured)["scanned"]
    assert (scanned["files"], scanned["stopped_by"], scanned["truncated"]) == (files, why, why is not None)
    assert scanned["bytes"] == files * len(SHELL)


def test_a_real_package() -> None:
    top = Path(asyncio.__file__).parent
    result = look(top)
    scanned = result["scanned"]
    assert scanned["files"] == len(list(top.glob("*.py")))
    assert scanned["skipped"] == {}
    definitions = sum(
        isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for path in top.glob("*.py")
        for node in ast.parse(path.read_bytes()).body
    )
    assert scanned["components"] >= definitions > 150
    by_id = {one["component_id"]: one for one in result["components"]}
    # asyncio has hardly a type hint, and one long-known bare except in its queues.
    assert any(line.startswith("missing_type_hints") for line in by_id["queues.py::Queue"]["enhancement_opportunities"])
    assert any(line.startswith("bare_except") for line in by_id["queues.py::Queue"]["risk_factors"])
    assert 0 < scanned["recommended"] < scanned["with_findings"] / 2


class Counted:
    """A regular expression that notes how many characters it has looked at."""

    def __init__(self, expression: re.Pattern[str]) -> None:
        self.expression, self.characters = expression, 0

    def search(self, text: str) -> re.Match[str] | None:
        self.characters += len(text)
        return self.expression.search(text)


@pytest.mark.parametrize("end", ["", "# TODO last\n# FIXME of all\n"])
def test_remarks_are_looked_for_once_for_a_file(monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    counted = Counted(source._TODO)
    monkeypatch.setattr(source, "_TODO", counted)
    text = "".join(f"def f{n}() -> int:\n    # one\n    return {n}  # two\n" for n in range(3000)) + end
    found = list(components(text, "m.py", None, PATTERNS))
    assert len(found) >= 3000
    assert [one.name for one in found if one.findings] == ["m"] * bool(end)
    assert len(text) <= counted.characters <= 2 * len(text)


@pytest.mark.parametrize(
    "before", ["import ", "from ", "from .", "from.. ", "import x, ", "import\\\n", "if 1: import "]
)
def test_a_long_name_is_found_wherever_it_stands(before: str) -> None:
    after = " import y" if "from" in before else ""
    for parts, fits in ((150, True), (300, False)):
        text = f"{before}a{'.b' * (parts - 1)}{after}\n"
        if fits:
            assert Source(text).text == text
        else:
            with pytest.raises(Unreadable, match="too_deep"):
                Source(text)


@pytest.mark.parametrize(
    "text",
    [
        "import" * 160_000,
        "from." * 190_000,
        ("import . " * 199 + ";") * 500,
        "import" + " " * 900_000,
        "from " + ". " * 450_000,
        ", a" * 300_000,
        ("," + "a." * 199 + ";") * 2500,
    ],
    ids=range(7),
)
def test_nothing_takes_long_to_be_searched_for_long_names(text: str) -> None:
    began = time.monotonic()
    _has_long_name(text)
    # What goes back over the text for each beginning takes minutes.
    assert time.monotonic() - began < 10


def test_calls_in_calls_are_not_all_written(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    unparse = ast.unparse

    def counted(node: ast.AST) -> str:
        code = unparse(node)
        sizes.append(len(code))
        return code

    monkeypatch.setattr(ast, "unparse", counted)
    (one,) = components(f"d{'.iteritems()' * 300}\n", "m.py", None, PATTERNS)
    assert len(one.findings) == 300
    proposed = [len(finding.after) for finding in one.findings if finding.after]
    # d.items(), d.items().items() ... : the 71st is too long.
    assert sorted(proposed)[0] == len("d.items()")
    assert 40 < len(proposed) <= len(sizes) < 100
    assert max(proposed) <= WRITTEN_CHARS


FRAGMENTS = st.sampled_from(
    [
        "def f(a=[]):\n",
        "    ",
        "\t",
        "class A(object):",
        "try:",
        "except:",
        "pass\n",
        "'%s' % ",
        "(",
        ")",
        "print(",
        "\n",
    ]
    + [
        "async ",
        "await ",
        "lambda: ",
        "global x",
        "import os, imp\n",
        "os.system('",
        "f'{x",
        "}",
        "#TODO\n",
        "\f",
        "\r",
        "é",
        "\0",
    ]
    + [
        "# coding: latin-1\n",
        "\ufeff",
        "\\\n",
        "'''",
        "match x:\n",
        "case _:",
        "@x\n",
        "x: int = ",
        "*",
        "**",
        ":=",
        "𝒳",
    ]
)


@with_settings(max_examples=400, deadline=None, database=None)
@given(st.one_of(st.binary(max_size=200), st.lists(FRAGMENTS, max_size=30).map(lambda parts: "".join(parts).encode())))
def test_no_file_breaks_it(data: bytes) -> None:
    try:
        found = list(components(decode(data), "m.py", None, PATTERNS))
    except Unreadable as why:
        assert why.reason in ("binary", "encoding", "syntax", "too_deep")
        return
    for component in found:
        item("item", component.item(0.5))
        assert all(finding.line >= 1 for finding in component.findings)
