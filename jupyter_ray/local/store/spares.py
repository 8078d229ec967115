"""Files of freed values that this process may write into again.

A new file costs ten times what the copy into it does: the system clears every page first. So the runtime keeps some
freed files under another name, counts them in the store's limit, and offers each to the process that wrote it. It may
take an offer back at any time, by removing the file.

Nobody may overwrite what somebody reads. A reader holds a shared lock (`flock`) as long as its mapping lives, in forked
children too; the system lets go of it when the reader dies. Who takes a spare file locks it exclusively, without
waiting: where that fails, somebody still reads. A reader that comes late finds either the lock, or another name.

Owner: any thread; `_lock` guards the tables.
"""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable

from jupyter_ray.local.protocol.names import spare_name
from jupyter_ray.local.store import mapping
from jupyter_ray.local.store.mapping import Mapping


class Spare:
    """A file that may be written into."""

    __slots__ = ("mapping", "segment", "size")

    def __init__(self, segment: str, size: int, mapping: Mapping | None) -> None:
        self.segment = segment
        self.size = size
        self.mapping = mapping


class Claim:
    """A spare file that has its new name, locked until `release`."""

    __slots__ = ("descriptor", "mapping", "size")

    def __init__(self, descriptor: int, size: int, mapping: Mapping | None) -> None:
        self.descriptor = descriptor
        self.size = size
        self.mapping = mapping

    def release(self) -> None:
        """Unlock the file; a forked child may have the descriptor too."""
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        os.close(self.descriptor)


class Spares:
    """The spare files of one process.

    Parameters
    ----------
    folder
        The session's shared-memory folder.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._spares: dict[str, Spare] = {}
        self._live: dict[str, Mapping] = {}
        """Kept for segments that have a value now: they may become spare again."""
        self.claimed: Callable[[str, str, int], object] = lambda spare, segment, size: None
        """Tells the runtime that `spare` has become `segment`, of `size` bytes; "": it is gone."""
        self.want: Callable[[], object] = lambda: None
        """Asks for `prepare`."""

    def offer(self, segment: str, size: int) -> None:
        """Take an offer of the runtime."""
        with self._lock:
            spare = self._spares[segment] = Spare(segment, size, self._live.pop(segment, None))
        if spare.mapping is None and mapping.offered():
            self.want()

    def forget(self, segment: str) -> None:
        """The file is not there any more: what maps it would keep its memory."""
        with self._lock:
            self._spares.pop(segment, None)
            self._live.pop(segment, None)

    def prepare(self) -> None:
        """Map what is not mapped yet, before it is needed."""
        for spare in list(self._spares.values()):
            if spare.mapping is not None:
                continue
            try:
                descriptor = os.open(f"{self._folder}/{spare_name(spare.segment)}", os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                continue  # It is in use again, or gone.
            try:
                if os.fstat(descriptor).st_size == spare.size:
                    spare.mapping = mapping.mapped(descriptor, spare.size)
            finally:
                os.close(descriptor)

    def take(self, size: int, segment: str) -> Claim | None:
        """Return a file for `size` bytes, named `segment` from now on; None if there is none that nobody reads."""
        busy: list[Spare] = []
        claim = None
        while claim is None and (spare := self._pick(size)) is not None:
            try:
                claim = self._claim(spare, segment)
            except BlockingIOError:
                busy.append(spare)
            except OSError:
                self.claimed(spare.segment, "", 0)
        if busy:
            with self._lock:
                self._spares.update({each.segment: each for each in busy})
        return claim

    def _pick(self, size: int) -> Spare | None:
        """The file whose size is nearest: what it lacks is written slowly, what it has too much is given back."""
        with self._lock:
            fitting = [each for each in self._spares.values() if size <= 2 * each.size <= 4 * size]
            if not fitting:
                return None
            return self._spares.pop(min(fitting, key=lambda each: abs(each.size - size)).segment)

    def _claim(self, spare: Spare, segment: str) -> Claim:
        old = f"{self._folder}/{spare_name(spare.segment)}"
        descriptor = os.open(old, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            size = os.fstat(descriptor).st_size
            os.rename(old, f"{self._folder}/{segment}")
        except BaseException:
            os.close(descriptor)
            raise
        self.claimed(spare.segment, segment, size)
        return Claim(descriptor, size, spare.mapping if size == spare.size else None)

    def keep(self, segment: str, mapping: Mapping) -> None:
        """Keep what maps a segment that was written."""
        with self._lock:
            self._live[segment] = mapping

    def close(self) -> None:
        """Let go of all that is mapped: the session has ended."""
        with self._lock:
            self._spares.clear()
            self._live.clear()

    def __len__(self) -> int:
        return len(self._spares)

    def __repr__(self) -> str:
        return f"<Spares: {len(self._spares)} free, {len(self._live)} mapped>"
