"""Where in a cell the displays of its tasks are: each has an id, so that it can be replaced.

Pure: what `folding` needs to know of them. A page cannot take away one output of a cell, so what a task takes back with
``clear_output`` leaves a slot that its next display fills, or that stays empty.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from jupyter_ray.engine.displays import Shown


class Slots:
    """The displays of the tasks of one cell. Those that have a display id of their own know their place.

    Parameters
    ----------
    cell
        What tells its displays from those of other cells.
    """

    def __init__(self, cell: str) -> None:
        self._cell = cell
        self._count = 0
        self._slots: dict[str | None, list[str]] = {}
        """By task, in their order on the page."""
        self._filled: dict[str | None, int] = {}
        """By task: so many of its slots show what it has displayed since it took back all."""

    def __repr__(self) -> str:
        return f"<Slots: {self._count} of {len(self._slots)} tasks>"

    def placed(self, task: str | None, shown: Shown) -> Iterator[Shown]:
        """Return what the page has to show for what a task displays, with the slot's id in it."""
        slots = self._slots.setdefault(task, [])
        filled = self._filled.get(task, 0)
        if shown.clear:
            for slot in slots if shown.clear == "now" else slots[filled:]:
                yield Shown(data={"text/plain": ""}, display_id=slot, update=True)
            self._filled[task] = 0
        elif shown.display_id is not None:
            yield shown
        else:
            is_new = filled == len(slots)
            if is_new:
                slots.append(f"jupyter_ray-shown-{self._cell}-{self._count}")
                self._count += 1
            self._filled[task] = filled + 1
            yield msgspec.structs.replace(shown, display_id=slots[filled], update=not is_new)
