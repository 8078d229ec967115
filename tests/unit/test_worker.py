"""A real worker process, with a runtime that does what the test says."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jupyter_ray import exceptions
from jupyter_ray.config import session_folder, shared_memory_folder
from jupyter_ray.engine.base import Definition
from jupyter_ray.ids import IdSource
from jupyter_ray.local.definitions import Exporter
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol.codec import encode_body
from jupyter_ray.local.serialization import errors, values
from jupyter_ray.local.serialization.arguments import pack_call
from jupyter_ray.local.store import payloads
from jupyter_ray.local.store.segments import SegmentStore
from jupyter_ray.local.worker.setup import WorkerSetup
from tests.fake_runtime import PATIENCE, FakeRuntime

WORKER = b"worker--testtest"
_CODE = """
import sys, msgspec
from jupyter_ray.local.worker.main import main
from jupyter_ray.local.worker.setup import WorkerSetup
main(msgspec.json.decode(sys.argv[1], type=WorkerSetup))
"""


class Worker:
    """A worker process and its runtime."""

    def __init__(self, environ: dict[str, str]) -> None:
        session = uuid.uuid4().hex[:12]
        self.folders = session_folder(session), shared_memory_folder(session)
        for folder in self.folders:
            folder.mkdir(mode=0o700)
        address = str(self.folders[0] / "runtime.sock")
        setup = WorkerSetup(
            socket=address,
            session=session,
            worker=WORKER,
            sys_path=sys.path,
            cwd=os.getcwd(),
            environ={**os.environ, **environ},
            namespace="ns",
            job=b"j" * 4,
            node=b"n" * 28,
        )
        self.store = SegmentStore(self.folders[1], b"d" * 16)
        self.exports: list[m.Export] = []
        self.exporter = Exporter(self.exports.append)
        self.ids = IdSource(b"\1" * 4)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CODE, msgspec.json.encode(setup).decode()], start_new_session=True
            )
            listener.settimeout(PATIENCE)
            connection, _ = listener.accept()
        self.runtime = FakeRuntime(connection)
        assert self.runtime.expect(m.Hello).client == WORKER

    def execute(self, function: Any, *args: Any, options: dict[str, Any] | None = None, **fields: Any) -> bytes:
        """Have it run `function`; return the task's id."""
        self.exports.clear()
        method = ""
        if isinstance(function, str):
            method, definition = function, Definition(value=None, name="")
            fields.setdefault("kind", "method")
        else:
            definition = Definition(value=function, name=function.__name__)
            self.exporter.ensure(definition)
        serialized, _ = pack_call(args, {}, lambda: function, definition.name)
        packed = None if serialized is None else payloads.pack(serialized, self.store)
        body = m.Body(function=definition.name, method=method, args=packed, **(options or {}))
        task = self.ids.task()
        message = m.Execute(
            **{
                "task": task,
                "kind": "task",
                "name": definition.name or method,
                "body": encode_body(body),
                "definition": definition.id,
                "values": [],
                "num_returns": 1,
                "functions": [m.Function(each.definition, each.version, each.blob) for each in self.exports],
                "held": {"CPU": 10_000},
                **fields,
            }
        )
        self.runtime.say(message)
        return task

    def become(self, kind: type, *args: Any, **spec: Any) -> m.Done:
        """Have it become an actor."""
        creation = m.TaskSpec(b"", "actor", "", b"")
        actor = m.ActorSpec(
            **{"actor": b"a" * 16, "creation": creation, "class_name": kind.__name__, "handle": b"", **spec}
        )
        self.execute(kind, *args, kind="actor", spec=actor, num_returns=0, actor=b"a" * 16)
        return self.runtime.expect(m.Done)

    def done(self, task: bytes) -> m.Done:
        """Wait for the report of a task."""
        done = self.runtime.expect(m.Done)
        assert done.task == task
        return done

    def value(self, function: Any, *args: Any, **fields: Any) -> Any:
        """Run `function` and return what it returned; raise what it raised."""
        return self.unpack(self.done(self.execute(function, *args, **fields)))

    def unpack(self, done: m.Done) -> Any:
        if done.failed:
            raise payloads.unpack_error(done.returns[0], self.store)
        return payloads.unpack(done.returns[0], self.store) if done.returns else None

    def close(self) -> None:
        self.runtime.close()
        self.process.wait(PATIENCE)
        assert not any(folder.exists() for folder in self.folders)  # The last one cleans up.


