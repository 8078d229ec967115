"""Why something has not finished: one sentence for each link of the chain that it hangs on.

Reads the state and changes nothing. A link names the task, since when it stands where it stands, and what it waits
for; the next link explains that, up to the one that can be explained by itself.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from jupyter_ray.ids import ACTOR_ID_SIZE, task_of
from jupyter_ray.local.scheduler import crowd, deadlock
from jupyter_ray.local.scheduler.ledger import Allocation, Ledger
from jupyter_ray.local.scheduler.outlook import obstacle, total
from jupyter_ray.local.scheduler.records import ActorRecord, ClientRecord, GroupRecord, RequestRecord, TaskRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import ActorState, GroupState, TaskState
from jupyter_ray.resources import Demand, describe

LINKS = 12
"""A chain is told up to this many links."""
NAMES = 5
"""Lists of holders or of missing objects are told up to this many."""


def why(state: State, arguments: dict[str, Any]) -> str:
    """Explain ``arguments["id"]``, an object or an actor, at the time ``arguments["now"]``.

    ``arguments["stopped"]`` has the workers that are stopped, if any are, and ``arguments["maker"]`` the process that
    makes them, if that is.
    """
    counted, now = arguments["id"], arguments["now"]
    if len(counted) == ACTOR_ID_SIZE:
        actor = state.actors.get(counted)
        links = _actor(state, actor, now) if actor is not None else iter(["This actor is not known: it is long gone."])
    else:
        links = _object(state, counted, now, set())
    told: list[str] = []
    for link in links:
        told.append(link)
        if len(told) == LINKS:
            told.append("And so on.")
            break
    for pid in arguments.get("stopped", ()):
        if any(re.search(rf"\bprocess {pid}\b", link) for link in told):
            told.append(f"Process {pid} is stopped (SIGSTOP): `kill -CONT {pid}` lets it go on.")
    maker = arguments.get("maker")
    if maker and any("worker process" in link for link in told):
        told.append(maker_is_stopped(maker))
    return " ".join(told)


def maker_is_stopped(pid: int) -> str:
    """Say why no worker process starts."""
    return f"Process {pid}, which starts the workers, is stopped (SIGSTOP): `kill -CONT {pid}` lets it go on."


def _object(state: State, object_id: bytes, now: float, seen: set[bytes]) -> Iterator[str]:
    record = state.objects.get(object_id)
    if record is not None and record.payload is not None:
        failed = "It has ended with an error; get() raises it." if record.payload.is_error else "It is ready."
        yield failed
        return
    task = state.tasks.get(task_of(object_id))
    group = next((each for each in state.pending_groups if object_id in each.ready), None)
    if group is not None:
        yield _group(state, group, now)
        return
    if task is None:
        yield "Nothing makes this object: it was freed, or belongs to another session."
        return
    yield from _task(state, task, now, seen)


def _task(state: State, task: TaskRecord, now: float, seen: set[bytes]) -> Iterator[str]:
    name = _name(task)
    if task.id in seen:
        yield f"And that closes the circle: {name} waits for itself."
        return
    seen.add(task.id)
    if task.id in state.recovering:
        yield f"{name} runs again, as attempt {task.attempt + 1}, since {task.retry_reason}."
    elif task.attempt:
        yield f"{name} is at attempt {task.attempt + 1}, after: {task.retry_reason}."
    if task.cancel_asked:
        yield f"A cancel of {name} was asked for."
    since = _since(task, now)
    missing: list[bytes] = []
    if task.state is TaskState.WAITING:
        missing = [each for each in task.spec.dependencies if not _there(state, each)]
        yield f"{name} waits for {_several(len(missing), 'argument')} ({since} so far): {_makers(state, missing)}."
    elif task.state is TaskState.READY and task.spec.kind == "method" and task.actor is not None:
        yield from _queued_call(state, task, task.actor, now, seen)
    elif task.state is TaskState.READY:
        pause = max((at - now for at, each in state.later if each is task), default=0.0)
        yield f"{name} is tried again in {pause:.1f} s." if pause > 0 else waits_for(state, task, now)
    elif task.state is TaskState.ASSIGNED:
        yield from _assigned(task, name, since, now)
    elif any(request.kind == "read" for request in deadlock.open_requests(state, task)):
        ahead = "it is as far ahead as it may be"
        yield f"{name} waits for its reader ({since} so far){_where(task)}: {ahead}."
    elif task.state is TaskState.RUNNING:
        missing = _missing(state, requests := deadlock.open_requests(state, task))
        waits = f", and a thread of it waits in {_which(requests)}: {_makers(state, missing)}" if task.blocking else ""
        if not waits and (missing := _missing(state, deadlock.awaited(state, task))):
            waits = f" and awaits {_makers(state, missing)}"
        yield f"{name} has been running for {since}{_where(task)}{waits}."
    elif task.state is TaskState.BLOCKED:
        missing = _missing(state, requests := deadlock.open_requests(state, task))
        yield f"{name} has been blocked in {_which(requests)} for {since}{_where(task)}: {_makers(state, missing)}."
    else:
        lent = task.lent or {}
        yield f"{name} has what it waited for, and waits to get {describe(lent)} back."
        yield _holders(state, task.client, lent, now)
    yield from _first(state, missing, now, seen)


def waits_for(state: State, task: TaskRecord, now: float) -> str:
    """Tell what resources a task or an actor's creation waits for, and who holds them."""
    if (due := crowd.due(state, task)) > now:
        others = f"{len(crowd.crowd(state, task))} other calls of its function are blocked in get() or wait()"
        return f"{_name(task)} begins in {due - now:.0f} s: {others}, so further ones begin one by one."
    needs = task.spec.demand
    group, since = state.groups.get(task.spec.group or ""), f"({_since(task, now)} so far)"
    if group is None:
        return f"{_name(task)} waits for {describe(needs)} {since}. {_holders(state, task.client, needs, now)}"
    if group.state is GroupState.PENDING:
        return f"{_name(task)} waits for {_group_name(group)} {since}. {_group(state, group, now)}"
    bundles = group.bundles if task.spec.bundle < 0 else [group.bundles[task.spec.bundle]]
    where = "" if task.spec.bundle < 0 else f"bundle {task.spec.bundle} of "
    wanted = f"{describe(needs)} of {where}{_group_name(group)}"
    return f"{_name(task)} waits for {wanted} {since}. {_holders(state, task.client, needs, now, bundles)}"


