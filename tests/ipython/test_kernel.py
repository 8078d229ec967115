# mypy: disable-error-code="no-untyped-call"
"""The extension in a real kernel with a real runtime: what a user of a notebook sees."""

from __future__ import annotations

import os
import re
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

from tests.contract.helpers import eventually, is_running
from tests.ipython.kernels import ANSI, Cell, Kernel

PRELUDE = "%load_ext jupyter_ray\nimport jupyter_ray as ray, time, os"
FUNCTIONS = """
@ray.remote
def say(text, pause=0.0):
    time.sleep(pause)
    print(text)
    return text

@ray.remote
def nest(text, pause=0.0):
    print("outer", text)
    return ray.get(say.remote(text, pause))

@ray.remote
def sleep(seconds):
    time.sleep(seconds)
    return seconds

@ray.remote
def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)
    return "went on"

@ray.remote(num_returns="streaming")
def stream():
    yield 1
    time.sleep(2)

@ray.remote
def flood(count):
    for n in range(count):
        print("line", n)
    return count
"""


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel that the tests of this module share, with a runtime of two CPUs."""
    kernel = Kernel()
    try:
        kernel.run(PRELUDE)
        kernel.run("session = ray.init(num_cpus=2)" + FUNCTIONS)
        kernel.run("ray.get([sleep.remote(0) for _ in range(2)])")
        yield kernel
    finally:
        kernel.close()


@pytest.fixture
def own_kernel() -> Iterator[Kernel]:
    """A kernel that the test may end."""
    kernel = Kernel()
    yield kernel
    kernel.close()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """A file for `wait_for`; it is there at the latest when the test has ended."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def plain(text: str) -> list[str]:
    """Lines without their origin."""
    return [line.partition(") ")[2] for line in text.splitlines()]


def says(kernel: Kernel, code: str, text: str) -> None:
    """Run a cell again until it says `text`: what the runtime tells comes in batches."""

    def ran() -> bool:
        cell = kernel.run(code)
        return text in cell.stdout + "".join(display["text/plain"] for display in cell.displays)

    kernel.until(ran)


# Output


def test_output_lands_in_the_cell_that_asked(kernel: Kernel) -> None:
    early = kernel.run("late = nest.remote('late', 0.6)")
    other = kernel.run("time.sleep(1.2); print('busy')")
    assert plain(early.stdout) == ["outer late", "late"]
    assert early.stdout.startswith("(nest pid=")
    assert other.stdout == "busy\n"


def test_output_of_a_task_that_was_got_is_there_when_the_cell_ends(kernel: Kernel) -> None:
    for n in range(10):
        cell = kernel.run(f"ray.get(nest.remote('{n}'))")
        kinds = [message["msg_type"] for message in cell.messages]
        last = max(n for n, kind in enumerate(kinds) if kind == "stream")
        assert sorted(plain(cell.stdout)) == [str(n), f"outer {n}"]
        assert last < len(kinds) - 1 - kinds[::-1].index("status") + 1, "before idle"


def test_an_error_that_nobody_looks_at_tells_its_cell(kernel: Kernel) -> None:
    cell = kernel.run("""
    @ray.remote
    def lost():
        raise ValueError("nobody asks")

    lost.remote()
    None
    """)
    kernel.until(lambda: "ValueError: nobody asks" in cell.stderr)
    assert 'File "Cell In[' in cell.stderr
    assert "ipykernel_" not in cell.stderr


def test_output_of_actors_and_of_stderr(kernel: Kernel) -> None:
    kernel.run("""
import sys

@ray.remote
class Speaker:
    def speak(self):
        print("from the actor")
        print("to stderr", file=sys.stderr)

speaker = Speaker.remote()""")
    cell = kernel.run("ray.get(speaker.speak.remote())")
    kernel.until(lambda: cell.stderr)
    assert plain(cell.stdout) == ["from the actor"]
    assert plain(cell.stderr) == ["to stderr"]


def test_a_flood_is_folded_and_stalls_nothing(kernel: Kernel) -> None:
    cell = kernel.run("flooding = flood.remote(300_000)")
    slowest = 0.0
    for _ in range(1000):
        begun = time.monotonic()
        done = kernel.run("ray.wait([flooding], timeout=0)[0]").result != "[]"
        slowest = max(slowest, time.monotonic() - begun)
        if done:
            break
    assert slowest < 5
    kernel.until(lambda: cell.displays and "held back" in cell.displays[0]["text/plain"])
    kernel.until(lambda: f"{300_000 - cell.stdout.count(chr(10)):,} more lines" in cell.displays[0]["text/plain"])
    shown = cell.contents("stream", "display_data", "update_display_data")
    size = sum(len(str(content.get("text", content.get("data"))).encode()) for content in shown)
    print(f"flood: {len(shown)} messages, {size:,} bytes, slowest cell {slowest * 1000:.0f} ms")
    assert len(shown) <= 1_000
    assert size <= 2_000_000
    page = kernel.run("%ray logs flood --lines 3").stdout
    assert "line 299999\n[lines 299,998 to 300,000 of 300,000" in page


