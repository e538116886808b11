"""Discoveries and migrations in a worker process; the test plays the daemon."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon_sim import LEAST_FRAME, TERMINAL, Frame, WorkerProcess
from fake_server import FakeServer, answer
from test_discovery_service import ITEM

from daedalus.examples import legacy_folder

LEGACY = {"path": str(legacy_folder())}
AGENT = {"types": {"migration": {"kind": "tool_calling"}}}


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    one = WorkerProcess()
    assert one.init({})["type"] == "ready"
    yield one
    assert one.shutdown() == 0, one.stderr[-10:]
    one.close()


def discover(worker: WorkerProcess, payload: dict[str, Any]) -> Frame:
    return worker.end(worker.start_task(payload, task_type="discovery"))


def test_a_directory_is_scanned_without_a_model(worker: WorkerProcess) -> None:
    end = discover(worker, LEGACY)
    assert end["type"] == "result", end
    assert end["usage"] == {"input_tokens": 0, "output_tokens": 0, "model_calls": 0, "steps": 0}
    assert end["output"]["scanned"]["files"] == len(list(legacy_folder().glob("*.py")))
    assert {item["file_path"] for item in end["output"]["components"]} == {"backup.py", "ledger.py", "poller.py"}


@pytest.mark.parametrize(
    ("payload", "code", "words"),
    [
        ({}, "bad_payload", "payload.path is missing"),
        ({"path": "here"}, "bad_payload", "payload.path must be absolute"),
        ({"path": "/x", "colour": 1}, "bad_payload", "payload has no key 'colour'; allowed are exclude,"),
        ({"path": "/no/such/folder"}, "path_not_found", "is no directory"),
        (
            {"path": "/x", "extra": [{"name": "x", "match": "source", "target": "x"}]},
            "bad_payload",
            "not for a payload",
        ),
    ],
)
def test_what_cannot_be_scanned_is_final(worker: WorkerProcess, payload: dict[str, Any], code: str, words: str) -> None:
    end = discover(worker, payload)
    assert (end["type"], end["cls"], end["code"], end["retryable"]) == ("error", "task", code, False)
    assert words in end["message"]


def test_a_prompt_is_for_an_agent(worker: WorkerProcess) -> None:
    path = legacy_folder().parent / "texts" / "tram_report.txt"
    end = discover(worker, {"prompt": f"How many words are in '{path}'?"})
    assert end["output"] == len(path.read_text().split())
    assert end["usage"]["model_calls"] == 2


def test_only_below_the_roots(start: Callable[..., WorkerProcess], tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    worker = start()
    assert worker.init({"discovery": {"roots": [str(tmp_path)]}})["type"] == "ready"
    assert discover(worker, {"path": "code"})["output"]["components"] == []
    end = discover(worker, LEGACY)
    assert (end["code"], end["retryable"]) == ("path_outside_roots", False)


def test_a_configuration_that_cannot_be(start: Callable[..., WorkerProcess]) -> None:
    worker = start()
    answered = worker.init({"discovery": {"weights": {"shell": 1}}})
    assert answered["type"] == "init_error"
    assert "agent.discovery.weights has no pattern 'shell'; there are bare_except," in answered["message"]
    assert worker.wait() == 65


def test_a_scan_is_cancelled_at_once(worker: WorkerProcess, tmp_path: Path) -> None:
    # As much as one scan reads at most: no machine is done with it before its first heartbeat.
    (tmp_path / "m0.py").write_text("def f(a):\n    print(a)\n" * 2500)
    for number in range(1, 1000):
        os.link(tmp_path / "m0.py", tmp_path / f"m{number}.py")
    attempt = worker.start_task({"path": str(tmp_path)}, task_type="discovery")
    while worker.expect("heartbeat")["phase"] != "scan":
        continue
    began = time.monotonic()
    worker.cancel(attempt)
    assert worker.end(attempt)["type"] == "cancelled"
    assert time.monotonic() - began < 30
    assert discover(worker, LEGACY)["type"] == "result"


def test_a_result_fits_the_smallest_frame(start: Callable[..., WorkerProcess], tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"m{number:03}.py").write_text("import os\nos.system('ls')\n")
        (tmp_path / f"{'bad' * 60}{number:03}.py").write_text("print 'x'\n")
    worker = start()
    assert worker.init({}, max_frame_bytes=LEAST_FRAME)["type"] == "ready"
    end = discover(worker, {"path": str(tmp_path)})
    assert end["type"] == "result", end
    assert 30 < len(end["output"]["components"]) < 300
    assert end["output"]["scanned"]["truncated"]
    assert end["output"]["scanned"]["skipped"]["syntax"]["count"] == 300


def test_a_service_is_asked_instead(start: Callable[..., WorkerProcess]) -> None:
    with FakeServer([answer(200, {"components": [ITEM]}), answer(503, {"detail": "indexing"})]) as server:
        worker = start()
        assert worker.init({"discovery": {"service_url": server.url, "service_timeout_s": 20}})["type"] == "ready"
        assert discover(worker, {"project": 7})["output"]["components"] == [ITEM]
        end = discover(worker, {"project": 7})
        assert [seen.body for seen in server.seen] == [{"project": 7}] * 2
    assert (end["code"], end["retryable"]) == ("dependency_unavailable", True)
    assert end["message"].endswith("answered 503: indexing")
    end = discover(worker, {"project": 7})
    assert (end["code"], end["retryable"]) == ("dependency_unavailable", True)


# Migrations.


def migrate(worker: WorkerProcess, payload: dict[str, Any], tasks: dict[str, Any] | None = None) -> Frame:
    """Run a migration; `tasks` is what the daemon says about tasks, by id."""
    attempt = worker.start_task(payload, task_type="migration")
    while True:
        frame = worker.expect("tool_call", *TERMINAL)
        if frame["type"] != "tool_call":
            assert frame["attempt"] == attempt
            return frame
        assert frame["name"] == "get_coordination_task"
        said = (tasks or {}).get(frame["args"]["task_id"])
        if said is None:
            refusal = {"ok": False, "code": "task_not_found", "message": "there is no task with this id"}
            worker.send(type="tool_result", call_id=frame["call_id"], **refusal)
        else:
            worker.send(type="tool_result", call_id=frame["call_id"], ok=True, value=said)


@pytest.fixture(scope="module", params=["code", "tool_calling"])
def migrator(request: pytest.FixtureRequest) -> Iterator[WorkerProcess]:
    one = WorkerProcess()
    assert one.init({"kind": request.param})["type"] == "ready"
    yield one
    one.close()


def family(path: Any, **more: Any) -> dict[str, Any]:
    return {"t": {"parent_task_id": "p"}, "p": {"payload": {"path": path, **more}}}


def test_what_a_discovery_finds_is_planned(migrator: WorkerProcess) -> None:
    items = discover(migrator, LEGACY)["output"]["components"]
    plans = {}
    for item in items:
        end = migrate(migrator, item, family(LEGACY["path"]))
        assert end["type"] == "result", end
        output = end["output"]
        assert {key: output[key] for key in ("component_id", "name", "file_path")} == {
            key: item[key] for key in ("component_id", "name", "file_path")
        }
        assert output["open"] == []
        named = {line.partition(":")[0] for line in item["enhancement_opportunities"] + item["risk_factors"]}
        assert {change["factor"] for change in output["plan"]} == named
        source = (legacy_folder() / item["file_path"]).read_text().split("\n")
        for change in output["plan"]:
            assert change["before"] == source[change["line"] - 1].strip()
            assert output["lines"][0] <= change["line"] <= output["lines"][1]
        assert end["usage"]["model_calls"] == 2
        plans[item["component_id"]] = output["plan"]
    assert len(plans) == len(items) >= 8
    proposed = {change["after"] for change in plans["backup.py::BackupJob"]}
    assert {"class BackupJob:", "except Exception:", "subprocess.run(['sync'], check=True)"} <= proposed


def test_it_works_on_the_source_as_it_is_now(migrator: WorkerProcess, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def f(x):\n    print(x)\n    eval(x)\n")
    (item,) = discover(migrator, {"path": str(tmp_path), "project": "p"})["output"]["components"]
    assert item["component_id"] == "p/m.py::f"
    (tmp_path / "m.py").write_text("# moved\n\n\ndef f(x: int) -> None:\n    eval(x)\n")
    output = migrate(migrator, item | {"path": str(tmp_path), "project": "p"})["output"]
    assert [(change["factor"], change["line"]) for change in output["plan"]] == [("dynamic_code", 5)]
    assert [line.partition(":")[0] for line in output["open"]] == ["missing_type_hints", "print_logging"]
    (tmp_path / "m.py").write_text("x = 1\n")
    output = migrate(migrator, item, family(str(tmp_path), project="p"))["output"]
    assert (output["plan"], output["lines"], len(output["open"])) == ([], None, 3)


def test_patterns_of_the_discovery_are_known_again(migrator: WorkerProcess, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("import requests\ndef f(x: str) -> str:\n    return requests.get(x).text\n")
    extra = [{"name": "old_client", "match": "call", "target": "requests.*", "advice": "Use the new client."}]
    asked = {"path": str(tmp_path), "extra": extra}
    (item,) = discover(migrator, asked)["output"]["components"]
    (change,) = migrate(migrator, item, family(asked["path"], extra=extra))["output"]["plan"]
    assert (change["factor"], change["line"], change["advice"]) == ("old_client", 3, "Use the new client.")


def test_items_of_a_service_are_found_by_name(migrator: WorkerProcess, tmp_path: Path) -> None:
    (tmp_path / "billing").mkdir()
    (tmp_path / "billing" / "invoice.py").write_text("class Invoice(object):\n    pass\n")
    item = ITEM | {"risk_factors": ["python2_idiom"], "enhancement_opportunities": ["use dataclasses"]}
    output = migrate(migrator, item, family(str(tmp_path), depth=3))["output"]
    assert [change["after"] for change in output["plan"]] == ["class Invoice:"]
    assert output["open"] == ["use dataclasses"]


def test_much_to_change_is_cut_and_said(migrator: WorkerProcess, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "def f() -> None:\n" + "    print('a line of some length')\n" * 500 + "    eval('1')\n"
    )
    (item,) = discover(migrator, {"path": str(tmp_path)})["output"]["components"]
    output = migrate(migrator, item, family(str(tmp_path)))["output"]
    # The heaviest first: what is left out matters least.
    assert output["plan"][0]["factor"] == "dynamic_code"
    assert 20 < len(output["plan"]) < 200
    assert len(output["plan"]) + output["left_out"] == 502


@pytest.mark.parametrize(
    ("change", "tasks", "code", "words"),
    [
        ({}, {}, "discovery_unknown", "task_not_found"),
        ({}, {"t": {"parent_task_id": None}}, "bad_payload", "payload.path is missing"),
        ({}, family(None), "bad_payload", "payload.path is missing"),
        ({}, {"t": {"parent_task_id": "gone"}}, "discovery_unknown", "task_not_found"),
        ({}, family("/no/such/folder"), "path_not_found", "is no directory"),
        ({"file_path": 5}, {}, "bad_payload", "payload.file_path must be a text"),
        ({"risk_factors": "x"}, {}, "bad_payload", "payload.risk_factors must be a list of texts"),
        (
            {"file_path": "../texts/tram_report.txt"},
            family(LEGACY["path"]),
            "OFFLINE_CANNOT_PLAN",
            "outside of the directory",
        ),
        ({"file_path": "none.py"}, family(LEGACY["path"]), "OFFLINE_CANNOT_PLAN", "cannot be read: unreadable"),
    ],
)
def test_a_migration_that_cannot_be(
    worker: WorkerProcess, change: dict[str, Any], tasks: dict[str, Any], code: str, words: str
) -> None:
    end = migrate(worker, ITEM | {"file_path": "ledger.py"} | change, tasks)
    assert (end["type"], end["code"], end["retryable"]) == ("error", code, False)
    assert words in end["message"]


def test_a_cancel_while_the_discovery_is_looked_up(worker: WorkerProcess) -> None:
    attempt = worker.start_task(ITEM, task_type="migration")
    call = worker.expect("tool_call")
    worker.cancel(attempt)
    assert worker.end(attempt)["type"] == "cancelled"
    # An answer that comes late is nobody's.
    worker.send(type="tool_result", call_id=call["call_id"], ok=True, value={})
    assert discover(worker, LEGACY)["type"] == "result"
