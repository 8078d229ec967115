"""``python -m benchmarks.child``: one contender's process. It starts a session, and measures the rows it is asked for.

The runner writes a line of JSON per row to one pipe and reads a line per answer from another; what a contender prints
goes where the runner's own output goes. The end of the requests ends the session.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import time
import traceback
from typing import Any

from benchmarks import processes
from benchmarks.contenders import CONTENDERS, Contender, Session
from benchmarks.model import Family, Row, Sample, Step, Work


def work_of(row: Row, contender: Contender) -> Work | None:
    """Return the row's work in the best family of the contender that offers it."""
    families: list[Family] = [family for family in contender.families if family in row.work]
    return row.work[families[0]] if families else None


def measure(row: Row, step: Step, seconds: float) -> Sample:
    """Repeat the step for at least so long, after one that is not counted, and return what a unit costs."""
    if not row.once:
        start = time.perf_counter()
        step()
        while time.perf_counter() - start < seconds / 4:
            step()
    gc.collect()
    cpu = processes.CpuMeter()
    own: list[float] = []
    count = 0
    start = now = time.perf_counter()
    while not count or (now - start < seconds and not row.once):
        value = step()
        if isinstance(value, float):
            own.append(value)
        count += 1
        now = time.perf_counter()
    used = cpu()
    units = count * row.units
    if own:
        return Sample(sorted(own)[len(own) // 2], used / units)
    return Sample(units / (now - start), used / units)


def told(error: Exception) -> str:
    """One line about an error, and the whole of it to stderr."""
    traceback.print_exc()
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


class Server:
    """Answers requests for one contender; its session starts with the first row that needs one."""

    def __init__(self, contender: Contender, workers: int) -> None:
        self.contender = contender
        self.workers = workers
        self.session: Session | None = None

    def start(self) -> dict[str, Any]:
        """Start the session and wait for its first result."""
        try:
            self.session = self.contender.session(self.workers)
            self.session.first()
        except Exception as error:
            return {"problem": told(error)}
        return {"ready": os.getpid()}

    def measure(self, row: Row, seconds: float) -> dict[str, Any]:
        """Measure one row; an error is an answer too."""
        work = work_of(row, self.contender)
        assert work is not None
        try:
            given = self.contender if "bare" in row.work else self.session
            with contextlib.contextmanager(work)(given) as step:
                sample = measure(row, step, seconds)
        except Exception as error:
            return {"problem": told(error)}
        return {"value": sample.value, "cpu": sample.cpu}

    def close(self) -> None:
        if self.session is not None:
            self.session.close()


def main(arguments: list[str]) -> None:
    """Serve the pipes named by their numbers."""
    key, workers, requests, answers = arguments
    from benchmarks.rows import BY_KEY

    server = Server(CONTENDERS[key], int(workers))
    with os.fdopen(int(requests)) as incoming, os.fdopen(int(answers), "w", buffering=1) as outgoing:
        try:
            for line in incoming:
                request = json.loads(line)
                row = request.get("row")
                answer = server.measure(BY_KEY[row], request["seconds"]) if row else server.start()
                print(json.dumps(answer), file=outgoing)
        finally:
            server.close()


if __name__ == "__main__":
    main(sys.argv[1:])
