"""A real kernel, driven as a frontend would: cells in, messages out, sorted by the cell that they name as parent.

All in the test's thread (jupyter_client makes an event loop for each thread and never closes it): messages are read
while a test waits, so what a test looks at is what had come by then.
"""

from __future__ import annotations

import os
import queue
import re
import time
from collections.abc import Callable
from typing import Any

from jupyter_client.manager import KernelManager

ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Cell:
    """One request and everything that the kernel said about it."""

    def __init__(self, kernel: Kernel, msg_id: str) -> None:
        self.kernel = kernel
        self.id = msg_id
        self.messages: list[dict[str, Any]] = []
        self.reply: dict[str, Any] | None = None
        self.sent = time.monotonic()
        self.idle_at: float | None = None

    @property
    def idle(self) -> bool:
        return self.idle_at is not None

    def contents(self, *kinds: str) -> list[dict[str, Any]]:
        self.kernel.read()
        return [message["content"] for message in self.messages if message["msg_type"] in kinds]

    @property
    def stdout(self) -> str:
        return "".join(each["text"] for each in self.contents("stream") if each["name"] == "stdout")

    @property
    def stderr(self) -> str:
        return "".join(each["text"] for each in self.contents("stream") if each["name"] == "stderr")

    @property
    def result(self) -> str | None:
        found = self.contents("execute_result")
        return found[-1]["data"]["text/plain"] if found else None

    @property
    def displays(self) -> list[dict[str, Any]]:
        """What the page shows now: displays with their updates applied, whichever cell those came with, in order."""
        shown: dict[str, dict[str, Any]] = {}
        for number, content in enumerate(self.contents("display_data")):
            display_id = content["transient"].get("display_id", str(number))
            shown[display_id] = self.kernel.shown.get(display_id, content["data"])
        return list(shown.values())

    @property
    def states(self) -> list[str]:
        """All that the cell's first display has shown, as text."""
        display_id = self.contents("display_data")[0]["transient"]["display_id"]
        return [text for each, text in self.kernel.history if each == display_id]

    @property
    def error(self) -> str:
        """The traceback without colours, or the empty string."""
        return "\n".join(ANSI.sub("", line) for each in self.contents("error") for line in each["traceback"])

    def wait(self, timeout: float = 60.0) -> Cell:
        """Wait for the reply and for idle."""
        self.kernel.until(lambda: self.idle and self.reply is not None, timeout)
        return self

    def ok(self, timeout: float = 60.0) -> Cell:
        """Wait, and fail the test if the cell failed."""
        self.wait(timeout)
        assert not self.error, self.error
        return self


class Kernel:
    """A kernel with the extension's package importable."""

    def __init__(self) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(extra_arguments=["--HistoryManager.enabled=False"], env=dict(os.environ))
        assert self.manager.provisioner is not None
        self.pid = self.manager.provisioner.pid  # type: ignore[attr-defined]
        self.cells: dict[str, Cell] = {}
        self.others: list[dict[str, Any]] = []
        self.shown: dict[str, dict[str, Any]] = {}
        """What displays show now, by their ids."""
        self.history: list[tuple[str, str]] = []
        """What displays have shown as text, with their ids."""
        self._connect()

    def _connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def read(self) -> None:
        """Take in the messages that have come."""
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=0)
            except queue.Empty:
                break
            if message["msg_type"] in ("display_data", "update_display_data"):
                content = message["content"]
                display_id = content["transient"].get("display_id")
                if display_id is not None:
                    self.shown[display_id] = content["data"]
                    self.history.append((display_id, content["data"].get("text/plain", "")))
            cell = self.cells.get(message["parent_header"].get("msg_id", ""))
            if cell is None:
                self.others.append(message)
                continue
            cell.messages.append(message)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                cell.idle_at = time.monotonic()
        while True:
            try:
                message = self.client.get_shell_msg(timeout=0)
            except queue.Empty:
                break
            cell = self.cells.get(message["parent_header"].get("msg_id", ""))
            if cell is not None:
                cell.reply = message["content"]

    def start(self, code: str) -> Cell:
        """Send a cell and return at once."""
        cell = Cell(self, self.client.execute(code))
        self.cells[cell.id] = cell
        return cell

    def run(self, code: str, timeout: float = 60.0) -> Cell:
        """Run a cell that should succeed."""
        return self.start(code).ok(timeout)

    def fail(self, code: str, timeout: float = 60.0) -> Cell:
        """Run a cell that should fail."""
        cell = self.start(code).wait(timeout)
        assert cell.reply is not None
        return cell

    def until(self, condition: Callable[[], Any], timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while True:
            self.read()
            if condition():
                return
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.005)

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def restart(self) -> None:
        self._disconnect()
        self.manager.restart_kernel(now=False)
        assert self.manager.provisioner is not None
        self.pid = self.manager.provisioner.pid  # type: ignore[attr-defined]
        self._connect()

    def close(self) -> None:
        self._disconnect()
        self.manager.shutdown_kernel(now=False)
        self.manager.cleanup_resources()

    def kill(self) -> None:
        """SIGKILL, and nothing else."""
        os.kill(self.pid, 9)

    def _disconnect(self) -> None:
        self.client.stop_channels()
