"""The magics in an IPython shell, on an engine that runs tasks in this process."""

from __future__ import annotations

import atexit
import linecache
import re
import subprocess
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from traitlets.config import Config

import jupyter_ray as ray
from jupyter_ray.api import session
from jupyter_ray.engine import context, registry
from jupyter_ray.engine.base import NoOwnerError
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.events import LogLines, RuntimeReady
from jupyter_ray.exceptions import ActorDiedError, GetTimeoutError, RayError, RayTaskError
from jupyter_ray.ids import task_of
from jupyter_ray.interrupts import Flag
from jupyter_ray.ipython import extension, reprs, submit, tracebacks
from jupyter_ray.ipython.arguments import Parser
from tests.fakes import FakeEngine

ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeEngine]:
    engine = FakeEngine()
    monkeypatch.setattr(registry, "warm", lambda kind="local", wait=False: None)
    monkeypatch.setattr(registry, "cool", lambda kind="local", wait=False: None)
    monkeypatch.setattr(registry, "start", lambda kind, options, address=None: engine)
    yield engine
    session.shutdown()


@pytest.fixture
def bare(engine: FakeEngine) -> Iterator[Any]:
    """A shell without the extension."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell: Any = InteractiveShell(config=config)  # type: ignore[no-untyped-call]
    yield shell
    extension.unload_ipython_extension(shell)
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(bare: Any) -> Any:
    extension.load_ipython_extension(bare)
    return bare


class Ran:
    """What a cell printed and returned."""

    def __init__(self, shell: Any, code: str) -> None:
        publisher, capturing = shell.display_pub, CapturingDisplayPublisher()  # type: ignore[no-untyped-call]
        shell.display_pub = capturing
        with capture_output(display=False) as captured:
            self.outcome = shell.run_cell(code, store_history=True)
        shell.display_pub = publisher
        self.text = ANSI.sub("", captured.stdout + captured.stderr)
        self.shown = [ANSI.sub("", output["data"]["text/plain"]) for output in capturing.outputs]
        self.value = self.outcome.result
        self.error = self.outcome.error_in_exec or self.outcome.error_before_exec


@pytest.fixture
def run(shell: Any) -> Callable[[str], Ran]:
    return lambda code: Ran(shell, code)


Run = Callable[[str], Ran]


def until(condition: Callable[[], Any], timeout: float = 5.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


# %%remote


def submitted(engine: FakeEngine) -> list[tuple[Any, ...]]:
    return [call for call in engine.calls if call[0] == "submit"]


def test_a_cell_takes_its_variables_along(run: Run, engine: FakeEngine) -> None:
    run("a, unused = 20, 'x' * 1000")
    run("def double(x): return 2 * x")
    assert run("%%remote -o out\nb = 1\ndouble(a) + b").error is None
    _, _, (_, _, variables), _, _ = submitted(engine)[-1]
    assert sorted(variables) == ["a", "double"]
    assert isinstance(run("out").value, ObjectRef)
    assert run("import jupyter_ray as ray\nray.get(out)").value == 41


def test_nothing_is_bound_without_out(run: Run, shell: Any) -> None:
    before = set(shell.user_ns)
    run("%%remote\nvalue = 7")
    assert {name for name in set(shell.user_ns) - before if not name.startswith("_")} == set()


def test_options_reach_the_task(run: Run, engine: FakeEngine) -> None:
    run("%%remote --num-cpus 0.5 --num-gpus 2 --name prepare\n1")
    kind, name, _, _, options = submitted(engine)[-1]
    assert (kind, name) == ("submit", "prepare")
    assert (options.num_cpus, options.num_gpus, options.name) == (0.5, 2, "prepare")


def test_a_task_has_its_cells_number(run: Run, engine: FakeEngine) -> None:
    run("1")
    run("%%remote\n1")
    assert submitted(engine)[-1][1] == "cell[2]"


def test_wait_returns_the_value(run: Run) -> None:
    assert run("%%remote --wait\n6 * 7").value == 42
    assert run("%%remote --wait\n6 * 7;").value is None
    assert run("x = 5").error is None
    assert run("%%remote --wait\nx = x + 1\nx").value == 6
    assert run("x").value == 5, "what the cell assigns stays in its task"


def test_wait_raises(run: Run) -> None:
    ran = run("%%remote --wait\n1 / 0")
    assert isinstance(ran.error, ZeroDivisionError)
    assert isinstance(ran.error, RayTaskError)


def test_the_line_becomes_the_result(run: Run, shell: Any, engine: FakeEngine, capsys: Any) -> None:
    engine.hold()
    ran = run("%%remote\n6 * 7")
    assert ran.shown == ["○ cell[1] · pending"]
    engine.release()
    until(lambda: "42" in capsys.readouterr().out)


def test_the_line_becomes_the_error(run: Run, shell: Any, engine: FakeEngine, capsys: Any) -> None:
    engine.hold()
    run("%%remote\n1 / 0")
    engine.release()
    text = ""

    def failed() -> bool:
        nonlocal text
        text += capsys.readouterr().out
        return "ZeroDivisionError: division by zero" in text

    until(failed)
    assert "✗ cell[1] · failed" in text


def test_functions_and_classes_of_the_cell(run: Run) -> None:
    code = """%%remote --wait
