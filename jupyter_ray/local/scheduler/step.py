"""One step of the scheduler: what it changes, and what it leaves to be done.

The modules below `transitions` do not call upwards. What they find out about a task or an actor (its last argument
came, its last handle went) they put on the agenda, and `core` works it off before the step ends.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from jupyter_ray.events import AnyEvent
from jupyter_ray.local.protocol.messages import ServerMessage
from jupyter_ray.local.scheduler.commands import Command, Send
from jupyter_ray.local.scheduler.records import ActorRecord, ClientRecord, RequestRecord, TaskRecord
from jupyter_ray.local.scheduler.session_state import State


class Step(msgspec.Struct, eq=False):
    """The state, the time (Unix seconds), and the results of the step so far."""

    state: State
    now: float = 0.0
    number: Callable[[], int] = msgspec.field(default_factory=lambda: itertools.count(1).__next__)
    """Returns the number of the next event."""
    commands: list[Command] = msgspec.field(default_factory=list)
    events: list[AnyEvent] = msgspec.field(default_factory=list)
    agenda: deque[tuple[TaskRecord, str, Any]] = msgspec.field(default_factory=deque)
    """Task stimuli to apply: see `transitions.TABLE`."""
    answers: list[RequestRecord] = msgspec.field(default_factory=list)
    """Requests to answer with what is ready."""
    offers: list[RequestRecord] = msgspec.field(default_factory=list)
    """Answered requests whose clients may be shown a direct route."""
    pump: dict[ActorRecord, None] = msgspec.field(default_factory=dict)
    """Actors whose queues may have something to hand over, or that may have become useless."""
    place: bool = False
    """Resources, workers or ready tasks changed: look for placements."""
    suspect: bool = False
    """A wait may have begun that can never end: look for deadlocks."""

    def satisfy(self, request: RequestRecord) -> None:
        """Have a request answered: that of a blocked task when it holds its CPUs again."""
        request.done = True
        if request.task is not None:
            self.agenda.append((request.task, "satisfied", request))
        else:
            self.answers.append(request)

    def send(self, client: ClientRecord, message: ServerMessage) -> None:
        """Send `message`, unless the client is gone."""
        if client.connected:
            self.commands.append(Send(client.id, message))
