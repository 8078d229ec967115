"""Rows about objects, and placement groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.contenders import PoolSession, RaySession
from benchmarks.model import Limit, Row, Step
from benchmarks.programs import Client, size

LARGE = 100_000_000
CLIENTS = 2
REFS = 10_000
GROUPS = 20


def array() -> np.ndarray[Any, Any]:
    """100 MB that were written, so that no page of them is the system's shared page of zeros."""
    return np.ones(LARGE, dtype=np.uint8)


def get_small_ray(s: RaySession) -> Iterator[Step]:
    ray, ref = s.ray, s.ray.put(b"ok")
    yield lambda: [ray.get(ref) for _ in range(100)]


def put_small_ray(s: RaySession) -> Iterator[Step]:
    ray = s.ray
    yield lambda: [ray.put(0) for _ in range(100)]


def put_large_ray(s: RaySession) -> Iterator[Step]:
    ray, value = s.ray, array()
    yield lambda: [ray.put(value)]


def put_large_clients_ray(s: RaySession) -> Iterator[Step]:
    ray = s.ray
    clients = [ray.remote(Client).remote(ray) for _ in range(CLIENTS)]
    ray.get([client.ready.remote() for client in clients])
    yield lambda: ray.get([client.put_large.remote(LARGE, 3) for client in clients])
    for client in clients:
        ray.kill(client)


def get_large_ray(s: RaySession) -> Iterator[Step]:
    ray, ref = s.ray, s.ray.put(array())
    yield lambda: [ray.get(ref) for _ in range(10)]


def by_value_ray(s: RaySession) -> Iterator[Step]:
    ray, task, value = s.ray, s.ray.remote(size), array()

    def step() -> None:
        assert ray.get(task.remote(value)) == LARGE

    yield step


def by_value_pool(s: PoolSession) -> Iterator[Step]:
    value = array()

    def step() -> None:
        assert s.result(s.submit(size, value)) == LARGE

    yield step


def by_ref_ray(s: RaySession) -> Iterator[Step]:
    ray, task, ref = s.ray, s.ray.remote(size), s.ray.put(array())

    def step() -> None:
        assert ray.get(task.remote(ref)) == LARGE

    yield step


def many_refs_ray(s: RaySession) -> Iterator[Step]:
    """A task's object that holds references to others; they are the worker's."""
    ray = s.ray

    @ray.remote
    def make() -> list[Any]:
        return [ray.put(1) for _ in range(REFS)]

    ref = make.remote()
    ray.wait([ref])

    def step() -> None:
        assert len(ray.get(ref)) == REFS

    yield step


def group_ray(s: RaySession) -> Iterator[Step]:
    util = __import__(f"{s.name}.util", fromlist=["util"])

    def step() -> None:
        groups = [util.placement_group([{"CPU": 0.01}]) for _ in range(GROUPS)]
        for group in groups:
            assert group.wait(10)
        for group in groups:
            util.remove_placement_group(group)

    yield step


GB = LARGE / 1e9
ROWS = (
    Row("get_small", "get small", {"ray": get_small_ray}, units=100, goal=500_000),
    Row("put_small", "put small", {"ray": put_small_ray}, units=100, goal=100_000),
    Row("put_large", "put 100 MB", {"ray": put_large_ray}, units=GB, unit="GB/s", goal=10,
        limit=Limit("memcpy_warm")),
    Row("put_large_clients", f"put 100 MB, {CLIENTS} clients", {"ray": put_large_clients_ray},
        units=CLIENTS * 3 * GB, unit="GB/s", goal=10, limit=Limit("memcpy_warm_two")),
    Row("get_large", "get 100 MB", {"ray": get_large_ray}, units=10, goal=20_000),
    Row("arg_value", "100 MB argument by value", {"ray": by_value_ray, "pool": by_value_pool}, goal=70,
        limit=Limit("memcpy_warm", 1 / GB)),
    Row("arg_ref", "100 MB argument by reference", {"ray": by_ref_ray}, limit=Limit("hops_relay")),
    Row("refs_10k", "get of an object with 10,000 references", {"ray": many_refs_ray}, goal=60),
    Row("placement_group", "placement group made and removed", {"ray": group_ray}, units=GROUPS, goal=5_000,
        limit=Limit("hops_relay")),
)  # fmt: skip
