"""Two notebooks that share a runtime: each is told what it asked for, in the cell that asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.helpers import eventually
from tests.ipython.kernels import Kernel

LOAD = "%load_ext jupyter_ray\nimport jupyter_ray as ray, os, time"


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Kernel, Kernel]]:
    """Two kernels; the second has joined the runtime that the first one has started."""
    root = Path(f"/tmp/jrk-{os.getpid()}")
    root.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(root))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    first, second = Kernel(), Kernel()
    try:
        first.run(LOAD)
        second.run(LOAD)
        assert "engine" in str(first.run("ray.init(num_cpus=2, num_gpus=0, namespace='shared')").messages)
        assert "2 CPUs, local engine" in second.run("%ray start --address auto").stdout
        yield first, second
    finally:
        second.close()
        first.close()
        try:
            eventually(lambda: not list(root.iterdir()))
        finally:
            shutil.rmtree(root, ignore_errors=True)


def test_output_lands_in_the_cell_that_asked_in_its_own_notebook(kernels: tuple[Kernel, Kernel]) -> None:
    first, second = kernels
    first.run(
        "@ray.remote(num_cpus=0)\nclass Speaker:\n"
        "    def say(self, text):\n        print('said', text)\n        return text\n"
        "speaker = Speaker.options(name='speaker').remote(); ray.get(speaker.say.remote('hello'))"
    )
    mine = first.start("print(ray.get(speaker.say.remote('to the first')))")
    late = second.start("@ray.remote\ndef late():\n    time.sleep(0.5); print('late words')\nref = late.remote()")
    theirs = second.run(
        "speaker = ray.get_actor('speaker', namespace='shared'); print(ray.get(speaker.say.remote('to the second')))"
    )
    mine.ok()
    late.ok()
    second.run("ray.get(ref)")
    second.until(lambda: "late words" in late.stdout)
    assert "said to the first" in mine.stdout
    assert "said to the second" in theirs.stdout
    for kernel, foreign in ((first, "to the second"), (first, "late words"), (second, "to the first")):
        kernel.run("ray.get(ray.remote(len).remote('abc'))")
        assert foreign not in str([each.contents("stream") for each in kernel.cells.values()])
        assert not any(foreign in str(message["content"]) for message in kernel.others)


def test_status_and_table_of_both(kernels: tuple[Kernel, Kernel]) -> None:
    first, second = kernels
    first.run("@ray.remote(num_cpus=2)\ndef hold():\n    while not os.path.exists(path): time.sleep(0.01)")
    path = f"/tmp/jrk-hold-{os.getpid()}"
    second.run("@ray.remote\ndef wait(): return 1")
    first.run(f"path = {path!r}\nheld = hold.remote()")
    first.until(lambda: "2 of 2 used" in first.run("%ray status").stdout + str(first.run("%ray status").displays))
    second.run("ref = wait.remote()")
    second.until(lambda: "2 of 2 used" in str(second.run("%ray status").displays), timeout=60)
    assert "of another driver" in second.run("%ray why ref").stdout
    table = str(second.run("ray.get_runtime_context().gcs_address").result)
    assert table.strip("'").startswith("unix:")
    Path(path).touch()
    try:
        assert second.run("ray.get(ref)").result == "1"
    finally:
        os.unlink(path)
    assert "has left the runtime" in second.run("%ray stop").stdout
    assert first.run("ray.get(ray.remote(len).remote('abc'))").result == "3"


def test_the_first_notebook_goes_and_the_second_is_told(kernels: tuple[Kernel, Kernel]) -> None:
    first, second = kernels
    second.run("@ray.remote(num_cpus=0)\ndef wait(): time.sleep(600)\nref = wait.remote()")
    waiting = second.start("ray.get(ref)")
    first.run("ray.shutdown()")
    waiting.wait()
    assert "RaySystemError" in waiting.error
    assert "the driver that started it" in waiting.error
    assert "wait (" in (said := second.run("%ray why ref").stdout), said
    assert "The runtime that this driver had joined is gone" in said
    assert "2 CPUs" in second.run("%ray start --num-cpus 2").stdout
    assert "belongs to another session" in second.run("%ray why ref").stdout
    assert second.run("ray.get(ray.remote(len).remote('abc'))").result == "3"
