"""Joining a cluster: quick and plain answers where that fails, and what would differ there, said at once."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
import ray
from ray._private import auto_init_hook
from ray._private.gcs_utils import create_gcs_channel
from ray.core.generated import gcs_service_pb2, gcs_service_pb2_grpc, ray_client_pb2, ray_client_pb2_grpc
from ray.core.generated.gcs_pb2 import GcsNodeInfo

from jupyter_ray.engine import addresses, log_format
from jupyter_ray.engine.base import InitOptions
from jupyter_ray.ray_cluster.exceptions import translated

_KNOCK_SECONDS = 2.0
"""How long the head node has to answer; `engine.addresses` has seen that it does."""

_NODE_SECONDS = 1.0
"""How long a node of this machine has to be known to the cluster."""

_POLL_SECONDS = 0.1
_Selector = gcs_service_pb2.GetAllNodeInfoRequest.NodeSelector
_CLIENT = "ray://"
_ATTEMPTS = 3
_GIVEN_UP = "already been disconnected"

_may_start = auto_init_hook.enable_auto_connect
"""Whether the first use of Ray starts a cluster: one whose connection is gone must not, so none does while it lasts."""

_OVERRIDE = "RAY_OVERRIDE_JOB_RUNTIME_ENV"
_START = "Start one with `ray start --head`, or leave the address out for a runtime on this machine."


def join(options: InitOptions, address: str) -> None:
    """Connect this process to the cluster at `address`.

    Raises
    ------
    ConnectionError
        No cluster answers there, this machine is no part of it, or it wants a token; the message says what helps.
    RuntimeError
        Python or Ray is of another version there.
    """
    if ray.is_initialized():
        raise RuntimeError(
            "This process has joined a cluster with the package `ray` already. Call `ray.shutdown()` of that package "
            "first; the one session serves both."
        )
    target = _find(address)
    if address == "auto":
        _take_token()
    _knock(target, address)
    if not is_client(address):
        _look_for_node(target)
    environment = dict(options.runtime_env or {})
    if options.logging is not None:
        environment["env_vars"] = {**environment.get("env_vars", {}), log_format.VARIABLE: options.logging}
    try:
        if is_client(address):
            _connect_client(target, options, environment)
        else:
            with _final():
                ray.init(
                    address=target,
                    namespace=options.namespace,
                    runtime_env=environment or None,
                    job_config=_job_config(options),
                    log_to_driver=False,
                    configure_logging=False,
                    logging_level=logging.WARNING,
                    _skip_env_hook=True,
                )
    except Exception as error:
        with contextlib.suppress(Exception):
            ray.shutdown()
        explained = _explained(error, address, target)
        raise explained from (None if explained is error else error)
    auto_init_hook.enable_auto_connect = False


@contextlib.contextmanager
def _final() -> Iterator[None]:
    """Have Ray take the runtime environment as it is: `init` has joined it with that of a submitted job already."""
    before = os.environ.get(_OVERRIDE)
    os.environ[_OVERRIDE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_OVERRIDE]
        else:
            os.environ[_OVERRIDE] = before


def _job_config(options: InitOptions) -> Any:
    """Return the settings that Ray takes only in this form; None if there are none."""
    if not (options.detached_actors or options.metadata):
        return None
    lifetime = "detached" if options.detached_actors else "non_detached"
    return ray.job_config.JobConfig(default_actor_lifetime=lifetime, metadata=options.metadata)


def is_client(address: str) -> bool:
    """Tell whether an address is one of Ray Client's."""
    return address.startswith(_CLIENT)


def _connect_client(address: str, options: InitOptions, environment: dict[str, Any]) -> None:
    for name in ("ray.client_builder", "ray.util.client"):
        logging.getLogger(name).setLevel(logging.ERROR)  # They tell what they do.
    heard = logging.getLogger("ray.util.client.logsclient")  # What the server logs: it is no concern of the notebook's.
    if not heard.handlers:
        heard.addHandler(logging.NullHandler())
    builder = ray.client(address, _deprecation_warn_enabled=False)
    builder._init_args(
        namespace=options.namespace,
        runtime_env=environment or None,
        log_to_driver=False,
        logging_level=logging.WARNING,  # It would tell of each folder that it uploads.
    )
    if options.metadata:
        for key, value in options.metadata.items():
            builder._job_config.set_metadata(key, value)
    if options.detached_actors:
        builder._job_config.set_default_actor_lifetime("detached")
    for attempt in range(_ATTEMPTS):  # The server starts a process for each client, which fails now and then.
        try:
            builder.connect()
            return
        except ConnectionError as error:  # On a busy machine also: it gives up the connection while that starts.
            given_up = isinstance(error, ConnectionAbortedError) or _GIVEN_UP in str(error)
            if not given_up or attempt == _ATTEMPTS - 1:
                raise


