"""PyTorch and Triton on a real GPU: tensors that travel from GPU to GPU, and kernels that a program defines."""

# mypy does not see what a decorator makes of a class.
# mypy: disable-error-code="attr-defined"

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

import jupyter_ray as ray
from tests.tensors.test_triton import cell

pytestmark = pytest.mark.gpu

KINDS = ("float32", "bfloat16", "float8_e4m3fn", "uint16", "int64", "bool")


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    ray.shutdown()
    ray.init(num_cpus=2, log_to_driver=False)
    yield
    ray.shutdown()


@ray.remote(num_gpus=0.4)
class Model:
    def make(self, kind: str) -> Any:
        import torch

        return torch.arange(8, device="cuda").to(getattr(torch, kind))

    def parameter(self) -> Any:
        import torch

        return torch.nn.Linear(3, 2, device="cuda"), torch.eye(3, device="cuda").to_sparse()

    def look(self, tensor: Any) -> tuple[str, str, list[float]]:
        return str(tensor.device), str(tensor.dtype), tensor.cpu().double().tolist()

    def apply(self, made: tuple[Any, Any]) -> tuple[list[int], bool, float]:
        import torch

        network, sparse = made
        return list(network(torch.ones(5, 3, device="cuda")).shape), network.weight.requires_grad, float(sparse.sum())


def test_tensors_go_from_one_to_the_other() -> None:
    one, other = Model.remote(), Model.remote()
    for kind in KINDS:
        device, dtype, found = ray.get(other.look.remote(one.make.remote(kind)))
        assert (device, dtype) == ("cuda:0", f"torch.{kind}")
        assert found == ([0.0] + 7 * [1.0] if kind == "bool" else [float(each) for each in range(8)])
    assert ray.get(other.apply.remote(one.parameter.remote())) == ([5, 2], True, 3)


def test_a_kernel_of_the_program_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    add = cell(monkeypatch)["add"]

    @ray.remote(num_gpus=0.4)
    def run(size: int) -> float:
        import torch
        import triton

        source = torch.ones(size, device="cuda")
        out = torch.zeros_like(source)
        add[lambda meta: (triton.cdiv(size, meta["BLOCK"]),)](source, out, size)
        return float(out.sum())

    assert ray.get(run.remote(1000)) == 2000
