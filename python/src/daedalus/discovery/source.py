"""A Python file as a tree that knows where its names come from."""

from __future__ import annotations

import ast
import codecs
import contextlib
import io
import re
import tokenize
import warnings

#: Codecs that decode in linear time; Python knows some that do not.
_ENCODINGS = re.compile(r"(utf-8|ascii|iso8859-\d+|cp\d+|koi8-[rtu])$")
#: CPython 3.11 needs minutes for a name of a hundred thousand parts, and nothing can interrupt it.
_LONG_NAME = re.compile(r"(?:import|from|,)(?:[ \t\f\\\n]*\w+[ \t\f\\\n]*\.){200}")
SHOWN_CHARS = 160


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
        if _LONG_NAME.search(text):
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
        self._comments: dict[int, str] | None = None
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

    def comments(self) -> dict[int, str]:
        """The comments by their lines; a tree has none."""
        if self._comments is None:
            self._comments = {}
            # Without a sign of one the slow way is saved.
            if "#" in self.text:
                with contextlib.suppress(tokenize.TokenError, SyntaxError):
                    for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
                        if token.type == tokenize.COMMENT:
                            self._comments[token.start[0]] = token.string
        return self._comments

    def line(self, number: int) -> str:
        """A line as it is shown to people."""
        shown = self.lines[number - 1].strip()
        return shown if len(shown) <= SHOWN_CHARS else f"{shown[:SHOWN_CHARS]}..."


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
    """An expression or statement as code, when Python can write it."""
    try:
        code = ast.unparse(ast.fix_missing_locations(node))
    except (RecursionError, ValueError):
        return None
    return code if len(code) <= 4 * SHOWN_CHARS else None
