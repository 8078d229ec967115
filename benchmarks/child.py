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
    everyone = [*processes.ours(), processes.this()]
    cpu = processes.cpu_seconds(everyone)
    own: list[float] = []
    count = 0
    start = now = time.perf_counter()
    while not count or (now - start < seconds and not row.once):
        value = step()
        if isinstance(value, float):
            own.append(value)
        count += 1
        now = time.perf_counter()
    used = processes.cpu_seconds(everyone) - cpu
    units = count * row.units
    if own:
        return Sample(sorted(own)[len(own) // 2], used / units)
    return Sample(units / (now - start), used / units)


def answer(row: Row, contender: Contender, session: Session, seconds: float) -> dict[str, Any]:
    """Measure one row; an error is an answer too."""
    work = work_of(row, contender)
    assert work is not None
    try:
        with contextlib.contextmanager(work)(session) as step:
            sample = measure(row, step, seconds)
    except Exception as error:
        return {"row": row.key, "problem": told(error)}
    return {"row": row.key, "value": sample.value, "cpu": sample.cpu}


def told(error: Exception) -> str:
    """One line about an error, and the whole of it to stderr."""
    traceback.print_exc()
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def main(arguments: list[str]) -> None:
    """Serve the pipes named by their numbers."""
    key, workers, requests, answers = arguments
    from benchmarks.rows import BY_KEY

    contender = CONTENDERS[key]
    with os.fdopen(int(requests)) as incoming, os.fdopen(int(answers), "w", buffering=1) as outgoing:
        try:
            session = contender.session(int(workers))
            session.first()
        except Exception as error:
            print(json.dumps({"problem": told(error)}), file=outgoing)
            return
        try:
            print(json.dumps({"ready": os.getpid()}), file=outgoing)
            for line in incoming:
                request = json.loads(line)
                reply = answer(BY_KEY[request["row"]], contender, session, request["seconds"])
                print(json.dumps(reply), file=outgoing)
        finally:
            session.close()


if __name__ == "__main__":
    main(sys.argv[1:])
