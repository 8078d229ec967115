"""joblib's port, on a `Pool`. Imports joblib: only `register_ray` imports this module."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any

from joblib._parallel_backends import AutoBatchingMixin, FallbackToBackend, ParallelBackendBase, SequentialBackend

from jupyter_ray.api.calls import get, put
from jupyter_ray.api.cluster import cluster_resources
from jupyter_ray.api.init import init
from jupyter_ray.api.session import is_initialized
from jupyter_ray.engine.refs import ObjectRef
from jupyter_ray.util.multiprocessing import AsyncResult, Pool
from jupyter_ray.util.pool_workers import PoolTaskError

SHARED_FROM = 1 << 16
"""Arguments of at least so many bytes go to shared memory once for all calls."""


class RayBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """Runs joblib's batches on the processes of a pool, which lives as long as one ``Parallel`` call.

    Parameters
    ----------
    ray_remote_args
        Options of the actors; see `Pool`.
    """

    supports_retrieve_callback = True
    supports_sharedmem = False
    uses_threads = False
    default_n_jobs = -1

    def __init__(self, ray_remote_args: dict[str, Any] | None = None, **others: Any) -> None:
        super().__init__(**others)
        self._options = ray_remote_args
        self._pool: Pool | None = None
        self._shared: dict[int, tuple[Any, ObjectRef[Any]]] = {}
        """Large arguments by their `id`, which their presence here keeps theirs."""

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Return how many processes `n_jobs` means: no more than the session has CPUs, and -1 for all of them."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if not is_initialized():
            init(address=os.environ.get("RAY_ADDRESS") or None)
        cpus = max(1, int(cluster_resources().get("CPU", 1)))
        return min(n_jobs, cpus) if n_jobs > 0 else max(1, cpus + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, prefer: Any = None, require: Any = None,
                  **others: Any) -> int:  # fmt: skip
        """Start the processes; return how many."""
        number = self.effective_n_jobs(n_jobs)
        if number == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self._pool = Pool(number, ray_remote_args=self._options)
        self.parallel = parallel
        return number

    def submit(self, func: Any, callback: Callable[[Any], Any] | None = None) -> AsyncResult:
        """Run a batch; `callback` gets its results, or its error."""
        assert self._pool is not None
        return self._pool.apply_async(self._packed(func), callback=callback, error_callback=callback)

    apply_async = submit  # Its name before joblib 1.5.

    def retrieve_result_callback(self, out: Any) -> Any:
        """Return what `callback` got, or raise it."""
        if isinstance(out, BaseException):
            raise out.underlying if isinstance(out, PoolTaskError) else out
        return out

    def terminate(self) -> None:
        """End the processes."""
        self._shared.clear()
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End what runs; with `ensure_ready` start new processes."""
        self.terminate()
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)

    def _packed(self, batch: Any) -> Any:
        if not hasattr(batch, "items"):
            return batch
        packed = copy.copy(batch)
        packed.items = [
            (func, [self._share(value) for value in args], {name: self._share(value) for name, value in kwargs.items()})
            for func, args, kwargs in batch.items
        ]
        return _Unpacked(packed)

    def _share(self, value: Any) -> Any:
        if _size(value) < SHARED_FROM:
            return value
        if id(value) not in self._shared:
            self._shared[id(value)] = (value, put(value))
        return _Shared(self._shared[id(value)][1])

    def __repr__(self) -> str:
        return f"<RayBackend on {self._pool!r}>"


class _Shared:
    """Stands for a large argument."""

    def __init__(self, ref: ObjectRef[Any]) -> None:
        self.ref = ref


class _Unpacked:
    """Calls a batch, with its large arguments in their places."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch
        self.__name__ = _names(batch)

    def __call__(self) -> Any:
        batch = self._batch
        batch.items = [
            (func, tuple(map(_value, args)), {name: _value(value) for name, value in kwargs.items()})
            for func, args, kwargs in batch.items
        ]
        return batch()


def _value(value: Any) -> Any:
    return get(value.ref) if isinstance(value, _Shared) else value


def _names(batch: Any) -> str:
    """Return the name of what a batch calls; scikit-learn wraps its functions."""
    function = batch.items[0][0] if batch.items else batch
    function = getattr(function, "function", function)
    return getattr(function, "__name__", type(function).__name__)


def _size(value: Any) -> int:
    """Return the bytes of an array, of a sparse matrix, or 0."""
    size = getattr(value, "nbytes", None)
    if size is None:
        size = getattr(getattr(value, "data", None), "nbytes", None)
    return size if isinstance(size, int) else 0
