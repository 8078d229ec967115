"""``cancel``: pending and running tasks, children, calls of actors."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray import exceptions
from jupyter_ray.engine import registry
from jupyter_ray.events import TaskCancelled, TaskFailed, TaskSubmitted
from jupyter_ray.ids import return_id
from tests.contract.helpers import PATIENCE, Log, eventually, is_running

pytestmark = pytest.mark.usefixtures("cluster")


@ray.remote
def sleep(path: str) -> None:
    """Note that it runs, sleep until something ends it, and note the end if there is time to."""
    import os
    import pathlib
    import time

    temporary = pathlib.Path(f"{path}.{os.getpid()}")
    temporary.write_text(str(os.getpid()))
    temporary.rename(path)
    try:
        while True:
            time.sleep(0.01)
    finally:
        os.unlink(path)


def test_a_pending_task_never_runs(tmp_path: Path) -> None:
    blockers = [sleep.remote(str(tmp_path / str(n))) for n in range(4)]
    eventually(lambda: all((tmp_path / str(n)).exists() for n in range(4)))
    pending = sleep.remote(str(tmp_path / "pending"))
    ray.cancel(pending)
    with pytest.raises(exceptions.TaskCancelledError) as raised:
        ray.get(pending, timeout=30)
    engine = registry.current()
    assert engine is not None
    told = raised.value.task_id
    assert told == pending.task_id() or (told is None and engine.name == "ray"), "Ray does not always say"
    for ref in blockers:
        ray.cancel(ref)
    for ref in blockers:
        with pytest.raises(exceptions.TaskCancelledError):
            ray.get(ref, timeout=30)
    assert not (tmp_path / "pending").exists()


def test_a_task_whose_argument_is_not_there_yet(tmp_path: Path) -> None:
    @ray.remote
    def use(x: Any) -> Any:
        return x

    blocker = sleep.remote(str(tmp_path / "a"))
    waiting = use.remote(blocker)
    ray.cancel(waiting)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(waiting, timeout=30)
    eventually((tmp_path / "a").exists)  # Ray loses a cancel that finds the process just beginning the task.
    ray.cancel(blocker)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(use.remote(blocker), timeout=30)


@pytest.mark.parametrize("force", [False, True])
def test_a_running_task(tmp_path: Path, force: bool) -> None:
    ref = sleep.remote(str(tmp_path / "a"))
    eventually((tmp_path / "a").exists)
    pid = int((tmp_path / "a").read_text())
    ray.cancel(ref, force=force)
    with pytest.raises((exceptions.TaskCancelledError, exceptions.WorkerCrashedError)):
        ray.get(ref, timeout=30)
    if force:
        eventually(lambda: not is_running(pid))


def test_a_soft_cancel_is_an_interrupt_in_the_task(tmp_path: Path) -> None:
    @ray.remote
    def tidy() -> None:
        try:
            (tmp_path / "began").touch()  # Not before: the interrupt may come right after it.
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            (tmp_path / "tidied").touch()
            raise

    ref = tidy.remote()
    eventually((tmp_path / "began").exists)
    ray.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(ref, timeout=30)
    eventually((tmp_path / "tidied").exists)


@pytest.mark.local_only("which process a task gets is Ray's choice")
def test_a_task_that_ignores_interrupts_leaves_later_ones_as_they_are(tmp_path: Path) -> None:
    @ray.remote(num_cpus=4)
    def ignore() -> int:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return os.getpid()

    pid = ray.get(ignore.remote())
    path = tmp_path / "running"
    ref = sleep.options(num_cpus=4).remote(str(path))
    eventually(path.exists)
    assert int(path.read_text()) == pid
    ray.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(ref, timeout=30)
    eventually(lambda: not path.exists())


def watched(catches: bool) -> str:
    """Take too long, as the call's own watchdog finds."""
    watchdog = threading.Timer(0.01, _thread.interrupt_main)
    try:
        watchdog.start()
        while True:
            time.sleep(0.01)
    except KeyboardInterrupt:
        if not catches:
            raise
        return "too long"


@ray.remote
class Watched:
    def call(self, catches: bool) -> str:
        return watched(catches)


