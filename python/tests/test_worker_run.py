"""One attempt from its task frame to its terminal frame."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import SCRIPTED_AGENT
from daemon_sim import LEAST_FRAME, SCRIPTED
from scripted import IN, OUT


def frames_of(worker, attempt):
    return [frame for frame in worker.seen if frame.get("attempt") == attempt]


def test_code_agent_counts_every_token(scripted):
    attempt = scripted.start_task({"prompt": "steps"})
    end = scripted.end(attempt)
    assert (end["type"], end["output"]) == ("result", 42)
    assert end["usage"] == {"input_tokens": 3 * IN, "output_tokens": 3 * OUT, "model_calls": 3, "steps": 3}
    assert end["steps"] == 3
    assert end["duration_s"] > 0
    types = [frame["type"] for frame in frames_of(scripted, attempt)]
    assert types == ["started", *["model_call", "step"] * 3, "result"]
    steps = [frame for frame in frames_of(scripted, attempt) if frame["type"] == "step"]
    assert [step["is_final"] for step in steps] == [False, False, True]
    assert "ZeroDivisionError" in steps[1]["error"] or "division by zero" in steps[1]["error"]
    numbers = [frame["seq"] for frame in scripted.seen]
    assert numbers == list(range(1, len(numbers) + 1))


def test_tool_calling_agent_counts_every_token(scripted, tmp_path: Path):
    text = tmp_path / "text.txt"
    text.write_text("Two words and 3 May 2001.")
    attempt = scripted.start_task({"prompt": f"calls {text}"}, task_type="research")
    end = scripted.end(attempt)
    # An answer that is an object with a key "answer" is still that object.
    assert end["output"] == {"answer": 5}
    assert end["usage"] == {"input_tokens": 2 * IN, "output_tokens": 2 * OUT, "model_calls": 2, "steps": 2}
    first = next(frame for frame in frames_of(scripted, attempt) if frame["type"] == "step")
    assert first["tools"] == ["count_words", "extract_dates"]
    assert "6" in first["observation"] and "2001-05-03" in first["observation"]


def test_noise_of_every_kind_becomes_stderr(scripted):
    before = len(scripted.seen)
    end = scripted.run("noise")
    assert (end["type"], end["output"]) == ("result", True), "standard input of the agent is empty"
    assert all(frame.get("task_id") in (None, "t") for frame in scripted.seen[before:])
    # Standard error is read by a thread of its own.
    for line in ("FORGED", "raw write", "from a child", "through a shell", "from C", "dunder stdout"):
        scripted.expect_stderr(line)


def test_nothing_is_left_for_the_next_task(scripted):
    assert scripted.run("secret")["output"] == "kept"
    assert scripted.run("reveal")["output"] == "nothing found"
    first = scripted.end(scripted.start_task({"prompt": "arguments", "place": "here"}))
    assert first["output"] == "here"
    second = scripted.end(scripted.start_task({"prompt": "arguments"}))
    assert (second["type"], second["code"]) == ("error", "MAX_STEPS"), "the arguments of the task before are gone"


def test_no_threads_are_left(scripted):
    assert scripted.run("threads")["output"] == scripted.run("threads")["output"]


def test_steps_run_out(scripted):
    end = scripted.run("forever")
    assert (end["cls"], end["code"], end["retryable"]) == ("agent", "MAX_STEPS", False)
    assert end["usage"] == {"input_tokens": 3 * IN, "output_tokens": 3 * OUT, "model_calls": 3, "steps": 3}
    assert scripted.run("forever", max_steps=2)["usage"]["model_calls"] == 2


@pytest.mark.parametrize(("limit", "type_"), [(3 * (IN + OUT), "result"), (3 * (IN + OUT) - 1, "error")])
def test_token_budget(scripted, limit, type_):
    end = scripted.run("steps", max_tokens=limit)
    assert end["type"] == type_
    if type_ == "error":
        assert (end["cls"], end["code"], end["retryable"]) == ("budget", "TOKEN_BUDGET", False)


@pytest.mark.parametrize(("limit", "type_"), [(3, "result"), (2, "error")])
def test_tool_call_budget(scripted, tmp_path, limit, type_):
    text = tmp_path / "text.txt"
    text.write_text("one two")
    end = scripted.end(scripted.start_task({"prompt": "tools", "path": str(text)}, max_tool_calls=limit))
    assert end["type"] == type_
    assert end.get("output") == ([2, 2, 2] if type_ == "result" else None)
    assert end.get("code") == (None if type_ == "result" else "TOOL_CALL_BUDGET")


def test_a_plain_result_arrives_unchanged(scripted):
    end = scripted.run("plain")
    assert end["output"] == {"a": [1, 2.5, None, True, "ä\u2028"], "b": -(2**63), "c": 2**64 - 1, "t": [1, 2]}


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("nan", "output.x: nan"),
        ("infinity", "output[0]: inf"),
        ("surrogate", "lone surrogate at character 1"),
        ("key_surrogate", "a key of output"),
        ("integer", "beyond 64 bits"),
        ("set", "builtins.set"),
        ("bytes", "builtins.bytes"),
        ("object", "mischief.Thing"),
        ("integer_key", "keys are texts"),
        ("cycle", "nested deeper than 100"),
    ],
)
def test_a_result_that_is_not_json_is_refused(scripted, kind, why):
    end = scripted.end(scripted.start_task({"prompt": "odd", "kind": kind}))
    assert (end["type"], end["code"], end["retryable"]) == ("error", "result_not_json", False)
    assert why in end["message"]
    assert "output" not in end


def test_a_result_is_whole_or_refused(start):
    worker = start(SCRIPTED)
    assert worker.init(SCRIPTED_AGENT, max_frame_bytes=LEAST_FRAME)["type"] == "ready"
    small = worker.end(worker.start_task({"prompt": "big", "size": 1000}))
    room = LEAST_FRAME - small["_bytes"]
    # The longest that fits: attempt and duration keep their widths, `seq` may grow by some digits.
    fits = worker.end(worker.start_task({"prompt": "big", "size": 1000 + room - 8}))
    assert (fits["type"], len(fits["output"])) == ("result", 1000 + room - 8)
    assert fits["_bytes"] <= LEAST_FRAME
    large = worker.end(worker.start_task({"prompt": "big", "size": 1000 + room + 8}))
    assert (large["type"], large["code"], large["retryable"]) == ("error", "result_too_large", False)
    assert str(LEAST_FRAME) in large["message"]
    assert worker.end(worker.start_task({"prompt": "big", "size": 3_000_000}))["code"] == "result_too_large"
    assert max(frame["_bytes"] for frame in worker.seen) <= LEAST_FRAME


def test_notes_are_cut_and_say_so(scripted):
    attempt = scripted.start_task({"prompt": "long"})
    assert scripted.end(attempt)["output"] == "said"
    step = next(frame for frame in frames_of(scripted, attempt) if frame["type"] == "step")
    assert len(step["observation"]) < 2100
    assert "characters]" in step["observation"]


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        ({}, "payload.prompt"),
        ({"prompt": 5}, "payload.prompt"),
        ({"prompt": "steps", "n": 2**70}, "payload.n"),
        ({"prompt": "steps", "n": float("inf")}, "payload.n"),
        ({"prompt": "a\ud800"}, "payload.prompt"),
        ({"prompt": "steps", "count_words": 1}, "payload.count_words has the name of a tool"),
    ],
)
def test_bad_payload(scripted, payload, why):
    end = scripted.end(scripted.start_task(payload))
    assert (end["type"], end["code"], end["retryable"]) == ("error", "bad_payload", False)
    assert why in end["message"]
    assert end["usage"]["model_calls"] == 0


def test_a_number_too_long_for_python_is_a_bad_payload(scripted):
    digits = b"9" * 5000
    scripted._attempt += 1
    line = b'{"type":"task","task_id":"t","attempt":%d,"payload":{"prompt":"steps","n":%s}}\n' % (
        scripted._attempt,
        digits,
    )
    scripted.send_bytes(line)
    assert scripted.end(scripted._attempt)["code"] == "bad_payload"


def test_only_fresh_sessions(scripted):
    assert scripted.run("steps", session="fresh")["output"] == 42
    assert scripted.run("steps", session="continue")["code"] == "session_unsupported"


def test_a_model_without_token_counts_is_said_to_be_one(start):
    worker = start(SCRIPTED)
    agent = {
        "imports": ["mischief"],
        "model": {"provider": "factory", "factory": "scripted:model", "args": {"no_usage": True}},
    }
    assert worker.init(agent)["type"] == "ready"
    end = worker.run("steps")
    assert end["output"] == 42
    assert end["usage"] == {"input_tokens": 0, "output_tokens": 0, "model_calls": 3, "steps": 3, "unmetered_calls": 3}


def test_a_crash_is_not_hidden(start):
    worker = start(SCRIPTED)
    assert worker.init(SCRIPTED_AGENT)["type"] == "ready"
    worker.start_task({"prompt": "crash"})
    assert worker.wait() == 3
    assert not [frame for frame in worker.seen if frame["type"] in ("result", "error", "cancelled")]
