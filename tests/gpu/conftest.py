"""Tests that need a real GPU of NVIDIA's: they are there on a machine that has one. `make test-gpu` runs them alone."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec


def _listed() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]


collect_ignore_glob = [] if _listed() else ["test_*.py"]
if find_spec("torch") is None or find_spec("triton") is None:
    collect_ignore_glob.append("test_libraries.py")
