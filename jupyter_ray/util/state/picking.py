"""Which rows of a table pass the filters."""

from __future__ import annotations

import logging
from typing import Any

from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.ids import BaseID
from jupyter_ray.interrupts import shielded
from jupyter_ray.util.state.exception import UnsupportedColumn
from jupyter_ray.util.state.rows import Made, Row
from jupyter_ray.util.state.signatures import Filters

_log = logging.getLogger("jupyter_ray")


def pick(kind: type[Made], rows: list[dict[str, Any]], filters: Filters | None, limit: int, detail: bool) -> list[Made]:
    """Return the rows of `kind` that pass, at most `limit`."""
    checked = check(kind, filters, limit)
    passing = [
        row
        for row in rows
        if all((str(row.get(c)).casefold() == str(v).casefold()) == (p == "=") for c, p, v in checked)
    ]
    warn(kind, len(passing) > limit, limit)
    return [kind.make(row, detail) for row in passing[:limit]]


def check(kind: type[Row], filters: Filters | None, limit: int) -> list[tuple[str, str, Any]]:
    """Return the filters, with their columns in lower case; ValueError for what is none."""
    if not isinstance(limit, int):
        raise TypeError(f"limit must be a whole number, got {limit!r}.")
    if limit < 0:
        raise ValueError(f"limit cannot be negative, got {limit}.")
    checked = []
    for each in filters or ():
        if len(each) != 3:
            raise ValueError(
                f"The given filter has incorrect input type, {each!r}: provide (column, '=' or '!=', value) tuples."
            )
        column, predicate, value = each
        column = column.lower()
        if column not in kind.columns():
            known = ", ".join(kind.list_columns())
            raise UnsupportedColumn(
                f"The given filter column {column} is not supported. Supported filter columns: {known}."
            )
        if predicate not in ("=", "!="):
            raise ValueError(f"Unsupported filter predicate {predicate} is given. Available predicates: =, !=.")
        checked.append((column, predicate, in_hex(value)))
    return checked


def in_hex(value: Any, task: bool = False) -> Any:
    """Return an identifier as the tables have it; of a reference its own, or of the `task` that makes it."""
    if isinstance(value, ObjectRef):
        return value.task_id().hex() if task else value.hex()
    return value.hex() if isinstance(value, BaseID) else value


def warn(kind: type[Row], more: bool, limit: int) -> None:
    """Say that there is more than was asked for."""
    if more:
        with shielded():
            _log.warning("There are more than %d rows of %s; pass a higher `limit` for all.", limit, kind.__name__)
