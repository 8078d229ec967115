"""The scheduler: a stimulus in, a list of commands out.

No sockets, no clock, no randomness: `handle` gets the time with the stimulus, and its results can be replayed. A
client's message is taken by the function that `SAID` names for its type; that changes records and leaves an agenda,
which `_settle` works off until nothing is left. Events are numbered as they are made; `take_events` hands them to
whoever keeps the log.
"""

from __future__ import annotations

from jupyter_ray.events import AnyEvent
from jupyter_ray.local.scheduler import (
    actors,
    blocking,
    crowd,
    deadlock,
    direct,
    memory,
    placement,
    requests,
    starved,
    transitions,
)
from jupyter_ray.local.scheduler.commands import Command
from jupyter_ray.local.scheduler.happened import HAPPENED
from jupyter_ray.local.scheduler.records import ActorRecord
from jupyter_ray.local.scheduler.said import SAID, remove_group
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.local.scheduler.stimuli import Said, Stimulus
from jupyter_ray.resources import CPU, PARTS


class Scheduler:
    """The state of one session, and the one way to change it. `pid` is the process that it runs in."""

    def __init__(self, pid: int = 0) -> None:
        self.state = State(pid=pid)
        self._step = Step(self.state)
        """Used for all, since making one costs as much as a transition; what it leaves to be done is done each time."""

    def handle(self, stimulus: Stimulus, now: float) -> list[Command]:
        """Take one stimulus at the time `now` (Unix seconds) and return what is to be done, in order."""
        step = self._step
        step.now = now
        try:
            if type(stimulus) is Said:
                client = self.state.clients.get(stimulus.client)
                if client is not None:
                    for message in stimulus.messages:
                        SAID[type(message)](step, client, message)
            else:
                HAPPENED[type(stimulus)](step, stimulus)
        finally:  # Nonsense takes nothing with it of what was said before; commands are returned the next time.
            _settle(step)
        commands, step.commands = step.commands, []
        return commands

    def take_events(self) -> list[AnyEvent]:
        """Return the events since the last time, in order."""
        step = self._step
        events, step.events = step.events, []
        return events

    @property
    def busy(self) -> bool:
        """Whether anything may be running, or is waited for."""
        return bool(self.state.tasks) or any(group.ready for group in self.state.pending_groups)

    @property
    def wants_tick(self) -> bool:
        """Whether something may become due without a stimulus: give `Tick` some ten times a second while it is so."""
        state = self.state
        keep = state.ledger.total.get(CPU, 0) // PARTS
        if state.later or sum(map(len, state.idle.values())) > keep or memory.due(state):
            return True
        if crowd.waits(state) or starved.stuck(state) or any(blocking.halfway(state)):
            return True
        if state.vain or deadlock.is_possible(state) or direct.overdue(state):
            return True
        return any(len(worker.tasks) > 1 for queue in state.order for worker in queue.workers)

    def __repr__(self) -> str:
        return f"<Scheduler: {self.state!r}>"


def _settle(step: Step) -> None:
    while True:
        if step.agenda:
            task, stimulus, detail = step.agenda.popleft()
            transitions.apply(step, task, stimulus, detail)
        elif step.answers:
            requests.reply(step, step.answers.pop(0))
        elif step.offers:
            request = step.offers.pop()
            assert request.call is not None
            direct.offer(step, request.client, request.call)
        elif step.pump:
            actor = next(iter(step.pump))
            del step.pump[actor]
            actors.pump(step, actor)
            if actor.groups and (actor.worker is None or actor.state is ActorState.DEAD):
                _remove_groups(step, actor)
        elif step.place:
            step.place = False
            placement.place(step)
            if step.state.leases:
                direct.recall(step)
        elif step.suspect:
            step.suspect = False
            _break_deadlock(step)
        else:
            return


def _remove_groups(step: Step, actor: ActorRecord) -> None:
    for group in actor.groups:
        remove_group(step, group)
    actor.groups = ()


def _break_deadlock(step: Step) -> None:
    """Refuse what can never be, and look again: what was refused may have hidden more."""
    found = deadlock.break_deadlock(step.state, step.now)
    if found is None:
        return
    refused, error = found
    for request in refused:
        requests.refuse(step, request, error)
    step.suspect = True
