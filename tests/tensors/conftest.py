"""Tests with PyTorch: they are there where it is installed. It is no requirement of ours, and a large download."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") is not None else ["test_*.py"]
