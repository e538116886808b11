"""A Python file as a tree that knows where its names come from."""

from __future__ import annotations

import ast
import codecs
import contextlib
import functools
import io
import re
import tokenize
import warnings

from daedalus.discovery.parts import children

#: Codecs that decode in linear time; Python knows some that do not.
_ENCODINGS = re.compile(r"(utf-8|ascii|iso8859-\d+|cp\d+|koi8-[rtu])$")
#: CPython 3.11 needs minutes for a name of a hundred thousand parts, and nothing can interrupt it.
_LONG_NAME_PARTS = 200
_NAME_PARTS = re.compile(
    rf"(?:\b(?:import|from)\b|,)[ \t\f\\\n.]*((?:\w+[ \t\f\\\n]*\.[ \t\f\\\n]*){{0,{_LONG_NAME_PARTS}}})"
)
_TODO = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b")
SHOWN_CHARS = 160
#: Longer code is no proposal.
WRITTEN_CHARS = 4 * SHOWN_CHARS


class Unreadable(Exception):
    """The file is no Python that can be looked at; `reason` is one word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def decode(data: bytes) -> str:
    """The text of a file as Python reads it: by its encoding, with plain line ends."""
    if b"\0" in data:
        raise Unreadable("binary")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        if not _ENCODINGS.match(codecs.lookup(encoding.removesuffix("-sig")).name):
            raise Unreadable("encoding")
        text = data.decode(encoding)
    except (SyntaxError, UnicodeError, LookupError) as error:
        raise Unreadable("encoding") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


class Source:
    """One file: its lines, its tree, and what its names mean."""

    def __init__(self, text: str) -> None:
        if _has_long_name(text):
            raise Unreadable("too_deep")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.tree = ast.parse(text)
        except (RecursionError, MemoryError) as error:
            raise Unreadable("too_deep") from error
        except (SyntaxError, ValueError) as error:
            raise Unreadable("syntax") from error
        self.text = text
        self.lines = text.split("\n")
        self._imported: dict[str, str] = {}
        self._bound: set[str] = set()
        self._shown: dict[int, str] = {}
        for node in ast.walk(self.tree):
            self._note(node)

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for name in node.names:
                local = name.asname or name.name.partition(".")[0]
                self._imported[local] = name.name if name.asname else local
        elif isinstance(node, ast.ImportFrom):
            for name in node.names:
                self._imported[name.asname or name.name] = f"{'.' * node.level}{node.module or ''}.{name.name}"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self._bound.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            self._bound.add(node.id)
        elif isinstance(node, ast.arg):
            self._bound.add(node.arg)

    def imported(self, node: ast.expr) -> str | None:
        """The full dotted name of something that came by an import: `sp.run` after `import subprocess as sp`."""
        written = dotted(node)
        if written is None:
            return None
        head, dot, rest = written.partition(".")
        return f"{self._imported[head]}{dot}{rest}" if head in self._imported else None

    def builtin(self, node: ast.expr) -> str | None:
        """The name of something that neither an import nor the file itself defines."""
        if isinstance(node, ast.Name) and node.id not in self._imported and node.id not in self._bound:
            return node.id
        return None

    def called(self, node: ast.expr) -> str | None:
        """The full name of what was imported, any other dotted name as it is written."""
        return self.imported(node) or dotted(node)

    @functools.cached_property
    def remarks(self) -> frozenset[int]:
        """The lines with a comment that something is not finished. Found once for all components of the file."""
        lines: set[int] = set()
        # A tree has no comments; without a sign of one the slow way is saved.
        if "#" in self.text and _TODO.search(self.text):
            with contextlib.suppress(tokenize.TokenError, SyntaxError):
                for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
                    if token.type == tokenize.COMMENT and _TODO.search(token.string):
                        lines.add(token.start[0])
        return frozenset(lines)

    def line(self, number: int) -> str:
        """A line as it is shown to people."""
        # Once for a line: a long one can have thousands of findings.
        if number not in self._shown:
            shown = self.lines[number - 1].strip()
            self._shown[number] = shown if len(shown) <= SHOWN_CHARS else f"{shown[:SHOWN_CHARS]}..."
        return self._shown[number]


def _has_long_name(text: str) -> bool:
    # Every search goes on behind the last, so that no character is looked at for more than one name.
    return any(found[1].count(".") == _LONG_NAME_PARTS for found in _NAME_PARTS.finditer(text))


def dotted(node: ast.expr) -> str | None:
    """`a.b.c` as it is written; nothing for any other expression."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def written(node: ast.AST) -> str | None:
    """An expression or statement as code, when Python can write it and it is short."""
    # Calls stand in calls, and each of them may be asked for: what is too long is not written at all.
    if not _is_short(node):
        return None
    try:
        # Only a statement is asked for its line when it is written.
        code = ast.unparse(ast.fix_missing_locations(node) if isinstance(node, ast.stmt) else node)
    except (RecursionError, ValueError):
        return None
    return code if len(code) <= WRITTEN_CHARS else None


def _is_short(node: ast.AST) -> bool:
    """Counts at most what the code would have at least: the characters of its names, and one for what has none."""
    room, stack = WRITTEN_CHARS, [node]
    while stack and room >= 0:
        one = stack.pop()
        if isinstance(one, ast.Name):
            room -= len(one.id)
        elif isinstance(one, ast.Attribute):
            room -= 1 + len(one.attr)
        elif isinstance(one, ast.Call):
            room -= 2
        elif isinstance(one, (ast.expr, ast.arg, ast.keyword)):
            room -= 1
        stack += children(one)
    return room >= 0
