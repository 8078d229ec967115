"""Run the examples: ``python cython_main.py example1``, or several, or ``all``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

import cython_examples as cyth
import numpy as np

import jupyter_ray as ray


def run(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Return what a function returns when it is called as a task."""
    return ray.get(ray.remote(function).remote(*args, **kwargs))


def example1() -> Any:
    """Run a def function."""
    return run(cyth.simple_func, 1, 2, 3)


def example2() -> Any:
    """Run a def function that calls itself."""
    return run(cyth.fib, 10)


def example3() -> Any:
    """Run a def function with a typed parameter."""
    return run(cyth.fib_int, 10)


def example4() -> Any:
    """Run a cpdef function."""
    return run(cyth.fib_cpdef, 10)


def example5() -> Any:
    """Run a cdef function that a def function wraps."""
    return run(cyth.fib_cdef, 10)


def example6() -> Any:
    """Make two actors of a class."""
    counter = ray.remote(cyth.simple_class)
    first, second = counter.remote(), counter.remote()
    return ray.get([first.increment.remote(), first.increment.remote(), second.increment.remote()])


def example7() -> Any:
    """Run a function on a NumPy array."""
    return run(cyth.masked_log, np.array([-1.0, 0.0, 1.0, 2.0]))


def example8() -> Any:
    """Call BLAS, which writes into our buffer: inout brings it back."""
    matrices = np.full((2, 2, 2), 2.0, np.float32)
    result = np.zeros((2, 2), np.float32)
    kernel = ray.remote(inout=["c"])(cyth.compute_kernel_matrix)
    return ray.get(kernel.remote("L", "T", 2, 2, 1.0, matrices, 0, 2, 1.0, result, 2))


EXAMPLES: dict[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (example1, example2, example3, example4, example5, example6, example7, example8)
}


def main(arguments: list[str] | None = None) -> int:
    """Run the examples that the command line names and print their results."""
    parser = argparse.ArgumentParser(
        description="Cython functions and classes as tasks and actors.",
        epilog="\n".join(f"{name}  {function.__doc__}" for name, function in EXAMPLES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("example", nargs="+", choices=[*EXAMPLES, "all"], metavar="example1 ... example8 or all")
    names = parser.parse_args(arguments).example
    ray.init(num_cpus=2)
    try:
        for name in EXAMPLES if "all" in names else names:
            print(EXAMPLES[name]())
    finally:
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
