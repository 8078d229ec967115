"""The address of a cluster, checked before anything large is imported: a wrong one is told in two seconds."""

from __future__ import annotations

import importlib.util
import os
import socket

_KNOCK_SECONDS = 2.0
_CLIENT_PORT = 10001
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a connection of HTTP/2, which gRPC speaks, begins: with settings, here none. The other side's come back."""


def check_reachable(address: str) -> None:
    """Raise a ConnectionError, with the command that helps, if no cluster can answer at `address`.

    Parameters
    ----------
    address
        ``"auto"``, ``"host:port"`` or ``"ray://host:port"``.
    """
    for package in ("ray", "grpc"):  # Ray alone does not bring the second, by which the head node is asked.
        if importlib.util.find_spec(package) is None:
            raise ConnectionError(
                f"Could not find any running Ray instance at {address!r}, since the package `{package}` is not "
                "installed here: pip install 'jupyter-ray[ray]'."
            )
    if address == "auto":
        return
    client = address.startswith("ray://")
    host, colon, port = address.removeprefix("ray://").rstrip("/").rpartition(":")
    if client and not colon:
        host, port = port, str(_CLIENT_PORT)
    if not host or not port.isdigit():
        raise ConnectionError(
            f"{address!r} is no address of a cluster: write 'auto', 'host:6379' (the head node), or 'ray://host:10001'."
        )
    reason = _knock(host.strip("[]"), int(port))
    if reason:
        raise ConnectionError(
            f"Could not find any running Ray instance at {address!r} ({reason}): check the address and that the port "
            "is open from here, or start a cluster with `ray start --head`."
        )


def _knock(host: str, port: int) -> str:
    """Return why nobody answers, "" if somebody does. The head node of this machine may listen on its own address."""
    reason = ""
    for each in (host, *([_own_address()] if host in ("localhost", "127.0.0.1", "::1") else [])):
        try:
            with socket.create_connection((each, port), timeout=_KNOCK_SECONDS) as connection:
                if _is_grpc(connection):
                    return ""
                reason = "what answers there does not speak gRPC, as Ray does"
        except OSError as error:
            reason = reason or error.strerror or str(error)
    return reason


def _is_grpc(connection: socket.socket) -> bool:
    if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):  # Then it speaks TLS first.
        return True
    try:
        connection.sendall(_GREETING)
        answer = connection.recv(9, socket.MSG_WAITALL)
    except OSError:
        return False
    return answer[3:4] == _GREETING[-6:-5]


def _own_address() -> str:
    """Return the address of this machine's way out; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