# %%remote


def test_a_remote_cell_does_not_block(kernel: Kernel) -> None:
    kernel.run("import numpy as np\nvalues, factor = np.arange(5), 10")
    cell = kernel.run("%%remote -o answer\nprint('in the cell'); time.sleep(0.8)\nint(values.sum()) * factor")
    assert cell.idle_at is not None
    assert cell.idle_at - cell.sent < 0.8, "submitted, and gone on"
    assert kernel.run("type(answer).__name__").result == "'ObjectRef'"
    kernel.until(lambda: len(cell.displays) == 2)
    assert "pending" in cell.states[0]
    assert any("running" in state for state in cell.states)
    assert cell.stdout == "in the cell\n", "the cell's own output needs no origin"
    assert kernel.run("ray.get(answer)").result == "100"


@pytest.mark.parametrize(
    ("code", "end", "result"),
    [("6 * 7", "finished", "42"), ("1 / 0", "failed", "division by zero"), ("None", "finished", None)],
)
def test_a_result_comes_below_what_its_cell_has_printed(
    kernel: Kernel, code: str, end: str, result: str | None
) -> None:
    cell = kernel.run(f"%%remote\nprint('one'); print('two')\n{code}")
    kernel.until(lambda: end in cell.displays[0]["text/plain"] and len(cell.displays) == (1 if result is None else 2))
    assert cell.stdout == "one\ntwo\n"
    if result is not None:
        kinds = [each["msg_type"] for each in cell.messages if each["msg_type"] in ("stream", "display_data")]
        assert kinds[-1] == "display_data", "after the prints"
        text = ANSI.sub("", cell.displays[1]["text/plain"])
        assert text.rstrip().endswith(result)
        assert end not in text, "the line says so"


def test_who_runs_a_notebook_without_a_page_saves_what_became_of_a_remote_cell() -> None:
    cells = [
        PRELUDE,
        "%%remote -o ref\ntime.sleep(0.2)\n6 * 7",
        "ray.get(ref)",
        "%%remote -o bad\n1 / 0",
        "ray.wait([bad])",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60).execute()
    assert notebook.cells[1].outputs[0]["data"]["text/plain"] == "42"
    assert "division by zero" in notebook.cells[3].outputs[0]["data"]["text/plain"]


def test_who_runs_a_notebook_without_a_page_saves_what_tasks_of_earlier_cells_print(tmp_path: Path) -> None:
    """It goes with the cell that runs, or with the next one; it was lost, and a result below printed lines with it."""
    opened, ran = tmp_path / "opened", tmp_path / "ran"
    late = f"""
        @ray.remote
        def late(path):
            while not os.path.exists(path):
                time.sleep(0.01)
            print("printed late")
            display("displayed late")
            open({str(ran)!r}, "w")
    """
    wait = f"while not os.path.exists({str(ran)!r}): time.sleep(0.01)"
    cells = [
        f"{PRELUDE}\n{textwrap.dedent(late)}ref = late.remote({str(opened)!r})",
        f"%%remote -o result\nprint('printed'); ray.wait([late.remote({str(opened)!r})])\nprint('again')\n6 * 7",
        f"open({str(opened)!r}, 'w').close()\n{wait}\nray.wait([ref, result], num_returns=2)[1]",
        "None",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60).execute()
    outputs = [output for cell in notebook.cells[2:] for output in cell.outputs]
    printed = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    assert len(re.findall(r"^\(late pid=\d+\) printed late$", printed, re.MULTILINE)) == 2
    assert re.search(r"^\(cell\[2\] pid=\d+\) again$", printed, re.MULTILINE), "it is not in its own cell"
    displays = [output["data"]["text/plain"] for output in outputs if output["output_type"] == "display_data"]
    assert displays == ["'displayed late'"] * 2
    assert notebook.cells[1].outputs[0]["data"]["text/plain"] == "42", "in the line's place"


