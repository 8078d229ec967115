"""An interrupt of the main thread, wherever it comes, stops no other thread and loses nothing that it has to do."""

from __future__ import annotations

import functools
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from jupyter_ray.api import logs
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.events import LogLines, TaskFinished, TaskSubmitted
from jupyter_ray.ids import return_id
from jupyter_ray.interrupts import Change, Flag, shielded, started
from jupyter_ray.ipython.cells import Cell, Cells
from jupyter_ray.ipython.folding import Limits, Message
from jupyter_ray.ipython.live import Board, Line
from jupyter_ray.ipython.markup import Bundle
from jupyter_ray.ipython.output import Router
from jupyter_ray.local.worker.producing import Budget, Producer
from jupyter_ray.monitor.hub import Hub
from jupyter_ray.monitor.policy import Pace
from jupyter_ray.util.multiprocessing.pool import AsyncResult, IMapIterator
from jupyter_ray.util.pool_workers import Call
from jupyter_ray.util.state import picking
from jupyter_ray.util.state.common import ActorState
from tests.contract.helpers import PATIENCE, eventually
from tests.interrupting import interrupted


class Other:
    """Another thread. It does what it is told, by C code alone: no interrupt comes between."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self.do = self._jobs.put
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def settle(self) -> None:
        """Wait until all is done; queue.Empty: it hangs."""
        done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.do(functools.partial(done.put, None))
        done.get(timeout=PATIENCE)


@pytest.fixture
def other() -> Iterator[Other]:
    other = Other()
    yield other
    other.do(None)


# --- what is waited for ---


def test_a_flag(other: Other) -> None:
    def act() -> None:
        flag = Flag()
        other.do(flag.set)
        assert flag.wait(PATIENCE)

    for _ in interrupted(act):
        other.settle()


def test_a_change_keeps_nobody_who_has_left(other: Other) -> None:
    change, counted = Change(), itertools.count(1)
    seen: list[int] = [0]

    def tell(number: int) -> None:
        seen[0] = number
        change.tell()

    def act() -> None:
        number = next(counted)
        other.do(functools.partial(tell, number))
        assert change.wait_for(lambda: seen[0] >= number, PATIENCE)

    for _ in interrupted(act):
        other.settle()
    assert not change.wait_for(lambda: False, 0.01)
    before = len(change._waiting)
    act()
    assert len(change._waiting) == before


def test_a_thread_is_started_or_not(other: Other) -> None:
    made: list[threading.Thread] = []

    def act() -> None:
        made.append(threading.Thread(target=int))
        assert started(made[-1])

    for where in interrupted(act):
        for thread in made:
            if thread.ident is not None:
                thread.join(PATIENCE)
                assert not thread.is_alive(), where


# --- a pool ---


def test_a_result_of_a_pool(other: Other) -> None:
    def act() -> None:
        result = AsyncResult(1, True)
        other.do(functools.partial(result._take, 0, [7]))
        assert result.get(PATIENCE) == 7

    for _ in interrupted(act):
        other.settle()


@pytest.mark.parametrize("ordered", [True, False])
def test_who_iterates_goes_on_and_misses_at_most_what_was_just_returned(other: Other, ordered: bool) -> None:
    def submit(calls: list[Call], index: int, sink: Any) -> None:
        other.do(functools.partial(sink, index, [item for (item,), _ in calls]))

    made: list[IMapIterator] = []
    got: list[int] = []

    def act() -> None:
        made.append(IMapIterator(iter(range(7)), 2, submit, 2, ordered))
        got.extend(made[-1])

    for where in interrupted(act, 2):
        if made:
            got.extend(made[-1])
            assert len(got) >= 6, where
            assert len(set(got)) == len(got), where
            assert not ordered or got == sorted(got), where
        other.settle()
        made.clear()
        got.clear()


# --- a stream ---


def test_a_stream_that_waits_for_its_reader(other: Other) -> None:
    def act() -> None:
        budget = Budget(1)
        producer = Producer(b"t", 1, budget=budget)
        for index in range(1, 4):
            producer.wait()
            producer.count()
            other.do(functools.partial(budget.read, b"t", index))
            other.do(functools.partial(producer.consumed, index))

    for _ in interrupted(act, 3):
        other.settle()


# --- a notebook ---


class Sink:
    def __init__(self) -> None:
        self.text = ""

    def show(self, cell: Cell | None, message: Message, notices: int) -> None:
        self.text += message.text


def test_output(other: Other) -> None:
    sink = Sink()
    router = Router(Cells(lambda: {}, lambda: 1), sink, limits=Limits(interval=0.001, notice_pause=0.01))
    fed = 0

    def feed() -> None:
        nonlocal fed
        fed += 1
        router.feed([LogLines(stream="stdout", text=f"<{fed}>\n", name="f", pid=7, task="t")])

    def act() -> None:
        router.own("t")
        other.do(feed)
        router.flush(0.05)  # Perhaps before it was fed.
        router.settle(PATIENCE)

    for where in interrupted(act):
        other.settle()
        eventually(lambda: not fed or f"<{fed}>" in sink.text)
        assert sink.text.count("<") == fed, where
    router.close()


class Drawn:
    def __init__(self) -> None:
        self.ended: list[str] = []

    def update(self, line: Line, bundle: Bundle) -> None: ...

    def render(self, line: Line, value: Any, error: BaseException | None) -> Bundle | None:
        return None

    def end(self, line: Line, state: Bundle, result: Bundle | None) -> None:
        self.ended.append(line.name)


def test_live_lines(other: Other) -> None:
    page = Drawn()
    board = Board(page)
    names = itertools.count(1)

    def line() -> Line:
        ref: ObjectRef[Any] = ObjectRef(return_id(next(names).to_bytes(24, "big"), 1))
        return Line(ref.hex(), ref, None, "id", quiet=True, now=board.now())

    def show(shown: Line) -> None:
        board.record()
        board.add(shown, follow=False)

    def act() -> None:
        shown = line()
        show(shown)
        other.do(functools.partial(board.feed, [TaskFinished(task=shown.task, at=board.now())]))
        board.finish(shown, 1, None)

    for _ in interrupted(act, 5):
        probe = line()

        def end(probe: Line = probe) -> None:
            show(probe)
            with board._lock:
                probe.settle(1, None, board.now())
            board.feed([TaskFinished(task=probe.task, at=board.now())])
            board.stop()

        other.do(end)
        other.settle()
        eventually(lambda name=probe.name: name in page.ended)  # type: ignore[misc]
    board.close()


def test_the_monitor(other: Other) -> None:
    hubs: list[Hub] = []

    def feed() -> None:
        kind: dict[str, Any] = {"kind": "task", "parent": None, "dependencies": [], "returns": [], "demand": {}}
        hubs[-1].feed([TaskSubmitted(task="ab" * 24, name="f", **kind)])

    def act() -> None:
        hub = hubs[-1]
        hub.reset()
        detach = hub.attach(lambda message: None)
        hub.handle({"type": "hello", "client": "p"})
        hub.set_runtime("ready")
        other.do(feed)
        hub.snapshot()
        detach()

    hubs.append(Hub(pace=Pace(fast=0.001, slow=0.002)))
    for where in interrupted(act, 7):
        hub = hubs[-1]
        other.do(feed)
        other.settle()
        seen: list[int] = []
        hub.attach(lambda message, seen=seen: seen.append(message["seq"]))  # type: ignore[misc]
        eventually(lambda seen=seen: seen)  # type: ignore[misc]
        facts = hub.statistics()
        assert (facts.tasks, facts.faults) == (1, 0), where
        hub.close()
        hubs.append(Hub(pace=Pace(fast=0.001, slow=0.002)))
    hubs[-1].close()


# --- what is told ---


def test_repeated_lines_are_told_at_the_end(other: Other, capsys: pytest.CaptureFixture[str]) -> None:
    def lines() -> None:
        for pid in (1, 2):
            logs.print_lines([LogLines(stream="stdout", text="the same\n", name="f", pid=pid, task="t")])

    def act() -> None:
        other.do(lines)
        logs.print_rest()

    for _ in interrupted(act, 3):
        other.settle()
    other.settle()
    logs.print_rest()
    assert "the same" in capsys.readouterr().out


def test_what_is_logged_leaves_no_lock_taken(other: Other, caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("jupyter_ray")

    def act() -> None:
        with shielded():
            log.setLevel(logging.INFO)  # It forgets what it is enabled for, and finds out under its lock.
        picking.warn(ActorState, True, 10)

    for _ in interrupted(act):
        other.do(functools.partial(log.warning, "another thread"))
        other.settle()
    assert "another thread" in caplog.text
