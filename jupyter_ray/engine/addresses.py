"""The address of a cluster, checked before anything large is imported: a wrong one is told within four seconds.

Ray takes its time with a wrong address: half a minute where something else answers, a minute where this machine is no
node of the cluster. So this module asks first, over one connection: does somebody answer, in gRPC, and as a head node
(or as Ray Client's server)? And is one of the cluster's nodes here?
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

from jupyter_ray import alias
from jupyter_ray.engine import registry

SECONDS = 3.0
"""How long the search for somebody who answers may take."""

_LEAST_SECONDS = 0.5
"""What one attempt has at least."""

_CLIENT = "ray://"
_CLIENT_PORT = 10001
_HERE = ("localhost", "127.0.0.1", "::1")
_START = "start a cluster with `ray start --head`"
_OTHERS = "init() in another notebook or script first, whose runtime can be joined"
_FORMS = (
    "write 'auto', 'host:6379' (the head node), 'ray://host:10001' (Ray Client), or 'unix:...' (what another driver's "
    "init() has returned as its address)"
)
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a connection of HTTP/2, which gRPC speaks, begins: with settings, here none. The other side's come back."""

_SETTINGS = 4
_TLS_ALERT = 0x15
_CHECK_ALIVE = ("/ray.rpc.NodeInfoGcsService/CheckAlive", b"")
_PING = ("/ray.rpc.RayletDriver/ClusterInfo", b"\x08\x06")
"""What only a head node answers, and what only Ray Client's server does: the method, and the message as bytes."""

Found = TypeVar("Found")


class Parts(NamedTuple):
    """The parts of an address."""

    host: str
    port: int
    client: bool
    """It is Ray Client's."""


class AddressError(ConnectionError, ValueError):
    """What was given is no address: a ValueError, as in Ray."""


class _NobodyError(Exception):
    """Nobody of Ray answers at an address; the text says why."""


def split(address: str) -> Parts:
    """Return the parts of ``"host:port"`` or ``"ray://host:port"``; AddressError if it is neither."""
    client = address.startswith(_CLIENT)
    rest = address.removeprefix(_CLIENT).rstrip("/") if client else address
    host, colon, port = rest.rpartition(":")
    if client and (not colon or rest.endswith("]")):
        host, port = rest, str(_CLIENT_PORT)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    strange = not host or any(each.isspace() or each in "/@?#\0[]" for each in host)
    if strange or not (port.isascii() and port.isdigit() and 0 < int(port) < 2**16):
        raise AddressError(f"{address!r} is not the address of a cluster: {_FORMS}.")
    return Parts(host, int(port), client)


def check_reachable(address: str) -> None:
    """Raise a ConnectionError, with the command that helps, if this process cannot join a cluster at `address`.

    Parameters
    ----------
    address
        ``"auto"``, ``"host:port"`` or ``"ray://host:port"``.
    """
    if alias.stands_for_ray():
        raise ConnectionError(
            f"Could not find any running Ray instance at {address!r}: sys.modules['ray'] is this package here, and "
            "joining a cluster needs Ray itself. Do not set that name, and write `import jupyter_ray as ray`."
        )
    for package in ("ray", "grpc"):  # Ray alone does not bring the second, by which the head node is asked.
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:  # A folder of that name is no package.
            nobody, other = (
                ("no runtime of yours is here, and ", f" or call {_OTHERS}") if address == "auto" else ("", "")
            )
            raise ConnectionError(
                f"Could not find any running Ray instance at {address!r}, since {nobody}the package `{package}` is not "
                f"installed here: pip install 'jupyter-ray[ray]'{other}."
            )
    if address == "auto":
        _check_here()
        return
    parts = split(address)
    try:
        _ask(parts)
    except _NobodyError as error:
        raise ConnectionError(
            f"Could not find any running Ray instance at {address!r} ({error}): check host and port, and that it is "
            f"open from here, or {_START}."
        ) from None
    if not parts.client and not _nodes_here():
        raise no_node_here(address)


def load_engine() -> None:
    """Import Ray, and what this package has for it; ConnectionError if this Ray is not one that it can use."""
    try:
        registry.load("ray")
    except ImportError as error:
        import importlib.metadata

        version = importlib.metadata.version("ray")
        raise ConnectionError(
            f"The package `ray` {version}, which is installed here, is not one that this package can use ({error}): "
            "pip install --upgrade 'jupyter-ray[ray]'."
        ) from error


def no_node_here(address: str) -> ConnectionError:
    """Return the error of who would join a cluster that this machine is no node of."""
    host = address.rpartition(":")[0]
    return ConnectionError(
        f"This machine is no node of the cluster at {address!r}, and a driver must be on one: run "
        f"`ray start --address={address} --num-cpus=0` here first, or join through {_CLIENT}{host}:{_CLIENT_PORT}."
    )


def _check_here() -> None:
    """See to it that ``"auto"`` finds something."""
    heads = set(_nodes_here())
    reason = "no node of a cluster runs here"
    if len(heads) == 1:  # With several, Ray chooses.
        [head] = heads
        with contextlib.suppress(ConnectionError):
            parts = split(head)
            try:
                _ask(parts)
            except _NobodyError as error:
                reason = f"the head node of the one that runs here, {head}: {error}"
                heads.clear()
    if not heads:
        raise ConnectionError(
            f"Could not find any running Ray instance on this machine for address='auto' (no runtime of yours, and "
            f"{reason}): {_START}, call {_OTHERS}, or leave the address out for a runtime of your own."
        )


