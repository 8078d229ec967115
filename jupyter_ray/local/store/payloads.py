"""Serialized values to payloads and back: small ones inside the message, large ones in a segment."""

from __future__ import annotations

import ctypes
import pickle
import traceback
from collections.abc import Sequence
from typing import Any

from jupyter_ray.config import INLINE_LIMIT
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.local.protocol.messages import Payload
from jupyter_ray.local.serialization import errors, values
from jupyter_ray.local.serialization.values import Serialized
from jupyter_ray.local.store.segments import ALIGNMENT, Layout, SegmentStore, Unreadable

_MAJOR = 2048
"""Bytes from which on a buffer is aligned although it came inside a message (Ray's figure)."""

_SHORT = 1024
"""Characters of a text that is looked at no closer."""

_NONE = Payload(data=b"\x80\x05N.", size=4)


def pack(serialized: Serialized, store: SegmentStore, *, unnamed: bool = False) -> Payload:
    """Return the payload of a value; writes a segment if it is larger than `INLINE_LIMIT`.

    If it is `unnamed`, the segment goes with the payload until `named` was called: before that, an interrupt may come.

    Raises
    ------
    ObjectStoreFullError
        There is no room for it.
    """
    data = serialized.data
    buffers = serialized.buffers
    if not buffers and len(data) <= INLINE_LIMIT:
        return Payload(data, (), "", (), len(data), serialized.is_error, tuple(serialized.contained))
    size = serialized.size
    if size <= INLINE_LIMIT:
        inside = tuple(bytes(each) for each in buffers)
        return Payload(data, inside, "", (), size, serialized.is_error, tuple(serialized.contained))
    name, layout, size = store.write([data, *buffers], unnamed=unnamed)
    kept: Any = layout if unnamed else tuple(layout)
    return Payload(b"", (), name, kept, size, serialized.is_error, tuple(serialized.contained))


def named(payload: Payload | None) -> None:
    """A message that names the payload's segment was sent to the runtime: it belongs to that now.

    Where an interrupt comes before this, the runtime hears of a segment without a name, and knows better.
    """
    if payload is not None and payload.segment:
        layout: object = payload.layout
        if isinstance(layout, Layout):
            del layout.__del__


def pack_atom(value: Any) -> Payload | None:
    """Return the payload of None, of a number or of a short text; None for all else. It is what most calls return."""
    if value is None:
        return _NONE
    kind = type(value)
    if kind not in values.ATOMS and (kind not in values.TEXTS or len(value) > _SHORT):
        return None
    data = pickle.dumps(value, values.PROTOCOL)
    return Payload(data, size=len(data)) if len(data) <= INLINE_LIMIT else None


def unpack(payload: Payload, store: SegmentStore) -> Any:
    """Return the value of a payload; arrays are read-only views of the segment, if there is one.

    Raises
    ------
    Unreadable
        The segment is gone, or damaged.
    RaySystemError
        The value was made elsewhere and cannot be rebuilt here; the message holds why.
    """
    data: values.Buffer = payload.data
    buffers: Sequence[values.Buffer] = payload.buffers
    if payload.segment:
        data, buffers = mapped(payload, store)
    elif buffers:
        buffers = [_aligned(each) if len(each) >= _MAJOR else each for each in buffers]
    try:
        return values.loads(data, buffers)
    except Exception as error:
        where = "".join(traceback.format_exception(error))
        raise RaySystemError(errors.one_line(error), where) from error


def _aligned(buffer: values.Buffer) -> memoryview:
    """Return the bytes where they begin at a multiple of 64, as those of large arrays do in their files."""
    size = len(buffer)
    memory = bytearray(size + ALIGNMENT - 1)
    start = -ctypes.addressof(ctypes.c_char.from_buffer(memory)) % ALIGNMENT
    memory[start : start + size] = buffer
    return memoryview(memory)[start : start + size].toreadonly()


def unpack_error(payload: Payload, store: SegmentStore) -> BaseException:
    """Return the exception of a payload that is an error.

    Raises
    ------
    Unreadable
        The segment is gone, or damaged.
    """
    if payload.segment:
        data, buffers = mapped(payload, store)
        return errors.load_error(data, buffers)
    return errors.load_error(payload.data, payload.buffers)


def is_stream(ends: bytes) -> bool:
    """Tell whether a pickle stream begins and ends with these two bytes; freed blocks of a file are zeros."""
    return ends == b"\x80."


def mapped(payload: Payload, store: SegmentStore) -> tuple[memoryview, list[memoryview]]:
    """Return the stream and the buffers of a payload that lives in a segment.

    Raises
    ------
    Unreadable
        The segment is gone, or damaged.
    """
    whole = store.open(payload.segment, payload.size)
    layout = payload.layout
    start, length = layout[:2]
    if not is_stream(bytes((whole[start], whole[start + length - 1]))):
        raise Unreadable(payload.segment, "it was overwritten")
    parts = [whole[start : start + length] for start, length in zip(layout[::2], layout[1::2], strict=True)]
    return parts[0], parts[1:]
