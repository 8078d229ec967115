"""What a forked worker cannot have, or nobody, is refused by name."""

from __future__ import annotations

import importlib
import tarfile
import zipfile
from pathlib import Path

import pytest

import jupyter_ray as ray
from jupyter_ray.exceptions import RuntimeEnvSetupError
from jupyter_ray.job_config import JobConfig


@pytest.mark.parametrize("field", ["pip", "conda", "uv", "container", "image_uri", "nsight"])
def test_what_only_a_cluster_offers_is_refused_at_init(field: str) -> None:
    with pytest.raises(
        RuntimeEnvSetupError,
        match=rf"^Failed to set up runtime environment\.\nruntime_env\['{field}'\].*forked.*init\(address=\.\.\.\)",
    ):
        ray.init(num_cpus=1, runtime_env={field: "something" if field == "conda" else ["something"]})
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
        with pytest.raises(RuntimeEnvSetupError, match="only folders and archives of this machine"):
            task.options(runtime_env={"working_dir": "https://example.org/x.zip"}).remote()
        assert ray.get(task.options(runtime_env={"pip": None}).remote()) is None
    finally:
        ray.shutdown()


def test_what_a_folder_or_a_module_may_be(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no module")
    (tmp_path / "single.py").write_text("value = 7")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("inside.txt", "from the archive")
    (tmp_path / "inside.txt").write_text("from the archive")
    for kind in ("gz", "xz"):
        with tarfile.open(tmp_path / f"packed.tar.{kind}", f"w:{kind}") as tar:  # type: ignore[call-overload]
            tar.add(tmp_path / "inside.txt", "inside.txt")
    (tmp_path / "damaged.tgz").write_bytes((tmp_path / "packed.tar.gz").read_bytes()[:50])

    @ray.remote
    def look() -> tuple[int, str]:
        import single  # type: ignore[import-not-found]

        return single.value, Path("inside.txt").read_text()

    ray.init(num_cpus=1)
    try:
        with pytest.raises(ValueError, match="is not a folder or an archive"):
            look.options(runtime_env={"working_dir": str(tmp_path / "notes.txt")}).remote()
        with pytest.raises(ValueError, match="is not a folder, a module, or an archive"):
            look.options(runtime_env={"py_modules": [str(tmp_path / "notes.txt")]}).remote()
        with pytest.raises(RuntimeEnvSetupError, match="only folders and archives of this machine"):
            look.options(runtime_env={"py_modules": ["https://example.org/x.zip"]}).remote()
        for address in ("smb://example.org/x.zip", "nowhere://x"):
            for field in ({"working_dir": address}, {"py_modules": [address]}):
                with pytest.raises(ValueError, match="is not a valid URI, nor a path"):
                    look.options(runtime_env=field).remote()
        with pytest.raises(ValueError, match=r"damaged\.tgz', which cannot be unpacked"):
            look.options(runtime_env={"working_dir": str(tmp_path / "damaged.tgz")}).remote()
        modules = [str(tmp_path / "single.py")]
        for packed in (
            f"file://{tmp_path}/packed.zip",
            str(tmp_path / "packed.tar.gz"),
            str(tmp_path / "packed.tar.xz"),
        ):
            environment = {"working_dir": packed, "py_modules": modules}
            assert ray.get(look.options(runtime_env=environment).remote()) == (7, "from the archive")
    finally:
        ray.shutdown()


def test_modules_in_folders_of_the_job_s_code_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("first", "second"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "code_of_the_job.py").write_text(f"WHERE = {folder!r}")
    monkeypatch.chdir(tmp_path)

    @ray.remote
    def look() -> str:
        return str(importlib.import_module("code_of_the_job").WHERE)

    ray.shutdown()
    ray.init(num_cpus=1, job_config=JobConfig(code_search_path=["absent", "first", str(tmp_path / "second")]))
    try:
        assert ray.get(look.remote()) == "first"
    finally:
        ray.shutdown()
