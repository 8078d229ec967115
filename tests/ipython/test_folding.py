"""How much of a cell's output is shown, and when, against a clock that only the test moves."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_ray.api import logs
from jupyter_ray.api.displays import Displayed
from jupyter_ray.engine.displays import Shown
from jupyter_ray.events import LogLines
from jupyter_ray.ipython.folding import DISPLAY, NOTICE, CellOutput, Limits, Message
from jupyter_ray.ipython.lines import RESTS


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


def test_what_scripts_would_not_show_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "epoch 1\nGET /health\nGET /health but __keep__\nepoch 2\n"
    monkeypatch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", "GET|epoch 2")
    monkeypatch.setenv("RAY_DEDUP_LOGS_ALLOW_REGEX", "__keep__")
    output = CellOutput()
    output.add(lines(text), 0.0)
    output.add(lines("GET /health\n"), 0.1)
    output.add(lines("GET /mine\n"), 0.2, own=True)
    shown = "(f pid=7) epoch 1\n(f pid=7) GET /health but __keep__\nGET /mine\n"
    assert Page(output).run(1).text == shown
    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    assert logs.wanted(text) == text


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


# What tasks display


def display(text: str, *, task: str = "t1", pid: int = 7, **fields: Any) -> Displayed:
    shown = Shown({"text/plain": text} if text else {}, **fields)
    return Displayed(stream="stdout", text=f"{text}\n", name="f", pid=pid, task=task, shown=shown)


def cleared(wait: bool, task: str = "t1") -> Displayed:
    return display("", task=task, clear="wait" if wait else "now")


def on_page(page: Page) -> list[str]:
    """What the displays of a cell show in the end, in their places."""
    shown: dict[str, str] = {}
    for _, message in page.shown:
        if message.shown is not None:
            assert message.shown.display_id is not None
            assert message.shown.update == (message.shown.display_id in shown), "a page ignores updates of what is not"
            shown[message.shown.display_id] = message.shown.data["text/plain"]
    return list(shown.values())


def test_a_display_keeps_its_place_between_lines_and_ends_a_line() -> None:
    output = CellOutput()
    output.add(lines("a\nb"), 0.0)
    output.add(display("x"), 0.0)
    output.add(lines("c\n"), 0.0)
    page = Page(output).run(1.0)
    assert [(message.stream, message.text) for _, message in page.shown] == [
        ("stdout", "(f pid=7) a\n(f pid=7) b\n"),
        (DISPLAY, "(f pid=7) x\n"),
        ("stdout", "(f pid=7) c\n"),
    ]


def test_of_a_display_that_changes_the_newest_state_goes_and_takes_no_room() -> None:
    output = CellOutput(Limits(messages=101 + 5))
    output.add(display("0", display_id="d"), 0.0)
    page = Page(output)
    for number in range(1, 2_001):
        output.add(display(str(number), display_id="d", update=True), page.now)
        if number % 4 == 0:
            page.run(page.now + 0.01)
    page.run(page.now + 1.0)
    assert on_page(page) == ["2000"]
    assert not page.notices
    assert 50 < len(page.shown) < 130, "twenty a second, of five seconds"


def test_what_a_task_takes_back_makes_room_for_what_it_displays_next() -> None:
    output = CellOutput()
    for number in range(5):
        output.add(display(f"a{number}"), float(number))
        output.add(display(f"b{number}"), float(number))
        output.add(display(f"other {number}", task="t2"), float(number))
        page = Page(output)
        output.add(cleared(wait=True), float(number))
    output.add(display("end"), 5.0)
    assert on_page(page.run(10.0)) == ["end", "b4", "other 0", "other 1", "other 2", "other 3", "other 4"]


def test_what_is_taken_back_at_once_leaves_nothing() -> None:
    output = CellOutput()
    output.add(display("a"), 0.0)
    output.add(display("b"), 0.0)
    page = Page(output).run(1.0)
    output.add(cleared(wait=False), 1.0)
    assert on_page(page.run(2.0)) == ["", ""]
    output.add(display("c"), 2.0)
    assert on_page(page.run(3.0)) == ["c", ""]


def test_what_was_cleared_before_and_not_used_again_goes_with_the_next_clear() -> None:
    output = CellOutput()
    output.add(display("a"), 0.0)
    output.add(display("b"), 0.0)
    page = Page(output).run(1.0)
    output.add(cleared(wait=True), 1.0)
    output.add(display("c"), 1.0)
    output.add(cleared(wait=True), 1.0)
    output.add(display("d"), 1.0)
    assert on_page(page.run(2.0)) == ["d", ""]


def test_past_a_limit_displays_are_held_back_and_counted() -> None:
    output = CellOutput(Limits(display_bytes=1_000_000))
    for _ in range(10):
        output.add(display("x" * 200_000), 0.0)
    page = Page(output).run(60.0)
    assert len([message for _, message in page.shown if message.stream == DISPLAY]) == 4
    assert page.notices[-1].startswith("[6 more lines (1.2 MB) held back")


def page_of(text: str) -> list[str]:
    """What a page shows: each carriage return leads back to the begin of the last line, whose rest stays."""
    shown = [""]
    column = 0
    for char in text:
        if char == "\n":
            shown.append("")
            column = 0
        elif char == "\r":
            column = 0
        else:
            shown[-1] = shown[-1][:column] + char + shown[-1][column + 1 :]
            column += 1
    return [line.rstrip() for line in shown]


def bar(text: str, task: str, pid: int) -> LogLines:
    return lines(text, task=task, pid=pid, stream="stderr")


def shows(*events: LogLines) -> list[str]:
    output = CellOutput()
    for event in events:
        output.add(event, 0.0)
    return page_of(Page(output).run(1).text)


def test_a_bar_keeps_its_origin() -> None:
    steps = [bar(f"\ra: {'#' * step}", "a", 1) for step in range(4)]
    assert shows(*steps) == ["(f pid=1) a: ###"]
    assert shows(*steps, bar("\n", "a", 1), bar("next\n", "a", 1)) == ["(f pid=1) a: ###", "(f pid=1) next", ""]
    assert shows(bar("so far: ", "a", 1), bar("x\ry", "a", 1)) == ["(f pid=1) yo far: x"]


def test_two_bars_leave_a_line_each() -> None:
    steps = [bar(f"\r{task}: {step * 25}%", task, pid) for step in range(5) for pid, task in ((1, "a"), (2, "b"))]
    assert shows(*steps) == ["(f pid=1) a: 100%"], "the other one waits for the last line"
    ends = [bar("\n", "b", 2), bar("\n", "a", 1), bar("later\n", "a", 1)]
    assert shows(*steps, *ends) == ["(f pid=2) b: 100%", "(f pid=1) a: 100%", "(f pid=1) later", ""]
    ends = [bar("\r\n", "a", 1), bar("\rb: is much longer now", "b", 2), bar("\n", "b", 2)]
    assert shows(*steps, *ends) == ["(f pid=1) a: 100%", "(f pid=2) b: is much longer now", ""]
    assert shows(*steps, ends[0]) == ["(f pid=1) a: 100%", "(f pid=2) b: 100%"]


def test_a_bar_that_rests_leaves_the_last_line_to_one_that_moves() -> None:
    """Its task may have been killed; the bars of the others in the cell stood still from then on."""
    steps = [bar(f"\rb: {step}", "b", 2) for step in range(RESTS + 2)]
    assert shows(bar("\ra: 10%", "a", 1), *steps[:RESTS]) == ["(f pid=1) a: 10%"]
    assert shows(bar("\ra: 10%", "a", 1), *steps) == ["(f pid=1) a: 10%", f"(f pid=2) b: {RESTS + 1}"]
    moves = [each for step in steps for each in (step, bar("\ra: 20%", "a", 1))]
    assert shows(bar("\ra: 10%", "a", 1), *moves) == ["(f pid=1) a: 20%"], "it has moved as often"
    ends = [bar("\n", "b", 2), bar("\ra: 90%", "a", 1)]
    assert shows(bar("\ra: 10%", "a", 1), *steps, *ends) == [
        "(f pid=1) a: 10%",
        f"(f pid=2) b: {RESTS + 1}",
        "(f pid=1) a: 90%",
    ]


def test_lines_of_others_go_above_a_bar() -> None:
    steps = [bar("\ra long bar of many words", "a", 1), bar("said\nagain\n", "b", 2), bar("\ra 2", "a", 1)]
    assert shows(*steps) == ["(f pid=2) said", "(f pid=2) again", "(f pid=1) a 2ong bar of many words"]
    assert shows(steps[0], bar("half", "b", 2), bar(" a line\n", "b", 2), bar("\rlast\n", "a", 1)) == [
        "(f pid=1) a long bar of many words",
        "(f pid=2) half a line",
        "(f pid=1) lastng bar of many words",
        "",
    ]


def test_a_bar_that_does_not_stay_leaves_nothing() -> None:
    steps = [bar("\ra: 50%", "a", 1), bar("\r       \r", "a", 1)]
    assert shows(*steps) == [""]
    assert shows(*steps, lines("said\n", stream="stderr", task="b", pid=2)) == ["(f pid=2) said", ""]
    assert shows(*steps, bar("\n", "a", 1)) == ["(f pid=1)", ""], "an empty line is one"


def test_lines_that_end_as_on_windows_are_lines() -> None:
    assert shows(bar("one\r\ntwo\r\n", "a", 1)) == ["(f pid=1) one", "(f pid=1) two", ""]


def test_a_bar_that_finds_no_room_is_held_back() -> None:
    output = CellOutput(Limits(bytes=20_000 + 60))
    for step in range(10):
        output.add(bar(f"\ra: {step}", "a", 1), 0.0)
    page = Page(output).run(10)
    assert page_of(page.text) == ["(f pid=1) a: 3"]
    assert "1 more line" in page.notices[-1]