def _queued_call(state: State, task: TaskRecord, actor: ActorRecord, now: float, seen: set[bytes]) -> Iterator[str]:
    if actor.state is not ActorState.ALIVE:
        yield f"{_name(task)} waits for its actor."
        yield from _actor(state, actor, now)
        return
    queue = list(actor.queues.get(actor.lane(task), ()))
    place = queue.index(task) + 1 if task in queue else 1
    waiting = f"at the actor {actor.label} ({_calls(actor.queued)})"
    yield f"{_name(task)} is number {place} in its caller's queue {waiting}."
    running = next((each for each in actor.handed.values() if each.state is not TaskState.ASSIGNED), None)
    if running is not None:
        yield from _task(state, running, now, seen)


def _assigned(task: TaskRecord, name: str, since: str, now: float) -> Iterator[str]:
    first = next(iter(task.worker.tasks.values()), None) if task.worker is not None else None
    if first is None or first is task:
        yield f"{name} waits for its worker process to start ({since} so far)."
    else:
        runs = f"{_name(first)} has been running for {_since(first, now)}"
        yield f"{name} comes next in process {_pid(task)}, where {runs}."


def _actor(state: State, actor: ActorRecord, now: float) -> Iterator[str]:
    name = f"The actor {actor.label}"
    if actor.state is ActorState.DEAD:
        yield f"{name} is dead: {actor.death_reason}."
    elif actor.state is ActorState.ALIVE:
        busy = [each for each in actor.handed.values() if each.state is not TaskState.ASSIGNED]
        pid = actor.worker.pid if actor.worker is not None else 0
        doing = f"runs {', '.join(_name(each) for each in busy[:NAMES])}" if busy else "has nothing to do"
        waiting = actor.queued + len(actor.handed) - len(busy)  # Some are there already, before their turn.
        yield f"{name} is alive in process {pid} and {doing}; {_calls(waiting)}."
    else:
        creation = state.tasks.get(actor.spec.creation.task)
        again = f" again, for the {_ordinal(actor.restarts)} time" if actor.restarts else ""
        yield f"{name} is being made{again}."
        if creation is not None:
            yield from _task(state, creation, now, set())


def _group(state: State, group: GroupRecord, now: float) -> str:
    never = obstacle(state, group)
    if never:
        return f"{never} So it is never reserved."
    needs = total(group)
    return f"T{_group_name(group)[1:]} waits for {describe(needs)}. {_holders(state, group.creator, needs, now)}"


def _first(state: State, missing: list[bytes], now: float, seen: set[bytes]) -> Iterator[str]:
    for object_id in missing:
        if task_of(object_id) in state.tasks:
            yield from _object(state, object_id, now, seen)
            return


def _which(requests: list[RequestRecord]) -> str:
    """Return where a task waits: in which `get`, if there is one alone, and in how many other places."""
    first = next((each for each in requests if each.site), None)
    if first is None:
        return "get() or wait()"
    more = f" and {_several(len(requests) - 1, 'other place')}" if len(requests) > 1 else ""
    return f"{first.kind}() ({first.site}){more}"


def _missing(state: State, requests: list[RequestRecord]) -> list[bytes]:
    return [each for request in requests for each in request.ids if not _there(state, each)]


def _there(state: State, object_id: bytes) -> bool:
    record = state.objects.get(object_id)
    return record is None or record.payload is not None


def _makers(state: State, missing: list[bytes]) -> str:
    names = []
    for object_id in missing[:NAMES]:
        maker = state.tasks.get(task_of(object_id))
        names.append(f"object {object_id.hex()[:8]}" if maker is None else f"the result of {_name(maker)}")
    more = f" and {len(missing) - NAMES} more" if len(missing) > NAMES else ""
    return (", ".join(names) + more) or "room in an actor's queue"