@pytest.fixture
def start() -> Iterator[Callable[..., Worker]]:
    workers: list[Worker] = []

    def make(**environ: str) -> Worker:
        workers.append(Worker(environ))
        return workers[-1]

    yield make
    for worker in workers:
        if worker.process.poll() is None:
            worker.close()
        else:
            worker.runtime.close()
            for folder in worker.folders:
                subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.fixture
def worker(start: Callable[..., Worker]) -> Worker:
    return start()


def test_it_runs_tasks(worker: Worker) -> None:
    assert worker.value(lambda: 1) == 1
    assert worker.value(lambda x, y: [x, y], 1, "a") == [1, "a"]
    done = worker.done(worker.execute(lambda: (1, 2), num_returns=2))
    assert [payloads.unpack(each, worker.store) for each in done.returns] == [1, 2]
    assert worker.done(worker.execute(lambda: None, num_returns=0)).returns == ()


@pytest.mark.parametrize(("result", "error"), [((1,), ValueError), ((1, 2, 3), ValueError), (5, TypeError)])
def test_the_number_of_values_is_checked(worker: Worker, result: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="num_returns=2"):
        worker.value(lambda: result, num_returns=2)


def test_errors(worker: Worker) -> None:
    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        worker.value(fails)
    assert isinstance(caught.value, exceptions.RayTaskError)
    text = str(caught.value)
    assert "in fails" in text
    assert "jupyter_ray/local" not in text


@pytest.mark.parametrize(
    ("retry_on", "retry"), [(b"", False), ((KeyError,), True), ((ValueError,), False), ((Exception,), True)]
)
def test_which_errors_may_be_retried(worker: Worker, retry_on: Any, retry: bool) -> None:
    def fails() -> None:
        raise KeyError("x")

    options = {"retry_on": retry_on and pickle.dumps(retry_on)}
    assert worker.done(worker.execute(fails, options=options)).retry is retry


def test_a_return_value_that_cannot_be_pickled(worker: Worker) -> None:
    def returns() -> Any:
        return {"lock": threading.Lock()}

    with pytest.raises(TypeError, match=r"return value of returns: value\['lock'\]"):
        worker.value(returns)


def test_what_it_prints_comes_before_its_result(worker: Worker) -> None:
    def prints() -> None:
        print("python")
        print("error", file=sys.stderr)
        os.write(1, b"descriptor\n")
        subprocess.run(["echo", "child"], check=True)
        libc = __import__("ctypes").CDLL(None)
        libc.printf(b"C\n")

    worker.value(lambda: None)
    task = worker.execute(prints, cell="cell 7")
    text = {"stdout": "", "stderr": ""}
    while not isinstance(message := worker.runtime.messages.get(timeout=PATIENCE), m.Done):
        assert isinstance(message, m.Log)
        assert (message.task, message.name, message.cell) == (task, "prints", "cell 7")
        text[message.stream] += message.text
    assert sorted(text["stdout"].split()) == ["C", "child", "descriptor", "python"]
    assert text["stderr"] == "error\n"


def test_a_character_may_come_in_pieces(worker: Worker) -> None:
    def prints() -> None:
        import fcntl
        import termios

        for part in "é".encode():
            os.write(1, bytes([part]))
            while fcntl.ioctl(1, termios.FIONREAD, b"    ") != bytes(4):  # Until it has been read.
                time.sleep(0.001)
            sys.stderr.buffer.write(bytes([part]))
            sys.stderr.flush()

    worker.value(lambda: None)
    worker.execute(prints)
    text = {"stdout": "", "stderr": ""}
    while not isinstance(message := worker.runtime.messages.get(timeout=PATIENCE), m.Done):
        assert isinstance(message, m.Log)
        text[message.stream] += message.text
    assert text == {"stdout": "é", "stderr": "é"}


def test_a_flood_is_sent_in_large_pieces(worker: Worker) -> None:
    def flood() -> None:
        for number in range(100_000):
            print("line", number)

    worker.execute(flood)
    logs = []
    while not isinstance(message := worker.runtime.messages.get(timeout=PATIENCE), m.Done):
        logs.append(message)
    assert "".join(log.text for log in logs) == "".join(f"line {number}\n" for number in range(100_000))
    assert len(logs) < 200


# --- buffers ---