@pytest.mark.parametrize("of_an_actor", [False, True], ids=["task", "method"])
def test_a_call_that_interrupts_itself(of_an_actor: bool) -> None:
    call: Any = Watched.remote().call if of_an_actor else ray.remote(watched)
    assert ray.get(call.remote(True), timeout=PATIENCE) == "too long"
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(call.remote(False), timeout=PATIENCE)
    assert ray.get(call.remote(True), timeout=PATIENCE) == "too long"


@pytest.mark.local_only("Ray goes on using the process")
def test_an_import_that_a_cancel_tore_is_begun_again_in_another_process(tmp_path: Path) -> None:
    """Many a C library, NumPy for one, refuses to be imported once more in the process where it was torn."""
    (tmp_path / "only_once.py").write_text(
        "import sys, time\n"
        "from pathlib import Path\n"
        "if hasattr(sys, 'only_once'):\n"
        "    raise ImportError('cannot load module more than once per process')\n"
        "sys.only_once = True\n"
        "here = Path(__file__).parent\n"
        "(here / 'began').touch()\n"
        "while not (here / 'go').exists():\n"
        "    time.sleep(0.01)\n"
    )

    @ray.remote(num_cpus=4)
    def load() -> str:
        sys.path.insert(0, str(tmp_path))
        import only_once  # type: ignore[import-not-found]

        return str(only_once.__name__)

    torn = load.remote()
    eventually((tmp_path / "began").exists)
    ray.cancel(torn)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(torn, timeout=PATIENCE)
    (tmp_path / "go").touch()
    assert ray.get(load.remote(), timeout=PATIENCE) == "only_once"


def test_a_task_that_waits_in_get(tmp_path: Path) -> None:
    child = sleep.remote(str(tmp_path / "child"))

    @ray.remote
    def wait(refs: list[Any]) -> None:
        (tmp_path / "parent").touch()
        ray.get(refs[0])

    parent = wait.remote([child])
    eventually((tmp_path / "parent").exists)
    ray.cancel(parent)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(parent, timeout=30)
    ray.cancel(child, force=True)


@pytest.mark.local_only("Ray 2.60 interrupts a cancelled task again where it waits for a second in get()")
def test_a_task_that_is_interrupted_may_call_others_to_clean_up(tmp_path: Path) -> None:
    path, cleaned = tmp_path / "runs", tmp_path / "cleaned"

    @ray.remote
    def clean() -> str:
        return "clean"

    @ray.remote
    def outer() -> None:
        try:
            path.touch()  # The interrupt may come at once.
            while True:
                time.sleep(0.01)
        except KeyboardInterrupt:
            cleaned.write_text(ray.get(clean.remote(), timeout=30))
            raise

    ref = outer.remote()
    eventually(path.exists)
    ray.cancel(ref)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(ref, timeout=30)
    eventually(lambda: cleaned.exists() and cleaned.read_text() == "clean")


@pytest.mark.local_only("Ray cancels only those children that the process has when the cancel arrives")
def test_children_that_begin_while_the_cancel_is_on_its_way(tmp_path: Path) -> None:
    """A task is cancelled in the midst of starting others: none of them is left."""

    @ray.remote
    def child(path: Path) -> None:
        path.touch()
        time.sleep(1000)

    @ray.remote
    def parent(path: Path) -> None:
        refs = [child.remote(path) for _ in range(10_000)]
        ray.get(refs)

    eventually(lambda: ray.available_resources().get("CPU") == 4)
    for attempt in range(3):
        path = tmp_path / str(attempt)
        ref = parent.remote(path)
        eventually(path.exists)
        ray.cancel(ref)
        with pytest.raises(exceptions.TaskCancelledError):
            ray.get(ref, timeout=30)
        eventually(lambda: ray.available_resources().get("CPU") == 4)  # Else one that waits would have taken it.


@pytest.mark.parametrize("recursive", [True, False])
def test_children(tmp_path: Path, recursive: bool) -> None:
    child = tmp_path / "child"

    @ray.remote
    def parent() -> None:
        ray.get(sleep.options(max_retries=0).remote(str(child)))

    with Log() as log:
        ref = parent.remote()
        eventually(child.exists)
        pid = int(child.read_text())
        ray.cancel(ref, recursive=recursive)
        with pytest.raises(exceptions.TaskCancelledError):
            ray.get(ref, timeout=30)
        (submitted,) = eventually(lambda: log.find(TaskSubmitted, parent=ref.task_id().hex()))
        if recursive:
            eventually(lambda: log.find(TaskCancelled, task=submitted.task))
            eventually(lambda: not child.exists())
        else:  # It lives until it is killed, and fails of that alone.
            assert child.exists()
            os.kill(pid, 9)
            eventually(lambda: log.find(TaskFailed, task=submitted.task))


