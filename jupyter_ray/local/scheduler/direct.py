"""Direct calls: those that a caller brings to a worker itself, and tells the runtime of afterwards.

A program that calls and waits by turns is shown the way (`Route`): to an actor's worker, or to a pooled worker that is
leased to it. What it does there comes in one of two forms. A quick call is told when it is over (`Ran`): its record
never exists, its events do. A call that lasts, that speaks to the runtime itself, or whose worker died, is told before
(`Submit.direct`): it gets the record that it would have had, running, and everything else is as for any other.

Rules. A route is offered when the caller has nothing else under way there, so its calls stay in order. A lease holds
the resources that its tasks ask for, so no more is held than there is; it ends as soon as anybody else waits for them,
and when a task gets a record, which takes them over.
"""

from __future__ import annotations

from jupyter_ray.events import TaskFinished, TaskStarted
from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol.messages import Ran, Report, Route, Shut, Submit, TaskSpec, Unroute
from jupyter_ray.local.scheduler import actors, errors, history, placement, submission
from jupyter_ray.local.scheduler.dependencies import need, promise, seal
from jupyter_ray.local.scheduler.records import ActorRecord, ClientRecord, FunctionRecord, Lease, TaskRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState, TaskState, WorkerState
from jupyter_ray.local.scheduler.step import Step
from jupyter_ray.local.scheduler.stimuli import WorkerLost
from jupyter_ray.resources import CPU, amounts

QUICK_SECONDS = 0.001
"""Only calls that take less than this, on average, are shown the way: the time that it saves is nothing to others."""
RECALL_SECONDS = 0.5
"""After this time the worker itself is asked: a client that does not give it back is stopped, or in C code that keeps
the interpreter."""


def offer(step: Step, client: ClientRecord, task: TaskRecord) -> None:
    """Show a client the way to the worker where `task` has run, if that is worth while: it waits for each call."""
    spec = task.spec
    if task.state is not TaskState.FINISHED or spec.num_returns != 1:
        return
    if spec.contained or spec.segment:
        return
    actor = task.actor
    if actor is None:
        _lease(step, client, spec)
    elif (
        actor.state is ActorState.ALIVE
        and not actor.leaving
        and actor.worker is not None
        and client.id not in actor.unfinished
        and actor.seconds is not None
        and actor.seconds < QUICK_SECONDS
    ):
        step.send(client, Route(actor.worker.id, actor.id, task.id))


def _lease(step: Step, client: ClientRecord, spec: TaskSpec) -> None:
    """Lease a pooled worker to a client, for tasks like `spec`; or tell it of another function for the one it has."""
    state = step.state
    function = state.functions.get(spec.definition)
    if (
        function is None
        or function.seconds is None
        or function.seconds >= QUICK_SECONDS
        or spec.group is not None
        or spec.max_calls
        or any(name != CPU for name in spec.demand)
    ):
        return
    for lease in state.leases.values():
        if lease.client is client:
            if lease.first.env == spec.env and lease.first.demand == spec.demand:
                _show(step, lease, function)
            return
    idle = state.idle.get(spec.env or state.env)
    if not idle or idle[-1].shut or _is_wanted(step):
        return
    allocation = state.ledger.acquire(spec.demand)
    if allocation is None:
        return
    worker = idle.pop()
    worker.state = WorkerState.LEASED
    lease = state.leases[worker.id] = Lease(worker, client, allocation, spec)
    _show(step, lease, function)


def _show(step: Step, lease: Lease, function: FunctionRecord) -> None:
    """Tell a client of its lease, and of the function that it may be used for."""
    if not lease.recalled and function.id not in lease.told:
        lease.told.add(function.id)
        worker, env, demand = lease.worker.id, lease.first.env, lease.first.demand
        step.send(lease.client, Route(worker, env=env, demand=demand, definition=function.id, version=function.version))


def _is_wanted(step: Step) -> bool:
    """Tell whether somebody waits for resources."""
    state = step.state
    return bool(state.resuming or state.pending_groups) or any(queue.tasks for queue in state.order)


def recall(step: Step) -> None:
    """Ask for what is leased, if somebody waits for resources."""
    if _is_wanted(step):
        for lease in step.state.leases.values():
            ask_back(step, lease)


def redefined(step: Step, client: ClientRecord, definition: str) -> None:
    """`client` has shipped a newer version of a function: who brings calls of it to a leased worker has the old one.

    Their leases end, so that the next call of each comes here and gets the newest version.
    """
    for lease in step.state.leases.values():
        if lease.client is not client and definition in lease.told:
            ask_back(step, lease)


def ask_back(step: Step, lease: Lease) -> None:
    """Ask a client to give a lease back."""
    if not lease.recalled:
        lease.recalled = step.now
        step.send(lease.client, Unroute(lease.worker.id))


def overdue(state: State) -> bool:
    """Tell whether a client still has a lease that it was asked for, and the worker itself has not been asked."""
    return any(lease.recalled and not lease.worker.shut for lease in state.leases.values())


def tick(step: Step) -> None:
    """Ask the workers themselves whose clients do not give them back."""
    for lease in step.state.leases.values():
        if lease.recalled and not lease.worker.shut and lease.recalled <= step.now - RECALL_SECONDS:
            lease.worker.shut = True
            step.send(step.state.clients[lease.worker.id], Shut())