def test_arguments_are_read_only_unless_asked(worker: Worker) -> None:
    def writes(a: Any) -> Any:
        a[0] = 9
        return a

    with pytest.raises(TypeError, match=r"(?s)does not support item assignment"):
        worker.value(writes, bytearray(b"abc"))
    assert worker.value(writes, bytearray(b"abc"), options={"writable": ["a"]}) == bytearray(b"\x09bc")
    import numpy as np

    for size in (3, 50_000):
        with pytest.raises(ValueError, match=r"(?s)read-only.*writable=\['x'\]"):
            worker.value(writes, np.zeros(size))
        assert worker.value(writes, np.zeros(size), options={"writable": True})[0] == 9


def test_inout(worker: Worker) -> None:
    def fills(n: int, result: Any) -> Any:
        result[:] = bytes([n]) * len(result)
        return n or None

    assert worker.value(fills, 7, bytearray(2), options={"inout": ["result"]}) == (7, bytearray(b"\x07\x07"))
    assert worker.value(fills, 0, bytearray(b"ab"), options={"inout": [1]}) == bytearray(2)
    with pytest.raises(ValueError, match=r"'other'.*'n', 'result'"):
        worker.value(fills, 0, bytearray(2), options={"inout": ["other"]})


# --- interrupts, waiting, leaving ---


