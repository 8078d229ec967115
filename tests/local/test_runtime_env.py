"""What a forked worker cannot have is refused by name."""

from __future__ import annotations

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import RuntimeEnvSetupError


@pytest.mark.parametrize("field", ["pip", "conda", "uv", "container", "image_uri", "nsight"])
def test_what_only_a_cluster_offers_is_refused_at_init(field: str) -> None:
    with pytest.raises(RuntimeEnvSetupError, match=rf"runtime_env\['{field}'\].*forked.*init\(address=\.\.\.\)"):
        ray.init(num_cpus=1, runtime_env={field: ["something"]})
    assert not ray.is_initialized()


def test_what_only_a_cluster_offers_is_refused_at_the_call() -> None:
    @ray.remote(runtime_env={"pip": ["numpy"]})
    def task() -> None: ...

    @ray.remote
    class Actor: ...

    ray.init(num_cpus=1)
    try:
        with pytest.raises(RuntimeEnvSetupError, match="%pip install"):
            task.remote()
        with pytest.raises(RuntimeEnvSetupError, match=r"runtime_env\['container'\]"):
            Actor.options(runtime_env={"container": {"image": "x"}}).remote()  # type: ignore[attr-defined]
        with pytest.raises(RuntimeEnvSetupError, match="only folders and zip files of this machine"):
            task.options(runtime_env={"working_dir": "https://example.org/x.zip"}).remote()
        assert ray.get(task.options(runtime_env={"pip": None}).remote()) is None
    finally:
        ray.shutdown()
