"""Running one call, whatever kind: its context, its outcome, its message back.

Owner: `Runner` is shared by all threads of the worker. Each call touches only its own context and producer; the
dictionaries that find them are written by the thread that runs the call, and read by the reader thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import os
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator
from typing import Any

from jupyter_ray.engine.context import enter_task, leave_task
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.engine.streams import ObjectRefGenerator
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.exceptions import ActorDiedError, RayTaskError, TaskCancelledError, WorkerCrashedError, is_cancel
from jupyter_ray.ids import TaskID
from jupyter_ray.local.client.client import Client
from jupyter_ray.local.engine.local import LocalEngine
from jupyter_ray.local.protocol.codec import decode_body
from jupyter_ray.local.protocol.messages import EXITED, STREAMING, Body, Done, Execute, Item, Lost, Payload
from jupyter_ray.local.serialization.errors import for_the_runtime, format_remote
from jupyter_ray.local.serialization.values import Serialized
from jupyter_ray.local.store.payloads import mapped, named, pack_atom, unpack
from jupyter_ray.local.store.segments import Unreadable
from jupyter_ray.local.worker import calling, forks
from jupyter_ray.local.worker.interrupts import UNCANCELLED, Interrupts
from jupyter_ray.local.worker.modules import Modules
from jupyter_ray.local.worker.output import Output
from jupyter_ray.local.worker.producing import Producer, Producers, await_read
from jupyter_ray.resources import amounts

Function = Callable[..., Any]

_END: Any = object()


class Runner:
    """Runs calls and reports them.

    Parameters
    ----------
    client, engine
        Of this worker.
    output
        What is printed.
    interrupts
        Soft cancels, for the main thread.
    answer
        Sends the end of a call; with its second argument True, it may wait for others.
    """

    def __init__(
        self,
        client: Client,
        engine: LocalEngine,
        output: Output,
        interrupts: Interrupts,
        answer: Callable[[Done, bool], None],
    ) -> None:
        self._answer = answer
        self.client = client
        self._engine = engine
        self._output = output
        self._interrupts = interrupts
        self.contexts: dict[bytes, TaskContext] = {}
        """Of the calls that run."""
        self.producers = Producers(client.listening)
        self._modules = Modules(client.send)
        self.instance: Any = None
        """The actor, where this is one."""
        self.class_name = ""
        self.farewell = ""
        """Why the actor leaves on purpose, once it does."""
        self.quit: Callable[[int], object] = os._exit
        """Ends the process, its exit handlers run before."""

    def flush(self) -> None:
        """Send what was printed, before the process ends without its exit handlers."""
        self._output.flush()
        self._engine.client.flush()

    def say_farewell(self) -> None:
        """Call the actor's ``__ray_shutdown__``, if it has one: what Ray calls before an actor leaves in peace."""
        farewell = getattr(type(self.instance), "__ray_shutdown__", None)
        if farewell is not None:
            try:
                farewell(self.instance)
            except Exception:
                traceback.print_exc()

    # --- before ---

    def begin(self, execute: Execute, body: Body) -> TaskContext:
        """Return the context of a call that begins."""
        process = self._engine.process
        name = f"{self.class_name}.{body.method}" if body.method else body.function
        context = TaskContext(
            task=execute.task,
            name=execute.name,
            function=name,
            actor=execute.actor,
            parent=execute.parent,
            cell=execute.cell,
            held=amounts(execute.held) if execute.held else dict(process.held),
            devices=execute.devices or process.devices,
            attempt=execute.attempt,
            runtime_env=process.runtime_env,
            group=body.group or process.group,
            capture=body.capture or process.capture,
        )
        self.contexts[execute.task] = context
        context.cancelled = self._interrupts.noted(execute.task)  # Who notes it later finds the context.
        if execute.num_returns == STREAMING:
            self.producers.begin(execute.task, body.backpressure, body.per_yield)
        return context

    # --- arguments that are not where they should be ---

    def look(self, execute: Execute) -> tuple[list[object], Lost | None]:
        """Map the arguments of a plain task; return what keeps them mapped, and what to send if one is not there."""
        opened: list[object] = []
        lost: list[str] = []
        reason = ""
        absent = False
        for payload in execute.values:
            if payload.segment:
                try:
                    opened.append(mapped(payload, self.client.store))
                except Unreadable as error:
                    lost.append(error.segment)
                    reason = error.reason
            absent = absent or payload.size < 0
        return opened, Lost(lost, reason, execute.task) if lost or absent else None

    def give_back(self, execute: Execute, lost: Lost) -> None:
        """Send a plain task back that cannot begin: so it holds nothing while its arguments are computed again."""
        self.client.send(lost, soon=False)
        self.let_go(execute)

    def fetch(self, execute: Execute) -> dict[int, Any]:
        """Return the values of those arguments that are in files; wait for those that are not there.

        An actor waits with the call in hand: to give it back would let later calls overtake it.
        """
        return {
            index: self.client.get([execute.dependencies[index]], None)[0] if missing else unpacked
            for index, unpacked, missing in self._arguments(execute)
        }

    async def fetch_async(self, execute: Execute) -> dict[int, Any]:
        """As `fetch`, without blocking the event loop."""
        there: dict[int, Any] = {}
        for index, unpacked, missing in self._arguments(execute):
            if missing:
                coming: concurrent.futures.Future[Any] = concurrent.futures.Future()
                self.client.when_ready(execute.dependencies[index], functools.partial(calling.settle, coming))
                unpacked = await asyncio.wrap_future(coming)
            there[index] = unpacked
        return there

    def _arguments(self, execute: Execute) -> Iterator[tuple[int, Any, bool]]:
        """Yield number and value of each argument in a file, and whether it is missing."""
        for index, payload in enumerate(execute.values):
            if payload.segment:
                try:
                    yield index, unpack(payload, self.client.store), False
                except Unreadable as error:
                    self.client.reader.report(execute.dependencies[index], error)
                    yield index, None, True
            elif payload.size < 0:
                yield index, None, True

    # --- synchronous calls ---

    def run(
        self, execute: Execute, find: Callable[[Execute, Body], Function], *, main: bool, interruptible: bool
    ) -> Done:
        """Run a call in this thread.

        Parameters
        ----------
        execute
            The call.
        find
            Returns the function to call; its errors are the call's.
        main
            This is the main thread: threads that user code starts belong to the call.
        interruptible
            A cancel interrupts it; otherwise it only sets the flag.

        Returns
        -------
        Done
            What to send.
        """
        body = decode_body(execute.body)
        context = self.begin(execute, body)
        token = enter_task(context, main=main)
        started = time.perf_counter()
        try:
            try:
                if context.cancelled and execute.kind == "method":
                    raise KeyboardInterrupt
                context.called = function = find(execute, body)
                there = self.fetch(execute) if execute.dependencies and execute.kind != "task" else {}
                args, kwargs, inout = calling.prepare(execute, body, function, self.client.store, there)
                del there
                if main:
                    self._interrupts.enter(execute.task if interruptible else UNCANCELLED)
                value = function(*args, **kwargs)
                forks.end_if_forked()
                del args, kwargs
                if execute.num_returns == STREAMING:
                    self.stream(execute, value)
                    value = None
                elif inout:
                    value = calling.with_inout(value, inout)
                runs_on = execute.num_returns not in (0, 1)  # Its generator does.
                if main and not runs_on:
                    self._interrupts.leave()
                returns = self.returns(execute, context, value)
                if main and runs_on:
                    self._interrupts.leave()
            except BaseException as error:
                if main:
                    self._interrupts.leave()
                return self.failed(execute, body, context, error, time.perf_counter() - started)
            return self.succeeded(execute, context, returns, time.perf_counter() - started)
        finally:
            leave_task(token, main=main)

    def returns(self, execute: Execute, context: TaskContext, value: Any) -> list[Payload]:
        """Return the payloads of what a call returned."""
        if execute.kind == "actor" or execute.num_returns == STREAMING:
            return []
        if execute.num_returns == 1:
            payload = pack_atom(value)
            if payload is not None:
                return [payload]
            if not isinstance(value, Generator) or isinstance(value, ObjectRefGenerator):
                return [calling.payload_of(value, f"the return value of {context.function}", self.store)]

        def put_error(error: BaseException) -> ObjectRef[Any]:
            if execute.retries_left and calling.may_retry(error, decode_body(execute.body)):
                raise error
            payload = calling.failure(error, context.function, self.store, self.describe())
            ref = self._engine.put_payload(payload)
            self.client.references.let_go(payload)
            return ref

        def tell_late(error: Exception) -> None:
            if execute.retries_left and calling.may_retry(error, decode_body(execute.body)):
                raise error
            print(
                f"{context.function} raised after its num_returns={execute.num_returns} values were made, so nobody "
                f"gets this error:\n{format_remote(error).rstrip()}",
                file=sys.stderr,
            )

        return calling.results(
            value, execute.num_returns, context.function, self.store, self._engine.put, put_error, tell_late
        )

    def stream(self, execute: Execute, value: Any) -> None:
        """Send the items of a generator as they come."""
        value = calling.stepped(value) if isinstance(value, AsyncIterator) else value
        if not isinstance(value, Iterable):
            raise ValueError(
                f'num_returns="streaming" wants a generator, and {execute.name} returned a {type(value).__name__}.'
            )
        producer, context = self.producers.running[execute.task], self.contexts[execute.task]
        iterator: Iterator[Any] = iter(value)
        ask = functools.partial(await_read, self.client, execute.task) if execute.kind == "task" else None
        try:
            while True:
                producer.wait(ask)
                if context.cancelled:
                    raise KeyboardInterrupt  # Its code may have swallowed the one that told it; a reader must not.
                if (item := next(iterator, _END)) is _END:
                    return
                self.yielded(execute, producer, item)
                del item
        except BaseException:
            if isinstance(iterator, Generator):
                iterator.close()  # Its `finally` belongs to this call, as long as there is one.
            raise

    def yielded(self, execute: Execute, producer: Producer, item: Any) -> None:
        """Send what a generator yields; where nobody reads it any more, the task still runs to its end (as in Ray)."""
        if producer.step == 1:
            self._yield_item(execute, producer, item)
        elif isinstance(item, tuple | list) and len(item) == producer.step:
            for each in item:
                self._yield_item(execute, producer, each)
        else:
            raise ValueError(
                f"{execute.name} has _num_objects_per_yield={producer.step}, and yielded {type(item).__name__} "
                "instead of a tuple or list of that many."
            )

    def _yield_item(self, execute: Execute, producer: Producer, item: Any) -> None:
        forks.end_if_forked()
        producer.count()
        if producer.unwanted:
            return
        store = functools.partial(self.store, unnamed=True)  # A cancel may come right after it was written.
        payload = calling.payload_of(item, f"item {producer.made} of {execute.name}", store)
        self.client.send(Item(execute.task, producer.made, payload), soon=not producer.is_full)
        named(payload)
        self.client.references.let_go(payload)

    # --- after ---

    def store(self, serialized: Serialized, *, unnamed: bool = False) -> Payload:
        """Return the payload of a value (see `pack`); what it refers to is held until the report was sent.

        The value itself may die before that, and the runtime must not hear of it first.
        """
        payload = self._engine.store_value(serialized, unnamed=unnamed)
        self.client.references.hold_contained(payload)
        return payload

    def succeeded(self, execute: Execute, context: TaskContext, returns: list[Payload], seconds: float) -> Done:
        """Return the report of a call that returned."""
        if context.exiting:
            return self._left(execute, seconds)
        if context.cancelled and execute.kind == "method":
            # A running method is only told of its cancel; whoever asked for its value learns of it (as in Ray).
            return self._cancelled(execute, context, seconds, returned=True)
        return Done(execute.task, tuple(returns), seconds=seconds)

    def failed(self, execute: Execute, body: Body, context: TaskContext, error: BaseException, seconds: float) -> Done:
        """Return the report of a call that raised. It comes also where the error fails when it is looked at."""
        try:
            return self._failed(execute, body, context, error, seconds)
        except Exception as other:  # One of its own methods, such as __getattr__ or __bool__, fails.
            instead = RuntimeError(f"{type(error).__name__}, which could not be reported: {other!r}")
            raised_at = BaseException.__dict__["__traceback__"].__get__(error)
            return self._failed(execute, body, context, instead.with_traceback(raised_at), seconds)

    def _failed(self, execute: Execute, body: Body, context: TaskContext, error: BaseException, seconds: float) -> Done:
        forks.end_if_forked(error)
        values: list[Payload] = []
        if isinstance(error, calling.Partial):
            values, error = error.values, error.error
        if isinstance(error, SystemExit) and execute.kind != "task" and not context.exiting:
            self._exit(error.code)
            context.exiting = True
        if context.exiting:
            return self._left(execute, seconds)
        if context.cancelled and (is_cancel(error) or not isinstance(error, Exception)):
            return self._cancelled(execute, context, seconds)
        if isinstance(error, KeyboardInterrupt):  # Whoever raised it: the task counts as cancelled (as in Ray).
            return self._cancelled(execute, context, seconds, ": it raised KeyboardInterrupt")
        if isinstance(error, SystemExit):
            # To end one's process is to crash it, however politely: the runtime may try again (as in Ray).
            payload = calling.plain_failure(
                WorkerCrashedError.because(context.name, f"it called sys.exit({error.code!r})")
            )
            return Done(
                execute.task,
                (*values, payload),
                failed=True,
                retry=True,
                exiting=True,
                seconds=seconds,
                error=f"{EXITED} {error.code}",
                crashed=True,
            )
        text = format_remote(error)
        told = for_the_runtime(error, text)
        if execute.kind == "actor":
            raised = RayTaskError(execute.name, text, pid=os.getpid(), actor=self.describe())
            died = ActorDiedError(raised, None if execute.actor is None else execute.actor.hex())
            return Done(execute.task, (calling.plain_failure(died),), True, seconds=seconds, error=told)
        payload = calling.failure(error, context.function, self.store, self.describe(), text)
        retry = calling.may_retry(error, body) and not context.cancelled
        return Done(execute.task, (*values, payload), True, retry=retry, seconds=seconds, error=told)

    def _exit(self, code: Any) -> None:
        """A method called ``sys.exit``: with 0 the actor leaves on purpose, else its process dies, as in Ray."""
        if code not in (None, 0):
            if not isinstance(code, int):
                print(code, file=sys.stderr)
            self.quit(code if isinstance(code, int) else 1)
        leave = self._engine.process.leave
        if leave is not None:
            leave(f"sys.exit({'' if code is None else code}) was called, exit code 0")

    def _left(self, execute: Execute, seconds: float) -> Done:
        """Return the report of a call that ended its actor."""
        actor = None if execute.actor is None else execute.actor.hex()
        reason = f"its process leaves on purpose (INTENDED_USER_EXIT): {self.farewell}"
        error = ActorDiedError.because(reason, actor, class_name=self.class_name, pid=os.getpid())
        payload = calling.plain_failure(error)
        return Done(execute.task, (payload,), True, exiting=True, seconds=seconds, error=reason)

    def _cancelled(
        self, execute: Execute, context: TaskContext, seconds: float, how: str = "", *, returned: bool = False
    ) -> Done:
        """Return the report of a call that was cancelled; what `returned` has raised nothing, and no traceback."""
        task = TaskID(execute.task)
        text = f"The task {context.name} ({task.hex()}) was cancelled{how}."
        error = TaskCancelledError(task, text).saying(text)
        payload = calling.plain_failure(error) if returned else calling.failure(error, context.function, self.store)
        return Done(execute.task, (payload,), True, cancelled=True, seconds=seconds, error="cancelled")

    def finish(self, execute: Execute, done: Done, *, soon: bool) -> None:
        """Send the report, after what was printed, and let go of what the call held."""
        self._output.end_task(execute.task)
        self._output.last = execute.name
        self.contexts.pop(execute.task, None)
        if execute.num_returns == STREAMING:
            self.producers.end(execute.task)
        self._modules.tell(done.seconds)
        self._answer(done, soon)
        for payload in done.returns:
            self.client.references.let_go(payload)
        self.let_go(execute)

    def let_go(self, execute: Execute) -> None:
        """Drop the hold on what the arguments contain."""
        self.client.references.let_go(execute)
        for payload in execute.values:
            self.client.references.let_go(payload)

    def describe(self) -> str | None:
        """Return id and ``repr`` of the actor, for an error's text; None in a pooled worker."""
        actor = self._engine.process.actor
        if actor is None:
            return None
        text = f"<{self.class_name}>"
        if self.instance is not None:
            with contextlib.suppress(Exception):
                text = repr(self.instance)
        return f"{actor.hex()}, repr={text:.200}"