def test_the_live_line_is_paced(kernel: Kernel) -> None:
    cell = kernel.run("%%remote\ntime.sleep(1.5)")
    kernel.until(lambda: "finished" in cell.displays[0]["text/plain"])
    assert len(cell.states) <= 11
    assert "text/html" in cell.displays[0]
    assert "var(--jp-" in cell.displays[0]["text/html"]


def test_a_remote_cell_that_blocks_says_so(kernel: Kernel) -> None:
    cell = kernel.run("%%remote\nray.get(sleep.remote(1.0))")
    kernel.until(lambda: cell.displays[0]["text/plain"] == "1.0")
    assert any("blocked" in state for state in cell.states)


def test_a_remote_cell_that_fails(kernel: Kernel) -> None:
    cell = kernel.run("%%remote\ndef g():\n    return 1 / 0\ng()")
    kernel.until(lambda: "failed" in cell.displays[0]["text/plain"])
    text = ANSI.sub("", cell.displays[0]["text/plain"])
    underlined = "( +[~^]+\n)?"  # By Python 3.13.
    assert re.search(rf'line 4, in <module>\n    g\(\)\n{underlined}  File "Cell In\[', text)
    assert text.rstrip().endswith("ZeroDivisionError: division by zero")
    assert "jupyter_ray" not in text


def test_waiting_for_a_remote_cell(kernel: Kernel) -> None:
    cell = kernel.run("%%remote --wait\nprint('working')\n6 * 7")
    assert cell.result == "42"
    assert cell.stdout == "working\n"
    failed = kernel.fail("%%remote --wait --name job\n1 / 0")
    assert failed.reply is not None
    assert failed.reply["ename"] == "RayTaskError(ZeroDivisionError)"
    assert "ray::job()" in failed.error
    assert "magics.py" not in failed.error


def test_rich_results(kernel: Kernel) -> None:
    kernel.run("class Picture:\n    def _repr_html_(self): return '<b>hello</b>'")
    cell = kernel.run("%%remote\nPicture()")
    kernel.until(lambda: cell.displays[0].get("text/html") == "<b>hello</b>")


# Errors and states


def test_a_traceback_shows_both_ends(kernel: Kernel) -> None:
    cell = kernel.fail("@ray.remote\ndef bad():\n    raise ValueError('oh no')\n\nray.get(bad.remote())")
    assert "----> 5 ray.get(bad.remote())" in cell.error
    assert "line 3, in bad\n    raise ValueError('oh no')\nValueError: oh no" in cell.error
    assert 'File "Cell In[' in cell.error
    assert "jupyter_ray/" not in cell.error


def test_a_users_error_that_follows_a_tasks_shows_both(kernel: Kernel) -> None:
    kernel.run("@ray.remote\ndef boom():\n    1 / 0")
    for then in ("raise ValueError('mine') from error", "int('mine')"):
        error = kernel.fail(f"try:\n    ray.get(boom.remote())\nexcept Exception as error:\n    {then}").error
        assert re.search(r'File "Cell In\[\d+\]", line 3, in boom', error)
        assert "jupyter_ray/" not in error
        assert error.splitlines()[-1].startswith("ValueError: ")


def test_the_debugger_begins_in_the_frame_that_asked_for_the_result(kernel: Kernel) -> None:
    kernel.run("@ray.remote\ndef breaks():\n    1 / 0\ndef mine():\n    return ray.get(breaks.remote())")
    kernel.fail("mine()")
    frames = kernel.run(
        "import sys, traceback\n[each.name for each in traceback.extract_tb(sys.last_traceback)]"
    ).result
    assert frames == "['<module>', 'mine']"


def test_what_cannot_be_pickled_is_told_without_the_frames_of_pickling(kernel: Kernel) -> None:
    cell = kernel.fail("import threading\nlock = threading.Lock()\nray.put([lock])")
    assert "----> 3 ray.put([lock])" in cell.error
    assert "cannot pickle '_thread.lock' object" in cell.error.splitlines()[-1]
    assert "jupyter_ray/" not in cell.error
    assert "cloudpickle" not in cell.error
    kernel.run("class Odd:\n    def __reduce__(self):\n        raise ValueError('mine')")
    cell = kernel.fail("ray.put([Odd()])")
    assert "raise ValueError('mine')" in cell.error, "it is the user's own"
    assert "jupyter_ray/" not in cell.error


