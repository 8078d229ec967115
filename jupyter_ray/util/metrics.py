"""``Counter``, ``Gauge`` and ``Histogram``: numbers that a program reports about itself.

Libraries call them, so they check what they are given as strictly as Ray's. Nothing is exported: each process keeps
what it recorded, and `values` reads it. Source: Ray's ``ray.util.metrics``.
"""

from __future__ import annotations

import bisect
import copy
import re
import threading
import warnings
from collections.abc import Sequence
from typing import Any, TypeVar

Tags = dict[str, str]
Self = TypeVar("Self", bound="Metric")

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def _check_texts(tags: Tags) -> None:
    for value in tags.values():
        if not isinstance(value, str):
            raise TypeError(f"Tag values must be str, got {type(value)}.")


class Metric:
    """What the three kinds have in common.

    Parameters
    ----------
    name
        Letters, digits, ``_`` and ``:``.
    description
        For people.
    tag_keys
        The tags that every value has.

    Raises
    ------
    ValueError
        The name is empty. One with other characters is warned of.
    TypeError
        `tag_keys` is not a tuple of text.
    """

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"A metric's name must be str, got {type(name)}.")
        if not name:
            raise ValueError("Empty name is not allowed. Please provide a metric name.")
        if _NAME.fullmatch(name) is None:
            allowed = "Use letters, digits and '_', with no digit first: others would not be exported."
            warnings.warn(f"Invalid metric name: {name}. {allowed}", stacklevel=2)
        elif ":" in name:
            warnings.warn(f"Metric name {name} contains a : character, which is deprecated.", FutureWarning, 2)
        if not isinstance(tag_keys, tuple | None):
            raise TypeError(f"tag_keys should be a tuple type, got: {type(tag_keys)}")
        for key in tag_keys or ():
            if not isinstance(key, str):
                raise TypeError(f"Tag keys must be str, got {type(key)}.")
        self._name = name
        self._description = description
        self._tag_keys = tag_keys or ()
        self._default_tags: Tags = {}
        self._lock = threading.Lock()
        self._values: dict[tuple[str, ...], Any] = {}

    def set_default_tags(self: Self, default_tags: Tags) -> Self:
        """Set the values of tags that later calls leave out; return the metric.

        Raises
        ------
        ValueError
            A tag is not among the metric's.
        TypeError
            A value is not text.
        """
        for key in default_tags:
            if key not in self._tag_keys:
                raise ValueError(f"Unrecognized tag key {key}. The metric {self._name} has {list(self._tag_keys)}.")
        _check_texts(default_tags)
        self._default_tags = dict(default_tags)
        return self

    @property
    def info(self) -> dict[str, Any]:
        """Name, description, and tags of the metric."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": self._default_tags,
        }

    @property
    def values(self) -> dict[tuple[str, ...], Any]:
        """What this process has recorded, by the values of the tags in the order of the metric's tags. Not in Ray."""
        with self._lock:
            return copy.deepcopy(self._values)

    def _complete(self, value: object, tags: Tags | None) -> tuple[str, ...]:
        """Check a value and its tags; return the values of all tags of the metric. Others are let pass, as in Ray."""
        if not isinstance(value, int | float):
            raise TypeError(f"value must be int or float, got {type(value)}.")
        _check_texts(tags or {})
        given = {**self._default_tags, **(tags or {})}
        missing = [key for key in self._tag_keys if key not in given]
        if missing:
            raise ValueError(f"Missing value for tag key(s): {','.join(missing)}.")
        return tuple(given[key] for key in self._tag_keys)

    def _arguments(self) -> tuple[Any, ...]:
        return self._name, self._description, self._tag_keys

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._arguments(), self._default_tags)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, tag_keys={self._tag_keys!r})"


class Counter(Metric):
    """A number that only grows; parameters as `Metric`."""

    def inc(self, value: float = 1.0, tags: Tags | None = None) -> None:
        """Add `value`.

        Raises
        ------
        ValueError
            `value` is not more than 0, or a tag is unknown or missing.
        TypeError
            `value` is no number, or the value of a tag is no text.
        """
        key = self._complete(value, tags)
        if value <= 0:
            raise ValueError(f"value must be >0, got {value}")
        with self._lock:
            self._values[key] = self._values.get(key, 0.0) + value


class Gauge(Metric):
    """A number that goes up and down; parameters as `Metric`."""

    def set(self, value: float | None, tags: Tags | None = None) -> None:
        """Replace the number; None: leave it. Errors as `Counter.inc`."""
        if value is None:
            return
        key = self._complete(value, tags)
        with self._lock:
            self._values[key] = float(value)


class Histogram(Metric):
    """How many observations fell between given boundaries.

    Parameters
    ----------
    name, description, tag_keys
        As of `Metric`.
    boundaries
        Rising numbers greater than 0.

    Raises
    ------
    ValueError
        There are no boundaries, or one is not greater than 0.
    """

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: Sequence[float] | None = None,
        tag_keys: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        if not boundaries:
            raise ValueError(
                "boundaries argument should be provided when using the Histogram class, as in "
                'Histogram("name", boundaries=[1.0, 2.0]).'
            )
        for index, boundary in enumerate(boundaries):
            if boundary <= 0:
                raise ValueError(
                    f"Invalid `boundaries` argument at index {index}, {list(boundaries)}: they must be greater than 0."
                )
        self.boundaries = list(boundaries)

    def observe(self, value: float, tags: Tags | None = None) -> None:
        """Count an observation. Errors as `Counter.inc`, but any number will do."""
        key = self._complete(value, tags)
        with self._lock:
            counts = self._values.setdefault(key, [0] * (len(self.boundaries) + 1))
            counts[bisect.bisect_left(self.boundaries, value)] += 1

    @property
    def info(self) -> dict[str, Any]:
        """Name, description, tags and boundaries of the metric."""
        return {**super().info, "boundaries": self.boundaries}

    def _arguments(self) -> tuple[Any, ...]:
        return self._name, self._description, self.boundaries, self._tag_keys


def _rebuild(kind: type[Metric], arguments: tuple[Any, ...], default_tags: Tags) -> Metric:
    return kind(*arguments).set_default_tags(default_tags)
