"""Turns a prompt into calls of tools, by rules. No language model is at work here."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from daedalus.errors import TaskError

ABILITIES = (
    "count words; most common words; lines that mention 'X'; key sentences or a summary; dates; "
    "total, mean, smallest or largest of the numbers before 'UNIT'; which of several files is longest, shortest "
    "or mentions 'X' most; the first line; the migration of a component that a discovery found"
)
DEFAULT_COUNT = 3
#: What smolagents writes between the prompt and the rest of the payload.
_ARGUMENTS = re.compile(
    r"\nYou have been provided with these additional arguments[^\n]*\n(?P<dict>\{.*\})\.\s*$", re.DOTALL
)
_MIGRATION = "Plan the migration of the component "
_QUOTED = re.compile(r"'([^'\n]+)'|\"([^\"\n]+)\"|`([^`\n]+)`")
_BARE_PATH = re.compile(r"(?<!\S)(\S+\.(?:txt|md|log|csv|rst))(?=[\s,;:?!.)]|$)", re.IGNORECASE)
_FILE_NAME = re.compile(r"\S\.(?:txt|md|log|csv|rst)$", re.IGNORECASE)
_COUNTS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}


class OfflineCannotPlan(TaskError):
    """No rule fits, or a step of the plan failed; a real model might still manage."""

    code = "OFFLINE_CANNOT_PLAN"


@dataclass(frozen=True)
class Call:
    """One tool call; an argument may refer to what an earlier call gave."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Earlier:
    """Stands for the result of the call with this index."""

    index: int


@dataclass(frozen=True)
class Plan:
    """The calls in their order, and how the answer is made of their results."""

    calls: tuple[Call, ...]
    answer: Callable[[list[Any]], Any]


@dataclass(frozen=True)
class Request:
    """What the rules look at."""

    words: str
    paths: tuple[str, ...]
    quoted: tuple[str, ...]

    def has(self, pattern: str) -> bool:
        """Whether the prompt, without paths and quotations, matches."""
        return re.search(pattern, self.words) is not None

    def count(self) -> int:
        """The first number of the prompt, in digits or as a word up to ten."""
        for word in re.findall(r"[a-z]+|\d+", self.words):
            if word.isdigit() or word in _COUNTS:
                return int(_COUNTS.get(word, word))
        return DEFAULT_COUNT

    def term(self) -> str:
        """What is asked for, in quotation marks."""
        if not self.quoted:
            raise OfflineCannotPlan(f"{cannot()} The word to look for must stand in quotation marks.")
        return self.quoted[0]


def cannot() -> str:
    """The sentence that begins each refusal."""
    return f"The offline rules are not a language model and can only plan: {ABILITIES}."


def read_request(task: str) -> Request:
    """Split a task's text into its words, the files it names and what it quotes."""
    prompt, arguments = _split_arguments(task)
    paths: list[str] = []
    quoted: list[str] = []

    def take_quoted(match: re.Match[str]) -> str:
        content = next(group for group in match.groups() if group is not None)
        (paths if _FILE_NAME.search(content) else quoted).append(content)
        return " "

    def take_path(match: re.Match[str]) -> str:
        paths.append(match.group(1))
        return " "

    rest = _BARE_PATH.sub(take_path, _QUOTED.sub(take_quoted, prompt))
    given = [arguments.get("path")] if "path" in arguments else arguments.get("paths", [])
    paths += [path for path in given if isinstance(path, str)] if isinstance(given, list) else []
    return Request(rest.lower(), tuple(dict.fromkeys(paths)), tuple(quoted))


def plan(task: str) -> Plan:
    """Find the rule for a task, or raise `OfflineCannotPlan`."""
    prompt, arguments = _split_arguments(task)
    if prompt.startswith(_MIGRATION) and {"component_id", "file_path", "name"} <= arguments.keys():
        return _migrate(arguments)
    request = read_request(task)
    if not request.paths:
        raise OfflineCannotPlan(f"{cannot()} The prompt names no text file.")
    if len(request.paths) > 1:
        return _compare(request)
    return _single(request, request.paths[0])


