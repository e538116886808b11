"""The metrics as text: that Prometheus and people can rely on their form."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from api_daemon import Api, api_daemon
from prometheus_lint import lint, parse

FORMS = {"text/plain": False, "application/openmetrics-text": True}
GOOD = """\
# HELP daedalus_things_total Things
# TYPE daedalus_things_total counter
daedalus_things_total{kind="a\\"b"} 1
daedalus_things_total{kind="c"} 2
# HELP daedalus_wait_seconds Waits
# TYPE daedalus_wait_seconds histogram
daedalus_wait_seconds_sum 1.5
daedalus_wait_seconds_count 2
daedalus_wait_seconds_bucket{le="0.5"} 1
daedalus_wait_seconds_bucket{le="+Inf"} 2
"""


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A daemon that has seen a bit of everything."""
    with api_daemon(tmp_path_factory.mktemp("prometheus")) as api:
        api.call("POST", "/pool/initialize", {"size": 1})
        agent = api.call("GET", "/agents").json()[0]["agent"]["agent_id"]
        for success in ("true", "false"):
            task = api.call("POST", "/tasks", {"payload": {}}).json()["task_id"]
            api.call("GET", f"/agents/{agent}/assignment")
            api.call("POST", f"/tasks/{task}/complete?success={success}")
        for priority in (-100, 0, 100, 0):
            api.call("POST", "/tasks", {"payload": {}, "priority": priority})
        api.call("POST", "/tasks", "{")
        api.call("GET", "/no/such\\path\"")
        api.call("PUT", "/tasks")
        yield api


def page(api: Api, accept: str) -> bytes:
    answer = api.call("GET", "/metrics", Accept=accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(accept)
    return answer.content


@pytest.mark.parametrize("accept", FORMS)
def test_the_text_is_as_it_should_be(api: Api, accept: str) -> None:
    raw = page(api, accept)
    assert lint(raw, FORMS[accept]) == []
    families, _ = parse(raw.decode().splitlines()[: -1 if FORMS[accept] else None], FORMS[accept])
    assert len(families) > 20
    assert all(family.samples for family in families), [family.name for family in families if not family.samples]


def test_both_forms_have_the_same_series(api: Api) -> None:
    def series(accept: str) -> set[tuple[str, ...]]:
        families, _ = parse(page(api, accept).decode().splitlines(), FORMS[accept])
        samples = [(name, labels) for family in families for name, labels, _ in family.samples]
        # One form writes a bound as 60, the other as 60.0.
        return {(name, *sorted(said.removesuffix(".0") for said in labels.values())) for name, labels in samples}

    series("text/plain")  # from here on its own request is a series, too
    assert series("text/plain") == series("application/openmetrics-text")


def test_counters_never_go_back(api: Api) -> None:
    def counts() -> dict[str, float]:
        lines = (line.rpartition(" ") for line in page(api, "text/plain").decode().splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in lines if "_total" in name or "_bucket" in name}

    before = counts()
    api.call("POST", "/tasks", {"payload": {}})
    after = counts()
    assert all(after[name] >= value for name, value in before.items())
    assert after["daedalus_tasks_submitted_total"] == before["daedalus_tasks_submitted_total"] + 1


def test_the_lint_takes_what_is_good() -> None:
    assert lint(GOOD.encode(), openmetrics=False) == []


@pytest.mark.parametrize(
    ("was", "becomes", "complaint"),
    [
        ("# HELP daedalus_things_total Things\n", "", "no HELP"),
        ("# TYPE daedalus_things_total counter\n", "", "no TYPE before it"),
        ("# TYPE daedalus_things_total counter", "# TYPE daedalus_things_total gauge", "only counters end in _total"),
        ("# TYPE daedalus_things_total counter", "# TYPE daedalus_things_total number", "its type is number"),
        ("things_total", "things", "a counter ends in _total"),
        ("wait_seconds", "wait_ms", "not in base units"),
        ("daedalus_things", "things", "whose it is"),
        ('kind="c"', 'kind="a\\"b"', "there twice"),
        ('kind="c"', 'kind="c', "no sample"),
        ('le="0.5"} 1', 'le="0.5"} 3', "not cumulative"),
        ('le="0.5"', 'le="+Inf"', "the bounds do not grow"),
        ('daedalus_wait_seconds_bucket{le="+Inf"} 2\n', "", "not +Inf"),
        ("seconds_count 2", "seconds_count 3", "the count is not"),
        ("daedalus_wait_seconds_sum 1.5\n", "", "one sum and one count"),
        ("total{kind=\"c\"} 2", "total{kind=\"c\"} -2", "below 0"),
        ("Waits", "Waits\ud800", "no UTF-8"),
        ('le="+Inf"} 2\n', 'le="+Inf"} 2', "no line feed"),
    ],
)
def test_the_lint_complains(was: str, becomes: str, complaint: str) -> None:
    assert was in GOOD
    bad = GOOD.replace(was, becomes).encode("utf-8", "surrogatepass")
    assert any(complaint in said for said in lint(bad, openmetrics=False)), lint(bad, openmetrics=False)


def test_the_lint_wants_an_end_of_openmetrics() -> None:
    good = GOOD.replace("# HELP daedalus_things_total", "# HELP daedalus_things")
    good = good.replace("# TYPE daedalus_things_total", "# TYPE daedalus_things")
    assert lint((good + "# EOF\n").encode(), openmetrics=True) == []
    assert any("no EOF" in said for said in lint(good.encode(), openmetrics=True))
    assert any("leaves out" in said for said in lint((GOOD + "# EOF\n").encode(), openmetrics=True))
