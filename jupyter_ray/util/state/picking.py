"""Which rows of a table pass the filters."""

from __future__ import annotations

import logging
from typing import Any

from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.ids import OBJECT_ID_SIZE, BaseID
from jupyter_ray.interrupts import shielded
from jupyter_ray.util.state.exception import BadRequest
from jupyter_ray.util.state.rows import Made, Row
from jupyter_ray.util.state.signatures import Filters

_log = logging.getLogger("jupyter_ray")


def pick(kind: type[Made], rows: list[dict[str, Any]], filters: Filters | None, limit: int, detail: bool) -> list[Made]:
    """Return the rows of `kind` that pass, at most `limit`."""
    checked, limit = check(kind, filters), whole(limit)
    passing = [
        row
        for row in rows
        if all((str(row.get(c)).casefold() == str(v).casefold()) == (p == "=") for c, p, v in checked)
    ]
    warn(kind, len(passing) > limit, limit)
    return [kind.make(row, detail) for row in passing[:limit]]


def check(kind: type[Row], filters: Filters | None) -> list[tuple[str, str, Any]]:
    """Return the filters, with columns in lower case and values as the tables have them; ValueError for what is none.

    Raises
    ------
    BadRequest
        There is no such column, or its values are of another kind.
    ValueError
        It is no filter.
    """
    if isinstance(filters, str):
        raise ValueError(f"filters must be a list of (column, '=' or '!=', value) tuples, got {filters!r}.")
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
            raise BadRequest(f"The given filter column {column} is not supported. Supported filter columns: {known}.")
        check_predicate(predicate)
        checked.append((column, predicate, _value(kind, column, in_hex(value))))
    return checked


def check_predicate(predicate: Any) -> None:
    """Raise a ValueError for what is no predicate of a filter."""
    if predicate not in ("=", "!="):
        raise ValueError(f"Unsupported filter predicate {predicate} is given. Available predicates: =, !=.")


def whole(limit: Any) -> int:
    """Return a `limit`, which may be text, as in Ray; ValueError if it is none."""
    try:
        found = int(limit)
        is_whole = isinstance(limit, str) or found == limit
    except (TypeError, ValueError, OverflowError):
        is_whole = False
    if not is_whole:
        raise ValueError(f"limit must be a whole number, got {limit!r}.")
    if found < 0:
        raise BadRequest(f"limit cannot be negative, got {limit}.")
    return found


def _value(kind: type[Row], column: str, value: Any) -> Any:
    """Return what a column is to be compared with. What is not there (None) may be asked for in every column."""
    text = str(value)
    if value is None or text == "None":
        return value
    if column in kind.IDS:
        check_id(column, text, kind.IDS[column])
    elif kind.kind(column) == "bool":
        if text.lower() not in _BOOLEANS:
            raise BadRequest(f"Invalid filter: {column} is true or false, not {value!r}. Write True or False.")
        return _BOOLEANS[text.lower()]
    elif kind.kind(column) == "int":
        try:
            return str(int(value))  # However long it is.
        except (TypeError, ValueError, OverflowError):
            raise BadRequest(f"Invalid filter: {column} is a whole number, not {value!r}.") from None
    elif column == "state" and kind.STATES and text.upper() not in kind.STATES:
        raise BadRequest(f"Invalid filter: no state is called {value!r}. There are {', '.join(kind.STATES)}.")
    return value


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def check_id(column: str, text: str, size: int) -> None:
    """Raise BadRequest if a text cannot be an identifier of `size` bytes."""
    try:
        found = len(bytes.fromhex(text))
    except ValueError:
        raise BadRequest(f"{text!r} is not a {column}: that has {2 * size} hexadecimal digits.") from None
    if found == size:
        return
    is_ref = column == "task_id" and found == OBJECT_ID_SIZE
    hint = " It is the id of an object; that of a reference's task is ref.task_id().hex()." if is_ref else ""
    raise BadRequest(f"{text!r} is not a {column}: that has {2 * size} hexadecimal digits, not {2 * found}.{hint}")


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
