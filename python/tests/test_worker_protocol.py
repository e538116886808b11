"""What the worker refuses to be part of, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import SCRIPTED_AGENT
from daemon_sim import LEAST_FRAME, PLAIN, SCRIPTED


def test_hello_comes_first_and_says_who_speaks(start):
    worker = start()
    hello = worker.expect("hello")
    assert worker.seen[0] == hello
    assert (hello["seq"], hello["proto"], hello["smolagents"]) == (1, [1, 1], "1.26.0")
    assert hello["pid"] == worker.process.pid
    assert hello["python"].count(".") == 2
    assert hello["import_s"] > 0


@pytest.mark.parametrize("value", [None, "", "0", "yes"])
def test_it_is_not_started_by_hand(value):
    env = {} if value is None else {"DAEDALUS_WORKER": value}
    done = subprocess.run([sys.executable, *PLAIN], env=env, capture_output=True, timeout=30, check=False)
    assert done.returncode == 64
    assert b"not by hand" in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b"[1, 2]\n",
        b'{"no":"type"}\n',
        b'{"type":5}\n',
        b'{"type":"dance"}\n',
        b"\xff\xfe\n",
        b"[" * 5000 + b"\n",
        b'{"type":"task","task_id":"t","attempt":2,"payload":[]}\n',
        b'{"type":"task","task_id":"t","attempt":0,"payload":{}}\n',
        b'{"type":"task","task_id":"t","payload":{}}\n',
        b'{"type":"task","attempt":2,"payload":{}}\n',
        b'{"type":"task","task_id":"t","attempt":2,"payload":{},"max_steps":0}\n',
        b'{"type":"init","proto":1,"agent_id":"a1"}\n',
        b'{"type":"tool_result","call_id":1}\n',
        b'{"type":"tool_result","ok":true}\n',
        b'{"type":"tool_result","call_id":1,"ok":false}\n',
    ],
)
def test_garbage_is_fatal(start, line):
    worker = start()
    assert worker.init()["type"] == "ready"
    worker.send_bytes(line)
    assert worker.expect("fatal")["message"]
    assert worker.wait() == 64


def test_the_frame_limit_holds_for_the_daemon_too(start):
    worker = start(SCRIPTED)
    assert worker.init(SCRIPTED_AGENT, max_frame_bytes=LEAST_FRAME)["type"] == "ready"
    line = b'{"type":"task","task_id":"t","attempt":1,"payload":{"prompt":"steps"}}'
    worker.send_bytes(line + b" " * (LEAST_FRAME - len(line) - 1) + b"\n")
    assert worker.end(1)["output"] == 42
    worker.send_bytes(b" " * (LEAST_FRAME + 1))
    assert str(LEAST_FRAME) in worker.expect("fatal")["message"]
    assert worker.wait() == 64


def test_a_second_task_is_fatal(start):
    worker = start(SCRIPTED)
    assert worker.init(SCRIPTED_AGENT)["type"] == "ready"
    worker.start_task({"prompt": "sleep"}, task_id="one")
    worker.start_task({"prompt": "sleep"}, task_id="two")
    assert "one is not finished" in worker.expect("fatal")["message"]
    assert worker.wait() == 64


@pytest.mark.parametrize(
    "change", [{"proto": 2}, {"proto": None}, {"agent_id": ""}, {"heartbeat_s": 0}, {"max_frame_bytes": 100}]
)
def test_an_init_that_cannot_be_is_fatal(start, change):
    worker = start()
    assert worker.init(**change)["type"] == "fatal"
    assert worker.wait() == 64


@pytest.mark.parametrize(
    ("agent", "sentence"),
    [
        ({"colour": "red"}, "agent has no key 'colour'; allowed are coordination_tools, discovery, imports,"),
        ({"kind": "wise"}, "agent.kind must be one of code, tool_calling, found 'wise'"),
        ({"model": {"provider": "oracle"}}, "must be one of auto, offline, openai, factory"),
        ({"model": {"provider": "factory", "factory": "no_such_module:model"}}, "no_such_module:model"),
        ({"tools": "daedalus.text_tools:nothing"}, "daedalus.text_tools:nothing"),
    ],
)
def test_a_configuration_that_cannot_be_is_said_and_ends_it(start, agent, sentence):
    worker = start()
    answer = worker.init(agent)
    assert answer["type"] == "init_error"
    assert sentence in answer["message"]
    assert worker.wait() == 65


def test_end_of_the_pipe_when_idle(start):
    worker = start()
    assert worker.init()["type"] == "ready"
    worker.process.stdin.close()
    assert worker.wait() == 0


def test_end_of_the_pipe_before_init(start):
    worker = start()
    worker.expect("hello")
    worker.process.stdin.close()
    assert worker.wait() == 0


def test_end_of_the_pipe_in_a_task(start):
    worker = start(SCRIPTED)
    assert worker.init(SCRIPTED_AGENT)["type"] == "ready"
    worker.start_task({"prompt": "sleep"})
    worker.expect("model_call")
    worker.process.stdin.close()
    assert worker.wait() == 71


def test_ping_and_shutdown(scripted):
    for nonce in (7, "seven", None):
        scripted.send(type="ping", nonce=nonce)
        assert scripted.expect("pong")["nonce"] == nonce


def test_unknown_fields_are_ignored(scripted):
    end = scripted.run("steps", something_new={"a": 1}, previous_failure={"cause": "crashed", "detail": "x"})
    assert end["output"] == 42


def test_shutdown_says_bye(start):
    worker = start()
    assert worker.init()["type"] == "ready"
    assert worker.shutdown() == 0
    assert worker.seen[-1]["type"] == "bye"


def test_a_dotenv_file_is_not_read(start, tmp_path):
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://127.0.0.1:9/v1\n")
    worker = start(cwd=tmp_path)
    assert worker.init({"model": {"provider": "auto"}})["type"] == "ready"
    assert worker.run("no rule fits this")["code"] == "OFFLINE_CANNOT_PLAN"