def test_status_and_why(kernel: Kernel, gate: Path) -> None:
    kernel.run(f"waiting = [wait_for.options(name='nap').remote({str(gate)!r}) for _ in range(3)]")
    says(kernel, "%ray status", "CPU           2 of 2 used")
    kernel.run("import numpy as np\nheld = ray.put(np.zeros(1_000_000))")
    says(kernel, "%ray status", "object store  8.0 MB of ")
    says(kernel, "%ray status", "ready, local engine")
    says(kernel, "%ray why", "waits for CPU: 1 (")
    says(kernel, "%ray why nap", "(running for")
    kernel.run("last = waiting[-1]")
    says(kernel, "%ray why last", "Of CPU: 2, 2 × nap (")
    says(kernel, "%ray why waiting[-1]", "Of CPU: 2, 2 × nap (")
    kernel.run(f"waiting += [wait_for.options(name='nap').remote({str(gate)!r}) for _ in range(5)]")
    says(kernel, "%ray why", "... and 3 more of nap")
    says(kernel, "%ray why nap", "... and 3 more of nap")
    says(kernel, "%ray why waiting", "... and 5 more that are not ready")
    gate.touch()
    kernel.run("ray.get(waiting)")
    says(kernel, "%ray why nap", "is finished.")
    says(kernel, "%ray why waiting", "All are ready.")
    says(kernel, "%ray why", "Nothing waits.\n")


def test_why_tells_in_which_cell_a_task_is_blocked(kernel: Kernel, gate: Path) -> None:
    inner = f"wait_for.options(num_cpus=0).remote({str(gate)!r})"
    kernel.run(f"@ray.remote\ndef outer():\n    return ray.get({inner})\nref = outer.remote()")
    for question in ("%ray why ref", "%ray why outer", "print(ray.why(ref))"):
        says(kernel, question, 'has been blocked in get() (File "Cell In[')
        says(kernel, question, ']", line 3, in outer) for')
    gate.touch()
    kernel.run("ray.get(ref)")


def test_what_was_printed_comes_before_the_value(kernel: Kernel) -> None:
    for code in ("ray.get([say.remote(n) for n in range(20)])", "await say.remote('x')"):
        cell = kernel.run(code)
        kinds = [
            message["msg_type"] for message in cell.messages if message["msg_type"] in ("stream", "execute_result")
        ]
        assert kinds[-1] == "execute_result"
        assert "stream" in kinds


def test_an_error_that_came_through_tasks_is_told_by_its_first_cause(kernel: Kernel) -> None:
    kernel.run(
        "@ray.remote\ndef lost():\n    return {}['key']\n\n@ray.remote\ndef outer():\n    return ray.get(lost.remote())"
    )
    kernel.run("ref = outer.remote()\nready = ray.wait([ref])")
    html = kernel.run("ref").contents("execute_result")[0]["data"]["text/html"]
    assert ">KeyError: &#x27;key&#x27;<" in html


def test_an_error_with_a_cause_that_nobody_raised_is_headed_by_its_task(kernel: Kernel) -> None:
    kernel.run("@ray.remote\ndef wrong():\n    raise KeyError('this') from ValueError('that')")
    error = kernel.fail("ray.get(wrong.remote())").error
    assert "RayTaskError(KeyError): ray::wrong() (pid=" in error
    assert error.count("ValueError: that") == 1


@pytest.mark.parametrize("kind", ["KeyError", "ValueError"])
def test_an_error_in_a_pool_shows_both_ends(kernel: Kernel, kind: str) -> None:
    kernel.run(f"from jupyter_ray.util.multiprocessing import Pool\ndef fails(_):\n    raise {kind}('there')")
    error = kernel.fail("with Pool(1) as pool:\n    pool.map(fails, [1])").error
    assert "----> 2     pool.map(fails, [1])" in error
    assert "ray::fails() (pid=" in error
    assert re.search(r'File "Cell In\[\d+\]", line 3, in fails', error)
    assert "pool.py" not in error
    assert "pool_workers.py" not in error


def test_a_reference_shows_its_state(kernel: Kernel) -> None:
    kernel.run("ref = sleep.remote(0)\nvalue = ray.get(ref)")
    html: list[str] = []

    def finished() -> bool:
        html.append(kernel.run("ref").contents("execute_result")[0]["data"]["text/html"])
        return ">finished<" in html[-1]

    kernel.until(finished)
    assert all("ObjectRef(…" in each for each in html)


# Interrupts


