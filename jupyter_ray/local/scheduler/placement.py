"""Which ready task runs where.

Two rules. Tasks whose wait is over get their CPUs back before anything new starts. What starts is the deepest, then
the oldest. A worker whose tasks are short is handed the next ones in advance; it holds the resources of one.
"""

from __future__ import annotations

import bisect
from collections import deque
from collections.abc import Iterator

from jupyter_ray.config import IDLE_WORKER_SECONDS
from jupyter_ray.events import TaskStarted
from jupyter_ray.ids import worker_id
from jupyter_ray.local.protocol.messages import ABSENT, Consume, Execute, Function, Payload, Recall
from jupyter_ray.local.scheduler import crowd, groups, memory
from jupyter_ray.local.scheduler.commands import StartWorker, StopWorker
from jupyter_ray.local.scheduler.dependencies import grant
from jupyter_ray.local.scheduler.ledger import Allocation, Ledger
from jupyter_ray.local.scheduler.records import FunctionRecord, ReadyClass, TaskRecord, WorkerRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import CRASHED, ActorState, GroupState, TaskState, WorkerState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.resources import CPU, GPU, PARTS, amounts

READY, ASSIGNED, RUNNING = TaskState.READY, TaskState.ASSIGNED, TaskState.RUNNING
BUSY = WorkerState.BUSY
PRESTART = 8
"""At most this many workers are started before anybody asks."""
STARTING = 2
"""For actors, at most so many processes start at once, or as many as there are CPUs."""
AHEAD_SECONDS = 0.004
AHEAD_LIMIT = 64
"""A worker is handed at most this much work in advance, in expected seconds and in tasks."""
STUCK_SECONDS = 0.02
"""Nothing is handed over behind a task that has run for so long, and longer than it should: it may be stopped."""


def enqueue(step: Step, task: TaskRecord, *, front: bool = False) -> None:
    """Put a ready task where `place` looks for it."""
    state = step.state
    spec = task.spec
    needs = spec.demand
    env = spec.env or state.env
    key = (task.depth, env, task.actor is not None, spec.group, spec.bundle, *needs.items())
    queue = state.ready.get(key)
    if queue is None:
        state.serial += 1
        rank = (-task.depth, state.serial)
        queue = state.ready[key] = ReadyClass(key, rank, env, needs, spec.group, spec.bundle)
        bisect.insort(state.order, queue, key=lambda each: each.rank)
    if front:
        queue.tasks.appendleft(task)
        step.place = True
    else:
        # Behind one that could not be placed there is nothing to place.
        step.place = step.place or not queue.tasks
        queue.tasks.append(task)


def place(step: Step) -> None:
    """Start everything that can start now."""
    state = step.state
    if not state.started:
        return
    if state.resuming:
        _resume(step)
    if state.pending_groups:
        groups.reserve(step)
    for queue in list(state.order):
        tasks = queue.tasks
        while tasks:
            task = tasks[0]
            if task.state is not READY:
                tasks.popleft()
                continue
            allocation = _acquire(state, queue)
            if allocation is None:
                break
            worker = _pick(step, task, queue)
            if worker is None:
                allocation.release()
                if crowd.due(state, task) <= step.now or queue.crowded:
                    break
                _set_apart(step, queue)
                tasks = queue.tasks
                continue
            tasks.popleft()
            assign(step, task, worker, allocation, queue)
        if tasks:
            _hand_in_advance(step, queue)
        elif not queue.workers:
            del state.ready[queue.key]
            state.order.remove(queue)


def _set_apart(step: Step, queue: ReadyClass) -> None:
    """Give the tasks of a crowd's function a class of their own: others need not wait with them."""
    state = step.state
    definition = queue.tasks[0].spec.definition
    key = (queue.key, definition)
    apart = state.ready.get(key)
    if apart is None:
        apart = ReadyClass(key, queue.rank, queue.env, queue.demand, queue.group, queue.bundle, crowded=True)
        state.ready[key] = apart
        bisect.insort(state.order, apart, key=lambda each: each.rank)
    apart.tasks.extend(each for each in queue.tasks if each.spec.definition == definition)
    queue.tasks = deque(each for each in queue.tasks if each.spec.definition != definition)


