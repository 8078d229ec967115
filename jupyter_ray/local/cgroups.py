"""Control groups: what a container, a batch system or a service manager lets this process have.

Read are the unified tree and the older ones, of which each controller has its own. What a group may have is also cut by
the groups above it, as far as they are shown here. Source: cgroups(7), and the kernel's cgroup-v1 and cgroup-v2.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

_OWN = Path("/proc/self")
_ESCAPED = re.compile(r"\\(\d{3})")
"""A space in a path, for one."""
_CACHED = ("active_file", "inactive_file", "total_active_file", "total_inactive_file")
"""Copies of files, which the kernel drops where memory is short; of the older kind those with `total_` count."""


def cpus() -> float | None:
    """Return how many CPUs' time this process may use; None without a limit."""
    quotas = [quota for folder, is_unified in _folders("cpu") if (quota := _quota(folder, is_unified)) is not None]
    return min(quotas, default=None)


def memory() -> tuple[int, Path] | None:
    """Return the bytes that this process may use together with the others of a group, and its folder, for `used`."""
    limits: list[tuple[int, Path]] = []
    for folder, is_unified in _folders("memory"):
        limit = _number(folder / ("memory.max" if is_unified else "memory.limit_in_bytes"))
        if limit is not None:
            limits.append((limit, folder))
    return min(limits, default=None)


def used(folder: Path) -> int:
    """Return the bytes that a group uses, but for copies of files that the kernel would drop."""
    unified = _number(folder / "memory.current")
    total = unified or _number(folder / "memory.usage_in_bytes") or 0
    cached = _CACHED[:2] if unified is not None else _CACHED[2:]
    with contextlib.suppress(OSError):
        for line in (folder / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name in cached:
                total -= int(value)
    return total


def _folders(controller: str) -> Iterator[tuple[Path, bool]]:
    """Yield the folder of this process's group, and those above; with whether it is of the unified tree."""
    try:
        groups = (_OWN / "cgroup").read_text().splitlines()
        mounts = (_OWN / "mountinfo").read_text().splitlines()
    except OSError:  # Another system.
        return
    paths: dict[bool, str] = {}
    for line in groups:
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            paths[not controllers] = path
    for line in mounts:
        fields, _, about = line.partition(" - ")
        kind, _, options = about.split(" ")[:3]
        is_unified = kind == "cgroup2"
        if is_unified not in paths or not (is_unified or (kind == "cgroup" and controller in options.split(","))):
            continue
        root, point = (_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), field) for field in fields.split(" ")[3:5])
        top = Path(point)
        below = paths[is_unified]
        if root != "/":  # Of the tree only this branch is shown.
            below = below[len(root) :] if f"{below}/".startswith(f"{root}/") else ""
        folder = top / below.lstrip("/")
        while folder != top:
            yield folder, is_unified
            folder = folder.parent
        yield top, is_unified


def _quota(folder: Path, is_unified: bool) -> float | None:
    try:
        if is_unified:
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # "max" is no number.
        return None


def _number(path: Path) -> int | None:
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
