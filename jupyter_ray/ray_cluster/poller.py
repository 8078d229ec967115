"""Ray's state, asked one question a second while somebody watches, as events of what has changed since.

It completes what workers report: tasks that libraries start with Ray itself, what becomes of calls whose worker died,
and actors. Finished tasks are not asked for, so that ten thousand of them cost nothing; a look that took long is
followed by a pause ten times as long. What Ray leaves out of an answer is said once.

Owner: the state thread has all of it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import ray

from jupyter_ray import events as ev
from jupyter_ray.interrupts import Flag
from jupyter_ray.ray_cluster.state import machines

INTERVAL = 1.0
"""Seconds between two looks, at least."""

SELDOM = 4
"""Looks at tasks and at actors, in turns, between two at nodes and at worker processes."""

LIMIT = 2_000
"""Unfinished tasks that one look shows; there is no room for more in a panel."""

_log = logging.getLogger("jupyter_ray")
_RUNNING = frozenset({"RUNNING", "RUNNING_IN_RAY_GET", "RUNNING_IN_RAY_WAIT"})
_ENDED = frozenset({"FINISHED", "FAILED"})


class Poller:
    """Looks at the state of one session.

    Parameters
    ----------
    engine
        Whose state.
    log
        Where the events go; it is asked what is known already.
    """

    def __init__(self, engine: Any, log: Any) -> None:
        self._engine = engine
        self._events = log
        self._thread: threading.Thread | None = None
        self._closed = Flag()
        self._wanted = Flag()
        self._resumed = True
        """Nobody watched before the next look: what has ended meanwhile is told once."""
        self._ours: dict[str, str] = {}
        """Tasks that only Ray's state told of: what was said of them last."""
        self._actors: dict[str, tuple[str, int]] = {}
        self._turns: deque[Callable[[], list[ev.AnyEvent]]] = deque()
        self._truncated = False
        self._nodes: list[ev.Node] | None = None
        self.looks = 0

    def watch(self) -> None:
        """Somebody watches from now on, and nobody did before."""
        self._resumed = True
        self._turns.clear()
        self._wanted.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="jupyter_ray state", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._closed.set()
        self._wanted.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(2.0)

    def _run(self) -> None:
        while not self._closed.is_set():
            if not self._events.watched:
                self._wanted.wait(INTERVAL)
                self._wanted.clear()
                continue
            began = time.monotonic()
            try:
                self.look()
            except Exception as error:  # The head node does not answer: the engine will say so when it is used.
                _log.debug("Ray's state could not be read: %r", error)
                if not (self._closed.is_set() or self._engine.alive):
                    self._events.lose(str(self._engine.dead()))
                    return
            self._closed.wait(max(INTERVAL, 10 * (time.monotonic() - began)))

    def look(self) -> None:
        """Ask one question, and tell what has changed."""
        self.looks += 1
        if not self._turns:
            self._turns += [self._look_at_tasks, self._look_at_actors] * SELDOM
            self._turns += [self._look_at_nodes, self._look_at_workers]
        self._events.add(*self._turns.popleft()())

    # --- nodes and processes ---

    def _look_at_nodes(self) -> list[ev.AnyEvent]:
        before, self._nodes = self._nodes, machines(ray.nodes())
        return [] if self._nodes == before else [ev.NodesChanged(nodes=self._nodes)]

    def _look_at_workers(self) -> list[ev.AnyEvent]:
        happened: list[ev.AnyEvent] = []
        known = self._events.told.living_workers()
        if known:
            ended = {row["worker_id"]: row for row in self._engine.state.workers() if not row["is_alive"]}
            for worker in known:
                row = ended.get(worker)
                if row is not None:
                    reason = row["exit_detail"] or row["exit_type"] or "it ended"
                    expected = row["exit_type"] not in ("SYSTEM_ERROR", "USER_ERROR", "NODE_OUT_OF_MEMORY")
                    happened.append(ev.WorkerDied(worker=worker, reason=reason, expected=expected))
        return happened

    def _introduce_worker(self, worker: str | None, pid: int, node: str | None, happened: list[ev.AnyEvent]) -> None:
        if worker and node and not self._events.told.knows_worker(worker):
            happened.append(ev.WorkerStarted(worker=worker, pid=pid, node=node))

    # --- tasks ---

    def _look_at_tasks(self) -> list[ev.AnyEvent]:
        first, self._resumed = self._resumed, False
        tasks, left_out = self._engine.state.tasks(limit=LIMIT, states=[] if first else [("!=", "FINISHED")])
        happened: list[ev.AnyEvent] = []
        self._see_tasks(tasks, happened, first)
        if left_out and not self._truncated:
            self._truncated = True
            text = f"jupyter_ray: Ray's state left out {left_out} tasks; the panel shows the others.\n"
            happened.append(ev.LogLines(stream="stderr", text=text, name="jupyter_ray", pid=0))
        return happened

    def _see_tasks(self, rows: list[dict[str, Any]], happened: list[ev.AnyEvent], first: bool) -> None:
        seen = set()
        told = self._events.told
        for row in rows:
            task = row["task_id"]
            seen.add(task)
            if row["type"] == "ACTOR_CREATION_TASK" or told.has_ended(task):
                continue
            if not told.knows_task(task):
                if row["state"] in _ENDED and not first:
                    continue
                self._introduce(row, happened)
            self._see_task(row, happened)
        for task in [task for task in self._ours if task not in seen]:
            del self._ours[task]
            happened.append(ev.TaskFinished(task=task))

    def _see_task(self, row: dict[str, Any], happened: list[ev.AnyEvent]) -> None:
        """Tell how far a task has come of which nobody has told that it has ended."""
        task, state = row["task_id"], row["state"]
        if state == "FINISHED":
            self._ours.pop(task, None)
            times = row["times"]
            began, ended = times.get("RUNNING", times["FINISHED"]) / 1e9, times["FINISHED"] / 1e9
            held = row["required_resources"]
            self._introduce_worker(row["worker_id"], row["worker_pid"] or 0, row["node_id"], happened)
            happened.append(ev.TaskStarted(at=began, task=task, worker=row["worker_id"] or "", held=held))
            happened.append(ev.TaskFinished(at=ended, task=task))
        elif state in _RUNNING and self._ours.get(task) == "submitted":
            self._ours[task] = "started"
            self._introduce_worker(row["worker_id"], row["worker_pid"] or 0, row["node_id"], happened)
            happened.append(
                ev.TaskStarted(
                    task=task,
                    worker=row["worker_id"] or "",
                    held={key: value for key, value in row["required_resources"].items() if value},
                    attempt=row["attempt_number"],
                )
            )
        elif state == "FAILED":
            self._ours.pop(task, None)
            happened.append(self._failure(row))

    def _introduce(self, row: dict[str, Any], happened: list[ev.AnyEvent]) -> None:
        self._ours[row["task_id"]] = "submitted"
        parent = row["parent_task_id"]
        happened.append(
            ev.TaskSubmitted(
                task=row["task_id"],
                name=row["name"],
                kind="method" if row["type"] == "ACTOR_TASK" else "task",
                parent=parent if parent and self._events.told.knows_task(parent) else None,
                dependencies=[],
                returns=[],
                demand={key: value for key, value in row["required_resources"].items() if value},
                actor=row["actor_id"] if row["type"] == "ACTOR_TASK" else None,
                site=row["call_site"],
            )
        )

    @staticmethod
    def _failure(row: dict[str, Any]) -> ev.AnyEvent:
        if row["error_type"] == "TASK_CANCELLED":
            return ev.TaskCancelled(task=row["task_id"])
        lines = (row["error_message"] or row["error_type"] or "it failed").strip().splitlines()
        return ev.TaskFailed(task=row["task_id"], error=lines[-1][:300] if lines else "it failed")

    # --- actors ---

    def _look_at_actors(self) -> list[ev.AnyEvent]:
        happened: list[ev.AnyEvent] = []
        for row in self._engine.state.actors():
            self._see_actor(row, happened)
        return happened

    def _see_actor(self, row: dict[str, Any], happened: list[ev.AnyEvent]) -> None:
        actor, state, restarts = row["actor_id"], row["state"], row["num_restarts"]
        before = self._actors.get(actor)
        if before == (state, restarts):
            return
        self._actors[actor] = (state, restarts)
        if before is None and not self._events.told.knows_actor(actor):
            if state == "DEAD":
                return
            name = row["name"] or None
            task = "ff" * 8 + actor
            happened.append(
                ev.ActorCreated(actor=actor, class_name=row["class_name"], name=name, task=task, parent=None)
            )
        reason = row["reason"] or ""
        if state == "RESTARTING" or (state == "ALIVE" and before is not None and restarts > before[1]):
            happened.append(ev.ActorRestarted(actor=actor, restarts=restarts, reason=reason))
        if state == "ALIVE":
            self._introduce_worker(row["worker_id"], row["pid"], row["node_id"], happened)
            held = {key: value for key, value in row["required_resources"].items() if value}
            happened.append(ev.ActorAlive(actor=actor, worker=row["worker_id"] or "", pid=row["pid"], held=held))
        elif state == "DEAD":
            line = reason.splitlines()[0] if reason else "it ended"
            happened.append(ev.ActorDied(actor=actor, reason=line, expected=row["expected"]))

    def __repr__(self) -> str:
        with contextlib.suppress(RuntimeError):
            return f"<Poller: {self.looks} looks, {len(self._ours)} tasks of others>"
        return "<Poller>"
