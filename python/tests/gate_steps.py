"""Cancels one run at each single step of the interpreter in turn; prints how the runs ended, or fails."""

import signal
import sys
from collections import Counter

from daedalus.worker.gate import Gate


def work() -> int:
    total = 0
    for number in range(5):
        total += number
    return total


def main() -> None:
    gate, ends, at = Gate(), Counter(), 0
    while True:
        at += 1
        steps = 0

        def trace(frame, event, _arg):
            nonlocal steps
            frame.f_trace_opcodes = True
            if event == "opcode":
                steps += 1
                if steps == at:  # noqa: B023
                    # What `cancel` does from another thread, without its lock on this one.
                    gate._reason = "now"
                    signal.raise_signal(signal.SIGUSR1)
            return trace

        sys.settrace(trace)
        verdict = gate.run(work)
        sys.settrace(None)
        gate.reset()
        ends[type(verdict).__name__] += 1
        if steps < at:
            break
    assert ends["Raised"] == 0, ends
    print(ends["Done"], ends["Cancelled"])


if __name__ == "__main__":
    main()