def leave() -> None:
    """Disconnect this process."""
    auto_init_hook.enable_auto_connect = _may_start
    ray.shutdown()


def address() -> str:
    """Return where the head node answers."""
    with contextlib.suppress(Exception):
        return str(ray._private.worker.global_worker.gcs_client.address)
    return "no cluster"


def _find(address: str) -> str:
    """Return host and port of the head node; with its scheme, those of Ray Client's server."""
    if is_client(address):
        parts = addresses.split(address)
        host = f"[{parts.host}]" if ":" in parts.host else parts.host
        return f"{_CLIENT}{host}:{parts.port}"
    if address == "auto":
        found = None
        with contextlib.suppress(Exception):
            found = ray._private.services.canonicalize_bootstrap_address("auto")
        if not found:
            raise ConnectionError(
                f"Could not find any running Ray instance on this machine for address='auto'. {_START}"
            )
        return str(found)
    with contextlib.suppress(Exception):
        return str(ray._private.services.canonicalize_bootstrap_address(address))
    return address


def _take_token() -> None:
    """Show the token of this user's own file, if there is one and the environment does not say otherwise (as Ray does).

    `ray start` has the nodes want it then. To an address that somebody names it is not shown unasked.
    """
    from ray._private.authentication import authentication_token_setup as setup

    setup.logger.setLevel(logging.ERROR)  # It tells that it does so.
    setup.maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _knock(target: str, address: str) -> None:
    """Ask whether we are let in, as Ray would be: with the token that it would show."""
    channel = create_gcs_channel(target.removeprefix(_CLIENT))
    try:
        if target.startswith(_CLIENT):
            server = ray_client_pb2_grpc.RayletDriverStub(channel)
            ping = ray_client_pb2.ClusterInfoRequest(type=ray_client_pb2.ClusterInfoType.PING)
            server.ClusterInfo(ping, timeout=_KNOCK_SECONDS)
        else:
            head = gcs_service_pb2_grpc.NodeInfoGcsServiceStub(channel)
            head.CheckAlive(gcs_service_pb2.CheckAliveRequest(), timeout=_KNOCK_SECONDS)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise _wants_token(address) from None
        reason = addresses.refusal(is_client(address), error.code().name)
        raise ConnectionError(f"The cluster at {address!r} could not be joined: {reason}. {_START}") from None
    finally:
        channel.close()


def _look_for_node(target: str) -> None:
    """See to it that one of the cluster's nodes is on this machine: Ray would look for it for a minute."""
    client = ray._raylet.GcsClient(address=target)
    deadline = time.monotonic() + _NODE_SECONDS
    while True:  # It may have been started a moment ago.
        here = ray._private.services.find_node_ids()
        chosen = [_Selector(node_id=bytes.fromhex(node)) for node in here]
        if chosen and client.get_all_node_info(
            timeout=_KNOCK_SECONDS, node_selectors=chosen, state_filter=GcsNodeInfo.ALIVE
        ):
            return
        if time.monotonic() > deadline:
            raise addresses.no_node_here(target)
        time.sleep(_POLL_SECONDS)


def _wants_token(address: str) -> ConnectionError:
    return ConnectionError(
        f"The cluster at {address!r} wants a token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH=<file> (or "
        "RAY_AUTH_TOKEN) in the environment of this process, and restart it."
    )


def _explained(error: Exception, address: str, target: str) -> BaseException:
    text = str(error)
    lower = text.lower()
    if type(error) in (ValueError, TypeError):  # Of what was asked for: an option, a runtime environment.
        return error
    if isinstance(error, ray.exceptions.RuntimeEnvSetupError):
        return translated(error)
    if isinstance(error, ray.exceptions.AuthenticationError) or ("auth" in lower and "token" in lower):
        return _wants_token(address)
    if "version mismatch" in lower:
        return RuntimeError(
            f"Versions differ between this process and the cluster at {address!r}: here Python "
            f"{sys.version.split()[0]} and Ray {ray.__version__}. {text.strip()} Use an environment with the cluster's."
        )
    if "can't find a node" in lower or "no node" in lower or "not found on" in lower or "raylet" in lower:
        host = target.rpartition(":")[0]
        return ConnectionError(
            f"This machine is no node of the cluster at {address!r}, and a driver must be on one: run "
            f"`ray start --address={target} --num-cpus=0` here first, or join through ray://{host}:10001."
        )
    return ConnectionError(f"The cluster at {address!r} could not be joined: {text.strip()[:500]}")
