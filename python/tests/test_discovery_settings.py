"""What can be configured and asked for, and which directories may be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from daedalus.checks import ConfigError
from daedalus.discovery.directory import directory, file_below
from daedalus.discovery.patterns import NAMES
from daedalus.discovery.scan import components
from daedalus.discovery.settings import Settings, request, settings
from daedalus.errors import TaskError

ROOT = Path(__file__).resolve().parents[2]


def test_empty_means_every_pattern_as_it_is() -> None:
    assert [pattern.name for pattern in settings({}).in_use()] == list(NAMES)
    assert settings({}) == settings({"roots": None, "service_url": None}) == Settings()


def test_patterns_are_chosen_and_weighed() -> None:
    base = settings({"weights": {"os_path": 0.9, "bare_except": 0}})
    weights = {pattern.name: pattern.weight for pattern in base.in_use()}
    assert weights["os_path"] == 0.9
    assert "bare_except" not in weights
    asked = request({"path": "/x", "patterns": ["os_path", "bare_except"], "weights": {"bare_except": 0.1}}, base)
    assert {pattern.name: pattern.weight for pattern in asked.settings.in_use()} == {"os_path": 0.9, "bare_except": 0.1}


EXTRA = [
    {"name": "old_client", "match": "call", "target": "requests.*", "weight": 0.7, "kind": "risk"},
    {"name": "flask", "match": "import", "target": "flask", "meaning": "the old web framework", "advice": "Go."},
    {"name": "route", "match": "decorator", "target": "app.route"},
]
CODE = """
import requests as r
from flask import Flask
app = Flask(__name__)

@app.route("/")
def page():
    # legacy: ask Bo
    return r.get("x").json()
