"""What a benchmark is made of, and the arithmetic of results: data and pure functions, nothing that runs.

A row says what is measured; a contender is who is measured. Rows are written once per *family* of contenders: those
that speak Ray's API run literally the same program, and so do those that offer `submit` and `result`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Family = Literal["bare", "own", "ray", "pool", "dask", "limit"]
Better = Literal["higher", "lower"]

Step = Callable[[], Any]
"""Does `Row.units` units of work. One that returns a float has measured by itself: that is the figure."""
Work = Callable[[Any], Iterator[Step]]
"""Given a session, makes ready, yields the step, and puts away what it made. Of the family `bare`: given the contender,
before it has a session."""


@dataclass(frozen=True)
class Limit:
    """What the machine itself allows: the figure of a physical row, or its inverse, times a factor."""

    row: str
    factor: float = 1.0
    inverse: bool = False


@dataclass(frozen=True)
class Row:
    """One thing that is measured.

    Attributes
    ----------
    key, name
        What `--rows` selects by, and what people read.
    work
        By family, what is done; a family that is missing does not offer the row.
    units
        How many units one step does.
    unit
        Of the figure: ``"/s"``, ``"s"``, ``"MB"``, ``"GB/s"``, ``"%"``.
    goal
        The figure that we want at least (or at most, where lower is better).
    limit
        The physical bound.
    once
        The step is done once in a session, since it is never the same again.
    """

    key: str
    name: str
    work: Mapping[Family, Work]
    units: float = 1
    unit: str = "/s"
    better: Better = "higher"
    goal: float | None = None
    limit: Limit | None = None
    once: bool = False


@dataclass(frozen=True)
class Sample:
    """One round of one row by one contender."""

    value: float
    cpu: float | None = None
    """CPU seconds per unit, of all the contender's processes together."""


@dataclass
class Cell:
    """What one contender got in one row."""

    samples: list[Sample] = field(default_factory=list)
    problem: str = ""
    """Why there are no more samples."""
    last_problem: str = ""
    """Why a round gave none, though the next may."""

    @property
    def values(self) -> list[float]:
        return [sample.value for sample in self.samples]

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.samples else None

    @property
    def cpu(self) -> float | None:
        """CPU seconds per unit; the median, too."""
        known = [sample.cpu for sample in self.samples if sample.cpu is not None]
        return statistics.median(known) if known else None


Results = dict[str, dict[str, Cell]]
"""By row key, then contender."""


def ratio(row: Row, ours: float, theirs: float) -> float:
    """How many times better `ours` is; above 1 is better, whichever way the row counts."""
    above, below = (ours, theirs) if row.better == "higher" else (theirs, ours)
    return above / below if below else float("inf")


def geometric_mean(ratios: Sequence[float]) -> float | None:
    """Return the geometric mean of positive ratios; None of none."""
    return statistics.geometric_mean(ratios) if ratios else None


def best(row: Row, figures: Mapping[str, float]) -> str | None:
    """Who has the best figure."""
    if not figures:
        return None
    return (max if row.better == "higher" else min)(figures, key=lambda name: figures[name])


def limit_of(row: Row, results: Results) -> float | None:
    """The row's physical bound as measured in the same run, in the row's unit."""
    if row.limit is None:
        return None
    median = results.get(row.limit.row, {}).get("limit", Cell()).median
    if not median:
        return None
    return row.limit.factor * (1 / median if row.limit.inverse else median)
