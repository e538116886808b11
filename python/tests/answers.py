"""What the main job's tasks must answer, worked out without the package's own code: by hand, or with other means."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

Check = Callable[[Any], bool]


def words_of(path: Path) -> list[str]:
    """Words by splitting at spaces: the texts keep every other mark next to a word, except lone dashes."""
    return path.read_text(encoding="utf-8").split()


def sentences_of(path: Path) -> str:
    return " ".join(path.read_text(encoding="utf-8").split())


def extract(path: Path, count: int) -> Check:
    """An extractive summary: as many different whole sentences of the text, in its order."""
    text = sentences_of(path)

    def check(answer: Any) -> bool:
        places = [text.find(sentence) for sentence in answer]
        whole = all(sentence[0].isupper() and sentence[-1] in ".!?" for sentence in answer)
        return len(answer) == count and whole and -1 not in places and places == sorted(set(places))

    return check


def equal(expected: Any) -> Check:
    return lambda answer: answer == expected


def top_words(path: Path, count: int) -> Check:
    """Each word as often as claimed, the most frequent first."""
    text = path.read_text(encoding="utf-8").lower()

    def check(answer: Any) -> bool:
        times = [pair[1] for pair in answer]
        # Apostrophes and hyphens join words, so `baker's` is none of `baker`.
        right = all(len(re.findall(rf"(?<![\w'-]){word}(?![\w-]|'\w)", text)) == number for word, number in answer)
        return len(answer) == count and right and times == sorted(times, reverse=True)

    return check


def checks(texts: Path) -> dict[str, Check]:
    """One check for each job."""
    light, bakery, tram = texts / "lighthouse_log.txt", texts / "bakery_history.txt", texts / "tram_report.txt"
    river, notes = texts / "river_survey.txt", texts / "release_notes.txt"
    merges = [f"{n}: {line}" for n, line in enumerate(notes.read_text().splitlines(), 1) if "merge" in line.lower()]
    lengths = {path.name: len(words_of(path)) for path in (light, bakery, tram, river, notes)}
    sourdough = sum("sourdough" in line for line in bakery.read_text().splitlines())
    return {
        "light-summary": extract(light, 2),
        "bakery-words": equal(lengths[bakery.name]),
        "tram-total": equal(31_400 + 18_250 + 22_900 + 6_700 + 12_000),
        "river-dates": equal(
            ["2019-04-11", "2019-05-02", "2019-06-20", "2019-07-14", "2019-08-28", "2019-08-30"],
        ),
        "river-summary": extract(river, 3),
        "notes-dates": equal(
            [
                "2018-03-03",
                "2021-02-15",
                "2021-06-04",
                "2021-11-22",
                "2022-05-09",
                "2022-12-01",
                "2023-03-20",
            ]
        ),
        "river-salmon": equal(118),
        "notes-merge": equal(merges),
        "bakery-common": top_words(bakery, 5),
        "light-words": equal(lengths[light.name]),
        "light-paraffin": equal(round((14 + 260 + 17 + 11) / 4, 3)),
        "longest": equal({"file": max(lengths, key=lambda name: lengths[name]), "count": max(lengths.values())}),
        "tram-summary": extract(tram, 2),
        "notes-title": equal("Release Notes of Lattice, a Tool for Shared Calendars"),
        "bugs-total": equal(31 + 18 + 23 + 12),
        "most-sourdough": equal({"file": "bakery_history.txt", "count": sourdough}),
    }
