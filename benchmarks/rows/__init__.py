"""The rows: data, in the order in which they run and are shown.

A new row is a function that makes ready, yields its step and puts away, and an entry in its module's `ROWS`.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.model import Row
from benchmarks.rows import actors, machine, objects, observation, startup, tasks

ROWS: tuple[Row, ...] = (
    *startup.ROWS,
    *tasks.ROWS,
    *actors.ROWS,
    *objects.ROWS,
    *observation.ROWS,
    *machine.ROWS,
)
BY_KEY = {row.key: row for row in (*ROWS, observation.REFERENCE)}


def select(patterns: Sequence[str]) -> list[Row]:
    """Return the rows whose key begins with one of the patterns, and their physical limits; all without a pattern."""
    if not patterns:
        return list(ROWS)
    for pattern in patterns:
        if not any(key.startswith(pattern) for key in BY_KEY):
            raise SystemExit(f"There is no row that begins with {pattern!r}. The rows: {', '.join(BY_KEY)}")
    chosen = [row for row in ROWS if row.key.startswith(tuple(patterns))]
    bounds = {row.limit.row for row in chosen if row.limit}
    return [row for row in ROWS if row in chosen or row.key in bounds]
