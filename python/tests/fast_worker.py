"""The real session with agents that take a fraction of a millisecond: for what happens around completion."""

import sys
import time

from daedalus.worker import exits
from daedalus.worker.jobs import prompt_job
from daedalus.worker.session import Session
from daedalus.worker.wire import Wire, take_descriptors


class FastAgent:
    """Works for a moment, in small pieces, as an agent does between its steps."""

    tools: dict = {}

    def run(self, prompt, additional_args=None, max_steps=None):
        until = time.perf_counter() + additional_args["work_s"]
        total = 0
        while time.perf_counter() < until:
            total += sum(range(20))
        return prompt


class FastModel:
    def generate(self):
        raise NotImplementedError


class FastAgents:
    def model(self):
        return FastModel()

    def forget_model(self):
        return None

    def job(self, task, room):
        return prompt_job(task)

    def build(self, task_type, on_step, job):
        return FastAgent()


if __name__ == "__main__":
    # Threads change places as often as they can: cancels meet the run at every point of it.
    sys.setswitchinterval(1e-5)
    code = Session(Wire(take_descriptors()), lambda init, bridge: FastAgents()).serve()
    sys.stderr.flush()
    exits.leave(code)