def end_lease(step: Step, client: ClientRecord, worker: bytes) -> None:
    """`client` gives a leased worker back; or it is that worker, which has shut its socket, and says so itself."""
    lease = step.state.leases.get(worker)
    if lease is not None and client.id == worker:
        reason = "its client could not give it back: it is stopped, or in code that keeps the interpreter"
        placement.stop_worker(step, lease.worker, kill=False, reason=reason)
    if lease is None or lease.client is not client:
        return
    del step.state.leases[worker]
    lease.allocation.release()
    step.place = True
    lease.worker.runs += 1
    if lease.worker.state is WorkerState.LEASED:
        placement.worker_free(step, lease.worker)


def end_leases(step: Step, client: ClientRecord) -> None:
    """`client` is gone: end the workers that it leased, which may be at a call of which nobody has told us."""
    state = step.state
    for lease in list(state.leases.values()):
        if lease.client is client:
            reason = "the process that it was leased to is gone"
            placement.stop_worker(step, lease.worker, kill=True, reason=reason, exit_type="INTENDED_SYSTEM_EXIT")
    for task in [task for task, caller in state.adopted.items() if caller == client.id]:
        del state.adopted[task]


def ran(step: Step, client: ClientRecord, message: Ran) -> None:
    """A direct call is over, and this is the first that we hear of it: write down its life, from submission to end."""
    state, spec, done = step.state, message.spec, message.done
    actor = state.actors.get(spec.actor) if spec.actor is not None else None
    began = step.now - done.seconds
    task = TaskRecord(spec.task, spec, client, spec.task.hex(), since=step.now, made=began, begun=began, actor=actor)
    task.worker = state.workers.get(message.worker)
    task.function = state.functions.get(spec.definition) if actor is None else None
    task.state = TaskState.FINISHED
    object_id = return_id(spec.task)
    step.events.append(submission.submitted(step, task, [object_id]))
    step.events.append(
        TaskStarted(
            seq=step.number(),
            at=began,
            task=task.hex,
            worker=message.worker.hex(),
            held=amounts(spec.demand) if actor is None else {},
        )
    )
    promise(step, client, object_id)
    seal(step, object_id, done.returns[0], task.hex)
    step.events.append(TaskFinished(seq=step.number(), at=step.now, task=task.hex))
    history.remember(step, task, "", "")
    state.ended[TaskState.FINISHED] += 1
    if actor is not None:
        actors.learn(actor, done.seconds)
    elif task.function is not None:
        task.function.learn(done.seconds)


def adopt(step: Step, client: ClientRecord, message: Submit) -> None:
    """A direct call is told of while a worker has it: make the record that it would have had, running.

    Its caller tells of it, or its worker (`message.caller`); where both do, the second is too late.
    """
    state, spec = step.state, message.spec
    actor = state.actors.get(spec.actor) if spec.actor is not None else None
    caller: ClientRecord | None = client
    if message.caller:
        caller = state.clients.get(message.caller)
        # The calls of a dead actor have failed; its process may just be telling of one that had been told of before.
        dead = spec.actor is not None and (actor is None or actor.state is ActorState.DEAD)
        if caller is None or dead or spec.task in state.tasks:
            return
        state.adopted[spec.task] = message.caller
    elif state.adopted.pop(spec.task, None) is not None:
        if (known := state.tasks.get(spec.task)) is not None:
            submission.join_parent(step, known)  # That may have been told of meanwhile.
        return
    assert caller is not None
    task = submission.record(step, caller, spec, actor)
    task.function = need(step, spec)
    task.state = TaskState.RUNNING
    task.since = task.begun = step.now
    if spec.kind == "method":
        _adopt_method(step, task, actor, message.direct)
    else:
        _adopt_task(step, task, message.direct)


def _adopt_method(step: Step, task: TaskRecord, actor: ActorRecord | None, worker: bytes) -> None:
    if actor is None:
        lost = errors.actor_unknown(task.spec, "it is long gone")
        step.agenda.append((task, "actor_died", lost))
        return
    actors.count_call(actor, task)
    if actor.state is ActorState.DEAD:
        step.agenda.append((task, "actor_died", actor.death))
    elif actor.worker is None or actor.worker.id != worker:
        reason = "its process ended"
        step.agenda.append((task, "actor_lost", errors.actor_unavailable(actor.id, actor.label, reason)))
    else:
        actors.hand(actor, actor.worker, task)
        placement.begin(step, task)


def _adopt_task(step: Step, task: TaskRecord, worker: bytes) -> None:
    lease = step.state.leases.pop(worker, None)
    if lease is None or lease.worker.state is not WorkerState.LEASED:
        step.agenda.append((task, "worker_lost", WorkerLost(worker, "its worker died")))
        return
    task.worker = lease.worker
    task.allocation = lease.allocation
    lease.worker.tasks[task.id] = task
    lease.worker.state = WorkerState.BUSY
    placement.begin(step, task)


def report(step: Step, client: ClientRecord, message: Report) -> None:
    """A caller passes on the answer to a direct call that has got a record meanwhile."""
    task = step.state.tasks.get(message.done.task)
    if task is not None and task.client is client:
        step.agenda.append((task, "done", message.done))
