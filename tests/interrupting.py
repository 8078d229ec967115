"""Interrupts (SIGINT) at every place of a call where CPython may deliver one: one after the other, no chance in it.

CPython looks for signals where a function begins, where a loop jumps back, and after a call. `interrupted` counts these
places while something runs, sends this process a SIGINT at the first, then at the second, and so on, until there is
none left. What a signal handler does with it (or a shield before it) is as with any signal.
"""

from __future__ import annotations

import _thread
import contextlib
import dis
import functools
import gc
import signal
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_IMPORTS = "<frozen importlib._bootstrap>"
"""Python's own code, which an interrupt may leave with the lock of all imports taken: no thread imports after that."""


class _Tracer:
    """Sends SIGINT at the place with the number `at`, from 1, or at the first one after it outside of `_IMPORTS`."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.places = 0
        self.sent = False
        self.where = ""
        self._called: set[int] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "call":
            frame.f_trace = self
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call" or (event == "opcode" and id(frame) in self._called):
            self._called.discard(id(frame))
            self.places += 1
            if self.places >= self.at and not self.sent and frame.f_code.co_filename != _IMPORTS:
                self.sent = True
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
                signal.raise_signal(signal.SIGINT)
        if event == "exception":  # The call has not returned.
            self._called.discard(id(frame))
        if event == "opcode":
            name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if name.startswith("CALL") or "JUMP_BACKWARD" in name or name == "JUMP_ABSOLUTE":
                self._called.add(id(frame))
        return self


def interrupted(act: Callable[[], object], stride: int = 1) -> Iterator[str]:
    """Run `act` again and again, each time with an interrupt at another place; yield that after each run.

    The interrupt must be raised, and nothing else. What `act` returns is dropped where no interrupt comes: Python
    swallows one in a finalizer, and in a weak dictionary. It does so, too, where a generator is closed that was not
    read to its end, as by `any`: that is passed over.
    """
    at = 1
    while True:
        tracer = _Tracer(at)
        raised = False
        try:
            with _passing_over_closed_generators() as passed_over:
                _run(act, tracer)
        except KeyboardInterrupt:
            raised = True
        if not tracer.sent:
            assert not raised
            return
        assert raised or passed_over, f"the interrupt at {tracer.where} was lost"
        gc.collect()
        yield tracer.where
        at += stride


def _run(act: Callable[[], object], tracer: _Tracer) -> object:
    """In a frame of its own, which is gone with all that it holds when the caller goes on."""
    sys.settrace(tracer)
    try:
        return act()
    finally:
        sys.settrace(None)


@contextlib.contextmanager
def _passing_over_closed_generators() -> Iterator[list[str]]:
    """Give a list of those that Python has swallowed an interrupt of."""
    swallowed: list[str] = []
    others = sys.unraisablehook

    def hook(found: sys.UnraisableHookArgs) -> None:
        if found.exc_type is KeyboardInterrupt and isinstance(found.object, types.GeneratorType):
            swallowed.append(found.object.__qualname__)
        else:
            others(found)

    sys.unraisablehook = hook
    try:
        yield swallowed
    finally:
        sys.unraisablehook = others


def with_interrupt_pending(act: Callable[[], object]) -> None:
    """Call `act`, which is C code, with an interrupt that is raised at the first step of any Python code in it."""
    steps = [functools.partial[object](_thread.interrupt_main), functools.partial[object](act)]
    run: Any = functools.partial.__call__
    deque(map(run, steps), maxlen=0)
