"""What the tools compute about a text; plain functions without smolagents, each deterministic."""

from __future__ import annotations

import re
from collections import Counter

#: Words that say nothing about a text's subject.
COMMON_WORDS = frozenset(
    """
    a about after all also an and any are as at be because been before both but by can could did do does each
    for from had has have he her his if in into is it its more most no not of off on one only or other our out
    over own s she so some such than that the their them then there these they this those through to too two
    under until up very was we were what when where which while who will with would
    """.split()  # noqa: SIM905
)
MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip

_WORD = re.compile(r"[^\W_]+(?:(?:['’-]|(?<=\d)[.,:/](?=\d))[^\W_]+)*")
_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"'”’)]))\s+(?=[\"'“‘(]?[A-Z0-9])")
_MONTH = "|".join(MONTHS)
_DATE = re.compile(
    rf"\b(?:(?P<iso_year>\d{{4}})-(?P<iso_month>\d{{2}})-(?P<iso_day>\d{{2}})"
    rf"|(?P<day>\d{{1,2}}) (?P<month>{_MONTH}) (?P<year>\d{{4}})"
    rf"|(?P<us_month>{_MONTH}) (?P<us_day>\d{{1,2}}), (?P<us_year>\d{{4}}))\b"
)
_NUMBER = r"(?<![\w.,-])(-?\d+(?:,\d{3})*(?:\.\d+)?)"


def words(text: str) -> list[str]:
    """The words of a text in their order, in lower case; a number is a word."""
    return [word.lower() for word in _WORD.findall(text)]


def most_common_words(text: str, count: int) -> list[tuple[str, int]]:
    """The words that appear most often, without very common ones and numbers; ties go by the alphabet."""
    counts = Counter(
        word for word in words(text) if len(word) > 2 and word not in COMMON_WORDS and not word[0].isdigit()
    )
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:count]


def sentences(text: str) -> list[str]:
    """The sentences of the paragraphs; a paragraph without a full stop, such as a heading, is none."""
    found: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        joined = " ".join(paragraph.split())
        found += [part for part in _SENTENCE_END.split(joined) if part.rstrip("\"'”’)").endswith((".", "!", "?"))]
    return found


def key_sentences(text: str, count: int) -> list[str]:
    """The sentences whose words are the most frequent of the text, in the text's order."""
    weights = dict(most_common_words(text, len(text)))

    def score(sentence: str) -> float:
        own = words(sentence)
        # The root keeps long sentences from winning by length alone.
        return sum(weights.get(word, 0) for word in own) / (len(own) ** 0.5) if own else 0.0

    every = sentences(text)
    best = sorted(range(len(every)), key=lambda index: (-score(every[index]), index))[:count]
    return [every[index] for index in sorted(best)]


def dates(text: str) -> list[str]:
    """The full dates of a text as YYYY-MM-DD, sorted, each once."""
    found = set()
    for match in _DATE.finditer(text):
        part = match.groupdict()
        if part["iso_year"]:
            year, month, day = int(part["iso_year"]), int(part["iso_month"]), int(part["iso_day"])
        else:
            name = part["month"] or part["us_month"]
            year, month = int(part["year"] or part["us_year"]), MONTHS.index(name) + 1
            day = int(part["day"] or part["us_day"])
        if 1 <= month <= 12 and 1 <= day <= 31:
            found.add(f"{year:04}-{month:02}-{day:02}")
    return sorted(found)


def numbers_before(text: str, unit: str) -> list[int | float]:
    """The numbers that stand right before `unit`, in their order; thousands may have commas."""
    pattern = re.compile(
        _NUMBER + r"\s+" + r"\s+".join(re.escape(part) for part in unit.split()) + r"\b", re.IGNORECASE
    )
    plain = (digits.replace(",", "") for digits in pattern.findall(text))
    return [float(digits) if "." in digits else int(digits) for digits in plain]


def lines_containing(text: str, wanted: str) -> list[str]:
    """The lines with `wanted` in them, whatever the case, each as `number: line`."""
    wanted = wanted.lower()
    return [f"{index}: {line.strip()}" for index, line in enumerate(text.splitlines(), 1) if wanted in line.lower()]
