"""What messages are made of."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from jupyter_ray import events
from jupyter_ray.local.protocol import calls, direct, from_runtime, to_runtime
from jupyter_ray.local.worker import setup

DECODED = [
    each
    for module in (calls, direct, from_runtime, to_runtime, events, setup)
    for each in vars(module).values()
    if isinstance(each, type) and issubclass(each, msgspec.Struct) and each.__module__ == module.__name__
]


@pytest.mark.parametrize("message", DECODED, ids=lambda each: each.__name__)
def test_no_annotation_is_text(message: type) -> None:
    """Every start of a process would compile it."""
    annotations = inspect.get_annotations(message)
    assert [name for name, each in annotations.items() if isinstance(each, str)] == []
