"""Walks a directory in a fixed order and reads regular files; whatever else is there is named, never followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from daedalus.discovery.settings import Settings
from daedalus.discovery.source import Unreadable

#: So many of the files that were left out are named; all are counted.
NAMED_FILES = 20
NAMED_CHARS = 200


@dataclass
class Skipped:
    """What was left out, by reason."""

    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)

    def add(self, reason: str, path: str) -> None:
        """Note one more."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        named = self.names.setdefault(reason, [])
        if len(named) < NAMED_FILES:
            # A name need not be text; this is how it is shown.
            named.append(path.encode("utf-8", "backslashreplace").decode()[:NAMED_CHARS])

    def shown(self) -> dict[str, Any]:
        """As a part of the result."""
        return {reason: {"count": self.counts[reason], "files": self.names[reason]} for reason in sorted(self.counts)}


def walk(top: Path, settings: Settings, skipped: Skipped) -> Iterator[str]:
    """The relative paths of the wanted files, directory by directory, each sorted by name."""
    stack = [""]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(top / folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            skipped.add("unreadable", folder or ".")
            continue
        below: list[str] = []
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            if _any(settings.exclude, path, entry.name):
                continue
            try:
                is_folder, is_link = entry.is_dir(follow_symlinks=False), entry.is_symlink()
            except OSError:
                skipped.add("unreadable", path)
                continue
            if is_folder:
                below.append(path)
            elif _any(settings.include, path, entry.name):
                if is_link:
                    skipped.add("symlink", path)
                elif not path.isprintable():
                    skipped.add("name", path)
                else:
                    yield path
        stack.extend(reversed(below))


def read(top: Path, relative: str, most: int) -> bytes:
    """The content of a regular file; raises `Unreadable`. A pipe is not waited for."""
    try:
        descriptor = os.open(top / relative, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise Unreadable("unreadable") from error
    with os.fdopen(descriptor, "rb") as file:
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Unreadable("not_a_file")
            if found.st_size > most:
                raise Unreadable("too_large")
            data = file.read(most + 1)
        except OSError as error:
            raise Unreadable("unreadable") from error
    if len(data) > most:
        raise Unreadable("too_large")
    return data


def _any(globs: tuple[str, ...], path: str, name: str) -> bool:
    return any(fnmatchcase(name, glob) or fnmatchcase(path, glob) for glob in globs)
