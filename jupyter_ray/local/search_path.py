"""``sys.path`` of a driver's program after its start: what it finds, its tasks find.

A notebook that adds the folder of a project to `sys.path` has often called a task before. Ray's workers keep the path
of the start; ours follow the changes, each in its own path, where a runtime environment or a task may have added more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

from jupyter_ray.config import working_directory


def located(path: Iterable[object]) -> list[str]:
    """Return a search path as other processes may use it, wherever they are."""
    here = working_directory()
    return [os.path.normpath(os.path.join(here, entry)) for entry in path if isinstance(entry, str)]


def followed(path: Sequence[str], before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Return `path` changed as `before` was to become `after`.

    What is new goes before what follows it in `after`, or to the end; what is gone goes.
    """
    gone = set(before) - set(after)
    changed = [entry for entry in path if entry not in gone]
    following = None
    for entry in reversed(after):
        if entry not in changed:
            changed.insert(len(changed) if following is None else changed.index(following), entry)
        following = entry
    return changed


def follow(before: Sequence[str], after: Sequence[str]) -> None:
    """Change the path of this process as that of the driver's program was changed."""
    # Another list: an import in another thread, which goes through the old one, would skip an entry where one went.
    sys.path = followed(sys.path, before, after)
