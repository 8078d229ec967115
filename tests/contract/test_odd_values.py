"""Values that are right, though of another type than usual, and names that are unusual. Each was compared with Ray."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import enum
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray
from jupyter_ray._private.test_utils import run_string_as_driver_stdout_stderr
from jupyter_ray.util.placement_group import placement_group, remove_placement_group
from jupyter_ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

pytestmark = pytest.mark.usefixtures("cluster")

PATIENCE = 30.0


@ray.remote(num_cpus=0)
def one() -> int:
    """Return 1."""
    return 1


@pytest.mark.parametrize("index", [True, np.int64(1), 1.0, False])
def test_a_bundle_is_chosen_by_anything_that_is_a_whole_number(index: Any) -> None:
    """Ray hands it to C++. A truth value ended the session here: the runtime refused the message."""
    group = placement_group([{"CPU": 1}, {"CPU": 1}])
    try:
        assert group.wait(PATIENCE)
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
        assert ray.get(one.options(scheduling_strategy=strategy).remote(), timeout=PATIENCE) == 1
    finally:
        remove_placement_group(group)
    assert ray.get(one.remote(), timeout=PATIENCE) == 1


@pytest.mark.parametrize("index", ["1", 1j])
def test_a_bundle_that_is_no_number_is_a_type_error(index: Any) -> None:
    group = placement_group([{"CPU": 1}])
    try:
        assert group.wait(PATIENCE)
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
        with pytest.raises(TypeError):
            one.options(scheduling_strategy=strategy).remote()
    finally:
        remove_placement_group(group)


class Many(enum.IntEnum):
    """Numbers with names, as programs have them in their settings."""

    TWO = 2


class Count(int):
    """A number of a class of its own."""


def test_names_and_numbers_of_derived_classes() -> None:
    """NumPy's text is text of a class of its own: names out of an array could not be sent."""

    @ray.remote(num_cpus=0)
    class Actor:
        def name(self) -> str:
            return ray.get_runtime_context().get_actor_name() or ""

    names = np.array(["first of the odd", "second of the odd"])
    space = np.str_("odd namespace")
    options = {"max_concurrency": Many.TWO, "max_restarts": Count(1), "max_task_retries": Count(1)}
    actors = [Actor.options(name=name, namespace=space, **options).remote() for name in names]
    found = [ray.get_actor(name, namespace=space) for name in names]
    assert found == actors
    called = [actor.name.options(name=names[0], max_task_retries=Many.TWO) for actor in found]
    assert ray.get([call.remote() for call in called], timeout=PATIENCE) == names.tolist()
    task = one.options(name=names[1], max_retries=Count(2), num_cpus=np.float64(0.5))
    assert ray.get(task.remote(), timeout=PATIENCE) == 1


def test_none_says_nothing_of_a_method() -> None:
    """A wrapper hands on what it was given, at the definition and at the call."""

    @ray.remote(num_cpus=0, max_task_retries=3)
    class Counter:
        def __init__(self) -> None:
            self.calls = 0

        @ray.method(retry_exceptions=None)
        def once(self) -> None:
            self.calls += 1
            raise KeyError(self.calls)

        @ray.method(retry_exceptions=True)
        def again(self) -> int:
            self.calls += 1
            if self.calls < 3:
                raise KeyError(self.calls)
            return self.calls

        @ray.method(num_returns=2)
        def both(self) -> tuple[int, int]:
            return 1, 2

    counter = Counter.remote()
    assert ray.get(counter.both.options(num_returns=None).remote(), timeout=PATIENCE) == [1, 2]
    with pytest.raises(KeyError, match="1"):
        ray.get(counter.once.remote(), timeout=PATIENCE)
    assert ray.get(counter.again.options(retry_exceptions=None).remote(), timeout=PATIENCE) == 3


def test_options_are_those_that_were_written() -> None:
    """A program fills the same dict anew for each actor: what was made before keeps what it had then, as in Ray."""
    environment = {"env_vars": {"RANK": "0"}}

    @ray.remote(num_cpus=0, runtime_env=environment)
    def rank() -> str | None:
        return os.environ.get("RANK")

    @ray.remote(num_cpus=0)
    class Worker:
        def rank(self) -> str | None:
            return os.environ.get("RANK")

    ranked = []
    for number in range(1, 3):
        environment["env_vars"]["RANK"] = str(number)
        ranked.append(Worker.options(runtime_env=environment))
    workers = [each.remote() for each in ranked]
    calls = [rank.remote(), rank.options(num_cpus=0.5).remote(), *(worker.rank.remote() for worker in workers)]
    assert ray.get(calls, timeout=PATIENCE) == ["0", "0", "1", "2"]


