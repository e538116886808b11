"""Makes the model that the configuration names."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from daedalus.worker.config import DEFAULT_MODEL_ID, ConfigError, ModelConfig

if TYPE_CHECKING:
    from smolagents import Model


def build_model(config: ModelConfig) -> Model:
    """Make the model. Heavy clients are imported only when they are asked for."""
    if config.provider == "factory":
        made: Model = load(config.factory or "")(**config.args)
        return made
    if config.provider == "openai":
        return _openai(config)
    from daedalus.offline_model import OfflineRuleModel

    return OfflineRuleModel()


def load(dotted: str) -> Any:
    """Find the function of a 'module:function' that the operator configured."""
    module, _, name = dotted.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{dotted!r} cannot be loaded: {error}") from error


def _openai(config: ModelConfig) -> Model:
    from smolagents import OpenAIServerModel

    return OpenAIServerModel(
        model_id=config.model_id or DEFAULT_MODEL_ID,
        api_base=config.api_base,
        # Local servers often need none, but the client insists on one.
        api_key=config.api_key or "none",
        # Trying again is the daemon's decision: it sees the whole pool and the task's budget.
        client_kwargs={"timeout": config.timeout_s, "max_retries": 0},
        retry=False,
        **config.args,
    )
