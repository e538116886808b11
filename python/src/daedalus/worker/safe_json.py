"""JSON that the daemon's strict parser takes: results are checked and never changed, notes are cut and say so."""

from __future__ import annotations

import json
import math
from typing import Any

#: The daemon's parser stops at 127 levels, and a result is put into other objects on its way.
MAX_DEPTH = 100
INT_MIN, INT_MAX = -(2**63), 2**64 - 1


class NotJson(Exception):
    """The value cannot be written as JSON without changing it; says where and why."""


def require_json(value: object, where: str = "output") -> Any:
    """Return `value` built of plain JSON types only, or raise `NotJson`.

    Tuples become arrays (JSON has one kind of sequence) and smolagents' text type becomes text; nothing
    else is converted, because a result that was altered on the way is worse than none.
    """
    return _plain(value, where, MAX_DEPTH)


def encode(frame: dict[str, Any]) -> bytes:
    """Write one frame as a line."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def cut(text: str | None, limit: int) -> str | None:
    """Shorten a note to `limit` characters and say by how much; lone surrogates become question marks."""
    if text is None:
        return None
    if len(text) > limit:
        text = f"{text[:limit]}...[+{len(text) - limit} characters]"
    return text.encode("utf-8", "replace").decode("utf-8")


def _plain(value: object, where: str, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if type(value) is int:
        if INT_MIN <= value <= INT_MAX:
            return value
        raise NotJson(f"{where}: an integer beyond 64 bits loses digits in most JSON readers; give it as a text")
    if type(value) is float:
        if math.isfinite(value):
            return value
        raise NotJson(f"{where}: {value} is not a JSON number")
    if depth == 0:
        raise NotJson(f"{where[:200]}: nested deeper than {MAX_DEPTH} levels (or it contains itself)")
    if type(value) is list or type(value) is tuple:
        return [_plain(item, f"{where}[{index}]", depth - 1) for index, item in enumerate(value)]
    if type(value) is dict:
        return {_key(key, where): _plain(item, f"{where}.{key}", depth - 1) for key, item in value.items()}
    raise NotJson(f"{where}: {type(value).__module__}.{type(value).__qualname__} has no form in JSON")


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise NotJson(f"{where}: a key of type {type(key).__qualname__}; JSON keys are texts")
    return _text(key, f"a key of {where}")


def _text(value: str, where: str) -> str:
    # A subclass may show itself as something else; the characters are what was meant.
    text = str.__str__(value)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise NotJson(f"{where}: a lone surrogate at character {error.start} is not Unicode text") from error
    return text
