"""How much of a cell's output is shown, and when, against a clock that only the test moves."""

from __future__ import annotations

from jupyter_ray.events import LogLines
from jupyter_ray.ipython.folding import NOTICE, CellOutput, Limits, Message


def lines(text: str, *, name: str = "f", pid: int = 7, task: str = "t1", stream: str = "stdout") -> LogLines:
    return LogLines(stream=stream, text=text, name=name, pid=pid, task=task)  # type: ignore[arg-type]


class Page:
    """Takes from an output whatever is due until `end`."""

    def __init__(self, output: CellOutput) -> None:
        self.output = output
        self.now = 0.0
        self.shown: list[tuple[float, Message]] = []

    def run(self, end: float) -> Page:
        while (wait := self.output.due(self.now)) is not None and self.now + wait <= end:
            self.now += wait
            message = self.output.take(self.now)
            assert message is not None, "due said so"
            self.shown.append((self.now, message))
        self.now = max(self.now, end)
        return self

    @property
    def text(self) -> str:
        return "".join(message.text for _, message in self.shown if message.stream != NOTICE)

    @property
    def notices(self) -> list[str]:
        return [message.text for _, message in self.shown if message.stream == NOTICE]


def test_each_line_says_where_it_comes_from() -> None:
    output = CellOutput()
    output.add(lines("one\ntwo\n"), 0.0)
    assert Page(output).run(1).text == "(f pid=7) one\n(f pid=7) two\n"


def test_the_cells_own_task_needs_no_origin() -> None:
    output = CellOutput()
    output.add(lines("one\n"), 0.0, own=True)
    output.add(lines("two\n", name="g", pid=8, task="t2"), 0.0)
    assert Page(output).run(1).text == "one\n(g pid=8) two\n"


def test_a_line_in_two_pieces_stays_one_line() -> None:
    output = CellOutput()
    output.add(lines("half "), 0.0)
    output.add(lines("a line\n"), 0.0)
    assert Page(output).run(1).text == "(f pid=7) half a line\n"


def test_another_tasks_line_begins_on_a_line_of_its_own() -> None:
    output = CellOutput()
    output.add(lines("half "), 0.0)
    output.add(lines("other\n", name="g", pid=8, task="t2"), 0.0)
    output.add(lines("a line\n"), 0.0)
    assert Page(output).run(1).text == "(f pid=7) half \n(g pid=8) other\n(f pid=7) a line\n"


def test_messages_are_merged_and_paced() -> None:
    output = CellOutput()
    page = Page(output)
    for n in range(100):
        output.add(lines(f"{n}\n"), n / 100)
        page.run(n / 100)
    page.run(2)
    assert len(page.shown) <= 21
    gaps = [after[0] - before[0] for before, after in zip(page.shown, page.shown[1:], strict=False)]
    assert min(gaps) >= Limits().interval - 1e-9
    assert page.text.count("\n") == 100


def test_streams_keep_their_order() -> None:
    output = CellOutput()
    output.add(lines("a\n"), 0.0)
    output.add(lines("b\n", stream="stderr"), 0.0)
    output.add(lines("c\n"), 0.0)
    shown = Page(output).run(1).shown
    assert [message.stream for _, message in shown] == ["stdout", "stderr", "stdout"]


def test_a_flood_is_folded_and_counted() -> None:
    output = CellOutput()
    page = Page(output)
    total = 300_000
    for n in range(0, total, 1000):
        output.add(lines("".join(f"line {n + k}\n" for k in range(1000))), n / 100_000)
        page.run(n / 100_000)
    page.run(20)
    assert output.bytes <= 2_000_000
    assert output.messages <= 1_000
    assert page.text.count("\n") + output.held_lines == total
    assert f"{output.held_lines:,} more lines" in page.notices[-1]
    assert "%ray logs" in page.notices[-1]


def test_too_many_messages_are_folded_too() -> None:
    output = CellOutput(Limits(messages=150))
    page = Page(output)
    for n in range(400):
        output.add(lines(f"{n}\n"), n)
        page.run(n)
    page.run(500)
    assert output.messages <= 150
    assert page.text.count("\n") == 50
    assert page.text.count("\n") + output.held_lines == 400
    assert "350 more lines" in page.notices[-1]


def test_a_flood_without_a_pause_is_counted_while_it_lasts() -> None:
    output = CellOutput(Limits(bytes=25_000))
    page = Page(output)
    for n in range(1000):
        output.add(lines("x" * 99 + "\n"), n / 10)
        page.run(n / 10)
    assert 3 <= len(page.notices) <= 10, "ever more seldom"


def test_one_endless_line_is_held_back() -> None:
    output = CellOutput()
    output.add(lines("x" * 3_000_000), 0.0)
    page = Page(output).run(5)
    assert page.text == ""
    assert "1 more line (" in page.notices[-1]


def test_held_back_pieces_of_a_line_are_one_line() -> None:
    output = CellOutput(Limits(bytes=20_000))
    for piece in ("no room: on", "e line\nand ", "anoth", "er"):
        output.add(lines(piece), 0.0)
    assert output.held_lines == 2


def test_nothing_is_due_when_all_is_shown() -> None:
    output = CellOutput()
    assert output.due(0) is None
    output.add(lines("a\n"), 0.0)
    Page(output).run(1)
    assert output.due(1) is None
    assert "1 messages" in repr(output)


def test_bytes_are_counted_as_they_travel() -> None:
    output = CellOutput(Limits(bytes=20_000 + 40))
    output.add(lines("é" * 20 + "\n"), 0.0, own=True)
    page = Page(output).run(5)
    assert page.text == "", "41 bytes do not fit into 40"
    assert output.held_bytes == 41
