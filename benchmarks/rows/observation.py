"""What watching costs, and the loop that the quick mode compares with: rows that only this project has."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.contenders import RaySession
from benchmarks.model import Row, Step
from benchmarks.programs import small

BURST = 1_000
SECONDS = 1.0
PAIRS = 3


def observed(s: RaySession) -> Iterator[Step]:
    """Throughput with a panel that acknowledges what it gets, in percent of that without: several turns of both."""
    from jupyter_ray.engine import registry
    from jupyter_ray.monitor.hub import Hub

    ray, task, engine = s.ray, s.ray.remote(small), registry.required()

    def rate() -> float:
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < SECONDS:
            ray.get([task.remote() for _ in range(BURST)])
            count += BURST
        return count / (time.perf_counter() - start)

    def watched() -> float:
        hub = Hub()

        def panel(message: dict[str, Any]) -> None:
            # As the kernel does: what goes to the browser is JSON, made on this thread.
            assert json.dumps(message)
            hub.handle({"type": "ack", "client": "benchmark", "epoch": message["epoch"], "seq": message["seq"]})

        epoch = hub.reset()
        hub.attach(panel)
        hub.handle({"type": "hello", "client": "benchmark"})
        unsubscribe = engine.subscribe(lambda events: hub.feed(events, epoch=epoch), condensed=True)
        try:
            engine.flush_events()  # what has happened before does not count
            before = hub.statistics()
            measured = rate()
            engine.flush_events()
            after = hub.statistics()
            assert after.events > before.events, "the panel was shown nothing"
            assert after.messages > before.messages, "the panel was sent nothing"
        finally:
            unsubscribe()
            hub.close()
        return measured

    def step() -> float:
        pairs = [(rate(), watched()) for _ in range(PAIRS)]
        return 100 * sum(on for _, on in pairs) / sum(off for off, _ in pairs)

    yield step


def loop(s: RaySession) -> Iterator[Step]:
    """Pure Python of the kind that a call is made of: functions, dictionaries, lists, bytes."""

    def step() -> None:
        table: dict[int, tuple[bytes, list[int]]] = {}
        for i in range(1_000):
            name = b"%d" % i
            table[i] = (name, [len(name), i & 7])
        total = 0
        for name, numbers in table.values():
            total += len(name) + sum(numbers)
        assert total == 9_280

    yield step


ROWS = (
    Row("observed", "tasks, async, with a panel attached, to without", {"own": observed}, unit="%", goal=90),
)  # fmt: skip
REFERENCE = Row("reference", "a loop in pure Python, rounds", {"own": loop}, units=1_000)