def test_a_running_task_is_interrupted(worker: Worker, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    def sleeps() -> None:
        begun.touch()
        time.sleep(1000)

    for _ in range(3):
        task = worker.execute(sleeps)
        while not begun.exists():
            time.sleep(0.01)
        begun.unlink()
        worker.runtime.say(m.Interrupt(task))
        assert worker.runtime.expect(m.Interrupted).task == task
        done = worker.done(task)
        assert done.cancelled
        assert isinstance(errors.load_error(done.returns[0].data), exceptions.TaskCancelledError)
    assert worker.value(lambda: 1) == 1


def test_waiting_gives_back_what_has_not_begun(worker: Worker) -> None:
    def waits() -> Any:
        from jupyter_ray.engine import registry
        from jupyter_ray.engine.refs import ObjectRef

        return registry.required().get([ObjectRef(b"o" * 28)], None)

    first = worker.execute(lambda: time.sleep(0.3))
    waiting = worker.execute(waits)
    behind = worker.execute(lambda: 1)
    worker.done(first)
    assert worker.runtime.expect(m.Returned).tasks == [behind]
    asked = worker.runtime.expect(m.Get)
    assert asked.task == waiting
    bounced = worker.execute(lambda: 2)
    assert worker.runtime.expect(m.Returned).tasks == [bounced]
    worker.runtime.say(m.Reply(asked.request, [b"o" * 28], [payloads.pack(values.dumps("x"), worker.store)]))
    assert worker.unpack(worker.done(waiting)) == ["x"]
    assert worker.value(lambda: 3) == 3


def test_recall_and_cancel_of_what_has_not_begun(worker: Worker) -> None:
    first = worker.execute(lambda: time.sleep(0.3))
    second = worker.execute(lambda: 1)
    third = worker.execute(lambda: 2)
    worker.runtime.say(m.Interrupt(third))
    assert worker.done(third).cancelled
    worker.runtime.say(m.Recall())
    assert worker.runtime.expect(m.Returned).tasks == [second]
    worker.done(first)


def test_it_leaves_when_told(worker: Worker) -> None:
    task = worker.execute(lambda: time.sleep(0.1))
    worker.runtime.say(m.Exit("enough"))
    worker.done(task)
    assert worker.process.wait(PATIENCE) == 0


def test_it_leaves_after_max_calls(worker: Worker) -> None:
    assert worker.done(worker.execute(lambda: 1, options={"max_calls": 1})).exiting
    assert worker.process.wait(PATIENCE) == 0


def test_sys_exit_ends_the_process(worker: Worker) -> None:
    done = worker.done(worker.execute(lambda: sys.exit(3)))
    assert done.exiting
    with pytest.raises(exceptions.WorkerCrashedError, match=r"sys\.exit\(3\)"):
        worker.unpack(done)
    worker.process.wait(PATIENCE)


def test_it_dies_with_its_runtime(worker: Worker) -> None:
    worker.execute(lambda: time.sleep(1000))
    worker.close()
    assert worker.process.returncode in (1, -signal.SIGKILL)


def test_devices_and_threads(start: Callable[..., Worker]) -> None:
    def look() -> tuple[str | None, str | None]:
        return os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("OMP_NUM_THREADS")

    os.environ.pop("OMP_NUM_THREADS", None)
    worker = start()
    assert worker.value(look, held={"CPU": 35_000}) == (None, "3")
    assert worker.value(look, held={}, devices={"GPU": ["1", "3"]}) == ("1,3", "1")
    assert start(OMP_NUM_THREADS="7").value(look) == (None, "7")


# --- streams ---


def test_a_stream_waits_for_its_reader(worker: Worker) -> None:
    def items() -> Iterator[int]:
        yield from range(5)

    task = worker.execute(items, num_returns=m.STREAMING, options={"backpressure": 2})
    got = [worker.runtime.expect(m.Item) for _ in range(2)]
    asked = worker.runtime.expect(m.AwaitRead)
    assert (asked.task, asked.index) == (task, 1)
    worker.runtime.say(m.Consume(task, 1), m.Reply(asked.request, [], []))
    got.append(worker.runtime.expect(m.Item))
    asked = worker.runtime.expect(m.AwaitRead)
    assert asked.index == 2
    worker.runtime.say(m.Consume(task, -1), m.Reply(asked.request, [], []))
    assert not worker.done(task).failed
    assert [(item.index, payloads.unpack(item.payload, worker.store)) for item in got] == [(1, 0), (2, 1), (3, 2)]


def test_a_stream_that_fails(worker: Worker) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("x")

    task = worker.execute(items, num_returns=m.STREAMING)
    worker.runtime.expect(m.Item)
    with pytest.raises(KeyError):
        worker.unpack(worker.done(task))


# --- actors ---


class Counter:
    def __init__(self, start: int = 0) -> None:
        if start < 0:
            raise ValueError("negative")
        self.n = start

    def increment(self, by: int = 1) -> int:
        self.n += by
        return self.n

    def leave(self) -> None:
        from jupyter_ray.engine.context import ActorExit

        raise ActorExit

    def meet(self, path: str) -> str:
        Path(path, threading.current_thread().name.replace(" ", "")).touch()
        while len(os.listdir(path)) < 2:
            time.sleep(0.01)
        return threading.current_thread().name


class Async:
    def __init__(self) -> None:
        import asyncio

        self.event = asyncio.Event()

    async def wait(self) -> str:
        await self.event.wait()
        return "set"

    def set(self) -> None:
        self.event.set()

    async def forever(self) -> None:
        import asyncio

        await asyncio.sleep(1000)

    async def items(self) -> Any:
        for number in range(3):
            yield number


def test_an_actor(worker: Worker) -> None:
    assert not worker.become(Counter, 5).failed
    assert [worker.value("increment", actor=b"a" * 16) for _ in range(3)] == [6, 7, 8]
    assert worker.value("__ray_ready__") is True
    assert worker.value("__ray_call__", lambda self, x: self.n + x, 1) == 9
    assert worker.value("increment", 2) == 10


def test_a_constructor_that_raises(worker: Worker) -> None:
    done = worker.become(Counter, -1)
    with pytest.raises(exceptions.ActorDiedError, match=r"(?s)creation task.*ValueError: negative") as caught:
        worker.unpack(done)
    assert caught.value.actor_init_failed


@pytest.mark.parametrize("method", ["leave", "__ray_terminate__"])
def test_an_actor_leaves(worker: Worker, method: str) -> None:
    worker.become(Counter)
    call = worker.execute(method)
    assert worker.runtime.expect(m.Leave).reason
    done = worker.done(call)
    assert done.exiting
    with pytest.raises(exceptions.ActorDiedError):
        worker.unpack(done)
    assert worker.process.wait(PATIENCE) == 0


def test_a_threaded_actor(worker: Worker, tmp_path: Path) -> None:
    worker.become(Counter, max_concurrency=1, concurrency_groups={"io": 2})
    tasks = {worker.execute("meet", str(tmp_path), concurrency_group="io") for _ in range(2)}
    assert {worker.runtime.expect(m.Done).task for _ in tasks} == tasks
    assert worker.value("increment") == 1


def test_an_async_actor(worker: Worker) -> None:
    worker.become(Async, is_async=True, max_concurrency=1000)
    waiting = {worker.execute("wait") for _ in range(100)}
    worker.execute("set")
    done = [worker.runtime.expect(m.Done) for _ in range(101)]
    assert waiting < {each.task for each in done}
    stream = worker.execute("items", num_returns=m.STREAMING)
    assert [worker.runtime.expect(m.Item).index for _ in range(3)] == [1, 2, 3]
    worker.done(stream)
    task = worker.execute("forever")
    worker.runtime.say(m.Interrupt(task))
    assert worker.done(task).cancelled
    worker.runtime.say(m.Exit("enough"))
    assert worker.process.wait(PATIENCE) == 0
