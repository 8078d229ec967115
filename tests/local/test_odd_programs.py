"""Programs that lack what most have: standard streams, a working directory, an end in good order."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.local import launcher

PATH = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
"""So that a program finds what the tests find."""

PROGRAM = """
import sys
import jupyter_ray as ray
ray.init(num_cpus=1)
answer = ray.get(ray.remote(lambda: 7).remote(), timeout=60)
ray.shutdown()
sys.exit(answer)
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_program_without_standard_streams(closed: str) -> None:
    command = f'exec "$0" -c "$1" {closed}'
    ran = subprocess.run(["sh", "-c", command, sys.executable, PROGRAM], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 7, ran.stderr


def test_a_program_whose_folder_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": PATH, "TMPDIR": "/tmp"}
    if sys.version_info[:3] == (3, 13, 0):  # With a path of "" it cannot even `import socket` there; 3.13.1 can.
        environment["PYTHONSAFEPATH"] = "1"
    command = 'rmdir "$2" && exec "$0" -c "$1"'
    ran = subprocess.run(
        ["sh", "-c", command, sys.executable, PROGRAM, str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 7, ran.stderr


OVER_AT_ONCE = """
import time
import jupyter_ray as ray
from jupyter_ray.local.client.events import EventStream

asks = EventStream._ask

def asks_late(stream):
    time.sleep(0.5)  # As on a busy machine: the program is over by then.
    asks(stream)

EventStream._ask = asks_late
ray.init(num_cpus=1)
ray.get(ray.remote(print).remote("printed"))
"""


def test_what_tasks_have_printed_is_shown_though_the_program_is_over_at_once() -> None:
    """The runtime had not been asked for it yet when it was told that the session ends: nothing was shown."""
    environment = {**os.environ, "PYTHONPATH": PATH}
    ran = subprocess.run(
        [sys.executable, "-c", OVER_AT_ONCE], env=environment, capture_output=True, text=True, timeout=120
    )
    assert ran.stdout.endswith("printed\n"), ran.stderr


OUTLIVES = """
import ctypes
import sys
import jupyter_ray as ray
from jupyter_ray.util.queue import Queue

@ray.remote
class Counter:
    def increment(self):
        yield 1

def main():
    ray.init(num_cpus=1, logging_level="ERROR")
    counter = Counter.remote()
    stream = counter.increment.options(num_returns="streaming").remote()
    return [ray.put(1), counter, stream, next(stream), Queue(), ray.util.placement_group([{"CPU": 1}])]

kept = main()
ctypes.pythonapi.Py_IncRef(ctypes.py_object(sys.modules["__main__"]))  # As some libraries do, PyTorch for one.
"""


def test_what_a_program_keeps_to_the_very_end_is_let_go_of_in_silence() -> None:
    """Its finalizers run when the modules that they use have been taken apart."""
    environment = {**os.environ, "PYTHONPATH": PATH}
    command = [sys.executable, "-c", OUTLIVES]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")


LATE = """
import jupyter_ray as ray

@ray.remote
class Counter:
    def increment(self):
        return 1

class Owner:
    def __init__(self):
        self.counter = Counter.remote()

    def __del__(self):
        print(ray.is_initialized())
        count = self.counter.increment
        for use in (lambda: ray.kill(self.counter), lambda: ray.get(count.remote()), lambda: ray.put(1)):
            try:
                use()
            except ray.exceptions.RaySystemError as error:
                print("not been started" in str(error))

ray.init(num_cpus=1, logging_level="ERROR")
owner = Owner()
"""


def test_what_an_object_does_when_the_interpreter_ends_starts_no_session() -> None:
    """Its ``__del__`` may use names that the program has not used before: nothing can be imported any more."""
    environment = {**os.environ, "PYTHONPATH": PATH}
    ran = subprocess.run([sys.executable, "-c", LATE], env=environment, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout.split(), ran.stderr) == (0, ["False", "True", "True", "True"], "")


def test_a_runtime_that_cannot_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher, "_CODE", "raise SystemExit('no luck today')")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:  # pytest's are too long for a socket's path.
        monkeypatch.setenv("RAY_TMPDIR", folder)
        with pytest.raises(RaySystemError, match="no luck today"):
            ray.init(num_cpus=1)
        assert not os.listdir(folder)


def test_a_session_that_did_not_begin_counts_no_references(monkeypatch: pytest.MonkeyPatch) -> None:
    def announce(*_: object) -> None:
        raise OSError("no luck at the last step")

    monkeypatch.setattr("jupyter_ray.local.engine.session.announce", announce)
    with pytest.raises(OSError, match="the last step"):
        ray.init(num_cpus=1)
    one: ray.ObjectRef[int] = ray.ObjectRef(b"1" * 28)
    other: ray.ObjectRef[int] = ray.ObjectRef(b"1" * 28)
    assert one is not other, "as in a process that has no session"


LIBRARY = """
import ray
import ray.exceptions
from ray.actor import ActorHandle
from ray.util.queue import Empty, Queue

class Died(Exception):
    pass

@ray.remote
class Worker:
    def leave(self):
        ray.actor.exit_actor()

    def take(self, queue):
        try:
            return queue.get(timeout=0.01)
        except Empty:
            return ray.get(ray.put("empty"))

def check():
    worker = Worker.remote()
    assert isinstance(worker, ActorHandle)
    print(ray.get(worker.take.remote(Queue())))
    try:
        ray.get(worker.leave.remote())
    except ray.exceptions.RayActorError as error:
        print(type(error).__name__)

@ray.remote
def nested():
    check()
"""

NAMED = """
import sys
import jupyter_ray
sys.modules["ray"] = jupyter_ray
import library
import ray.util
assert ray.util is jupyter_ray.util is sys.modules["jupyter_ray.util"]
assert ray.util.__spec__.name == "jupyter_ray.util"
import ray.util.placement_group
from ray.util.placement_group import get_current_placement_group
assert ray.util.placement_group is jupyter_ray.util.placement_group and callable(ray.util.placement_group)
library.ray.init(num_cpus=3, logging_level="ERROR", log_to_driver=False)
library.check()
library.ray.get(library.nested.remote())
try:
    import ray.tune
except ModuleNotFoundError as error:
    print(error.name)
try:
    jupyter_ray.init(address="127.0.0.1:1", ignore_reinit_error=False)
except RuntimeError:
    jupyter_ray.shutdown()
try:
    jupyter_ray.init(address="127.0.0.1:1")
except ConnectionError as error:
    print("sys.modules['ray'] is this package" in str(error))
"""


def test_a_library_that_imports_ray_gets_this_package(tmp_path: Path) -> None:
    """With its modules as they are: its errors are caught by Ray's names, in the workers too."""
    (tmp_path / "library.py").write_text(LIBRARY)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), PATH])}
    ran = subprocess.run([sys.executable, "-c", NAMED], env=environment, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["empty", "ActorDiedError", "ray.tune", "True"]


POOLS = """
import concurrent.futures, multiprocessing, os, sys
import jupyter_ray as ray

class Point:
    def __init__(self, x):
        self.x = x

def double(point):
    return Point(2 * point.x), os.getpid()

def spread(kind):
    context = multiprocessing.get_context(kind)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        (point, pid), = executor.map(double, [Point(2)])
    assert type(point) is Point and pid != os.getpid()
    with context.Pool(1) as pool:
        return point.x + pool.map(double, [Point(1)])[0][0].x

if __name__ == "__main__":
    ray.init(num_cpus=1)
    print([ray.get(ray.remote(spread).remote(kind)) for kind in ("fork", "spawn", "forkserver")])
"""


def test_a_task_gives_the_programs_own_functions_to_processes_that_it_starts() -> None:
    ran = subprocess.run([sys.executable, "-c", POOLS], capture_output=True, text=True, timeout=120)
    assert (ran.stdout, ran.returncode) == ("[6, 6, 6]\n", 0), ran.stderr


PICKLES = """
import pickle
import sys
import jupyter_ray as ray

class Net:
    def __init__(self, weight):
        self.weight = weight

class Unused:
    pass

def helper(x):
    return x + 1

@ray.remote
def save():
    return pickle.dumps((Net(3), helper))

@ray.remote
def weight_of(data):
    net = pickle.loads(data)
    return net.weight, isinstance(net, Net)

@ray.remote
def load(data):
    return pickle.loads(data)

@ray.remote
class Trainer:
    def __init__(self):
        self.net = Net(4)

    def save(self):
        return pickle.dumps(self.net)

net, function = pickle.loads(ray.get(save.remote()))
assert type(net) is Net and net.weight == 3 and function is helper
assert ray.get(weight_of.remote(pickle.dumps(Net(5)))) == (5, True)
assert pickle.loads(ray.get(Trainer.remote().save.remote())).weight == 4

# By value, too, what is this program's comes back as that, unless it was defined anew.
old = ray.remote(lambda: helper).remote()
assert ray.get(old) is helper
helper_before = helper
def helper(x):
    return x + 2
found = ray.get(ray.remote(lambda: helper_before).remote())
assert found is not helper and found(1) == 2 and helper(1) == 3
try:
    ray.get(load.remote(pickle.dumps(Unused())))
except AttributeError as error:
    assert "name Unused in it" in str(error), error
else:
    sys.exit("it was loaded")
"""


def test_what_a_program_defines_can_be_pickled_by_its_name_in_tasks() -> None:
    """As `pickle.dump`, `torch.save` and joblib do: in Ray, attribute lookup Net on __main__ failed."""
    ran = subprocess.run([sys.executable, "-c", PICKLES], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
