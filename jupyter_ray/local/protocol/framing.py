"""Frames: a length of four bytes, little-endian, and that many bytes of one message.

Pure: bytes in, frames out. A length beyond `FRAME_LIMIT` is the peer's fault and ends the connection.
"""

from __future__ import annotations

import struct

FRAME_LIMIT = 1 << 30
_LENGTH = struct.Struct("<I")
HEADER = _LENGTH.size


write_length = _LENGTH.pack_into
"""Writes a length into a buffer at an offset: what stands before each frame."""


class FrameError(Exception):
    """The peer sent what is no frame."""


def frame(payload: bytes) -> bytes:
    """Return `payload` with its length before it."""
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Cuts a stream of bytes into frames.

    `feed` what came; it returns the frames that are whole. The rest waits inside, and is not copied again until the
    frame that it begins is complete.
    """

    __slots__ = ("_buffer", "_needed")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed = HEADER

    def feed(self, data: bytes | bytearray | memoryview) -> list[memoryview]:
        """Add `data` and return the complete frames, without their lengths.

        Raises
        ------
        FrameError
            A length is impossible.
        """
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []
            source = memoryview(self._buffer)
        else:
            source = memoryview(data)
        frames: list[memoryview] = []
        position, end = 0, len(source)
        self._needed = HEADER
        while end - position >= HEADER:
            (length,) = _LENGTH.unpack_from(source, position)
            if length > FRAME_LIMIT:
                raise FrameError(f"A frame of {length} bytes was announced; the limit is {FRAME_LIMIT}.")
            stop = position + HEADER + length
            if stop > end:
                self._needed = HEADER + length
                break
            frames.append(source[position + HEADER : stop])
            position = stop
        # A new buffer: the frames above are views into the old one.
        self._buffer = bytearray(source[position:])
        return frames

    def __repr__(self) -> str:
        return f"<FrameReader: {len(self._buffer)} bytes of an unfinished frame>"