"""


def test_patterns_of_ones_own() -> None:
    base = settings({"extra": [*EXTRA, {"name": "remark", "match": "source", "target": r"#\s*legacy\b"}]})
    found = {
        (one.pattern.name, one.line, one.pattern.kind, one.pattern.weight)
        for part in components(CODE, "m.py", None, base.extra)
        for one in part.findings
    }
    assert found == {
        ("old_client", 9, "risk", 0.7),
        ("flask", 3, "enhancement", 0.3),
        ("route", 6, "enhancement", 0.3),
        ("remark", 8, "enhancement", 0.3),
    }


def test_a_payload_adds_patterns_but_no_regular_expressions() -> None:
    base = settings({"extra": EXTRA[:1]})
    asked = request({"path": "/x", "extra": EXTRA[1:]}, base)
    assert [pattern.name for pattern in asked.settings.extra] == ["old_client", "flask", "route"]
    with pytest.raises(ConfigError, match="for the daemon's configuration, not for a payload"):
        request({"path": "/x", "extra": [{"name": "x", "match": "source", "target": "(a+)+$"}]}, base)
    with pytest.raises(ConfigError, match="'old_client', which a pattern of the configuration has"):
        request({"path": "/x", "extra": EXTRA}, base)


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ([], "agent.discovery must be a table"),
        ({"root": "/x"}, "agent.discovery has no key 'root'; allowed are exclude, extra, include, limit,"),
        ({"path": "/x"}, "agent.discovery has no key 'path'"),
        ({"roots": ["x"]}, "agent.discovery.roots must be absolute paths, found 'x'"),
        ({"threshold": 1.1}, "agent.discovery.threshold must be a number from 0 to 1, found 1.1"),
        ({"patterns": ["shell"]}, "agent.discovery.patterns has no pattern 'shell'; there are bare_except, "),
        ({"weights": {"os_path": -1}}, "agent.discovery.weights.os_path must be a number from 0 to 1"),
        ({"weights": {"ospath": 1}}, "agent.discovery.weights has no pattern 'ospath'"),
        ({"limit": 0}, "agent.discovery.limit must be an integer from 1 to 10000, found 0"),
        ({"max_files": True}, "agent.discovery.max_files must be an integer from 1 to"),
        ({"include": [""]}, "agent.discovery.include must be at most 64 texts of 1 to 256 characters"),
        ({"service_url": "ftp://x"}, "agent.discovery.service_url must be http://HOST:PORT/PATH or https://"),
        ({"service_url": "http://u:p@x/"}, "agent.discovery.service_url must be"),
        ({"service_url": "http://x:99999/"}, "agent.discovery.service_url must be"),
        ({"service_timeout_s": 0}, "agent.discovery.service_timeout_s must be a number of seconds above 0"),
        ({"extra": {}}, "agent.discovery.extra must be a list of at most 64 tables"),
        ({"extra": [{"name": "x", "match": "call"}]}, "agent.discovery.extra[0].target is missing"),
        ({"extra": [{"name": "X", "match": "call", "target": "x"}]}, "extra[0].name must be 1 to 64 of a-z"),
        ({"extra": [{"name": "abc\n", "match": "call", "target": "x"}]}, "extra[0].name must be 1 to 64 of a-z"),
        ({"extra": [{"name": "x", "match": "name", "target": "x"}]}, "extra[0].match must be one of call, import,"),
        ({"extra": [{"name": "os_path", "match": "call", "target": "x"}]}, "which another pattern has"),
        ({"extra": [{"name": "x", "match": "source", "target": "("}]}, "extra[0].target is no regular expression"),
    ],
)
def test_what_cannot_be_configured_is_said(raw: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        settings(raw)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("payload", "sentence"),
    [
        ({}, "payload.path is missing"),
        ({"path": 5}, "payload.path must be a text"),
        ({"path": "/x", "roots": ["/"]}, "payload has no key 'roots'"),
        ({"path": "/x", "max_files": 9}, "payload has no key 'max_files'"),
        ({"path": "/x", "service_url": "http://x"}, "payload has no key 'service_url'"),
        ({"path": "/x", "project": "a\nb"}, "payload.project must have at most 64 printable characters"),
        ({"path": "/x", "patterns": "os_path"}, "payload.patterns must be a list of texts"),
    ],
)
def test_what_cannot_be_asked_is_said(payload: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        request(payload, Settings())
    assert sentence in str(refusal.value)


def refused(path: str, made: Settings) -> str:
    with pytest.raises(TaskError) as refusal:
        directory(path, made)
    assert not refusal.value.retryable
    return refusal.value.code


def test_without_roots_a_path_is_absolute(tmp_path: Path) -> None:
    assert directory(str(tmp_path), Settings()) == tmp_path.resolve()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert refused("code", Settings()) == "bad_payload"
    assert refused("a\0b", Settings()) == "bad_payload"
    for gone in ("none", "file", "loop", "x" * 300):
        assert refused(str(tmp_path / gone), Settings()) == "path_not_found"


def test_what_the_sandbox_hides_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden(path: Path) -> None:
        # It can be seen, and not be opened.
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("daedalus.discovery.directory.os.scandir", hidden)
    with pytest.raises(TaskError, match=r"worker\.sandbox\.read") as refusal:
        directory(str(tmp_path), Settings())
    assert refusal.value.code == "path_not_found"


def test_with_roots_nothing_else_is_read(tmp_path: Path) -> None:
    one, two, secret = tmp_path / "one", tmp_path / "two", tmp_path / "secret"
    for folder in (one / "code", two / "other", secret, tmp_path / "one-more"):
        folder.mkdir(parents=True)
    (one / "out").symlink_to(secret)
    (one / "in").symlink_to(two / "other")
    made = Settings(roots=(one, two))
    assert directory("code", made) == (one / "code").resolve()
    assert directory("other", made) == (two / "other").resolve()
    assert directory(str(one), made) == one.resolve()
    assert directory("in", made) == (two / "other").resolve()
    for path in (
        "out",
        "../secret",
        str(secret),
        str(one / "out"),
        str(tmp_path / "one-more"),
        "/",
        "code/../../secret",
    ):
        assert refused(path, made) == "path_outside_roots", path
    assert refused("none", made) == "path_not_found"


def test_a_file_path_cannot_leave_its_directory(tmp_path: Path) -> None:
    top = (tmp_path / "top").resolve()
    (top / "a").mkdir(parents=True)
    (top / "a" / "b.py").write_text("")
    (top / "out.py").symlink_to("/etc/hostname")
    assert file_below(top, "a/../a/b.py") == "a/b.py"
    assert file_below(top, str(top / "a/b.py")) == "a/b.py"
    for path in ("../x.py", "/etc/hostname", "out.py"):
        with pytest.raises(TaskError) as refusal:
            file_below(top, path)
        assert refusal.value.code == "path_outside_roots"


def test_every_pattern_and_key_is_described() -> None:
    text = (ROOT / "python" / "README.md").read_text(encoding="utf-8")
    from daedalus.discovery.patterns import PATTERNS
    from daedalus.discovery.settings import _ASKED, _CONFIGURED

    for pattern in PATTERNS:
        row = re.search(rf"^\| `{pattern.name}` \| {pattern.kind} \| {pattern.weight:g} \| .+\|$", text, re.MULTILINE)
        assert row, f"python/README.md has no right row for {pattern.name}"
    for key in {*_ASKED, *_CONFIGURED}:
        assert re.search(rf"^\| [^|]*`{key}`", text, re.MULTILINE), f"python/README.md has no row for {key}"
