"""The tools of an agent that works on a migration: they read below the directory of its discovery, nothing else."""

from __future__ import annotations

from typing import Any

from smolagents import Tool

from daedalus.discovery.migration import SOURCE_CHARS, Place, changes

_FILE = {"type": "string", "description": "The item's file_path."}


def migration_tools(place: Place) -> list[Tool]:
    """A new set, for one agent."""
    return [ComponentChanges(place), ReadSource(place)]


class ComponentChanges(Tool):
    """Looks at a component again."""

    name = "component_changes"
    description = (
        "Looks at a component and proposes changes for some of its enhancement opportunities and risk factors. Returns "
        "'plan' (a list of objects: factor, kind, line, before, after, advice), 'open' (the factors that nothing was "
        "found for), 'left_out' (how many changes more there are) and 'lines' (the first and the last of the "
        "component, null when it is not there any more)."
    )
    inputs = {
        "file_path": _FILE,
        "component_id": {"type": "string", "description": "The item's component_id."},
        "name": {"type": "string", "description": "The item's name."},
        "factors": {"type": "array", "description": "The opportunities and risk factors, as the item has them."},
    }
    output_type = "object"

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def forward(self, file_path: str, component_id: str, name: str, factors: list[str]) -> dict[str, Any]:
        return changes(self._place, file_path, component_id, name, factors)


class ReadSource(Tool):
    """Shows a file."""

    name = "read_source"
    description = "Returns lines of a Python file below the discovery's directory, each as 'number: line'."
    inputs = {
        "file_path": _FILE,
        "first_line": {"type": "integer", "description": "From which line on; by default 1.", "nullable": True},
        "last_line": {"type": "integer", "description": "Up to which line; by default the last.", "nullable": True},
    }
    output_type = "string"

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._place = place

    def forward(self, file_path: str, first_line: int | None = None, last_line: int | None = None) -> str:
        lines = self._place.text(file_path).split("\n")
        first = max(1, first_line or 1)
        shown = "\n".join(f"{number}: {line}" for number, line in enumerate(lines[first - 1 : last_line], first))
        return shown if len(shown) <= SOURCE_CHARS else f"{shown[:SOURCE_CHARS]}\n... (cut: ask for fewer lines)"
