"""The debugger in the driver. While somebody types at its prompt, what tasks print is not shown there."""

from __future__ import annotations

import pdb
import sys
from types import FrameType
from typing import Any

from jupyter_ray.api import logs


class _Pdb(pdb.Pdb):
    """A debugger that has tasks' output shown again when the program goes on."""

    def do_continue(self, arg: str) -> Any:
        _show_output()
        return super().do_continue(arg)

    def do_quit(self, arg: str) -> Any:
        _show_output()
        return super().do_quit(arg)

    do_c = do_cont = do_continue
    do_q = do_exit = do_quit


def _show_output() -> None:
    logs.pause(False)
    print("*** Re-enabling Ray worker logs ***")


def stop(frame: FrameType | None) -> None:
    """Stop in `frame`."""
    print("*** Temporarily disabling Ray worker logs ***", flush=True)
    logs.pause(True)
    _Pdb().set_trace(frame)


def install() -> None:
    """Have ``breakpoint()`` stop here: what ``RAY_DEBUG=legacy`` asks for."""
    sys.breakpointhook = _hook


def _hook(*args: Any, **kwargs: Any) -> None:
    stop(sys._getframe().f_back)
