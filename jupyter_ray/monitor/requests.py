"""What the panel says to the kernel (docs/panel-protocol.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="hello"):
    """A panel asks for a snapshot."""

    client: str


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="ack"):
    """A panel has drawn everything up to `seq`."""

    client: str
    epoch: str
    seq: int


class Bye(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="bye"):
    """A panel closed."""

    client: str


class CancelTask(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="cancel"):
    """A panel's user cancels a task."""

    client: str
    task: str
    force: bool = False


PanelMessage = Hello | Ack | Bye | CancelTask


def parse(message: Mapping[str, Any]) -> PanelMessage:
    """Return the message as its type; unknown fields are ignored, so that a newer panel may say more.

    Raises
    ------
    msgspec.ValidationError
        It is no message of the protocol.
    """
    parsed: PanelMessage = msgspec.convert(message, PanelMessage)
    return parsed
