"""The `agent` part of `init`: what the operator wrote in the daemon's configuration, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from daedalus import checks
from daedalus.checks import Check, ConfigError, table
from daedalus.discovery.settings import Settings, settings

__all__ = ["AgentConfig", "ConfigError", "ModelConfig", "Style", "parse"]

KINDS = ("code", "tool_calling")
PROVIDERS = ("auto", "offline", "openai", "factory")
DEFAULT_MAX_STEPS = 8
DEFAULT_MODEL_ID = "gpt-4o-mini"
DEFAULT_TIMEOUT_S = 60.0
DEFAULT_TOOLS = "daedalus.text_tools:text_tools"


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
    discovery: Settings = field(default_factory=Settings)

    def style_for(self, task_type: str) -> Style:
        """How tasks of this type are run."""
        return self.types.get(task_type, self.style)


def parse(raw: object, environ: Mapping[str, str]) -> AgentConfig:
    """Check the configuration; `auto` becomes the model that this environment gives."""
    given = table("agent", raw, _AGENT)
    types, model = given.pop("types", {}), given.pop("model", {})
    tools, imports = given.pop("tools", DEFAULT_TOOLS), given.pop("imports", ())
    coordination_tools = given.pop("coordination_tools", False)
    discovery = settings(given.pop("discovery", {}))
    style = Style(**given)
    if not isinstance(types, Mapping):
        raise ConfigError("agent.types must be a table from task types to settings")
    styles = {name: replace(style, **table(f"agent.types.{name}", own, _STYLE)) for name, own in types.items()}
    return AgentConfig(style, styles, _model(model, environ), tools, imports, coordination_tools, discovery)


def _model(raw: object, environ: Mapping[str, str]) -> ModelConfig:
    model = ModelConfig(**table("agent.model", raw, _MODEL))
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


# 0 steps would mean smolagents' own default of 20, which nobody asked for.
_STYLE: dict[str, Check] = {
    "kind": checks.one_of(KINDS),
    "max_steps": checks.count(1, 1000),
    "instructions": checks.text,
}
_AGENT: dict[str, Check] = {
    **_STYLE,
    "types": checks.anything,
    "model": checks.anything,
    "tools": checks.dotted,
    "imports": checks.texts,
    "coordination_tools": checks.flag,
    "discovery": checks.anything,
}
_MODEL: dict[str, Check] = {
    "provider": checks.one_of(PROVIDERS),
    "model_id": checks.text,
    "api_base": checks.text,
    "api_key": checks.text,
    "timeout_s": checks.seconds,
    "factory": checks.dotted,
    "args": checks.mapping,
}
