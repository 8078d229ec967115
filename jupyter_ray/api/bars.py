"""A progress bar where the work is done: its state goes to the driver, as a line of output that nobody sees.

The line is JSON and names itself by a word, as Ray's own does: so a bar works on both engines, and so does one that a
library makes with ``ray.experimental.tqdm_ray`` in a task on a cluster. Source: Ray's ``tqdm_ray.tqdm``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from jupyter_ray.api import progress
from jupyter_ray.engine import registry
from jupyter_ray.interrupts import shielded, started

RAY_TQDM_MAGIC = progress.MAGIC

FLUSH_SECONDS = 0.1
"""How often a bar tells how far it is."""


class tqdm:
    """A progress bar with the interface of `tqdm.tqdm`, as far as Ray has it.

    Parameters
    ----------
    iterable
        What to go through; its length is the total, where it has one.
    desc
        What stands before the bar.
    total
        How many steps there are; None: not known.
    unit
        What is counted.
    position
        Its place among the bars of this process.
    flush_interval_s
        The least time between two messages to the driver, in seconds.
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        desc: str | None = None,
        total: int | None = None,
        unit: str | None = None,
        position: int | None = None,
        flush_interval_s: float | None = None,
    ) -> None:
        if total is None and iterable is not None:
            try:
                total = len(iterable)  # type: ignore[arg-type]
            except (TypeError, AttributeError):
                total = None
        self.total = total
        self.n: float = 0
        self._iterable = iterable
        self._desc = desc or ""
        self._unit = unit or "it"
        self._position = position or 0
        self._uuid = uuid.uuid4().hex
        self._closed = False
        self._interval = FLUSH_SECONDS if flush_interval_s is None else flush_interval_s
        self._told = 0.0
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def set_description(self, desc: str) -> None:
        """Change what stands before the bar."""
        self._desc = desc
        self._tell()

    def update(self, n: float = 1) -> None:
        """Take `n` more steps."""
        self.n += n
        self._tell()

    def refresh(self) -> None:
        """Show the bar as it is."""
        self._tell()

    def close(self) -> None:
        """Show the bar's last state, and leave it."""
        if not self._closed:
            self._closed = True
            self._tell(now=True)

    def __iter__(self) -> Iterator[Any]:
        if self._iterable is None:
            raise ValueError("No iterable provided")
        try:
            for item in self._iterable:
                yield item
                self.update()
        finally:
            self.close()

    def __enter__(self) -> tqdm:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _tell(self, now: bool = False) -> None:
        """Tell the driver, unless that was done just now: then a little later, with what has come by then."""
        with self._lock:
            wait = self._told + self._interval - time.monotonic()
            is_last = self.total is not None and self.n >= self.total
            if now or is_last or wait <= 0:
                self._send()
            elif self._timer is None:
                timer = threading.Timer(wait, self._tell_late)
                timer.daemon = True
                with shielded():
                    if started(timer):
                        self._timer = timer

    def _tell_late(self) -> None:
        with self._lock:
            if self._timer is not None and not self._closed:
                self._send()

    def _send(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            with shielded():
                timer.cancel()
        self._told = time.monotonic()
        engine = registry.current()
        if engine is None or engine.process.is_driver:
            progress.instance().process_state_update(self._state())
        elif sys.stdout is not None:
            sys.stdout.flush()  # So that the line is not cut in two by what was printed before it.
            sys.stdout.write(json.dumps(self._state()) + "\n")
            sys.stdout.flush()

    def _state(self) -> dict[str, Any]:
        return {
            "__magic_token__": RAY_TQDM_MAGIC,
            "x": self.n,
            "pos": self._position,
            "desc": self._desc,
            "total": self.total,
            "unit": self._unit,
            "ip": "127.0.0.1",
            "pid": os.getpid(),
            "uuid": self._uuid,
            "closed": self._closed,
        }

    def __repr__(self) -> str:
        return f"<tqdm {self._desc!r}: {self.n} of {self.total}>"
