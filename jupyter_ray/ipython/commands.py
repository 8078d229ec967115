"""What the magics do. They parse, call and return.

Imported when `extension` has loaded the rest in the background; `magics` has the names alone.
"""

from __future__ import annotations

import ast
import linecache
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from jupyter_ray.api import session
from jupyter_ray.api.init import init
from jupyter_ray.engine import registry
from jupyter_ray.exceptions import RayError
from jupyter_ray.ipython import tracebacks
from jupyter_ray.ipython.arguments import HelpPrinted, Parser, amount, given, positive, words
from jupyter_ray.spelling import meant

if TYPE_CHECKING:
    from jupyter_ray.engine.refs import ObjectRef
    from jupyter_ray.ipython.live import Line
    from jupyter_ray.ipython.notebook import Notebook

_REMOTE = Parser(
    "%%remote",
    "Run the cell as a task, without blocking the notebook. The variables that it reads are sent along; the value of\n"
    "its last expression is the result. What it assigns stays in the task. `%remote EXPRESSION` does it for a line,\n"
    "and `ref = %remote EXPRESSION` gives the reference.",
)
_REMOTE.add_argument("--num-cpus", type=amount, metavar="N", help="CPUs that the task holds (1)")
_REMOTE.add_argument("--num-gpus", type=amount, metavar="N", help="GPUs that the task holds (0)")
_REMOTE.add_argument("--name", metavar="NAME", help="what to call the task")
_REMOTE.add_argument("--wait", action="store_true", help="wait for the result, and raise its error here")
_REMOTE.add_argument("-o", "--out", metavar="NAME", help="bind the reference to this variable, at once")

_RAY = Parser(
    "%ray",
    "Control the runtime.",
    "commands:\n"
    "  status           what runs and what is used\n"
    "  start            start the runtime, or bind it to resources\n"
    "  stop             end the runtime and all its tasks and actors\n"
    "  logs [WHAT]      what tasks printed, page by page\n"
    "  why [WHAT]       why tasks wait\n"
    "  cancel [WHAT]    end tasks that run or wait\n\n"
    "`%ray COMMAND --help` tells more.",
    usage="%%ray COMMAND [options]",
)

_STATUS = Parser("%ray status", "Show what runs and what is used.")
_START = Parser("%ray start", "Start the runtime, as `jupyter_ray.init` does with the same options.")
_START.add_argument("--num-cpus", type=amount, metavar="N", help="CPUs to use (all that there are)")
_START.add_argument("--num-gpus", type=amount, metavar="N", help="GPUs to use (all that there are)")
_START.add_argument(
    "--address", metavar="A", help="a running runtime or Ray cluster, or `auto`; without it a new runtime here"
)
_STOP = Parser("%ray stop", "End the runtime with all its tasks, actors and objects; leave one that was joined.")
_LOGS = Parser("%ray logs", "Page through what tasks printed, the held-back part of a flood included.")
_LOGS.add_argument("what", nargs="?", metavar="WHAT", help="a task's name, the id of a task or actor, or a pid")
_LOGS.add_argument("--page", type=positive, default=1, metavar="N", help="1 is the newest page (1)")
_LOGS.add_argument("--lines", type=positive, default=100, metavar="N", help="lines in a page (100)")
_LOGS.add_argument("--grep", metavar="TEXT", help="only lines that contain TEXT")
_LOGS.add_argument("--save", metavar="FILE", help="write all of it to FILE instead")
_WHY = Parser("%ray why", "Say why tasks wait, and for what.")
_WHY.add_argument(
    "what",
    nargs="?",
    metavar="WHAT",
    help="an expression for references or an actor (`refs`, `refs[3]`), a name or an id; without it: all waiting tasks",
)
_CANCEL = Parser("%ray cancel", "Cancel this notebook's tasks, and the tasks that they have called. Actors live on.")
_CANCEL.add_argument(
    "what",
    nargs="?",
    metavar="WHAT",
    help="an expression for references (`refs`, `refs[3]`), a name, or an id; without it: all tasks",
)
_CANCEL.add_argument("--force", action="store_true", help="end the processes of tasks that do not respond")


_PARSERS = {"status": _STATUS, "start": _START, "stop": _STOP, "logs": _LOGS, "why": _WHY, "cancel": _CANCEL}


_START_SECONDS = 1.0
"""For so long `%ray status` waits for a runtime that is just starting: what it has is of more use than that."""