def interrupt(kernel: Kernel, code: str) -> tuple[Cell, float]:
    """Interrupt a cell half a second in; return it and the seconds that it took to end."""
    cell = kernel.start(code)
    kernel.until(lambda: cell.contents("execute_input"))
    time.sleep(0.5)
    begun = time.monotonic()
    kernel.interrupt()
    cell.wait()
    assert cell.idle_at is not None
    return cell, cell.idle_at - begun


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("ray.get(running)", "KeyboardInterrupt"),
        ("ray.wait([running])", "KeyboardInterrupt"),
        ("await running", "CancelledError"),
        ("%%remote --wait\ntime.sleep(2)", "KeyboardInterrupt"),
        ("async for item in stream.remote():\n    pass", "CancelledError"),
    ],
    ids=["get", "wait", "await", "remote-wait", "async-for"],
)
def test_an_interrupt_ends_the_wait_and_nothing_else(kernel: Kernel, code: str, name: str, gate: Path) -> None:
    kernel.run(f"running = wait_for.remote({str(gate)!r})")
    rows = "get_ipython()._jupyter_ray_extension.notebook().hub.snapshot()['workers']"
    busy = f"sorted(row['pid'] for row in {rows} if row['state'] == 'busy')"
    workers = kernel.run(f"from jupyter_ray.engine import registry\nregistry.current().flush_events()\n{busy}")
    cell, took = interrupt(kernel, code)
    print(f"interrupt: {took * 1000:.0f} ms")
    assert cell.reply is not None
    assert cell.reply["ename"] == name
    assert took < 2, "not when the task was done"
    assert "client.py" not in cell.error
    assert "The waiting has ended; the tasks go on. %ray cancel ends all of them" in cell.error
    assert kernel.run("ray.get(say.remote('alive'))").result == "'alive'"
    gate.touch()
    assert kernel.run("ray.get(running)").result == "'went on'"
    for pid in map(int, str(workers.result).strip("[]").split(",")):
        assert psutil.pid_exists(pid)


# Beginning and end


def test_loading_is_quick_and_repeatable(own_kernel: Kernel) -> None:
    own_kernel.run("import time")
    code = "begun = time.perf_counter()\n%load_ext jupyter_ray\nprint(time.perf_counter() - begun)"
    print(f"%load_ext: {float(own_kernel.run(code).stdout) * 1000:.0f} ms")
    assert "warm" in own_kernel.run("%ray status").displays[0]["text/plain"]
    own_kernel.run("%reload_ext jupyter_ray\nimport jupyter_ray as ray")
    assert own_kernel.run("ray.get(ray.remote(abs).remote(-1))").result == "1", "the first use starts the session"
    says(own_kernel, "%ray status", "ready")
    own_kernel.run("%unload_ext jupyter_ray")
    assert own_kernel.run("ray.get(ray.remote(abs).remote(-2))").result == "2", "the session goes on"
    assert "not found" in own_kernel.fail("%ray status").stderr


def test_what_was_shown_is_not_shown_again_when_the_extension_goes_or_comes(own_kernel: Kernel) -> None:
    """Each change of who shows it brought all that tasks had printed since the session's beginning once more."""
    own_kernel.run("import jupyter_ray as ray\nray.init(num_cpus=1)\n@ray.remote\ndef say(text):\n    print(text)")
    say = "ray.get(say.remote({!r}))"
    cells = [own_kernel.run(say.format("one"))]
    own_kernel.until(lambda: "one" in cells[0].stdout)
    for change in ("%load_ext jupyter_ray", "%reload_ext jupyter_ray", "%unload_ext jupyter_ray"):
        cells.append(own_kernel.run(change))
        text = f"after {change[1:]}"
        cells.append(own_kernel.run(say.format(text)))
        own_kernel.until(lambda: text in cells[-1].stdout)  # noqa: B023 - called here and now.
    shown = [line.partition(") ")[2] for cell in cells for line in cell.stdout.splitlines()]
    assert shown == ["one", *(f"after {each} jupyter_ray" for each in ("load_ext", "reload_ext", "unload_ext"))]
    own_kernel.run("%load_ext jupyter_ray")
    says(own_kernel, "%ray logs", "after unload_ext")
    assert "one" in own_kernel.run("%ray logs").stdout, "it has all"


def test_a_session_that_begins_while_the_extension_loads_is_shown_from_its_beginning(own_kernel: Kernel) -> None:
    own_kernel.run("""
import threading
import jupyter_ray.ipython.extension as extension
run, may_load = extension.Extension.run, threading.Event()
extension.Extension.run = lambda self: (may_load.wait(), run(self))""")
    code = "threading.Timer(1.0, may_load.set).start()\nray.init(num_cpus=2)"
    shown = own_kernel.run(f"{PRELUDE}\n{code}").contents("execute_result")
    assert "<table" in shown[0]["data"]["text/html"]


