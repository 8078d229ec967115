"""What a worker reports to its driver: what its tasks print, and, on request, what they do.

 print() ── TaskStream ──► Output ──┐
 began, ended, submitted, blocked ──┴─► batch ── reporter thread ──► Ray's log channel ──► driver

Reports travel on the channel on which Ray's own log lines travel, as lines of JSON under a process name of ours, in
batches: so they need no further connection and no open port, and pass where Ray's own traffic passes.

Owner: `_lock` guards the batch; the reporter thread sends it, or a task that printed, before its result goes out.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import ray
from ray._raylet import GcsLogSubscriber

from jupyter_ray import events as ev
from jupyter_ray.config import LOG_INTERVAL
from jupyter_ray.engine.context import current_task
from jupyter_ray.engine.task_context import TaskContext
from jupyter_ray.interrupts import Flag
from jupyter_ray.local.protocol.messages import Log
from jupyter_ray.local.worker.output import Output, TaskStream
from jupyter_ray.ray_cluster.calls import EVERYTHING, LOGS
from jupyter_ray.resources import GPU

CHANNEL = "jupyter_ray"
"""The process name of our reports among Ray's log lines."""

_AWAITED = 100
"""Objects of one wait that are named."""

_BATCH = 500
"""Events in one message."""

_encode = msgspec.json.Encoder().encode


def publish(lines: list[str], job: str) -> None:
    """Send lines to the drivers of a job."""
    worker = ray._private.worker.global_worker
    worker.gcs_client.publish_logs(
        {
            "ip": worker.node_ip_address,
            "pid": CHANNEL,
            "job": job,
            "is_err": False,
            "lines": lines,
            "actor_name": "",
            "task_name": "",
        },
        30,
    )


