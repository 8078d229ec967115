"""Which objects a message names: who hears it must have heard of them before."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import Any

from jupyter_ray.local.protocol import messages as m

_NAMES: dict[type, Callable[[Any], Collection[bytes]]] = {
    m.Get: lambda message: message.ids,
    m.Wait: lambda message: message.ids,
    m.Cancel: lambda message: (message.object,),
    m.Submit: lambda message: (*message.spec.dependencies, *message.spec.contained),
    m.CreateActor: lambda message: (*message.spec.creation.dependencies, *message.spec.creation.contained),
    m.Export: lambda message: message.contained,
    m.Put: lambda message: message.payload.contained,
    m.Item: lambda message: message.payload.contained,
    m.Done: lambda message: tuple(itertools.chain.from_iterable(each.contained for each in message.returns)),
}


def mentioned(message: m.ClientMessage) -> Collection[bytes]:
    """Return what a message names that another thread's call may be making."""
    names = _NAMES.get(type(message))
    return () if names is None else names(message)
