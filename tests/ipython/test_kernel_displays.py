"""What tasks display in a real kernel: pictures below the cell that asked, live, taken back, held back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ipython.kernels import Cell, Kernel

PRELUDE = """
%load_ext jupyter_ray
import jupyter_ray as ray
session = ray.init(num_cpus=2)

@ray.remote
def plot(points):
    import matplotlib.pyplot as plt
    plt.plot(points)
    print("drawn")
    plt.show()
    return len(plt.get_fignums())
"""
OUTPUTS = ("display_data", "update_display_data", "execute_result")
FIGURE = "<Figure size 640x480 with 1 Axes>"


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    """A kernel that the tests of this module share, with a runtime of two CPUs."""
    kernel = Kernel()
    try:
        kernel.run(PRELUDE)
        yield kernel
    finally:
        kernel.close()


def kinds(cell: Cell) -> list[str]:
    """The cell's outputs in their order: the stream, or the richest format."""
    found = []
    for message in cell.messages:
        content = message["content"]
        if message["msg_type"] == "stream":
            found.append(content["name"])
        elif message["msg_type"] == "display_data" and "jupyter-ray-line" not in str(content["data"].get("text/html")):
            found.append(next(reversed(content["data"])))
    return found


def test_a_figure_that_a_task_shows(kernel: Kernel) -> None:
    cell = kernel.run("ray.get(plot.remote([1, 3, 2]))")
    assert cell.result == "0", "what was shown is closed, as in a notebook"
    assert kinds(cell) == ["stdout", "image/png"]
    assert cell.displays[0]["text/plain"] == FIGURE


def test_figures_that_tasks_leave_open_are_in_nobodys_way(kernel: Kernel) -> None:
    kernel.run("""
@ray.remote
def draw():
    import matplotlib.pyplot as plt
    plt.plot([1, 2])
    return len(plt.get_fignums())
""")
    assert kernel.run("ray.get([draw.remote() for _ in range(8)])").result == str([1] * 8)
    cell = kernel.run("ray.get([plot.remote([1, 2]) for _ in range(2)])")
    kernel.until(lambda: kinds(cell).count("image/png") == 2)
    assert len(cell.displays) == 2


def test_a_remote_cell_shows_what_it_draws_as_a_cell_does(kernel: Kernel) -> None:
    cell = kernel.run(
        "%%remote --wait\nimport matplotlib.pyplot as plt\nplt.plot([1])\nplt.figure()\nplt.plot([2])\nprint('end')"
    )
    kernel.until(lambda: kinds(cell).count("image/png") == 2)
    assert kinds(cell) == ["stdout", "image/png", "image/png"]


@pytest.mark.parametrize("value", ["figure", "axes", "axes.set_title('one')", "None"])
@pytest.mark.parametrize("options", ["", "--wait"])
def test_a_figure_is_shown_once_and_below_its_own_cell_alone(kernel: Kernel, value: str, options: str) -> None:
    code = f"import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\naxes.plot([1, 2])\n{value}"
    cell = kernel.run(f"%%remote {options}\n{code}")

    def pictures() -> int:
        return sum("image/png" in each["data"] for each in cell.contents(*OUTPUTS))

    kernel.until(lambda: pictures() > 0)
    kernel.until(lambda: not any("running" in str(each) for each in cell.displays))
    assert pictures() == 1
    after = kernel.run("import matplotlib.pyplot as plt; plt.get_fignums()")
    assert (after.result, after.displays) == ("[]", [])


def test_a_picture_that_a_task_replaces(kernel: Kernel) -> None:
    cell = kernel.run("""
@ray.remote
def live():
    from IPython.display import clear_output
    for step in range(200):
        clear_output(wait=True)
        display({"text/plain": f"step {step}"}, raw=True)
ray.get(live.remote())
""")
    kernel.until(lambda: [each["text/plain"] for each in cell.displays] == ["step 199"])
    assert not cell.stdout + cell.stderr