import dataclasses

@dataclasses.dataclass
class Point:
    x: int

def shift(point):
    return Point(point.x + helper())

def helper():
    return 1

[shift(Point(n)).x for n in range(3)]"""
    assert run(code).value == [1, 2, 3]


def test_top_level_await(run: Run) -> None:
    assert run("%%remote --wait\nimport asyncio\nawait asyncio.sleep(0, 'done')").value == "done"


def test_a_reference_stays_a_reference(run: Run) -> None:
    run("import jupyter_ray as ray\nref = ray.put([1, 2])")
    assert run("%%remote --wait\nsum(ray.get(ref))").value == 3


def test_shells_own_names_are_not_sent(run: Run, engine: FakeEngine, tmp_path: Any) -> None:
    path = tmp_path / "x"
    path.write_text("text")
    run(f"path = {str(path)!r}")
    assert run("%%remote --wait\nwith open(path) as file:\n    text = file.read()\ntext").value == "text"
    assert sorted(submitted(engine)[-1][2][2]) == ["path"]


def test_a_missing_name_is_said_at_once(run: Run, engine: FakeEngine) -> None:
    before = len(submitted(engine))
    ran = run("%%remote\nx = 1\nx + nope")
    assert isinstance(ran.error, NameError)
    assert "name 'nope' is not defined: line 3 of the cell reads it" in ran.text
    assert "submit_cell" not in ran.text, "no traceback of the magic's own code"
    assert len(submitted(engine)) == before


def test_wrong_syntax_is_shown_as_such(run: Run) -> None:
    ran = run("%%remote\nx = = 1")
    assert isinstance(ran.error, SyntaxError)
    assert 'File "Cell In[1]", line 2\n    x = = 1\n        ^\nSyntaxError: invalid syntax' in ran.text
    assert "submit_cell" not in ran.text
    assert "SyntaxError" in run("y = = 1").text, "as before"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("return 4", "'return' outside function"),
        ("for n in range(3):\n    pass\nbreak", "'break' outside loop"),
        ("def f():\n    nonlocal x", "no binding for nonlocal 'x' found"),
    ],
)
def test_what_only_the_compiler_sees_is_said_at_once_too(run: Run, engine: FakeEngine, code: str, said: str) -> None:
    before = len(submitted(engine))
    ran = run(f"%%remote\n{code}")
    assert isinstance(ran.error, SyntaxError)
    assert said in ran.text
    assert len(submitted(engine)) == before


def test_annotations_are_what_they_are_in_a_cell(run: Run) -> None:
    assert run("%%remote --wait\ndef f(x: int): pass\nf.__annotations__").value == {"x": int}
    assert run("%%remote --wait\nfrom __future__ import annotations\ndef f(x: int): pass\nf.__annotations__").value == {
        "x": "int"
    }


def test_an_unpicklable_variable_is_named(run: Run) -> None:
    run("import threading\nlock, fine = threading.Lock(), 1")
    ran = run("%%remote\nwith lock:\n    fine")
    assert isinstance(ran.error, TypeError)
    assert "the variable 'lock', which the cell reads, cannot be sent to a task" in ran.text


def test_an_unpicklable_variable_that_the_cell_makes_itself_is_left_out(run: Run) -> None:
    run("import threading\nlock = threading.Lock()")
    code = "%%remote --wait\ndef use():\n    return lock\nimport threading\nlock = 5\nuse()"
    assert run(code).value == 5


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("%%remote --num-cpus many\n1", "%%remote: argument --num-cpus: 'many' is not an amount"),
        ("%%remote --num-cpus -1\n1", "is not an amount: write a number, 0 or more"),
        ("%%remote --bogus\n1", "unrecognized arguments: --bogus"),
        ("%%remote 1 + 1\n1", "%%remote: unexpected `1 + 1`"),
        ("%%remote -o 2x\n1", "-o needs the name of a variable, not '2x'"),
        ("%%remote -o\n1", "expected one argument"),
        ("%%remote\nx = %timeit 1", "magics `%timeit 1` run in the notebook only"),
        ("%%remote\n!ls\n%time 1", "magics `%time 1` run in the notebook only"),
        ("%remote", "%remote needs an expression"),
        ('%remote --name "x', "--name: expected one argument"),
        ("%ray xyz", "%ray: there is no command `xyz`. Commands: status, start, stop, logs, why, cancel."),
        ("%ray lgos", "%ray: there is no command `lgos`. Did you mean 'logs'? Commands: "),
        ("%ray start --num-cpus x", "%ray start: argument --num-cpus"),
        ("%ray logs --page 0", "is not a count"),
        ("%ray why a b", "unrecognized arguments: b"),
    ],
)
def test_bad_options_get_one_line(run: Run, code: str, message: str) -> None:
    ran = run(code)
    assert message in ran.text
    assert ran.text.startswith("UsageError: ")
    assert len(ran.text.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "code",
    [
        "%%remote --help",
        "%%remote --help\n1",
        "%remote -h",
        "%ray --help",
        "%ray",
        "%ray status --help",
        "%ray start -h",
        "%ray stop --help",
        "%ray logs --help",
        "%ray why --help",
    ],
)
def test_help_prints(run: Run, engine: FakeEngine, code: str) -> None:
    calls = len(engine.calls)
    ran = run(code)
    assert ran.error is None
    assert "usage: %" in ran.text
    assert len(engine.calls) == calls


# %remote


def test_a_bare_line_shows_and_returns_nothing(run: Run) -> None:
    ran = run("%remote -o r 3 + 4")
    assert ran.value is None
    assert ran.shown == ["○ cell[1] · pending"]
    assert run("import jupyter_ray as ray\nray.get(r)").value == 7


def test_an_assignment_gets_the_reference(run: Run) -> None:
    ran = run("r = %remote 3 + 4")
    assert ran.shown == []
    assert run("import jupyter_ray as ray\nray.get(r)").value == 7


def test_wait_in_a_line(run: Run) -> None:
    assert run("%remote --wait max(3, 4)").value == 4


def test_an_expression_may_look_like_options(run: Run) -> None:
    assert run("%remote --wait -- -3 + 4").value == 1
    assert run("%remote --wait \"a b\" + ' -c'").value == "a b -c"


def test_split() -> None:
    parser = Parser("%x", "")
    parser.add_argument("--flag", action="store_true")
    parser.add_argument("-o", "--out")
    assert parser.split("--flag -o a f(x, -o)") == (["--flag", "-o", "a"], "f(x, -o)")
    assert parser.split("--out=a b") == (["--out=a"], "b")
    assert parser.split('--out "a b" c') == (["--out", "a b"], "c")
    assert parser.split("-- --flag") == ([], "--flag")
    assert parser.split("- 1") == ([], "- 1")
    assert parser.split("") == ([], "")


# %ray


def test_start_status_stop(run: Run, engine: FakeEngine) -> None:
    assert "No runtime was in use." in run("%ray stop").text
    assert "The runtime is ready: 2 CPUs, fake engine." in run("%ray start --num-cpus 2").text
    assert "a runtime is in use" in run("%ray start").text
    (status,) = run("%ray status").shown
    assert status.splitlines()[0].startswith("runtime")
    assert "tasks    none" in status
    assert "The runtime has ended." in run("%ray stop").text
    assert "stopped" in run("%ray status").shown[0]


def test_status_waits_for_a_runtime_that_is_just_starting(
    run: Run, shell: Any, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("%ray start")
    asked: list[int] = []

    def flush() -> None:
        asked.append(1)
        if len(asked) == 3:
            for listener in list(engine.listeners):
                listener([RuntimeReady(pid=7, engine="fake", resources={}, gpus=[])])

    monkeypatch.setattr(engine, "flush_events", flush)
    assert "ready" in run("%ray status").shown[0].splitlines()[0]


def test_logs(run: Run, shell: Any, engine: FakeEngine) -> None:
    assert "No task has printed anything." in run("%ray logs").text
    run("%ray start")
    text = "".join(f"line {n}\n" for n in range(250))
    for listener in list(engine.listeners):
        listener([LogLines(stream="stdout", text=text, name="f", pid=7, cell="In[1]")])
    newest = run("%ray logs f").text
    assert "(f pid=7) line 249\n" in newest
    assert "[lines 151 to 250 of 250; older ones: --page 2; everything: --save FILE]" in newest
    assert "(f pid=7) line 0\n" in run("%ray logs --page 3").text
    assert "has printed nothing" in run("%ray logs g").text


def test_a_terminal_shows_all_that_tasks_print(
    run: Run, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Past 2 MB it was held back as in a page, and what is held back is told half a second later: never at the end."""
    run("%ray start")
    capsys.readouterr()
    text = "".join(f"line {n} {'x' * 60}\n" for n in range(50_000))
    for listener in list(engine.listeners):
        listener([LogLines(stream="stdout", text=text, name="f", pid=7, cell="In[1]")])
    assert capsys.readouterr().out.count("(f pid=7) line ") == 50_000


