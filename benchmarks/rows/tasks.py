"""Rows about tasks."""

from __future__ import annotations

import time
from collections.abc import Iterator

from benchmarks.contenders import PoolSession, RaySession
from benchmarks.model import Limit, Row, Step
from benchmarks.programs import Client, count_up, small

CLIENTS = 4
DEPTH = 20
ITEMS = 1_000
INSIDE = 200
AHEAD = 10


def sync_ray(s: RaySession) -> Iterator[Step]:
    ray, task = s.ray, s.ray.remote(small)
    yield lambda: [ray.get(task.remote()) for _ in range(10)]


def sync_pool(s: PoolSession) -> Iterator[Step]:
    yield lambda: [s.result(s.submit(small)) for _ in range(10)]


def burst_ray(s: RaySession) -> Iterator[Step]:
    ray, task = s.ray, s.ray.remote(small)
    yield lambda: ray.get([task.remote() for _ in range(1_000)])


def burst_pool(s: PoolSession) -> Iterator[Step]:
    yield lambda: s.gather([s.submit(small) for _ in range(1_000)])


def clients_ray(s: RaySession) -> Iterator[Step]:
    ray = s.ray
    clients = [ray.remote(Client).remote(ray) for _ in range(CLIENTS)]
    ray.get([client.ready.remote() for client in clients])
    yield lambda: ray.get([client.tasks.remote(500) for client in clients])
    for client in clients:
        ray.kill(client)


def inside_ray(s: RaySession) -> Iterator[Step]:
    """Calls that a task makes and waits for, one by one."""
    ray, task = s.ray, s.ray.remote(small)

    @ray.remote
    def caller(count: int) -> None:
        for _ in range(count):
            ray.get(task.remote())

    yield lambda: ray.get(caller.remote(INSIDE))


def wait_ray(s: RaySession) -> Iterator[Step]:
    ray, task = s.ray, s.ray.remote(small)

    def step() -> None:
        left = [task.remote() for _ in range(1_000)]
        while left:
            _, left = ray.wait(left)

    yield step


def _stream(s: RaySession, **options: int) -> Iterator[Step]:
    ray = s.ray
    stream = ray.remote(num_returns="streaming", **options)(count_up)
    yield lambda: [ray.get(item) for item in stream.remote(ITEMS)]


def stream_ray(s: RaySession) -> Iterator[Step]:
    yield from _stream(s)


def bounded_ray(s: RaySession) -> Iterator[Step]:
    yield from _stream(s, _generator_backpressure_num_objects=AHEAD)


def nested_ray(s: RaySession) -> Iterator[Step]:
    """Seconds until the innermost of `DEPTH` tasks has answered through all the others."""
    ray = s.ray

    @ray.remote
    def nested(depth: int) -> int:
        answer: int = ray.get(nested.remote(depth - 1)) + 1 if depth else 0
        return answer

    def step() -> float:
        start = time.perf_counter()
        assert ray.get(nested.remote(DEPTH - 1)) == DEPTH - 1
        return time.perf_counter() - start

    yield step


FIB = 7
FIB_TASKS = 41
"""How many calls `fib(7)` makes, itself included."""


def fib_ray(s: RaySession) -> Iterator[Step]:
    ray = s.ray

    @ray.remote
    def fib(n: int) -> int:
        if n < 2:
            return n
        return sum(ray.get([fib.remote(n - 1), fib.remote(n - 2)]))

    def step() -> None:
        assert ray.get(fib.remote(FIB)) == 13

    yield step


ROWS = (
    Row("nested_cold", f"{DEPTH} nested tasks, cold", {"ray": nested_ray}, unit="s", better="lower", goal=0.40,
        limit=Limit("fork", DEPTH), once=True),
    Row("nested_warm", f"{DEPTH} nested tasks, warm", {"ray": nested_ray}, unit="s", better="lower",
        limit=Limit("hops_direct", DEPTH, inverse=True)),
    Row("tasks_sync", "tasks, sync", {"ray": sync_ray, "pool": sync_pool}, units=10, goal=8_000,
        limit=Limit("hops_direct")),
    Row("tasks_inside", "tasks, sync, inside a task", {"ray": inside_ray}, units=INSIDE, limit=Limit("hops_direct")),
    Row("tasks_async", "tasks, async, 1,000 in flight", {"ray": burst_ray, "pool": burst_pool}, units=1_000,
        goal=30_000, limit=Limit("burst_relay")),
    Row("tasks_batch", "1,000 tasks and get, batches", {"ray": burst_ray, "pool": burst_pool}, goal=25,
        limit=Limit("burst_relay", 1 / 1_000)),
    Row("tasks_clients", f"tasks, async, from {CLIENTS} clients", {"ray": clients_ray}, units=CLIENTS * 500,
        goal=20_000, limit=Limit("burst_relay")),
    Row("tasks_wait", "wait on 1,000 refs one by one, batches", {"ray": wait_ray}, goal=20),
    Row("stream", f"items of a stream of {ITEMS:,}, with get", {"ray": stream_ray}, units=ITEMS,
        limit=Limit("burst_relay")),
    Row("stream_bounded", f"items of a stream, at most {AHEAD} ahead", {"ray": bounded_ray}, units=ITEMS,
        limit=Limit("burst_relay")),
    Row("fib", f"recursive fan-out, fib({FIB}), tasks", {"ray": fib_ray}, units=FIB_TASKS),
)  # fmt: skip
