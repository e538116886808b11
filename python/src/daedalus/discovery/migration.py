"""What a migration works on: one component of a discovery, looked at again as it is now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daedalus.discovery.directory import file_below
from daedalus.discovery.files import read
from daedalus.discovery.scan import Component, Finding, components
from daedalus.discovery.settings import Settings
from daedalus.discovery.source import Unreadable, decode
from daedalus.errors import TaskError

#: An agent sees at most 20 000 characters of what a tool gives.
PLAN_CHARS = 12_000
SOURCE_CHARS = 16_000


@dataclass(frozen=True)
class Place:
    """The directory that the items' paths are relative to, and the project of their ids."""

    top: Path
    project: str | None
    settings: Settings

    def text(self, file_path: str) -> str:
        """The content of a file below the directory."""
        relative = file_below(self.top, file_path)
        try:
            return decode(read(self.top, relative, self.settings.max_file_bytes))
        except Unreadable as why:
            raise TaskError(f"{file_path!r} cannot be read: {why.reason}", code="source_unreadable") from why

    def component(self, file_path: str, component_id: str, name: str) -> Component | None:
        """The component: by its id, else by its name, which is all that another service's id has in common."""
        relative, patterns = file_below(self.top, file_path), self.settings.in_use()
        try:
            found = list(components(self.text(file_path), relative, self.project, patterns))
        except Unreadable as why:
            raise TaskError(f"{file_path!r} cannot be read: {why.reason}", code="source_unreadable") from why
        same_id = [one for one in found if one.component_id == component_id]
        return next(iter(same_id or [one for one in found if one.name == name]), None)


def prompt(item: Mapping[str, Any]) -> str:
    """What an agent is asked to do with an item; the item itself comes as variables."""
    return (
        f"Plan the migration of the component {item['name']!r} of the file {item['file_path']!r} to current Python. "
        "component_changes tells what was found in it and what may stand there instead; read_source shows the file. "
        "Answer with one object: component_id and file_path as they are, 'plan': a list of changes, each with "
        "'factor', 'line', 'before', 'after' (code, or null) and 'advice', and 'open': the list of those enhancement "
        "opportunities and risk factors for which there is no change."
    )


def changes(place: Place, file_path: str, component_id: str, name: str, factors: list[str]) -> dict[str, Any]:
    """Concrete changes for these factors, the heaviest first; `open` has the factors that nothing was found for."""
    component = place.component(file_path, component_id, name)
    if component is None:
        return {"plan": [], "open": factors, "left_out": 0, "lines": None}
    wanted = {factor.partition(":")[0].strip() for factor in factors}
    order: Callable[[Finding], tuple[float, int]] = lambda finding: (-finding.pattern.weight, finding.line)  # noqa: E731
    found = sorted((one for one in component.findings if one.pattern.name in wanted), key=order)
    plan: list[dict[str, Any]] = []
    used = 0
    for finding in found:
        change = _change(finding)
        used += len(repr(change))
        if used > PLAN_CHARS:
            break
        plan.append(change)
    names = {finding.pattern.name for finding in found}
    left = [factor for factor in factors if factor.partition(":")[0].strip() not in names]
    lines = [component.first_line, component.last_line]
    return {"plan": plan, "open": left, "left_out": len(found) - len(plan), "lines": lines}


def check(component_id: str) -> Callable[..., bool]:
    """A check for an agent's answer; what it raises is what the model sees."""

    def is_a_migration_plan(answer: Any, _memory: Any, agent: Any = None) -> bool:
        if not isinstance(answer, dict) or answer.get("component_id") != component_id:
            raise ValueError(f"the answer must be an object with 'component_id': {component_id!r}")
        plan = answer.get("plan")
        if not isinstance(plan, list) or not all(isinstance(change, dict) for change in plan):
            raise ValueError("the answer's 'plan' must be a list of objects")
        return True

    return is_a_migration_plan


def _change(finding: Finding) -> dict[str, Any]:
    pattern = finding.pattern
    return {
        "factor": pattern.name,
        "kind": pattern.kind,
        "line": finding.line,
        "before": finding.before,
        "after": finding.after,
        "advice": pattern.advice,
    }
