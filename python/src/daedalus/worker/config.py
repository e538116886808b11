"""The `agent` part of `init`: what the operator wrote in the daemon's configuration, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

KINDS = ("code", "tool_calling")
PROVIDERS = ("auto", "offline", "openai", "factory")
DEFAULT_MAX_STEPS = 8
DEFAULT_MODEL_ID = "gpt-4o-mini"
DEFAULT_TIMEOUT_S = 60.0
DEFAULT_TOOLS = "daedalus.text_tools:text_tools"


class ConfigError(Exception):
    """A key or a value that cannot be; the sentence says what is allowed."""


@dataclass(frozen=True)
class Style:
    """What may differ from task type to task type."""

    kind: str = "code"
    max_steps: int = DEFAULT_MAX_STEPS
    instructions: str | None = None


@dataclass(frozen=True)
class ModelConfig:
    """Which model answers."""

    provider: str = "auto"
    model_id: str | None = None
    api_base: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = DEFAULT_TIMEOUT_S
    factory: str | None = None
    args: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AgentConfig:
    """Everything about the agent of this process."""

    style: Style
    types: Mapping[str, Style]
    model: ModelConfig
    tools: str = DEFAULT_TOOLS
    imports: tuple[str, ...] = ()
    coordination_tools: bool = False

    def style_for(self, task_type: str) -> Style:
        """How tasks of this type are run."""
        return self.types.get(task_type, self.style)


Check = Callable[[str, Any], Any]


def parse(raw: object, environ: Mapping[str, str]) -> AgentConfig:
    """Check the configuration; `auto` becomes the model that this environment gives."""
    given = _table("agent", raw, _AGENT)
    types, model = given.pop("types", {}), given.pop("model", {})
    tools, imports = given.pop("tools", DEFAULT_TOOLS), given.pop("imports", ())
    coordination_tools = given.pop("coordination_tools", False)
    style = Style(**given)
    if not isinstance(types, Mapping):
        raise ConfigError("agent.types must be a table from task types to settings")
    styles = {name: replace(style, **_table(f"agent.types.{name}", own, _STYLE)) for name, own in types.items()}
    return AgentConfig(style, styles, _model(model, environ), tools, imports, coordination_tools)


def _model(raw: object, environ: Mapping[str, str]) -> ModelConfig:
    model = ModelConfig(**_table("agent.model", raw, _MODEL))
    base = model.api_base or environ.get("OPENAI_BASE_URL") or None
    key = model.api_key or environ.get("OPENAI_API_KEY") or None
    provider = model.provider
    if provider == "auto":
        provider = "openai" if base or key else "offline"
    if (provider == "factory") != (model.factory is not None):
        raise ConfigError("agent.model.factory and provider = 'factory' are used together or not at all")
    if model.args and provider not in ("factory", "openai"):
        raise ConfigError(
            "agent.model.args is for provider 'factory' (its arguments) and 'openai' (request parameters)"
        )
    return replace(model, provider=provider, api_base=base, api_key=key)


def _table(where: str, raw: object, checks: Mapping[str, Check]) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{where} must be a table, found {raw!r}")
    unknown = [str(key) for key in raw if key not in checks]
    if unknown:
        raise ConfigError(f"{where} has no key {unknown[0]!r}; allowed are {', '.join(sorted(checks))}")
    # A null is how a configuration without the key arrives from a typed daemon.
    return {key: checks[key](f"{where}.{key}", value) for key, value in raw.items() if value is not None}


def _any(_where: str, value: Any) -> Any:
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where} must be a text that is not empty, found {value!r}")
    return value


def _texts(where: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where} must be a list of texts, found {value!r}")
    return tuple(value)


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{where} must be true or false, found {value!r}")
    return value


def _dotted(where: str, value: Any) -> str:
    module, colon, function = _text(where, value).partition(":")
    if not (module and colon and function):
        raise ConfigError(f"{where} must be 'module:function', found {value!r}")
    return str(value)


def _steps(where: str, value: Any) -> int:
    # 0 would mean smolagents' own default of 20, which nobody asked for.
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1000:
        raise ConfigError(f"{where} must be an integer from 1 to 1000, found {value!r}")
    return value


def _seconds(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 86400:
        raise ConfigError(f"{where} must be a number of seconds above 0, up to 86400, found {value!r}")
    return float(value)


def _mapping(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where} must be a table, found {value!r}")
    return value


def _one_of(allowed: tuple[str, ...]) -> Check:
    def check(where: str, value: Any) -> str:
        if value not in allowed:
            raise ConfigError(f"{where} must be one of {', '.join(allowed)}, found {value!r}")
        return str(value)

    return check


_STYLE: dict[str, Check] = {"kind": _one_of(KINDS), "max_steps": _steps, "instructions": _text}
_AGENT: dict[str, Check] = {
    **_STYLE,
    "types": _any,
    "model": _any,
    "tools": _dotted,
    "imports": _texts,
    "coordination_tools": _flag,
}
_MODEL: dict[str, Check] = {
    "provider": _one_of(PROVIDERS),
    "model_id": _text,
    "api_base": _text,
    "api_key": _text,
    "timeout_s": _seconds,
    "factory": _dotted,
    "args": _mapping,
}
