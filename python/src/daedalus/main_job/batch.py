"""The work: questions about the example texts that the tools can answer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One task to submit."""

    name: str
    task_type: str
    prompt: str


def jobs(texts: Path) -> list[Job]:
    """The batch. The prompts are plain English: a language model can answer them too."""
    light, bakery, tram = texts / "lighthouse_log.txt", texts / "bakery_history.txt", texts / "tram_report.txt"
    river, notes = texts / "river_survey.txt", texts / "release_notes.txt"
    return [
        Job("light-summary", "research", f"Summarise '{light}' in two key sentences."),
        Job("bakery-words", "ingest", f"How many words are in '{bakery}'?"),
        Job("tram-total", "general", f"What is the total of the numbers before 'passengers' in '{tram}'?"),
        Job("river-dates", "discovery", f"Which dates appear in '{river}'?"),
        Job("river-summary", "research", f"Summarise '{river}' in three key sentences."),
        Job("notes-dates", "ingest", f"Which dates appear in '{notes}'?"),
        Job("river-salmon", "general", f"What is the largest of the numbers before 'salmon' in '{river}'?"),
        Job("notes-merge", "discovery", f"Which lines of '{notes}' mention 'merge'?"),
        Job("bakery-common", "research", f"What are the five most common words in '{bakery}'?"),
        Job("light-words", "ingest", f"How many words are in '{light}'?"),
        Job(
            "light-paraffin", "general", f"What is the average of the numbers before 'litres of paraffin' in '{light}'?"
        ),
        Job(
            "longest",
            "discovery",
            f"Which of these files is the longest: '{light}', '{bakery}', '{tram}', '{river}', '{notes}'?",
        ),
        Job("tram-summary", "research", f"Summarise '{tram}' in two key sentences."),
        Job("notes-title", "ingest", f"What is the title of '{notes}'?"),
        Job("bugs-total", "general", f"What is the total of the numbers before 'bugs' in '{notes}'?"),
        Job("most-sourdough", "discovery", f"Which file mentions 'sourdough' most often: '{bakery}' or '{light}'?"),
    ]