def test_what_has_ended_stays_as_it_is() -> None:
    @ray.remote
    def f() -> int:
        return 1

    ref = f.remote()
    assert ray.get(ref) == 1
    ray.cancel(ref)
    ray.cancel(ref, force=True)
    assert ray.get(ref) == 1
    with pytest.raises(TypeError, match="only supported for object refs"):
        ray.cancel(1)


def test_what_is_just_ending() -> None:
    """A cancel that crosses the result on its way is one or the other, and nothing else."""

    @ray.remote
    def f() -> int:
        return 1

    assert ray.get(f.remote()) == 1
    for number in range(500):
        ref = f.remote()
        time.sleep(number % 50 * 0.0001)  # Not to wait for anything: the cancel comes at all moments.
        if number % 3 == 0:
            ray.wait([ref])
        ray.cancel(ref)
        with contextlib.suppress(exceptions.TaskCancelledError):
            assert ray.get(ref, timeout=PATIENCE) == 1
    assert ray.get(f.remote(), timeout=PATIENCE) == 1


@pytest.mark.not_through_client("Ray Client does not report that there is nothing to cancel")
def test_what_is_not_there_cannot_be_cancelled() -> None:
    for ref in (ray.ObjectRef.from_random(), ray.ObjectRef.nil()):
        with pytest.raises(TypeError, match="No owner found for"):
            ray.cancel(ref)


def test_what_put_stored_stays_as_it_is() -> None:
    @ray.remote
    def give() -> list[Any]:
        return [ray.put(2)]

    for ref, value in ((ray.put(1), 1), (ray.get(give.remote())[0], 2)):
        ray.cancel(ref)
        assert ray.get(ref) == value


def test_by_a_reference_that_was_made_by_hand(tmp_path: Path) -> None:
    ref = sleep.remote(str(tmp_path / "a"))
    eventually((tmp_path / "a").exists)
    ray.cancel(ray.ObjectRef(ref.binary()))
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(ref, timeout=30)


@pytest.mark.local_only("Ray cannot cancel a task that makes no object")
def test_a_task_that_makes_no_object(tmp_path: Path) -> None:
    name = "nobody waits for its values"
    with Log() as log:
        sleep.options(num_returns=0, name=name).remote(str(tmp_path / "a"))
        eventually((tmp_path / "a").exists)
        [submitted] = eventually(lambda: log.find(TaskSubmitted, name=name))
        object_id = return_id(bytes.fromhex(submitted.task), 1)
        ray.cancel(ray.ObjectRef(object_id))  # As the panel does.
        eventually(lambda: log.find(TaskCancelled, task=submitted.task))
    ray.cancel(ray.ObjectRef(object_id))  # It has ended.


def test_calls_of_an_actor(tmp_path: Path) -> None:
    @ray.remote
    class Slow:
        def run(self, name: str) -> bool:
            (tmp_path / name).touch()
            end = time.monotonic() + 60
            while not ray.get_runtime_context().is_canceled() and time.monotonic() < end:
                time.sleep(0.01)
            return True

        def quick(self) -> int:
            return 1

    slow = Slow.remote()
    running = slow.run.remote("running")
    queued = slow.run.remote("queued")
    eventually((tmp_path / "running").exists)
    with pytest.raises(ValueError, match="force"):
        ray.cancel(running, force=True)
    ray.cancel(queued)
    ray.cancel(running)
    for ref in (running, queued):
        with pytest.raises(exceptions.TaskCancelledError) as raised:
            ray.get(ref, timeout=30)
        assert not isinstance(raised.value, exceptions.RayTaskError), "neither of them raised anything"
    assert ray.get(slow.quick.remote(), timeout=30) == 1


