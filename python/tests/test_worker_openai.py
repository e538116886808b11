"""A provider that speaks OpenAI's protocol: chosen by the environment, and failing in every way."""

from __future__ import annotations

import pytest
from fake_openai import COMPLETION_TOKENS, PROMPT_TOKENS, FakeOpenAI

AUTO = {"types": {"research": {"kind": "tool_calling"}}, "model": {"provider": "auto", "timeout_s": 20}}
ANSWER = {"text": "<code>\nfinal_answer(6 * 7)\n</code>"}


def by_kind(request):
    """Answers a tool-calling agent with a call, a code agent with code."""
    if "tools" in request:
        return {"tool": "final_answer", "arguments": {"answer": "by tool"}}
    return ANSWER


def environment(server, key="k-1"):
    return {"OPENAI_BASE_URL": server.base, "OPENAI_API_KEY": key}


def test_auto_takes_the_provider_of_the_environment(start):
    with FakeOpenAI(by_kind) as server:
        worker = start(env=environment(server))
        assert worker.init(AUTO)["type"] == "ready"
        usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": COMPLETION_TOKENS, "model_calls": 1, "steps": 1}
        code = worker.run("What is six times seven?")
        assert (code["output"], code["usage"]) == (42, usage)
        tool = worker.run("What is six times seven?", task_type="research")
        assert (tool["output"], tool["usage"]) == ("by tool", usage)
        assert server.keys == {"Bearer k-1"}
        assert {request["model"] for request in server.requests} == {"gpt-4o-mini"}


def test_the_configuration_wins_over_the_environment(start):
    with FakeOpenAI(by_kind) as server:
        worker = start(env={"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_API_KEY": "wrong"})
        model = {
            "provider": "auto",
            "api_base": server.base,
            "api_key": "k-2",
            "model_id": "m-2",
            "args": {"temperature": 0},
        }
        assert worker.init({"model": model})["type"] == "ready"
        assert worker.run("go")["output"] == 42
        assert server.keys == {"Bearer k-2"}
        assert server.requests[0]["model"] == "m-2"
        assert server.requests[0]["temperature"] == 0


@pytest.fixture(scope="module")
def provider():
    replies = {"next": ANSWER}
    with FakeOpenAI(lambda request: replies["next"]) as server:
        server.replies = replies
        yield server


@pytest.fixture(scope="module")
def talking(provider):
    from daemon_sim import WorkerProcess

    worker = WorkerProcess(env=environment(provider))
    assert worker.init(AUTO)["type"] == "ready"
    yield worker
    worker.close()


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (400, "BadRequestError", False),
        (401, "AuthenticationError", False),
        (403, "PermissionDeniedError", False),
        (404, "NotFoundError", False),
        (408, "APIStatusError", True),
        (429, "RateLimitError", True),
        (500, "InternalServerError", True),
        (503, "InternalServerError", True),
    ],
)
def test_a_refusal_is_retryable_or_not(provider, talking, status, code, retryable):
    provider.replies["next"] = {"status": status}
    asked = len(provider.requests)
    end = talking.run("go")
    assert (end["type"], end["cls"], end["code"], end["retryable"]) == ("error", "model", code, retryable)
    assert end["http_status"] == status
    assert f"fake {status}" in end["message"]
    assert end["usage"] == {"input_tokens": 0, "output_tokens": 0, "model_calls": 1, "steps": end["steps"]}
    assert len(provider.requests) == asked + 1, "trying again is the daemon's decision"
    provider.replies["next"] = ANSWER
    assert talking.run("go")["output"] == 42


def test_a_reply_without_counts(provider, talking):
    provider.replies["next"] = {**ANSWER, "usage": False}
    end = talking.run("go")
    assert (end["cls"], end["code"], end["retryable"]) == ("model", "AttributeError", True)
    assert "traceback" in end


def test_a_provider_that_is_down(start):
    with FakeOpenAI(by_kind) as server:
        gone = environment(server)
    worker = start(env=gone)
    assert worker.init(AUTO)["type"] == "ready"
    end = worker.run("go")
    assert (end["cls"], end["code"], end["retryable"]) == ("model", "APIConnectionError", True)


def test_a_provider_that_is_slow(start):
    with FakeOpenAI(lambda request: {**ANSWER, "hold": True}) as server:
        worker = start(env=environment(server))
        assert worker.init({"model": {"provider": "openai", "timeout_s": 0.3}})["type"] == "ready"
        end = worker.run("go")
        assert (end["cls"], end["code"], end["retryable"]) == ("model", "APITimeoutError", True)


def test_a_call_is_cancelled_while_it_waits(provider, talking):
    provider.replies["next"] = {**ANSWER, "hold": True}
    attempt = talking.start_task({"prompt": "go"})
    while talking.expect("heartbeat")["phase"] != "model":
        continue
    talking.cancel(attempt)
    end = talking.end(attempt)
    assert (end["type"], end["usage"]["model_calls"]) == ("cancelled", 1)
    provider.replies["next"] = ANSWER
    assert talking.run("go")["output"] == 42
