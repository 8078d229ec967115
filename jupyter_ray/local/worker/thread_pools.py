"""How many threads the libraries use that a process has loaded already: they read the environment when they start."""

from __future__ import annotations

import contextlib
import sys
from typing import Any


class ThreadPools:
    """Those of PyTorch, and of what computes for NumPy, SciPy and scikit-learn, where threadpoolctl finds it."""

    def __init__(self) -> None:
        self._found: list[Any] = []
        self._modules = 0
        """So many modules there were when it was looked for libraries."""

    def resize(self, before: int, threads: int) -> None:
        """Have those use `threads` that use `before`; others were told otherwise by the program."""
        torch: Any = sys.modules.get("torch")
        with contextlib.suppress(AttributeError):  # It is not loaded, or half imported.
            if torch.get_num_threads() == before:
                torch.set_num_threads(threads)
        if "numpy" in sys.modules:
            with contextlib.suppress(Exception):  # No threadpoolctl; and what a library refuses must not fail the task.
                for library in self._libraries():
                    if library.num_threads == before:
                        library.set_num_threads(threads)

    def _libraries(self) -> list[Any]:
        from threadpoolctl import ThreadpoolController  # It comes with scikit-learn.

        if self._modules != len(sys.modules):  # To look takes some milliseconds.
            self._modules = len(sys.modules)
            self._found = ThreadpoolController().lib_controllers
        return self._found

    def __repr__(self) -> str:
        return f"<ThreadPools: {len(self._found)} libraries>"
