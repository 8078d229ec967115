"""What a task displays, from its lines of output to what the driver shows: cut, joined, and as text."""

from __future__ import annotations

import io

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_ray.api import logs
from jupyter_ray.api.displays import Displayed, Gathering
from jupyter_ray.engine.displays import CHUNK, Shown, send
from jupyter_ray.events import DISPLAYED, LogLines


def printed(*shown: Shown, before: str = "") -> str:
    """Return what a worker's stdout gets."""
    stream = io.StringIO()
    stream.write(before)
    for each in shown:
        send(each, stream)
    return stream.getvalue()


def lines(text: str, pid: int = 7) -> LogLines:
    return LogLines(stream="stdout", text=text, name="f", pid=pid, task="t1", cell="c1")


def shown(events: object) -> list[object]:
    assert isinstance(events, list)
    return [each.shown if isinstance(each, Displayed) else each.text for each in events]


PICTURE = Shown({"text/plain": "<Figure>", "image/png": "ab" * 2 * CHUNK}, {"image/png": {"width": 3}}, "i", True)


def test_a_display_keeps_its_place_among_the_lines() -> None:
    text = "one\n" + printed(Shown({"text/plain": "x"}), before="two ") + "three\n"
    assert shown(Gathering().take([lines(text)])) == ["one\ntwo ", Shown({"text/plain": "x"}), "three\n"]


def test_a_large_one_comes_in_lines_that_no_buffer_cuts() -> None:
    text = printed(PICTURE)
    assert max(map(len, text.splitlines())) < 32 * 1024
    gathering = Gathering()
    parts = [gathering.take([lines(line)]) for line in text.splitlines(keepends=True)]
    assert [shown(each) for each in parts] == [[]] * (len(parts) - 1) + [[PICTURE]]
    assert repr(gathering) == "<Gathering of 0 displays>"


@settings(deadline=None)
@given(st.data())
def test_those_of_several_processes_come_mixed(data: st.DataObject) -> None:
    rest = {pid: printed(PICTURE, Shown({"text/plain": str(pid)})).splitlines(keepends=True) for pid in (1, 2, 3)}
    gathering = Gathering()
    found: dict[int, list[object]] = {pid: [] for pid in rest}
    while rest:
        pid = data.draw(st.sampled_from(sorted(rest)))
        found[pid] += shown(gathering.take([lines(rest[pid].pop(0), pid)]))
        if not rest[pid]:
            del rest[pid]
    assert found == {pid: [PICTURE, Shown({"text/plain": str(pid)})] for pid in found}


def test_one_that_lost_a_part_is_not_shown_and_the_next_one_is() -> None:
    first, *_, last = printed(PICTURE).splitlines(keepends=True)
    gathering = Gathering()
    assert shown(gathering.take([lines(first + last + printed(Shown({"text/plain": "x"})))])) == [
        Shown({"text/plain": "x"})
    ]


def test_of_many_that_never_end_little_is_kept() -> None:
    gathering = Gathering()
    for pid in range(1_000):
        assert not gathering.take([lines(printed(PICTURE).splitlines(keepends=True)[0], pid)])
    assert repr(gathering) == "<Gathering of 64 displays>"


def test_who_prints_the_word_itself_is_shown() -> None:
    text = DISPLAYED + ', "and no more\n'
    assert shown(Gathering().take([lines(text)])) == [text]


def test_any_text_arrives() -> None:
    value = Shown({"text/plain": "".join(map(chr, [*range(0xD800), *range(0xE000, 0x11000)]))})
    assert shown(Gathering().take([lines("a\x85b\n" + printed(value) + "c")])) == ["a\x85b\n", value, "c"]


def test_what_has_no_json_is_sent_as_its_repr() -> None:
    (found,) = Gathering().take([lines(printed(Shown({"text/plain": "x", "application/x": ...})))])
    assert isinstance(found, Displayed)
    assert found.shown.data == {"text/plain": "x", "application/x": "Ellipsis"}


def test_a_script_prints_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    event = lines("a\n" + printed(Shown({"text/plain": "x\ny", "text/html": "<b>x</b>"}), Shown(clear="now")) + "b\n")
    logs.listener(logs.print_lines)([event])
    assert capsys.readouterr().out == "".join(f"(f pid=7) {line}\n" for line in "axyb")


def test_as_text_it_is_an_event_like_any_other() -> None:
    (found,) = Gathering().take([lines(printed(Shown({"text/plain": "x"})))])
    assert isinstance(found, Displayed)
    event = msgspec.json.decode(msgspec.json.encode(found.as_text()), type=LogLines)
    assert event == lines("x\n")
