"""Lines that are written anew with a carriage return, as progress bars do: what a script shows of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jupyter_ray.api import logs
from jupyter_ray.api.repeats import Repeats
from jupyter_ray.api.returns import PAUSE, Returns, rewritten
from jupyter_ray.events import LogLines


@pytest.mark.parametrize(
    ("line", "text", "shows"),
    [
        ("", "\r 10%", " 10%"),
        ("long text", "\rsh", "shng text"),
        ("a", "b", "ab"),
        ("", "one\r\rtwo\r", "two\r"),
        ("done", "\r    \r", "    \r"),
        ("    \r", "new", "new "),
    ],
)
def test_what_is_written_over(line: str, text: str, shows: str) -> None:
    assert rewritten(line, text) == shows


def test_lines_that_are_not_written_over_are_lines() -> None:
    returns = Returns()
    assert returns.lines("a", "one\ntwo\n\nthree", 0) == ["one", "two", "", "three"]
    assert returns.lines("a", "\n", 0) == [""]
    assert returns.lines("a", "", 0) == []
    assert returns.lines("a", "of Windows\r\n\r\n", 0) == ["of Windows"]
    assert returns.rest() == []


def test_a_bar_shows_its_first_state_then_one_a_second_and_its_last() -> None:
    returns = Returns()
    shown = [returns.lines("a", f"\r{step}%", step / 10) for step in range(25)]
    assert [(step, lines) for step, lines in enumerate(shown) if lines] == [(0, ["0%"]), (10, ["10%"]), (20, ["20%"])]
    assert returns.lines("b", "other\n", 2.5) == ["other"]
    assert returns.lines("a", "\r100%", 2.5) == []
    assert returns.lines("a", "\nnext\n", 2.6) == ["100%", "next"]
    assert returns.lines("a", "\r100%", 9) == ["100%"]
    assert returns.lines("a", "\n", 10) == [], "that has been shown"
    assert returns.lines("a", "\r50%", 11) == ["50%"]
    assert returns.lines("a", "\r    \r", 11 + PAUSE) == [], "a bar that does not stay"
    assert returns.lines("a", "after it\n", 13) == ["after it"]


def test_what_has_not_been_shown_is_left_for_the_end() -> None:
    returns = Returns()
    for source in ("a", "b"):
        returns.lines(source, "\r1%", 0)
    returns.lines("a", "\r2%", 0)
    assert returns.rest() == [("a", "2%")]
    assert returns.rest() == []


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs, "_repeats", Repeats())
    monkeypatch.setattr(logs, "_returns", Returns())
    logs.be_plain(False)
    yield
    logs.print_rest()


def test_a_script_shows_bars_of_tasks_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    def written(text: str, pid: int) -> None:
        logs.print_lines([LogLines(stream="stderr", text=text, name="f", pid=pid, task=f"t{pid}")])

    for step in range(5):
        for pid in (1, 2):
            written(f"\rbar {'x' * pid}: {step * 25}%", pid)
    written("\n", 1)
    logs.print_rest()
    assert capsys.readouterr().err.splitlines() == [
        "(f pid=1) bar x: 0%",
        "(f pid=2) bar xx: 0%",
        "(f pid=1) bar x: 100%",
        "(f pid=2) bar xx: 100%",
    ]
