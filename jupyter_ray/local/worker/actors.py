"""Actors: where their methods run.

A plain actor runs them in the worker's main thread, one after the other. A threaded one has a pool for each
concurrency group, an async one an event loop in the main thread, and one more in a thread for each group, so that a
group whose loop is blocked does not hold up the others; constructor and plain methods run in the loops too (as in Ray).
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import threading
import time
import traceback
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from jupyter_ray.engine import registry
from jupyter_ray.engine.context import enter_task, leave_actor, leave_task
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.local.client.streams import settle
from jupyter_ray.local.protocol.codec import decode_body
from jupyter_ray.local.protocol.messages import STREAMING, ActorSpec, Body, Done, Execute
from jupyter_ray.local.vigil import Vigil
from jupyter_ray.local.worker import calling, forks, process
from jupyter_ray.local.worker.producing import Producer
from jupyter_ray.local.worker.running import Function, Runner
from jupyter_ray.local.worker.threads import LOOK_SECONDS, Threads

Finish = Callable[[Execute, Done], None]


def method_of(instance: Any, name: str) -> Function:
    """Return what a handle's method name calls, the extra methods of every actor included."""
    return calling.method_of(instance, name, _terminate)


def _terminate() -> None:
    leave_actor(registry.required().process)


class ThreadedActor:
    """Pools of threads, one for each concurrency group and one for the rest."""

    def __init__(self, spec: ActorSpec, runner: Runner, finish: Finish) -> None:
        self._runner = runner
        self._finish = finish
        look = runner.client.add_chore("calls", LOOK_SECONDS, self._look)
        sizes = {"": spec.max_concurrency, **spec.concurrency_groups}
        self._pools = {group: Threads(size, f"actor {group}".strip(), self._run, look) for group, size in sizes.items()}
        self._ended = threading.Event()
        self._closed = False
        self._queued: dict[bytes, Execute] = {}
        """Calls that have no thread. Whoever takes one out, a thread or a cancel, answers it."""

    def put(self, execute: Execute | None) -> None:
        """Take a call from the reader thread, for its group's pool; None: leave after those that are queued."""
        if execute is None:
            self._ended.set()
        else:
            self._queued[execute.task] = execute
            self._pools.get(execute.concurrency_group, self._pools[""]).submit(execute)

    def _look(self) -> None:
        for pool in self._pools.values():
            pool.look()

    def remove(self, task: bytes) -> Execute | None:
        """Take out a call that has not begun; None if it has. Called in the reader thread, for a cancel."""
        return self._queued.pop(task, None)

    def close(self) -> None:
        """Begin no more calls, and leave after those that run."""
        self._closed = True
        self._ended.set()

    def run(self) -> None:
        """Wait, in the main thread, until it is time to leave."""
        self._ended.wait()
        for pool in self._pools.values():
            pool.drain(queued=not self._closed)

    @property
    def busy(self) -> bool:
        """Whether calls wait for a thread, so that more reports come soon."""
        return any(pool.waiting for pool in self._pools.values())

    def _run(self, execute: Execute) -> None:
        try:
            if self._queued.pop(execute.task, None) is None:  # It was cancelled.
                return
            process.title(f"ray::{execute.name}")
            done = self._runner.run(execute, self._find, main=False, interruptible=False)
            self._finish(execute, done)
        except BaseException:  # Our own fault: the thread would end, and the caller wait for ever.
            traceback.print_exc()
            self._runner.flush()
            os._exit(1)

    def _find(self, execute: Execute, body: Body) -> Function:
        return method_of(self._runner.instance, body.method)


