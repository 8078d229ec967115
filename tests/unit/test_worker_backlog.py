"""What a worker has been handed and not begun: both ends must agree on what may go back."""

from __future__ import annotations

import pytest

from jupyter_ray.local.protocol.messages import Execute, Function
from jupyter_ray.local.worker.backlog import Backlog


def execute(name: str, kind: str = "task", *functions: str) -> Execute:
    shipped = [Function(each, 1, b"") for each in functions]
    return Execute(name.encode(), kind, name, b"", "", [], 1, functions=shipped)  # type: ignore[arg-type]


class Worker:
    """A backlog, and what it said."""

    def __init__(self) -> None:
        self.said: list[list[bytes]] = []
        self.forgotten: list[str] = []
        self.backlog = Backlog(self.said.append, lambda each: self.forgotten.append(each.name))

    def put(self, *names: str) -> None:
        for name in names:
            self.backlog.put(execute(name))

    def take(self) -> str | None:
        got = self.backlog.get()
        return None if got is None else got.name


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_tasks_run_in_order(worker: Worker) -> None:
    worker.put("1", "2")
    worker.backlog.put_end()
    taken = []
    while (name := worker.take()) is not None:
        taken.append(name)
        worker.backlog.end_task(lambda: None)
    assert taken == ["1", "2"]


def test_what_stands_behind_a_running_task_goes_back(worker: Worker) -> None:
    worker.put("1", "2", "3")
    assert worker.take() == "1"
    worker.backlog.recall()
    assert worker.said == [[b"2", b"3"]]
    assert worker.forgotten == ["2", "3"]
    worker.backlog.recall()
    assert worker.said[1:] == [[]]  # The runtime waits for the answer.


def test_the_first_task_of_an_idle_worker_stays(worker: Worker) -> None:
    worker.put("1")
    worker.backlog.recall()
    assert worker.said == [[]]
    assert worker.take() == "1"


def test_the_task_after_one_that_has_ended_stays(worker: Worker) -> None:
    """The runtime takes it for begun as soon as it hears of the end."""
    worker.put("1", "2", "3")
    worker.take()
    worker.backlog.end_task(lambda: None)
    worker.backlog.recall()
    assert worker.said == [[b"3"]]
    worker.put("4")
    assert worker.take() == "2"
    worker.backlog.end_task(lambda: None)
    assert worker.take() == "4"


def test_tasks_bounce_while_one_waits(worker: Worker) -> None:
    worker.put("1", "2")
    worker.take()
    worker.backlog.begin()
    assert worker.said == [[b"2"]]
    worker.put("3")
    assert worker.said == [[b"2"], [b"3"]]
    worker.backlog.end()
    worker.put("4")
    worker.backlog.end_task(lambda: None)
    assert worker.take() == "4"


def test_a_thread_that_outlives_its_task_and_waits(worker: Worker) -> None:
    worker.put("1")
    worker.take()
    worker.backlog.begin()
    worker.backlog.end_task(lambda: None)
    worker.put("2", "3")  # 2 has begun, as the runtime sees it.
    assert worker.said == [[b"3"]]
    assert worker.take() == "2"


def test_calls_of_an_actor_never_go_back(worker: Worker) -> None:
    worker.backlog.put(execute("1", "method"))
    worker.take()
    worker.backlog.put(execute("2", "method"))
    worker.backlog.begin()
    worker.backlog.put(execute("3", "method"))
    worker.backlog.recall()
    assert worker.said == [[]]
    worker.backlog.end_task(lambda: None)
    assert worker.take() == "2"


def test_a_cancelled_task_is_taken_out(worker: Worker) -> None:
    worker.put("1", "2", "3")
    worker.take()
    worker.backlog.end_task(lambda: None)
    for name in (b"3", b"2"):
        found = worker.backlog.remove(name)
        assert found is not None
        assert found.task == name
    assert worker.backlog.remove(b"1") is None
    assert len(worker.backlog) == 0
    worker.put("4")
    assert worker.take() == "4"


def test_definitions_outlive_the_task_that_brought_them(worker: Worker) -> None:
    for each in (execute("1"), execute("2", "task", "f"), execute("3", "task", "g")):
        worker.backlog.put(each)
    assert worker.take() == "1"
    worker.backlog.recall()
    worker.backlog.put(execute("4", "task", "h"))
    cancelled = worker.backlog.remove(b"4")
    assert cancelled is not None
    worker.backlog.put(execute("5", "task", "i"))
    worker.backlog.put(execute("6"))
    assert taken(worker) == ["f", "g", "h", "i"]
    assert taken(worker) == []


def taken(worker: Worker) -> list[str]:
    """End the task that runs, and return the definitions that come with the next one."""
    worker.backlog.end_task(lambda: None)
    found = worker.backlog.get()
    assert found is not None
    return [each.definition for each in found.functions]


def test_a_task_that_is_queued_already_gets_the_definitions_of_a_cancelled_one(worker: Worker) -> None:
    for each in (execute("1"), execute("2", "task", "f"), execute("3")):
        worker.backlog.put(each)
    assert worker.take() == "1"
    assert worker.backlog.remove(b"2") is not None
    assert taken(worker) == ["f"]


def test_the_newest_version_of_a_definition_comes_last(worker: Worker) -> None:
    newer = execute("3")
    newer.functions.append(Function("f", 2, b""))
    for each in (execute("1"), execute("2", "task", "f"), newer):
        worker.backlog.put(each)
    assert worker.take() == "1"
    assert worker.backlog.remove(b"3") is not None
    worker.backlog.end_task(lambda: None)
    found = worker.backlog.get()
    assert found is not None
    assert [each.version for each in found.functions] == [1, 2]


def test_a_definition_that_is_needed_no_more_does_not_come_with_a_later_task(worker: Worker) -> None:
    for each in (execute("1"), execute("2", "task", "f"), execute("3", "task", "g"), execute("4")):
        worker.backlog.put(each)
    assert worker.take() == "1"
    assert worker.backlog.remove(b"2") is not None
    assert worker.backlog.remove(b"3") is not None
    assert [each.definition for each in worker.backlog.withdraw(["f"])] == ["f"]
    assert taken(worker) == ["g"]
