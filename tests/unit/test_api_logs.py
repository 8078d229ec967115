"""Output of tasks in a script: lines that several workers print alike are shown once and counted."""

from __future__ import annotations

import io
import logging
import os
import re
import time
import tty
from collections.abc import Iterator

import pytest

from jupyter_ray.api import logs
from jupyter_ray.api.repeats import WINDOW, Repeats, Shown
from jupyter_ray.events import LogLines
from tests.contract.helpers import eventually


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logs, "_repeats", Repeats())
    logs.be_plain(False)  # As after a session without a LoggingConfig.
    monkeypatch.delenv("RAY_DEDUP_LOGS", raising=False)
    yield
    logs.print_rest()


def log(text: str, pid: int) -> LogLines:
    return LogLines(stream="stdout", text=text, name="f", pid=pid)


def test_equal_lines_of_several_processes_are_counted() -> None:
    repeats = Repeats()
    shown = [repeats.take("stdout", "loading", f"(f pid={pid}) ", pid, 0.1 * pid) for pid in range(5)]
    assert shown == [[Shown("stdout", "(f pid=0) loading")], [], [], [], []]
    assert repeats.wait(1.0) == pytest.approx(WINDOW - 1.0)
    assert repeats.due(WINDOW - 0.1) == []
    (count,) = repeats.due(WINDOW)
    assert count.text.startswith("(f pid=4) loading [repeated 4x across cluster]")
    assert "RAY_DEDUP_LOGS=0" in count.text
    assert repeats.wait(WINDOW) is None
    assert repeats.take("stdout", "loading", "", 7, WINDOW) == [Shown("stdout", "loading")], "after that it is new"


def test_numbers_make_no_difference_but_words_do() -> None:
    repeats = Repeats()
    lines = ["step 1 of x-3a took 0.5 s", "step 2 of x-3b took 0.7 s", "step 3 of y took 1 s", "7", "8"]
    assert [len(repeats.take("stdout", line, "", pid, 0.0)) for pid, line in enumerate(lines)] == [1, 0, 1, 1, 1]
    assert repeats.due() == [Shown("stdout", lines[1])]


def test_lines_without_a_word_are_shown() -> None:
    repeats = Repeats()
    for pid in (1, 2):
        for line in ("12 34", "    ^^^^^^", "----", ""):
            assert repeats.take("stderr", line, "", pid, 0.0) == [Shown("stderr", line)]


def test_a_long_word_costs_little() -> None:
    started = time.process_time()
    Repeats().take("stdout", "=" * 1_000_000, "", 1, 0.0)
    assert time.process_time() - started < 1.0


def test_a_process_may_repeat_itself() -> None:
    repeats = Repeats()
    assert [len(repeats.take("stdout", "again", "", 1, 0.0)) for _ in range(3)] == [1, 1, 1]
    assert repeats.due() == []


def test_what_differs_is_shown() -> None:
    repeats = Repeats()
    lines = [("stdout", "a"), ("stderr", "a"), ("stdout", "b"), ("stdout", ""), ("stdout", "")]
    assert [len(repeats.take(stream, line, "", pid, 0.0)) for pid, (stream, line) in enumerate(lines)] == [1] * 5


def test_one_withheld_line_is_printed_rather_than_counted() -> None:
    repeats = Repeats()
    repeats.take("stdout", "a", "(f pid=1) ", 1, 0.0)
    repeats.take("stdout", "a", "(f pid=2) ", 2, 0.0)
    assert repeats.due() == [Shown("stdout", "(f pid=2) a")]


def test_counts_are_printed_with_later_lines_and_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    logs.print_lines([log("same\n", pid) for pid in (1, 2, 3)] + [log("other\n", 1)])
    assert capsys.readouterr().out == "(f pid=1) same\n(f pid=1) other\n"
    logs.print_rest()
    assert capsys.readouterr().out.startswith("(f pid=3) same [repeated 2x across cluster]")
    logs.print_rest()
    assert capsys.readouterr().out == ""


def test_counts_are_printed_when_nothing_else_comes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_repeats", Repeats(0.05))
    logs.print_lines([log("same\n", pid) for pid in (1, 2, 3)])
    found: list[str] = []

    def counted() -> bool:
        found.append(capsys.readouterr().out)
        return "[repeated 2x across cluster]" in "".join(found)

    eventually(counted)