# Loading


def test_loading_twice_and_again(bare: Any, engine: FakeEngine) -> None:
    extension.load_ipython_extension(bare)
    first = bare._jupyter_ray_extension
    extension.load_ipython_extension(bare)
    assert bare._jupyter_ray_extension is first
    extension.unload_ipython_extension(bare)
    extension.unload_ipython_extension(bare)
    extension.load_ipython_extension(bare)
    assert Ran(bare, "%%remote --wait\n1 + 1").value == 2


def test_unloading_leaves_nothing(bare: Any, engine: FakeEngine) -> None:
    threads = set(threading.enumerate())
    cell_source, watchers, printer = context._cell_source, list(registry._watchers), session._printer
    transformers = list(bare.input_transformers_cleanup)
    html = bare.display_formatter.formatters["text/html"]
    types = dict(html.deferred_printers)
    extension.load_ipython_extension(bare)
    Ran(bare, "%%remote --wait\n1 + 1")
    assert context.current_cell() is not None
    extension.unload_ipython_extension(bare)
    assert context._cell_source is cell_source
    assert registry._watchers == watchers
    assert session._printer is printer
    assert bare.input_transformers_cleanup == transformers
    assert html.deferred_printers == types
    assert not hasattr(RayError, "_render_traceback_")
    assert "structured_traceback" not in {**vars(bare.InteractiveTB), **vars(bare.SyntaxTB)}
    assert "remote" not in bare.magics_manager.magics["cell"]
    assert "UsageError: Line magic function `%ray` not found." in Ran(bare, "%ray status").text
    until(lambda: set(threading.enumerate()) <= threads)


