"""Waits that can never end: a task that waits keeps what the one that it waits for needs.

CPUs are lent while a task is blocked, so only other resources can do this, and those of actors, and the turn at an
actor, or the room for one more call. The check plays the rest of the session forward as favourably as possible:
whatever runs ends, whatever fits starts and ends, and an actor whose calls all end may go.
A wait that even then never gets its answer is in vain for certain; one that might get it is left alone. It is refused
when it has been in vain for a while: programs that look for a moment whether something is ready find that it is not,
as in Ray.

A task that awaits a result in an event loop, or waits for a future of it, is not blocked and lends nothing. It may do
something else meanwhile, or have a time limit of its own, so it is not looked at before it has waited for a while. But
where the answer cannot come before its task has ended, it can never come to it. The same holds for what a driver waits
for: it may have threads that let go of what is needed.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from jupyter_ray.ids import task_of
from jupyter_ray.local.protocol.messages import Payload
from jupyter_ray.local.scheduler import errors
from jupyter_ray.local.scheduler.outlook import Outlook, Waits, ahead, held
from jupyter_ray.local.scheduler.records import RequestRecord, TaskRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState, TaskState
from jupyter_ray.local.scheduler.stories import story
from jupyter_ray.resources import CPU

CIRCLE_LIMIT = 64
"""So far is a circle of calls followed, each time a task begins to wait."""
CHECK_LIMIT = 20_000
"""With more tasks than this the check would cost too much; such a session is not stuck, it is busy."""
VAIN_SECONDS = 2.0
"""So long has a wait to be in vain before it is refused."""
AWAIT_SECONDS = 3.0
"""So long is a wait not looked at whose task is not blocked."""
TRIED = 16
"""Of so many waits in vain it is looked whether they close a circle themselves."""
DRIVER_LIMIT = 100
"""So many waits of a driver are looked at."""

_GO_ON = (TaskState.RUNNING, TaskState.RESUMING)
"""What is in these states waits for nothing."""


def is_possible(state: State) -> bool:
    """Tell whether a blocked task keeps anything, and another waits for more than CPUs that are lent."""
    for task in [each for each in state.keepers if each.state is not TaskState.BLOCKED]:
        del state.keepers[task]
    if not state.keepers:
        return False
    if state.pending_groups:
        return True
    lent = () if any(task.actor is not None and CPU in held(task) for task in state.keepers) else {CPU}
    return any(queue.tasks and queue.demand.keys() - lent for queue in state.order)


def break_deadlock(state: State, now: float) -> tuple[list[RequestRecord], Payload] | None:
    """Return requests that will never be answered, and the error to answer them with; None if there are none yet."""
    known, state.vain = state.vain, {}
    if len(state.tasks) > CHECK_LIMIT:
        return None
    waits = _waits(state, now)
    outlook = Outlook(state, waits)
    vain = [
        (task, request)
        for task, requests in waits.items()
        if task not in outlook.ended
        for request in requests
        if not outlook.answers(request)
    ]
    found = [request for _, request in vain] or [each for each in of_drivers(state, now) if not outlook.answers(each)]
    state.vain = {request: known.get(request, now) for request in found}
    due = {request for request, since in state.vain.items() if since <= now - VAIN_SECONDS}
    if not due:
        return None
    if not vain:
        request = next(each for each in found if each in due)  # The first, so that a schedule can be replayed.
        return [request], errors.deadlock(story(state, outlook, [], request))
    task, closing, without = _closing(state, waits, vain, due)
    refused = [closing]
    if closing.awaiter is not None:  # It may await a thousand results, each with a request of its own.
        refused = [request for each, request in vain if each is task and request.awaiter is not None]
    circle = [pair for pair in vain if pair[0] in without.ended]
    return refused, errors.deadlock(story(state, outlook, circle, closing))


def _waits(state: State, now: float) -> Waits:
    """Return what tasks are blocked for, and what they have awaited for long."""
    waits: Waits = {}
    for client in state.clients.values():
        for request in client.requests.values():
            if request.task is not None and request.task.state is TaskState.BLOCKED and not request.done:
                waits.setdefault(request.task, []).append(request)
    for request in state.awaiting:
        if request.since > now - AWAIT_SECONDS:
            break
        if (task := awaiter(request)) is not None and not request.done:
            waits.setdefault(task, []).append(request)
    return waits


def _closing(
    state: State, waits: Waits, vain: list[tuple[TaskRecord, RequestRecord]], due: set[RequestRecord]
) -> tuple[TaskRecord, RequestRecord, Outlook]:
    """Return the wait to refuse: one that closes a circle, so that it is answered where its own task gives up.

    And the outlook without that task. Where no such wait is found among the first ones that are `due`, it is the first.
    """
    # What is awaited first: if there is no answer before its task ends, there is none for it, whatever else happens.
    # Then the deepest, which is mostly the one that has closed the circle.
    vain.sort(key=lambda pair: (pair[1].awaiter is None, -pair[0].depth))
    candidates = [pair for pair in vain if pair[1] in due][:TRIED]
    for task, closing in candidates:
        without = Outlook(state, waits, given_up=task)
        if without.answers(closing):
            return task, closing, without
    task, closing = candidates[0]
    return task, closing, Outlook(state, waits, given_up=task)


def of_drivers(state: State, now: float) -> Iterator[RequestRecord]:
    """Yield what drivers have been waiting for: perhaps a call whose argument needs what the call's own actor keeps."""
    for client in state.clients.values():
        if client.is_driver:
            for request in itertools.islice(client.requests.values(), DRIVER_LIMIT):
                if 0 < request.since <= now - AWAIT_SECONDS and not request.done:
                    yield request