def test_the_first_call_may_stand_in_the_cell_that_loads_the_extension(own_kernel: Kernel) -> None:
    own_kernel.run("""
import threading
import jupyter_ray.api.session as session
import jupyter_ray.ipython.extension as extension
run, begun = extension.Extension.run, threading.Event()
extension.Extension.run = lambda self: (begun.wait(), run(self))
begin = session.begin
def slowly(*given, **options):  # The extension loads while the session begins.
    begun.set()
    return begin(*given, **options)
session.begin = slowly""")
    cell = own_kernel.run(
        f"{PRELUDE}\n@ray.remote\ndef double(n):\n    print('here')\n    return 2 * n\n\nray.get(double.remote(4))"
    )
    assert cell.result == "8"
    assert "here" in cell.stdout


def test_a_time_limit_of_the_program_shows_its_own_frames(own_kernel: Kernel) -> None:
    """A signal's handler raises in the midst of `get`."""
    own_kernel.run(
        PRELUDE + "\nimport signal\ndef too_long(*_):\n    raise TimeoutError('a second is over')\n"
        "signal.signal(signal.SIGALRM, too_long)\nrunning = ray.remote(time.sleep).remote(600)"
    )
    error = own_kernel.fail("signal.setitimer(signal.ITIMER_REAL, 0.5)\nray.get(running)").error
    assert error.endswith("TimeoutError: a second is over")
    assert "----> 2 ray.get(running)" in error
    assert "in too_long(*_)" in error
    assert "jupyter_ray" not in error
    assert own_kernel.run("ray.get(ray.remote(abs).remote(-1))").result == "1"


def test_stop_and_start(own_kernel: Kernel) -> None:
    own_kernel.run(PRELUDE)
    assert "No runtime was in use." in own_kernel.run("%ray stop").stdout
    assert "3 CPUs, 1 GPU" in own_kernel.run("%ray start --num-cpus 3 --num-gpus 1").stdout
    assert own_kernel.run("ray.cluster_resources()['CPU']").result == "3.0"
    assert "UsageError: %ray start: a runtime is in use." in own_kernel.fail("%ray start").stderr
    pids, folders = session_of(own_kernel)
    assert "The runtime has ended." in own_kernel.run("%ray stop").stdout
    own_kernel.until(lambda: gone(pids, folders), timeout=5)
    assert own_kernel.run("ray.get(ray.remote(abs).remote(-1))").result == "1"


def session_of(kernel: Kernel) -> tuple[set[int], list[Path]]:
    """The processes and folders of the kernel's session."""
    kernel.run(PRELUDE + "\nsession = ray.init(num_cpus=2, ignore_reinit_error=True)")
    kernel.run(
        "@ray.remote\nclass A:\n    def pid(self): return os.getpid()\na = A.remote()\nbig = ray.put(b'x' * 10**6)"
    )
    actor = kernel.run("ray.get(a.pid.remote())").result
    kernel.run("busy = ray.remote(time.sleep).remote(600)\ntime.sleep(0.3)")
    rows = "get_ipython()._jupyter_ray_extension.notebook().hub.snapshot()['workers']"
    code = f"[row['pid'] for row in {rows} if row['state'] != 'dead']"
    pids = {int(pid) for pid in str(kernel.run(code).result).strip("[]").split(",")}
    assert int(str(actor)) in pids
    name = str(kernel.run("session.address_info['session_name']").result).strip("'")
    folders = [*Path("/tmp").glob(f"jupyter_ray-*{name}*"), *Path("/dev/shm").glob(f"jupyter_ray-*{name}*")]
    assert folders
    return pids, folders


def gone(pids: set[int], folders: list[Path]) -> bool:
    return not any(map(is_running, pids)) and not any(folder.exists() for folder in folders)


def test_a_killed_kernel_leaves_nothing(own_kernel: Kernel) -> None:
    pids, folders = session_of(own_kernel)
    begun = time.monotonic()
    own_kernel.kill()
    own_kernel.until(lambda: gone(pids, folders), timeout=3)
    print(f"killed kernel: clean after {time.monotonic() - begun:.2f} s")


def test_a_restart_leaves_nothing_and_works(own_kernel: Kernel) -> None:
    pids, folders = session_of(own_kernel)
    begun = time.monotonic()
    own_kernel.restart()
    print(f"restart: {time.monotonic() - begun:.2f} s")
    own_kernel.until(lambda: gone(pids, folders), timeout=3)
    own_kernel.run(PRELUDE)
    assert own_kernel.run("ray.get(ray.remote(abs).remote(-1))").result == "1"


