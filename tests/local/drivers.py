"""Other drivers for tests: processes that do what they are told, line by line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds that an answer may take on a busy machine."""

_PROGRAM = """
import json, os, sys
answers = os.fdopen(int(sys.argv[1]), "w")
scope = {"__name__": "__main__"}
sys.modules["__main__"].__dict__.update(scope)
for line in sys.stdin:
    kind, code = json.loads(line)
    try:
        found = None
        if kind == "eval":
            found = eval(code, sys.modules["__main__"].__dict__)
        else:
            exec(compile(code, "<driver>", "exec"), sys.modules["__main__"].__dict__)
        said = {"value": found}
    except BaseException as error:
        said = {"error": type(error).__name__, "text": str(error)}
    answers.write(json.dumps(said, default=repr) + "\\n")
    answers.flush()
"""


class DriverError(Exception):
    """What a driver raised; the text begins with the type's name."""


class Driver:
    """A second program, which uses the package as any other does.

    Parameters
    ----------
    variables
        Of its environment, besides ours.
    """

    def __init__(self, folder: Path | None = None, **variables: str) -> None:
        reading, writing = os.pipe()
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", _PROGRAM, str(writing)],
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            pass_fds=(writing,),
            text=True,
            cwd=folder,
            env={**os.environ, **variables},
        )
        os.close(writing)
        self._answers = os.fdopen(reading)
        self.do("import jupyter_ray as ray, os, sys, time")

    @property
    def pid(self) -> int:
        return self.process.pid

    def do(self, code: str) -> None:
        """Have statements run."""
        self._ask("exec", code)

    def ask(self, expression: str) -> Any:
        """Return what an expression is there."""
        return self._ask("eval", expression)

    def begin(self, code: str) -> None:
        """Have statements run, and wait for nothing."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(["exec", code]) + "\n")
        self.process.stdin.flush()

    def finish(self) -> Any:
        """Wait for what was begun."""
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        try:
            line = self._answers.readline()
        finally:
            timer.cancel()
        assert line, f"the driver ended, or took too long: {self.output()[-2000:]}"
        said = json.loads(line)
        if "error" in said:
            raise DriverError(f"{said['error']}: {said['text']}")
        return said["value"]

    def _ask(self, kind: str, code: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([kind, code]) + "\n")
        self.process.stdin.flush()
        return self.finish()

    def output(self) -> str:
        """Return what it, and the tasks for it, printed."""
        with open(f"/proc/self/fd/{self._output.fileno()}") as file:
            return file.read()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """Let it come to its end, as a program does; kill it if it does not."""
        with contextlib.suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._answers.close()
        self._output.close()

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
