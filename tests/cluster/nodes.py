"""A small Ray cluster of separate ``ray start`` processes: a head and two worker nodes, on ports of their own.

The processes stay in the foreground (``--block``), so that they are this process's children; they and what they started
are ended by their ids, and nothing else is.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
ATTEMPTS = 3
OBJECT_STORE = 100 * 1024**2
PATIENCE_SECONDS = "120"

WORKERS = (
    ("--num-cpus=2", "--num-gpus=1", '--resources={"disk": 2, "first": 10, "licence": 1}'),
    ("--num-cpus=2", "--num-gpus=0", '--resources={"disk": 2, "second": 10}'),
)
"""What the worker nodes declare. The head has no CPUs: tasks run on the workers. The tutorials ask for a licence."""


class Cluster:
    """The running nodes.

    Attributes
    ----------
    address : str
        Of the head node.
    client_address : str
        Of its Ray Client server, where that can be started.
    folder : Path
        Where the nodes have their files: with it as ``RAY_TMPDIR``, ``"auto"`` is this cluster.
    """

    def __init__(self, standing: str = "") -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self.address = standing
        if standing:
            self.client_address = os.environ.get("JUPYTER_RAY_TEST_CLIENT", "")
            self.folder = Path(os.environ.get("JUPYTER_RAY_TEST_FOLDER", "/tmp"))
            return
        self.folder = Path(tempfile.mkdtemp(prefix="jr-", dir="/tmp"))  # Short: sockets live in there.
        self._token = self.folder / "token"
        self._token.write_text(secrets.token_hex(32))
        self.port, self.client_port = _free_port(), _free_port()
        self.host = _own_address()
        self._logs: dict[int, Path] = {}
        self._started = 0
        self._shims = self._make_shims()
        self.address = f"{self.host}:{self.port}"
        self.client_address = f"ray://{self.host}:{self.client_port}"

    def _make_shims(self) -> Path:
        """Hide a package from Ray's processes that would take most of their start: a second in each.

        Ray imports jsonschema, which imports this one if it finds it.
        """
        folder = self.folder / "shims"
        folder.mkdir()
        (folder / "rfc3987_syntax.py").write_text("raise ImportError('not for the nodes of the tests')\n")
        return folder

    def environment(self) -> dict[str, str]:
        """Return what a process must have in its environment to be let in."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(self._token)}

    def pids(self) -> set[int]:
        """Return the processes at the top of each node."""
        return {process.pid for process in self._processes}

    def start(self) -> None:
        """Start the nodes; returns when all have joined."""
        self._start_node(
            "--head",
            f"--port={self.port}",
            *([f"--ray-client-server-port={self.client_port}"] if find_spec("grpc") else []),  # It is of `ray[client]`.
            "--include-dashboard=false",
            f"--temp-dir={self.folder / 'ray'}",
            "--num-cpus=0",
            "--num-gpus=0",
            '--resources={"head": 10}',
        )
        for options in WORKERS:
            self._start_node(f"--address={self.address}", *options)

    def _start_node(self, *options: str) -> None:
        """Start a node, one after the other: Ray gives up on one whose agents need more than 15 seconds."""
        for attempt in range(ATTEMPTS):
            node = self._run(*options)
            while node.poll() is None:
                if "Ray runtime started" in self.log_of(node):
                    return
                time.sleep(0.1)
            if attempt == ATTEMPTS - 1:
                raise RuntimeError(f"A node did not come up:\n{self.log_of(node)[-3000:]}")
            _end(node)
            self._processes.remove(node)

    def _run(self, *options: str) -> subprocess.Popen[bytes]:
        self._started += 1
        path = self.folder / f"start-{self._started}.log"
        log = path.open("wb")
        environment = {
            **os.environ,
            **self.environment(),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_DEDUP_LOGS": "0",
            "RAY_memory_monitor_refresh_ms": "0",  # What else this machine runs must not end the tests' workers.
            "RAY_worker_niceness": "0",  # Ray's own is 15: what else this machine runs would leave them nothing.
            "RAY_raylet_start_wait_time_s": PATIENCE_SECONDS,  # On a busy machine a node needs more than Ray's 30 s.
            "RAY_agent_register_timeout_ms": f"{PATIENCE_SECONDS}000",
            "PYTHONPATH": os.pathsep.join((str(self._shims), str(ROOT))),
            "PYTHONWARNINGS": "default",
        }
        environment.pop("RAY_ADDRESS", None)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
                f"--object-store-memory={OBJECT_STORE}",
                "--disable-usage-stats",
                "--min-worker-port=0",
                "--max-worker-port=0",
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        log.close()
        self._processes.append(process)
        self._logs[process.pid] = path
        return process

    def check(self) -> None:
        """Fail if a node has died, with what it said."""
        for process in self._processes:
            if process.poll() is not None:
                raise RuntimeError(f"A node ended with {process.returncode}:\n{self.log_of(process)[-3000:]}")

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        """Return what a node printed."""
        return self._logs[process.pid].read_text(errors="replace")

    def stop(self) -> None:
        """End the nodes and all that they started; remove their folder."""
        for process in reversed(self._processes):
            _end(process)
        shutil.rmtree(self.folder, ignore_errors=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a node: its process, what that started, and what lives in its folder."""
    found: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        found.update((each.pid, each) for each in (top, *top.children(recursive=True)))
    process.terminate()
    _, alive = psutil.wait_procs(list(found.values()), timeout=10)
    for each in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(alive, timeout=10)
    process.wait(10)


def _own_address() -> str:
    """Return the address under which Ray's nodes on this machine find each other (no packet is sent)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Run a cluster while the block runs; this process's environment lets it in meanwhile.

    The environment variable ``JUPYTER_RAY_TEST_CLUSTER`` names one that runs already (``python tests/cluster/nodes.py``
    starts one and says how to join it): half a minute less for whoever runs one test again and again.
    """
    if standing := os.environ.get("JUPYTER_RAY_TEST_CLUSTER"):
        yield Cluster(standing)
        return
    if "ray" in sys.modules:  # With it, Ray has read how it authenticates.
        raise RuntimeError("A test module imports `ray`, or `jupyter_ray.ray_cluster`, at its top: do so in the tests.")
    cluster = Cluster()
    before = {name: os.environ.get(name) for name in cluster.environment()}
    os.environ.update(cluster.environment())
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # A shell's background job would ignore the first.
        signal.signal(number, signal.default_int_handler)
    with running_cluster() as cluster:
        command, address = sys.argv[1:], cluster.address
        if command[:1] == ["--client"]:
            command, address = command[1:], cluster.client_address
        if command:  # It finds the cluster in its environment.
            environment = {**os.environ, "RAY_ADDRESS": address}
            sys.exit(subprocess.run(command, env=environment, check=False).returncode)
        for name, value in cluster.environment().items():
            print(f"export {name}={value}")
        print(f"export JUPYTER_RAY_TEST_CLIENT={cluster.client_address}")
        print(f"export JUPYTER_RAY_TEST_FOLDER={cluster.folder}")
        print(f"export RAY_ADDRESS={cluster.address}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                cluster.check()
                time.sleep(1.0)