class Channel:
    """Ray's log channel, as the driver of a job hears it."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._subscriber = GcsLogSubscriber(address=ray._private.worker.global_worker.gcs_client.address)
        self._subscriber.subscribe()

    def poll(self) -> list[dict[str, Any]] | None:
        """Wait for messages, and return those of the job; None: there was none in time."""
        message = self._subscriber.poll()
        if message is None:
            return None
        return [message] if message["job"] == self._job else []

    def publish(self, lines: list[str]) -> None:
        """Send lines, after what was sent before."""
        publish(lines, self._job)

    def close(self) -> None:
        """End a `poll` that waits."""
        self._subscriber.close()


class Observer:
    """The reports of one worker process.

    Parameters
    ----------
    job, worker, node
        Their ids (hex).
    """

    def __init__(self, job: str, worker: str, node: str) -> None:
        self._job = job
        self._worker = worker
        self._node = node
        self._introduced = False
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._batch: list[ev.AnyEvent] = []
        self._wanted = Flag()
        self._observed: dict[bytes, int] = {}
        self._waiting: dict[bytes, list[Any]] = {}
        """What tasks wait for: their contexts, the objects, and whether that was reported."""
        self._output = Output(self._on_log, self._wanted.set)
        self._printed = False
        self._sent = 0.0
        """When a batch was sent last."""
        self._thread: threading.Thread | None = None

    def capture(self) -> None:
        """Take over ``sys.stdout`` and ``sys.stderr``."""
        streams: list[Any] = [
            _Stream(self, self._output, "stdout", sys.stdout),
            _Stream(self, self._output, "stderr", sys.stderr),
        ]
        sys.stdout, sys.stderr = streams

    # --- waits ---

    def wait_begins(self, context: TaskContext, awaited: Sequence[Any]) -> None:
        """A task waits for values. It is reported if it lasts."""
        self._waiting[context.task] = [context, [ref.hex() for ref in awaited[:_AWAITED]], False]
        self.wake()

    def wait_ends(self, context: TaskContext) -> None:
        """The wait is over."""
        waiting = self._waiting.pop(context.task, None)
        if waiting is not None and waiting[2]:
            self.add(ev.TaskUnblocked(at=time.time(), task=context.task.hex()))

    def _report_waits(self) -> None:
        for task, waiting in list(self._waiting.items()):
            if not waiting[2]:
                waiting[2] = True
                cpus = waiting[0].held.get("CPU") if waiting[0].actor is None else None
                lent = {"CPU": cpus} if cpus else {}  # As in Ray: the node gives it to others meanwhile.
                event = ev.TaskBlocked(at=time.time(), task=task.hex(), waits_for=waiting[1], lent=lent)
                with self._lock:
                    self._batch.append(event)

    # --- what happens ---

    def level(self, context: TaskContext | None) -> int:
        """Return what shall be reported of a task."""
        return 0 if context is None else self._observed.get(context.task, 0)

    def began(self, call: Any) -> None:
        """A call begins that is to be reported."""
        level = call.header.observe
        context: TaskContext = call.context
        self._observed[context.task] = level
        if level >= EVERYTHING:
            if not self._introduced:
                self._introduced = True
                self.add(ev.WorkerStarted(at=time.time(), worker=self._worker, pid=os.getpid(), node=self._node))
            self.add(
                ev.TaskStarted(
                    at=time.time(),
                    task=context.task.hex(),
                    worker=self._worker,
                    held=context.held if context.actor is None or not call.terms.method else {},
                    gpus=context.devices.get(GPU, []),
                    attempt=context.attempt,
                )
            )

    def ended(self, call: Any, error: BaseException | None) -> None:
        """A call has ended; what it printed must be on its way before its result is."""
        level = call.header.observe
        task = call.context.task
        self._output.end_task(task)
        self._observed.pop(task, None)
        if level >= EVERYTHING:
            failed = call.error is not None or error is not None
            # What is left of a failure is for Ray to say: it may run the call again.
            if not failed:
                self.add(ev.TaskFinished(at=time.time(), task=task.hex()))
            elif call.cancelled:
                self.add(ev.TaskCancelled(at=time.time(), task=task.hex()))
            elif call.error is not None:
                self.add(ev.TaskFailed(at=time.time(), task=task.hex(), error=call.error))
        if self._printed:
            self.flush()

    def label_actor(self, kind: type, instance: Any = None) -> None:
        """An actor is made: its lines bear its class, or the ``repr`` of its own, once there is one (as in Ray)."""
        self._output.label = kind.__name__
        if instance is not None and getattr(kind, "__repr__", None) != object.__repr__:
            with contextlib.suppress(Exception):
                self._output.label = repr(instance)[:100]

    def add(self, event: ev.AnyEvent) -> None:
        """Report an event soon."""
        with self._lock:
            self._batch.append(event)
        self.wake()

    def wake(self) -> None:
        """See to it that what waits is sent soon."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._report, name="jupyter_ray reports", daemon=True)
                    self._thread.start()
        self._wanted.set()

    def _on_log(self, log: Log) -> None:
        self._printed = True
        with self._lock:
            self._batch.append(
                ev.LogLines(
                    at=time.time(),
                    stream=log.stream,
                    text=log.text,
                    name=log.name,
                    pid=os.getpid(),
                    task=None if log.task is None else log.task.hex(),
                    actor=None if log.actor is None else log.actor.hex(),
                    cell=log.cell,
                )
            )

    def _report(self) -> None:
        while True:
            self._wanted.wait()
            time.sleep(LOG_INTERVAL)
            self._wanted.clear()
            self._report_waits()
            self._output.flush()
            self.flush()

    def wrote(self, text: str) -> None:
        """A task has printed: a line after a silence is sent at once (it may be the process's last), more together."""
        if text.endswith("\n") and time.monotonic() - self._sent > LOG_INTERVAL:
            self._output.flush()
            self.flush()
        else:
            self.wake()

    def flush_printed(self) -> None:
        """Send what was printed, if anything was."""
        if self._output.waiting or self._printed:
            self._output.flush()
            self.flush()

    def flush(self) -> None:
        """Send what waits, now."""
        with self._sending:  # One after the other: the order of the lines is the order of the messages.
            with self._lock:
                batch, self._batch = self._batch, []
                self._printed = False
                if batch:
                    self._sent = time.monotonic()
            for start in range(0, len(batch), _BATCH):
                lines = [_encode(event).decode() for event in batch[start : start + _BATCH]]
                with contextlib.suppress(Exception):  # The head node is gone: so is whoever would read it.
                    publish(lines, self._job)

    def __repr__(self) -> str:
        return f"<Observer of worker {self._worker}: {len(self._batch)} events wait>"


class _Stream(TaskStream):
    """A text stream that sends what a task writes to whoever watches it; else to Ray's own log."""

    def __init__(self, observer: Observer, output: Output, name: Any, own: Any) -> None:
        super().__init__(output, name)
        self._observer = observer
        self._own = own

    def write(self, text: str) -> int:
        """Write text."""
        if self._observer.level(current_task()) < LOGS:
            self._own.write(text)
            return len(text)
        written = super().write(text)
        self._observer.wrote(text)
        return written

    def flush(self) -> None:
        """Write out what Ray's own log has not yet."""
        self._own.flush()

    def fileno(self) -> int:
        """Return the descriptor of Ray's own log."""
        return int(self._own.fileno())
