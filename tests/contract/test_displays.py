# mypy: disable-error-code="no-untyped-call"
"""What tasks and actors display, on its way to the notebook cell that asked for them: the same on both engines."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.api.displays import Displayed
from jupyter_ray.api.session import set_log_printer
from jupyter_ray.engine.context import set_cell_source
from jupyter_ray.events import LogLines
from tests.contract.helpers import eventually

PIXEL = bytes(range(256)) * 300
"""77 kB: more than a line of output."""


@pytest.fixture
def seen(start: Callable[..., Any]) -> Iterator[list[LogLines]]:
    """What tasks print and display, asked for by a cell."""
    found: list[LogLines] = []
    undo = set_log_printer(found.extend)
    before = set_cell_source(lambda: "cell-1")
    start(log_to_driver=True)
    yield found
    set_cell_source(before)
    undo()


def texts(seen: list[LogLines]) -> list[str]:
    return [line for event in list(seen) for line in event.text.splitlines()]


def displayed(seen: list[LogLines], number: int = 1) -> list[Displayed]:
    """Return so many things that were displayed, as soon as they are there."""

    def found() -> list[Displayed]:
        return [event for event in list(seen) if isinstance(event, Displayed)]

    eventually(lambda: len(found()) >= number)
    return found()


@ray.remote
def show(text: str) -> None:
    from IPython.display import HTML

    print("before", text)
    display(HTML(f"<b>{text}</b>"))  # type: ignore[name-defined] # noqa: F821 - a notebook's name
    print("after", text)


@ray.remote
def outer(text: str) -> None:
    ray.get(show.remote(text))


@ray.remote
def picture() -> str:
    from IPython.display import Image, display, update_display

    handle = display("one", display_id="mine")
    handle.update("two")
    update_display("three", display_id="mine")
    display(Image(data=PIXEL, format="png"))
    return type(handle).__name__


def test_it_keeps_its_place_and_its_cell(seen: list[LogLines]) -> None:
    ray.get(show.remote("it"))
    eventually(lambda: "after it" in texts(seen))
    assert texts(seen) == ["before it", "<IPython.core.display.HTML object>", "after it"]
    (event,) = displayed(seen)
    assert event.shown.data["text/html"] == "<b>it</b>"
    assert event.cell == "cell-1"


def test_that_of_a_nested_call_belongs_to_the_cell_too(seen: list[LogLines]) -> None:
    ray.get(outer.remote("it"))
    (event,) = displayed(seen)
    assert event.cell == "cell-1"


def test_bytes_are_base64_and_updates_name_what_they_replace(seen: list[LogLines]) -> None:
    assert ray.get(picture.remote()) == "DisplayHandle"
    events = displayed(seen, 4)
    assert [(event.shown.display_id, event.shown.update) for event in events] == [
        ("mine", False),
        ("mine", True),
        ("mine", True),
        (None, False),
    ]
    assert [event.shown.data["text/plain"] for event in events[:3]] == ["'one'", "'two'", "'three'"]
    assert base64.b64decode(events[3].shown.data["image/png"]) == PIXEL


def test_an_actor_displays_from_its_threads_and_coroutines(seen: list[LogLines]) -> None:
    @ray.remote
    class Painter:
        async def paint(self, text: str) -> None:
            from IPython.display import display

            display({"text/plain": text}, raw=True)

    painter = Painter.remote()  # type: ignore[attr-defined]
    ray.get([painter.paint.remote(str(number)) for number in range(10)])
    events = displayed(seen, 10)
    assert sorted(event.shown.data["text/plain"] for event in events) == [str(number) for number in range(10)]


def test_what_only_a_notebook_can_do_says_so(seen: list[LogLines]) -> None:
    @ray.remote
    def runs(name: str, *args: str) -> None:
        from IPython import get_ipython

        getattr(get_ipython(), name)(*args)

    for name, args in (("run_line_magic", ("time", "1")), ("run_cell_magic", ("time", "", "1"))):
        with pytest.raises(Exception, match="runs in the notebook only"):
            ray.get(runs.remote(name, *args))


def test_a_script_has_no_page(start: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    start(log_to_driver=True)

    @ray.remote
    def shows() -> Any:
        from IPython import get_ipython
        from IPython.display import HTML, display

        display(HTML("<b>it</b>"))
        return get_ipython()

    assert ray.get(shows.remote()) is None
    printed = ""

    def there() -> bool:
        nonlocal printed
        printed += capsys.readouterr().out
        return "<IPython.core.display.HTML object>" in printed

    eventually(there)
    assert "magic" not in printed