def awaiter(request: RequestRecord) -> TaskRecord | None:
    """Return the task that awaits the answer to a request and is not blocked; None if it does so no more."""
    task = request.awaiter
    if task is None or task.worker is None or task.worker.id != request.client.id:
        return None
    return task if task.id in task.worker.tasks else None


def closes_circle(state: State, blocked: TaskRecord, request: RequestRecord) -> bool:
    """Tell whether a task begins to wait for what waits for itself, perhaps behind it at its actor."""
    if request.expires:
        return False
    seen: set[TaskRecord] = set()
    queue = _unfinished_makers(state, request.ids)
    while queue and len(seen) <= CIRCLE_LIMIT:
        task = queue.pop()
        if task is blocked:
            return True
        if task not in seen:
            seen.add(task)
            queue += _waited_for_by(state, task)
    return False


def _unfinished_makers(state: State, objects: list[bytes]) -> list[TaskRecord]:
    """Return the tasks that make the first of `objects`, and that may wait for something themselves."""
    makers = (state.tasks.get(task_of(each)) for each in objects[:CIRCLE_LIMIT])
    return [maker for maker in makers if maker is not None and maker.state not in _GO_ON]


def _waited_for_by(state: State, task: TaskRecord) -> list[TaskRecord]:
    """Return tasks that must go on before a task can: those before it, those that make what it waits for."""
    found = list(itertools.islice(ahead(task), 1))  # What is between waits for the first one too.
    if task.actor is not None and task.actor.state is not ActorState.ALIVE:
        creation = state.tasks.get(task.actor.spec.creation.task)
        found += [creation] if creation is not None else []
    if task.state is TaskState.WAITING:
        found += _unfinished_makers(state, list(task.spec.dependencies))
    elif task.state is TaskState.BLOCKED and task.worker is not None:
        others = open_requests(state, task)
        found += _unfinished_makers(state, [each for other in others if not other.expires for each in other.ids])
    return found


def open_requests(state: State, task: TaskRecord) -> list[RequestRecord]:
    """Return what the threads of a task wait for."""
    return [request for request in _requests(state, task) if request.task is task]


def awaited(state: State, task: TaskRecord) -> list[RequestRecord]:
    """Return what a task awaits and is not blocked for."""
    return [request for request in _requests(state, task) if request.awaiter is task]


def _requests(state: State, task: TaskRecord) -> list[RequestRecord]:
    client = state.clients.get(task.worker.id) if task.worker is not None else None
    return [] if client is None else list(client.requests.values())