def _single(request: Request, path: str) -> Plan:
    one: Callable[[str, dict[str, Any]], Plan] = lambda tool, more: Plan((Call(tool, {"path": path, **more}),), _last)  # noqa: E731
    if request.has(r"\b(total|sum|add up|mean|average|largest|smallest|highest|lowest)\b"):
        return _arithmetic(request, path)
    if request.has(r"\b(most (common|frequent)|frequent) words?\b"):
        return one("most_common_words", {"count": request.count()})
    if request.has(r"\blines?\b.*\b(mention|contain|with)"):
        found = one("find_lines", {"containing": request.term()})
        return Plan(found.calls, lambda results: len(results[-1])) if request.has(r"\bhow many lines\b") else found
    if request.has(r"\bhow many words\b|\bcount (the |all )?words\b|\bword count\b"):
        return one("count_words", {})
    if request.has(r"\b(summar|key sentences|key points|main points)"):
        return one("key_sentences", {"count": request.count()})
    if request.has(r"\bdates?\b"):
        found = one("extract_dates", {})
        return Plan(found.calls, lambda results: len(results[-1])) if request.has(r"\bhow many\b") else found
    if request.has(r"\b(first line|title|heading)\b"):
        return Plan(one("read_text", {}).calls, lambda results: results[0].strip().splitlines()[0].strip())
    raise OfflineCannotPlan(cannot())


def _arithmetic(request: Request, path: str) -> Plan:
    wanted = next(
        key
        for key, pattern in (
            ("mean", r"\b(mean|average)\b"),
            ("largest", r"\b(largest|highest)\b"),
            ("smallest", r"\b(smallest|lowest)\b"),
            ("total", r""),
        )
        if request.has(pattern)
    )
    calls = (
        Call("extract_numbers", {"path": path, "unit": request.term()}),
        Call("number_summary", {"numbers": Earlier(0)}),
    )
    return Plan(calls, lambda results: results[-1][wanted])


def _compare(request: Request) -> Plan:
    paths = request.paths
    if request.has(r"\b(longest|most words|shortest|fewest words)\b"):
        calls = tuple(Call("count_words", {"path": path}) for path in paths)
        best = min if request.has(r"\b(shortest|fewest)\b") else max
        return Plan(calls, lambda results: _named(best(range(len(paths)), key=results.__getitem__), paths, results))
    if request.has(r"\bmentions?\b.*\bmost\b|\bmost (often|mentions)\b"):
        term = request.term()
        calls = tuple(Call("find_lines", {"path": path, "containing": term}) for path in paths)

        def most(results: list[Any]) -> Any:
            counts = [len(lines) for lines in results]
            return _named(max(range(len(paths)), key=counts.__getitem__), paths, counts)

        return Plan(calls, most)
    raise OfflineCannotPlan(
        f"{cannot()} Of several files only the longest, the shortest or the most mentions are compared."
    )


def _migrate(item: dict[str, Any]) -> Plan:
    """Look at the component as it is now, and take over what the tool proposes for what its discovery found."""
    known = {key: item[key] for key in ("component_id", "file_path", "name")}
    factors = [*item.get("enhancement_opportunities", []), *item.get("risk_factors", [])]

    def answer(results: list[Any]) -> Any:
        return {**known, **results[-1]}

    return Plan((Call("component_changes", {**known, "factors": factors}),), answer)


def _named(index: int, paths: tuple[str, ...], numbers: list[int]) -> dict[str, Any]:
    return {"file": PurePath(paths[index]).name, "count": numbers[index]}


def _last(results: list[Any]) -> Any:
    return results[-1]


def _split_arguments(task: str) -> tuple[str, dict[str, Any]]:
    match = _ARGUMENTS.search(task)
    if match is None:
        return task, {}
    try:
        arguments = ast.literal_eval(match.group("dict"))
    except (ValueError, SyntaxError):
        arguments = {}
    return task[: match.start()], arguments if isinstance(arguments, dict) else {}
