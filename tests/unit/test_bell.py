"""A wait that has an end."""

from __future__ import annotations

import ast
import math
import queue
import threading
import time
from pathlib import Path

import pytest

import jupyter_ray
from jupyter_ray.bell import Bell, Mailbox

PACKAGE = Path(jupyter_ray.__file__).parent


def test_a_bell_is_heard_once_however_often_it_is_rung() -> None:
    bell = Bell()
    assert not bell.wait(0)
    assert not bell.wait(-1)
    for _ in range(3):
        bell.ring()
    assert bell.wait(0)
    assert not bell.wait(0.001)


@pytest.mark.parametrize("timeout", [None, math.inf, 60, 1e12])
def test_a_bell_wakes_who_waits(timeout: float | None) -> None:
    bell, heard = Bell(), Mailbox[bool]()
    thread = threading.Thread(target=lambda: heard.put(bell.wait(timeout)), daemon=True)
    thread.start()
    bell.ring()
    assert heard.get(30)


def test_every_wait_has_an_end() -> None:
    """Also where the time is over between two of its steps: a `SimpleQueue` of Python 3.11 or 3.12 waits for ever."""
    ended = Mailbox[int]()

    def wait() -> None:
        for _ in range(50_000):
            bell, box = Bell(), Mailbox[None]()
            bell.ring()
            bell.wait(1e-7)
            bell.wait(1e-7)
            with pytest.raises(queue.Empty):
                box.get(1e-7)
        ended.put(1)

    threading.Thread(target=wait, daemon=True).start()
    assert ended.get(120) == 1


def test_a_mailbox_keeps_the_order() -> None:
    box = Mailbox[int]()

    def fill() -> None:
        for number in range(1_000):
            box.put(number)

    thread = threading.Thread(target=fill)
    thread.start()
    assert [box.get(30) for _ in range(1_000)] == list(range(1_000))
    thread.join()
    began = time.monotonic()
    with pytest.raises(queue.Empty):
        box.get(0.01)
    assert time.monotonic() - began >= 0.01


def test_no_code_waits_for_a_simple_queue_for_a_time() -> None:
    """It may wait for ever: see `jupyter_ray.bell`."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        if "SimpleQueue" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            called = node.func if isinstance(node, ast.Call) else None
            if isinstance(called, ast.Attribute) and called.attr == "get" and isinstance(node, ast.Call):
                found += [f"{path.name}:{node.lineno}" for keyword in node.keywords if keyword.arg == "timeout"]
    assert not found
