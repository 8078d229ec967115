"""A plugin of pytest's: a tutorial's cell that fails shows what it gave. nbval names only the kinds (`{'stderr'}`)."""

from __future__ import annotations

import json
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the outputs to the report of a cell that failed."""
    report = yield
    outputs = getattr(item, "test_outputs", None)
    if report.failed and outputs:
        report.sections.append(("what the cell gave", json.dumps(outputs, indent=1, default=str)))
    return report
