"""What a task is for this worker: a prompt for an agent, a discovery, or a migration of what one found."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from daedalus.checks import ConfigError
from daedalus.discovery import migration
from daedalus.discovery.directory import directory
from daedalus.discovery.items import LISTS
from daedalus.discovery.scan import Progress, scan
from daedalus.discovery.settings import Settings, request
from daedalus.errors import TaskError
from daedalus.worker.bridge import Bridge, ToolRefused
from daedalus.worker.protocol import Task

if TYPE_CHECKING:
    from smolagents import Tool

#: Refusals that the same question would get again.
_FINAL = frozenset({"task_not_found", "answer_too_large", "unknown_tool", "body_too_large", "validation_failed"})


class BadPayload(TaskError):
    """The payload cannot be given to this agent."""

    code = "bad_payload"


@dataclass(frozen=True)
class AgentJob:
    """Work for an agent: what it is asked, the variables and tools that come with it, and a check of its answer."""

    prompt: str
    arguments: Mapping[str, Any]
    tools: list[Tool] = field(default_factory=list)
    check: Callable[..., bool] | None = None


#: Work that needs no agent; it tells how far it is.
PlainJob = Callable[[Progress], Any]


def prompt_job(task: Task) -> AgentJob:
    """A task that says what to do."""
    arguments = dict(task.payload)
    prompt = arguments.pop("prompt", None)
    if not isinstance(prompt, str):
        raise BadPayload("payload.prompt must be a text: what the agent is asked to do")
    return AgentJob(prompt, arguments)


def job(task: Task, settings: Settings, bridge: Bridge, room: int) -> AgentJob | PlainJob:
    """Find out what the task is. A prompt wins: whoever writes one wants an agent."""
    if "prompt" not in task.payload:
        if task.task_type == "discovery":
            return _discovery(task, settings, room)
        if task.task_type == "migration" and "component_id" in task.payload:
            return _migration(task, settings, bridge)
    return prompt_job(task)


def _discovery(task: Task, settings: Settings, room: int) -> PlainJob:
    if settings.service_url is not None:
        from daedalus.discovery.service import ask

        url, timeout_s = settings.service_url, settings.service_timeout_s
        return lambda _progress: ask(url, timeout_s, task.payload, room)
    try:
        asked = request(task.payload, settings)
    except ConfigError as error:
        raise BadPayload(str(error)) from None
    return functools.partial(scan, directory(asked.path, asked.settings), asked, room)


def _migration(task: Task, settings: Settings, bridge: Bridge) -> AgentJob:
    from daedalus.discovery.tools import migration_tools

    item = dict(task.payload)
    for key in ("component_id", "file_path", "name"):
        if not isinstance(item.get(key), str):
            raise BadPayload(f"payload.{key} must be a text, as the items of a discovery have it")
    for key in LISTS:
        if not isinstance(item.get(key, []), list) or not all(isinstance(one, str) for one in item.get(key, [])):
            raise BadPayload(f"payload.{key} must be a list of texts")
    origin = item if "path" in item else _discovery_of(task, bridge)
    path, project = origin.get("path"), origin.get("project")
    if not isinstance(path, str):
        raise BadPayload("payload.path is missing: the directory that file_path is in (a follow-up asks its discovery)")
    place = migration.Place(
        directory(path, settings), project if isinstance(project, str) else None, _as_found(origin, settings)
    )
    item = {key: value for key, value in item.items() if key not in ("path", "project")}
    return AgentJob(migration.prompt(item), item, migration_tools(place), migration.check(item["component_id"]))


def _as_found(origin: Mapping[str, Any], settings: Settings) -> Settings:
    """The settings that the discovery had, so that its own patterns are known again."""
    own = {key: origin[key] for key in ("path", "patterns", "weights", "extra") if key in origin}
    try:
        return request(own, settings).settings
    except ConfigError:
        # It was another service's payload: its keys are not ours.
        return settings


def _discovery_of(task: Task, bridge: Bridge) -> Mapping[str, Any]:
    """The payload of the task that this one follows; nothing for a task that follows none."""
    try:
        parent = bridge.call("get_coordination_task", {"task_id": task.task_id}).get("parent_task_id")
        if parent is None:
            return {}
        payload = bridge.call("get_coordination_task", {"task_id": parent}).get("payload")
    except ToolRefused as error:
        raise TaskError(
            f"the discovery of this component cannot be looked up: {error}",
            code="discovery_unknown",
            retryable=error.code not in _FINAL,
        ) from error
    return payload if isinstance(payload, dict) else {}
