"""A kernel that is not ipykernel, such as xeus-python: IPython's shell, and nothing of what stands behind it."""

from __future__ import annotations

import re
import subprocess
import sys

KERNEL = """
import sys, threading, types

sys.modules["comm"] = types.ModuleType("comm")  # One module, not the package.

class Stream:
    "What threads print has no parent, so that no page shows it; and there is no more than this."

    def __init__(self, out):
        self.out = out

    def write(self, text):
        if threading.current_thread() is threading.main_thread():
            self.out.write(text)

    def flush(self):
        self.out.flush()

sys.stdout, sys.stderr = Stream(sys.stdout), Stream(sys.stderr)

from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(colors="nocolor")
shell.kernel = object()
for cell in sys.argv[1:]:
    print("---")
    assert shell.run_cell(cell, store_history=True).success
"""


def run(*cells: str) -> list[str]:
    """Return what each cell shows."""
    ran = subprocess.run([sys.executable, "-c", KERNEL, *cells], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return [re.sub(r"pid=\d+", "pid=N", shown) for shown in ran.stdout.split("---\n")[1:]]


def test_the_extension_works_and_cells_show_what_tasks_print() -> None:
    """It could not be loaded, and after that no session could begin."""
    *_, shown, placed, waited, _ = run(
        "%load_ext jupyter_ray\nimport jupyter_ray as ray",
        "session = ray.init(num_cpus=1)",
        "ray.get(ray.remote(print).remote('printed')); 5",
        "%%remote -o ref\nprint('in the cell')\n6 * 7",
        "ray.wait([ref]);",
        "ray.shutdown()",
    )
    assert shown == "(print pid=N) printed\nOut[3]: 5\n"
    assert "cell[4] · pending" in placed
    assert "in the cell\n" in placed + waited
    assert re.search(r"✓ cell\[4\] · finished · \d\.\d\d s\n42\n", placed + waited)


def test_a_session_without_the_extension() -> None:
    *_, shown, _ = run(
        "import jupyter_ray as ray", "print(ray.get(ray.remote(lambda: 6 * 7).remote()))", "ray.shutdown()"
    )
    assert shown == "42\n"