class AsyncActor:
    """Event loops: one in the main thread, and one in a thread of its own for each concurrency group.

    Parameters
    ----------
    spec
        The actor.
    runner
        Makes reports.
    finish
        Sends one.
    """

    def __init__(self, spec: ActorSpec, runner: Runner, finish: Finish) -> None:
        self._main = _Lane(spec.max_concurrency, runner, finish)
        asyncio.set_event_loop(self._main.loop)
        self._groups = {group: _Lane(size, runner, finish) for group, size in spec.concurrency_groups.items()}
        self._ended: asyncio.Future[None] = self._main.loop.create_future()

    def construct(self, execute: Execute, find: Callable[[Execute, Body], Function]) -> Done:
        """Run the constructor inside the main loop; it may be ``async def`` itself."""
        done = self._main.loop.run_until_complete(self._main.run(execute, find))
        assert done is not None, "nobody can have closed it"
        return done

    def put(self, execute: Execute | None) -> None:
        """Take a call from the reader thread; None: leave after those that run."""
        if execute is None:
            asyncio.run_coroutine_threadsafe(self._drain(), self._main.loop)
        else:
            self._groups.get(execute.concurrency_group, self._main).put(execute)

    def close(self) -> None:
        """Begin no more calls, and leave after those that run."""
        for lane in (self._main, *self._groups.values()):
            lane.closed = True
        self.put(None)

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the main thread."""
        return self._main.loop

    def expect(self) -> None:
        """A caller has its answer, and may call again at once."""
        self._main.expect()

    def run(self) -> None:
        """Serve calls until it is time to leave."""
        for group, lane in self._groups.items():
            threading.Thread(target=lane.serve, name=f"actor {group}", daemon=True).start()
        self._main.owner = threading.get_ident()
        self._main.loop.run_until_complete(self._ended)

    def cancel(self, task: bytes) -> None:
        """Cancel a call; called in the reader thread."""
        context = self._main._runner.contexts.get(task)
        if context is not None:
            context.cancelled = True  # A plain generator looks at it between its items; it lets no loop turn.
        for lane in (self._main, *self._groups.values()):
            lane.loop.call_soon_threadsafe(lane.cancel, task)

    async def _drain(self) -> None:
        await self._main.drain()
        for lane in self._groups.values():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(lane.drain(), lane.loop))
        settle(self._ended)

    @property
    def busy(self) -> bool:
        """Whether calls run or wait besides one."""
        return sum(len(lane.tasks) for lane in (self._main, *self._groups.values())) > 1


class _Lane:
    """One event loop and the calls that run in it. Owner: the loop's thread; only `put` is called in another."""

    def __init__(self, size: int, runner: Runner, finish: Finish) -> None:
        self._runner = runner
        self._finish = finish
        self.loop = asyncio.new_event_loop()
        self._slots = asyncio.Semaphore(size)
        self._incoming: deque[Execute] = deque()
        self._planned = False
        self.tasks: dict[bytes, asyncio.Task[None]] = {}
        self.owner = 0
        """The thread that runs the loop."""
        self.closed = False
        """Calls that have not begun do not begin any more."""
        self._vigil = Vigil()
        self._awake = False

    def serve(self) -> None:
        """Run the loop in this thread."""
        process.name_thread()
        self.owner = threading.get_ident()
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def put(self, execute: Execute) -> None:
        """Take a call, from the thread that reads."""
        self._incoming.append(execute)
        if threading.get_ident() == self.owner:
            self._take()
        elif not self._planned:
            self._planned = True
            self.loop.call_soon_threadsafe(self._take)

    def expect(self) -> None:
        """Keep the loop turning for a moment instead of letting it sleep: a call is about to come."""
        if not self._awake and threading.get_ident() == self.owner and self._vigil.expect():
            self._awake = True
            self.loop.call_soon(self._look)

    def _look(self) -> None:
        if self.tasks or not self._vigil.goes_on():
            self._awake = False
            self._vigil.ended(came=bool(self.tasks))
        else:
            self.loop.call_soon(self._look)

    def cancel(self, task: bytes) -> None:
        """Cancel a call, if it is one of this loop."""
        running, context = self.tasks.get(task), self._runner.contexts.get(task)
        # A coroutine that is cancelled before its first step would never report; it looks itself.
        if running is not None and context is not None:
            context.cancelled = True
            running.cancel()

    def _take(self) -> None:
        self._planned = False
        while self._incoming:
            execute = self._incoming.popleft()
            self.tasks[execute.task] = self.loop.create_task(self._serve(execute))

    async def drain(self) -> None:
        """Wait for the calls that run."""
        while self.tasks:
            await asyncio.wait(list(self.tasks.values()))

    async def _serve(self, execute: Execute) -> None:
        done = await self.run(execute, self._find)
        if done is not None:
            self._finish(execute, done)
        self.tasks.pop(execute.task, None)

    def _find(self, execute: Execute, body: Body) -> Function:
        return method_of(self._runner.instance, body.method)

    async def run(self, execute: Execute, find: Callable[[Execute, Body], Function]) -> Done | None:
        """Run a call when it is its turn, unless the lane is closed by then; `find` returns what to call."""
        body = decode_body(execute.body)
        context = self._runner.begin(execute, body)
        token = enter_task(context, main=False)
        started = time.perf_counter()
        try:
            if context.cancelled:
                raise asyncio.CancelledError
            await self._slots.acquire()
            try:
                started = time.perf_counter()
                process.title(f"ray::{execute.name}")
                done = None if self.closed else await self._call(execute, body, context, started, find)
            finally:
                self._leave()
        except BaseException as error:  # Cancelled while it waited for its turn.
            done = self._runner.failed(execute, body, context, error, time.perf_counter() - started)
        leave_task(token, main=False)
        return done

    def _leave(self) -> None:
        """Give a slot back. Calls that this one has woken go on before one begins that had no room (as in Ray)."""
        if self._slots.locked():
            self.loop.call_soon(self._slots.release)
        else:
            self._slots.release()

    async def _call(
        self,
        execute: Execute,
        body: Body,
        context: TaskContext,
        started: float,
        find: Callable[[Execute, Body], Function],
    ) -> Done:
        runner = self._runner
        try:
            context.called = function = find(execute, body)
            there = await runner.fetch_async(execute) if execute.dependencies else {}
            args, kwargs, inout = calling.prepare(execute, body, function, runner.client.store, there)
            del there
            value = function(*args, **kwargs)
            del args, kwargs
            if execute.num_returns == STREAMING:
                await self._stream(execute, value)
                returns = []
            else:
                if inspect.isawaitable(value) and not isinstance(value, ObjectRef):  # A reference is the value itself.
                    value = await value
                elif inspect.isasyncgen(value):
                    value = [item async for item in value]
                forks.end_if_forked()
                value = calling.with_inout(value, inout)
                returns = runner.returns(execute, context, value)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and execute.kind == "method":
                context.cancelled = True  # Whoever raised it, as in Ray: no caller's loop may take it for its own.
            return runner.failed(execute, body, context, error, time.perf_counter() - started)
        return runner.succeeded(execute, context, returns, time.perf_counter() - started)

    async def _stream(self, execute: Execute, value: Any) -> None:
        if inspect.iscoroutine(value):
            value = await value
        if not isinstance(value, AsyncIterator):
            self._runner.stream(execute, value)
            return
        producer = self._runner.producers.running[execute.task]
        iterator = aiter(value)
        try:
            while True:
                if not producer.may_go_on():
                    await self._turn(producer)
                try:
                    item = await anext(iterator)
                except StopAsyncIteration:
                    return
                self._runner.yielded(execute, producer, item)
                del item
                await asyncio.sleep(0)  # For other calls and for a cancel, where the generator itself never waits.
        except BaseException:
            if isinstance(iterator, AsyncGenerator):
                await iterator.aclose()  # Its `finally` belongs to this call, as long as there is one.
            raise

    async def _turn(self, producer: Producer) -> None:
        """Wait until the next item may be made."""
        try:
            while True:
                room: asyncio.Future[None] = self.loop.create_future()
                producer.on_room(functools.partial(self.loop.call_soon_threadsafe, settle, room))
                if producer.may_go_on():
                    return
                await room
        finally:
            producer.on_room(None)