def test_a_session_from_before_is_watched(bare: Any, engine: FakeEngine) -> None:
    ray.init(num_cpus=2)
    extension.load_ipython_extension(bare)
    bare._jupyter_ray_extension.notebook()
    assert len(engine.listeners) == 2, "events, and output"
    extension.unload_ipython_extension(bare)
    assert registry.current() == engine, "it goes on"
    assert len(engine.listeners) == 1, "output is printed as before"


def test_calls_know_their_cell(run: Run) -> None:
    assert run("from jupyter_ray.engine import context\ncontext.current_cell()").value == "In[1]"
    assert run("context.current_cell()").value == "In[2]"


def test_the_panel_can_cancel(shell: Any, engine: FakeEngine) -> None:
    ray.init()
    shell._jupyter_ray_extension.notebook().hub.handle(
        {"type": "cancel", "client": "c", "task": "ab" * 24, "force": True}
    )
    until(lambda: ("cancel", b"\xab" * 24, True, True) in engine.calls)


def test_a_task_that_ends_while_others_are_cancelled_is_passed_over(
    run: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("import jupyter_ray as ray\nray.init()")
    job = engine.process.job.hex()
    quick, slow = (
        {"task_id": f"{n:048x}", "job_id": job, "name": name, "type": "NORMAL_TASK"}
        for n, name in enumerate(("quick", "slow"))
    )
    cancel = engine.cancel

    def gone(object_id: bytes, *, force: bool, recursive: bool) -> None:
        if task_of(object_id).hex() == quick["task_id"]:
            raise NoOwnerError("No owner found for the object")
        cancel(object_id, force=force, recursive=recursive)

    monkeypatch.setattr(engine, "cancel", gone)
    monkeypatch.setattr(engine, "table", lambda *args, **named: ([quick, slow, quick], False))
    assert run("%ray cancel").text == "Cancelled: slow.\n"
    assert ("cancel", bytes.fromhex(slow["task_id"]), False, True) in engine.calls
    monkeypatch.setattr(engine, "table", lambda *args, **named: ([quick], False))
    assert run("%ray cancel").text == "Nothing runs or waits.\n"


# Interrupts


@pytest.mark.parametrize("code", ["done = 1", "from __future__ import annotations\ndone = 1", "%pinfo str", "done ="])
def test_an_interrupt_while_the_first_cell_waits_for_the_rest_is_the_cell_s(
    bare: Any, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    waited: list[float | None] = []
    wait = Flag.wait

    def interrupted_once(flag: Flag, timeout: float | None = None) -> bool:
        if threading.current_thread() is threading.main_thread():
            waited.append(timeout)
            if len(waited) == 1:
                raise KeyboardInterrupt
        return wait(flag, timeout)

    extension.load_ipython_extension(bare)
    monkeypatch.setattr(Flag, "wait", interrupted_once)
    first = Ran(bare, code)
    assert isinstance(first.error, SyntaxError if code == "done =" else KeyboardInterrupt)
    assert "callback" not in first.text
    assert "done" not in bare.user_ns
    assert Ran(bare, "%ray --help\ndone = 2").error is None
    assert bare.user_ns["done"] == 2
    assert bare.ast_transformers == []


# Errors and reprs


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no groups of exceptions")
def test_a_group_of_errors_is_shown_as_others_are(run: Run, shell: Any) -> None:
    run("import jupyter_ray as ray\n@ray.remote\ndef f(name):\n    raise KeyError(name)")
    both = "errors = []\nfor name in ('one', 'two'):\n    try:\n        ray.get(f.remote(name))\n"
    both += "    except KeyError as error:\n        errors.append(error)\n"
    ran = run(both + "raise ExceptionGroup('all', [ExceptionGroup('inner', errors), ValueError('mine')])")
    assert isinstance(ran.error, Exception)
    for line in ("ExceptionGroup: all (2 sub-exceptions)", "KeyError: 'one'", "KeyError: 'two'", "ValueError: mine"):
        assert line in ran.text
    assert ran.text.count("    ray.get(f.remote(name))") == 2
    assert "interactiveshell.py" not in ran.text
    assert str(Path(ray.__file__).parent) not in ran.text
    assert 'File "Cell In[2]", line 7, in <module>' in ran.text
    assert traceback.extract_tb(run("errors[0]").value.__traceback__)[-1].filename.endswith(".py"), "all is kept"
    theirs = run("@ray.remote\ndef g():\n    raise ExceptionGroup('far', [KeyError('away')])\nray.get(g.remote())").text
    assert "----> 4 ray.get(g.remote())" in theirs
    assert theirs.count("ExceptionGroup: far (1 sub-exception)") == 1
    alone = run("raise ExceptionGroup('nothing of ours', [ValueError(1)])").text
    assert "interactiveshell.py" in alone, "as IPython shows it"
    extension.unload_ipython_extension(shell)
    assert "showtraceback" not in vars(shell)


def test_errors_show_both_ends_and_nothing_between(run: Run) -> None:
    run("import jupyter_ray as ray\n@ray.remote\ndef f():\n    raise KeyError('lost')")
    text = run("ray.get(f.remote())").text
    assert "----> 1 ray.get(f.remote())" in text
    assert "RayTaskError(KeyError): ray::f() (pid=7, ip=127.0.0.1)\nKeyError: 'lost'" in text
    assert "calls.py" not in text


def test_other_errors_are_short_too(run: Run, engine: FakeEngine) -> None:
    run("import jupyter_ray as ray\n@ray.remote\ndef f(x): pass")
    engine.hold()
    text = run("ray.get(f.remote(1), timeout=0)").text
    assert "GetTimeoutError: ObjectRef(" in text
    assert "calls.py" not in text
    text = run("f.remote()").text
    assert "TypeError: f() missing a required argument: 'x'" in text
    assert "remote.py" not in text


def test_a_bug_of_ours_shows_where(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run("import jupyter_ray as ray")
    monkeypatch.delattr(FakeEngine, "put")
    text = run("ray.put(1)").text
    assert "AttributeError" in text
    assert "calls.py" in text


def test_a_misspelt_method_is_no_bug_of_ours(run: Run) -> None:
    run("import jupyter_ray as ray\n@ray.remote\nclass Counter:\n    def inc(self): pass\nc = Counter.remote()")
    for code, name in (("c.incc.remote()", "inc"), ("ray.gets", "get")):
        text = run(code).text
        assert f"Did you mean {name!r}?" in text
        assert f"----> 1 {code}" in text
        assert "__getattr__" not in text


def test_a_second_init_is_no_bug_of_ours(run: Run) -> None:
    run("import jupyter_ray as ray\nfacts = ray.init()")
    lines = run("ray.init()").text.splitlines()
    assert lines[-1].startswith("RuntimeError: Maybe you called ray.init twice by accident?")
    assert "----> 1 ray.init()" in lines
    assert len(lines) < 8


@pytest.mark.parametrize("then", ["raise ValueError('mine') from e", "int('mine')"])
def test_a_users_error_after_a_tasks_shows_both_and_nothing_between(run: Run, then: str) -> None:
    run("import jupyter_ray as ray\n@ray.remote\ndef boom(): 1/0")
    ran = run(f"try:\n    ray.get(boom.remote())\nexcept Exception as e:\n    {then}")
    assert isinstance(ran.error, ValueError)
    assert "ZeroDivisionError" in ran.text
    assert "calls.py" not in ran.text
    before = ran.error.__context__
    assert before is not None
    assert len(list(traceback.walk_tb(before.__traceback__))) > 2, "whole, for who asks"


def test_users_own_errors_are_untouched(run: Run) -> None:
    text = run("def g():\n    raise ValueError('mine')\ng()").text
    assert "----> 3 g()" in text
    assert "ValueError: mine" in text


def test_a_reference_that_is_taken_for_its_value_is_explained(run: Run, shell: Any) -> None:
    run("import jupyter_ray as ray\nref = ray.put(1)")
    hint = "ray.get(ref) returns the value"
    wrongs = ["ref + 1", "sum([ref])", "ref[0]", "len(ref)", "float(ref)", "a, b = ref", "[*ref]", "ref > 1"]
    for wrong in [*wrongs, "f'{ref:.2f}'"]:
        text = run(wrong).text
        assert "TypeError" in text
        assert hint in text.splitlines()[-1], wrong
    for other in ("ray.wait(ref)", "ray.get([1])", "1 + None", "raise ValueError(\"'ObjectRef'\")"):
        assert hint not in run(other).text, other
    try:
        sum([ObjectRef.nil()])  # type: ignore[list-item]
    except TypeError as error:
        remote = RayTaskError("f", "TypeError: ...", error)
    assert hint in tracebacks.render(shell, remote)[-1]


def test_an_array_that_tasks_share_is_explained(run: Run) -> None:
    run("import jupyter_ray as ray, numpy as np\nx = np.zeros(3)\nx.flags.writeable = False")
    hint = "Arrays that ray.get returns are read-only: tasks share their memory. Write to array.copy()."
    assert hint not in run("x[0] = 1").text, "no session has been begun"
    run("ray.init()")
    for wrong in ("x[0] = 1", "x += 1", "x.sort()"):
        assert hint in run(wrong).text.splitlines()[-1], wrong


def test_the_debugger_begins_where_the_user_was(run: Run) -> None:
    run("import jupyter_ray as ray\ndef mine():\n    ray.get(5)")
    for wrong in ("mine()", "ray.get(5)", "ray.get(ray.put(1), timeout='x')"):
        ran = run(wrong)
        entries = list(traceback.walk_tb(sys.last_traceback))
        assert "ray.get(" in "".join(linecache.getlines(entries[-1][0].f_code.co_filename)), wrong
        assert ran.error is not None
        assert ran.error.__traceback__ is sys.last_traceback


def test_remote_tracebacks_name_cells(shell: Any) -> None:
    name = shell.compile.cache("1/0", 7)
    error = RayTaskError("f", f'Traceback (most recent call last):\n  File "{name}", line 1, in f\n    1/0\nE: x')
    assert 'File "Cell In[7]", line 1, in f' in tracebacks.remote(shell, error)
    assert GetTimeoutError("late").__class__ is GetTimeoutError
    died = ActorDiedError(f'it raised\n  File "{name}", line 1, in __init__')
    assert 'File "Cell In[7]", line 1, in __init__' in "".join(tracebacks.render(shell, died))


def html(shell: Any, value: Any) -> str:
    data, _ = shell.display_formatter.format(value)
    return html_text(data["text/html"])


def html_text(text: str) -> str:
    return unescape(ANSI.sub("", re.sub("<[^>]+>", "", text))).strip()


def test_reprs(run: Run, shell: Any) -> None:
    run("import jupyter_ray as ray\n@ray.remote\nclass Counter:\n    def inc(self): pass\nc = Counter.remote()")
    run("stored, called, facts = ray.put(1), c.inc.remote(), ray.init(ignore_reinit_error=True)")
    names = shell.user_ns
    assert re.fullmatch(r"· ObjectRef\(…[0-9a-f]{4}\) · stored by put", html(shell, names["stored"]))
    assert re.fullmatch(r"ObjectRef\(…[0-9a-f]{4}\)", html(shell, names["called"]))
    assert re.fullmatch(r"Counter\(…[0-9a-f]{4}\)", html(shell, names["c"]))
    assert "engine" in html(shell, names["facts"])


def test_a_reference_whose_task_goes_on_says_as_of_when(shell: Any) -> None:
    ref: ObjectRef[Any] = ObjectRef(b"\1" * 28)

    def shown(state: str, error: str | None = None) -> str:
        row = {
            "id": ref.binary()[:24].hex(),
            "name": "f",
            "state": state,
            "started": 5.0,
            "ended": None,
            "error": error,
        }
        return html_text(reprs.object_ref(ref, {"tasks": [row]}, 7.0)).partition(" · ")[2]

    assert shown("running") == "f · running · 2.00 s · as of this cell"
    assert shown("finished") == "f · finished · 2.00 s"
    assert shown("failed", "ValueError: no") == "f · failed · 2.00 s · ValueError: no"


def test_a_session_says_what_it_has(shell: Any) -> None:
    row = {"kind": "CPU", "name": "CPU", "total": 4.0, "used": 0.0, "lent": []}
    memory = {"kind": "other", "name": "memory", "total": 4e9, "used": 0.0, "lent": []}
    gpus = [{**row, "kind": "GPU", "name": f"GPU:{number}", "total": 1.0} for number in range(2)]
    facts = types.SimpleNamespace(address_info={"session_name": "s"}, ray_version="1")
    assert "resources4 CPU, 2 GPU" in html_text(reprs.context(facts, {"resources": [row, *gpus, memory]}))
    assert "resources" not in html_text(reprs.context(facts, {"resources": []}))


def test_a_list_of_references_says_what_has_become_of_them(shell: Any) -> None:
    def row(ref: ObjectRef[Any], state: str, error: str | None = None) -> dict[str, Any]:
        return {"id": ref.binary()[:24].hex(), "name": "f", "state": state, "error": error}

    refs: list[ObjectRef[Any]] = [ObjectRef(bytes([number]) * 28) for number in range(5)]
    failed = [row(ref, "failed", "KeyError: 'b'") for ref in refs[1:3]]
    rows = [row(refs[0], "finished"), *failed, row(refs[3], "running")]
    text = html_text(reprs.object_refs(refs, {"tasks": rows}))
    assert (
        text
        == "5 ObjectRefs · f · ▶ 1 running · ✓ 1 finished · ✗ 2 failed · 1 more · [1]: KeyError: 'b' · as of this cell"
    )
    over = html_text(reprs.object_refs(refs[:3], {"tasks": rows[:3]}))
    assert over == "3 ObjectRefs · f · ✓ 1 finished · ✗ 2 failed · [1]: KeyError: 'b'"
    shell._jupyter_ray_extension.notebook()  # Loaded by now.
    assert html(shell, refs) == "5 ObjectRefs"

    class Shown(list):
        def _repr_html_(self) -> str:
            return "<b>shown</b>"

    assert html(shell, Shown(refs)) == "shown"
    for other in ([], [1, 2], refs[:1], [*refs, 1], tuple(refs)):
        assert "text/html" not in shell.display_formatter.format(other)[0]
    extension.unload_ipython_extension(shell)
    assert "text/html" not in shell.display_formatter.format(refs)[0]


def test_what_has_been_printed_is_shown_before_the_value(shell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    router = shell._jupyter_ray_extension.notebook().router
    monkeypatch.setattr(router, "settle", lambda patience: order.append("settle"))
    monkeypatch.setattr(shell.displayhook, "write_format_data", lambda *_: order.append("value"))
    shell.run_cell("1 + 1")
    assert order == ["settle", "value", "settle"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("%ray ", ["cancel", "logs", "start", "status", "stop", "why"]),
        ("%ray st", ["start", "status", "stop"]),
        ("%ray logs --p", ["--page"]),
        ("%ray start --", ["--address", "--help", "--num-cpus", "--num-gpus"]),
        ("%ray --", ["--help"]),
        ("%%remote --n", ["--name", "--num-cpus", "--num-gpus"]),
        ("%remote --wa", ["--wait"]),
    ],
)
def test_tab_offers_commands_and_options(shell: Any, line: str, offered: list[str]) -> None:
    assert completed(shell, line) == offered
    for other in ("x = 1 + al", "al", "%remote x", "%ray why x"):
        assert not {*offered, "status"} & set(completed(shell, other))
    extension.unload_ipython_extension(shell)
    assert not set(offered) & set(completed(shell, line))


def completed(shell: Any, line: str) -> list[str]:
    with provisionalcompleter():
        return sorted(each.text for each in shell.Completer.completions(line, len(line)))


def test_unpicklable_is_empty_when_all_pickle() -> None:
    assert submit.unpicklable({"a": 1, "f": lambda: 1}) == {}


def test_loading_waits_for_no_import() -> None:
    code = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell()
before = set(sys.modules)
import jupyter_ray.ipython.extension
print(*sorted(name for name in set(sys.modules) - before if not name.startswith("jupyter_ray")))
print(*sorted(name for name in set(sys.modules) - before if name.startswith("jupyter_ray.")))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split("\n")
    assert "msgspec" not in out[0].split()
    assert not {"jupyter_ray.api", "jupyter_ray.monitor", "jupyter_ray.local"} & set(out[1].split())


TRAINS = """
import jupyter_ray as ray

@ray.remote
def train(data, *, rate=0.1, epochs: int = 10, name_of_the_model: str = "none", output="") -> float:
    "Train a model."

@ray.remote
class Model:
    "A model."
    def __init__(self, size: int, name="x"):
        pass

    def fit(self, data, weight=1):
        pass

model = Model.remote(1)
"""


def shown(shell: Any, name: str, level: int = 0) -> str:
    return ANSI.sub("", shell.object_inspect_mime(name, level)["text/plain"])


def test_shift_tab_shows_the_parameters_of_what_is_called(shell: Any, run: Run) -> None:
    run(TRAINS)
    told = shown(shell, "train.remote")
    assert "train.remote(\n    data,\n    *,\n    rate=0.1,\n    epochs: int = 10,\n" in told
    assert "float" not in told.partition("Docstring")[0].rpartition(")")[2], "it returns a reference"
    assert "Train a model." in told
    assert "train.remote(\n    data," in shown(shell, "train")
    assert "Signature: Model.remote(size: int, name='x')" in shown(shell, "Model.remote")
    assert "A model." in shown(shell, "Model.remote")
    assert "Signature: model.fit.remote(data, weight=...)" in shown(shell, "model.fit.remote")
    assert "Signature: len(obj, /)" in shown(shell, "len")


def test_question_marks_show_the_code_of_what_is_called(shell: Any, run: Run) -> None:
    """They showed the source of `RemoteFunction`, and the file that it is in."""
    run(TRAINS)
    for name in ("train", "train.remote", "Model"):
        plain, whole = (shown(shell, name, level) for level in (0, 1))
        assert "jupyter_ray/api" not in plain + whole, name
        assert "Raise a TypeError" not in plain + whole
        if name != "Model":  # Python looks for a class's code in its module, which the tests' shell has none of.
            assert "def train(" in whole
            assert "Docstring" not in whole, "the code has it"
    run("@ray.remote\ndef quiet():\n    return 5")
    assert "Start a task" in shown(shell, "quiet.remote")
    assert "return 5" in shown(shell, "quiet", 1)
    for level in (0, 1):
        told = shown(shell, "model.fit.remote", level)
        assert "File:" not in told
        assert "Source:" not in told, "it is another process's"


def test_tab_offers_the_keywords_of_what_is_called(shell: Any, run: Run) -> None:
    run(TRAINS)

    def offered(line: str) -> set[str]:
        with provisionalcompleter():
            return {each.text for each in shell.Completer.completions(line, len(line)) if each.text.endswith("=")}

    assert offered("train.remote(1, ") >= {"rate=", "epochs=", "data="}
    assert offered("train.remote(1, rate=2, ra") == set()
    assert offered("train.remote(1, ep") == {"epochs="}


def test_signatures_are_as_before_without_the_extension(shell: Any, run: Run) -> None:
    run(TRAINS)
    extension.unload_ipython_extension(shell)
    assert "train.remote(*args" in shown(shell, "train.remote")
    assert "info" not in vars(shell.inspector)
