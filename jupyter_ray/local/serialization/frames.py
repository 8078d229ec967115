"""Arrow's arrays and Polars' frames: beside the stream, and no more of their memory than they show.

A slice of an Arrow array, or of a DataFrame whose text is in one, has the whole array's buffers, and would be pickled
with all of them. What is much smaller than its buffers goes in Arrow's format for messages, which has the slice alone.
Polars writes a copy of everything into the stream; by way of Arrow its memory goes as it is, and is shared on arrival.
"""

from __future__ import annotations

import pickle
import sys
from typing import Any

_SPARED = 1 << 16
"""Bytes that have to be saved before anything is done otherwise."""

_MANY_CHUNKS = 16
_INTEGERS = {f"{sign}{bits}" for sign in ("Int", "UInt") for bits in (8, 16, 32, 64)}
_AS_IN_ARROW = frozenset({*_INTEGERS, "Float32", "Float64", "Boolean", "Date", "Datetime", "Duration", "Time"})
"""Kinds of Polars' columns that come back from Arrow as what they were, without a copy."""

_TEXT = frozenset({"String", "Binary"})
"""These, too; Arrow's older layout of them has no more than what the frame shows."""


def array_class() -> Any:
    """Return Arrow's class of arrays, if a program has imported it, else None."""
    return getattr(sys.modules.get("pyarrow"), "Array", None)


def reduce_slice(array: Any) -> Any:
    """Return how an Arrow array is pickled that shows only part of its memory; None: in its own way."""
    if not _is_cut(str(array.type)):  # Some versions of Arrow do not know the size of a view.
        return None
    shown = array.nbytes
    if array.get_total_buffer_size() <= shown + shown // 4 + _SPARED:
        return None
    arrow = sys.modules["pyarrow"]
    sink = arrow.BufferOutputStream()
    batch = arrow.RecordBatch.from_arrays([array], names=["slice"])
    with arrow.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return _read_slice, (pickle.PickleBuffer(sink.getvalue()),)


def _is_cut(kind: str) -> bool:
    """Tell whether Arrow's messages have the slice alone, and bring back a type: views and classes of users' do not."""
    return "view" not in kind and "extension" not in kind


def _read_slice(buffer: Any) -> Any:
    import pyarrow

    return pyarrow.ipc.open_stream(buffer).read_next_batch().column(0)


def reduce_frame(frame: Any) -> Any:
    """Return how a DataFrame of Polars is pickled."""
    table = _as_table(frame)
    return frame.__reduce_ex__(pickle.HIGHEST_PROTOCOL) if table is None else (_make_frame, (table,))


def reduce_series(series: Any) -> Any:
    """Return how a column of Polars is pickled."""
    table = _as_table(series.to_frame())
    return series.__reduce_ex__(pickle.HIGHEST_PROTOCOL) if table is None else (_make_series, (table,))


def _as_table(frame: Any) -> Any:
    """Return a frame as an Arrow table that shares its memory; None: it has columns of other kinds, or is small."""
    kinds = {each.base_type().__name__ for each in frame.dtypes}
    if not kinds or not kinds <= _AS_IN_ARROW | _TEXT or frame.estimated_size() < _SPARED:
        return None
    levels = getattr(sys.modules.get("polars"), "CompatLevel", None)
    if levels is None:  # Older than 1.0.
        return None
    level = levels.newest() if kinds.isdisjoint(_TEXT) else levels.oldest()
    if frame.n_chunks() > _MANY_CHUNKS:
        frame = frame.rechunk()
    try:
        return frame.to_arrow(compat_level=level)
    except ModuleNotFoundError:  # Polars does without Arrow.
        return None


def _make_frame(table: Any) -> Any:
    import polars

    return polars.from_arrow(table, rechunk=False)


def _make_series(table: Any) -> Any:
    return _make_frame(table).to_series()
