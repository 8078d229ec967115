"""Remote functions and actor classes on their way between processes: what is pickled, and which of them is known."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Protocol, TypeVar

from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.refs import hold_definition
from jupyter_ray.engine.travel import learn_definition, note_definition


class Wrapper(Protocol):
    """What `remote` makes: of a definition, with the options that were written."""

    _definition: Definition
    _written: dict[str, Any]


W = TypeVar("W", bound=Wrapper)
Travelled = tuple[str, str, str, Any, int]
"""A definition's id, name, module and code (None: it travels by its id), and what the engine noted of it."""


def packed(definition: Definition) -> Travelled:
    """Return what is pickled: inside an engine's pickling the id; by hand (a user's cloudpickle) the code with it."""
    noted = note_definition(definition)
    return definition.id, definition.name, definition.module, None if noted else definition.value, noted


def unpacked(
    travelled: Travelled,
    written: Mapping[str, Any],
    known: MutableMapping[str, W],
    make: Callable[[Definition], W],
    *,
    is_class: bool = False,
) -> W:
    """Return the wrapper of a definition that has come: the one that is `known` here, else one that is made.

    Parameters
    ----------
    written
        The options that were written; what is known may have others.
    known
        By the id of its definition, what has come before and is still in use.
    make
        Makes one of a definition, with these options.
    """
    key, name, module, value, noted = travelled
    learn_definition(key, noted)
    found = known.get(key)
    if found is not None:
        if noted:
            hold_definition(found._definition)
        return found if found._written == written else make(found._definition)
    # Pickled by hand, it may be older than what the session has under this id: here it is a definition of its own.
    own = key if value is None else uuid.uuid4().hex
    definition = Definition(value=value, name=name, module=module, is_class=is_class, id=own)
    hold_definition(definition)
    known[key] = made = make(definition)
    return made
