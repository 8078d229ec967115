"""Tests with PyTorch and Triton, where those are installed: they are no requirement of ours, and a large download."""

from __future__ import annotations

from importlib.util import find_spec

_NEEDED = {"test_tensors.py": "torch", "test_triton.py": "triton"}
collect_ignore = [name for name, module in _NEEDED.items() if find_spec(module) is None]
