"""Progress bars: what they say, what the driver makes of it, and what a terminal shows."""

from __future__ import annotations

import builtins
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from jupyter_ray.api import logs, progress
from jupyter_ray.events import LogLines
from jupyter_ray.experimental import tqdm_ray
from tests.contract.helpers import eventually


class Recorder:
    def __init__(self) -> None:
        self.drawn: list[tuple[str, float, bool]] = []
        self.hidden = 0

    def first(self) -> tuple[str, float, bool]:
        return self.drawn[0]

    def last(self) -> tuple[str, float, bool]:
        return self.drawn[-1]

    def draw(self, bars: Sequence[progress.Bar], changed: progress.Bar) -> None:
        assert changed in bars
        self.drawn.append((changed.desc, changed.n, changed.closed))

    def hide(self, bars: Sequence[progress.Bar]) -> None:
        self.hidden += 1


@pytest.fixture(autouse=True)
def manager(monkeypatch: pytest.MonkeyPatch) -> progress.BarManager:
    manager = progress.BarManager()
    monkeypatch.setattr(progress, "_manager", manager)
    return manager


@pytest.fixture
def canvas() -> Iterator[Recorder]:
    recorder = Recorder()
    undo = progress.set_canvas(recorder)
    yield recorder
    undo()


def is_hidden(manager: progress.BarManager) -> bool:
    return manager.in_hidden_state


def state(n: float, uuid: str = "a", **fields: Any) -> str:
    said = {"__magic_token__": progress.MAGIC, "x": n, "pos": 0, "desc": "d", "total": 10, "uuid": uuid, "pid": 7}
    return json.dumps({**said, **fields}) + "\n"


def printed(text: str) -> LogLines:
    return LogLines(stream="stdout", text=text, name="f", pid=7, cell="c")


def test_a_bar_goes_through_what_it_is_given(canvas: Recorder) -> None:
    assert list(tqdm_ray.tqdm(range(3), desc="counting")) == [0, 1, 2]
    assert canvas.first() == ("counting", 1, False)
    assert canvas.last() == ("counting", 3, True)
    with pytest.raises(ValueError, match="No iterable"):
        list(tqdm_ray.tqdm())


def test_what_comes_too_soon_is_told_a_little_later(canvas: Recorder) -> None:
    bar = tqdm_ray.tqdm(total=10, desc="x")
    for _ in range(5):
        bar.update()
    assert canvas.drawn == [("x", 1, False)]
    eventually(lambda: canvas.last() == ("x", 5, False))
    bar.set_description("y")
    bar.close()
    bar.close()
    assert canvas.last() == ("y", 5, True)


def test_states_are_taken_out_of_what_is_printed(manager: progress.BarManager, canvas: Recorder) -> None:
    shown: list[LogLines] = []
    listen = logs.listener(lambda lines: shown.extend(lines))
    listen([printed("before\n" + state(4) + "after\n")])
    assert [line.text for line in shown] == ["before\nafter\n"]
    assert canvas.drawn == [("(f pid=7) d", 4, False)]
    assert not is_hidden(manager)
    listen([printed("more\n")])
    assert is_hidden(manager)
    assert canvas.hidden == 1
    listen([printed(state(10, closed=True))])
    assert canvas.last() == ("(f pid=7) d", 10, True)
    assert not is_hidden(manager)
    assert manager.bar_groups == {}
    assert len(shown) == 2


@pytest.mark.parametrize("text", [f"{progress.MAGIC} is a word\n", '{"__magic_token__": 1}\n', state(1)[:-9] + "\n"])
def test_other_lines_with_the_word_are_shown(text: str, canvas: Recorder) -> None:
    lines, states = progress.without_states([printed(text)])
    assert ([line.text for line in lines], states) == ([text], [])


def test_a_bar_says_how_far_it_is() -> None:
    bar = progress.Bar(json.loads(state(0)), "", None)
    bar.take(json.loads(state(5, unit="files")))
    assert bar.text().startswith("d  50% [############............] 5/10 files, ")
    assert "left" in bar.text()
    bar.take(json.loads(state(5, total=None)))
    assert bar.text().startswith("d 5 it, ")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_bars_below_the_output(monkeypatch: pytest.MonkeyPatch, manager: progress.BarManager) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    for uuid in ("a", "b"):
        manager.process_state_update(json.loads(state(1, uuid)))
    assert terminal.getvalue().count("\n") == 1, "two lines, none of them ended"
    manager.process_state_update(json.loads(state(2, "a")))
    assert "\r\x1b[1A\x1b[J" in terminal.getvalue()
    manager.hide_bars()
    assert terminal.getvalue().endswith("\x1b[J")
    manager.finish()
    assert terminal.getvalue().endswith("\n")


@pytest.mark.parametrize("patched", ["1", "0"])
def test_what_the_script_prints_makes_bars_on_a_terminal_give_way(
    patched: str, monkeypatch: pytest.MonkeyPatch, manager: progress.BarManager
) -> None:
    terminal = Terminal()
    before = builtins.print
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("RAY_TQDM_PATCH_PRINT", patched)
    manager.process_state_update(json.loads(state(1)))
    bar = terminal.getvalue()
    print("between")
    if patched == "1":
        assert terminal.getvalue().startswith(f"{bar}\r\x1b[Jbetween\nd  10% [")
    else:
        assert terminal.getvalue() == f"{bar}between\n"
    elsewhere = io.StringIO()
    shown = terminal.getvalue()
    print("to a file", file=elsewhere)
    assert (elsewhere.getvalue(), terminal.getvalue()) == ("to a file\n", shown)
    manager.finish()
    assert builtins.print is before


def test_without_a_terminal_a_bar_is_one_line(capsys: pytest.CaptureFixture[str], manager: progress.BarManager) -> None:
    manager.process_state_update(json.loads(state(1)))
    manager.process_state_update(json.loads(state(2)))
    assert capsys.readouterr().err == ""
    manager.finish()
    assert capsys.readouterr().err.startswith("d  20% [#####...................] 2/10 it, ")
