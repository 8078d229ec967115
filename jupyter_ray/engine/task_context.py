"""What is known of a task while it runs. Apart from `context`, which a notebook imports at once."""

from __future__ import annotations

from typing import Any

import msgspec


class TaskContext(msgspec.Struct, kw_only=True, eq=False):
    """The running task. `held` is in amounts; `devices` are the ids of accelerators that it has, as text, by kind."""

    task: bytes
    name: str
    function: str
    actor: bytes | None = None
    parent: bytes | None = None
    cell: str | None = None
    called: Any = None
    """What it calls: a function or a bound method; None while that is not known."""
    held: dict[str, float] = msgspec.field(default_factory=dict)
    devices: dict[str, list[str]] = msgspec.field(default_factory=dict)
    attempt: int = 0
    cancelled: bool = False
    exiting: bool = False
    """It has called `exit_actor`: whatever it does afterwards, its caller learns that the actor is gone."""
    runtime_env: dict[str, Any] | None = None
    group: str = ""
    """The placement group (hex) that it runs in, "" for none."""
    capture: bool = False
    """What it starts runs in that group too."""

    def full_name(self) -> str:
        """Return the module and the qualified name of the function that it runs."""
        name = getattr(self.called, "__qualname__", self.function)
        return f"{getattr(self.called, '__module__', None) or '__main__'}.{name}"
