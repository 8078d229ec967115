"""How references and handles look in a notebook: short, and with the state that the monitor knows; nothing waits."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jupyter_ray.config import LOCAL_ADDRESS
from jupyter_ray.ids import TASK_ID_SIZE
from jupyter_ray.ipython.markup import count, counts_html, plain_html, result_html, table_html
from jupyter_ray.ipython.reports import by_kind

Snapshot = Callable[[], Mapping[str, Any]]

_ENDED = frozenset({"finished", "failed", "cancelled"})
_AS_OF = "as of this cell"
"""What is shown stays, though the state goes on to change."""

_SHOWN = ("CPU", "GPU")

_TYPES = (
    ("jupyter_ray.engine.refs", "ObjectRef"),
    ("jupyter_ray.engine.streams", "ObjectRefGenerator"),
    ("jupyter_ray.api.handles", "ActorHandle"),
    ("jupyter_ray.api.session", "RayContext"),
)


def install(shell: Any, snapshot: Snapshot) -> Callable[[], None]:
    """Register HTML for this package's objects; return the undo. Imports nothing: the types are named.

    Parameters
    ----------
    shell
        The IPython shell.
    snapshot
        Returns the monitor's state (`Hub.snapshot`).
    """
    formatter = shell.display_formatter.formatters["text/html"]
    printers: dict[str, Callable[[Any], str]] = {
        "ObjectRef": lambda ref: object_ref(ref, snapshot(), time.time()),
        "ObjectRefGenerator": lambda generator: ref_generator(generator, snapshot(), time.time()),
        "ActorHandle": lambda handle: actor_handle(handle, snapshot()),
        "RayContext": lambda facts: context(facts, snapshot()),
    }
    for module, name in _TYPES:
        formatter.for_type_by_name(module, name, printers[name])
    before = formatter.type_printers.get(list)

    def several(values: Any) -> Any:
        if type(values) is list and len(values) > 1 and all(map(_is_ref, values)):
            return object_refs(values, snapshot())
        if before is not None:
            return before(values)
        own = getattr(type(values), "_repr_html_", None)  # Of a subclass.
        return own(values) if own is not None else None

    formatter.for_type(list, several)

    def undo() -> None:
        if formatter.type_printers.get(list) is several:
            formatter.pop(list)
            if before is not None:
                formatter.for_type(list, before)
        for module, name in _TYPES:
            with contextlib.suppress(KeyError):
                formatter.pop(f"{module}.{name}")

    return undo


def _is_ref(value: Any) -> bool:
    kind = type(value)
    return kind.__name__ == "ObjectRef" and kind.__module__ == _TYPES[0][0]


def object_refs(refs: Sequence[Any], state: Mapping[str, Any]) -> str:
    """Return ``50 ObjectRefs · f · 2 running · 47 finished · 1 failed · [9]: KeyError: 'b'``."""
    rows = {row["id"]: row for row in state["tasks"]}
    found = [rows.get(ref.binary()[:TASK_ID_SIZE].hex()) for ref in refs]
    names = {row["name"] for row in found if row is not None}
    label = f"{len(refs):,} ObjectRefs" + (f" · {names.pop()}" if len(names) == 1 else "")
    states = Counter(row["state"] for row in found if row is not None)
    failed = ((place, row) for place, row in enumerate(found) if row and row["state"] == "failed" and row["error"])
    details = [f"[{place}]: {row['error']}" for place, row in itertools.islice(failed, 1)]
    if states and (unknown := len(refs) - states.total()):  # The monitor has so many rows and no more.
        details.insert(0, f"{unknown:,} more")
    if not states.keys() <= _ENDED:
        details.append(_AS_OF)
    return counts_html(label, states, " · ".join(details))


def object_ref(ref: Any, state: Mapping[str, Any], now: float) -> str:
    """Return ``ObjectRef(…1a2b) · f · running · 2.1 s · as of this cell``."""
    binary: bytes = ref.binary()
    label = f"ObjectRef(…{_short(binary[:TASK_ID_SIZE])})"
    if binary[TASK_ID_SIZE:] == b"\0\0\0\0":
        return result_html(label, "stored by put", None)
    return _with_task(label, binary[:TASK_ID_SIZE].hex(), state, now)


def ref_generator(generator: Any, state: Mapping[str, Any], now: float) -> str:
    """Return the line of a streaming task."""
    task: bytes = generator.task_id().binary()
    return _with_task(f"ObjectRefGenerator(…{_short(task)})", task.hex(), state, now)


def _with_task(label: str, task: str, state: Mapping[str, Any], now: float) -> str:
    row = next((row for row in state["tasks"] if row["id"] == task), None)
    if row is None:  # It ended long ago, or belongs to a session that is over.
        return plain_html(label)
    start = row["started"]
    elapsed = None if start is None else max(0.0, (row["ended"] or now) - start)
    detail = (row["error"] or "") if row["state"] in _ENDED else _AS_OF
    return result_html(f"{label} · {row['name']}", row["state"], elapsed, detail)


def actor_handle(handle: Any, state: Mapping[str, Any]) -> str:
    """Return ``Counter(…1a2b) · alive · 3 queued``."""
    actor = handle._ray_actor_id
    label = f"{handle._ray_table.class_name}(…{_short(actor.binary())})"
    row = next((row for row in state["actors"] if row["id"] == actor.hex()), None)
    if row is None:
        return plain_html(label)
    if row["name"]:
        label += f" · {row['name']}"
    facts = [f"{row['queue']:,} queued"] if row["queue"] else []
    if row["error"]:
        facts.append(row["error"])
    return result_html(label, row["state"], None, " · ".join(facts))


def context(facts: Any, state: Mapping[str, Any]) -> str:
    """Return the session's facts as a table."""
    info = facts.address_info
    address = str(info.get("address", ""))
    rows = [
        ("engine", "local" if address.startswith(LOCAL_ADDRESS) else address),
        ("session", str(info.get("session_name", ""))),
    ]
    amounts = [f"{count(row['total'])} {kind}" for kind, row in by_kind(state["resources"]).items() if kind in _SHOWN]
    rows += [("resources", ", ".join(amounts))] if amounts else []
    rows += [("namespace", str(info["namespace"]))] if info.get("namespace") else []
    return table_html([*rows, ("version", str(facts.ray_version))])


def _short(binary: bytes) -> str:
    return binary.hex()[:4]
