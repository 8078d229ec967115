"""The files of values in one session: what the scheduler wants done with them, and what turns out about them.

Owner: the event loop; one thread of its own moves files to disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from jupyter_ray import config
from jupyter_ray.local.protocol.names import turn
from jupyter_ray.local.scheduler import commands as c
from jupyter_ray.local.scheduler.memory import named
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.stimuli import SegmentsLost, Spilled, Stimulus
from jupyter_ray.local.server.damage import found_lost, found_missing
from jupyter_ray.local.server.spill import HALF, Notice, drop_spare, is_full, keep_spare, spill


class Files:
    """The segments of a session, in memory and on disk.

    Parameters
    ----------
    loop
        The event loop.
    session
        Names the folders.
    state
        Knows which files are values.
    happen
        Takes what turns out.
    say
        Tells the driver's user something.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        session: str,
        state: State,
        happen: Callable[[Stimulus], None],
        say: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._state = state
        self._happen = happen
        self._say = say
        self._shm = config.shared_memory_folder(session)
        self._disks = [config.spill_folder(session)]
        self._disk_share = 1.0
        self._session = session
        self._mover = ThreadPoolExecutor(1, thread_name_prefix="jupyter_ray-spill")
        self._spilling: set[str] = set()
        self._unwanted: set[str] = set()
        """Segments that were freed while they were being moved."""
        self.notice = Notice()

    def bound(self, environ: Mapping[str, str]) -> None:
        """The driver has said where values go, and how much of it; it has made the folders before."""
        self.notice = Notice.of(environ)
        self._disks = config.spill_folders(self._session)
        self._disk_share = float(environ.get(config.DISK_SHARE, 1))

    def do(self, command: c.Command) -> bool:
        """Do what the scheduler wants; return whether it was about files."""
        if isinstance(command, c.DiscardSegment):
            self._discard(command.segment)
        elif isinstance(command, c.KeepSpare):
            keep_spare(self._shm, command.segment)
        elif isinstance(command, c.DropSpare):
            drop_spare(self._shm, command.segment)
        elif isinstance(command, c.SpillSegment):
            self._spilling.add(command.segment)
            disk = self._disks[turn(command.segment, len(self._disks))]
            moved = self._loop.run_in_executor(self._mover, spill, self._shm, disk, command.segment, self._disk_share)
            moved.add_done_callback(lambda done: self._spilled(command.segment, done))
        else:
            return False
        return True

    def _discard(self, segment: str) -> None:
        if segment in self._spilling:
            self._unwanted.add(segment)
            return
        for folder in (self._shm, *self._disks):
            with contextlib.suppress(OSError):  # It is not there, or somebody put a file in the folder's place.
                os.unlink(folder / segment)
                return

    def _spilled(self, segment: str, done: asyncio.Future[bool]) -> None:
        self._spilling.discard(segment)
        if segment in self._unwanted:
            self._unwanted.discard(segment)
            self._discard(segment)
        error = done.exception()
        if isinstance(error, FileNotFoundError):
            self.look([segment])
            self._happen(Spilled(segment, "gone"))
        elif error is not None:
            self._happen(Spilled(segment, "full" if is_full(error) else "failed", str(error)))
        else:
            if done.result():
                self._tell_of_spilling(segment)
            self._happen(Spilled(segment, "moved" if done.result() else "read"))

    def _tell_of_spilling(self, segment: str) -> None:
        with contextlib.suppress(OSError):  # Nobody wants it any more, and it is gone already.
            disk = self._disks[turn(segment, len(self._disks))]
            text = self.notice.moved((disk / segment).stat().st_size)
            if text:
                self._say(text)

    def look(self, suspected: list[str] | None = None) -> None:
        """Look whether segments are there and whole: those that somebody could not read, or all, after a crash."""
        folders = (self._shm, *self._disks)
        lost = found_missing(self._state, folders) if suspected is None else found_lost(self._state, folders, suspected)
        if lost:
            self._happen(SegmentsLost(lost))

    def remove_unsealed(self, worker: bytes) -> None:
        """Remove what a dead worker had begun to write."""
        prefix = worker.hex()
        begun = [
            folder / name
            for folder in (self._shm, *self._disks)
            if folder.is_dir()
            for name in os.listdir(folder)
            if name.startswith(prefix) and name not in self._spilling and not name.endswith(HALF)
        ]
        if not begun:
            return
        known = named(self._state)
        for path in begun:
            if path.name not in known:
                path.unlink(missing_ok=True)

    def __repr__(self) -> str:
        return f"<Files: {len(self._spilling)} being moved>"
