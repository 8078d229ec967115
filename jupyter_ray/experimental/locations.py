"""Where objects are, and how large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jupyter_ray.engine import registry
from jupyter_ray.engine.refs import ObjectRef


def get_object_locations(obj_refs: Sequence[ObjectRef[Any]], timeout_ms: int = -1) -> dict[ObjectRef[Any], Any]:
    """Return where objects are.

    Parameters
    ----------
    obj_refs
        References; nobody waits for what they refer to.
    timeout_ms
        Of no effect: the answer is there at once.

    Returns
    -------
    dict of ObjectRef to dict
        ``node_ids`` (list of hexadecimal digits; empty where the object is not there yet), ``object_size`` (bytes;
        None where the object is not there yet) and ``did_spill`` (it is on disk).

    Raises
    ------
    RuntimeError
        There is no session.
    TypeError
        Something else than references was given.

    Notes
    -----
    Source: Ray's ``ray.experimental.get_object_locations``.
    """
    engine = registry.current()
    if engine is None:
        raise RuntimeError("Ray hasn't been initialized: call init().")
    refs = list(obj_refs)
    for ref in refs:
        if not isinstance(ref, ObjectRef):
            raise TypeError(f"get_object_locations wants a list of ObjectRefs, got {type(ref)} in it.")
    return {
        ref: {"node_ids": list(nodes), "object_size": size, "did_spill": spilled}
        for ref, (nodes, size, spilled) in zip(refs, engine.locations(refs), strict=True)
    }


def get_local_object_locations(obj_refs: Sequence[ObjectRef[Any]]) -> dict[ObjectRef[Any], Any]:
    """Return where objects are, as `get_object_locations`."""
    return get_object_locations(obj_refs)
