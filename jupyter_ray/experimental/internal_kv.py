"""Values that all processes of a session can leave for each other, by key: Ray's internal key-value store.

Private in Ray too, but libraries use it. Keys, values and name spaces are bytes, or text that is encoded.
"""

from __future__ import annotations

from jupyter_ray.api.session import session_engine
from jupyter_ray.engine import registry
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.not_offered import unusable

Text = str | bytes


def _internal_kv_initialized() -> bool:
    """Tell whether there is a session."""
    return registry.current() is not None


def _internal_kv_get(key: Text, *, namespace: Text | None = None) -> bytes | None:
    """Return the value of a key; None if it has none."""
    found = session_engine().pairs("get", _key(key), space=_bytes(namespace or b""))
    return None if found is None else bytes(found)


def _internal_kv_exists(key: Text, *, namespace: Text | None = None) -> bool:
    """Tell whether a key has a value."""
    return _internal_kv_get(key, namespace=namespace) is not None


def _internal_kv_put(key: Text, value: Text, overwrite: bool = True, *, namespace: Text | None = None) -> bool:
    """Give a key a value, another one only with `overwrite`; return whether it had one."""
    space = _bytes(namespace or b"")
    return bool(session_engine().pairs("put", _key(key), space=space, value=_bytes(value), flag=overwrite))


def _internal_kv_del(key: Text, *, del_by_prefix: bool = False, namespace: Text | None = None) -> int:
    """Remove a key, or all that begin with it; return how many there were."""
    return int(session_engine().pairs("delete", _key(key), space=_bytes(namespace or b""), flag=del_by_prefix))


def _internal_kv_list(prefix: Text, *, namespace: Text | None = None) -> list[bytes]:
    """Return the keys that begin with a prefix."""
    found = session_engine().pairs("list", _key(prefix), space=_bytes(namespace or b""))
    return [bytes(each) for each in found]


_OF_SERVERS = ("_initialize_internal_kv", "_internal_kv_reset", "_pin_runtime_env_uri", "internal_kv_get_gcs_client")


def __getattr__(name: str) -> object:
    return unusable(__name__, name, _OF_SERVERS)


def _key(text: Text) -> bytes:
    key = _bytes(text)
    if key.startswith(b"@namespace_"):  # So Ray marks the keys of a namespace, and takes none that looks like it.
        raise RaySystemError("A key cannot begin with @namespace_.")
    return key


def _bytes(text: Text) -> bytes:
    encoded = text.encode() if isinstance(text, str) else text
    assert isinstance(encoded, bytes), f"Keys and values are bytes or text, got {type(text)}."  # As in Ray.
    return encoded
