"""Runs contenders in turn, each in a process of its own, and collects what they measured.

One contender is alive at a time, so that none disturbs another; a round is every contender once, so that a noisy
moment hits all alike. A contender that hangs is killed with all its processes and started again for the rows that are
left; a row at which it failed is not tried again.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import processes
from benchmarks.child import work_of
from benchmarks.contenders import Contender
from benchmarks.model import Cell, Results, Row, Sample

START_SECONDS = 150.0
ROW_SECONDS = 40.0
"""What a row may take beside its measuring time, before its contender counts as stuck."""

Progress = Callable[[str], None]


class Stuck(Exception):
    """A contender did not answer in time, or ended."""


class NoStart(Stuck):
    """A contender's session did not start."""


class Child:
    """A contender's process."""

    def __init__(self, contender: Contender, workers: int) -> None:
        self.mark = uuid.uuid4().hex
        self._buffer = b""
        requests, self._requests = os.pipe()
        self._answers, answers = os.pipe()
        self._temporary = processes.temporary()
        environment = processes.environment(self.mark, self._temporary)
        command = [sys.executable, "-m", "benchmarks.child", contender.key, str(workers), str(requests), str(answers)]
        try:
            self._process = subprocess.Popen(
                command, pass_fds=(requests, answers), env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr
            )
        finally:
            os.close(requests)
            os.close(answers)

    def start(self) -> None:
        """Let it start its session."""
        try:
            problem = self._ask({}, START_SECONDS).get("problem")
        except Stuck as stuck:
            raise NoStart(f"it does not start: {stuck}") from stuck
        if problem:
            raise NoStart(f"it does not start: {problem}")

    def measure(self, row: Row, seconds: float) -> dict[str, Any]:
        """Let it measure a row."""
        patience = START_SECONDS if "bare" in row.work else ROW_SECONDS + 5 * seconds
        return self._ask({"row": row.key, "seconds": seconds}, patience)

    def _ask(self, request: dict[str, Any], patience: float) -> dict[str, Any]:
        try:
            os.write(self._requests, json.dumps(request).encode() + b"\n")
        except BrokenPipeError:
            raise Stuck("its process ended") from None
        deadline = time.monotonic() + patience
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._answers], [], [], left)[0]:
                raise Stuck(f"no answer within {patience:.0f} s")
            data = os.read(self._answers, 65_536)
            if not data:
                raise Stuck("its process ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self, patience: float) -> None:
        """End it, with whatever it started."""
        known = processes.marked(self.mark)
        os.close(self._requests)
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        processes.end(self.mark, known, patience=3.0 if patience else 0.0)
        os.close(self._answers)
        processes.remove(self._temporary)


def run(
    rows: Sequence[Row],
    contenders: Sequence[Contender],
    *,
    rounds: int,
    seconds: float,
    workers: int,
    budget: float = float("inf"),
    progress: Progress = lambda line: None,
    detail: Progress = lambda line: None,
) -> Results:
    """Measure every row `rounds` times by every contender that is installed and offers it.

    Less often by those whose next turn would not fit into `budget` seconds, or after an interrupt; once at least.
    """
    results: Results = {row.key: {} for row in rows}
    offered = {each.key: [row for row in rows if work_of(row, each)] for each in contenders}
    for each in contenders:
        for row in offered[each.key]:
            results[row.key][each.key] = Cell(problem="" if each.version() is not None else "not installed")
    begin, took = time.monotonic(), dict.fromkeys(offered, 0.0)
    try:
        for turn in range(rounds):
            for each in contenders:
                todo = [row for row in offered[each.key] if not results[row.key][each.key].problem]
                start = time.monotonic()
                if todo and (not turn or fits(start - begin, took[each.key], budget)):
                    _round(each, todo, results, seconds, workers, detail)
                    took[each.key] = time.monotonic() - start
                    progress(f"round {turn + 1} of {rounds}: {each.name}, {took[each.key]:.0f} s")
    except KeyboardInterrupt:
        progress("interrupted: what there is")
    for cells in results.values():
        for cell in cells.values():
            if not cell.samples:
                cell.problem = cell.problem or cell.last_problem
    return results


def fits(elapsed: float, turn: float, budget: float) -> bool:
    """Whether another turn, as long as the last one, would end within the budget."""
    return elapsed + turn <= budget


def sample(reply: dict[str, Any]) -> Sample | None:
    """Return what a contender measured; None if it failed."""
    return None if "problem" in reply else Sample(reply["value"], reply["cpu"])


def _round(
    contender: Contender, rows: Sequence[Row], results: Results, seconds: float, workers: int, detail: Progress
) -> None:
    left, starts = list(rows), 2
    while left:
        child = Child(contender, workers)
        started = clean = False
        try:
            while left:
                if not started and "bare" not in left[0].work:
                    child.start()
                    started = True
                reply = child.measure(left[0], seconds)
                detail(f"  {contender.name}: {left[0].key} {reply.get('problem') or reply['value']}")
                cell = results[left.pop(0).key][contender.key]
                measured = sample(reply)
                if measured is None:
                    cell.problem = reply["problem"]
                else:
                    cell.samples.append(measured)
            clean = True
        except NoStart as stuck:
            detail(f"  {contender.name}: {stuck}")
            starts -= 1
            if not starts:  # perhaps in the next round
                for row in left:
                    results[row.key][contender.key].last_problem = str(stuck)
                return
        except Stuck as stuck:
            row = left.pop(0)
            detail(f"  {contender.name}: {row.key}: {stuck}")
            results[row.key][contender.key].problem = str(stuck)
        finally:
            child.close(patience=20.0 if clean else 0.0)
