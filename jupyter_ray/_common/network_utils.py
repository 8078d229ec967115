"""Ray's ``ray._common.network_utils``: addresses as text, and ports that are free."""

from __future__ import annotations

import contextlib
import socket

_LOOPBACKS = ("127.0.0.1", "::1", "localhost")


def build_address(host: str, port: int | str) -> str:
    """Return ``host:port``; the host of version 6 stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(address: str) -> tuple[str, str] | None:
    """Return host and port of what `build_address` made, or None where there is no port."""
    host, separator, port = address.rpartition(":")
    if not separator or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        return None
    return host.strip("[]"), port


def is_ipv6(host: str) -> bool:
    """Tell whether a host's first address is one of version 6."""
    try:
        return socket.getaddrinfo(host, None)[0][0] == socket.AF_INET6
    except OSError:
        return False


def is_localhost(host: str) -> bool:
    """Tell whether a host is this machine's own loopback, by one of its usual names."""
    return host in _LOOPBACKS


def get_localhost_ip() -> str:
    """Return the loopback's address: of version 4, unless ``localhost`` has none."""
    with contextlib.suppress(OSError):
        if socket.AF_INET not in {family for family, *_ in socket.getaddrinfo("localhost", None)}:
            return "::1"
    return "127.0.0.1"


def get_all_interfaces_ip() -> str:
    """Return the address that a server binds to which listens on all interfaces."""
    return "::" if ":" in get_localhost_ip() else "0.0.0.0"


def node_ip_address_from_perspective(address: str | None = None) -> str:
    """Return the address of this machine that others reach it by; nothing is sent to find it out."""
    host, port = (parse_address(address) if address else None) or ("192.0.2.1", "80")  # nobody has the latter
    with contextlib.suppress(OSError, ValueError):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.connect((host, int(port)))
            found: str = one.getsockname()[0]
            return found
    return get_localhost_ip()


def find_free_port(family: socket.AddressFamily = socket.AF_INET) -> int:
    """Return the number of a TCP port that nobody uses now."""
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.bind(("", 0))
        port: int = one.getsockname()[1]
        return port
