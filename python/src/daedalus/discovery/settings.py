"""What a discovery looks for and how far it goes: of the daemon's configuration, then of the payload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from daedalus import checks
from daedalus.checks import Check, ConfigError, table
from daedalus.discovery.extra import extra_patterns
from daedalus.discovery.patterns import PATTERNS, Pattern

DEFAULT_EXCLUDE = (".*", "__pycache__", "build", "dist", "node_modules", "site-packages", "venv")
DEFAULT_THRESHOLD = 0.5
MAX_COMPONENTS = 10_000
MAX_GLOBS = 64
GLOB_CHARS = 256


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured."""

    #: Only directories below these are read; without any, every directory that a payload names.
    roots: tuple[Path, ...] = ()
    #: From which score on a component is recommended.
    threshold: float = DEFAULT_THRESHOLD
    #: Names of the patterns in use; none means all.
    patterns: tuple[str, ...] | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    extra: tuple[Pattern, ...] = ()
    include: tuple[str, ...] = ("*.py",)
    exclude: tuple[str, ...] = DEFAULT_EXCLUDE
    #: How many components a result has at most.
    limit: int = 1000
    max_files: int = 5000
    max_file_bytes: int = 1 << 20
    max_bytes: int = 64 << 20
    service_url: str | None = None
    service_timeout_s: float = 30.0

    def in_use(self) -> tuple[Pattern, ...]:
        """The patterns, with their weights; a weight of 0 takes one out."""
        chosen = (*PATTERNS, *self.extra)
        if self.patterns is not None:
            chosen = tuple(pattern for pattern in chosen if pattern.name in self.patterns)
        weighed = (replace(pattern, weight=self.weights.get(pattern.name, pattern.weight)) for pattern in chosen)
        return tuple(pattern for pattern in weighed if pattern.weight > 0)


def settings(raw: object) -> Settings:
    """Check `agent.discovery` of the daemon's configuration."""
    where = "agent.discovery"
    given = table(where, raw, _CONFIGURED)
    extra = extra_patterns(f"{where}.extra", given.pop("extra", []), trusted=True)
    return _known(where, Settings(**given, extra=extra))


@dataclass(frozen=True)
class Request:
    """What one payload asks for."""

    path: str
    project: str | None
    settings: Settings


def request(payload: Mapping[str, Any], base: Settings) -> Request:
    """Check a payload; its own patterns come to those of the configuration, its other keys replace them."""
    given = table("payload", payload, _ASKED)
    if "path" not in given:
        raise ConfigError("payload.path is missing: the directory to look at (or payload.prompt, for an agent)")
    path, project = given.pop("path"), given.pop("project", None)
    extra = extra_patterns("payload.extra", given.pop("extra", []), trusted=False)
    weights = {**base.weights, **given.pop("weights", {})}
    taken = {pattern.name for pattern in base.extra} & {pattern.name for pattern in extra}
    if taken:
        raise ConfigError(f"payload.extra has the name {min(taken)!r}, which a pattern of the configuration has")
    changed = replace(base, **given, weights=weights, extra=(*base.extra, *extra))
    return Request(path, project, _known("payload", changed))


def _known(where: str, made: Settings) -> Settings:
    names = {pattern.name for pattern in (*PATTERNS, *made.extra)}
    for key, used in (("patterns", made.patterns or ()), ("weights", made.weights)):
        unknown = sorted(set(used) - names)
        if unknown:
            raise ConfigError(f"{where}.{key} has no pattern {unknown[0]!r}; there are {', '.join(sorted(names))}")
    return made


def _globs(where: str, value: Any) -> tuple[str, ...]:
    globs = checks.texts(where, value)
    if len(globs) > MAX_GLOBS or any(not 0 < len(glob) <= GLOB_CHARS for glob in globs):
        raise ConfigError(f"{where} must be at most {MAX_GLOBS} texts of 1 to {GLOB_CHARS} characters")
    return globs


def _weights(where: str, value: Any) -> dict[str, float]:
    return {name: checks.share(f"{where}.{name}", weight) for name, weight in checks.mapping(where, value).items()}


def _roots(where: str, value: Any) -> tuple[Path, ...]:
    roots = tuple(Path(root) for root in checks.texts(where, value))
    relative = [root for root in roots if not root.is_absolute()]
    if relative:
        raise ConfigError(f"{where} must be absolute paths, found '{relative[0]}'")
    return roots


def _url(where: str, value: Any) -> str:
    url = checks.text(where, value)
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or "@" in url or parts.fragment or not url.isascii() or " " in url:
        raise ConfigError(f"{where} must be http://HOST:PORT/PATH or https://, found {url!r}")
    return url


def _project(where: str, value: Any) -> str:
    name = checks.text(where, value)
    if len(name) > 64 or not name.isprintable():
        raise ConfigError(f"{where} must have at most 64 printable characters, found {name!r}")
    return name


_ASKED: dict[str, Check] = {
    "path": checks.text,
    "project": _project,
    "threshold": checks.share,
    "patterns": checks.texts,
    "weights": _weights,
    "extra": checks.anything,
    "include": _globs,
    "exclude": _globs,
    "limit": checks.count(1, MAX_COMPONENTS),
}
_CONFIGURED: dict[str, Check] = {
    **{key: check for key, check in _ASKED.items() if key not in ("path", "project")},
    "roots": _roots,
    "max_files": checks.count(1, 1_000_000),
    "max_file_bytes": checks.count(1, 16 << 20),
    "max_bytes": checks.count(1, 4 << 30),
    "service_url": _url,
    "service_timeout_s": checks.seconds,
}