def test_a_runtime_that_dies_is_said(own_kernel: Kernel) -> None:
    own_kernel.run(PRELUDE + "\nsession = ray.init(num_cpus=1)")
    cell = own_kernel.run("%%remote\ntime.sleep(600)")
    own_kernel.until(lambda: "running" in cell.displays[0]["text/plain"])
    pid = own_kernel.run("get_ipython()._jupyter_ray_extension.notebook().hub.snapshot()['runtime']['pid']").result
    os.kill(int(str(pid)), 9)
    own_kernel.until(lambda: "running" not in cell.displays[0]["text/plain"])
    assert own_kernel.fail("ray.get(ray.put(1))").reply is not None
    says(own_kernel, "%ray status", "dead")
    own_kernel.run("session = ray.init(num_cpus=1)")
    assert own_kernel.run("ray.get(ray.put(1))").result == "1"


def test_progress_bars_are_shown_in_their_cell(kernel: Kernel) -> None:
    cell = kernel.run(
        "from jupyter_ray.experimental import tqdm_ray\n"
        "@ray.remote\n"
        "def read(n):\n"
        "    for _ in tqdm_ray.tqdm(range(n), desc='reading'):\n"
        "        pass\n"
        "ray.get(read.remote(30))"
    )
    kernel.until(lambda: "30/30" in str(cell.displays), 30.0)
    (bar,) = cell.displays
    assert "reading 100% [####" in bar["text/plain"]
    assert '<progress max="1" value="1.0000"' in bar["text/html"]
    assert "magic" not in cell.stdout


@pytest.mark.parametrize("first", ["%load_ext jupyter_ray\n", ""])
def test_a_notebook_is_told_nothing_of_a_session_that_starts(own_kernel: Kernel, first: str) -> None:
    cell = own_kernel.run(first + "import jupyter_ray as ray\nsession = ray.init(num_cpus=1)")
    assert cell.stdout + cell.stderr == ""


def test_a_cell_runs_what_its_modules_are_now(own_kernel: Kernel, tmp_path: Path) -> None:
    module = tmp_path / "module_that_is_edited.py"

    def edit(answer: str) -> None:
        """Save the module, as an editor does, at another time than before."""
        before = module.stat().st_mtime_ns if module.exists() else 0
        source = f"def answer({{}}): return {answer!r}\n"
        module.write_text(source.format("") + "class Keeper:\n    " + source.format("self"))
        if module.stat().st_mtime_ns == before:
            os.utime(module, ns=(before + 1_000_000, before + 1_000_000))

    edit("first")
    own_kernel.run(f"{PRELUDE}\nimport sys, importlib\nsys.path.insert(0, {str(tmp_path)!r})")
    own_kernel.run(
        """
        import module_that_is_edited as module

        ray.init(num_cpus=2)
        named = ray.remote(module.answer)

        @ray.remote
        def by_global():
            return module.answer()

        @ray.remote
        def imports(folder=""):
            from module_that_is_edited import answer
            if folder:
                open(folder + "/begun", "w").close()
                while not os.path.exists(folder + "/gate"):
                    time.sleep(0.01)
            return answer()

        @ray.remote
        def nested():
            return ray.get(by_global.remote())

        keeper = ray.remote(num_cpus=0)(module.Keeper).remote()

        def answers():
            one_by_one = [ray.get(by_global.remote()) for _ in range(20)]  # Soon they go straight to a worker.
            many = ray.get([named.remote() for _ in range(9)])
            return {*one_by_one, *many, *ray.get([imports.remote(), nested.remote()])}
        """
    )
    assert own_kernel.run("answers()").result == "{'first'}"
    assert own_kernel.run("ray.get(keeper.answer.remote())").result == "'first'", "it has begun before the edit"
    own_kernel.run(f"running = imports.remote({str(tmp_path)!r})")
    eventually((tmp_path / "begun").exists)
    edit("second")
    own_kernel.run("importlib.reload(module)")
    assert own_kernel.run("answers()").result == "{'second'}"
    (tmp_path / "gate").touch()
    assert own_kernel.run("ray.get(running)").result == "'first'", "it had begun"
    assert own_kernel.run("ray.get(keeper.answer.remote())").result == "'first'", "an actor keeps what it began with"
    edit("third")
    assert own_kernel.run("answers()").result == "{'third'}", "the notebook itself has not loaded it again"
    new = "ray.get(ray.remote(module.Keeper).remote().answer.remote())"
    assert own_kernel.run(new).result == "'third'"


