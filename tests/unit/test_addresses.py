"""What a wrong address says, and how soon: decided over a socket, before Ray is imported."""

from __future__ import annotations

import contextlib
import http.server
import importlib.machinery
import importlib.util
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import jupyter_ray as ray
from jupyter_ray.engine import addresses, registry

HOST = "127.0.0.1"
SECONDS = addresses.SECONDS
QUICK = 0.4
"""What these tests leave of `addresses.SECONDS`."""

SOON = 2.0

Listener = Callable[..., contextlib.AbstractContextManager[int]]


@contextlib.contextmanager
def answering(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Run a server, and yield its port: `answer` gets each connection; it stays open while the block runs."""
    with socket.socket() as server, contextlib.ExitStack() as connections:
        server.bind((HOST, 0))
        server.listen()

        def run() -> None:
            with contextlib.suppress(OSError):  # The end.
                while True:
                    connection, _ = server.accept()
                    connections.push(connection)
                    answer(connection)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """Yield a port that lets no connection in: its queue is full, and further knocks are dropped."""
    with socket.socket() as server, contextlib.ExitStack() as waiting:
        server.bind((HOST, 0))
        server.listen(0)
        for _ in range(3):
            knock = waiting.enter_context(socket.socket())
            knock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                knock.connect(server.getsockname())
        yield server.getsockname()[1]


@contextlib.contextmanager
def web() -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    with http.server.ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def closes(connection: socket.socket) -> None:
    connection.close()


def says_nothing(connection: socket.socket) -> None: ...


def begins_and_hangs(connection: socket.socket) -> None:
    connection.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))


def dribbles(connection: socket.socket) -> None:
    connection.sendall(b"220")


def wants_tls(connection: socket.socket) -> None:
    connection.recv(100)
    connection.sendall(bytes.fromhex("15030100020246"))
    connection.shutdown(socket.SHUT_WR)


SERVERS: list[tuple[Listener, str]] = [
    (black_hole, "nobody has answered in time"),
    (web, "does not speak gRPC"),
    (lambda: answering(closes), "does not speak gRPC|reset"),
    (lambda: answering(says_nothing), "does not answer"),
    (lambda: answering(dribbles), "does not answer"),
    (lambda: answering(wants_tls), "RAY_USE_TLS=1"),
]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))  # Where nobody's runtime is.
    for name in ("RAY_ADDRESS", "RAY_USE_TLS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(addresses, "SECONDS", QUICK)


def test_all_that_is_asked_before_ray_is_imported_leaves_it_time() -> None:
    assert SECONDS + 2 * addresses._LEAST_SECONDS <= 4.0


def refused(address: str, words: str) -> str:
    """Join, and return what that says in one sentence, soon and without Ray."""
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=words) as raised:
        ray.init(address)
    assert time.monotonic() - began < SOON
    assert "ray" not in sys.modules
    assert not ray.is_initialized()
    text = str(raised.value)
    assert text.endswith(".")
    assert ". " not in text
    return text


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize(("server", "words"), SERVERS)
def test_something_else_is_there(server: Listener, words: str, scheme: str) -> None:
    with server() as port:
        address = f"{scheme}{HOST}:{port}"
        assert repr(address) in refused(address, f"({words}).*ray start --head")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "localhost:1", "ray://127.0.0.1:1", "ray://[::1]:1"])
def test_nobody_is_there(address: str) -> None:
    refused(address, "refused|not available|unreachable")


@pytest.mark.parametrize("address", ["nowhere.invalid:6379", "ray://nowhere.invalid", "a..b:6379"])
def test_a_name_without_an_address(address: str) -> None:
    refused(address, "ray start --head")


@pytest.mark.parametrize(
    "address",
    [
        "host", ":6379", "host:", "host:0", "host:65536", "host:-1", "host:６３７９", "a b:6379", "u@host:6379", "ray://",
        "ray:// ", "ray://:10001", "http://host:8265", "https://host", "anyscale://host", "host:6379/", "host\0:6379",
    ],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    assert repr(address) in refused(address, "not the address of a cluster: write 'auto', 'host:6379'")
    with pytest.raises(ValueError, match="not the address of a cluster"):  # As in Ray.
        ray.init(address)


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("host:6379", ("host", 6379, False)),
        ("[::1]:6379", ("::1", 6379, False)),
        ("ray://host", ("host", 10001, True)),
        ("ray://host:7/", ("host", 7, True)),
        ("ray://[fe80::1]", ("fe80::1", 10001, True)),
    ],
)
def test_the_parts_of_an_address(address: str, parts: tuple[str, int, bool]) -> None:
    assert addresses.split(address) == parts


def test_a_name_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: asked.wait(30))
    try:
        refused("host:6379", "the name server has not answered in time")
    finally:
        asked.set()


def test_the_second_address_of_a_name_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole() as hole, web() as port:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, each)) for each in (hole, port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: found)
        refused("host:6379", "does not speak gRPC")


def test_auto_where_no_node_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "process_iter", lambda names: [])
    refused("auto", "no node of a cluster runs here.*ray start --head")


def test_auto_where_the_head_node_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    line = ["/x/raylet/raylet", "--gcs-address=127.0.0.1:1", "--node_id=ab"]
    monkeypatch.setattr(psutil, "process_iter", lambda names: [SimpleNamespace(info={"cmdline": line})])
    refused("auto", r"127\.0\.0\.1:1: .*refused.*ray start --head")


def test_auto_is_what_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    refused("auto", r"'127\.0\.0\.1:1'")


def test_a_folder_named_ray_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ray").mkdir()
    find = importlib.util.find_spec
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name: importlib.machinery.PathFinder.find_spec(name, [str(tmp_path)]) if name == "ray" else find(name),
    )
    refused("host:6379", r"pip install 'jupyter-ray\[ray\]'")


def test_a_ray_of_another_age(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(kind: str) -> None:
        raise ImportError("cannot import name 'GcsLogSubscriber' from 'ray._raylet'")

    monkeypatch.setattr(addresses, "check_reachable", lambda address: None)
    monkeypatch.setattr(registry, "load", load)
    refused("host:6379", r"`ray` \d+\.\d.*GcsLogSubscriber.*pip install --upgrade")


IN_GRPC = """
import concurrent.futures, json, sys, time
import grpc
import psutil
import jupyter_ray
from jupyter_ray.engine import addresses

HEAD, CLIENT = addresses._CHECK_ALIVE[0], addresses._PING[0]
CASES = [
    ("", "", "OK"),
    ("ray://", "", "OK"),
    ("", CLIENT, "OK"),
    ("ray://", HEAD, "OK"),
    ("", HEAD, "OK"),
    ("ray://", CLIENT, "OK"),
    ("", HEAD, "UNAUTHENTICATED"),
    ("ray://", CLIENT, "UNAUTHENTICATED"),
    ("", HEAD, "hangs"),
]

class Handler(grpc.GenericRpcHandler):
    def __init__(self, method, status):
        self.method, self.status = method, status

    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(self.answer) if details.method == self.method else None

    def answer(self, request, context):
        if self.status == "hangs":
            time.sleep(2.4)  # marked: it stands for a server that is busy
        elif self.status != "OK":
            context.abort(getattr(grpc.StatusCode, self.status), "no")
        return b""

told = []
psutil.process_iter = lambda names: []
for scheme, method, status in CASES:
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([Handler(method, status)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    addresses.SECONDS = 0.4 if status == "hangs" else 30  # Where it answers, a slow machine has its time.
    began = time.monotonic()
    try:
        addresses.check_reachable(f"{scheme}127.0.0.1:{port}")
        text = ""
    except ConnectionError as error:
        text = str(error)
    told.append((text, time.monotonic() - began))
    server.stop(None)
assert "ray" not in sys.modules
print(json.dumps(told))
"""


def test_what_speaks_grpc() -> None:
    """In a process of its own: gRPC has threads, and this one forks."""
    ended = subprocess.run([sys.executable, "-c", IN_GRPC], capture_output=True, text=True, check=True)
    told = json.loads(ended.stdout)
    not_head, not_client = "it is not the head node of a Ray cluster", "it is not Ray Client's server"
    no_node = "This machine is no node of the cluster"
    words = [not_head, not_client, not_head, not_client, no_node, "", no_node, "", "has not answered in time"]
    for (text, seconds), expected in zip(told, words, strict=True):
        assert expected in text if expected else not text
        assert seconds < SOON
    assert "--num-cpus=0` here first, or join through ray://127.0.0.1:10001" in told[4][0]
