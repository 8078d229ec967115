"""What an engine is asked, and only the runtime knows: the part of `LocalEngine` that changes nothing but names."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from jupyter_ray.engine.base import NamedActor, NoOwnerError
from jupyter_ray.engine.context import ProcessContext, current_task
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.ids import task_of
from jupyter_ray.local.client.client import Client
from jupyter_ray.local.engine import environment, machine
from jupyter_ray.local.protocol import messages as m


class Questions:
    """Questions about the session; see `Engine` for each."""

    client: Client
    process: ProcessContext

    @property
    def alive(self) -> bool:
        """Whether the session can be used."""
        return self.client.alive

    def get_actor(self, name: str, namespace: str | None) -> NamedActor | None:
        """Find a living actor by its name; see `Engine.get_actor`."""
        self.client.references.flush()  # Of an actor whose handle this process has just dropped the name is free.
        found = self.client.query("actor_by_name", name=name, namespace=namespace or self.process.namespace)
        return None if found is None else NamedActor(actor=bytes(found["actor"]), handle=bytes(found["handle"]))

    def _create_named(self, spec: m.ActorSpec) -> bytes | None:
        """Make an actor with a name, or find it, and return the id of what was found, or None."""
        self.client.references.flush()  # As above.
        answer = self.client.request(lambda number: m.CreateActor(number, spec))
        return None if answer["created"] else bytes(answer["actor"])

    def list_named_actors(self, all_namespaces: bool) -> list[tuple[str, str]]:
        """Return (namespace, name) of the living named actors."""
        found = [(str(namespace), str(name)) for namespace, name in self.client.query("named_actors")]
        return [each for each in found if all_namespaces or each[0] == self.process.namespace]

    def is_cancelled(self, task: bytes) -> bool:
        """Tell whether a cancel was asked for the task."""
        current = current_task()
        if current is not None and current.task == task:
            return current.cancelled
        found = self.client.query("task", task=task)
        return found is not None and bool(found["cancelled"])

    def jobs(self) -> list[dict[str, Any]]:
        """Return a row for each driver's job; see `Engine.jobs`."""
        return [
            {
                "job_id": bytes(job["id"]).hex(),
                "entrypoint": job["entrypoint"],
                "ended": job["ended"],
                "runtime_env": environment.decode(job["env"]),
                "metadata": job["metadata"],
                "pid": job["pid"],
                "started": job["started"],
            }
            for job in self.client.query("jobs")
        ]

    def total_resources(self) -> dict[str, float]:
        """Return all resources, in amounts."""
        return dict(self.client.query("resources")["total"])

    def available_resources(self) -> dict[str, float]:
        """Return what is free, in amounts."""
        return dict(self.client.query("resources")["available"])

    def nodes(self) -> list[dict[str, Any]]:
        """Return the row of this machine, with Ray's keys."""
        found = self.client.query("resources")
        return [machine.node_row(self.process, dict(found["total"]), self.alive, started=found["started"])]

    def placement_groups(self) -> list[dict[str, Any]]:
        """Return a row for each placement group; bundles that are reserved are all on this machine."""
        rows = list(self.client.query("placement_groups"))
        for row in rows:
            node = self.process.node.hex() if row["state"] == "CREATED" else ""
            row["bundles_to_node_id"] = dict.fromkeys(row["bundles"], node)
        return rows

    def why(self, counted: bytes) -> str:
        """Explain in plain sentences why an object is not ready, or what an actor is doing."""
        return str(self.client.query("why", id=counted))

    def table(
        self, what: str, *, limit: int, filters: Sequence[tuple[str, str, Any]] = (), id: str | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return rows of a table of the state; see `Engine.table`."""
        found = self.client.query("table", table=what, limit=limit, filters=list(filters), id=id)
        return list(found["rows"]), bool(found["more"])

    def summary(self, what: str, by: Sequence[str]) -> list[tuple[list[str], int, int]]:
        """Return how many rows of a table agree; see `Engine.summary`."""
        return [(key, count, size) for key, count, size in self.client.query("summary", table=what, by=list(by))]

    def _check_there(self, object_id: bytes) -> None:
        """Raise a NoOwnerError if nobody holds such an object, and no task is known that makes it."""
        if self.client.references.is_granted(object_id) or self.client.query("task", task=task_of(object_id)):
            return
        if not self.table("objects", limit=1, id=object_id.hex())[0]:
            raise NoOwnerError(
                f"No owner found for the object {object_id.hex()}: it does not exist in this session, so there is "
                "nothing to cancel. Its reference was made by hand, or belongs to an earlier session."
            )

    def call_site(self, object_id: bytes) -> str:
        """Return the line and the function that made an object, "" where that is not known."""
        rows, _ = self.table("objects", limit=1, id=object_id.hex())
        return str(rows[0]["call_site"] or "") if rows else ""

    def locations(self, refs: Sequence[ObjectRef[Any]]) -> list[tuple[list[str], int | None, bool]]:
        """Return of each object where it is, its size, and whether it is on disk; see `Engine.locations`."""
        node = [self.process.node.hex()]
        found = self.client.query("locations", ids=[ref.binary() for ref in refs])
        return [([] if size is None else node, size, bool(on_disk)) for size, on_disk in found]

    def note_span(self, name: str, since: float, until: float, extra: dict[str, str]) -> None:
        """Have `timeline` show a span of time; see `Engine.note_span`."""
        task = current_task()
        span = m.Span(name, since, until, extra, None if task is None else task.task)
        with contextlib.suppress(RaySystemError):
            self.client.send(span, soon=False)

    def collect_garbage(self) -> None:
        """Have all processes collect garbage; see `Engine.collect_garbage`."""
        self.client.query("garbage")

    def reference_counts(self) -> dict[bytes, tuple[int, int]]:
        """Return of each object how often this process refers to it; see `Engine.reference_counts`."""
        references = self.client.references
        references.flush()
        calls = self.client.query("used_by_calls")
        held = dict.fromkeys(references.objects(), 1)
        return {each: (held.get(each, 0), calls.get(each, 0)) for each in {**held, **calls}}

    def pairs(self, operation: str, key: bytes, *, space: bytes, value: bytes = b"", flag: bool = False) -> Any:
        """Get, put or delete what is kept under a key; see `Engine.pairs`."""
        return self.client.query("pairs", operation=operation, key=key, space=space, value=value, flag=flag)

    def statistics(self) -> dict[str, Any]:
        """Return counts of the session: tasks, actors, objects, workers, bytes."""
        return dict(self.client.query("statistics"))
