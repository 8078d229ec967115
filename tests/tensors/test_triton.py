"""Kernels of Triton's, which a program defines and its tasks run. What they compute needs a GPU: see tests/gpu."""

# mypy does not see what a decorator makes of a function.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import linecache
from collections.abc import Iterator
from typing import Any

import pytest
import triton
import triton.language as tl
from triton.runtime.jit import JITFunction

import jupyter_ray as ray
from jupyter_ray.local.serialization import values


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    ray.init(num_cpus=1, num_gpus=0, log_to_driver=False)
    yield
    ray.shutdown()


CELL = """
@triton.jit
def more(x):
    return x + 1

@triton.autotune(configs=[triton.Config({"BLOCK": 64}), triton.Config({"BLOCK": 128})], key=["n"])
@triton.jit(do_not_specialize=["n"], noinline=True)
def add(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + at, more(tl.load(x + at, mask=at < n)), mask=at < n)
"""


def cell(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run a cell of a notebook: its text is in no file."""
    name = "/nowhere/cell.py"
    monkeypatch.setitem(linecache.cache, name, (len(CELL), None, CELL.splitlines(keepends=True), name))
    names: dict[str, Any] = {"__name__": "__main__", "triton": triton, "tl": tl}
    exec(compile(CELL, name, "exec"), names)
    return names


def test_a_task_has_the_kernels_of_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    names = cell(monkeypatch)
    add = names["add"]

    @ray.remote
    def look() -> list[Any]:
        kernel = add.fn
        assert isinstance(kernel, JITFunction)
        helper = kernel.fn.__globals__["more"]
        configs = [config.kwargs for config in add.configs]
        return [kernel.src, helper.src, kernel.do_not_specialize, kernel.noinline, configs]

    expected = [add.fn.src, names["more"].src, ["n"], True, [{"BLOCK": 64}, {"BLOCK": 128}]]
    assert ray.get(look.remote()) == expected


def test_one_of_a_module_goes_by_its_name() -> None:
    assert isinstance(tl.sum, JITFunction)
    assert len(values.dumps(tl.sum).data) < 100
    assert ray.get(ray.remote(lambda kernel: kernel is tl.sum).remote(tl.sum))
