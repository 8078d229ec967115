"""Remote functions and classes on a cluster: shipped through the cluster's key-value store, each version once.

The store is that of Ray's head node (where Ray keeps its own functions). A call names the versions of what it may refer
to, so a worker fetches what it does not have, once, and a redefinition takes effect with the next call.
"""

from __future__ import annotations

import secrets
import threading
from typing import Any

import ray
from ray.experimental import internal_kv

from jupyter_ray.engine.base import Definition
from jupyter_ray.engine.travel import Hooks
from jupyter_ray.exceptions import RaySystemError
from jupyter_ray.local.definitions import Exporter
from jupyter_ray.local.library import Library
from jupyter_ray.local.protocol.messages import Export, Function
from jupyter_ray.ray_cluster.refs import weak_actor

NAMESPACE = b"jupyter_ray"


class Definitions(Hooks):
    """What this process has shipped, and what it was sent.

    Parameters
    ----------
    job
        The id of the session (hex).
    """

    def __init__(self, job: str) -> None:
        self._job = job
        self._exporter = Exporter(self._put)
        self._library = Library(lambda contained: None)
        self._versions: dict[str, int] = {}
        self._installed: dict[str, int] = {}
        self._lock = threading.RLock()

    # --- shipping ---

    def ensure(self, definition: Definition) -> None:
        """See to it that the cluster has `definition` as it is now; see `Exporter.ensure`."""
        self._exporter.ensure(definition)

    def versions(self, definition: Definition, inherited: dict[str, int]) -> dict[str, int]:
        """Return the versions that a call of `definition` is told."""
        if definition.value is not None:
            return self._exporter.versions(definition)
        version = self._versions.get(definition.id)
        if version is None or inherited.get(definition.id, 0) >= version:
            return inherited
        return {**inherited, definition.id: version}

    def _put(self, export: Export) -> None:
        key = self._key(export.definition)
        internal_kv._internal_kv_put(key + str(export.version).encode(), export.blob, namespace=NAMESPACE)
        internal_kv._internal_kv_put(key + b"latest", str(export.version).encode(), namespace=NAMESPACE)

    def _key(self, definition: str) -> bytes:
        return f"{self._job}/{definition}/".encode()

    def forget_all(self) -> None:
        """Remove what this session shipped."""
        internal_kv._internal_kv_del(f"{self._job}/".encode(), del_by_prefix=True, namespace=NAMESPACE)

    # --- receiving ---

    def learn_all(self, versions: dict[str, int]) -> None:
        """Take the versions that a call came with."""
        known = self._versions
        for key, version in versions.items():
            if known.get(key, 0) < version:
                known[key] = version

    def resolve(self, key: str, version: int | None = None) -> Any:
        """Return a function or class that was shipped: in the version that a call names, or the latest known here.

        Raises
        ------
        RaySystemError
            The cluster does not have it.
        """
        installed = self._installed.get(key, 0)  # First without the lock: it is so for all calls but the first.
        if installed and installed == (version or max(installed, self._versions.get(key, 0))):
            return self._library.resolve(key)
        with self._lock:
            wanted = version or self._versions.get(key, 0) or self._latest(key)
            installed = self._installed.get(key, 0)
            if wanted < installed:  # The call was made before the definition was changed.
                older = f"{key}@{wanted}"
                if older not in self._library:
                    self._library.install([Function(older, 1, self._blob(key, wanted))])
                return self._library.resolve(older)
            if wanted > installed:
                self._library.install([Function(key, wanted, self._blob(key, wanted))])
                self._installed[key] = wanted
                self._versions[key] = max(wanted, self._versions.get(key, 0))
        return self._library.resolve(key)

    def _blob(self, key: str, version: int) -> bytes:
        name = str(version).encode()
        blob = internal_kv._internal_kv_get(self._key(key) + name, namespace=NAMESPACE)
        if blob is None:  # A detached actor is called from another session than its maker's.
            blob = internal_kv._internal_kv_get(self._abroad(key) + name, namespace=NAMESPACE)
        if blob is None:
            raise RaySystemError(
                f"The definition {key} is not in the cluster any more: the session that made it has ended."
            )
        return bytes(blob)

    def _abroad(self, key: str) -> bytes:
        """Return where another session keeps a definition."""
        ending = f"/{key}/latest".encode()
        found = internal_kv._internal_kv_list(b"", namespace=NAMESPACE)
        return next((bytes(name)[: -len(b"latest")] for name in found if name.endswith(ending)), self._key(key))

    def _latest(self, key: str) -> int:
        found = internal_kv._internal_kv_get(self._key(key) + b"latest", namespace=NAMESPACE)
        if found is None:
            found = internal_kv._internal_kv_get(self._abroad(key) + b"latest", namespace=NAMESPACE)
        return int(found) if found else 0

    def find(self, key: str) -> Any:
        """As `resolve`; None if the cluster does not have it."""
        try:
            return self.resolve(key)
        except RaySystemError:
            return None

    # --- what Ray pickles ---

    def note(self, definition: Any) -> int:
        """Ship a definition that Ray is pickling, as part of an argument or of a result; 0: somebody else pickles."""
        context = ray._private.worker.global_worker.get_serialization_context()
        if not context.is_in_band_serialization():
            return 0
        if definition.value is None:
            return self._versions.get(definition.id, 0) or self._latest(definition.id)
        # What the definition refers to is no part of the value that is being pickled.
        context.set_out_of_band_serialization()
        try:
            self._exporter.ensure(definition)
        finally:
            context.set_in_band_serialization()
        return self._exporter.version(definition)

    def learn(self, key: str, noted: int) -> None:
        """Take the version that `note` returned elsewhere."""
        if self._versions.get(key, 0) < noted:
            self._versions[key] = noted

    def weak_actor(self, binary: bytes) -> Any:
        """Return a reference that does not keep its actor alive."""
        return weak_actor(binary)

    # --- named actors ---

    def keep_handle(self, actor: bytes, handle: bytes) -> None:
        """Store what `get_actor` needs beside Ray's own handle."""
        internal_kv._internal_kv_put(b"actor/" + actor.hex().encode(), handle, namespace=NAMESPACE)

    def handle_of(self, actor: bytes) -> bytes | None:
        """Return what `keep_handle` stored."""
        found = internal_kv._internal_kv_get(b"actor/" + actor.hex().encode(), namespace=NAMESPACE)
        return None if found is None else bytes(found)

    # --- headers of calls ---

    def keep_header(self, header: bytes) -> str:
        """Store the header of a method's calls; return the key under which any process of the cluster finds it."""
        key = f"{self._job}/{secrets.token_urlsafe(8)}"
        internal_kv._internal_kv_put(key.encode(), header, namespace=NAMESPACE)
        return key

    def header_of(self, key: str) -> bytes:
        """Return what `keep_header` stored."""
        found = internal_kv._internal_kv_get(key.encode(), namespace=NAMESPACE)
        if found is None:
            raise RaySystemError("The session that made this call has ended.")
        return bytes(found)

    def __repr__(self) -> str:
        return f"<Definitions of job {self._job}: {len(self._versions)} known>"