def test_what_is_displayed_is_in_the_logs_as_text(kernel: Kernel) -> None:
    kernel.run("@ray.remote\ndef named():\n    display({'a': 1})\nray.get(named.remote())")
    assert "{'a': 1}" in kernel.run("%ray logs named").stdout


def test_a_widget_is_shown_as_text_for_its_page_is_elsewhere(kernel: Kernel) -> None:
    cell = kernel.run("""
@ray.remote
def slide():
    import ipywidgets
    display(ipywidgets.IntSlider(3))
ray.get(slide.remote())
""")
    kernel.until(lambda: bool(cell.displays))
    assert [list(each) for each in cell.displays] == [["text/plain"]]
    assert cell.displays[0]["text/plain"].startswith("IntSlider(value=3")


# Shell commands


def test_a_shell_command_runs_in_the_task(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    kernel.run(f"""
@ray.remote
def listed(folder):
    names = !ls "{{folder}}"
    !echo here and $folder; exit 3
    !echo in awk | awk '{{print $2}}'
    return names, os.getpid()

import os
names, pid = ray.get(listed.remote({str(tmp_path)!r}))""")
    assert kernel.run("names, pid != os.getpid()").result == "(['a file'], True)"
    cell = kernel.run(f"_ = ray.get(listed.remote({str(tmp_path)!r}))")
    kernel.until(lambda: "awk" in cell.stdout)
    assert [line.partition(") ")[2] for line in cell.stdout.splitlines()] == [f"here and {tmp_path}", "awk"]


def test_a_shell_command_in_a_remote_cell_knows_the_notebooks_variables(kernel: Kernel) -> None:
    kernel.run("word, other = 'it', 'that'")
    cell = kernel.run("%%remote --wait\nlines = !echo {word.upper()} $other\n!echo $HOME\nlines")
    assert (cell.result, cell.stdout) == ("['IT that']", f"{os.environ['HOME']}\n")


def test_a_shell_command_in_a_remote_function_knows_the_notebooks_variables_as_they_are_now(kernel: Kernel) -> None:
    kernel.run(
        "word = 'it'\n@ray.remote\ndef say():\n    lines = !echo {word.upper()} $$\n    return lines[0].split()[0]"
    )
    assert kernel.run("ray.get(say.remote())").result == "'IT'"
    kernel.run("word = 'that'")
    assert kernel.run("ray.get(say.remote())").result == "'THAT'"


def test_what_pandas_is_asked_knows_the_variables_of_the_notebook(kernel: Kernel) -> None:
    kernel.run(
        "import sys\nclass Table:\n    def query(self, text):\n        frame = sys._getframe(1)\n"
        "        return eval(text.replace('@', ''), frame.f_globals, frame.f_locals)\n"
        "table, limit, own = Table(), 3, open('/dev/null', 'w')\n@ray.remote\ndef ask(table):\n    own = 2\n"
        "    return table.query('@limit + 1'), table.query('@own'), (lambda: table.query(f'@limit * {own}'))()"
    )
    assert kernel.run("ray.get(ask.remote(table))").result == "(4, 2, 6)"
    kernel.run("limit = 10\nown.close()")
    assert kernel.run("ray.get(ask.remote(table))").result == "(11, 2, 20)"
    assert kernel.run("%%remote --wait\ntable.query('@limit - 1')").result == "9"


def test_a_magic_in_a_remote_function_says_that_it_cannot_run_there(kernel: Kernel) -> None:
    kernel.run("@ray.remote\ndef timed():\n    %time 1")
    assert "UsageError: %time runs in the notebook only, not in a task" in kernel.fail("ray.get(timed.remote())").error


def test_a_debugger_in_a_remote_function_says_that_it_cannot_stop_there(kernel: Kernel) -> None:
    """IPython's failed for want of a hook, and shows nothing of a debugger's own error, which the end of input made."""
    kernel.run("import pdb\nfrom IPython.core.debugger import set_trace")
    for stop in ("pdb.set_trace()", "set_trace()"):
        kernel.run(f"@ray.remote\ndef stops():\n    {stop}\n    return 1")
        failed = kernel.fail("ray.get(stops.remote())")
        assert "RuntimeError: A debugger cannot stop here: a task runs in a worker process" in failed.error


def test_exit_in_a_remote_function_ends_its_process(kernel: Kernel) -> None:
    """It is bound to IPython's shell, which is another one there."""
    kernel.run("@ray.remote(max_retries=0)\ndef leaves():\n    exit()")
    assert "WorkerCrashedError: The worker died" in kernel.fail("ray.get(leaves.remote())").error


def test_a_cancel_ends_the_command(kernel: Kernel, tmp_path: Path) -> None:
    kernel.run(f"""
@ray.remote
def sleep():
    !touch "{tmp_path}/began"; exec sleep 1000
task = sleep.remote()""")
    kernel.until((tmp_path / "began").exists)
    kernel.run("""
import psutil, time
ray.cancel(task)
try:
    ray.get(task)
except ray.exceptions.TaskCancelledError:
    ended = True
while any(each.info["cmdline"] == ["sleep", "1000"] for each in psutil.process_iter(["cmdline"])):
    time.sleep(0.05)""")
    assert kernel.run("ended").result == "True"


def test_bars_of_widgets_are_bars_of_text_in_a_task(kernel: Kernel, tmp_path: Path) -> None:
    package = tmp_path / "tqdm"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "std.py").write_text("""
class tqdm:
    def __init__(self, items, desc=""):
        self.items, self.desc = items, desc

    def __iter__(self):
        for each in self.items:
            print(self.desc, each)
            yield each
""")
    (package / "notebook.py").write_text("""
class tqdm_notebook:
    def __init__(self, *args, **kwargs):
        raise RuntimeError("a widget")

tqdm = tqdm_notebook

def trange(*args, **kwargs):
    return tqdm_notebook(range(*args), **kwargs)
""")
    cell = kernel.run(f"""
import sys
there = {{name: sys.modules.pop(name) for name in [*sys.modules] if name.split(".")[0] == "tqdm"}}
sys.path.insert(0, {str(tmp_path)!r})
from tqdm.notebook import tqdm, trange

@ray.remote(runtime_env={{"py_modules": [{str(package)!r}]}})
def count():
    return list(trange(2, desc="a")), list(tqdm([5], desc="b", display=False))

ray.get(count.remote())
""")
    assert cell.result == "([0, 1], [5])"
    assert [line.partition(") ")[2] for line in cell.stdout.splitlines()] == ["a 0", "a 1", "b 5"]
    kernel.run(f"""
for name in [*sys.modules]:
    if name.split(".")[0] == "tqdm":
        del sys.modules[name]
sys.modules.update(there)
sys.path.remove({str(tmp_path)!r})
""")


def test_an_output_widget_has_what_came_while_it_was_open(kernel: Kernel) -> None:
    """The page gives it what comes between the two updates of its `msg_id`."""
    kernel.run("import ipywidgets\nout = ipywidgets.Output()")
    cell = kernel.run(
        "@ray.remote\ndef tells():\n    print('before')\n    display('shown')\n    print('after')\n"
        "with out:\n    ray.get(tells.remote())\nprint('below')"
    )
    kernel.until(lambda: "below" in cell.stdout)
    told: list[str] = []
    for message in cell.messages:
        content = message["content"]
        if message["msg_type"] == "comm_msg" and "msg_id" in content["data"].get("state", {}):
            told.append("open" if content["data"]["state"]["msg_id"] else "closed")
        elif message["msg_type"] == "stream":
            told += [line.partition(") ")[2] or line for line in content["text"].splitlines()]
        elif message["msg_type"] == "display_data":
            told.append(content["data"]["text/plain"].strip("'"))
    assert told == ["open", "before", "shown", "after", "closed", "below"]
