"""The canary: what a worker hides, finds and removes, and that a task meets nothing of it."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import SCRIPTED_AGENT
from daemon_sim import SCRIPTED, Frame, WorkerProcess

from daedalus.worker.canary import SharedMemory
from daedalus.worker.canary_look import FILE_BYTES, MAX_FINDS, Look, TooMuch, hear, look
from daedalus.worker.protocol import CanaryHints, ProtocolError, parse_canary
from daedalus.worker.safe_json import encode

ALL_PLACES = {
    "variable",
    "agent_memory",
    "file",
    "environment",
    "process_environment",
    "port",
    "socket",
    "shared_memory",
}
ALL_WAYS = {
    "memory",
    "environment",
    "files",
    "port",
    "socket",
    "process_environment",
    "process_command",
    "process_files",
    "process_directory",
    "shared_memory",
    "process_memory",
}


def secret_of(run: str) -> str:
    return f"daedalus-canary-{run.replace('-', '')}-{uuid.uuid4().hex}"


class Planted:
    """A worker with its secret."""

    def __init__(self, worker: WorkerProcess, workdir: Path, run: str) -> None:
        self.worker, self.workdir, self.run, self.secret = worker, workdir, run, secret_of(run)
        worker.send(type="canary_plant", run=run, secret=self.secret)
        self.answer = worker.expect("canary_planted")

    def look_at(self, *others: Planted) -> Frame:
        hints = {
            "pids": [other.worker.process.pid for other in others],
            "workdirs": [str(other.workdir) for other in others],
            "ports": [other.answer["port"] for other in others],
            "sockets": [other.answer["socket"] for other in others],
        }
        self.worker.send(type="canary_look", run=self.run, **hints)
        return self.worker.expect("canary_found")


@pytest.fixture
def ready(start: Callable[..., WorkerProcess], tmp_path: Path) -> Callable[[], tuple[WorkerProcess, Path]]:
    """Start a worker in a directory of its own."""

    def one() -> tuple[WorkerProcess, Path]:
        workdir = tmp_path / uuid.uuid4().hex
        workdir.mkdir()
        worker = start(SCRIPTED, cwd=workdir, env={"HOME": str(workdir), "TMPDIR": str(workdir)})
        assert worker.init(SCRIPTED_AGENT)["type"] == "ready"
        return worker, workdir

    return one


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def is_open(port: int) -> bool:
    with socket.socket() as guest:
        return guest.connect_ex(("127.0.0.1", port)) == 0


def test_hello_names_the_feature(start):
    assert start().expect("hello")["features"] == ["canary"]


def test_a_worker_hides_its_secret_everywhere_and_removes_all_of_it(ready):
    worker, workdir = ready()
    planted = Planted(worker, workdir, str(uuid.uuid4()))
    assert set(planted.answer["ways"]) == ALL_PLACES
    assert [file.read_text() for file in workdir.iterdir()] == [planted.secret]
    (child,) = children(worker.process.pid)
    assert planted.secret in Path(f"/proc/{child}/environ").read_text()
    assert is_open(planted.answer["port"])

    again = Planted(worker, workdir, str(uuid.uuid4()))
    assert [file.read_text() for file in workdir.iterdir()] == [again.secret]
    assert not is_open(planted.answer["port"])
    assert child not in children(worker.process.pid)

    worker.send(type="canary_clear", run=again.run)
    assert worker.expect("canary_cleared")["run"] == again.run
    assert (list(workdir.iterdir()), children(worker.process.pid)) == ([], [])
    assert not is_open(again.answer["port"])


def test_a_worker_finds_what_is_within_its_reach_and_not_its_own(ready):
    run = str(uuid.uuid4())
    (one, its), (two, others) = ready(), ready()
    first, second = Planted(one, its, run), Planted(two, others, run)
    found = first.look_at(second)
    assert {find["token"] for find in found["found"]} == {second.secret}
    ways = {find["way"] for find in found["found"]}
    assert {"files", "port", "socket"} <= ways
    # Whoever may look into processes of others sees what is there: root, and the same user where nothing forbids it.
    if os.geteuid() == 0:
        assert {"process_environment", "process_directory"} <= ways
    assert "memory" not in ways and "environment" not in ways, "its own process has nothing of the other"
    assert set(found["tried"]) <= ALL_WAYS
    assert {"environment", "port", "socket"} <= set(found["tried"])
    assert all("daedalus-canary" not in find["where"] for find in found["found"])


def test_without_a_secret_of_its_own_it_does_not_look(ready):
    worker, _ = ready()
    worker.send(type="canary_look", run="r", pids=[], workdirs=[], ports=[], sockets=[])
    assert worker.expect("canary_found", "canary_busy")["type"] == "canary_busy"


def test_a_task_meets_nothing_of_it(ready):
    worker, workdir = ready()
    planted = Planted(worker, workdir, str(uuid.uuid4()))
    attempt = worker.start_task({"prompt": "sleep"})
    worker.expect("started")
    assert (list(workdir.iterdir()), children(worker.process.pid)) == ([], [])
    worker.send(type="canary_plant", run=planted.run, secret=planted.secret)
    assert worker.expect("canary_planted", "canary_busy")["type"] == "canary_busy"
    worker.cancel(attempt)
    assert worker.end(attempt)["type"] == "cancelled"
    assert list(workdir.iterdir()) == []


def test_what_a_task_left_is_neither_written_to_nor_removed(ready, tmp_path):
    worker, workdir = ready()
    (elsewhere := tmp_path / "elsewhere").write_text("precious")
    (workdir / "canary").symlink_to(elsewhere)
    planted = Planted(worker, workdir, str(uuid.uuid4()))
    assert "file" in planted.answer["ways"]
    worker.send(type="canary_clear", run=planted.run)
    worker.expect("canary_cleared")
    assert list(workdir.iterdir()) == [workdir / "canary"]
    assert elsewhere.read_text() == "precious"


def test_a_worker_whose_directory_is_gone_looks_all_the_same(ready):
    run = str(uuid.uuid4())
    (one, its), (two, others) = ready(), ready()
    its.rmdir()
    first, second = Planted(one, its, run), Planted(two, others, run)
    assert "file" not in first.answer["ways"]
    found = first.look_at(second)
    assert "files" in {find["way"] for find in found["found"]}
    one.send(type="canary_clear", run=run)
    one.expect("canary_cleared")


def test_nothing_is_left_when_the_worker_ends(ready):
    worker, workdir = ready()
    Planted(worker, workdir, str(uuid.uuid4()))
    (child,) = children(worker.process.pid)
    assert worker.shutdown() == 0
    assert list(workdir.iterdir()) == []
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "canary_plant", "run": "r"},
        {"type": "canary_plant", "secret": "s"},
        {"type": "canary_look", "run": "r", "pids": [], "workdirs": [], "ports": []},
        {"type": "canary_look", "run": "r", "pids": ["1"], "workdirs": [], "ports": [], "sockets": []},
        {"type": "canary_clear"},
    ],
)
def test_a_frame_that_is_not_whole_breaks_the_protocol(frame: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        parse_canary(frame)


# One process, with leaks that are arranged.

RUN = str(uuid.uuid4())
ROOM = 1 << 20


def finds(token: str, own: str, hints: CanaryHints = CanaryHints()) -> set[str]:
    _tried, found = look(RUN, own, hints, ROOM)
    assert {find["token"] for find in found} <= {token}
    return {find["way"] for find in found}


def test_secrets_of_other_runs_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "old").write_text(secret_of(str(uuid.uuid4())))
    assert finds("", secret_of(RUN), CanaryHints(workdirs=(str(tmp_path),))) == set()


def test_a_file_deep_below_is_found_and_a_pipe_holds_nothing_up(tmp_path: Path) -> None:
    token, deep = secret_of(RUN), tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    (deep / "file").write_text(f"x{token}")
    # Its own memory has it, too: this test made it.
    assert "files" in finds(token, secret_of(RUN), CanaryHints(workdirs=(str(tmp_path),)))


def test_an_object_and_a_variable_of_the_environment_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    token = secret_of(RUN)
    monkeypatch.setenv("LEAKED", token)
    kept = {"memory": [token]}
    assert {"memory", "environment"} <= finds(token, secret_of(RUN))
    assert kept["memory"] == [token]


@contextmanager
def segment(content: str) -> Iterator[int]:
    shared = SharedMemory(content.encode())
    try:
        yield shared.segment
    finally:
        shared.close()


def test_a_shared_segment_is_found_and_gone_with_its_owner() -> None:
    token = secret_of(RUN)

    def segments() -> list[int]:
        return [int(line.split()[1]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]

    with segment(token) as own:
        assert "shared_memory" in finds(token, secret_of(RUN))
        assert own in segments()
    assert own not in segments()


def test_a_way_that_takes_too_long_does_not_count_as_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(self: Look) -> None:
        while True:
            self._hurry()

    monkeypatch.setattr("daedalus.worker.canary_look.WAY_S", 0.01)
    monkeypatch.setattr(Look, "_own_environment", never)
    tried, _ = look(RUN, secret_of(RUN), CanaryHints(), ROOM)
    assert "environment" not in tried
    assert "port" in tried, "the others are gone all the same"


def test_a_way_that_breaks_does_not_end_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Look) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Look, "_own_environment", broken)
    tried, _ = look(RUN, secret_of(RUN), CanaryHints(), ROOM)
    assert "environment" not in tried


def drip(guest: socket.socket) -> None:
    while True:
        guest.sendall(b"x")
        time.sleep(0.01)


def flood(guest: socket.socket) -> None:
    while True:
        guest.sendall(b"x" * 65536)


@contextmanager
def peer(act: Callable[[socket.socket], None]) -> Iterator[int]:
    """Somebody at a port who does this with everyone who comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    guest, _ = listener.accept()
                    with suppress(OSError), guest:
                        act(guest)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(("act", "ends"), [(drip, False), (flood, True)])