@pytest.mark.local_only("Ray hands the name to C code, where it ends at the zero byte")
def test_a_name_with_a_zero_byte_ends_no_process() -> None:
    """The process's title cannot have one: the workers ended, one after the other."""

    @ray.remote(num_cpus=0)
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    assert ray.get(one.options(name="a\0b").remote(), timeout=PATIENCE) == 1
    actor = Actor.options(name="c\0d").remote()
    assert isinstance(ray.get(actor.pid.options(name="e\0f").remote(), timeout=PATIENCE), int)


HALF = "half \ud800 a character"
"""What is no text in UTF-8; `os.listdir` gives such names, too."""


@pytest.mark.local_only("what a Ray worker prints goes through a UTF-8 file")
def test_a_task_prints_what_is_no_text() -> None:
    """Its process ended, since the message could not be encoded, and so did those of its further attempts."""
    out, err = run_string_as_driver_stdout_stderr(
        textwrap.dedent(
            """
            import sys
            import jupyter_ray as ray

            ray.init(num_cpus=1)

            @ray.remote(max_retries=0)
            def shout(text):
                print("out", text)
                sys.stderr.write(f"err {text}\\n")
                return text

            assert ray.get(shout.remote("half \\ud800")) == "half \\ud800"
            """
        )
    )
    assert "out half \\ud800" in out
    assert "err half \\ud800" in err


@pytest.mark.local_only("the test's program starts a session of its own")
def test_lines_say_whose_they_are(tmp_path: Path) -> None:
    """A ``repr`` of several lines, as PyTorch's modules have, is told by its first, a thread by the task it is of."""
    program = textwrap.dedent(
        f"""
        import pathlib, threading, time
        import jupyter_ray as ray

        ray.init(num_cpus=1)
        go, done = pathlib.Path({str(tmp_path)!r}, "go"), pathlib.Path({str(tmp_path)!r}, "done")

        class Net:
            def __repr__(self):
                return "Net(\\n  (0): Linear\\n)"

            def forward(self):
                print("forward")

        @ray.remote
        def leaves_a_thread():
            def prints():
                wait_for(go)
                print("late", flush=True)
                done.touch()

            threading.Thread(target=prints, daemon=True).start()

        def wait_for(file):
            while not file.exists():
                time.sleep(0.01)

        ray.get(ray.remote(Net).remote().forward.remote())
        ray.get(leaves_a_thread.remote())
        go.touch()
        wait_for(done)
        """
    )
    out, _ = run_string_as_driver_stdout_stderr(program)
    assert re.search(r"^\(Net\( pid=\d+\) forward$", out, re.MULTILINE), out
    assert re.search(r"^\(leaves_a_thread pid=\d+\) late$", out, re.MULTILINE), out


@pytest.mark.local_only("Ray requires an actor's repr to be UTF-8")
def test_an_actor_is_called_what_is_no_text() -> None:
    @ray.remote(num_cpus=0)
    class Odd:
        def __repr__(self) -> str:
            return HALF

        def fail(self) -> None:
            raise KeyError(HALF)

        def one(self) -> int:
            return 1

    odd = Odd.remote()
    assert ray.get(odd.one.remote(), timeout=PATIENCE) == 1
    with pytest.raises(KeyError, match="half"):
        ray.get(odd.fail.remote(), timeout=PATIENCE)
    assert ray.get(odd.one.remote(), timeout=PATIENCE) == 1


@pytest.mark.local_only("Ray's messages require folder names to be text")
def test_folders_and_files_whose_names_are_no_text(tmp_path: Path) -> None:
    """The driver starts in such a folder, with another one in its import path, and hands its own on as working_dir."""
    folder = os.path.join(os.fsencode(tmp_path), b"folder \xff")
    os.mkdir(folder)
    with open(os.path.join(folder, b"file \xfe.txt"), "w") as file:
        file.write("found")
    program = textwrap.dedent(
        """
        import os, sys
        sys.path.append("/nowhere \\udcff")
        import jupyter_ray as ray

        ray.init(num_cpus=1, logging_level="error")

        @ray.remote
        def read():
            return open(b"file \\xfe.txt").read()

        print(ray.get([read.remote(), read.options(runtime_env={"working_dir": "."}).remote()]))
        """
    )
    script = os.path.join(folder, b"script \xfd.py")
    with open(script, "w") as file:
        file.write(program)
    ran = subprocess.run([os.fsencode(sys.executable), script], cwd=folder, capture_output=True, text=True)
    assert (ran.stdout, ran.returncode) == ("['found', 'found']\n", 0), ran.stderr
