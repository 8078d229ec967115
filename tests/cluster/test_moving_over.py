"""Joining: what a wrong address says and how soon, and what `init` says of what would differ."""

from __future__ import annotations

import importlib
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray.engine import addresses
from jupyter_ray.util import state
from tests.cluster.nodes import Cluster
from tests.contract.helpers import eventually

Start = Callable[..., object]


@pytest.fixture
def join(ray_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Join the cluster, with the checks on."""
    monkeypatch.setenv("JUPYTER_RAY_CHECKS", "1")
    yield lambda **options: ray.init(ray_cluster.address, log_to_driver=False, **options)
    ray.shutdown()


def test_another_port_of_the_cluster(ray_cluster: Cluster) -> None:
    host, _, client_port = ray_cluster.client_address.removeprefix("ray://").rpartition(":")
    ours = f"--gcs-address={ray_cluster.address}"
    nodes = [each for each in psutil.process_iter(["cmdline"]) if ours in (each.info["cmdline"] or ())]
    nodes = [each for each in nodes if "raylet" in each.info["cmdline"][0]]
    others = {each.laddr.port for node in nodes for each in node.net_connections("tcp") if each.status == "LISTEN"}
    assert others
    for address, words in (
        (f"{host}:{client_port}", "not the head node"),
        (f"ray://{ray_cluster.address}", "not Ray Client's"),
        *((f"{host}:{port}", "not the head node") for port in others),
    ):
        began = time.monotonic()
        with pytest.raises(ConnectionError, match=words):
            ray.init(address)
        assert time.monotonic() - began < 2
        assert not ray.is_initialized()


def test_what_is_asked_before_ray_is_imported_is_what_it_answers() -> None:
    from ray.core.generated import gcs_service_pb2 as head
    from ray.core.generated import ray_client_pb2 as client

    for module, (path, message) in ((head, addresses._CHECK_ALIVE), (client, addresses._PING)):
        service, _, name = path.removeprefix("/ray.rpc.").partition("/")
        method = module.DESCRIPTOR.services_by_name[service].methods_by_name[name]
        assert f"/{method.containing_service.full_name}/{method.name}" == path
        asked = getattr(module, method.input_type.name).FromString(message)
    assert asked.type == client.ClusterInfoType.PING


def test_a_cluster_that_this_machine_is_no_node_of(ray_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    words = r"no node of the cluster at .*`ray start --address=.* --num-cpus=0`.*ray://.*:10001"
    with monkeypatch.context() as patched:
        patched.setattr(psutil, "process_iter", lambda names: [])
        with pytest.raises(ConnectionError, match=words):
            ray.init(ray_cluster.address)
    from ray._private import services

    # Nodes of another one are here: Ray itself would look for a minute.
    monkeypatch.setattr(services, "find_node_ids", lambda: {"ab" * 28})
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=words):
        ray.init(ray_cluster.address)
    assert time.monotonic() - began < 4
    assert not ray.is_initialized()


def test_without_the_package(tmp_path: Path) -> None:
    program = (
        "import sys; sys.path_hooks[:] = sys.path_hooks\n"
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'ray' else found(name, *rest)\n"
        "import jupyter_ray as ray\n"
        "ray.init('auto')"
    )
    nowhere = {**os.environ, "RAY_TMPDIR": str(tmp_path)}  # No runtime is there that could be joined.
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=nowhere)
    assert ended.returncode == 1
    assert "pip install 'jupyter-ray[ray]'" in ended.stderr.splitlines()[-1]


def test_a_wrong_token_is_told(ray_cluster: Cluster) -> None:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    for address in (ray_cluster.address, ray_cluster.client_address):
        ended = subprocess.run(
            [sys.executable, "-c", f"import jupyter_ray as ray; ray.init({address!r})"],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert ended.returncode == 1
        assert "RAY_AUTH_MODE=token" in ended.stderr.splitlines()[-1]


def test_a_cluster_of_this_machine_is_shown_the_user_s_token(ray_cluster: Cluster) -> None:
    """As by Ray: `ray start` has the nodes want the token of the user's file, if there is one, without being told."""
    unsaid = {name: value for name, value in os.environ.items() if name not in ("RAY_AUTH_MODE", "RAY_ADDRESS")}
    program = "import jupyter_ray as ray; print(ray.init({!r}).address_info['gcs_address'])"

    def joined(address: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program.format(address)],
            capture_output=True,
            text=True,
            env={**unsaid, "RAY_TMPDIR": str(ray_cluster.folder), **more},
            check=False,
        )

    found = joined("auto")
    assert found.stdout.split() == [ray_cluster.address], found.stderr
    assert "oken" not in found.stderr
    for refused in (joined("auto", RAY_AUTH_MODE="disabled"), joined(ray_cluster.address)):
        assert "wants a token" in refused.stderr, refused.stderr


