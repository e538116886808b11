"""The work: questions about the example texts that the tools can answer, and a discovery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Job:
    """One task to submit."""

    name: str
    task_type: str
    payload: dict[str, Any]


def discovery(folder: Path) -> Job:
    """Finds what is worth migrating among the old-style modules; migrations follow from its result."""
    return Job("legacy-scan", "discovery", {"path": str(folder)})


def _asked(name: str, task_type: str, prompt: str) -> Job:
    return Job(name, task_type, {"prompt": prompt})


def jobs(texts: Path) -> list[Job]:
    """The batch. The prompts are plain English: a language model can answer them too."""
    light, bakery, tram = texts / "lighthouse_log.txt", texts / "bakery_history.txt", texts / "tram_report.txt"
    river, notes = texts / "river_survey.txt", texts / "release_notes.txt"
    return [
        _asked("light-summary", "research", f"Summarise '{light}' in two key sentences."),
        _asked("bakery-words", "ingest", f"How many words are in '{bakery}'?"),
        _asked("tram-total", "general", f"What is the total of the numbers before 'passengers' in '{tram}'?"),
        _asked("river-dates", "discovery", f"Which dates appear in '{river}'?"),
        _asked("river-summary", "research", f"Summarise '{river}' in three key sentences."),
        _asked("notes-dates", "ingest", f"Which dates appear in '{notes}'?"),
        _asked("river-salmon", "general", f"What is the largest of the numbers before 'salmon' in '{river}'?"),
        _asked("notes-merge", "discovery", f"Which lines of '{notes}' mention 'merge'?"),
        _asked("bakery-common", "research", f"What are the five most common words in '{bakery}'?"),
        _asked("light-words", "ingest", f"How many words are in '{light}'?"),
        _asked(
            "light-paraffin",
            "general",
            f"What is the average of the numbers before 'litres of paraffin' in '{light}'?",
        ),
        _asked(
            "longest",
            "discovery",
            f"Which of these files is the longest: '{light}', '{bakery}', '{tram}', '{river}', '{notes}'?",
        ),
        _asked("tram-summary", "research", f"Summarise '{tram}' in two key sentences."),
        _asked("notes-title", "ingest", f"What is the title of '{notes}'?"),
        _asked("bugs-total", "general", f"What is the total of the numbers before 'bugs' in '{notes}'?"),
        _asked("most-sourdough", "discovery", f"Which file mentions 'sourdough' most often: '{bakery}' or '{light}'?"),
    ]
