"""The devices of a process that is to end: what it has in a GPU's memory is there until it has ended.

So nobody else is given them before. What it had besides is free at once.
"""

from __future__ import annotations

from jupyter_ray.local.scheduler.ledger import Allocation, Ledger
from jupyter_ray.local.scheduler.records import WorkerRecord
from jupyter_ray.local.scheduler.session_state import State
from jupyter_ray.local.scheduler.states import WorkerState


def give_back(state: State, allocation: Allocation, worker: WorkerRecord | None) -> None:
    """Give back what a worker had that is to end; None: there is no process."""
    if worker is None or worker.state is WorkerState.DEAD:
        allocation.release()
    elif allocation.release_but_devices():
        state.ending.setdefault(worker.id, []).append(allocation)


def give_back_bundle(state: State, reserved: Allocation, bundle: Ledger) -> None:
    """Give back what a placement group had reserved for a bundle: its devices stay with a process that used them."""
    keepers = [kept for kept in state.ending.values() if any(each.ledger is bundle for each in kept)]
    for kept in keepers:
        kept[:] = [each for each in kept if each.ledger is not bundle]
    if keepers and reserved.release_but_devices():
        keepers[-1].append(reserved)
    else:
        reserved.release()


def ended(state: State, worker: WorkerRecord) -> None:
    """Its process has ended, and what it kept is free."""
    for allocation in state.ending.pop(worker.id, ()):
        allocation.release()
