"""Messages to bytes and back.

A message that does not decode is the peer's fault: `ProtocolError`.
"""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from jupyter_ray.local.protocol import framing
from jupyter_ray.local.protocol.messages import (
    Body,
    ClientMessage,
    DirectMessage,
    DirectReply,
    Message,
    ServerMessage,
)


def _plain(value: Any) -> Any:
    """Return what a value of a derived class is: NumPy's text is text, an `IntEnum`'s member a number."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, bytes):
        return bytes(value)
    raise TypeError(f"A message cannot hold a value of type {type(value)}: {value!r}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_direct_message = msgspec.msgpack.Decoder(DirectMessage)
_direct_reply = msgspec.msgpack.Decoder(DirectReply)
_body = msgspec.msgpack.Decoder(Body)


@functools.cache
def of_clients() -> msgspec.msgpack.Decoder[ClientMessage]:
    """Return what decodes a client's messages; made at its first use, since that takes 2 ms and few processes do."""
    return msgspec.msgpack.Decoder(ClientMessage)


@functools.cache
def of_runtime() -> msgspec.msgpack.Decoder[ServerMessage]:
    """Return what decodes the runtime's messages, as `of_clients`."""
    return msgspec.msgpack.Decoder(ServerMessage)


class ProtocolError(Exception):
    """The peer sent what is no message of this protocol."""


def _sayable(value: Any) -> Any:
    """Return `value` with what UTF-8 cannot say spelled out: half a character, as of a file's name that is no text."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, msgspec.Struct):
        fields = {name: _sayable(getattr(value, name)) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    if isinstance(value, dict):
        return {_sayable(key): _sayable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(map(_sayable, value))
    return value


def encode(message: Message) -> bytes:
    """Return `message` as one frame, its length included."""
    try:
        return framing.frame(_encoder.encode(message))
    except UnicodeEncodeError:
        return framing.frame(_encoder.encode(_sayable(message)))


def append(message: Message, buffer: bytearray) -> None:
    """Add `message` as one frame to the end of `buffer`."""
    start = len(buffer)
    try:
        _encoder.encode_into(message, buffer, start + framing.HEADER)  # It makes room for what is left out.
    except UnicodeEncodeError:
        del buffer[start:]
        _encoder.encode_into(_sayable(message), buffer, start + framing.HEADER)
    framing.write_length(buffer, start, len(buffer) - start - framing.HEADER)


def decode_client(frame: memoryview) -> ClientMessage:
    """Return the message that a client sent."""
    try:
        message: ClientMessage = of_clients().decode(frame)
        return message
    except msgspec.DecodeError as error:
        raise ProtocolError(f"A client sent no valid message: {error}") from error


def decode_server(frame: memoryview) -> ServerMessage:
    """Return the message that the runtime sent."""
    try:
        message: ServerMessage = of_runtime().decode(frame)
        return message
    except msgspec.DecodeError as error:
        raise ProtocolError(f"The runtime sent no valid message: {error}") from error


def decode_direct(frame: memoryview) -> DirectMessage:
    """Return the message that a caller sent to a worker."""
    try:
        message: DirectMessage = _direct_message.decode(frame)
        return message
    except msgspec.DecodeError as error:
        raise ProtocolError(f"A caller sent no valid message: {error}") from error


def decode_reply(frame: memoryview) -> DirectReply:
    """Return the message that a worker sent to a caller."""
    try:
        message: DirectReply = _direct_reply.decode(frame)
        return message
    except msgspec.DecodeError as error:
        raise ProtocolError(f"A worker sent no valid message: {error}") from error


_same: tuple[bytes | None, Body] = None, Body()
"""The last body without arguments that was decoded."""


def encode_body(body: Body) -> bytes:
    """Return a task's body for `TaskSpec.body`."""
    try:
        return _encoder.encode(body)
    except UnicodeEncodeError:
        return _encoder.encode(_sayable(body))


def decode_body(body: bytes) -> Body:
    """Return what `encode_body` encoded."""
    global _same
    known, decoded = _same
    if known != body:
        decoded = _body.decode(body)
        if decoded.args is None:  # Calls without arguments are alike.
            _same = body, decoded
    return decoded
