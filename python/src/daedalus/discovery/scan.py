"""Scans a directory: its files, their components, what was found in them, and how much that weighs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daedalus.discovery.files import Skipped, read, walk
from daedalus.discovery.found import Look
from daedalus.discovery.parts import Part, split
from daedalus.discovery.patterns import RISK, Pattern
from daedalus.discovery.settings import Request
from daedalus.discovery.source import Source, Unreadable, decode

#: So many occurrences of a pattern in one component count.
COUNTED = 3
#: So many lines are named in an item.
NAMED_LINES = 10
#: The daemon's key of a follow-up has room for that many characters of an id.
ID_CHARS = 160
#: What one item may add to a result beyond itself.
_COMMA_BYTES = 2

#: Told before each file: the how-manieth it is.
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Finding:
    """One occurrence of a pattern, with the line as it is and what may stand there instead."""

    pattern: Pattern
    line: int
    before: str
    after: str | None


@dataclass(frozen=True)
class Component:
    """A class, a function, or a module's own code, and what was found in it."""

    component_id: str
    name: str
    file_path: str
    first_line: int
    last_line: int
    findings: tuple[Finding, ...]

    def score(self) -> float:
        """1 - the product of (1 - weight) ^ min(occurrences, 3) over the patterns: 0 for none, never above 1."""
        rest = 1.0
        for pattern, lines in self._by_pattern():
            rest *= (1 - pattern.weight) ** min(len(lines), COUNTED)
        return round(1 - rest, 3)

    def item(self, threshold: float) -> dict[str, Any]:
        """The component as a result has it."""
        factors: dict[bool, list[str]] = {True: [], False: []}
        for pattern, lines in self._by_pattern():
            factors[pattern.kind == RISK].append(f"{pattern.name}: {pattern.meaning} ({_lines(sorted(set(lines)))})")
        score = self.score()
        return {
            "component_id": self.component_id,
            "name": self.name,
            "file_path": self.file_path,
            "composite_score": score,
            "migration_recommended": score >= threshold,
            "enhancement_opportunities": factors[False],
            "risk_factors": factors[True],
        }

    def _by_pattern(self) -> list[tuple[Pattern, list[int]]]:
        """The heaviest first."""
        lines: dict[str, list[int]] = {}
        patterns = {finding.pattern.name: finding.pattern for finding in self.findings}
        for finding in self.findings:
            lines.setdefault(finding.pattern.name, []).append(finding.line)
        order = sorted(patterns.values(), key=lambda pattern: (-pattern.weight, pattern.name))
        return [(pattern, lines[pattern.name]) for pattern in order]


def scan(top: Path, request: Request, room: int, progress: Progress) -> dict[str, Any]:
    """The result of a discovery, of at most `room` bytes: the best components first."""
    settings, skipped = request.settings, Skipped()
    patterns = settings.in_use()
    files = size = seen = 0
    stopped_by: str | None = None
    items: list[dict[str, Any]] = []
    for number, path in enumerate(walk(top, settings, skipped), 1):
        if number > settings.max_files:
            stopped_by = "max_files"
            break
        progress(number)
        try:
            data = read(top, path, settings.max_file_bytes)
            if size + len(data) > settings.max_bytes:
                stopped_by = "max_bytes"
                break
            size += len(data)
            found = list(components(decode(data), path, request.project, patterns))
        except Unreadable as why:
            skipped.add(why.reason, path)
        except (RecursionError, MemoryError):
            skipped.add("too_deep", path)
        else:
            files += 1
            seen += len(found)
            items += [component.item(settings.threshold) for component in found if component.findings]
    items.sort(key=lambda item: (-item["composite_score"], item["component_id"]))
    kept = fitting(items[: settings.limit], room)
    scanned = {
        "source": "scan",
        "files": files,
        "bytes": size,
        "components": seen,
        "with_findings": len(items),
        "recommended": sum(item["migration_recommended"] for item in items),
        "skipped": skipped.shown(),
        "stopped_by": stopped_by,
        "truncated": stopped_by is not None or len(kept) < len(items),
    }
    return {"components": kept, "scanned": scanned}


def fitting(items: list[dict[str, Any]], room: int) -> list[dict[str, Any]]:
    """As many of the first items as fit into so many bytes of JSON."""
    used = 0
    for index, item in enumerate(items):
        used += len(json.dumps(item, ensure_ascii=False).encode("utf-8", "replace")) + _COMMA_BYTES
        if used > room:
            return items[:index]
    return items


def components(text: str, path: str, project: str | None, patterns: tuple[Pattern, ...]) -> Iterator[Component]:
    """The components of one file, with and without findings; raises `Unreadable`."""
    source = Source(text)
    parts = split(source.tree, len(source.lines))
    for part in parts:
        findings = _findings(source, part, patterns)
        # A module's own code is a component when something was found in it, or when there is nothing else.
        if part.name or findings or len(parts) == 1:
            name = part.name or _module(path)
            yield Component(component_id(path, part, project), name, path, part.first_line, part.last_line, findings)


def component_id(path: str, part: Part, project: str | None) -> str:
    """Names a component in the same way in every run and on every machine: by its path and its name."""
    again = f"#{part.number}" if part.number > 1 else ""
    whole = f"{project + '/' if project else ''}{path}{f'::{part.name}{again}' if part.name else ''}"
    if len(whole) <= ID_CHARS:
        return whole
    # The digest is of the name alone: two long names that end alike stay two.
    return f"{hashlib.sha256(whole.encode()).hexdigest()[:16]}:{whole[-(ID_CHARS - 17) :]}"


def _findings(source: Source, part: Part, patterns: tuple[Pattern, ...]) -> tuple[Finding, ...]:
    look = Look(source, part)
    found: list[Finding] = []
    by_node: dict[type, list[Pattern]] = {}
    for pattern in patterns:
        for node_type in pattern.nodes:
            by_node.setdefault(node_type, []).append(pattern)
    for node, place in part.nodes:
        look.place = place
        for pattern in by_node.get(type(node), ()):
            assert pattern.find is not None
            found += [Finding(pattern, one.line, source.line(one.line), one.after) for one in pattern.find(node, look)]
    for pattern in patterns:
        if pattern.find_part is not None:
            found += [Finding(pattern, one.line, source.line(one.line), one.after) for one in pattern.find_part(look)]
    return tuple(sorted(found, key=lambda finding: (finding.line, finding.pattern.name)))


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _lines(lines: list[int]) -> str:
    named = ", ".join(map(str, lines[:NAMED_LINES]))
    more = f" and {len(lines) - NAMED_LINES} more" if len(lines) > NAMED_LINES else ""
    return f"line{'s' if len(lines) > 1 else ''} {named}{more}"
