"""Messages to bytes and back.

A message that does not decode is the peer's fault: `ProtocolError`.
"""

from __future__ import annotations

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

_encoder = msgspec.msgpack.Encoder()
_client = msgspec.msgpack.Decoder(ClientMessage)
_server = msgspec.msgpack.Decoder(ServerMessage)
_direct_message = msgspec.msgpack.Decoder(DirectMessage)
_direct_reply = msgspec.msgpack.Decoder(DirectReply)
_body = msgspec.msgpack.Decoder(Body)


class ProtocolError(Exception):
    """The peer sent what is no message of this protocol."""


def encode(message: Message) -> bytes:
    """Return `message` as one frame, its length included."""
    return framing.frame(_encoder.encode(message))


def append(message: Message, buffer: bytearray) -> None:
    """Add `message` as one frame to the end of `buffer`."""
    start = len(buffer)
    _encoder.encode_into(message, buffer, start + framing.HEADER)  # It makes room for what is left out.
    framing.write_length(buffer, start, len(buffer) - start - framing.HEADER)


def decode_client(frame: memoryview) -> ClientMessage:
    """Return the message that a client sent."""
    try:
        message: ClientMessage = _client.decode(frame)
        return message
    except msgspec.DecodeError as error:
        raise ProtocolError(f"A client sent no valid message: {error}") from error


def decode_server(frame: memoryview) -> ServerMessage:
    """Return the message that the runtime sent."""
    try:
        message: ServerMessage = _server.decode(frame)
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
    return _encoder.encode(body)


def decode_body(body: bytes) -> Body:
    """Return what `encode_body` encoded."""
    global _same
    known, decoded = _same
    if known != body:
        decoded = _body.decode(body)
        if decoded.args is None:  # Calls without arguments are alike.
            _same = body, decoded
    return decoded
