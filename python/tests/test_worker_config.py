"""The `agent` part of `init`, without a worker."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from daedalus.worker.config import ConfigError, parse

SHIPPED = Path(__file__).resolve().parents[2] / "config" / "smolagents.toml"


def test_empty_means_offline_code_agents():
    config = parse({}, {})
    assert (config.style.kind, config.style.max_steps, config.model.provider) == ("code", 8, "offline")


@pytest.mark.parametrize(
    ("environ", "model", "provider"),
    [
        ({"OPENAI_API_KEY": "k"}, {}, "openai"),
        ({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}, {}, "openai"),
        ({"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}, {}, "offline"),
        ({}, {"api_base": "http://127.0.0.1:9/v1"}, "openai"),
        ({}, {"api_key": "k"}, "openai"),
        ({"OPENAI_API_KEY": "k"}, {"provider": "offline"}, "offline"),
    ],
)
def test_auto_looks_for_a_provider(environ, model, provider):
    assert parse({"model": model}, environ).model.provider == provider


def test_types_take_the_rest_from_the_agent():
    config = parse({"max_steps": 5, "instructions": "Be brief.", "types": {"research": {"kind": "tool_calling"}}}, {})
    research = config.style_for("research")
    assert (research.kind, research.max_steps, research.instructions) == ("tool_calling", 5, "Be brief.")
    assert config.style_for("general") == config.style


def test_a_key_does_not_show_in_messages():
    assert "secret" not in repr(parse({"model": {"api_key": "secret"}}, {}))


def test_nulls_are_absent_keys():
    assert parse({"instructions": None, "model": {"api_base": None}}, {}) == parse({}, {})


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ([], "agent must be a table"),
        ({"types": []}, "agent.types must be a table"),
        (
            {"types": {"research": {"model": {}}}},
            "agent.types.research has no key 'model'; allowed are instructions, kind, max_steps",
        ),
        ({"max_steps": 0}, "agent.max_steps must be an integer from 1 to 1000, found 0"),
        ({"max_steps": 1001}, "found 1001"),
        ({"max_steps": True}, "found True"),
        ({"instructions": " "}, "agent.instructions must be a text that is not empty"),
        ({"imports": "datetime"}, "agent.imports must be a list of texts"),
        ({"coordination_tools": "yes"}, "agent.coordination_tools must be true or false, found 'yes'"),
        ({"tools": "no_colon"}, "agent.tools must be 'module:function'"),
        ({"model": {"timeout_s": 0}}, "agent.model.timeout_s must be a number of seconds above 0"),
        ({"model": {"timeout_s": 86401}}, "found 86401"),
        ({"model": {"factory": "a:b"}}, "are used together or not at all"),
        ({"model": {"provider": "factory"}}, "are used together or not at all"),
        ({"model": {"args": {"x": 1}}}, "agent.model.args is for provider"),
        ({"model": {"key": "x"}}, "agent.model has no key 'key'; allowed are api_base, api_key, args,"),
    ],
)
def test_what_cannot_be_is_said(raw, sentence):
    with pytest.raises(ConfigError) as refusal:
        parse(raw, {})
    assert sentence in str(refusal.value)


def test_the_shipped_configuration_is_valid():
    shipped = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))
    config = parse(shipped["worker"]["agent"], {})
    assert {config.style_for("general").kind, config.style_for("research").kind} == {"code", "tool_calling"}
    assert shipped["pool"]["size"] == 4
    assert shipped["worker"]["command"][1:] == ["-I", "-m", "daedalus.worker"]
