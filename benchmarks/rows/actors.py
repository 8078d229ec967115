"""Rows about actors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.contenders import DaskSession, RaySession
from benchmarks.model import Limit, Row, Step
from benchmarks.programs import AsyncSmall, Client, Small

SERVERS = 2
CALLERS = 4


def make(s: RaySession, program: type, count: int, *arguments: Any, **options: Any) -> list[Any]:
    cls = s.ray.remote(program)
    return [(cls.options(**options) if options else cls).remote(*arguments) for _ in range(count)]


def kill(s: RaySession, *actors: Any) -> None:
    for actor in actors:
        s.ray.kill(actor)


def sync_ray(s: RaySession, program: type = Small) -> Iterator[Step]:
    ray, (actor,) = s.ray, make(s, program, 1)
    ray.get(actor.small.remote())
    yield lambda: [ray.get(actor.small.remote()) for _ in range(10)]
    kill(s, actor)


def burst_ray(s: RaySession, program: type = Small, **options: Any) -> Iterator[Step]:
    ray, (actor,) = s.ray, make(s, program, 1, **options)
    ray.get(actor.small.remote())
    yield lambda: ray.get([actor.small.remote() for _ in range(1_000)])
    kill(s, actor)


def concurrent_ray(s: RaySession) -> Iterator[Step]:
    return burst_ray(s, max_concurrency=16)


def async_sync_ray(s: RaySession) -> Iterator[Step]:
    return sync_ray(s, AsyncSmall)


def async_burst_ray(s: RaySession) -> Iterator[Step]:
    return burst_ray(s, AsyncSmall)


def async_argument_ray(s: RaySession) -> Iterator[Step]:
    """The argument is a number: what an argument costs at all."""
    ray, (actor,) = s.ray, make(s, AsyncSmall, 1)
    ray.get(actor.take.remote(0))
    yield lambda: ray.get([actor.take.remote(i) for i in range(1_000)])
    kill(s, actor)


def one_to_many_ray(s: RaySession) -> Iterator[Step]:
    """One caller, not the driver, of several actors."""
    ray, servers, (client,) = s.ray, make(s, Small, SERVERS), make(s, Client, 1, s.ray)
    ray.get([server.small.remote() for server in servers])
    yield lambda: ray.get(client.calls.remote(servers, 2_000))
    kill(s, client, *servers)


def many_to_many_ray(s: RaySession) -> Iterator[Step]:
    ray, servers, clients = s.ray, make(s, Small, SERVERS), make(s, Client, CALLERS, s.ray)
    ray.get([server.small.remote() for server in servers] + [client.ready.remote() for client in clients])
    yield lambda: ray.get([client.calls.remote(servers, 500) for client in clients])
    kill(s, *clients, *servers)


def many_with_argument_ray(s: RaySession) -> Iterator[Step]:
    """Each caller has an actor, and passes it a reference to an object that it put."""
    ray, servers, clients = s.ray, make(s, Small, CALLERS), make(s, Client, CALLERS, s.ray)
    ray.get([server.small.remote() for server in servers] + [client.ready.remote() for client in clients])
    pairs = list(zip(clients, servers, strict=True))
    yield lambda: ray.get([client.calls_with_argument.remote(server, 250) for client, server in pairs])
    kill(s, *clients, *servers)


def create_ray(s: RaySession) -> Iterator[Step]:
    """An actor is made, answers once, and is killed."""
    ray = s.ray

    def step() -> None:
        actors = make(s, Small, 2)
        ray.get([actor.small.remote() for actor in actors])
        kill(s, *actors)

    yield step


def sync_dask(s: DaskSession) -> Iterator[Step]:
    actor = s.client.submit(Small, actor=True).result()
    actor.small().result()
    yield lambda: [actor.small().result() for _ in range(10)]


def burst_dask(s: DaskSession) -> Iterator[Step]:
    actor = s.client.submit(Small, actor=True).result()
    actor.small().result()
    yield lambda: [call.result() for call in [actor.small() for _ in range(1_000)]]


def create_dask(s: DaskSession) -> Iterator[Step]:
    def step() -> None:
        actors = [future.result() for future in [s.client.submit(Small, actor=True, pure=False) for _ in range(2)]]
        for answer in [actor.small() for actor in actors]:
            answer.result()

    yield step


DIRECT = Limit("hops_direct")
BURST = Limit("burst_relay")
ROWS = (
    Row("actor_sync", "actor calls 1:1, sync", {"ray": sync_ray, "dask": sync_dask}, units=10, goal=8_000,
        limit=DIRECT),
    Row("actor_async", "actor calls 1:1, async", {"ray": burst_ray, "dask": burst_dask}, units=1_000, goal=40_000,
        limit=BURST),
    Row("actor_concurrent", "actor calls 1:1, concurrent (16 threads)", {"ray": concurrent_ray}, units=1_000,
        goal=20_000, limit=BURST),
    Row("actor_1n", f"actor calls 1:{SERVERS}, async", {"ray": one_to_many_ray}, units=2_000, goal=25_000,
        limit=BURST),
    Row("actor_nn", f"actor calls {CALLERS}:{SERVERS}, async", {"ray": many_to_many_ray}, units=CALLERS * 500,
        goal=30_000, limit=BURST),
    Row("actor_nn_arg", f"actor calls {CALLERS}:{CALLERS}, async, with a reference",
        {"ray": many_with_argument_ray}, units=CALLERS * 250, goal=12_000, limit=BURST),
    Row("async_actor_sync", "async actor 1:1, sync", {"ray": async_sync_ray}, units=10, goal=6_000, limit=DIRECT),
    Row("async_actor_async", "async actor 1:1, async", {"ray": async_burst_ray}, units=1_000, goal=25_000,
        limit=BURST),
    Row("async_actor_arg", "async actor 1:1, async, with an argument", {"ray": async_argument_ray}, units=1_000,
        goal=15_000, limit=BURST),
    Row("actor_create", "actors made, called once and killed", {"ray": create_ray, "dask": create_dask}, units=2),
)  # fmt: skip
