"""Random programs of several drivers on one runtime, which come, end in each way, and leave nothing."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import jupyter_ray as ray
from jupyter_ray import config
from jupyter_ray.engine import registry
from jupyter_ray.util import state
from jupyter_ray.util.placement_group import remove_placement_group
from tests.contract.helpers import eventually
from tests.local import driving

SEEDS = int(os.environ.get("JUPYTER_RAY_FUZZ", "0"))
"""How many programs are run that have not been run before; 0: the same two each time."""
DRIVERS, STEPS = 3, 8


class Guest:
    """A process that runs `driving`."""

    def __init__(self, address: str, seed: str, folder: Path) -> None:
        self.folder, self.log = folder, folder / f"output-{seed}"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.local.driving", address, seed, str(folder)],
                stdout=log,
                stderr=log,
                cwd=Path(__file__).parents[2],
            )
        self.stopped = False
        self.killed = False

    @property
    def joined(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return (self.folder / f"joined-{self.process.pid}").exists()

    def send(self, number: int) -> None:
        self.process.send_signal(number)
        self.stopped = {signal.SIGSTOP: True, signal.SIGCONT: False}.get(signal.Signals(number), self.stopped)

    def end(self, number: int) -> None:
        self.killed = True
        self.process.send_signal(number)
        self.process.wait()

    def check(self) -> None:
        """It was told what its own tasks printed alone, and whatever it did was right."""
        text = self.log.read_text()
        foreign = set(re.findall(r"mark (\w+)", text)) - set(re.findall(r"^job (\w+)", text, re.M))
        assert not foreign, text
        assert self.killed or self.process.returncode == 0, text


@pytest.mark.parametrize("seed", range(SEEDS) or [1, 2])
def test_random_drivers(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)
    ray.init(num_cpus=2, namespace="shared", log_to_driver=False, logging_level="ERROR")
    address = ray.get_runtime_context().gcs_address
    engine = registry.current()
    assert engine is not None
    exchange = driving.Exchange.options(name="exchange", max_concurrency=1).remote(seed)
    guests: list[Guest] = []
    all_guests: list[Guest] = []

    def begin() -> None:
        guest = Guest(address, f"{seed}-{len(all_guests)}", tmp_path)
        all_guests.append(guest)
        eventually(lambda: guest.joined)
        guests.append(guest)

    try:
        for _ in range(DRIVERS):
            begin()
        for _ in range(STEPS):
            time.sleep(draw.uniform(0.05, 0.5))
            guest = draw.choice(guests)
            kind = draw.choice(["kill", "term", "stop", "go on", "interrupt", "begin"])
            if kind in ("kill", "term") or (kind == "begin" and len(guests) > DRIVERS):
                guest.end(signal.SIGTERM if kind == "term" and not guest.stopped else signal.SIGKILL)
                guests.remove(guest)
                if not guests:
                    begin()
            elif kind == "begin":
                begin()
            elif kind == "stop":
                guest.send(signal.SIGSTOP)
            elif kind == "go on":
                guest.send(signal.SIGCONT)
            elif not guest.stopped:
                guest.send(signal.SIGINT)
        for guest in guests:
            guest.send(signal.SIGCONT)
        (tmp_path / "end").touch()
        for guest in guests:
            guest.process.wait(120)
        failed = [each.read_text() for each in tmp_path.glob("failed-*")]
        assert not failed, "\n".join(failed)
        for guest in all_guests:
            guest.check()
        ray.get(exchange.clear.remote())
        eventually(lambda: [job.status for job in state.list_jobs()].count("RUNNING") == 1)
        del exchange
        for found in ray.util.list_named_actors(all_namespaces=True):
            with contextlib.suppress(ValueError):  # It has just ended.
                ray.kill(ray.get_actor(**found))
        for group in ray.util.placement_group_table().values():
            if group["state"] != "REMOVED":
                remove_placement_group(ray.util.get_placement_group(group["name"]))
        eventually(lambda: all(each.state in ("FINISHED", "FAILED") for each in state.list_tasks(limit=10_000)))
        eventually(lambda: all(each.state == "DEAD" for each in state.list_actors(limit=10_000)))
        eventually(lambda: ray.available_resources() == ray.cluster_resources())
        eventually(lambda: not state.list_objects())
        eventually(lambda: len(engine.statistics()["worker_pids"]) <= 4)
        shm = config.shared_memory_folder(ray.get_runtime_context().get_session_name())
        eventually(lambda: not [each for each in shm.iterdir() if not each.name.startswith("spare-")])
    finally:
        for guest in all_guests:
            if guest.process.poll() is None:
                guest.end(signal.SIGKILL)
        ray.shutdown()
