"""The router and its spool: every line to its cell, all of it on disk, nothing waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jupyter_ray.api import logs
from jupyter_ray.events import LogLines
from jupyter_ray.ipython import reports
from jupyter_ray.ipython.cells import Cell, Cells
from jupyter_ray.ipython.folding import NOTICE, Limits, Message
from jupyter_ray.ipython.iopub import UPDATE, IOPub
from jupyter_ray.ipython.output import KernelSink, Router, TerminalSink
from jupyter_ray.ipython.spool import Spool


def lines(text: str, cell: str | None = None, *, name: str = "f", pid: int = 7, task: str = "aaaa1111") -> LogLines:
    return LogLines(stream="stdout", text=text, name=name, pid=pid, task=task, cell=cell)


def request(token: str) -> dict[str, Any]:
    return {"header": {"msg_id": token}, "metadata": {"cellId": "a"}, "content": {"code": "x" * 1000}}


class Notebook:
    """Cells that the test moves through."""

    def __init__(self) -> None:
        self.running: dict[str, Any] = {}
        self.cells = Cells(lambda: self.running, lambda: 1)

    def enter(self, token: str) -> str:
        self.running = request(token)
        found = self.cells.current()
        assert found == token
        return found


class FakeSink:
    def __init__(self) -> None:
        self.shown: list[tuple[str | None, Message, int]] = []
        self.block: threading.Event | None = None

    def show(self, cell: Cell | None, message: Message, notices: int) -> None:
        if self.block is not None:
            self.block.wait(30)
        self.shown.append((cell.token if cell else None, message, notices))

    def text(self, token: str | None) -> str:
        return "".join(message.text for cell, message, _ in self.shown if cell == token and message.stream != NOTICE)


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@pytest.fixture
def sink() -> FakeSink:
    return FakeSink()


@pytest.fixture
def router(notebook: Notebook, sink: FakeSink) -> Iterator[Router]:
    router = Router(notebook.cells, sink, limits=Limits(interval=0.001, notice_pause=0.01))
    yield router
    router.close()


def test_output_goes_to_the_cell_that_asked_for_it(notebook: Notebook, sink: FakeSink, router: Router) -> None:
    first, second = notebook.enter("one"), notebook.enter("two")
    router.feed([lines("late\n", first), lines("now\n", second)])
    assert router.flush(5)
    assert sink.text(first) == "(f pid=7) late\n"
    assert sink.text(second) == "(f pid=7) now\n"


def test_output_of_nobody_goes_to_the_newest_cell(notebook: Notebook, sink: FakeSink, router: Router) -> None:
    notebook.enter("one")
    newest = notebook.enter("two")
    router.feed([lines("lost\n", None), lines("older\n", "forgotten")])
    assert router.flush(5)
    assert sink.text(newest) == "(f pid=7) lost\n(f pid=7) older\n"


def test_output_before_any_cell_is_shown_all_the_same(sink: FakeSink, router: Router) -> None:
    router.feed([lines("early\n")])
    assert router.flush(5)
    assert sink.text(None) == "(f pid=7) early\n"


@pytest.mark.parametrize(
    ("variable", "shown"),
    [("RAY_DISABLE_WORKER_LOG_PREFIX", "a\nb\n"), ("RAY_COLOR_PREFIX", "{p}(f pid=7){q} a\n{p}(f pid=7){q} b\n")],
)
def test_the_origin_of_lines_looks_as_in_scripts(
    variable: str,
    shown: str,
    notebook: Notebook,
    sink: FakeSink,
    router: Router,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, "1")
    cell = notebook.enter("one")
    router.feed([lines("a\nb\n", cell)])
    assert router.flush(5)
    colour = sink.text(cell).partition("(")[0]
    assert sink.text(cell) == shown.format(p=colour, q="\x1b[0m")
    assert colour.startswith("\x1b[") == (variable == "RAY_COLOR_PREFIX")


def test_records_that_say_where_they_are_from_have_nothing_before_them(
    notebook: Notebook, sink: FakeSink, router: Router
) -> None:
    cell = notebook.enter("one")
    logs.be_plain(True)  # As a `LoggingConfig` does.
    try:
        router.feed([lines('{"message": "a"}\n', cell, pid=1), lines('{"message": "b"}\n', cell, pid=2)])
        assert router.flush(5)
    finally:
        logs.be_plain(False)
    assert sink.text(cell) == '{"message": "a"}\n{"message": "b"}\n'


def test_own_tasks_need_no_origin(notebook: Notebook, sink: FakeSink, router: Router) -> None:
    token = notebook.enter("one")
    router.own("aaaa1111")
    router.feed([lines("mine\n", token)])
    assert router.flush(5)
    assert sink.text(token) == "mine\n"


def test_own_tasks_need_an_origin_where_their_cell_is_not_what_is_above(sink: FakeSink) -> None:
    """A terminal: whatever is asked there by now stands above."""
    number = [7]
    cells = Cells(None, lambda: number[0])
    router = Router(cells, sink, limits=Limits(interval=0.001, notice_pause=0.01))
    router.own("aaaa1111")
    cells.begin()
    token = cells.current()
    router.feed([lines("here\n", token)])
    assert router.flush(5)
    cells.end()
    router.feed([lines("later\n", token)])
    assert router.flush(5)
    assert sink.text(token) == "here\n(f pid=7) later\n"
    router.close()


def test_a_router_that_shows_at_once_leaves_nothing_to_its_thread(notebook: Notebook, sink: FakeSink) -> None:
    """In a terminal what the program printed after `get` came before what the task had printed."""
    router = Router(notebook.cells, sink, limits=Limits(interval=60.0), at_once=True)
    token = notebook.enter("one")
    for text in ("one\n", "two\n"):
        router.feed([lines(text, token)])
        assert sink.text(token).endswith(text)
    router.close()


def test_a_flood_does_not_wait_for_a_page_that_hangs(notebook: Notebook, sink: FakeSink, router: Router) -> None:
    token = notebook.enter("one")
    sink.block = threading.Event()
    text = "".join(f"{n:099}\n" for n in range(10_000))
    for _ in range(50):  # 50 MB, more than the inbox holds
        router.feed([lines(text, token)])
    assert router._inbox_size <= 17_000_000
    sink.block.set()
    assert router.flush(20)
    shown = sink.text(token)
    assert len(shown) <= 2_000_000
    notice = [message.text for _, message, _ in sink.shown if message.stream == NOTICE][-1]
    held = int(notice.partition(" more lines")[0].lstrip("[").replace(",", ""))
    assert held + shown.count("\n") == 500_000
    assert sum(1 for _ in router.spool.lines("f")) == 500_000
    assert [notices for _, message, notices in sink.shown if message.stream == NOTICE][:1] == [1]


def test_what_a_cell_waited_for_is_there_when_it_ends(notebook: Notebook, sink: FakeSink) -> None:
    router = Router(notebook.cells, sink, limits=Limits(interval=3600.0))
    try:
        token = notebook.enter("one")
        for n in range(100):
            router.feed([lines(f"{n}\n", token)])
            router.settle(30)
            assert sink.text(token) == "".join(f"(f pid=7) {line}\n" for line in range(n + 1))
    finally:
        router.close()


def test_a_cell_does_not_wait_for_a_page_that_hangs(notebook: Notebook, sink: FakeSink, router: Router) -> None:
    sink.block = threading.Event()
    router.feed([lines("first\n", notebook.enter("one"))])
    while not router._showing.locked():
        router.feed([lines("more\n", notebook.enter("one"))])
    router.settle(0.01)
    assert not sink.shown
    sink.block.set()


def test_a_page_that_fails_does_not_end_the_router(notebook: Notebook, sink: FakeSink, router: Router) -> None:
    token = notebook.enter("one")
    show = sink.show

    def broken(*_: Any) -> None:
        sink.show = show  # type: ignore[method-assign]
        raise OSError("gone")

    sink.show = broken  # type: ignore[method-assign, assignment]
    router.feed([lines("first\n", token)])
    router.flush(5)
    router.feed([lines("second\n", token)])
    assert router.flush(5)
    assert "second" in sink.text(token)


def test_cells_keep_the_header_and_forget_the_oldest() -> None:
    notebook = Notebook()
    cells = Cells(lambda: notebook.running, lambda: 1, limit=3)
    for n in range(5):
        notebook.running = request(str(n))
        assert cells.current() == str(n)
    newest = cells.find("4")
    assert newest is not None
    assert newest.parent == {"header": {"msg_id": "4"}}
    assert cells.find("0") is newest, "too old: the newest stands in"
    notebook.running = {}
    assert cells.current() is None


def test_cells_of_a_terminal_are_numbers() -> None:
    cells = Cells(None, lambda: 12)
    assert cells.current() == "In[12]"
    assert cells.find("In[12]") == Cell("In[12]", {})


class Kernel:
    """Takes messages."""

    iopub_socket = "iopub"

    def __init__(self) -> None:
        self.sent: list[tuple[Any, dict[str, Any]]] = []
        self.session = SimpleNamespace(send=lambda *args, **named: self.sent.append((args, named)))


def test_kernel_messages_name_the_cell_as_parent() -> None:
    kernel, notebook = Kernel(), Notebook()
    sent = kernel.sent
    sink = KernelSink(IOPub(kernel, notebook.cells))
    cell = Cell("one", {"header": {"msg_id": "one"}})
    sink.show(cell, Message("stdout", "text"), 0)
    sink.show(cell, Message(NOTICE, "10 more"), 1)
    sink.show(cell, Message(NOTICE, "20 more"), 2)
    assert [args[1] for args, _ in sent] == ["stream", "display_data", "update_display_data"]
    assert all(named["parent"] == cell.parent for _, named in sent)
    assert sent[1][0][2]["transient"] == sent[2][0][2]["transient"]
    notebook.running = request("two")
    notebook.cells.begin()
    sink.show(cell, Message(NOTICE, "30 more"), 3)
    sink.show(cell, Message("stdout", "text"), 0)
    notebook.cells.end()
    sink.show(cell, Message(NOTICE, "40 more"), 4)
    parents = [named["parent"]["header"]["msg_id"] for _, named in sent[3:]]
    assert parents == ["two", "one", "one"], "a replacement goes with the cell that runs"


def replacement(name: str, text: str) -> dict[str, Any]:
    return {"data": {"text/plain": text}, "metadata": {}, "transient": {"display_id": name}}


def test_what_is_replaced_between_two_cells_is_said_again_in_the_next_one() -> None:
    """Who runs a notebook without a page hears of nothing but the cell that runs."""
    kernel, notebook, now = Kernel(), Notebook(), [0.0]
    iopub = IOPub(kernel, notebook.cells, clock=lambda: now[0])
    cell = Cell("one", {"header": {"msg_id": "one"}})
    notebook.running = request("two")
    iopub.send(UPDATE, replacement("early", "long ago"), cell, UPDATE)
    now[0] = 10.0
    iopub.send(UPDATE, replacement("a", "running"), cell, UPDATE)
    iopub.send(UPDATE, replacement("b", "failed"), cell, UPDATE)
    iopub.send(UPDATE, replacement("a", "42"), cell, UPDATE)
    iopub.send(UPDATE, replacement("c", "x" * 2_000_000), cell, UPDATE)
    iopub.send("stream", {"name": "stdout", "text": "new"}, cell, "stream.stdout")
    assert [named["parent"]["header"]["msg_id"] for _, named in kernel.sent] == ["one"] * 6
    kernel.sent.clear()
    now[0] = 11.0
    notebook.cells.begin()
    iopub.begin_cell()
    again = [(args[2]["data"]["text/plain"], named["parent"]["header"]["msg_id"]) for args, named in kernel.sent]
    assert again == [("failed", "two"), ("42", "two")], "the last of each display"
    iopub.begin_cell()
    iopub.send(UPDATE, replacement("d", "heard"), cell, UPDATE)
    notebook.cells.end()
    iopub.begin_cell()
    assert len(kernel.sent) == 3, "once, and nothing that came while a cell ran"


def test_what_nobody_would_hear_goes_with_the_cell_that_runs_or_waits_for_one() -> None:
    """A notebook that is run without a page: `allow_stdin` is false."""
    kernel, notebook = Kernel(), Notebook()
    iopub = IOPub(kernel, notebook.cells)

    def enter(token: str, *, alone: bool) -> Cell:
        notebook.running = {**request(token), "content": {"allow_stdin": not alone}}
        notebook.cells.begin()
        iopub.begin_cell()
        notebook.cells.current()
        found = notebook.cells.find(token)
        assert found is not None
        return found

    def told() -> list[tuple[str, str]]:
        found = [(args[2]["text"], named["parent"]["header"]["msg_id"]) for args, named in kernel.sent]
        kernel.sent.clear()
        return found

    def show(text: str, cell: Cell) -> None:
        iopub.send("stream", {"name": "stdout", "text": text}, cell, "stream.stdout")

    one = enter("one", alone=True)
    show("a", one)
    assert told() == [("a", "one")]
    notebook.cells.end()
    show("b", one)
    show("c" * 9_999_985, one)
    show("d", one)
    assert told() == []
    two = enter("two", alone=True)
    assert [(text[:1], parent) for text, parent in told()] == [("c", "two"), ("d", "two")], "the newest 10 MB"
    show("e", one)
    notebook.cells.end()
    assert told() == [("e", "two")]
    page = enter("page", alone=False)
    show("f", two)
    assert told() == [("f", "two")], "not in the cell of somebody else"
    notebook.cells.end()
    show("g", page)
    assert told() == [("g", "page")]


def test_a_terminal_prints(capsys: pytest.CaptureFixture[str]) -> None:
    TerminalSink().show(None, Message("stdout", "out\n"), 0)
    TerminalSink().show(None, Message("stderr", "err\n"), 0)
    TerminalSink().show(None, Message(NOTICE, "10 more"), 1)
    assert capsys.readouterr() == ("out\n", "err\n10 more\n")


# The spool


@pytest.fixture
def spool() -> Iterator[Spool]:
    spool = Spool()
    yield spool
    spool.close()


def test_lines_are_found_by_name_pid_and_id(spool: Spool) -> None:
    spool.append([lines("a\nb\n", name="f", pid=1, task="aaaa1111"), lines("c\n", name="g", pid=2, task="bbbb2222")])
    assert list(spool.lines()) == ["(f pid=1) a", "(f pid=1) b", "(g pid=2) c"]
    for what in ("g", "2", "bbbb2222", "bbbb", "2222"):
        assert list(spool.lines(what)) == ["(g pid=2) c"], what
    assert list(spool.lines(grep="b")) == ["(f pid=1) b"]
    assert list(spool.lines("nobody")) == []


def test_lines_in_pieces_are_put_together(spool: Spool) -> None:
    spool.append([lines("on"), lines("other\n", name="g", task="b"), lines("e\ntw"), lines("o")])
    assert list(spool.lines()) == ["(g pid=7) other", "(f pid=7) one", "(f pid=7) two"]


def test_the_spool_is_bounded_and_keeps_the_newest() -> None:
    spool = Spool(limit=100_000)
    for n in range(2000):
        spool.append([lines(f"line {n:05} {'x' * 80}\n")])
        assert spool.size <= 100_000
    kept = list(spool.lines())
    assert kept[-1].startswith("(f pid=7) line 01999")
    assert kept == sorted(kept)
    assert len(kept) > 200
    assert spool.dropped_bytes > 0
    text = reports.page(iter(kept), 1, 10, None, spool)
    assert "were dropped" in text
    spool.close()


def test_the_spool_leaves_no_file(spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool.append([lines("a\n")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        (1, ["8", "9", "10", "[lines 8 to 10 of 10; older ones: --page 2; everything: --save FILE]"]),
        (2, ["5", "6", "7", "[lines 5 to 7 of 10; older ones: --page 3; everything: --save FILE]"]),
        (4, ["1", "[lines 1 to 1 of 10]"]),
        (5, ["There are 4 pages of 3 lines."]),
    ],
)
def test_pages(spool: Spool, page: int, expected: list[str]) -> None:
    assert reports.page((str(n) for n in range(1, 11)), page, 3, None, spool).splitlines() == expected


def test_no_pages(spool: Spool) -> None:
    assert reports.page(iter([]), 1, 3, "f", spool) == "f has printed nothing."
    assert reports.page(iter([]), 1, 3, None, spool) == "No task has printed anything."


def test_everything_can_be_saved(tmp_path: Path) -> None:
    target = tmp_path / "log.txt"
    assert reports.save(iter(["a", "b"]), str(target)).startswith("2 lines written")
    assert target.read_text() == "a\nb\n"
