"""What the machine is found to have, with a driver that the test makes up."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.engine.base import InitOptions
from jupyter_ray.local.engine import accelerators as found
from jupyter_ray.local.engine import machine
from jupyter_ray.util import accelerators


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> list[str | bytes]:
    """The product names of the GPUs that NVML tells of."""
    models: list[str | bytes] = []
    nvml = types.SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(models),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=lambda index: models[index],
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.setattr("glob.glob", lambda pattern: ["/dev/nvidia0"] if "nvidia" in pattern else [])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return models


def kinds(**options: object) -> list[str]:
    there, _, _ = machine.resources(InitOptions(**options))  # type: ignore[arg-type]
    return sorted(name for name in there if name.startswith("accelerator_type:"))


def test_the_store_takes_a_third_of_memory_and_no_more_than_its_folder_has(monkeypatch: pytest.MonkeyPatch) -> None:
    total = machine.memory()
    monkeypatch.setattr(machine, "_shared_memory", lambda: total)
    assert machine.resources(InitOptions(num_gpus=0))[2] == int(total * 0.3)
    monkeypatch.setattr(machine, "_shared_memory", lambda: 64 * 1024**2)
    assert machine.resources(InitOptions(num_gpus=0))[2] == 64 * 1024**2
    assert machine.resources(InitOptions(num_gpus=0, object_store_memory=1024**3))[2] == 1024**3
    monkeypatch.undo()
    assert 0 < machine._shared_memory() < 2**50


def test_variables_say_what_the_store_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `init` says nothing; without them, 200 GB at most. Source: Ray's documentation."""
    monkeypatch.setattr(machine, "_shared_memory", lambda: 2**50)
    monkeypatch.setattr(machine, "memory", lambda: 2 * 10**12)
    assert machine.resources(InitOptions(num_gpus=0))[2] == 200 * 10**9
    monkeypatch.setenv("RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES", str(10**12))
    assert machine.resources(InitOptions(num_gpus=0))[2] == 6 * 10**11
    monkeypatch.setenv("RAY_DEFAULT_OBJECT_STORE_MEMORY_PROPORTION", "0.1")
    assert machine.resources(InitOptions(num_gpus=0))[2] == 2 * 10**11
    assert machine.resources(InitOptions(num_gpus=0, object_store_memory=1024**3))[2] == 1024**3
    for name, wrong in (("MEMORY_PROPORTION", "much"), ("MEMORY_PROPORTION", "0"), ("MAX_MEMORY_BYTES", "10")):
        with monkeypatch.context() as patched:
            patched.setenv(f"RAY_DEFAULT_OBJECT_STORE_{name}", wrong)
            with pytest.raises(ValueError, match=f"RAY_DEFAULT_OBJECT_STORE_{name} must"):
                machine.resources(InitOptions(num_gpus=0))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("Tesla V100-SXM2-16GB", [accelerators.NVIDIA_TESLA_V100]),
        ("NVIDIA A100-SXM4-80GB", [accelerators.NVIDIA_A100, accelerators.NVIDIA_A100_80G]),
        ("NVIDIA A100-PCIE-40GB", [accelerators.NVIDIA_A100, accelerators.NVIDIA_A100_40G]),
        ("NVIDIA H100 80GB HBM3", [accelerators.NVIDIA_H100]),
        ("NVIDIA H200", [accelerators.NVIDIA_H200]),
        ("NVIDIA A10G", [accelerators.NVIDIA_TESLA_A10G]),
        ("NVIDIA L40S", [accelerators.NVIDIA_L40S]),
        ("Tesla T4", [accelerators.NVIDIA_TESLA_T4]),
        ("NVIDIA GeForce RTX 4090", ["GeForce-RTX-4090"]),
        ("", []),
    ],
)
def test_product_names(model: str, expected: list[str]) -> None:
    assert found.accelerator_types(model) == expected


def test_the_kinds_of_the_gpus_in_use_are_resources(driver: list[str | bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    driver += ["NVIDIA H100 80GB HBM3", b"Tesla T4"]
    assert kinds() == ["accelerator_type:H100", "accelerator_type:T4"]
    assert kinds(num_gpus=1) == ["accelerator_type:H100"]
    assert kinds(num_gpus=0) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert kinds() == ["accelerator_type:T4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8a1b")
    assert kinds() == ["accelerator_type:H100", "accelerator_type:T4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert kinds() == []


def test_other_accelerators_are_found_by_the_files_of_their_drivers(
    driver: list[str | bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ["null", "accel", "accel0", "accel1", "accel10", "davinci3", "davinci_manager", "aries0", "tenstorrent"]
    monkeypatch.setattr("os.listdir", lambda folder: files)
    monkeypatch.setattr("glob.glob", lambda pattern: ["0", "1"] if pattern == "/dev/tenstorrent/*" else [])
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5litepod-8")
    monkeypatch.setenv("ASCEND_RT_VISIBLE_DEVICES", "7,8")
    counts, ids, makes = found.find({"aries": 4})
    assert counts == {"TPU": 3.0, "NPU": 1.0, "MBLT": 1.0, "TTNPU": 2.0}
    assert ids == {"TPU": ["0", "1", "2"], "NPU": ["7"], "MBLT": ["0"], "TTNPU": ["0", "1"]}
    assert makes == [accelerators.GOOGLE_TPU_V5LITEPOD]
    files.append("neuron0")
    assert "neuron_cores" not in found.find({})[1], "the program that counts them is not there"
    listed = types.SimpleNamespace(stdout=b'[{"nc_count": 2}, {"nc_count": 2}]')
    monkeypatch.setattr("subprocess.run", lambda command, **options: listed)
    counts, ids, makes = found.find({"TPU": 0})
    assert "TPU" not in counts
    assert ids["neuron_cores"] == ["0", "1", "2", "3"]
    assert makes == [accelerators.AWS_NEURON_CORE]


def test_what_the_environment_says_of_gpus_has_devices_too(
    driver: list[str | bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"GPU": 2}')
    parts, ids, _ = machine.resources(InitOptions(num_gpus=1))
    assert (parts["GPU"], ids["GPU"]) == (20_000, ["0", "1"])


def test_a_task_asks_for_a_kind(driver: list[str | bytes]) -> None:
    driver.append("Tesla T4")

    @ray.remote(num_gpus=1, accelerator_type=accelerators.NVIDIA_TESLA_T4)
    def task() -> list[Any]:
        return ray.get_gpu_ids()

    ray.init(num_cpus=1, log_to_driver=False)
    try:
        assert ray.cluster_resources()["accelerator_type:T4"] == 1.0
        assert ray.get(task.remote()) == [0]
        with pytest.raises(ray.exceptions.TaskUnschedulableError, match="accelerator_type:H100"):
            task.options(accelerator_type=accelerators.NVIDIA_H100).remote()
    finally:
        ray.shutdown()