def test_resources_are_not_asked_for(ray_cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="leave num_cpus= out"):
        ray.init(ray_cluster.address, num_cpus=2)


def test_what_would_differ_is_said_at_init(
    join: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "only_here.py").write_text("VALUE = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    monkeypatch.setattr(sys.modules["__main__"], "only_here", only_here, raising=False)
    with caplog.at_level(logging.WARNING, "jupyter_ray"):
        join()
    [line] = [record.message for record in caplog.records if "only_here" in record.message]
    assert "working_dir" in line
    assert str(tmp_path) in line

    @ray.remote
    def use() -> int:
        import only_here

        return int(only_here.VALUE)

    with pytest.raises(ModuleNotFoundError, match="shipped with init"):
        ray.get(use.remote())
    eventually(lambda: "use" in [each.name for each in state.list_tasks()])
    assert "look" not in [each.name for each in state.list_tasks()], "it is none of the user's"
    ray.shutdown()
    caplog.clear()
    with caplog.at_level(logging.WARNING, "jupyter_ray"):
        join(runtime_env={"working_dir": str(tmp_path)})
    assert not [record for record in caplog.records if "only_here" in record.message]
    assert ray.get(use.remote()) == 7


def test_a_path_that_is_not_there(join: Start) -> None:
    join()

    @ray.remote
    def read() -> str:
        with open("/no/such/file/here") as file:
            return file.read()

    with pytest.raises(FileNotFoundError, match="all nodes share"):
        ray.get(read.remote())


def said(join: Start, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Join, and return what was said of what would differ."""
    caplog.clear()
    with caplog.at_level(logging.WARNING, "jupyter_ray"):
        join()
    return [record.getMessage() for record in caplog.records if record.name == "jupyter_ray"]


def test_nothing_is_said_where_nothing_differs(join: Start, caplog: pytest.LogCaptureFixture) -> None:
    assert said(join, caplog) == []


def package(folder: Path, name: str, version: str, distribution: str = "") -> None:
    """Make what looks like an installed package."""
    (folder / f"{name}.py").write_text("")
    information = folder / f"{distribution or name}-{version}.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution or name}\nVersion: {version}\n")
    (information / "top_level.txt").write_text(name)


@pytest.mark.parametrize("distribution", ["a_package_of_mine", "what-the-index-calls-it"])
def test_a_package_that_the_nodes_do_not_have(
    distribution: str, join: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    package(folder, "a_package_of_mine", "1.2", distribution)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "a_package_of_mine", raising=False)
    used = importlib.import_module("a_package_of_mine")
    monkeypatch.setattr(sys.modules["__main__"], "used", used, raising=False)
    [line] = said(join, caplog)
    assert "Not installed" in line
    assert f"runtime_env={{'pip': ['{distribution}']}}" in line


def test_a_package_of_another_version(
    join: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package(tmp_path, "msgspec", "99.1")
    (tmp_path / "msgspec.py").unlink()  # The module is the installed one.
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys.modules["__main__"], "msgspec", msgspec, raising=False)
    [line] = said(join, caplog)
    assert line.startswith("msgspec is ")
    assert "and 99.1 here" in line


def test_another_version_of_this_package_or_of_python(
    join: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("jupyter_ray.ray_cluster.checks.__version__", "99.1")
    [line] = said(join, caplog)
    assert "and 99.1 here: install the same version" in line
    ray.shutdown()
    monkeypatch.undo()
    monkeypatch.setenv("JUPYTER_RAY_CHECKS", "1")
    monkeypatch.setattr(platform, "python_version", lambda: "3.99.1")
    lines = said(join, caplog)
    assert any("Python is" in line and "3.99.1 here" in line for line in lines), lines


def test_another_version_of_ray(join: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray as native

    monkeypatch.setattr(native, "__version__", "2.0.1")
    with pytest.raises(RuntimeError, match=r"(?s)Versions differ .*Ray 2\.0\.1.*environment with the cluster's"):
        join()
    assert not ray.is_initialized()


def test_a_local_path_in_a_variable(
    join: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/data/only/here" or exists(path))
    monkeypatch.setattr(sys.modules["__main__"], "samples", "/data/only/here", raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "shared", "/tmp", raising=False)
    [line] = said(join, caplog)
    assert "samples (/data/only/here)" in line
    assert "shared" not in line.partition(". Use")[0]
    assert "working_dir" in line
