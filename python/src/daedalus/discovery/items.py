"""The shape of a discovery's items, wherever they come from."""

from __future__ import annotations

import math
from typing import Any

TEXTS = ("component_id", "name", "file_path")
LISTS = ("enhancement_opportunities", "risk_factors")
KEYS = ("component_id", "name", "file_path", "composite_score", "migration_recommended", *LISTS)


class NotAnItem(Exception):
    """Says which member is missing or wrong."""


def item(where: str, raw: object) -> dict[str, Any]:
    """The item with exactly its seven members: another, such as a prompt, would mean something to who gets it."""
    if not isinstance(raw, dict):
        raise NotAnItem(f"{where} is no object")
    for key in KEYS:
        if key not in raw:
            raise NotAnItem(f"{where}.{key} is missing")
    for key in TEXTS:
        if not isinstance(raw[key], str) or not raw[key]:
            raise NotAnItem(f"{where}.{key} must be a text that is not empty")
    if not _is_number(raw["composite_score"]):
        raise NotAnItem(f"{where}.composite_score must be a number")
    if not isinstance(raw["migration_recommended"], bool):
        raise NotAnItem(f"{where}.migration_recommended must be true or false")
    for key in LISTS:
        if not isinstance(raw[key], list) or not all(isinstance(one, str) for one in raw[key]):
            raise NotAnItem(f"{where}.{key} must be a list of texts")
    return {key: raw[key] for key in KEYS}


def _is_number(raw: object) -> bool:
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        return False
    try:
        return math.isfinite(raw)
    except OverflowError:
        # An integer that no other program could read.
        return False
