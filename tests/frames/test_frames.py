"""DataFrames and Arrow tables as arguments, results and stored values."""

from __future__ import annotations

import datetime
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import jupyter_ray as ray
from jupyter_ray.local.serialization import values

ROWS = 100_000
TEXTS = [f"a text that is longer than twelve bytes, {i % 100}" for i in range(ROWS)]


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    ray.init(num_cpus=2, num_gpus=0, log_to_driver=False)
    yield
    ray.shutdown()


def ways(value: Any) -> list[Any]:
    """Return a value as it comes back by each way."""
    echo = ray.remote(lambda each: each)
    return [ray.get(ray.put(value)), ray.get(echo.remote(value)), ray.get(echo.remote(ray.put([value])))[0]]


ARRAYS = [
    pa.array(range(ROWS)),
    pa.array(TEXTS),
    pa.array(TEXTS, pa.large_string()),
    pa.array([None, *TEXTS[1:]]),
    pa.array(TEXTS).dictionary_encode(),
    pa.array([[i, i] for i in range(ROWS)]),
    pa.array([{"a": i, "b": "x"} for i in range(ROWS)]),
    pa.array([True, None] * (ROWS * 10)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type))
@pytest.mark.parametrize("start", [0, 7, ROWS - 20])
def test_a_slice_of_an_arrow_array_goes_alone(array: pa.Array, start: int) -> None:
    part = array.slice(start, 13)
    limit = 5_000 + (2 * len(pickle.dumps(array.dictionary)) if pa.types.is_dictionary(array.type) else 0)
    for whole in (part, pa.chunked_array([part, part]), pa.table({"a": part}), pa.record_batch({"a": part})):
        assert values.dumps(whole).size < limit
        for back in ways(whole):
            assert type(back) is type(whole)
            assert back.equals(whole)
            back.validate(full=True)


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.type))
def test_a_whole_arrow_array_is_not_copied(array: pa.Array) -> None:
    serialized = values.dumps(array)
    assert len(serialized.data) < 1_000
    assert {buffer.nbytes for buffer in serialized.buffers} == {b.size for b in array.buffers() if b is not None} or (
        pa.types.is_dictionary(array.type)
    )


def test_what_is_cut_otherwise_goes_as_arrow_sends_it() -> None:
    views = pa.array(TEXTS, pa.string_view()).slice(3, 4)
    assert all(back.equals(views) for back in ways(views))


FRAME = pl.DataFrame(
    {
        "number": np.arange(ROWS),
        "fraction": np.random.rand(ROWS),
        "text": TEXTS,
        "gap": [None, 1] * (ROWS // 2),
        "yes": [True, False] * (ROWS // 2),
        "day": [datetime.date(2026, 1, 1)] * ROWS,
        "time": [datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)] * ROWS,
        "wait": [datetime.timedelta(seconds=1)] * ROWS,
        "bytes": [b"x" * 20] * ROWS,
    }
)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        FRAME.drop("text", "bytes"),
        FRAME.head(3),
        FRAME.slice(500, 10_000),
        FRAME.filter(pl.col("number") % 3 == 0),
        pl.concat([FRAME.head(5_000)] * 20, rechunk=False),
        FRAME.with_columns(pl.col("text").cast(pl.Categorical)),
        FRAME.with_columns(pl.concat_list("number", "number").alias("list")),
        FRAME.with_columns(odd=pl.Series([object()] * 0, dtype=pl.Null).extend_constant(None, ROWS)),
        pl.DataFrame(),
        FRAME.clear(),
    ],
    ids=["all", "plain", "few", "rows", "some", "chunks", "categories", "lists", "nulls", "nothing", "empty"],
)
def test_a_frame_of_polars_comes_back_as_it_was(frame: pl.DataFrame) -> None:
    for back in ways(frame):
        assert back.schema == frame.schema
        assert back.equals(frame)


def test_the_memory_of_a_frame_of_polars_goes_beside_the_stream() -> None:
    serialized = values.dumps(FRAME)
    assert len(serialized.data) < 10_000
    few = FRAME.filter(pl.col("number") % 50 == 0)
    assert values.dumps(few).size < FRAME.estimated_size() / 20
    column = FRAME["fraction"]
    assert len(values.dumps(column).data) < 1_000
    for back in ways(column):
        assert back.equals(column)
        assert back.name == "fraction"
        changed = back.clone()
        changed[0] = 5.0  # In a copy of its own, since what is shared is not written to.
        assert (changed[0], back[0]) == (5.0, column[0])


def test_rows_of_a_dataframe_take_only_their_share_of_text() -> None:
    frame = pd.DataFrame({"number": np.arange(ROWS), "text": pd.array(TEXTS, dtype="string[pyarrow]")})
    part = frame.iloc[100:110]
    assert values.dumps(part).size < 10_000
    assert all(back.equals(part) for back in ways(part))


def test_a_dataframe_can_be_written_to_where_the_task_says_so() -> None:
    frame = pd.DataFrame({"group": np.arange(ROWS) % 7, "number": np.arange(ROWS, dtype=float)})

    def zero(data: pd.DataFrame) -> pd.DataFrame:
        data.loc[data.number > 10, "number"] = 0
        return data

    with pytest.raises(ValueError, match="writable="):
        ray.get(ray.remote(zero).remote(frame))
    assert ray.get(ray.remote(writable=["data"])(zero).remote(frame)).number.max() == 10
    assert frame.number.max() == ROWS - 1