def _nodes_here() -> list[str]:
    """Return the head node's address for each of Ray's nodes on this machine, as Ray finds them: by their processes."""
    import psutil

    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"]
        if line and "raylet" in os.path.basename(line[0]):
            words = " ".join(line).split(" ")
            if any(word.startswith("--node_id=") for word in words):
                heads = [word.partition("=")[2] for word in words if word.startswith("--gcs-address=")]
                found.append(heads[0] if heads else "")
    return found


def _ask(parts: Parts) -> None:
    """Return if who answers is the one that was asked for."""
    deadline = time.monotonic() + SECONDS
    reason: _NobodyError | None = None
    places = list(_places(parts, deadline))
    for number, place in enumerate(places):
        try:
            turn = time.monotonic() + max((deadline - time.monotonic()) / (len(places) - number), _LEAST_SECONDS)
            with socket.socket(place[0], socket.SOCK_STREAM) as connection:
                connection.settimeout(turn - time.monotonic())
                connection.connect(place[1])
                if not _uses_tls():
                    _greet(connection, turn)
            _call(place, parts.client, max(deadline - time.monotonic(), 2 * _LEAST_SECONDS))
            return
        except TimeoutError:
            reason = reason or _NobodyError("nobody has answered in time")
        except OSError as error:
            reason = reason or _NobodyError(error.strerror or str(error))
        except _NobodyError as error:
            reason = error  # Somebody is there: that says more.
    raise reason or _NobodyError("the name has no address")


def _places(parts: Parts, deadline: float) -> Iterator[tuple[int, Any]]:
    """Yield families and addresses to try. The head node of this machine may listen on its own address alone."""
    for host in (parts.host, *([_own_address()] if parts.host in _HERE else [])):

        def look(host: str = host) -> list[Any]:
            return socket.getaddrinfo(host, parts.port, type=socket.SOCK_STREAM)

        try:
            for family, _, _, _, address in _in_time(look, deadline - time.monotonic()):
                yield family, address
        except TimeoutError:
            raise _NobodyError("the name server has not answered in time") from None
        except (OSError, UnicodeError) as error:
            raise _NobodyError(getattr(error, "strerror", None) or "that is not the name of a host") from None


def _in_time(look: Callable[[], Found], seconds: float) -> Found:
    """Return what a function without a timeout returns; TimeoutError if that takes longer, and it is left alone."""
    found: list[Found] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(look())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="jupyter_ray looks up a name", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found[0]


def _uses_tls() -> bool:
    return os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true")


def _greet(connection: socket.socket, deadline: float) -> None:
    """Raise if the other side does not speak gRPC."""
    answer = b""
    try:
        connection.sendall(_GREETING)
        while len(answer) < 9:
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            if not (more := connection.recv(9 - len(answer))):
                break
            answer += more
    except TimeoutError:
        raise _NobodyError(
            "what listens there does not answer: it hangs, or does not speak gRPC, as Ray does"
        ) from None
    if answer[:1] == bytes([_TLS_ALERT]):
        raise _NobodyError("what answers there speaks TLS: set RAY_USE_TLS=1 and the certificates, see docs/scale.md")
    if answer[3:4] != bytes([_SETTINGS]):
        raise _NobodyError("what answers there does not speak gRPC, as Ray does")


def _call(place: tuple[int, Any], client: bool, seconds: float) -> None:
    """Raise if what speaks gRPC is not the one that was asked for; whether it lets us in, Ray will say."""
    import grpc

    host, port = place[1][:2]
    target = f"[{host}]:{port}" if place[0] == socket.AF_INET6 else f"{host}:{port}"
    options = [("grpc.enable_http_proxy", 0)]
    if not _uses_tls():
        channel = grpc.insecure_channel(target, options)
    elif (credentials := _credentials(grpc)) is None:
        return
    else:
        channel = grpc.secure_channel(target, credentials, options)
    method, message = _PING if client else _CHECK_ALIVE
    with channel:
        try:
            channel.unary_unary(method)(message, timeout=seconds)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNAUTHENTICATED:
                raise _NobodyError(refusal(client, error.code().name)) from None


def refusal(client: bool, status: str) -> str:
    """Return what it means that who answers in gRPC did not take the question.

    Parameters
    ----------
    client
        Whether Ray Client's server was looked for.
    status
        The name of gRPC's status.
    """
    what, port, option = (
        ("Ray Client's server", _CLIENT_PORT, "--ray-client-server-port")
        if client
        else ("the head node of a Ray cluster", 6379, "--port")
    )
    if status == "DEADLINE_EXCEEDED":
        return f"something listens there, but {what} has not answered in time"
    return (
        f"something answers there, but it is not {what}, whose port is {port} unless `ray start --head {option}=...` "
        "said otherwise"
    )


def _credentials(grpc: Any) -> Any:
    """Return what TLS needs, from the files that Ray's variables name; None: Ray will say what is wrong with them."""
    try:
        files = []
        for name in ("RAY_TLS_CA_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_SERVER_CERT"):
            with open(os.environ[name], "rb") as file:
                files.append(file.read())
    except (KeyError, OSError):
        return None
    return grpc.ssl_channel_credentials(*files)


def _own_address() -> str:
    """Return the address of this machine's way out; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
