"""What a task displays: ``display(x)``, ``plt.show()``, on its way to the notebook cell that asked for the task.

It leaves as lines of output that nobody sees, as the states of progress bars do: so it keeps its place among what the
task prints, and works on both engines. A line has at most `CHUNK` characters of it, so that no buffer cuts one. The
driver puts them together (`jupyter_ray.api.displays`).

A worker has no IPython: `shell_watch` waits until somebody imports it, and gives it a shell then (`task_shell`).
"""

from __future__ import annotations

import os
import sys
from typing import Any, Literal, TextIO

import msgspec

from jupyter_ray.events import DISPLAYED

CHUNK = 24_000


class Shown(msgspec.Struct, omit_defaults=True):
    """One thing that a task displays.

    Attributes
    ----------
    data, metadata
        The value in its formats, as IPython publishes them; bytes are base64 text.
    display_id
        What `update` finds it by.
    update
        It replaces what was displayed under that id.
    clear
        Nothing new: what the task has displayed goes, ``"now"`` or when there is something else to ``"wait"`` for.
    """

    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    display_id: str | None = None
    update: bool = False
    clear: Literal["", "now", "wait"] = ""


class Part(msgspec.Struct):
    """A line of output: a part of a `Shown`, as JSON, which `DISPLAYED` opens."""

    id: str
    part: int
    of: int
    text: str


def send(shown: Shown, out: TextIO) -> None:
    """Write something as lines of output, which the driver takes out of them.

    Parameters
    ----------
    out
        The worker's stream; whoever redirects ``sys.stdout`` does not redirect what is displayed.
    """
    text = msgspec.json.encode(shown, enc_hook=repr).decode()
    name = os.urandom(8).hex()
    parts = range(0, len(text), CHUNK)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()  # What was printed before it comes before it.
    for number, start in enumerate(parts):
        part = msgspec.json.encode(Part(name, number, len(parts), text[start : start + CHUNK])).decode()
        out.write(f"{DISPLAYED},{part[1:]}\n")
    out.flush()