def _ledgers(state: State, queue: ReadyClass) -> list[Ledger]:
    """Return the ledgers that tasks of a class may take from: the machine's, or those of their group's bundles."""
    if queue.group is None:
        return [state.ledger]
    group = state.groups.get(queue.group)
    if group is None or group.state is not GroupState.CREATED:
        return []
    return group.bundles if queue.bundle < 0 else group.bundles[queue.bundle : queue.bundle + 1]


def _acquire(state: State, queue: ReadyClass) -> Allocation | None:
    for ledger in _ledgers(state, queue):
        allocation = ledger.acquire(queue.demand)
        if allocation is not None:
            return allocation
    return None


def _resume(step: Step) -> None:
    state = step.state
    for _ in range(len(state.resuming)):
        request = state.resuming.popleft()
        task = request.task
        if task is None or request.id not in request.client.requests:
            continue
        if task.lent and task.allocation is not None and not task.allocation.reclaim(task.lent):
            state.resuming.append(request)
        else:
            step.agenda.append((task, "resumed", request))
            task.lent = None


def _pick(step: Step, task: TaskRecord, queue: ReadyClass) -> WorkerRecord | None:
    """Return a worker for a task, a new one if need be; None: there are too many."""
    state, env = step.state, queue.env
    # What uses a GPU has one that has run nothing: it might find a library there that has counted other GPUs.
    fresh = GPU in queue.demand
    if any(each.crowded for each in state.order) and crowd.due(state, task) > step.now:
        return None
    idle = state.idle.get(env)
    if idle and not fresh:
        return idle.pop()
    for index in range(len(idle or ()) - 1, -1, -1):
        if idle and not idle[index].functions and not idle[index].runs:
            return idle.pop(index)
    starting = [worker for worker in state.workers.values() if worker.state is WorkerState.STARTING]
    awaited = sum(1 for worker in starting if worker.tasks)
    if task.actor is not None and awaited >= max(STARTING, state.ledger.total.get(CPU, 0) // PARTS):
        return None  # Most actors hold no CPU, so that nothing else bounds how many processes start at once.
    for worker in starting:
        if worker.env == env and not worker.tasks:
            return worker
    active = sum(1 for worker in state.workers.values() if _counts(worker))
    if active >= max(64, 8 * state.ledger.total.get(CPU, 0) // PARTS) or crowd.due(state, task) > step.now:
        return None
    worker = start_worker(step, env)
    if task.depth:  # Its parent waits for it, and so may it for one deeper still: that will find its worker ready.
        start_worker(step, env)
    return worker


def _counts(worker: WorkerRecord) -> bool:
    """Whether a process counts against the bound on processes: blocked tasks, actors and leaving ones do not."""
    if worker.actor is not None or worker.state in (WorkerState.LEAVING, WorkerState.DEAD):
        return False
    first = next(iter(worker.tasks.values()), None)
    return first is None or first.state is not TaskState.BLOCKED


def start_worker(step: Step, env: str) -> WorkerRecord:
    """Ask for a new process."""
    state = step.state
    state.next_worker += 1
    worker = WorkerRecord(worker_id(state.next_worker), env, started=step.now)
    state.workers[worker.id] = worker
    step.commands.append(StartWorker(worker.id, env))
    return worker


def _fill_pool(step: Step, env: str) -> None:
    """An actor takes a process out of the pool: another one takes its place, before somebody has to wait for it."""
    state = step.state
    keep = min(PRESTART, state.ledger.total.get(CPU, 0) // PARTS)
    spare = len(state.idle.get(env, ()))
    starting = (each for each in state.workers.values() if each.state is WorkerState.STARTING and each.env == env)
    if env == state.env and spare + sum(not each.tasks for each in starting) < keep:
        start_worker(step, env)


def assign(step: Step, task: TaskRecord, worker: WorkerRecord, allocation: Allocation, queue: ReadyClass) -> None:
    """Give a task to a worker that has nothing else, and the resources with it."""
    task.worker = worker
    task.allocation = allocation
    worker.tasks[task.id] = task
    worker.given = step.now
    if task.actor is None:
        worker.queue = queue
        queue.workers[worker] = None
    else:
        worker.actor = task.actor
        task.actor.worker = worker
        task.actor.allocation = allocation
        task.actor.state = ActorState.STARTING
        _fill_pool(step, worker.env)
    if worker.state is WorkerState.STARTING:
        task.state = ASSIGNED
        task.since = step.now
    else:
        worker.state = WorkerState.ACTOR if task.actor is not None else BUSY
        begin(step, task)
        execute(step, task)


def begin(step: Step, task: TaskRecord) -> None:
    """The task runs from now on."""
    task.state = RUNNING
    task.since = task.begun = step.now
    allocation, worker = task.allocation, task.worker
    step.events.append(
        TaskStarted(
            seq=step.number(),
            at=step.now,
            task=task.hex,
            worker=worker.id.hex() if worker is not None else "",
            held=amounts(allocation.held) if allocation is not None else {},
            gpus=allocation.gpus if allocation is not None and allocation.devices else [],
            attempt=task.attempt,
        )
    )


def execute(step: Step, task: TaskRecord) -> None:
    """Send the task to its worker, with the values of its arguments and the definitions that the worker lacks."""
    state, spec, worker = step.state, task.spec, task.worker
    assert worker is not None
    client = state.clients[worker.id]
    function = task.function
    functions = _missing(step, worker, function) if function is not None else []
    values: list[Payload] = []
    elsewhere = False
    for dependency in spec.dependencies:
        payload = state.objects[dependency].payload
        if payload is None or payload.is_error:  # It was lost after it had been there: the worker asks for it.
            payload = ABSENT
            elsewhere = True
        values.append(payload)
        if payload.segment:
            elsewhere = True
            memory.used(state, payload.segment)
        for counted in payload.contained:
            grant(step, client, counted, task)
    for counted in spec.contained:
        grant(step, client, counted, task)
    allocation = task.allocation
    actor = task.actor
    creating = spec.kind == "actor" and actor is not None
    step.send(
        client,
        Execute(  # By position, in the order of its fields: so many names would take four times as long.
            spec.task,
            spec.kind,
            spec.name,
            spec.body,
            spec.definition if function is None else function.key,
            tuple(values) if values else (),
            spec.num_returns,
            functions,
            allocation.held
            if allocation is not None
            # One that is handed over in advance inherits as much from the one before it.
            else (spec.demand if spec.kind == "task" else {}),
            allocation.ids if allocation is not None and allocation.devices else {},
            spec.parent,
            spec.cell,
            task.attempt,
            spec.actor,
            spec.concurrency_group,
            spec.contained,
            task.may_retry,
            actor.spec if creating and actor is not None else None,
            actor.restarts if actor is not None else 0,
            spec.dependencies if elsewhere else (),
        ),
    )
    if task.read:  # Said before it began, or of an earlier attempt.
        step.send(client, Consume(spec.task, task.read))


def _missing(step: Step, worker: WorkerRecord, function: FunctionRecord) -> list[Function]:
    """Return the definition to be sent with a task, if the worker has not got it."""
    if worker.functions.get(function.key, 0) == function.version:
        return []
    worker.functions[function.key] = function.version
    client = step.state.clients[worker.id]
    for counted in function.contained:
        grant(step, client, counted)
    return [Function(function.key, function.version, function.blob)]


def _window(step: Step, task: TaskRecord) -> int:
    """Return how many tasks like `task` a worker may have at once."""
    function = task.function
    if function is None or function.seconds is None or task.spec.max_calls:
        return 1
    for kind in step.state.ledger.ids:
        if kind in task.spec.demand:  # Which of its devices a task is given is known when it begins.
            return 1
    return 1 + min(AHEAD_LIMIT, int(AHEAD_SECONDS / max(function.seconds, 1e-6)))


def wants_more(worker: WorkerRecord) -> bool:
    """Tell whether a worker has used up half of what it was handed in advance."""
    return len(worker.tasks) <= AHEAD_LIMIT // 2


def _ends_soon(step: Step, task: TaskRecord) -> bool:
    """Tell whether a task that runs is a short one, and has not run for much longer than it should."""
    function = task.function
    if function is None or function.seconds is None:
        return False
    return step.now - task.begun <= max(STUCK_SECONDS, 4 * function.seconds)


def _hand_in_advance(step: Step, queue: ReadyClass) -> None:
    tasks = queue.tasks
    for worker in queue.workers:
        if worker.state is not BUSY or worker.recalled or worker.doomed or worker.outdated:
            continue
        first = next(iter(worker.tasks.values()), None)
        if first is None or first.state is not RUNNING or first.blocking or not wants_more(worker):
            continue
        if not _ends_soon(step, first):
            continue
        while tasks:
            task = tasks[0]
            if task.state is not READY:
                tasks.popleft()
                continue
            if len(worker.tasks) >= _window(step, task):
                break
            tasks.popleft()
            task.state = ASSIGNED
            task.since = step.now
            task.worker = worker
            worker.tasks[task.id] = task
            execute(step, task)
        if not tasks:
            return


def worker_free(step: Step, worker: WorkerRecord) -> None:
    """A pooled worker has nothing to do."""
    _unclass(step, worker)
    if worker.outdated:
        stop_worker(step, worker, kill=False, reason="modules that it had loaded have changed")
        return
    worker.state = WorkerState.IDLE
    worker.idle_since = step.now
    worker.recalled = False
    step.state.idle.setdefault(worker.env, []).append(worker)
    step.place = True


def worker_gone(step: Step, worker: WorkerRecord) -> None:
    """A worker will not be given anything any more."""
    _unclass(step, worker)
    idle = step.state.idle.get(worker.env)
    if idle is not None:
        if worker in idle:
            idle.remove(worker)
        if not idle:  # There may be no more workers of this environment, ever.
            del step.state.idle[worker.env]
    lease = step.state.leases.pop(worker.id, None)
    if lease is not None:
        lease.allocation.release()
    step.place = True


def _unclass(step: Step, worker: WorkerRecord) -> None:
    queue = worker.queue
    if queue is not None:
        queue.workers.pop(worker, None)
        worker.queue = None
        if not queue.workers and not queue.tasks and step.state.ready.get(queue.key) is queue:
            del step.state.ready[queue.key]
            step.state.order.remove(queue)


def ahead(step: Step) -> Iterator[WorkerRecord]:
    """Yield the workers that were handed tasks in advance."""
    for queue in step.state.order:
        for worker in queue.workers:
            if len(worker.tasks) > 1:
                yield worker


def take_back(step: Step, worker: WorkerRecord) -> None:
    """Ask a worker for what it has not begun."""
    if not worker.recalled:
        worker.recalled = True
        step.send(step.state.clients[worker.id], Recall())


def tick(step: Step) -> None:
    """Take back what waits behind a long task while others could run it, and let surplus idle workers go."""
    state = step.state
    for worker in list(ahead(step)):
        queue = worker.queue
        if (
            queue is not None
            and not worker.recalled
            and any(ledger.fits(queue.demand) for ledger in _ledgers(state, queue))
        ):
            take_back(step, worker)
    step.place = step.place or crowd.waits(state)
    keep = state.ledger.total.get(CPU, 0) // PARTS
    surplus = sum(map(len, state.idle.values())) - keep
    for idle in list(state.idle.values()):
        for worker in list(idle):
            if surplus > 0 and step.now - worker.idle_since >= IDLE_WORKER_SECONDS:
                surplus -= 1
                stop_worker(step, worker, kill=False, reason="it was idle, and not needed any more")


def stop_worker(step: Step, worker: WorkerRecord, *, kill: bool, reason: str, exit_type: str = "") -> None:
    """End a process."""
    if worker.doomed and not kill:
        return
    worker.doomed = reason
    worker.exit_type = exit_type or worker.exit_type
    worker.retired = not kill and worker.actor is None and worker.exit_type != CRASHED
    worker_gone(step, worker)
    if worker.state is not WorkerState.DEAD:
        worker.state = WorkerState.LEAVING
    step.commands.append(StopWorker(worker.id, kill, reason))
