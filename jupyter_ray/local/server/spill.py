"""Moving a segment from shared memory to disk, in a thread of its own.

The copy is complete and has its name before the original goes: whoever looks for a segment in memory first, and then
on disk, finds it at any moment.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path


def spill(memory: Path, disk: Path, segment: str) -> None:
    """Move `segment` from one folder to the other.

    Raises
    ------
    OSError
        The disk is full, say; the segment is still in memory, and nothing of it is on disk.
    """
    disk.mkdir(mode=0o700, exist_ok=True)
    half = disk / f"{segment}.part"
    try:
        shutil.copyfile(memory / segment, half)
        os.rename(half, disk / segment)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(half)
        raise
    os.unlink(memory / segment)
