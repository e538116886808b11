"""Checks of values that an operator or a client wrote; each refusal is a sentence that says what is allowed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class ConfigError(Exception):
    """A key or a value that cannot be; the sentence says what is allowed."""


Check = Callable[[str, Any], Any]


def table(where: str, raw: object, checks: Mapping[str, Check]) -> dict[str, Any]:
    """The checked values of a table that may have these keys."""
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where} must be a table, found {raw!r}")
    unknown = [str(key) for key in raw if key not in checks]
    if unknown:
        raise ConfigError(f"{where} has no key {unknown[0]!r}; allowed are {', '.join(sorted(checks))}")
    # A null is how a configuration without the key arrives from a typed daemon.
    return {key: checks[key](f"{where}.{key}", value) for key, value in raw.items() if value is not None}


def anything(_where: str, value: Any) -> Any:
    """What is checked elsewhere."""
    return value


def text(where: str, value: Any) -> str:
    """A text that says something."""
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where} must be a text that is not empty, found {value!r}")
    return value


def texts(where: str, value: Any) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where} must be a list of texts, found {value!r}")
    return tuple(value)


def flag(where: str, value: Any) -> bool:
    """A yes or no."""
    if not isinstance(value, bool):
        raise ConfigError(f"{where} must be true or false, found {value!r}")
    return value


def dotted(where: str, value: Any) -> str:
    """The place of a function."""
    module, colon, function = text(where, value).partition(":")
    if not (module and colon and function):
        raise ConfigError(f"{where} must be 'module:function', found {value!r}")
    return str(value)


def mapping(where: str, value: Any) -> dict[str, Any]:
    """A table with any keys."""
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table, found {value!r}")
    return value


def seconds(where: str, value: Any) -> float:
    """A time-out."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 86400:
        raise ConfigError(f"{where} must be a number of seconds above 0, up to 86400, found {value!r}")
    return float(value)


def share(where: str, value: Any) -> float:
    """A number from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ConfigError(f"{where} must be a number from 0 to 1, found {value!r}")
    return float(value)


def count(least: int, most: int) -> Check:
    """An integer in a range."""

    def check(where: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise ConfigError(f"{where} must be an integer from {least} to {most}, found {value!r}")
        return value

    return check


def one_of(allowed: tuple[str, ...]) -> Check:
    """One of some words."""

    def check(where: str, value: Any) -> str:
        if value not in allowed:
            raise ConfigError(f"{where} must be one of {', '.join(allowed)}, found {value!r}")
        return str(value)

    return check
