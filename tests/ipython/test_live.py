"""Live lines: their states, their pace, and what takes their place."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from jupyter_ray.engine import refs
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.events import (
    AnyEvent,
    RuntimeStopped,
    TaskBlocked,
    TaskCancelled,
    TaskFinished,
    TaskQueued,
    TaskRetried,
    TaskStarted,
    TaskUnblocked,
)
from jupyter_ray.exceptions import RayTaskError, TaskCancelledError
from jupyter_ray.ipython.live import Board, Line
from jupyter_ray.ipython.markup import Bundle, seconds, size, state_html, state_text
from jupyter_ray.ipython.output import TerminalSink
from jupyter_ray.ipython.pages import TerminalPage


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakePage:
    def __init__(self) -> None:
        self.drawn: list[tuple[str, bool]] = []
        self.ended = threading.Event()

    def update(self, line: Line, bundle: Bundle) -> None:
        self.drawn.append((bundle.text, False))

    def end(self, line: Line, state: Bundle, result: Bundle | None) -> None:
        self.drawn.append(((result or state).text, True))
        self.ended.set()

    def render(self, line: Line, value: Any, error: BaseException | None) -> Bundle | None:
        if value is None and error is None:
            return None
        return Bundle({"text/plain": repr(value) if error is None else f"error {error}"})


class Counter:
    """Keeps the callbacks of references, as an engine would."""

    def __init__(self) -> None:
        self.callbacks: list[Any] = []

    def reference(self, counted: bytes, kind: type[Any]) -> Any:
        return refs.uncounted(kind, counted, self)

    def pinned(self, counted: bytes) -> None: ...
    def hurry(self) -> None: ...

    def call_site(self, object_id: bytes) -> str:
        return ""

    def when_ready(self, object_id: bytes, callback: Any, awaited: bool = False) -> None:
        self.callbacks.append(callback)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    """The counter of the session that runs."""
    counter = Counter()
    monkeypatch.setattr(refs, "_default_counter", counter)
    return counter


def make_line(counter: Counter | None = None, *, quiet: bool = False) -> Line:
    ref: ObjectRef[Any] = ObjectRef(b"t" * 24 + b"\1\0\0\0")
    ref._counter = counter
    return Line("cell[3]", ref, None, "id", quiet=quiet, now=1000.0)


def events(line: Line) -> dict[str, AnyEvent]:
    task = line.task
    return {
        "queued": TaskQueued(task=task, at=1001.0),
        "started": TaskStarted(task=task, worker="w", held={"CPU": 1}, at=1002.0),
        "blocked": TaskBlocked(task=task, waits_for=[], lent={"CPU": 1}, at=1003.0),
        "unblocked": TaskUnblocked(task=task, at=1004.0),
        "retried": TaskRetried(task=task, attempt=1, reason="worker died", at=1005.0),
        "finished": TaskFinished(task=task, at=1006.0),
        "cancelled": TaskCancelled(task=task, at=1006.0),
    }


def test_a_line_follows_its_task() -> None:
    line = make_line()
    told = events(line)
    assert line.bundle(1000.5).text == "○ cell[3] · pending"
    states = []
    for name in ("queued", "started", "blocked", "unblocked", "retried", "started"):
        line.apply(told[name])
        states.append(line.state)
    assert states == ["pending", "running", "blocked", "running", "pending", "running"]
    assert line.bundle(1004.5).text == "▶ cell[3] · running · 2.50 s"
    line.apply(told["finished"])
    assert line.state == "running", "until the result is here"
    line.settle(1, None, 1010.0)
    assert line.bundle(2000.0).text == "✓ cell[3] · finished · 4.00 s"
    line.apply(told["blocked"])
    line.lose(1011.0)
    assert line.state == "finished", "what has ended stays so"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ValueError("x"), "failed"),
        (RayTaskError("f", "", ValueError("x")), "failed"),
        (TaskCancelledError(), "cancelled"),
        (RayTaskError("f", "", TaskCancelledError()), "cancelled"),
    ],
)
def test_how_a_line_ends(error: BaseException, state: str) -> None:
    line = make_line()
    line.settle(None, error, 1001.0)
    assert line.state == state


def test_a_line_moves_ever_more_slowly() -> None:
    line = make_line()
    assert line.interval(1000.0) is None, "nothing moves while it is pending"
    line.apply(events(line)["started"])
    assert [line.interval(1002.0 + elapsed) for elapsed in (1, 30, 3600)] == [0.25, 1.0, 5.0]
    line.settle(1, None, 1003.0)
    assert line.interval(1003.0) is None


def test_due_draws_at_most_four_times_a_second(counter: Counter) -> None:
    clock = Clock()
    board = Board(FakePage(), clock=clock)
    line = make_line(counter)
    board._lines[line.task] = line
    line.apply(events(line)["started"])
    clock.now = 1002.0
    drawn = 0
    while clock.now < 1004.0:
        due, pause = board._due()
        drawn += len(due)
        assert due or (pause is not None and 0 < pause <= 0.25)
        clock.now += 0.01
    assert drawn <= 9
    line.settle(5, None, clock.now)
    due, _ = board._due()
    assert [final for _, _, final in due] == [True], "the end is drawn at once"
    assert board._due() == ([], None)


def test_the_result_takes_the_lines_place(counter: Counter) -> None:
    page = FakePage()
    board = Board(page)
    board.record()
    line = make_line(counter)
    board.feed([events(line)["started"]])  # Before the line is known.
    board.add(line)
    assert line.state == "running"
    counter.callbacks[0](42, None)
    assert page.ended.wait(5)
    assert page.drawn[-1] == ("42", True)
    assert line.ref is None, "nobody keeps the result"
    until(lambda: board._thread is None)
    assert repr(board) == "<Board of 0 lines>"


def test_none_leaves_the_line(counter: Counter) -> None:
    page = FakePage()
    board = Board(page)
    board.add(make_line(counter))
    counter.callbacks[0](None, None)
    assert page.ended.wait(5)
    assert "finished" in page.drawn[-1][0]
    board.close()


def test_a_quiet_line_hides_values_but_not_errors(counter: Counter) -> None:
    for error, expected in ((None, "finished"), (ValueError("x"), "error x")):
        page = FakePage()
        board = Board(page)
        board.add(make_line(counter, quiet=True))
        counter.callbacks.pop()(42, error)
        assert page.ended.wait(5)
        assert expected in page.drawn[-1][0]
        board.close()


def test_finish_draws_before_it_returns(counter: Counter) -> None:
    page = FakePage()
    board = Board(page)
    line = make_line(counter)
    board.add(line, follow=False)
    assert counter.callbacks == []
    board.finish(line, 42, None)
    assert "finished" in page.drawn[-1][0], "the magic returns the value itself"
    board.close()


def test_lines_of_a_runtime_that_died(counter: Counter) -> None:
    page = FakePage()
    board = Board(page)
    board.add(make_line(counter))
    board.feed([RuntimeStopped(expected=False, message="it died", at=1001.0)])
    assert page.ended.wait(5)
    assert "lost" in page.drawn[-1][0]
    board.close()


def test_a_result_that_cannot_be_drawn_does_not_end_the_thread(counter: Counter) -> None:
    page = FakePage()
    board = Board(page)

    def broken(*_: Any) -> None:
        raise RuntimeError("a user's repr")

    page.render = broken  # type: ignore[method-assign, assignment]
    board.add(make_line(counter))
    counter.callbacks.pop()(42, None)
    until(lambda: board._thread is None)
    board.add(make_line(counter))
    counter.callbacks.pop()(None, TaskCancelledError())
    until(lambda: board._thread is None)


def test_events_cost_nothing_without_lines() -> None:
    board = Board(FakePage())
    board.feed([object()])  # type: ignore[list-item]
    assert board._thread is None


@pytest.mark.parametrize(
    ("amount", "text"), [(0.4213, "0.42 s"), (12.34, "12.3 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(amount: float, text: str) -> None:
    assert seconds(amount) == text


def test_sizes() -> None:
    assert [size(amount) for amount in (12, 1234, 5e6, 3e9)] == ["12 B", "1.2 kB", "5.0 MB", "3.0 GB"]


def test_names_are_escaped() -> None:
    assert "&lt;b&gt;" in state_html("<b>", "running", 1.0, "<i>")
    assert state_text("f", "running", None) == "▶ f · running"


def until(condition: Any, timeout: float = 5.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_terminal_tells_whose_result_it_is(counter: Counter, capsys: pytest.CaptureFixture[str]) -> None:
    """The line's first state may be far above by then: a bare `42` was shown below whatever was typed meanwhile."""
    page, line = TerminalPage(None, TerminalSink().write), make_line(counter)
    page.end(line, Bundle({"text/plain": "✓ cell[3] · finished"}), Bundle({"text/plain": "42"}))
    page.end(line, Bundle({"text/plain": "✓ cell[4] · finished"}), None)
    assert capsys.readouterr().out == "✓ cell[3] · finished\n42\n✓ cell[4] · finished\n"
