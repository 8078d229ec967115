"""What the runtime looks at by itself while something runs: memory, stopped processes, and waits that are in vain.

Nobody tells the runtime of these, so it looks some four times a second, and not at all while nothing runs. What it
finds is told to people, is a stimulus for the scheduler, or ends a worker; why it ended one is known here until the
process is gone.

Owner: the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from jupyter_ray.local.protocol.messages import Log
from jupyter_ray.local.scheduler.core import Scheduler
from jupyter_ray.local.scheduler.expendable import expendable
from jupyter_ray.local.scheduler.starved import Starved
from jupyter_ray.local.scheduler.stimuli import AwaitedLong, MemoryShort, Said, Stimulus
from jupyter_ray.local.scheduler.why import maker_is_stopped
from jupyter_ray.local.server.guard import LOOK_SECONDS, OOM_KILLED, Guard
from jupyter_ray.local.server.processes import Processes
from jupyter_ray.local.server.stopped import Stopped


class End(NamedTuple):
    """How a worker's process ended. `spared`: it was not the one that had taken the memory."""

    reason: str
    out_of_memory: bool
    spared: bool


class Host(Protocol):
    """What this needs of the server."""

    scheduler: Scheduler
    processes: Processes

    def happen_alone(self, stimulus: Stimulus) -> None:
        """Give a stimulus to the scheduler, do what it wants, and write what is to be sent."""

    def say(self, text: str, worker: bytes | None = None) -> None:
        """Tell the driver's user something, or the user of the driver whose worker this is."""


class Lookout:
    """Looks, as long as something runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: Host) -> None:
        self._loop = loop
        self._host = host
        self._is_looking = False
        self._guard = Guard()
        self._stopped = Stopped()
        self._starved = Starved()
        self._ended_for_memory: dict[bytes, tuple[str, bool]] = {}
        """Workers that were ended since memory ran out, why, and whether they had the most of it."""
        self._ended_as_stopped: dict[bytes, str] = {}
        """Workers that were ended since calls waited behind a stopped process, and what is said of that."""

    def bound(self, environ: Mapping[str, str], memory_share: float) -> None:
        """The driver has said how much memory is too much."""
        self._guard.bound(environ, memory_share)

    def begin(self) -> None:
        """Look from now on, if something runs."""
        if not self._is_looking and self._host.scheduler.busy:
            self._is_looking = True
            self._loop.call_later(LOOK_SECONDS, self._look)

    def explain(self, reason: str) -> str:
        """Return why a process ended, where the kernel may have ended it for want of memory; call it at once."""
        return self._guard.explain(reason)

    def end_of(self, worker: bytes, reason: str) -> End:
        """Return how a worker ended whose process is gone, for `reason` if not for one that is known here."""
        reason = self._ended_as_stopped.pop(worker, reason)
        if worker in self._ended_for_memory:
            reason, had_most = self._ended_for_memory.pop(worker)
            return End(reason, out_of_memory=True, spared=not had_most)
        return End(reason, out_of_memory=reason == OOM_KILLED, spared=False)

    def _look(self) -> None:
        self._is_looking = self._host.scheduler.busy
        if self._is_looking:
            self._look_at_memory()
            self._loop.call_later(self._guard.pause, self._look)
            self._look_at_stopped()
            self._look_at_waits()

    def _look_at_memory(self) -> None:
        """End a worker if memory runs out; where it is only short, have spare files given back."""
        state = self._host.scheduler.state
        too_much = self._guard.look(lambda: [each.pid for each in expendable(state)])
        if too_much is not None and not self._ended_for_memory:  # What the last one had is free once it is gone.
            pid, reason, has_most = too_much
            worker = next(each for each in state.workers.values() if each.pid == pid)
            self._ended_for_memory[worker.id] = reason, has_most
            self._host.processes.kill(worker.id)
            names = [worker.actor.label] if worker.actor is not None else [t.spec.name for t in worker.tasks.values()]
            self._host.say(f"Process {pid} ({', '.join(names[:1]) or 'idle'}) was ended: {reason}.\n", worker.id)
        if self._guard.is_short and state.memory.spares:
            self._host.happen_alone(MemoryShort())

    def _look_at_stopped(self) -> None:
        """Tell of workers that are stopped, and end those that calls wait behind."""
        now = self._loop.time()
        records = self._host.scheduler.state.workers
        workers = {each.pid: each.id for each in records.values() if each.tasks and each.pid}
        is_awaited = any(each.tasks and not each.pid for each in records.values())
        maker = self._host.processes.template if is_awaited else None
        self._stopped.look([*workers, maker] if maker is not None else workers, now)
        for pid in self._stopped.to_tell(now):
            if pid == maker:
                self._host.say(f"{maker_is_stopped(pid)}\n")
                continue
            task = next(iter(records[workers[pid]].tasks.values())).spec
            text = f"Process {pid} is stopped (SIGSTOP): {task.name} does not go on before `kill -CONT {pid}`.\n"
            told = Log("stderr", text, task.name, task.task, task.actor, task.cell)
            self._host.happen_alone(Said(workers[pid], [told]))
        for pid in self._stopped.for_long(now):
            worker = records.get(workers.get(pid, b""))
            if worker is not None and worker.actor is None and len(worker.tasks) > 1:
                reason = "its process had been stopped (SIGSTOP), and other calls waited behind it"
                self._ended_as_stopped[worker.id] = reason
                self._host.processes.kill(worker.id)

    def _look_at_waits(self) -> None:
        """Have a deadlock looked for where something may be awaited in vain; tell of calls that are starved."""
        now = time.time()
        state = self._host.scheduler.state
        if self._starved.suspects(state, now):
            self._host.happen_alone(AwaitedLong())
        for task, text, cell in self._starved.to_tell(state, now):
            self._host.happen_alone(Said(task.client.id, [Log("stderr", text, "jupyter_ray", cell=cell)]))

    def __repr__(self) -> str:
        return f"<Lookout: {'looking' if self._is_looking else 'resting'}, {self._stopped!r}, {self._starved!r}>"
