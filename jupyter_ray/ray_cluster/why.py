"""Why something is not ready, in plain sentences, from Ray's state and from what this process asked for itself."""

from __future__ import annotations

import time
from typing import Any

import ray

from jupyter_ray.ids import ACTOR_ID_SIZE, task_of
from jupyter_ray.ray_cluster import refs

_DEPTH = 20
_BEFORE_NODE = ("PENDING_NODE_ASSIGNMENT", "PENDING_OBJ_STORE_MEM_AVAIL")
_WAITING = ("PENDING_ARGS_FETCH", "SUBMITTED_TO_WORKER", "PENDING_ACTOR_TASK_ARGS_FETCH",
            "PENDING_ACTOR_TASK_ORDERING_OR_CONCURRENCY")  # fmt: skip
_ENDED = ("FINISHED", "FAILED")
_RUNNING = ("RUNNING", "RUNNING_IN_RAY_GET", "RUNNING_IN_RAY_WAIT", "GETTING_AND_PINNING_ARGS")


class Explanation:
    """One question and its answer; asks Ray for each task at most once."""

    def __init__(self, engine: Any) -> None:
        self._state = engine.state
        self._engine = engine
        self._rows: dict[bytes, dict[str, Any] | None] = {}

    def of(self, counted: bytes) -> str:
        """Explain an object or an actor."""
        if len(counted) == ACTOR_ID_SIZE:
            return self._of_actor(counted)
        ready, _ = ray.wait([refs.living(counted)], timeout=0, fetch_local=False)
        if ready:
            return "It is ready."
        return "\n".join(self._of_task(task_of(counted), 0))

    def _row(self, task: bytes) -> dict[str, Any] | None:
        if task not in self._rows:
            found, _ = self._state.tasks(task=task)
            self._rows[task] = max(found, key=lambda row: row["attempt_number"], default=None)
        return self._rows[task]

    def _of_task(self, task: bytes, depth: int) -> list[str]:
        row = self._row(task)
        if row is None:
            name = self._engine.reports.name_of(task) or "The task"
            return [f"{name} was submitted; Ray has reported nothing more about it yet."]
        name, state = row["name"], row["state"]
        if state in _ENDED:
            return [f"{name} has ended ({state.lower()})."]
        if state in _RUNNING:
            return [self._running(row), *self._children(row, depth)]
        if state == "PENDING_ARGS_AVAIL":
            return self._arguments(task, name, depth)
        if row["actor_id"] is not None and row["type"] == "ACTOR_TASK":
            return self._queued_at_actor(row)
        if state in _BEFORE_NODE:
            return self._resources(row)
        return [f"{name} was given to a worker that is about to start it ({state.lower().replace('_', ' ')})."]

    def _running(self, row: dict[str, Any]) -> str:
        began = row["times"].get("RUNNING", 0) / 1e9
        seconds = max(0.0, time.time() - began)
        waits = self._engine.reports.waits_of(bytes.fromhex(row["task_id"]))
        blocked = "is blocked in get(); it " if waits or row["state"] == "RUNNING_IN_RAY_GET" else ""
        where = f"in process {row['worker_pid']} on node {(row['node_id'] or '?')[:8]}"
        return f"{row['name']} {blocked}has been running for {seconds:.1f} s {where}."

    def _children(self, row: dict[str, Any], depth: int) -> list[str]:
        if depth >= _DEPTH:
            return []
        waits = self._engine.reports.waits_of(bytes.fromhex(row["task_id"]))
        found: list[str] = []
        for object_id in waits[:3]:
            told = self._of_task(task_of(object_id), depth + 1)
            found.append(f"It waits for the result of {told[0]}")
            found += told[1:]
        return found

    def _arguments(self, task: bytes, name: str, depth: int) -> list[str]:
        missing = [each for each in self._engine.reports.dependencies_of(task) if not self._is_there(each)]
        if not missing:
            return [f"{name} waits for its arguments."]
        lines = [f"{name} waits for {len(missing)} argument{'s' if len(missing) > 1 else ''}:"]
        if depth < _DEPTH:
            told = self._of_task(task_of(missing[0]), depth + 1)
            lines += [f"the result of {told[0]}", *told[1:]]
        return lines

    def _is_there(self, object_id: bytes) -> bool:
        if self._engine.may_ask(object_id):
            return bool(ray.wait([refs.living(object_id)], timeout=0, fetch_local=False)[0])
        row = self._row(task_of(object_id))
        return row is None or row["state"] in _ENDED

    def _resources(self, row: dict[str, Any]) -> list[str]:
        asked = {key: value for key, value in row["required_resources"].items() if value}
        free = self._state.free()
        wanted = ", ".join(f"{key}: {value:g}" for key, value in sorted(asked.items())) or "a worker"
        lines = [f"{row['name']} waits for {wanted}."]
        total = self._state.total()
        if not any(all(node.get(key, 0) >= value for key, value in asked.items()) for node in total.values()):
            lines.append("No node of the cluster has that in all: it waits until one joins, or for ever. Ask for less.")
            return lines
        for node, left in free.items():
            there = ", ".join(f"{key}: {left.get(key, 0):g} of {total[node].get(key, 0):g}" for key in sorted(asked))
            lines.append(f"Node {node[:8]} has free: {there}.")
        if any(all(left.get(key, 0) >= value for key, value in asked.items()) for left in free.values()):
            return [*lines, "A node has room, and starts a process for it."]
        running, _ = self._state.tasks(states=[("=", "RUNNING")], limit=100)
        for holder in running[:5]:
            held = {key: value for key, value in holder["required_resources"].items() if key in asked and value}
            if held:
                told = ", ".join(f"{key}: {value:g}" for key, value in sorted(held.items()))
                lines.append(f"{holder['name']} holds {told}; it runs in process {holder['worker_pid']}.")
        return lines

    def _queued_at_actor(self, row: dict[str, Any]) -> list[str]:
        actor = row["actor_id"]
        name = next((each["class_name"] for each in self._state.actors() if each["actor_id"] == actor), "?")
        tasks = self._calls(actor)
        number = next((n for n, each in enumerate(tasks) if each["task_id"] == row["task_id"]), 0)
        lines = [f"{row['name']} is number {number} in the queue at the actor {name}."]
        lines += [self._running(each) for each in tasks if each["state"] in _RUNNING][:3]
        return lines

    def _calls(self, actor: str) -> list[Any]:
        rows, _ = self._state.tasks(states=[("!=", "FINISHED"), ("!=", "FAILED")])
        calls = [each for each in rows if each["actor_id"] == actor and each["type"] == "ACTOR_TASK"]
        return sorted(calls, key=lambda each: each["times"].get("PENDING_ARGS_AVAIL", 0))

    def _of_actor(self, actor: bytes) -> str:
        rows = [row for row in self._state.actors() if row["actor_id"] == actor.hex()]
        if not rows:
            return "Ray does not know this actor: it may belong to another session."
        [row] = rows
        name = row["class_name"]
        if row["state"] == "DEAD":
            reason = row["reason"] or "Ray gives no reason"
            return f"{name} is dead: {reason}"
        if row["state"] == "ALIVE":
            calls = self._calls(row["actor_id"])
            running = [each for each in calls if each["state"] in _RUNNING]
            waiting = len(calls) - len(running)
            lines = [f"{name} is alive in process {row['pid']} on node {(row['node_id'] or '?')[:8]}."]
            lines += [self._running(each) for each in running[:3]]
            lines.append(f"{waiting} call{'' if waiting == 1 else 's'} wait.")
            return "\n".join(lines)
        wanted = ", ".join(f"{key}: {value:g}" for key, value in sorted(row["required_resources"].items()))
        return f"{name} is {row['state'].lower().replace('_', ' ')}; it asks for {wanted or 'nothing'}."
