"""What `promtool check metrics` and the specifications ask of Prometheus text, as a list of complaints."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\n]|\\[\\\"n])*\",?)*)\})?"
    r" (?P<value>\S+)"
)
LABEL = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)=\"((?:[^\"\\]|\\.)*)\"")
TYPES = {"counter", "gauge", "histogram"}
# Not base units, which are seconds, bytes and ratios.
OTHER_UNITS = {"ms", "us", "ns", "milliseconds", "microseconds", "minutes", "hours", "kb", "mb", "kilobytes", "percent"}
ABOUT = ("HELP", "TYPE", "UNIT")


@dataclass
class Family:
    """One metric: what is said of it, and its samples."""

    name: str
    said: dict[str, str] = field(default_factory=dict)
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)


def lint(raw: bytes, openmetrics: bool) -> list[str]:
    """Every complaint about a page; none when it is as it should be."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        return [f"no UTF-8: {error}"]
    complaints: list[str] = []
    lines = text.split("\n")
    if lines.pop() != "":
        complaints.append("no line feed at the end")
    if openmetrics and (not lines or lines.pop() != "# EOF"):
        complaints.append("no EOF at the end")
    families, wrong = parse(lines, openmetrics)
    complaints += wrong
    for family in families:
        complaints += [f"{family.name}: {complaint}" for complaint in _check(family, openmetrics)]
    return complaints


def parse(lines: list[str], openmetrics: bool) -> tuple[list[Family], list[str]]:
    """The families of a page, and what is wrong with its lines."""
    families: dict[str, Family] = {}
    complaints: list[str] = []
    current: Family | None = None
    series: set[tuple[str, tuple[tuple[str, str], ...]]] = set()
    for number, line in enumerate(lines, 1):
        if line.startswith("# "):
            what, _, rest = line[2:].partition(" ")
            name, _, says = rest.partition(" ")
            if what not in ABOUT:
                complaints.append(f"line {number}: unknown comment {line}")
                continue
            if current is None or current.name != name:
                if name in families:
                    complaints.append(f"line {number}: {name} stands in two places")
                current = families.setdefault(name, Family(name))
            if what in current.said:
                complaints.append(f"line {number}: {what} of {name} is said twice")
            if current.samples:
                complaints.append(f"line {number}: {what} of {name} comes after its samples")
            current.said[what] = says
            continue
        found = SAMPLE.fullmatch(line)
        if found is None:
            complaints.append(f"line {number}: this is no sample: {line}")
            continue
        labels = dict(LABEL.findall(found["labels"] or ""))
        key = (found["name"], tuple(sorted(labels.items())))
        if key in series:
            complaints.append(f"line {number}: the series {line} is there twice")
        series.add(key)
        if current is None or found["name"] not in _names(current, openmetrics):
            complaints.append(f"line {number}: {found['name']} has no TYPE before it")
            continue
        current.samples.append((found["name"], labels, float(found["value"].replace("Inf", "inf"))))
    return list(families.values()), complaints


def _names(family: Family, openmetrics: bool) -> set[str]:
    """What the samples of a family may be called."""
    kind = family.said.get("TYPE")
    if kind == "histogram":
        return {family.name + suffix for suffix in ("_bucket", "_sum", "_count")}
    if kind == "counter" and openmetrics:
        return {family.name + "_total"}
    return {family.name} if kind is not None else set()


def _check(family: Family, openmetrics: bool) -> Iterator[str]:
    kind = family.said.get("TYPE")
    if kind not in TYPES:
        yield f"its type is {kind}"
    if not family.said.get("HELP"):
        yield "no HELP"
    if kind == "counter" and family.name.endswith("_total") == openmetrics:
        yield "a counter ends in _total, which OpenMetrics leaves out of its name"
    if kind != "counter" and family.name.endswith("_total"):
        yield "only counters end in _total"
    if not family.name.startswith("daedalus_"):
        yield "it does not say whose it is"
    if words := set(family.name.split("_")) & OTHER_UNITS:
        yield f"it is not in base units: {words}"
    unit = family.said.get("UNIT")
    if unit is not None and not family.name.endswith(f"_{unit}"):
        yield f"its name does not end in its unit, {unit}"
    if kind == "histogram" and not family.name.endswith(("_seconds", "_bytes")):
        yield "a histogram without a unit"
    if kind != "histogram":
        if any("le" in labels for _, labels, _ in family.samples):
            yield "the label le belongs to histograms"
        if kind == "counter" and any(not value >= 0 for _, _, value in family.samples):
            yield "a counter below 0"
        return
    yield from _check_histogram(family)


def _check_histogram(family: Family) -> Iterator[str]:
    by_labels: dict[tuple[tuple[str, str], ...], dict[str, list[tuple[float, float]]]] = {}
    for name, labels, value in family.samples:
        own = tuple(sorted((label, said) for label, said in labels.items() if label != "le"))
        parts = by_labels.setdefault(own, {"bucket": [], "sum": [], "count": []})
        part = name.removeprefix(family.name + "_")
        bound = float(labels["le"].replace("Inf", "inf")) if "le" in labels else math.nan
        if (part == "bucket") == math.isnan(bound):
            yield f"{name} with or without le: {labels}"
        parts[part].append((bound, value))
    for own, parts in by_labels.items():
        bounds = [bound for bound, _ in parts["bucket"]]
        counts = [count for _, count in parts["bucket"]]
        if not bounds or bounds[-1] != math.inf:
            yield f"the last bucket is not +Inf: {own}"
        if bounds != sorted(set(bounds)):
            yield f"the bounds do not grow: {own}"
        if counts != sorted(counts):
            yield f"the buckets are not cumulative: {own}"
        if len(parts["count"]) != 1 or len(parts["sum"]) != 1:
            yield f"one sum and one count belong to a histogram: {own}"
        elif counts and parts["count"][0][1] != counts[-1]:
            yield f"the count is not that of the last bucket: {own}"
