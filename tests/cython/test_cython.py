"""Cython: the example package, compiled with today's Cython, and its functions and classes as tasks and actors."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import jupyter_ray as ray

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "cython"
NAME = "cython_examples"
LARGE = 1 << 17
"""Elements; more than 100 KiB in any type."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package, built by pip from a copy of its sources."""
    folder = tmp_path_factory.mktemp("cython")
    shutil.copytree(EXAMPLES, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--target", str(folder / "installed"), str(folder / "source")],
        env={**os.environ, "CFLAGS": "-O0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "installed"


@pytest.fixture(scope="module")
def cyth(built: Path) -> Iterator[Any]:
    """The package, imported from where it was built, and a session whose workers import it from there too."""
    for name in [name for name in sys.modules if name.partition(".")[0] == NAME]:
        del sys.modules[name]
    sys.path.insert(0, str(built))
    module = importlib.import_module(NAME)
    assert Path(str(module.__file__)).is_relative_to(built)
    ray.init(num_cpus=2, num_gpus=0, log_to_driver=False)
    yield module
    ray.shutdown()
    sys.path.remove(str(built))


def run(function: Any, *args: Any, **kwargs: Any) -> Any:
    return ray.get(ray.remote(function).remote(*args, **kwargs))


# --- the command line ---


def command_line(built: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "cython_main.py", *arguments],
        cwd=EXAMPLES,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(built), str(ROOT)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


RESULTS = {
    "example1": "6",
    "example2": "55",
    "example3": "55",
    "example4": "55",
    "example5": "55",
    "example6": "[1, 2, 1]",
    "example7": "[0.         0.         0.         0.69314718]",
    "example8": "[[8. 8.]\n [8. 8.]]",
}


def test_the_command_line_runs_every_example(built: Path) -> None:
    assert command_line(built, *RESULTS) == "\n".join(RESULTS.values())
    assert command_line(built, "example8") == RESULTS["example8"]


def test_help_names_every_example(built: Path) -> None:
    text = command_line(built, "--help")
    assert [name for name in RESULTS if f"\n{name}  " not in text] == []


@pytest.mark.parametrize("example", RESULTS)
def test_an_example(cyth: Any, monkeypatch: pytest.MonkeyPatch, example: str) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.delitem(sys.modules, "cython_main", raising=False)
    main = importlib.import_module("cython_main")
    assert str(main.EXAMPLES[example]()) == RESULTS[example]


# --- functions ---


def test_arguments_by_keyword_and_by_default(cyth: Any) -> None:
    assert run(cyth.greeting, "Ada") == "hello Ada"
    assert run(cyth.greeting, name="Ada", word="hey", times=2) == "hey hey Ada"
    with pytest.raises(TypeError, match=r"greeting\(\) missing a required argument: 'name'"):
        ray.remote(cyth.greeting).remote()
    with pytest.raises(TypeError, match=r"greeting\(\) got an unexpected keyword argument 'words'"):
        ray.remote(cyth.greeting).remote("Ada", words="hey")


def test_a_wrong_type_is_a_type_error(cyth: Any) -> None:
    with pytest.raises(TypeError, match="integer"):
        run(cyth.fib_int, "10")


def test_the_traceback_shows_lines_of_the_pyx(cyth: Any) -> None:
    with pytest.raises(ValueError, match=r'cython_blas\.pyx", line \d+'):
        run(cyth.compute_kernel_matrix, "X", "T", 1, 1, 1.0, np.zeros((1, 1, 1), "f"), 0, 1, 0.0, None, 1)


@pytest.mark.filterwarnings("ignore:num_returns='dynamic'")
@pytest.mark.parametrize("options", [{}, {"num_returns": "streaming"}, {"num_returns": "dynamic"}])
def test_a_generator(cyth: Any, options: dict[str, Any]) -> None:
    task = ray.remote(cyth.countdown)
    items = (task.options(**options) if options else task).remote(5, step=2)
    if options.get("num_returns") == "dynamic":
        items = ray.get(items)
    assert [ray.get(ref) for ref in items] == [5, 3, 1]


def test_a_generator_with_a_number_of_returns(cyth: Any) -> None:
    assert ray.get(ray.remote(num_returns=3)(cyth.countdown).remote(2)) == [2, 1, 0]


def test_a_reference_as_argument_and_a_task_that_calls_tasks(cyth: Any) -> None:
    fib = ray.remote(cyth.fib_cpdef)

    @ray.remote
    def both(n: int) -> int:
        return sum(ray.get([fib.remote(n - 1), fib.remote(n - 2)]))

    assert ray.get(ray.remote(cyth.simple_func).remote(both.remote(10), fib.remote(1), 0)) == 56


# --- classes ---


def test_an_extension_type_as_actor(cyth: Any) -> None:
    account = ray.remote(cyth.Account).remote("Ada", balance=5)
    assert ray.get([account.owner.remote(), account.deposit.remote(2), account.withdraw.remote(3, fee=0.5)]) == [
        "Ada",
        7,
        3.5,
    ]
    with pytest.raises(ValueError, match="Ada has only"):
        ray.get(account.withdraw.remote(100))
    assert [ray.get(ref) for ref in account.history.remote(2)] == [3.5, 3.5 * 1.01]
    with pytest.raises(TypeError, match="amount"):
        account.deposit.remote()


def test_an_extension_types_constructor_fails(cyth: Any) -> None:
    account = ray.remote(cyth.Account).remote()
    with pytest.raises(ray.exceptions.ActorDiedError, match=r"(?s)cython_simple\.pyx.*argument"):
        ray.get(account.owner.remote())


def test_an_instance_travels(cyth: Any) -> None:
    account = cyth.Account("Ada", 1)
    assert run(lambda a: a.deposit(1), account) == 2
    returned = run(lambda a: (a.deposit(1), a)[1], account)
    assert (returned.owner(), returned.deposit(0), account.deposit(0)) == ("Ada", 2, 1)


# --- buffers ---


@pytest.mark.parametrize("size", [3, LARGE])
def test_a_const_memoryview_reads_any_argument(cyth: Any, size: int) -> None:
    values = np.ones(size)
    assert run(cyth.total, values) == size
    assert run(cyth.total, ray.put(values)) == size
    assert run(cyth.total, values.data) == size
    assert run(cyth.masked_log, np.exp(values)[::2])[0] == pytest.approx(1)


def test_a_large_argument_is_read_where_it_lies(cyth: Any) -> None:
    address = cyth.address

    @ray.remote
    def look(a: Any, b: Any) -> Any:
        maps = Path("/proc/self/maps")
        held = []
        for line in maps.read_text().splitlines() if maps.exists() else ():
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if start <= address(a) < end:
                held.append(line)
        flags = a.flags
        return address(a) == a.ctypes.data, address(a) == address(b), flags.owndata, flags.writeable, held

    large = ray.put(np.zeros(LARGE, np.uint8))
    same, shared, own, writable, held = ray.get(look.remote(large, large))
    assert (same, shared, own, writable) == (True, True, False, False)
    if sys.platform == "linux":
        assert len(held) == 1
        assert "r--s" in held[0], "mapped shared, and read-only"
    # A plain argument too, without put().
    same, shared, own, writable, held = ray.get(look.remote(np.zeros(LARGE, np.uint8), large))
    assert (same, shared, own, writable) == (True, False, False, False)
    assert all("r--s" in line for line in held)


@pytest.mark.parametrize("size", [3, LARGE])
def test_a_plain_memoryview_needs_writable_or_inout(cyth: Any, size: int) -> None:
    values = np.zeros(size)
    with pytest.raises(ValueError, match=r"(?s)read-only.*writable=.*inout="):
        run(cyth.fill, values, 8)
    with pytest.raises(BufferError, match=r"(?s)not writable.*writable=.*inout="):
        run(cyth.fill, values.data, 8)
    assert ray.get(ray.remote(writable=True)(cyth.scale).remote(values + 1, factor=3)) == 3
    filled = ray.get(ray.remote(inout=["values"])(cyth.fill).remote(values, 8))
    assert (filled[0], filled[-1], values[0]) == (8, 8, 0)
    largest, scaled = ray.get(ray.remote(inout=[0])(cyth.scale).remote(values + 1))
    assert (largest, scaled[-1]) == (2, 2)


def test_blas_fills_the_callers_buffer(cyth: Any) -> None:
    matrices = np.full((2, 2, 2), 2, np.float32)
    call = ("L", "T", 2, 2, 1.0, matrices, 0, 2, 1.0, np.zeros((2, 2), np.float32), 2)
    with pytest.raises(ValueError, match=r"(?s)buffer source array is read-only.*inout="):
        run(cyth.compute_kernel_matrix, *call)
    for inout in (["c"], [9]):
        filled = ray.get(ray.remote(inout=inout)(cyth.compute_kernel_matrix).remote(*call))
        assert filled.tolist() == [[8, 8], [8, 8]]


@pytest.mark.parametrize("uplo", ["U", "L"])
def test_blas_computes_what_numpy_does(cyth: Any, uplo: str) -> None:
    a = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    kernel = ray.remote(inout=["c"])(cyth.compute_kernel_matrix)
    rows = kernel.remote(uplo, "T", 3, 4, 1.0, a, 1, 4, 0.0, np.ones((3, 3), np.float32), 3)
    columns = kernel.remote(uplo, "N", 4, 3, 2.0, a, 0, 4, 1.0, np.ones((4, 4), np.float32), 4)
    np.testing.assert_allclose(ray.get(rows), a[1] @ a[1].T)
    np.testing.assert_allclose(ray.get(columns), 2 * a[0].T @ a[0] + 1)
    with pytest.raises(ValueError, match="is not in 3 rows of 4"):
        ray.get(kernel.remote(uplo, "T", 4, 4, 1.0, a, 1, 4, 0.0, np.ones((4, 4), np.float32), 4))


# --- decorated inside the .pyx ---


@pytest.fixture(scope="module")
def decorated(cyth: Any) -> Any:
    return importlib.import_module(f"{NAME}.decorated")


def test_a_function_decorated_in_cython(decorated: Any) -> None:
    assert ray.get(decorated.square.remote(3)) == 9
    assert ray.get(decorated.sum_of_squares.remote(4)) == 14
    assert [ray.get(ref) for ref in decorated.letters.remote("abc")] == ["a", "b", "c"]
    assert ray.get(decorated.double_all.remote(np.arange(3.0))).tolist() == [0, 2, 4]
    square = decorated.square
    assert run(lambda x: ray.get(square.remote(x)), 4) == 16


def test_a_class_decorated_in_cython(decorated: Any) -> None:
    tally = decorated.Tally.remote(["a"])
    assert ray.get([tally.add.remote("a"), tally.add.remote("b", times=3)]) == [2, 3]


def test_a_lambda_that_a_variable_of_the_module_holds(decorated: Any) -> None:
    assert run(decorated.increment, 4) == 5
    increment = decorated.increment
    assert run(lambda x: increment(x), 5) == 6


def test_a_function_inside_another_says_where_to_write_it(decorated: Any) -> None:
    with pytest.raises(TypeError, match=r"define it at the top level of the \.pyx"):
        decorated.make_local().remote(1)


# --- %%cython in a notebook ---


def test_what_the_cython_magic_made_goes_along_as_a_file(
    cyth: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The magic compiles a module in IPython's cache folder, from which nothing is imported."""
    name = "_cython_magic_of_a_test"
    source = tmp_path / f"{name}.pyx"
    source.write_text(
        "def triple(int x):\n    return 3 * x\n\n"
        "cdef class Cell:\n    cdef int x\n\n"
        "    def __init__(self, int x):\n        self.x = x\n\n"
        "    def get(self):\n        return self.x\n"
    )
    cythonize = [sys.executable, "-m", "Cython.Build.Cythonize", "--inplace", "--quiet", str(source)]
    done = subprocess.run(cythonize, env={**os.environ, "CFLAGS": "-O0"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = [file for suffix in EXTENSION_SUFFIXES for file in tmp_path.glob(f"*{suffix}")][:1]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)

    assert run(module.triple, 4) == 12
    triple = module.triple
    assert run(lambda x: triple(x) + 1, 4) == 13
    assert ray.get(ray.remote(module.Cell).remote(5).get.remote()) == 5
    cell = module.Cell
    assert run(lambda x: cell(x), 6).get() == 6