class Commands:
    """The magics' actions in one shell.

    Parameters
    ----------
    shell
        The IPython shell.
    notebook
        What the extension added to it.
    """

    def __init__(self, shell: Any, notebook: Notebook) -> None:
        self.shell = shell
        self._notebook = notebook
        self._commands: dict[str, Callable[[Sequence[str]], None]] = {
            "status": self._status,
            "start": self._start,
            "stop": self._stop,
            "logs": self._logs,
            "why": self._why,
            "cancel": self._cancel,
        }

    def __repr__(self) -> str:
        return f"<Commands: {', '.join(self._commands)}>"

    def remote(self, line: str, cell: str | None, caller: FrameType | None) -> Any:
        """Run a cell, or an expression, as a task; `caller` is the frame that wants the value."""
        from jupyter_ray.ipython.submit import checked_name, submit_cell

        try:
            tokens, rest = _REMOTE.split(line)
            options = _REMOTE.read(tokens)
        except HelpPrinted:
            return None
        if cell is not None and rest:
            raise UsageError(f"%%remote: unexpected `{rest}`: the code begins on the next line. See %%remote --help.")
        code = rest if cell is None else cell
        if not code.strip():
            raise UsageError("%remote needs an expression, %%remote a cell below it. See %%remote --help.")
        if options.out is not None:
            checked_name(options.out)
        number = self.shell.displayhook.prompt_count
        name = options.name or f"cell[{number}]"
        asked = given(options, "num_cpus", "num_gpus")
        board = self._notebook.board
        board.record()
        try:
            ref = submit_cell(self.shell, code, name, number, asked, first_line=1 if cell is None else 2)
        except BaseException as error:
            board.forget()
            if isinstance(error, RayError | NameError | TypeError | ValueError | SyntaxError):
                tracebacks.in_one_line(self.shell, error)
            raise
        if options.out is not None:
            self.shell.push({options.out: ref})
        if not options.wait and cell is None and _is_used(caller):
            board.forget()
            return ref
        quiet = code.rstrip().endswith(";")
        shown = self._notebook.show_line(name, ref, quiet=quiet, follow=not options.wait)
        if not options.wait:
            return None
        value = self._await(ref, shown)
        return None if quiet else value

    def _await(self, ref: ObjectRef[Any], line: Line) -> Any:
        """Return the value of a task, whose line shows how that goes."""
        from jupyter_ray.api import calls
        from jupyter_ray.ipython.pages import shown_value

        board = self._notebook.board
        try:
            value = calls.get(ref)
        except KeyboardInterrupt:
            board.follow(line)  # The task goes on, and so does its line.
            raise
        except BaseException as error:
            board.finish(line, None, error)
            raise
        board.finish(line, value, None)
        shown_value(value)  # Which tells the shell, that shows it, how figures look.
        return value

    def ray(self, line: str) -> None:
        """Run ``%ray COMMAND``."""
        command, *rest = words(line) or ["--help"]
        try:
            run = self._commands.get(command)
            if run is not None:
                run(rest)
            elif command in ("-h", "--help", "help"):
                _RAY.read(["--help"])
            else:
                hint = meant(command, self._commands)
                raise UsageError(f"%ray: there is no command `{command}`.{hint} Commands: {', '.join(self._commands)}.")
        except HelpPrinted:
            pass

    def offered(self, before: Sequence[str], begun: str) -> list[str]:
        """Return what may stand behind the words `before` of a magic's line and begins with `begun`."""
        parser = _REMOTE
        if before[:1] == ["%ray"]:
            if len(before) == 1 and not begun.startswith("-"):
                return [name for name in self._commands if name.startswith(begun)]
            parser = _PARSERS.get(before[1], _RAY) if len(before) > 1 else _RAY
        return [name for name in parser.options() if begun.startswith("-") and name.startswith(begun)]

    def _status(self, tokens: Sequence[str]) -> None:
        _STATUS.read(tokens)
        from jupyter_ray.ipython import reports

        end = time.monotonic() + _START_SECONDS
        while True:
            self._notebook.settle()
            snapshot = self._notebook.hub.snapshot()
            if snapshot["runtime"]["state"] != "starting" or time.monotonic() > end:
                break
            time.sleep(0.02)
        self._notebook.show(reports.status(snapshot, reports.engine_facts(registry.current())))

    def _start(self, tokens: Sequence[str]) -> None:
        options = _START.read(tokens)
        from jupyter_ray.ipython import reports

        running = registry.current()
        if running is not None and running.alive:
            raise UsageError("%ray start: a runtime is in use. `%ray stop` ends it.")
        try:
            init(**given(options, "address", "num_cpus", "num_gpus"))
        except (RayError, ConnectionError, ValueError, TypeError) as error:
            raise UsageError(f"%ray start: {error}") from None
        print(reports.greeting(registry.required()))

    def _stop(self, tokens: Sequence[str]) -> None:
        _STOP.read(tokens)
        was = registry.current()
        session.shutdown()
        if was is not None and was.process.guest:
            print("This notebook has left the runtime, and what it made has ended; the runtime goes on.")
        else:
            print("The runtime has ended." if was is not None else "No runtime was in use.")

    def _logs(self, tokens: Sequence[str]) -> None:
        options = _LOGS.read(tokens)
        from jupyter_ray.ipython import reports

        self._notebook.settle()
        self._notebook.router.flush(1.0)
        spool = self._notebook.router.spool
        lines = spool.lines(options.what, grep=options.grep)
        if options.save:
            print(reports.save(lines, options.save))
        else:
            print(reports.page(lines, options.page, options.lines, options.what, spool))

    def _why(self, tokens: Sequence[str]) -> None:
        options = _WHY.read(tokens)
        from jupyter_ray.ipython import explanations

        self._notebook.settle()
        snapshot = self._notebook.hub.snapshot()
        print("\n".join(explanations.why(snapshot, registry.current(), options.what, self.shell.user_ns)))

    def _cancel(self, tokens: Sequence[str]) -> None:
        options = _CANCEL.read(tokens)
        from jupyter_ray.ipython import cancelling

        try:
            print(cancelling.cancel(registry.current(), options.what, self.shell.user_ns, force=options.force))
        except RayError as error:
            raise UsageError(f"%ray cancel: {error}") from None


def _is_used(frame: FrameType | None) -> bool:
    """Tell whether the magic's value goes anywhere: ``x = %remote ...`` wants the reference, a bare line does not."""
    while frame is not None and tracebacks.is_shell(frame.f_code.co_filename):
        frame = frame.f_back
    if frame is None:
        return False
    try:
        tree = ast.parse("".join(linecache.getlines(frame.f_code.co_filename)))
    except SyntaxError:
        return False
    found: ast.stmt | None = None
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and node.lineno <= frame.f_lineno <= (node.end_lineno or node.lineno):
            found = node  # Walking goes from the outside in, so the last one is the innermost.
    if isinstance(found, ast.Expr):
        call = found.value
        return not (isinstance(call, ast.Call) and "run_line_magic" in ast.dump(call.func))
    return found is not None
