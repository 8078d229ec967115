"""Throughput through this package's API on a Ray cluster, against the same program on plain Ray, in one run.

    python -m benchmarks.cluster [ADDRESS] [--rounds N]

Without an address it starts the small cluster of the tests (a head and two worker nodes on this machine) and ends it.
In each round plain Ray runs before this package and after it, so that what else the machine does meets both, and so
that the two runs of plain Ray tell how far one program differs from itself. The ratio of a row is the median of the
rounds' ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jupyter_ray

Program = Callable[[Any, int], None]


def _nothing() -> None: ...


def _add(a: int, b: int) -> int:
    return a + b


class _Actor:
    def call(self, value: int = 0) -> int:
        return value


class _AsyncActor:
    async def call(self, value: int = 0) -> int:
        return value


def _tasks_async(remotes: dict[str, Any], count: int) -> None:
    remotes["get"]([remotes["nothing"].remote() for _ in range(count)])


def _tasks_with_arguments(remotes: dict[str, Any], count: int) -> None:
    remotes["get"]([remotes["add"].remote(number, 1) for number in range(count)])


def _tasks_sync(remotes: dict[str, Any], count: int) -> None:
    for _ in range(count):
        remotes["get"](remotes["nothing"].remote())


def _actor_sync(remotes: dict[str, Any], count: int) -> None:
    for _ in range(count):
        remotes["get"](remotes["actor"].call.remote())


def _actor_async(remotes: dict[str, Any], count: int) -> None:
    remotes["get"]([remotes["actor"].call.remote(number) for number in range(count)])


def _async_actor(remotes: dict[str, Any], count: int) -> None:
    remotes["get"]([remotes["async_actor"].call.remote(number) for number in range(count)])


def _put_and_get(remotes: dict[str, Any], count: int) -> None:
    for number in range(count):
        remotes["get"](remotes["put"](number))


ROWS: dict[str, tuple[Program, int]] = {
    "tasks, async": (_tasks_async, 1000),
    "tasks with two arguments, async": (_tasks_with_arguments, 1000),
    "tasks, sync": (_tasks_sync, 200),
    "actor calls, async": (_actor_async, 2000),
    "actor calls, sync": (_actor_sync, 300),
    "async actor, async": (_async_actor, 1000),
    "put and get, small": (_put_and_get, 500),
}


def _remotes(api: Any) -> dict[str, Any]:
    """Return the functions and actors of one API."""
    found = {
        "get": api.get,
        "put": api.put,
        "nothing": api.remote(_nothing),
        "add": api.remote(_add),
        "actor": api.remote(_Actor).remote(),
        "async_actor": api.remote(_AsyncActor).remote(),
    }
    for program, _ in ROWS.values():  # Workers start, definitions travel.
        program(found, 20)
    return found


def _speed(program: Program, remotes: dict[str, Any], count: int) -> float:
    program(remotes, count // 10)  # What the other program left behind gives way: workers that Ray keeps for it.
    began = time.perf_counter()
    program(remotes, count)
    return count / (time.perf_counter() - began)


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Return what was measured of each row.

    Returns
    -------
    dict
        For each row: `jupyter_ray` and `ray`, calls a second, medians; `ratio` and its quartiles `low` and `high`; and
        `noise`, by which part plain Ray differs from itself in the same rounds (the median).
    """
    import ray

    ours, plain = _remotes(jupyter_ray), _remotes(ray)
    found = {}
    for name, (program, count) in ROWS.items():
        speeds, others, ratios, noise = [], [], [], []
        for _ in range(rounds):
            before, own, after = (_speed(program, remotes, count) for remotes in (plain, ours, plain))
            speeds.append(own)
            others += [before, after]
            ratios.append(2 * own / (before + after))
            noise.append(abs(after - before) / max(before, after))
        low, middle, high = statistics.quantiles(ratios, n=4)
        found[name] = {
            "jupyter_ray": statistics.median(speeds),
            "ray": statistics.median(others),
            "ratio": middle,
            "low": low,
            "high": high,
            "noise": statistics.median(noise),
        }
    return found


@contextlib.contextmanager
def _cluster(address: str | None) -> Iterator[str]:
    if address is not None:
        yield address
        return
    from tests.cluster.nodes import running_cluster

    with running_cluster() as cluster:
        yield cluster.address


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("address", nargs="?", help="of a running cluster; without it, one is started here")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    with _cluster(options.address) as address, jupyter_ray.init(address, log_to_driver=False):
        rows = measure(options.rounds)
    print(f"{'per second':34}{'jupyter_ray':>12}{'plain Ray':>12}{'ratio':>8}{'quartiles':>14}{'Ray to itself':>16}")
    for name, row in rows.items():
        quartiles, noise = f"{row['low']:.2f}-{row['high']:.2f}", f"±{row['noise']:.0%}"
        print(f"{name:34}{row['jupyter_ray']:12,.0f}{row['ray']:12,.0f}{row['ratio']:8.2f}{quartiles:>14}{noise:>16}")
    print(f"geometric mean of the ratios: {statistics.geometric_mean(row['ratio'] for row in rows.values()):.3f}")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
