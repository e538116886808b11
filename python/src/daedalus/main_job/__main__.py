"""`python -m daedalus.main_job`: the daemon and its agents at work, from start to stop."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from daedalus.client import ApiError, Client
from daedalus.examples import legacy_folder, texts_folder
from daedalus.main_job import report
from daedalus.main_job.batch import discovery, jobs
from daedalus.main_job.chain import migrations
from daedalus.main_job.daemon import Daemon, DaemonError
from daedalus.main_job.progress import BatchTimeout, Submitted, follow
from daedalus.main_job.stop import Stopped, StopSignals

OK, NOT_COMPLETED, FAILED = 0, 1, 2
READY_S = 60.0
#: A language model behind a slow line may take this long for all of it.
BATCH_S = 900.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job; returns the exit code."""
    options = _options(argv)
    console = Console() if sys.stdout.isatty() else Console(width=report.PLAIN_WIDTH)
    if options.state_dir is not None:
        return _with_state(options, options.state_dir, console)
    with tempfile.TemporaryDirectory(prefix="daedalus-main-job-") as folder:
        return _with_state(options, Path(folder), console)


def _with_state(options: argparse.Namespace, state_dir: Path, console: Console) -> int:
    def say(line: str) -> None:
        console.print(line, highlight=False, markup=False, soft_wrap=True)

    signals = StopSignals()
    try:
        daemon = Daemon(options.daemon, options.config, state_dir, options.bind)
    except (DaemonError, OSError) as error:
        say(f"error: {error}")
        return FAILED
    number, code = int(signal.SIGTERM), FAILED
    try:
        signals.arm()
        say(f"daemon started, pid {daemon.process.pid}; its log is {daemon.log}")
        client = daemon.wait_ready(READY_S)
        say(f"daemon serves at {client.url}")
        say(f"{daemon.wait_agents(client, READY_S)} agents are ready")
        code = _run_batch(client, state_dir, console)
        if not options.exit:
            _serve_on(daemon, client, say)
    except Stopped as stopped:
        number = stopped.number
        say(f"{stopped} received: stopping the daemon")
        # After the batch its result stands; before its end there is none.
        code = 128 + number if code == FAILED else code
    except (DaemonError, BatchTimeout, ApiError, OSError) as error:
        say(f"error: {error}")
        code = FAILED
    finally:
        # A second Ctrl-C is for the daemon: it ends its drain.
        signals.pass_on_to(daemon.process)
        say(f"daemon ended with exit code {daemon.stop(number)}")
    return code


def _run_batch(client: Client, state_dir: Path, console: Console) -> int:
    # The discovery goes first: what follows from it runs beside the rest.
    batch = [discovery(legacy_folder()), *jobs(texts_folder())]
    tasks = [Submitted(job, client.submit(job.payload, task_type=job.task_type)["task_id"]) for job in batch]
    console.print(f"{len(tasks)} tasks submitted", highlight=False)
    follow(client, tasks, console, BATCH_S)
    followed = migrations(client, tasks[0], console, BATCH_S)
    report.show(tasks, console)
    report.show_migrations(tasks[0], followed, console)
    path = report.write([*tasks, *followed], state_dir)
    console.print(f"the full answers are in {path}", highlight=False, soft_wrap=True)
    return OK if all(task.status == "completed" for task in [*tasks, *followed]) else NOT_COMPLETED


def _serve_on(daemon: Daemon, client: Client, say: Callable[[str], None]) -> None:
    example = """{"task_type":"ingest","payload":{"prompt":"How many words are in 'FILE.txt'?"}}"""
    body = example.replace("'FILE.txt'", str(texts_folder() / "tram_report.txt"))
    say(f"the daemon goes on serving at {client.url}; Ctrl-C stops it. Try:")
    say(f"  curl -s {client.url}/tasks -H 'Content-Type: application/json' -d '{body}'")
    code = daemon.process.wait()
    raise DaemonError(f"the daemon ended by itself with exit code {code}; the end of its log:\n{daemon.last_lines()}")


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m daedalus.main_job", description=__doc__)
    parser.add_argument("--daemon", type=Path, required=True, help="the daedalus program")
    parser.add_argument("--config", type=Path, required=True, help="the daemon's configuration")
    parser.add_argument(
        "--state-dir", type=Path, help="where the daemon keeps its store and log (default: a temporary one)"
    )
    parser.add_argument(
        "--bind",
        default="127.0.0.1:8420",
        help="where the daemon listens; port 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument(
        "--exit", action="store_true", help="stop after the results; the exit code says whether all completed"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