def test_cancel_ends_what_an_interrupted_cell_has_left_behind(kernel: Kernel) -> None:
    cell, _ = interrupt(
        kernel, "ray.get([sleep.remote(600) for _ in range(4)] + [sleep.options(name='s').remote(600)])"
    )
    assert "%ray cancel ends all of them" in cell.error
    assert kernel.run("%ray cancel s").stdout == "Cancelled: s.\n"
    assert kernel.run("%ray cancel").stdout == "Cancelled: 4 × sleep.\n"
    kernel.run("mine = {n: sleep.remote(600) for n in range(2)}\nothers = [sleep.remote(600), nest.remote('x', 600)]")
    assert kernel.run("%ray cancel mine").stdout == "Cancelled: 2 × sleep.\n"
    assert "TaskCancelledError" in kernel.fail("ray.get(mine[0])").error
    assert kernel.run("%ray cancel others[1] --force").stdout == "Cancelled: nest.\n"
    assert "TaskCancelledError" in kernel.fail("ray.get(others[1])").error
    assert kernel.run("%ray cancel others").stdout == "Cancelled: sleep.\n"
    assert kernel.run("%ray cancel nobody").stdout == "No running or waiting task matches 'nobody'.\n"
    kernel.run(
        "import asyncio\nasync def idle():\n    while 'sleep' in str(ray.util.state.list_tasks("
        "filters=[('state', '=', 'RUNNING')])):\n        await asyncio.sleep(0.01)\nimport jupyter_ray.util.state"
    )
    kernel.run("await idle()")
    assert kernel.run("%ray cancel").stdout == "Nothing runs or waits.\n"
    assert kernel.run("ray.get(say.remote('alive'))").result == "'alive'"


def test_the_shell_of_the_notebook_may_be_the_first_thing_that_a_worker_hears_of_ipython(own_kernel: Kernel) -> None:
    own_kernel.run(PRELUDE + "\nshell = get_ipython()\n@ray.remote\ndef which():\n    return repr(shell)")
    assert own_kernel.run("ray.get(which.remote())").result == "'<TaskShell>'"


def test_a_module_that_only_the_notebook_finds_is_told(own_kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "found_late.py").write_text("VALUE = 5")
    own_kernel.run(
        PRELUDE
        + "\nray.init(num_cpus=1)\n@ray.remote\ndef value():\n    import found_late\n    return found_late.VALUE"
    )
    assert "The notebook finds" not in own_kernel.fail("ray.get(value.remote())").error
    own_kernel.run(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport found_late\nsys.path.pop(0)")
    (last,) = own_kernel.fail("ray.get(value.remote())").error.splitlines()[-1:]
    assert last == (
        f"The notebook finds found_late ({tmp_path / 'found_late.py'}): it has imported it, and its folder is no "
        "longer on sys.path."
    )
    own_kernel.run(f"sys.path.insert(0, {str(tmp_path)!r})")
    assert own_kernel.run("ray.get(value.remote())").result == "5"


def test_a_file_of_the_folder_that_a_cell_changes_to_is_told(own_kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("5")
    own_kernel.run(PRELUDE + "\nray.init(num_cpus=1)\n@ray.remote\ndef read(name):\n    return open(name).read()")
    assert "The notebook finds" not in own_kernel.fail("ray.get(read.remote('data.txt'))").error
    own_kernel.run(f"import os\nos.chdir({str(tmp_path)!r})")
    told = own_kernel.fail("ray.get(read.remote('data.txt'))").error
    assert f"The notebook finds data.txt in {tmp_path}. Tasks are in the folder where the session began" in told
    assert own_kernel.run("ray.get(read.remote(os.path.abspath('data.txt')))").result == "'5'"


def test_modules_of_the_folder_that_a_cell_changes_to_are_found(own_kernel: Kernel, tmp_path: Path) -> None:
    """The notebook's `sys.path` says "here", wherever that is."""
    (tmp_path / "found_there.py").write_text("VALUE = 6")
    own_kernel.run(
        PRELUDE
        + "\nray.init(num_cpus=1)\n@ray.remote\ndef value():\n    import found_there\n    return found_there.VALUE"
    )
    own_kernel.fail("ray.get(value.remote())")
    own_kernel.run(f"%cd -q {tmp_path}\nimport sys\nassert '' in sys.path")
    assert own_kernel.run("ray.get(value.remote())").result == "6"
