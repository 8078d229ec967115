"""Tests with pandas, Arrow and Polars: they are there where these are installed. They are no requirements of ours."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if all(map(find_spec, ("pandas", "polars", "pyarrow"))) else ["test_*.py"]