def test_nobody_at_a_port_holds_a_look_up_or_hides_another(act: Callable[[socket.socket], None], ends: bool) -> None:
    with peer(act) as bad, peer(lambda guest: guest.sendall(b"secret")) as good:
        places = [("bad", ("127.0.0.1", bad)), ("good", ("127.0.0.1", good))]
        # One that does not come to an end takes all the time there is, so for one that does there is more than enough.
        until = time.monotonic() + (30 if ends else 3)
        said, all_ended = hear(socket.AF_INET, places, until)
        late = time.monotonic() - until
    assert said["good"] == b"secret"
    assert all_ended is ends
    assert late < 10
    assert len(said["bad"]) < 2 * FILE_BYTES


def test_one_that_does_not_end_costs_the_way() -> None:
    with peer(drip) as bad:
        tried, _ = look(RUN, secret_of(RUN), CanaryHints(ports=(bad,)), ROOM)
    assert "port" not in tried


def test_a_full_queue_at_a_socket_is_not_waited_for() -> None:
    name, token = f"daedalus-{uuid.uuid4()}", secret_of(RUN)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(b"\0" + name.encode())
        listener.listen(0)
        first.connect(b"\0" + name.encode())
        tried, _ = look(RUN, secret_of(RUN), CanaryHints(sockets=(name,)), ROOM)
    assert "socket" not in tried


def test_only_so_much_is_told_and_then_the_way_is_not_gone_to_its_end(tmp_path: Path) -> None:
    own = secret_of(RUN)
    (tmp_path / "many").write_text(" ".join(secret_of(RUN) for _ in range(700)))
    (tmp_path / "more").write_text(" ".join(secret_of(RUN) for _ in range(700)))

    def found(room: int) -> list[dict[str, str]]:
        one = Look(RUN, own, room)
        one._until = time.monotonic() + 30
        with pytest.raises(TooMuch):
            one._walk(str(tmp_path))
        return list(one._found.values())

    assert len(found(ROOM)) == MAX_FINDS
    assert 9_500 < sum(len(encode(find)) for find in found(10_000)) <= 10_000
