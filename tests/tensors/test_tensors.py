"""PyTorch's tensors as arguments, results and stored values: their memory beside the stream, private on arrival."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import jupyter_ray as ray
from jupyter_ray.local.serialization import values

SMALL, LARGE = 8, 1 << 18


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    ray.init(num_cpus=2, num_gpus=0, log_to_driver=False)
    yield
    ray.shutdown()


def ways(value: Any) -> list[Any]:
    """Return a value as it comes back by each way."""
    echo = ray.remote(lambda each: each)
    return [ray.get(ray.put(value)), ray.get(echo.remote(value)), ray.get(echo.remote(ray.put(value)))]


def seen(tensor: torch.Tensor) -> torch.Tensor:
    """Return the values as such that can be compared; small floats and unsigned integers have few operations."""
    plain = tensor.detach()
    return (plain.to_dense() if plain.is_sparse else plain).to(torch.complex128)


BASE = torch.arange(24.0).reshape(4, 6)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.rand(LARGE),
        BASE,
        BASE.T,
        BASE[1:, ::2],
        torch.tensor(3),
        torch.tensor([]),
        torch.ones(3, dtype=torch.bfloat16),
        torch.ones(3, dtype=torch.bool),
        torch.ones(3, dtype=torch.complex64),
        torch.ones(3, dtype=torch.uint16),
        torch.ones(LARGE).to(torch.float8_e4m3fn),
        torch.nn.Parameter(torch.ones(4, dtype=torch.float8_e5m2), requires_grad=False),
        torch.ones(3, requires_grad=True),
        torch.nn.Parameter(torch.ones(2, 2)),
        BASE.to_sparse(),
    ],
    ids=str,
)
def test_every_kind_comes_back_as_it_was(tensor: torch.Tensor) -> None:
    for back in ways(tensor):
        assert type(back) is type(tensor)
        assert (back.dtype, back.shape, back.requires_grad) == (tensor.dtype, tensor.shape, tensor.requires_grad)
        assert torch.equal(seen(back), seen(tensor))
        if not tensor.is_sparse:
            assert back.stride() == tensor.stride()


def test_the_memory_goes_beside_the_stream() -> None:
    tensor = torch.ones(LARGE)
    serialized = values.dumps([tensor, {"and": torch.zeros(SMALL)}])
    assert [buffer.nbytes for buffer in serialized.buffers] == [4 * LARGE, 4 * SMALL]
    assert len(serialized.data) < 1000
    assert serialized.buffers[0].obj is not None
    tensor[0] = 7
    assert bytes(serialized.buffers[0][:4]) == bytes(torch.tensor([7.0]).numpy()), "no copy was made"


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_what_arrives_is_private_and_writable(size: int) -> None:
    reference = ray.put(torch.zeros(size))
    first, second = ray.get(reference), ray.get(reference)
    first += 1
    assert second.sum() == 0
    assert ray.get(reference).sum() == 0

    def write(tensor: torch.Tensor) -> float:
        tensor += 2
        return float(tensor.sum())

    assert ray.get(ray.remote(write).remote(reference)) == 2 * size
    assert ray.get(reference).sum() == 0


def test_a_module_is_trained_in_a_task() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))

    @ray.remote
    def step(module: torch.nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        module(batch).pow(2).sum().backward()
        optimizer.step()
        return module.state_dict()

    before = {name: value.clone() for name, value in module.state_dict().items()}
    after = ray.get(step.remote(module, torch.rand(8, 4)))
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items()), "ours is untouched"
    module.load_state_dict(after)
    assert not torch.equal(before["0.weight"], after["0.weight"])


def test_inout_gives_a_tensor_back() -> None:
    @ray.remote(inout=["tensor"], writable=["scratch"])
    def fill(tensor: torch.Tensor, scratch: torch.Tensor) -> None:
        scratch += 1
        tensor += scratch

    mine = torch.ones(SMALL)
    assert torch.equal(ray.get(fill.remote(mine, torch.ones(SMALL))), torch.full((SMALL,), 3.0))
    assert torch.equal(mine, torch.ones(SMALL))


def test_on_request_it_is_a_view_of_the_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = ray.put(torch.ones(LARGE))
    monkeypatch.setenv("RAY_ENABLE_ZERO_COPY_TORCH_TENSORS", "1")
    first, second = ray.get(reference), ray.get(reference)
    assert first.data_ptr() == second.data_ptr()
    assert torch.equal(first, torch.ones(LARGE))
    del reference
    assert float(second.sum()) == LARGE, "the memory stays as long as somebody views it"


def test_a_tensor_in_a_closure() -> None:
    weights = torch.arange(4.0)

    @ray.remote
    def total() -> float:
        return float(weights.sum())

    assert ray.get(total.remote()) == 6


def test_a_stream_of_tensors() -> None:
    @ray.remote
    def batches() -> Iterator[torch.Tensor]:
        for index in range(3):
            yield torch.full((LARGE,), float(index))

    make: Callable[..., Any] = batches.remote
    assert [float(ray.get(each)[-1]) for each in make()] == [0, 1, 2]


def test_a_part_of_a_tensor_goes_alone() -> None:
    data = torch.rand(LARGE, 4)
    for part in (data[10:20], data[:, 0][:7], data[5:9].T, data[3], data[:5].clone().requires_grad_()):
        assert values.dumps(part).size < 5_000
        assert values.dumps({"x": [part, part[:1]]}).size < 5_000
        for back in ways(part):
            assert torch.equal(back, part)
            assert back.requires_grad == part.requires_grad
    most = data[: LARGE - 10]
    assert values.dumps(most).buffers[0].nbytes == data.untyped_storage().nbytes()  # To copy it would take longer.
    model = torch.nn.Linear(300, 300)
    flat = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    torch.nn.utils.vector_to_parameters(flat, model.parameters())
    assert values.dumps(model).size < 1.1 * flat.untyped_storage().nbytes()
    assert all(map(torch.equal, ray.get(ray.put(model)).parameters(), model.parameters()))
