"""Looking whether the files of values are there: whole, and beginning and ending as a value does.

Read, not mapped: a file that is cut short while it is mapped would end the runtime.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from jupyter_ray.local.protocol.messages import Payload
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.store.payloads import is_stream


def found_lost(state: State, folders: tuple[Path, ...], suspected: list[str]) -> dict[str, str]:
    """Look at what somebody could not read, and, if that is so, at all there is: whoever removed one removed more.

    Parameters
    ----------
    state
        Knows which values live in files.
    folders
        Where they are: in memory, else on disk.
    suspected
        Names of files; all are looked at closely. None of them need be known.

    Returns
    -------
    dict of str to str
        The names of those that are lost, and what was found.
    """
    lost: dict[str, str] = {}
    for segment in suspected:
        payload = _payload(state, segment)
        damage = "" if payload is None else _look(payload, folders)
        if damage:
            lost[segment] = damage
    return {**lost, **found_missing(state, folders)} if lost else {}


def found_missing(state: State, folders: tuple[Path, ...]) -> dict[str, str]:
    """Look at all files from outside: which are missing or too short."""
    lost = {}
    for segment in state.segments:
        payload = _payload(state, segment)
        damage = "" if payload is None else _size(payload, folders)
        if damage:
            lost[segment] = damage
    return lost


def _payload(state: State, segment: str) -> Payload | None:
    owner = next(iter(state.segments.get(segment, ())), None)
    return None if owner is None else state.objects[owner].payload


def _size(payload: Payload, folders: tuple[Path, ...]) -> str:
    for folder in folders:
        try:
            size = os.stat(folder / payload.segment).st_size
        except FileNotFoundError:
            continue
        except OSError as error:
            return f"its file cannot be read ({error})"
        return f"its file has {size:,} of {payload.size:,} bytes" if size < payload.size else ""
    return f"its file {payload.segment} is gone from {folders[0]}"


def _look(payload: Payload, folders: tuple[Path, ...]) -> str:
    damage = _size(payload, folders)
    if damage:
        return damage
    start, length = payload.layout[:2]
    for folder in folders:
        try:
            descriptor = os.open(folder / payload.segment, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        except OSError as error:
            return "" if _ours(error) else f"its file cannot be opened ({error})"
        try:
            ends = os.pread(descriptor, 1, start) + os.pread(descriptor, 1, start + length - 1)
        except OSError as error:
            return f"its file cannot be read ({error})"
        finally:
            os.close(descriptor)
        return "" if is_stream(ends) else "its file was overwritten"
    return f"its file {payload.segment} is gone from {folders[0]}"


def _ours(error: OSError) -> bool:
    """Whether this process lacks something; the file may be as it should."""
    return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