def _holders(state: State, asker: ClientRecord, needs: Demand, now: float, bundles: Sequence[Ledger] = ()) -> str:
    """Tell who holds what `asker` is short of, of the machine or of a group's `bundles`."""
    ledgers = bundles or [state.ledger]
    if any(ledger.fits(needs) for ledger in ledgers):
        return "There is enough; a worker process is being started for it."
    # Where each is there somewhere, it is not in one piece: on one GPU, or in one bundle.
    short = [name for name, parts in needs.items() if all(ledger.free.get(name, 0) < parts for ledger in ledgers)]
    told: list[str] = []
    for name in short or needs:
        held = [
            *_held_by_tasks(state, asker, name, ledgers, now),
            *_held_by_actors(state, asker, name, ledgers),
            *_held_by_others(state, asker, name, ledgers),
        ]
        more = f" and {len(held) - NAMES} more" if len(held) > NAMES else ""
        whole = describe({name: sum(ledger.total.get(name, 0) for ledger in ledgers)})
        told.append(f"Of {whole}, {'; '.join(held[:NAMES]) or 'nobody holds any'}{more}.")
    return " ".join(told)


def _held_by_tasks(
    state: State, asker: ClientRecord, name: str, ledgers: Sequence[Ledger], now: float
) -> Iterator[str]:
    """Tell which tasks hold some of a resource; those that are alike in one sentence."""
    alike: dict[tuple[str, str, str, int], list[TaskRecord]] = {}
    for task in state.tasks.values():
        if task.actor is None and (amount := _amount(task.allocation, name, ledgers)):
            key = (task.spec.name, _whose(task.client, asker), task.state.value, amount)
            alike.setdefault(key, []).append(task)
    for (_, driver, _, amount), tasks in alike.items():
        yield _held_by(tasks, driver, describe({name: amount}), now)


def _held_by_actors(state: State, asker: ClientRecord, name: str, ledgers: Sequence[Ledger]) -> Iterator[str]:
    alike = Counter(
        (f"the actor {each.label}{_whose(each.creator, asker)}", describe({name: amount}))
        for each in state.actors.values()
        if (amount := _amount(each.allocation, name, ledgers))
    )
    for (actor, told), number in alike.items():
        yield f"{actor} holds {told}" if number == 1 else f"{number} × {actor} hold {told} each"


def _held_by_others(state: State, asker: ClientRecord, name: str, ledgers: Sequence[Ledger]) -> Iterator[str]:
    """Tell which processes that end, leases and placement groups hold some of a resource."""
    for worker, kept in state.ending.items():
        if amount := sum(_amount(each, name, ledgers) for each in kept):
            yield f"process {state.workers[worker].pid}, which is ending, has {describe({name: amount})}"
    for lease in state.leases.values():
        if amount := _amount(lease.allocation, name, ledgers):
            client = lease.client.pid or "another"
            kept_for = f"process {lease.worker.pid}, which is kept for quick calls of process {client}"
            yield f"{kept_for}, has {describe({name: amount})}"
    for group in state.groups.values():
        if amount := sum(_amount(bundle, name, ledgers) for bundle in group.reserved):
            yield f"{_group_name(group)}{_whose(group.creator, asker)} reserves {describe({name: amount})}"


def _whose(client: ClientRecord, asker: ClientRecord) -> str:
    return "" if client.job == asker.job else " of another driver"


def _held_by(tasks: list[TaskRecord], driver: str, amount: str, now: float) -> str:
    """Tell what tasks of one name in one state hold, each as much: of many, one line."""
    first = min(tasks, key=lambda each: each.since)
    since = f"{first.state.value} for {_since(first, now)}"
    if len(tasks) == 1:
        return f"{_name(first)}{driver} ({since}) holds {amount}"
    ids = ", ".join(each.id.hex()[:8] for each in tasks[:NAMES]) + (", ..." if len(tasks) > NAMES else "")
    return f"{len(tasks)} × {first.spec.name} ({ids}){driver} ({since}) hold {amount} each"


def _amount(allocation: Allocation | None, name: str, ledgers: Sequence[Ledger]) -> int:
    if allocation is None or all(ledger is not allocation.ledger for ledger in ledgers):
        return 0
    return allocation.held.get(name, 0)


def _group_name(group: GroupRecord) -> str:
    return f"the placement group {group.name or group.id[:8]}"


def _name(task: TaskRecord) -> str:
    return f"{task.spec.name} ({task.id.hex()[:8]})"


def _since(task: TaskRecord, now: float) -> str:
    return f"{max(0.0, now - task.since):.1f} s"


def _where(task: TaskRecord) -> str:
    return f" in process {_pid(task)}" if task.worker is not None else ""


def _pid(task: TaskRecord) -> int:
    return task.worker.pid if task.worker is not None else 0


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _calls(count: int) -> str:
    return f"{_several(count, 'call')} wait{'s' if count == 1 else ''}"


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