def test_it_can_be_switched_off(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    logs.print_lines([log("same\n", pid) for pid in (1, 2)])
    assert capsys.readouterr().out == "(f pid=1) same\n(f pid=2) same\n"


def test_patterns_choose_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_DEDUP_LOGS_ALLOW_REGEX", "loss")
    monkeypatch.setenv("RAY_DEDUP_LOGS_SKIP_REGEX", "^debug")
    logs.print_lines([log("loss 0.5\ndebug\n", pid) for pid in (1, 2)])
    assert capsys.readouterr().out == "(f pid=1) loss 0.5\n(f pid=2) loss 0.5\n"


@pytest.mark.parametrize("variable", ["RAY_DEDUP_LOGS_ALLOW_REGEX", "RAY_DEDUP_LOGS_SKIP_REGEX"])
def test_what_is_no_pattern_is_told_of_once_and_no_line_is_lost(
    variable: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("jupyter_ray"), "propagate", True)
    monkeypatch.setenv(variable, "(lost")
    logs.print_lines([log("a\n", 1)])
    logs.print_lines([log("b\n", 1)])
    assert capsys.readouterr().out == "(f pid=1) a\n(f pid=1) b\n"
    assert logs.wanted("a\nb\n") == "a\nb\n"
    [record] = caplog.records
    assert f"{variable}='(lost' is not a regular expression" in record.getMessage()


def test_the_origin_can_be_left_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_DISABLE_WORKER_LOG_PREFIX", "1")
    logs.print_lines([log("a\n", 1)])
    assert capsys.readouterr().out == "a\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("prefix", "on_terminal", "elsewhere"),
    [(None, "\x1b[36m(f pid={pid})\x1b[0m a\n", "(f pid={pid}) a\n"), ("0", *["(f pid={pid}) a\n"] * 2)],
)
def test_the_origin_is_coloured_on_a_terminal(
    prefix: str | None,
    on_terminal: str,
    elsewhere: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    if prefix is None:
        monkeypatch.delenv("RAY_COLOR_PREFIX", raising=False)
    else:
        monkeypatch.setenv("RAY_COLOR_PREFIX", prefix)
    logs.print_lines([log("a\n", 7)])
    assert capsys.readouterr().out == elsewhere.format(pid=7)
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    logs.print_lines([log("a\n", 7)])
    assert terminal.getvalue() == on_terminal.format(pid=7)
    monkeypatch.setenv("NO_COLOR", "1")
    logs.print_lines([log("a\n", 7)])
    assert terminal.getvalue().endswith("\n(f pid=7) a\n")


def test_each_process_can_have_its_colour(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_COLOR_PREFIX", "1")
    monkeypatch.setenv("RAY_DEDUP_LOGS", "0")
    logs.print_lines([log("a\n", pid) for pid in (6, 7, 12)])
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "\x1b[35m(f pid=6)\x1b[0m a"
    assert second == "\x1b[36m(f pid=7)\x1b[0m a"
    assert third == "\x1b[35m(f pid=12)\x1b[0m a"


def test_carets_go_with_the_line_of_a_traceback_that_they_are_below(capsys: pytest.CaptureFixture[str]) -> None:
    frame = '  File "a.py", line 4, in f\n    return x[0]\n           ~^^^\n'
    trace = f"Traceback (most recent call last):\n{frame}KeyError: 0\n"
    for pid in (1, 2, 3):
        logs.print_lines([log(trace, pid)])
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if "^" in line] == ["(f pid=1)            ~^^^"]
    assert len(printed) == 5


def test_lines_begin_at_the_left_also_where_a_prompt_has_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's prompt since 3.13: each line began below the end of the one before."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    try:
        with open(theirs, "w", closefd=False) as terminal:
            monkeypatch.setattr("sys.stdout", terminal)
            logs.print_lines([log("one\ntwo\n", 7)])
        assert re.sub(rb"\x1b\[\d*m", b"", os.read(ours, 1000)) == b"(f pid=7) one\r\n(f pid=7) two\r\n"
    finally:
        os.close(ours)
        os.close(theirs)
