"""The OpenAPI document: that it is one, that real answers are as it says, and that the daemon keeps to it.

DAEDALUS_FUZZ_EXAMPLES and DAEDALUS_FUZZ_SEED say how much schemathesis tries per request, and which choices it makes.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from api_daemon import Api, api_daemon
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

EXAMPLES = os.environ.get("DAEDALUS_FUZZ_EXAMPLES", "40")
SEED = os.environ.get("DAEDALUS_FUZZ_SEED", "4")
# Far above what it takes: a run that hangs ends.
FUZZ_S = 600


class Described:
    """The API, with each answer held to the document."""

    def __init__(self, api: Api) -> None:
        self.api = api
        answer = api.call("GET", "/openapi.json")
        assert answer.status_code == 200
        self.document: dict[str, Any] = answer.json()
        self.closed = closed(self.document)
        self.met: set[tuple[str, int]] = set()

    def call(self, operation_id: str, status: int, *ids: str, query: str = "", body: Any = None) -> Any:
        """Make the call of an operation; the answer must have this status and be as it is described."""
        method, path, operation = self.find(operation_id)
        if ids:
            path = path.replace("{id}", ids[0]).replace("{name}", ids[0])
        answer = self.api.call(method, path + query, body)
        assert answer.status_code == status, f"{operation_id}: {answer.status_code} {answer.text}"
        self.met.add((operation_id, status))
        self.check(answer, self.resolved(operation["responses"][str(status)]))
        return answer.json() if answer.content else None

    def check(self, answer: requests.Response, described: dict[str, Any]) -> None:
        for name in described.get("headers", {}):
            assert name in answer.headers, f"{answer.url}: no {name}"
        content = described.get("content", {})
        if not content:
            assert not answer.content
            return
        media_type = answer.headers["Content-Type"].split(";")[0]
        schema = {**content[media_type]["schema"], "components": self.closed["components"]}
        if media_type.endswith("json"):
            Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(answer.json())

    def find(self, operation_id: str) -> tuple[str, str, dict[str, Any]]:
        for path, item in self.closed["paths"].items():
            for method, operation in item.items():
                if operation["operationId"] == operation_id:
                    return method.upper(), path, operation
        raise AssertionError(f"no operation {operation_id}")

    def resolved(self, described: dict[str, Any]) -> dict[str, Any]:
        name = described.get("$ref", "").removeprefix("#/components/responses/")
        found: dict[str, Any] = self.closed["components"]["responses"][name] if name else described
        return found


def closed(document: dict[str, Any]) -> dict[str, Any]:
    """The document with no room for members that it does not name, so that a forgotten one shows."""
    document = copy.deepcopy(document)

    def close(node: Any, is_part: bool = False) -> None:
        if isinstance(node, list):
            for item in node:
                close(item, is_part)
        elif isinstance(node, dict):
            for key, value in node.items():
                close(value, is_part=key == "allOf")
            is_object = "allOf" in node or "properties" in node or "/schemas/" in str(node.get("$ref", ""))
            if is_object and not is_part and "additionalProperties" not in node:
                node["unevaluatedProperties"] = False

    # What others are made of stays open; it is closed where it is used.
    schemas = document["components"].pop("schemas")
    close(document)
    for schema in schemas.values():
        close(schema.get("properties", {}))
        close(schema.get("allOf", []), is_part=True)
        close(schema.get("additionalProperties"))
    document["components"]["schemas"] = schemas
    return document


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    with api_daemon(tmp_path_factory.mktemp("openapi"), max_size=5, max_depth=3) as api:
        yield Described(api)


def test_the_document_is_openapi_3_1(described: Described) -> None:
    assert described.document["openapi"] == "3.1.0"
    validate(described.document)


def test_the_answers_of_every_operation_are_as_described(described: Described) -> None:
    call = described.call
    call("get_health", 200)
    call("get_readiness", 503)
    call("get_openapi", 200)
    pool = call("initialize_pool", 200, body={"size": 2})
    call("get_readiness", 200)
    spawned = call("spawn_agent", 200, body={"kind": "external", "lease_s": 60, "task_types": ["ingest"]})
    process = call("spawn_agent", 200, body={"kind": "process"})["agent_id"]
    first, second = pool["agent_ids"]
    call("list_agents", 200)
    call("get_agent", 200, first)
    call("get_agent", 404, "nobody")
    call("get_assignment", 204, first)
    call("get_assignment", 409, process)
    call("list_agents", 200)
    call("get_isolation_report", 200)
    call("check_isolation", 200)
    call("remove_agent", 200, process)

    task = call("submit_task", 200, body={"payload": {"n": 1}, "preferred_agent_id": first, "idempotency_key": "k"})
    task_id = task["task_id"]
    call("submit_task", 409, body={"payload": {"n": 2}, "idempotency_key": "k"})
    call("submit_task", 400, body="{")
    call("submit_task", 422, body={"payload": []})
    call("get_assignment", 200, first)
    call("send_heartbeat", 200, first)
    call("send_heartbeat", 409, first, query="?incarnation=9")
    call("get_task", 200, task_id)
    call("retry_task", 409, task_id)
    again = {"error": {"code": "busy", "message": "later", "retryable": True}}
    call("complete_task", 200, task_id, query="?success=false", body=again)
    call("get_task", 200, task_id, query="?wait_s=0.1")
    holder = call("get_task", 200, task_id)["assigned_agent_id"]
    call("complete_task", 409, task_id, body={"result": 1})
    call("fail_agent", 200, holder, body={"reason": "test"})
    call("get_assignment", 409, holder)
    call("list_agents", 200)
    call("recover_agent", 200, holder)
    call("recover_agent", 409, holder)
    attempts = call("get_task", 200, task_id)["attempt_count"]
    call("complete_task", 200, task_id, query=f"?attempt={attempts}", body={"result": {"answer": [1, None, "x"]}})
    call("get_task", 200, task_id)
    call("get_agent", 200, first)
    call("cancel_task", 409, task_id)
    call("get_task", 404, "nothing")

    waiting = [call("submit_task", 200, body={"payload": {}, "task_type": "research"})["task_id"] for _ in range(5)]
    call("submit_task", 429, body={"payload": {}, "task_type": "research"})
    call("list_tasks", 200, query="?limit=2")
    call("list_tasks", 422, query="?limit=0")
    call("get_task", 200, waiting[-1])
    call("cancel_task", 200, waiting[-1])
    call("cancel_task", 200, waiting[0])
    call("retry_task", 200, waiting[-1])
    call("cancel_task", 200, waiting[-1])
    call("retry_tasks", 200, query="?status=cancelled&task_type=research")
    call("list_schedules", 200)
    call("run_schedule", 429, "job")
    call("pause_schedule", 200, "job")
    call("resume_schedule", 200, "job")
    call("resume_schedule", 404, "none")
    call("cancel_task", 200, waiting[1])
    call("cancel_task", 200, waiting[2])
    call("run_schedule", 200, "job")
    call("list_schedules", 200)
    call("list_gates", 200)
    call("close_gate", 200, "discovery")
    call("get_readiness", 200)
    call("get_metrics", 200)
    call("list_gates", 200)
    gated = [call("submit_task", 200, body={"payload": {}, "task_type": "migration"}) for _ in range(3)]
    call("submit_task", 429, body={"payload": {}, "task_type": "discovery"})
    call("get_task", 200, gated[0]["task_id"])
    call("open_gate", 200, "discovery")
    call("auto_gate", 200, "discovery")
    call("auto_gate", 404, "nothing")
    call("get_metrics", 200)
    call("get_isolation_report", 200)
    call("check_isolation", 200)
    call("remove_agent", 200, spawned["agent_id"])
    for _ in range(3):
        call("spawn_agent", 200)
    call("spawn_agent", 503)
    call("remove_agent", 200, second)
    call("close_pool", 200, query="?discard=true")

    items = described.document["paths"].values()
    operations = {operation["operationId"] for item in items for operation in item.values()}
    assert {name for name, status in described.met if status == 200} == operations


def test_a_forgotten_member_would_show(described: Described) -> None:
    schema = {"$ref": "#/components/schemas/Task", "unevaluatedProperties": False}
    schema["components"] = described.closed["components"]
    described.api.call("POST", "/pool/initialize", {"size": 1})
    task = described.api.call("POST", "/tasks", {"payload": {}}).json()
    task = described.api.call("GET", f"/tasks/{task['task_id']}").json()
    validator = Draft202012Validator(schema)
    assert validator.is_valid(task)
    assert not validator.is_valid(task | {"forgotten": 1})
    assert not validator.is_valid({name: value for name, value in task.items() if name != "failures"})
    attempt = task["attempts"][0]
    assert not validator.is_valid(task | {"attempts": [attempt | {"forgotten": 1}]})
    assert not validator.is_valid(task | {"status": "lost"})


def test_schemathesis_finds_nothing(tmp_path: Path) -> None:
    tests = Path(__file__).parent
    with api_daemon(tmp_path) as api:
        command = [sys.executable, "-m", "schemathesis.cli", "run", f"{api.url}/openapi.json", "--checks", "all"]
        command += ["--max-examples", EXAMPLES, "--seed", SEED, "--no-color", "--warnings", "off"]
        environment = os.environ | {"SCHEMATHESIS_HOOKS": "openapi_fuzz", "PYTHONPATH": str(tests)}
        # It keeps its examples where it runs.
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=FUZZ_S, check=False
        )
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
        # Alive all the while, or it would not be the same one.
        assert api.call("GET", "/healthz").status_code == 200
