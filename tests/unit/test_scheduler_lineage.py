"""Lost values, step by step: what runs again, who waits, and what is kept for it."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from jupyter_ray.exceptions import ObjectLostError, ObjectReconstructionFailedError, ResourceDeadlockError
from jupyter_ray.ids import return_id
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.scheduler.commands import DiscardSegment
from jupyter_ray.local.scheduler.lineage import OVERHEAD
from jupyter_ray.local.scheduler.stimuli import SegmentsLost, WorkerLost
from tests.unit.test_scheduler import CPU, DRIVER, VALUE, Session

GONE = "its file is gone"


class Store(Session):
    """A session whose tasks write values into files."""

    def __init__(self, **resources: int) -> None:
        self.segments = 0
        self.discarded: list[str] = []
        super().__init__(**resources)
        handle = self.scheduler.handle

        def watch(stimulus: Any, now: float) -> Any:
            commands = handle(stimulus, now)
            self.discarded += [each.segment for each in commands if isinstance(each, DiscardSegment)]
            return commands

        self.scheduler.handle = watch  # type: ignore[method-assign]

    def large(self, **fields: Any) -> m.Payload:
        self.segments += 1
        return m.Payload(segment=f"s{self.segments}", layout=(0, 10), size=10, **fields)

    def made(self, name: str, count: int = 1, **spec: Any) -> bytes:
        """Run a task whose `count` results are large."""
        task = self.submit(name, num_returns=count, **{"max_retries": 3, **spec})
        self.end(task, count)
        return task

    def end(self, task: bytes, count: int = 1) -> None:
        self.say(self.worker_of(task), m.Done(task, tuple(self.large() for _ in range(count))))

    def segment(self, task: bytes, index: int = 1) -> str:
        payload = self.scheduler.state.objects[return_id(task, index)].payload
        assert payload is not None
        return payload.segment

    def lose(self, *segments: str) -> None:
        self.happen(SegmentsLost(dict.fromkeys(segments, GONE)))

    def drop(self, task: bytes, index: int = 1) -> None:
        self.say(DRIVER, m.Drop([(return_id(task, index), 1)]))

    def executions(self, task: bytes) -> int:
        return sum(each.task == task for each in self.of(m.Execute))


def test_who_waits_for_others_too_waits_again() -> None:
    session = Store(CPU=2)
    first = session.made("first")
    other = session.submit("other")
    third = session.submit("third", dependencies=(return_id(first, 1), return_id(other, 1)))
    ids = [return_id(first, 1), return_id(other, 1)]
    session.say(DRIVER, m.Get(7, ids))
    session.say(DRIVER, m.Wait(8, ids, 2))
    session.lose(session.segment(first))
    session.finish(other)
    assert not session.of(m.Reply)
    assert session.executions(third) == 0
    session.end(first)
    assert [each.request for each in session.of(m.Reply)] == [7, 8]
    assert all(each.ready == ids for each in session.of(m.Reply))
    assert session.executions(third) == 1


def test_lineage_is_kept_for_files_only_and_released_with_them() -> None:
    session = Store(CPU=1)
    small = session.submit("small", max_retries=3)
    session.finish(small)
    assert not session.scheduler.state.lineage
    first = session.made("first", dependencies=(return_id(small, 1),), segment="arguments", segment_size=7)
    second = session.made("second", dependencies=(return_id(first, 1),))
    state = session.scheduler.state
    assert set(state.lineage) == {first, second}
    assert state.lineage_bytes == 2 * OVERHEAD + 7 + VALUE.size
    session.drop(small)
    session.drop(first)
    assert return_id(small, 1) in state.objects, "a small argument is kept"
    assert return_id(first, 1) not in state.objects, "a large one is freed at once"
    assert set(state.lineage) == {first, second}
    assert "arguments" not in session.discarded
    session.drop(second)
    assert not state.lineage
    assert not state.objects
    assert state.lineage_bytes == 0
    assert "arguments" in session.discarded


def test_a_long_chain_of_freed_arguments_runs_again_in_order() -> None:
    session = Store(CPU=1)
    chain = [session.made("link")]
    for _ in range(500):
        chain.append(session.made("link", dependencies=(return_id(chain[-1], 1),)))
        session.drop(chain[-2])
    session.lose(session.segment(chain[-1]))
    for link in chain:
        assert session.running() == ["link"]
        session.end(link)
    assert session.segment(chain[-1])
    assert len(session.scheduler.state.objects) == 1
    session.drop(chain[-1])
    assert not session.scheduler.state.lineage


def test_past_the_limit_the_oldest_lineage_goes_and_the_error_says_so() -> None:
    session = Store(CPU=1)
    session.scheduler.state.lineage_limit = 2 * OVERHEAD
    tasks = [session.made(name) for name in ("first", "second", "third")]
    assert set(session.scheduler.state.lineage) == set(tasks[1:])
    session.lose(*[session.segment(task) for task in tasks[:2]])
    session.get(tasks[0], 7)
    error = session.error_of(7)
    assert type(error) is ObjectReconstructionFailedError
    assert "first made it, and how to run that again was forgotten" in str(error)
    assert session.running() == ["second"]


def test_only_the_lost_result_of_several_is_replaced() -> None:
    session = Store(CPU=1)
    task = session.made("two", 2)
    kept = session.segment(task, 2)
    session.lose(session.segment(task, 1))
    session.lose(kept)  # While it runs again already.
    assert session.executions(task) == 2
    session.end(task, 2)
    assert session.executions(task) == 2
    session.lose(session.segment(task, 1))
    intact = session.segment(task, 2)
    session.end(task, 2)
    assert session.segment(task, 2) == intact
    assert f"s{session.segments}" in session.discarded, "a second value is not needed"


def test_a_task_that_cannot_read_its_argument_waits_without_a_worker() -> None:
    session = Store(CPU=1, GPU=1)
    demand = {**CPU, "GPU": CPU["CPU"]}
    first = session.made("first", demand=demand)
    second = session.submit("second", demand=demand, dependencies=(return_id(first, 1),))
    segment = session.segment(first)
    assert session.of(m.Execute)[-1].dependencies == (return_id(first, 1),)
    worker = session.worker_of(second)
    session.lose(segment)
    session.say(worker, m.Lost([segment], GONE, second))
    assert session.running() == ["first"]
    session.end(first)
    assert session.running() == ["second"]
    assert session.scheduler.state.tasks[second].attempt == 0


@pytest.mark.parametrize("retries", [0, 1])
def test_what_only_one_worker_cannot_read_counts_as_an_attempt(retries: int) -> None:
    session = Store(CPU=1)
    first = session.made("first")
    second = session.submit("second", dependencies=(return_id(first, 1),), max_retries=retries)
    session.get(second, 7)
    for _ in range(retries + 1):
        session.say(session.worker_of(second), m.Lost([session.segment(first)], "too many open files", second))
    assert session.executions(second) == retries + 1
    assert "too many open files" in str(session.error_of(7))
    assert session.executions(first) == 1


def test_a_task_that_is_retried_when_its_argument_is_lost_gets_no_value() -> None:
    session = Store(CPU=1)
    first = session.made("first", max_retries=0)
    second = session.submit("second", dependencies=(return_id(first, 1),), max_retries=1)
    session.lose(session.segment(first))
    session.happen(WorkerLost(session.worker_of(second), "it died"))
    again = session.of(m.Execute)[-1]
    assert (again.task, again.values) == (second, (m.ABSENT,))
    session.get(second, 7)
    session.say(session.worker_of(second), m.Lost([], "", second))
    assert "max_retries=0" in str(session.error_of(7))


def test_an_error_that_several_objects_share_lives_as_long_as_the_last_of_them() -> None:
    session = Store(CPU=1)
    task = session.submit("fails", num_returns=2)
    session.say(session.worker_of(task), m.Done(task, (session.large(is_error=True),), failed=True))
    session.drop(task, 1)
    assert not session.discarded
    session.lose("s1")
    session.say(DRIVER, m.Get(7, [return_id(task, 2)]))
    error = session.error_of(7)
    assert type(error) is ObjectLostError
    assert "the error that fails had raised" in str(error)


def test_an_actor_that_waits_for_what_needs_the_actor_is_told_so() -> None:
    session = Store(CPU=1)
    actor = session.actor()
    maker = session.submit("maker", max_retries=3)
    session.end(maker)
    object_id = return_id(maker, 1)
    use = session.submit("use", kind="method", actor=actor, dependencies=(object_id,), demand={})
    worker = session.worker_of(use)
    session.lose(session.segment(maker))
    session.say(worker, m.Get(5, [object_id], None, use))
    ask = session.submit("ask", session.worker_of(maker), kind="method", actor=actor, demand={}, parent=maker)
    session.get(ask, 6, session.worker_of(maker), task=maker)
    session.let_pass(5)
    refused = [value for each in session.of(m.Reply) for value in each.values if value.is_error]
    assert [type(pickle.loads(each.data)) for each in refused] == [ResourceDeadlockError]


def test_a_result_that_is_dropped_while_it_is_computed_again_is_forgotten_with_its_end() -> None:
    session = Store(CPU=1)
    task = session.made("first")
    session.lose(session.segment(task))
    session.drop(task)
    assert session.running() == ["first"]
    session.end(task)
    state = session.scheduler.state
    assert not state.lineage
    assert not state.objects
    assert not state.recovering
    assert not state.segments


def test_a_lost_task_that_fails_the_second_time_hands_on_its_error() -> None:
    session = Store(CPU=1)
    task = session.made("first")
    session.lose(session.segment(task))
    session.get(task, 7)
    error = pickle.dumps(ValueError("not twice"))
    session.say(session.worker_of(task), m.Done(task, (m.Payload(data=error, is_error=True),), failed=True))
    assert str(session.error_of(7)) == "not twice"
    assert not session.scheduler.state.lineage
