"""What the tools compute."""

from __future__ import annotations

import pytest

from daedalus import text
from daedalus.text_tools import MAX_FILE_BYTES, text_tools

TOOLS = {tool.name: tool for tool in text_tools()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("It's 1,200 well-known words, ok?", ["it's", "1,200", "well-known", "words", "ok"]),
        ("At 10:30 - no 3.5 more.", ["at", "10:30", "no", "3.5", "more"]),
        ("Ärger über Öl", ["ärger", "über", "öl"]),
        ("", []),
    ],
)
def test_words(given, expected):
    assert text.words(given) == expected


def test_common_words_leave_out_the_very_common_and_break_ties_by_the_alphabet():
    assert text.most_common_words("The fox and the dog. The dog, a cat and 77 77 77.", 2) == [("dog", 2), ("cat", 1)]


def test_sentences_know_headings_and_quotations():
    given = 'A Heading\n\nFirst one, of\ntwo lines. "Second!" Third 3.5 is one? Last without end'
    assert text.sentences(given) == ["First one, of two lines.", '"Second!"', "Third 3.5 is one?"]


def test_key_sentences_keep_the_order_of_the_text():
    given = "Rain came. The salmon river rose. The salmon left the river. Birds sang."
    assert text.key_sentences(given, 2) == ["The salmon river rose.", "The salmon left the river."]
    assert text.key_sentences(given, 99) == text.sentences(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("On 3 May 1999, May 4, 1999 and 1999-05-05.", ["1999-05-03", "1999-05-04", "1999-05-05"]),
        ("Again 3 May 1999 and 1999-05-03.", ["1999-05-03"]),
        ("In May 1999, on 41 May 1999, at 1999-13-01.", []),
    ],
)
def test_dates(given, expected):
    assert text.dates(given) == expected


@pytest.mark.parametrize(
    ("given", "unit", "expected"),
    [
        ("12 boats, 1,300 boats, 2.5 boats, -4 boats", "boats", [12, 1300, 2.5, -4]),
        ("12 boatswains and version 1.2 boats2", "boats", []),
        ("5 litres\nof paraffin", "litres of paraffin", [5]),
        ("A-12 boats", "boats", []),
    ],
)
def test_numbers_before_a_unit(given, unit, expected):
    assert text.numbers_before(given, unit) == expected


def test_number_summary():
    assert TOOLS["number_summary"](numbers=[1, 2, 6]) == {
        "count": 3,
        "total": 9,
        "mean": 3.0,
        "smallest": 1,
        "largest": 6,
    }
    with pytest.raises(ValueError, match="no numbers"):
        TOOLS["number_summary"](numbers=[])


def test_files_are_read_up_to_a_limit(tmp_path):
    path = tmp_path / "big.txt"
    path.write_bytes(b"a " * (MAX_FILE_BYTES // 2))
    assert TOOLS["count_words"](path=str(path)) == MAX_FILE_BYTES // 2
    path.write_bytes(b"a" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ValueError, match=str(MAX_FILE_BYTES)):
        TOOLS["read_text"](path=str(path))


@pytest.mark.parametrize("name", ["most_common_words", "key_sentences"])
def test_counts_are_at_least_one(tmp_path, name):
    path = tmp_path / "a.txt"
    path.write_text("Some words.")
    assert len(TOOLS[name](path=str(path), count=1)) == 1
    with pytest.raises(ValueError, match="at least 1"):
        TOOLS[name](path=str(path), count=0)
