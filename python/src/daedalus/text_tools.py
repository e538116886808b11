"""The tools that agents get: reading and measuring text files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smolagents import Tool

from daedalus import text

#: Agents read texts, not disk images.
MAX_FILE_BYTES = 4 << 20
_PATH = {"type": "string", "description": "Path of a text file."}


def text_tools() -> list[Tool]:
    """A new set: tools are as private as the agent that holds them."""
    return [
        ReadText(),
        CountWords(),
        MostCommonWords(),
        FindLines(),
        KeySentences(),
        ExtractDates(),
        ExtractNumbers(),
        NumberSummary(),
    ]


def _read(path: str) -> str:
    file = Path(path)
    size = file.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ValueError(f"{path} has {size} bytes; at most {MAX_FILE_BYTES} are read")
    return file.read_text(encoding="utf-8")


def _at_least_one(count: int) -> int:
    if count < 1:
        raise ValueError(f"count must be at least 1, found {count}")
    return count


class ReadText(Tool):
    """Reads a file."""

    name = "read_text"
    description = "Reads a text file and returns all of it."
    inputs = {"path": _PATH}
    output_type = "string"

    def forward(self, path: str) -> str:
        return _read(path)


class CountWords(Tool):
    """Counts words."""

    name = "count_words"
    description = "Counts the words of a text file; a number counts as a word."
    inputs = {"path": _PATH}
    output_type = "integer"

    def forward(self, path: str) -> int:
        return len(text.words(_read(path)))


class MostCommonWords(Tool):
    """Finds what a text is about."""

    name = "most_common_words"
    description = "Returns the most frequent words of a text file as [word, times] pairs, without words like 'the'."
    inputs = {"path": _PATH, "count": {"type": "integer", "description": "How many words."}}
    output_type = "array"

    def forward(self, path: str, count: int) -> list[list[Any]]:
        return [[word, times] for word, times in text.most_common_words(_read(path), _at_least_one(count))]


class FindLines(Tool):
    """Searches a file."""

    name = "find_lines"
    description = "Returns the lines of a text file that contain a word or phrase, each as 'number: line'."
    inputs = {"path": _PATH, "containing": {"type": "string", "description": "What to look for; case does not matter."}}
    output_type = "array"

    def forward(self, path: str, containing: str) -> list[str]:
        return text.lines_containing(_read(path), containing)


class KeySentences(Tool):
    """Summarises by extraction."""

    name = "key_sentences"
    description = "Returns the sentences of a text file that carry most of its frequent words: an extractive summary."
    inputs = {"path": _PATH, "count": {"type": "integer", "description": "How many sentences."}}
    output_type = "array"

    def forward(self, path: str, count: int) -> list[str]:
        return text.key_sentences(_read(path), _at_least_one(count))


class ExtractDates(Tool):
    """Finds dates."""

    name = "extract_dates"
    description = "Returns the full dates in a text file as YYYY-MM-DD, sorted, each once."
    inputs = {"path": _PATH}
    output_type = "array"

    def forward(self, path: str) -> list[str]:
        return text.dates(_read(path))


class ExtractNumbers(Tool):
    """Finds quantities."""

    name = "extract_numbers"
    description = "Returns the numbers that stand right before a unit in a text file, such as 12 in '12 passengers'."
    inputs = {"path": _PATH, "unit": {"type": "string", "description": "The word or words after the number."}}
    output_type = "array"

    def forward(self, path: str, unit: str) -> list[int | float]:
        return text.numbers_before(_read(path), unit)


class NumberSummary(Tool):
    """Adds up."""

    name = "number_summary"
    description = "Returns count, total, mean, smallest and largest of a list of numbers."
    inputs = {"numbers": {"type": "array", "description": "The numbers; at least one."}}
    output_type = "object"

    def forward(self, numbers: list[int | float]) -> dict[str, int | float]:
        if not numbers:
            raise ValueError("there are no numbers to sum up")
        total = sum(numbers)
        return {
            "count": len(numbers),
            "total": total,
            "mean": round(total / len(numbers), 3),
            "smallest": min(numbers),
            "largest": max(numbers),
        }
