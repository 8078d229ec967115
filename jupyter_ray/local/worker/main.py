"""The worker process.

 thread that reads ── Execute ──► Backlog ──► main thread: runs tasks in order, or an actor's calls
        │                                      (a threaded actor: pools; an async one: the event loop)
        └─ Interrupt, Recall, Exit, Consume, Undefine, SearchPath: acted on there

The main thread reads while it has nothing to run or waits for a value, the reader thread while it runs. The main thread
owns user code. When it is about to wait for a value, what has not begun is given back to the runtime,
since it may be just what it waits for.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import gc
import inspect
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from jupyter_ray.config import (
    DISK_SHARE,
    LOG_INTERVAL,
    crash_report,
    session_folder,
    shared_memory_folder,
    spill_folder,
)
from jupyter_ray.engine import log_format, registry
from jupyter_ray.engine.context import DETACHED_ACTORS, THIS_NODE, ProcessContext
from jupyter_ray.engine.own_class import know_itself
from jupyter_ray.exceptions import RaySystemError, RuntimeEnvSetupError, TaskCancelledError
from jupyter_ray.ids import TaskID
from jupyter_ray.local.client.client import Client
from jupyter_ray.local.client.routes import door_of
from jupyter_ray.local.engine import environment
from jupyter_ray.local.engine.local import LocalEngine
from jupyter_ray.local.launcher import is_stopped
from jupyter_ray.local.protocol import messages as m
from jupyter_ray.local.protocol.codec import decode_body
from jupyter_ray.local.search_path import follow
from jupyter_ray.local.serialization import main_names
from jupyter_ray.local.store.segments import SegmentStore
from jupyter_ray.local.worker import calling, forks, process
from jupyter_ray.local.worker.actors import AsyncActor, ThreadedActor, method_of
from jupyter_ray.local.worker.backlog import Backlog
from jupyter_ray.local.worker.code import Code
from jupyter_ray.local.worker.door import Door
from jupyter_ray.local.worker.interrupts import Interrupts
from jupyter_ray.local.worker.output import Output
from jupyter_ray.local.worker.producing import Budget
from jupyter_ray.local.worker.running import Function, Runner
from jupyter_ray.local.worker.setup import WorkerSetup as WorkerSetup
from jupyter_ray.resources import GPU, VISIBLE, amounts


def main(setup: WorkerSetup) -> None:
    """Be a worker until the runtime says otherwise. Called in the forked child; does not return."""
    process.die_with_parent()
    process.lead_group()
    process.expendable()
    session_folder(setup.session, str(Path(setup.socket).parents[1]))  # Whatever the environment is about to become.
    fallback = os.dup(2)  # The runtime's log: for what is said before and after the session.
    try:
        env = process.dress(setup)
        process.be_nice()
        faulthandler.enable(process.created(crash_report(setup.session, setup.worker)), all_threads=False)
        worker = Worker(setup, env)
        worker.start()
        worker.serve()
    except RaySystemError:  # The runtime is gone.
        process.end_with_runtime(setup.session, setup.socket)
    except BaseException:
        import traceback

        os.write(fallback, traceback.format_exc().encode())
        os._exit(1)
    worker.leave(0)


class _Waiting:
    """What happens around a wait of a task: what it printed goes before what its children print."""

    def __init__(self, backlog: Backlog, output: Output) -> None:
        self._output = output
        self._begin, self.end = backlog.begin, backlog.end

    def begin(self) -> None:
        """A task is about to wait."""
        self._output.flush()
        self._begin()


class Worker:
    """One worker process: the parts, and what each message does to them."""

    def __init__(self, setup: WorkerSetup, env: dict[str, Any]) -> None:
        self._setup = setup
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(setup.socket)
        self.backlog = Backlog(
            lambda tasks: self.client.send(m.Returned(tasks), soon=False),
            lambda execute: self.runner.let_go(execute),
            lambda done: self.client.read_until(done),
        )
        self.interrupts = Interrupts()
        self.client = Client(
            connection,
            SegmentStore(shared_memory_folder(setup.session), setup.worker, spill_folder(setup.session)),
            {
                m.Execute: self._on_execute,
                m.Interrupt: self._on_interrupt,
                m.Recall: lambda message: self.backlog.recall(),
                m.Undefine: lambda message: self.library.forget(message.definitions, self.backlog.withdraw),
                m.SearchPath: lambda message: follow(message.before, message.after),
                m.Exit: lambda message: self.backlog.put_end(),
                m.Consume: lambda message: self.runner.producers.heard(message.task, message.index),
                m.Shut: lambda message: self.door.shut(),
            },
            on_death=lambda reason: process.end_with_runtime(setup.session, setup.socket),
            chores={"logs": (LOG_INTERVAL, lambda: self.output.flush())},
            folder=session_folder(setup.session),
        )
        self.client.is_stopped = lambda: is_stopped(int(setup.environ["RAY_RAYLET_PID"]))
        self.door = Door(
            door_of(session_folder(setup.session), setup.worker), setup.worker, self.client, self.backlog.put
        )
        self.output = Output(self._print, lambda: self.client.want("logs"))
        self.client.blocking = _Waiting(self.backlog, self.output)
        self.client.before_call = self.output.flush
        self.client.store.disk_share = float(setup.environ.get(DISK_SHARE, 1))
        node_name, labels = json.loads(setup.environ.get(THIS_NODE, '["", {}]'))
        self.process = ProcessContext(
            job=setup.job,
            node=setup.node,
            worker=setup.worker + b"\0" * 12,  # Ray's worker ids have 28 bytes.
            is_driver=False,
            namespace=setup.namespace,
            session=setup.session,
            runtime_env=env or None,
            detached_actors=DETACHED_ACTORS in setup.environ,
            node_name=node_name,
            labels=labels,
            preset_gpus=VISIBLE[GPU] in setup.environ,
        )
        self.engine = LocalEngine(self.client, self.process, total=setup.total, guest=setup.guest)
        self.library = self.engine.library
        self.library.leaving = self.client.add_chore("definitions", 0.005, self.library.release)
        self.runner = Runner(self.client, self.engine, self.output, self.interrupts, self._answer)
        self.runner.quit = self.leave
        self.devices = process.Devices()
        self.code = Code(self.engine, lambda task: self.door.version(task))
        self._main: m.Execute | None = None
        self._host: ThreadedActor | AsyncActor | None = None
        """Runs the calls of a concurrent actor."""
        self._leaving = threading.Lock()
        self._terminated = False
        """SIGTERM has come: the process ends by it when the calls that run have ended."""

    def start(self) -> None:
        """Take over the process, and say hello."""
        self.interrupts.install()
        self.interrupts.reached = self._reached
        self.output.main_task = self._main_context
        self.output.push = self.client.flush
        self.output.capture()
        forks.prepare(self.client, self.output)
        process.before_exit(self.runner.flush)
        registry.set_current(self.engine)
        main_names.install()
        log_format.begin(os.environ.pop(log_format.VARIABLE, ""))
        process.title(self._setup.idle_title)
        gc.enable()
        self.door.open()
        self.client.start(m.Hello("worker", self._setup.worker, os.getpid()))

    def _print(self, log: m.Log) -> None:
        """Send what was printed at once: a direct call that follows must not come before it."""
        self.client.send(log, soon=False)

    def _main_context(self) -> Any:
        running = self._main
        if running is not None:
            return self.runner.contexts.get(running.task)
        contexts = list(self.runner.contexts.values())
        return contexts[0] if len(contexts) == 1 else None

    # --- the main thread ---

    def serve(self) -> None:
        """Run what comes until it is time to leave."""
        try:
            environment.run_hook(self.process.runtime_env or {})
        except RuntimeEnvSetupError as error:
            self.code.unfit = error
        while (execute := self.backlog.get()) is not None:
            self._main = execute
            process.title(f"ray::{execute.name}")
            if execute.kind == "task":
                self._run_task(execute)
            elif execute.kind == "actor":
                self._become_actor(execute)
                if self._host is not None:
                    self._main = None
                    self._host.run()
                    return
            else:
                done = self.runner.run(execute, self._find_method, main=True, interruptible=False)
                self._finish(execute, done)
            self._main = None
            del execute

    def _run_task(self, execute: m.Execute) -> None:
        opened, lost = self.runner.look(execute) if execute.dependencies else ([], None)
        if lost is not None:
            self.library.install(execute.functions)  # They are not sent to this worker again.
            process.title(self._setup.idle_title)
            self.backlog.end_task(functools.partial(self.runner.give_back, execute, lost))
            self.door.give_back(execute.task)
            return
        self.devices.give(execute.held, execute.devices)
        done = self.runner.run(execute, self.code.function, main=True, interruptible=True)
        del opened
        if (self.code.is_used_up or self.interrupts.tore_import) and not done.exiting:
            done = msgspec.structs.replace(done, exiting=True)
        self._finish(execute, done)

    def _find_method(self, execute: m.Execute, body: m.Body) -> Function:
        return method_of(self.runner.instance, body.method)

    def _become_actor(self, execute: m.Execute) -> None:
        spec = execute.spec
        assert spec is not None
        self._take_identity(execute, spec)
        if spec.name:
            execute = msgspec.structs.replace(execute, name=f"{spec.name}:{execute.name}")  # As in Ray.
        process.title(f"ray::{execute.name}")
        is_threaded = not spec.is_async and (spec.max_concurrency > 1 or bool(spec.concurrency_groups))
        if spec.is_async or is_threaded:
            signal.signal(signal.SIGTERM, self._on_sigterm)
        host: ThreadedActor | AsyncActor | None = None
        if spec.is_async:
            host = AsyncActor(spec, self.runner, self._finish)
            done = host.construct(execute, self._find_class)
        else:
            done = self.runner.run(execute, self._find_class, main=True, interruptible=False)
            if is_threaded and not done.failed:
                host = ThreadedActor(spec, self.runner, self._finish)
        process.title(f"ray::{spec.class_name}")
        if not done.failed:
            self._host = host
            self._label_by_repr()
        self._finish(execute, done)
        if self._host is not None:
            self.backlog.redirect(self._host.put)
        if isinstance(self._host, AsyncActor):
            self.door.move(self._host.loop.add_reader, self._host.loop.remove_reader, self._host.expect)

    def _take_identity(self, execute: m.Execute, spec: m.ActorSpec) -> None:
        """Be the process of this actor from now on, with what it holds."""
        self.devices.give(execute.held, execute.devices)
        body = decode_body(execute.body)
        own = self.process
        own.actor, own.actor_name, own.actor_handle = spec.actor, spec.name or None, spec.handle
        own.creation, own.restarts = spec.creation.task, execute.restarts
        own.group, own.capture = body.group, body.capture
        own.held, own.devices = amounts(execute.held), execute.devices
        own.leave = self.leave_soon
        self.runner.class_name = self.output.label = spec.class_name
        if spec.generator_cap > 0:
            self.runner.producers.budget = Budget(spec.generator_cap)

    def _find_class(self, execute: m.Execute, body: m.Body) -> Function:
        kind = self.code.actor_class(execute, self.runner.class_name)
        know_itself(kind)

        def construct(*args: Any, **kwargs: Any) -> Any:
            if inspect.iscoroutinefunction(kind.__init__):
                return construct_async(args, kwargs)
            self.runner.instance = kind(*args, **kwargs)
            return None

        async def construct_async(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            instance = kind.__new__(kind, *args, **kwargs)
            await instance.__init__(*args, **kwargs)
            self.runner.instance = instance

        name = execute.spec.qualname if execute.spec is not None else kind.__name__
        construct.__module__, construct.__qualname__ = kind.__module__, f"{name}.__init__"  # For the runtime context.
        return construct

    def _label_by_repr(self) -> None:
        """An actor class with a ``__repr__`` of its own labels its lines with it (as in Ray)."""
        if getattr(type(self.runner.instance), "__repr__", None) != object.__repr__:
            with contextlib.suppress(Exception):
                label = repr(self.runner.instance)[:100]
                self.output.flush()  # What the constructor printed was printed by no instance yet.
                self.output.label = label.strip().partition("\n")[0]  # As Ray. A PyTorch module has many lines.
                self.client.send(m.Named(label), soon=False)

    def _finish(self, execute: m.Execute, done: m.Done) -> None:
        if done.exiting and execute.kind == "task":
            self.backlog.close()
        busy = len(self.backlog) > 0 or (self._host is not None and self._host.busy)
        if not busy and len(self.runner.contexts) <= 1:
            process.title(f"ray::{self.runner.class_name}" if self.process.actor else self._setup.idle_title)
        soon = busy and not done.exiting
        self.backlog.end_task(lambda: self.runner.finish(execute, done, soon=soon))
        if done.exiting and execute.kind != "method":
            self.leave(0)

    def leave_soon(self, reason: str) -> None:
        """Leave for good after the calls that run. Any thread."""
        if self.runner.farewell:
            return
        self.runner.farewell = reason
        self.client.send(m.Leave(reason), soon=False)
        self._end_soon()

    def _end_soon(self) -> None:
        self.backlog.end_now()
        if self._host is not None:
            self._host.close()

    def _on_sigterm(self, number: int, frame: Any) -> None:
        """The calls of a concurrent actor that run may end first, and their results are told (as in Ray)."""
        self._terminated = True
        threading.Thread(target=self._end_soon, daemon=True).start()  # This thread may hold what that needs.

    def _answer(self, done: m.Done, soon: bool) -> None:
        """Send the end of a call to where the call came from."""
        if done.task in self.door:
            self.door.answer(done)
        else:
            self.client.send(done, soon=soon)

    def leave(self, code: int) -> None:
        """End the process: the actor's own farewell, exit handlers, then what was printed. Does not return."""
        if not self._leaving.acquire(blocking=False):
            threading.Event().wait()  # Another thread is at it.
        self.interrupts.leave()
        if code:
            with contextlib.suppress(RaySystemError):
                self.client.send(m.Leave(f"exit code {code}", failed=True), soon=False)
        self.runner.say_farewell()
        process.run_exit_handlers()
        self.runner.instance = None  # Its __del__ runs.
        with contextlib.suppress(RaySystemError):
            self.output.end_task(b"")
            self.output.flush()
        self.client.flush()
        self.door.close()
        if self._terminated:
            process.end_by_sigterm()
        os._exit(code)

    # --- the thread that reads ---

    def _on_execute(self, execute: m.Execute) -> None:
        references = self.client.references
        self.interrupts.forget(execute.task)
        references.hold_contained(execute, 1)
        for payload in execute.values:
            references.hold_contained(payload, 1)
        self.backlog.put(execute)

    def _on_interrupt(self, message: m.Interrupt) -> None:
        self.interrupts.note(message.task)
        waiting = self.backlog.remove(message.task)
        if waiting is None and isinstance(self._host, ThreadedActor):
            waiting = self._host.remove(message.task)
        if waiting is not None:
            text = f"The task {waiting.name} was cancelled before it began."
            error = TaskCancelledError(TaskID(message.task), text).saying(text)
            self._answer(m.Done(message.task, (calling.plain_failure(error),), True, cancelled=True), False)
            self.runner.let_go(waiting)
            return
        if self.process.actor is not None:
            self._reached(message.task)
        if isinstance(self._host, AsyncActor):
            self._host.cancel(message.task)
            return
        context = self.runner.contexts.get(message.task)
        if context is not None:
            context.cancelled = True
        producer = self.runner.producers.running.get(message.task)
        if producer is not None:
            producer.stop()
        if self.process.actor is None:
            self.interrupts.interrupt(message.task)

    def _reached(self, task: bytes) -> None:
        """Tell that a cancel has come: what the task starts before is cancelled with it, and nothing after."""
        with contextlib.suppress(RaySystemError):
            self.client.direct.tell()
            self.client.send(m.Interrupted(task), soon=False)

    def __repr__(self) -> str:
        return f"<Worker {self._setup.worker.hex()}: {len(self.backlog)} waiting, {self.client!r}>"


# What user code touches first is imported in the template, so that a fork finds it.
def _preload() -> None:
    for name in ("asyncio", "concurrent.futures.thread"):
        __import__(name)


_preload()
if sys.platform == "linux":
    import ctypes

    ctypes.CDLL(None)
