"""The offline model: right answers through real agents of both kinds, and a clear no to the rest."""

from __future__ import annotations

import pytest
from answers import checks
from daemon_sim import WorkerProcess

from daedalus.errors import TaskError
from daedalus.examples import texts_folder
from daedalus.main_job.batch import jobs
from daedalus.offline_plan import ABILITIES, OfflineCannotPlan, plan

TEXTS = texts_folder()
CHECKS = checks(TEXTS)
AGENT = {"kind": "code", "types": {"research": {"kind": "tool_calling"}}, "model": {"provider": "auto"}}


@pytest.fixture(scope="module")
def worker():
    one = WorkerProcess()
    assert one.init(AGENT)["type"] == "ready"
    yield one
    one.close()


def test_every_job_has_a_check():
    batch = jobs(TEXTS)
    assert [job.name for job in batch] == list(dict.fromkeys(job.name for job in batch))
    assert {job.name for job in batch} == set(CHECKS)
    assert len(batch) >= 12
    assert len({job.task_type for job in batch}) >= 3


@pytest.mark.parametrize("kind", ["general", "research"])
@pytest.mark.parametrize("job", jobs(TEXTS), ids=lambda job: job.name)
def test_the_jobs_are_answered_right(worker, job, kind):
    attempt = worker.start_task(job.payload, task_type=kind)
    end = worker.end(attempt)
    assert end["type"] == "result", end
    assert CHECKS[job.name](end["output"]), end["output"]
    calls = [frame for frame in worker.seen if frame["type"] == "model_call" and frame["attempt"] == attempt]
    assert len(calls) >= 2, "a tool first, then the answer"
    assert end["usage"]["model_calls"] == len(calls)
    for key in ("input_tokens", "output_tokens"):
        assert end["usage"][key] == sum(call[key] for call in calls) > 0


@pytest.mark.parametrize("kind", ["general", "research"])
@pytest.mark.parametrize(
    "prompt", ["Write a poem about 'x.txt'.", "How many words?", "Which lines of x.txt mention storms?", ""]
)
def test_what_no_rule_fits_is_an_error(worker, prompt, kind):
    end = worker.run(prompt, task_type=kind)
    assert (end["type"], end["cls"], end["code"], end["retryable"]) == ("error", "task", "OFFLINE_CANNOT_PLAN", False)
    assert "not a language model" in end["message"]
    assert ABILITIES in end["message"]


@pytest.mark.parametrize("kind", ["general", "research"])
@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("How many words are in 'none.txt'?", "none.txt"),
        ("What is the total of the numbers before 'unicorns' in 'TEXT'?", "no numbers"),
    ],
)
def test_a_step_that_fails_is_an_error(worker, prompt, why, kind):
    end = worker.run(prompt.replace("TEXT", str(TEXTS / "tram_report.txt")), task_type=kind)
    assert (end["code"], end["retryable"]) == ("OFFLINE_CANNOT_PLAN", False)
    assert why in end["message"]


def test_the_path_may_come_beside_the_prompt(worker):
    end = worker.end(
        worker.start_task({"prompt": "How many words does it have?", "path": str(TEXTS / "tram_report.txt")})
    )
    assert end["output"] == len((TEXTS / "tram_report.txt").read_text().split())


def test_a_path_with_spaces_and_quotes(worker, tmp_path):
    path = tmp_path / "my own notes.txt"
    path.write_text("three little words")
    assert worker.run(f"How many words are in '{path}'?")["output"] == 3


@pytest.mark.parametrize(
    ("prompt", "tools"),
    [
        ("How many lines of a.txt mention 'x'?", ["find_lines"]),
        ("What is the mean of the numbers before 'x' in a.txt", ["extract_numbers", "number_summary"]),
        ("Which is the shortest: a.txt, b.txt or 'c d.md'?", ["count_words"] * 3),
        ("Give me the heading of a.txt.", ["read_text"]),
    ],
)
def test_plans(prompt, tools):
    assert [call.tool for call in plan(prompt).calls] == tools


def test_a_refusal_says_what_becomes_of_the_task():
    with pytest.raises(TaskError) as refusal:
        plan("Sing.")
    assert refusal.type is OfflineCannotPlan
    assert not refusal.value.retryable