def test_a_call_of_an_actor_that_hears_of_its_cancel_and_raises_has_its_own_error(tmp_path: Path) -> None:
    @ray.remote(max_task_retries=3)
    class Slow:
        @ray.method(retry_exceptions=True)
        def run(self) -> None:
            with (tmp_path / "runs").open("a") as runs:
                runs.write("x")
            eventually(ray.get_runtime_context().is_canceled)
            raise LookupError("heard")

    running = Slow.remote().run.remote()
    eventually((tmp_path / "runs").exists)
    ray.cancel(running)
    with pytest.raises(LookupError, match="heard"):
        ray.get(running, timeout=30)
    assert (tmp_path / "runs").read_text() == "x"


@pytest.mark.local_only("in Ray a queued call that was cancelled still begins when its turn comes, and ends then")
def test_a_queued_call_of_a_busy_actor(tmp_path: Path) -> None:
    @ray.remote
    class Busy:
        def run(self, name: str) -> None:
            (tmp_path / name).touch()
            eventually((tmp_path / "gate").exists)

    busy = Busy.remote()
    running, queued = busy.run.remote("running"), busy.run.remote("queued")
    ray.cancel(queued)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(queued, timeout=30)
    (tmp_path / "gate").touch()
    ray.get(running)
    assert not (tmp_path / "queued").exists()


def test_cancelled_tasks_are_not_retried(tmp_path: Path) -> None:
    ref = sleep.options(max_retries=5, retry_exceptions=True).remote(str(tmp_path / "a"))
    eventually((tmp_path / "a").exists)
    (tmp_path / "a").unlink()  # A killed task does not.
    ray.cancel(ref, force=True)
    with pytest.raises((exceptions.TaskCancelledError, exceptions.WorkerCrashedError)):
        ray.get(ref, timeout=30)
    assert not (tmp_path / "a").exists()


class _Producer:
    def numbers(self) -> Iterator[int]:
        yield from range(1_000_000_000)

    def ping(self) -> str:
        return "pong"


class _AsyncProducer(_Producer):
    async def numbers_too(self) -> AsyncIterator[int]:
        for number in range(1_000_000_000):
            yield number


@pytest.mark.parametrize(
    ("kind", "method"), [(_Producer, "numbers"), (_AsyncProducer, "numbers"), (_AsyncProducer, "numbers_too")]
)
def test_a_stream_of_a_method_ends_soon_after_its_cancel(kind: type, method: str) -> None:
    producer: Any = ray.remote(kind).remote()
    stream = getattr(producer, method).remote()
    assert ray.get(next(stream)) == 0
    ray.cancel(stream)
    with pytest.raises(exceptions.TaskCancelledError):
        deque(map(ray.get, stream), 0)
    assert ray.get(producer.ping.remote(), timeout=PATIENCE) == "pong"


@pytest.mark.local_only("Ray notices the cancel of such a call only when a thread takes it")
@pytest.mark.parametrize("groups", [{}, {"io": 2}])
def test_a_queued_call_of_a_threaded_actor(groups: dict[str, int], tmp_path: Path) -> None:
    class Threaded:
        def work(self, gate: str, note: str = "") -> None:
            while gate and not os.path.exists(gate):
                time.sleep(0.01)
            if note:
                Path(note).touch()

    made = ray.remote(max_concurrency=2, **({"concurrency_groups": groups} if groups else {}))(Threaded)
    actor = made.remote()
    work = actor.work.options(concurrency_group="io") if groups else actor.work
    ray.get([work.remote("") for _ in range(20)])  # Calls that are short are handed over before their turn.
    gate = tmp_path / "gate"
    running = [work.remote(str(gate)) for _ in range(2)]
    queued = [work.remote(str(gate), str(tmp_path / f"ran{index}")) for index in range(4)]
    for ref in queued:
        ray.cancel(ref)
    for ref in queued:
        with pytest.raises(exceptions.TaskCancelledError):
            ray.get(ref, timeout=PATIENCE)
    gate.touch()
    ray.get([*running, work.remote("")], timeout=PATIENCE)
    assert list(tmp_path.iterdir()) == [gate]


def test_a_stream_that_swallows_the_interrupt_does_not_look_complete() -> None:
    @ray.remote
    def count() -> Iterator[int]:
        for number in range(10_000):
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(0.02)
            yield number

    stream = count.remote()
    next(stream)
    ray.cancel(stream)
    with pytest.raises(exceptions.TaskCancelledError):
        ray.get(list(stream))
