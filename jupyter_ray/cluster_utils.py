"""Ray's ``ray.cluster_utils``: a session that no driver of a test has started, which several may join.

A `Cluster` is a process of its own (`_HEAD`) that starts a session and ends it when it hears of its end, or of ours:
its stdin is a pipe from this process. Here a machine is one node, so that a second one cannot be added.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from typing import Any

from jupyter_ray import alias
from jupyter_ray.api.init import init
from jupyter_ray.not_offered import unusable

cluster_not_supported = False

_HEAD = """
import json, sys
import jupyter_ray
if {as_ray}:
    sys.modules["ray"] = jupyter_ray
try:
    told = {{"info": dict(jupyter_ray.init(**json.loads(sys.stdin.readline())))}}
except Exception as error:
    told = {{"error": str(error), "type": type(error).__name__}}
print(json.dumps(told), flush=True)
sys.stdin.read()
jupyter_ray.shutdown()
"""
_END_SECONDS = 30.0
_DEFAULTS = {"num_cpus": 1, "object_store_memory": 150 * 1024**2}
_ONLY_HERE = {"log_to_driver": False, "logging_level": "ERROR", "address": "local"}
_OF_INIT = tuple(each for each in init.__kwdefaults__ or () if each not in ("job_config", "logging_config"))
_OF_SERVERS = (
    "dashboard_agent_grpc_port", "dashboard_agent_listen_port", "external_addresses", "gcs_server_port", "head",
    "metrics_export_port", "min_worker_port", "max_worker_port", "node_ip_address", "node_manager_port",
    "num_redis_shards", "object_manager_port", "ray_client_server_port", "redis_max_memory", "redis_password",
    "redis_port", "runtime_env_agent_port", "worker_port_list",
)  # fmt: skip
"""What may be said of Ray's servers, which there are none of here."""
_MORE = "a second node cannot be added: here a machine is one node. A Ray cluster can be joined: docs/engines.md"


class Node:
    """The machine, as a `Cluster` runs on it."""

    def __init__(self, process: subprocess.Popen[str], info: dict[str, Any]) -> None:
        self._process = process
        self.address_info = info
        self.address: str = info["address"]
        self.gcs_address: str = info["address"]
        self.node_id: str = info["node_id"]
        self.unique_id: str = info["node_id"]
        self.node_ip_address: str = info["node_ip_address"]
        self.head = True

    def is_head(self) -> bool:
        """Tell whether it is the first one: it is."""
        return True

    def get_session_dir_path(self) -> str:
        """Return the session's folder."""
        return str(self.address_info["session_dir"])

    def any_processes_alive(self) -> bool:
        """Tell whether the session still runs."""
        return self._process.poll() is None

    remaining_processes_alive = any_processes_alive

    def kill_all_processes(self, check_alive: bool = True, allow_graceful: bool = True, wait: bool = True) -> None:
        """End the session; idempotent."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:  # It hangs; what it has started notices its end.
            self._process.kill()
            self._process.wait()

    def __repr__(self) -> str:
        return f"<Node {self.node_id[:8]} at {self.address}>"


class Cluster:
    """A session for tests, which drivers join by its `address`. Source: Ray's ``ray.cluster_utils.Cluster``.

    Parameters
    ----------
    initialize_head
        Start it.
    connect
        Join it.
    head_node_args
        What `init` is to be asked for: ``num_cpus`` (1 if it is not said), ``resources`` and so on.
    shutdown_at_exit
        End it when this process ends; it ends then in any case.

    Raises
    ------
    RuntimeError
        It is to be joined, and not to be started.
    """

    def __init__(
        self,
        initialize_head: bool = False,
        connect: bool = False,
        head_node_args: dict[str, Any] | None = None,
        shutdown_at_exit: bool = True,
    ) -> None:
        self.head_node: Node | None = None
        self.worker_nodes: set[Node] = set()
        self.connected = False
        if connect and not initialize_head:
            raise RuntimeError("Cannot connect to uninitialized cluster.")
        if shutdown_at_exit:
            atexit.register(self.shutdown)
        if initialize_head:
            self.add_node(**head_node_args or {})
            if connect:
                self.connect()

    @property
    def address(self) -> str | None:
        """Where it is joined: what `init` takes; None if it does not run."""
        return None if self.head_node is None else self.head_node.address

    gcs_address = address

    def connect(self, namespace: str | None = None) -> None:
        """Join it, in a namespace."""
        assert self.head_node is not None, "There is no node to connect to: call add_node() first."
        assert not self.connected, "This driver is connected already."
        init(namespace=namespace, ignore_reinit_error=True, address=self.address)
        self.connected = True

    def add_node(self, wait: bool = True, **node_args: Any) -> Node:
        """Start it, with what `init` is to be asked for; the first node is the only one.

        Raises
        ------
        NotImplementedError
            It runs already.
        TypeError
            There is no such option.
        """
        unknown = [name for name in node_args if name not in (*_OF_INIT, *_OF_SERVERS) and not name.startswith("_")]
        unknown = [name for name in unknown if name not in ("memory", "node_name", "env_vars", "temp_dir")]
        if unknown:
            raise TypeError(f"add_node() got an unexpected keyword argument {unknown[0]!r}")
        if self.head_node is not None:
            raise NotImplementedError(f"ray.cluster_utils.Cluster: {_MORE}.")
        self.head_node = _start({name: each for name, each in node_args.items() if name not in _OF_SERVERS})
        return self.head_node

    def remove_node(self, node: Node, allow_graceful: bool = True) -> None:
        """End it, as its only node goes."""
        if node is not self.head_node:
            raise ValueError(f"{node} is none of this cluster's.")
        node.kill_all_processes()
        self.head_node = None

    def wait_for_nodes(self, timeout: float = 30) -> None:
        """Return: a node is there when `add_node` returns."""

    def list_all_nodes(self) -> list[Node]:
        """Return the node, if it runs."""
        return [] if self.head_node is None else [self.head_node]

    def remaining_processes_alive(self) -> bool:
        """Tell whether all that was started runs still."""
        return all(node.any_processes_alive() for node in self.list_all_nodes())

    def shutdown(self) -> None:
        """End it; idempotent."""
        atexit.unregister(self.shutdown)
        if self.head_node is not None:
            self.remove_node(self.head_node)
        self.connected = False

    def __repr__(self) -> str:
        return f"<Cluster at {self.address}>" if self.head_node is not None else "<Cluster, not started>"


def _start(options: dict[str, Any]) -> Node:
    """Start a session that is nobody's."""
    variables = options.pop("env_vars", None) or {}
    own = {"memory": "_memory", "node_name": "_node_name", "temp_dir": "_temp_dir"}
    asked = {**_DEFAULTS, **{own.get(name, name): each for name, each in options.items()}, **_ONLY_HERE}
    asked = {name: each for name, each in asked.items() if each is not None}
    process = subprocess.Popen(
        [sys.executable, "-c", _HEAD.format(as_ray=alias.stands_for_ray())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**{name: each for name, each in os.environ.items() if name != "RAY_ADDRESS"}, **variables},
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asked) + "\n")
    process.stdin.flush()
    told = json.loads(process.stdout.readline() or '{"error": "its process has ended", "type": "RuntimeError"}')
    process.stdout.close()
    if "error" in told:
        process.stdin.close()
        process.wait()
        raise ValueError(told["error"]) if told["type"] == "ValueError" else RuntimeError(told["error"])
    return Node(process, told["info"])


def __getattr__(name: str) -> Any:
    return unusable(__name__, name, ("AutoscalingCluster",))
