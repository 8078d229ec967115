"""What tests of the API share: an engine that answers at once, in this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jupyter_ray.engine import registry
from tests.fakes import FakeEngine


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """Make a fake engine that of this process."""
    engine = FakeEngine()
    registry.set_current(engine)
    yield engine
    registry.set_current(None)
    engine.shutdown()
