"""Who is measured: how each starts a session with some workers, and ends it.

A session has what its family's rows use: `ray` the module that speaks Ray's API, `submit` of the others.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.model import Family
from benchmarks.programs import small


class Session:
    """A started contender.

    Attributes
    ----------
    workers
        How many workers it was asked for.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def first(self) -> None:
        """Return when a first result is there."""
        raise NotImplementedError

    def close(self) -> None:
        """End the session and its processes."""


class RaySession(Session):
    """What speaks Ray's API: this project, and Ray."""

    name = "jupyter_ray"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.ray: Any = importlib.import_module(self.name)
        self.start()

    def start(self) -> None:
        self.ray.init(num_cpus=self.workers)

    def first(self) -> None:
        assert self.ray.get(self.ray.remote(small).remote()) == b"ok"

    def close(self) -> None:
        self.ray.shutdown()


class RealRaySession(RaySession):
    name = "ray"

    def start(self) -> None:
        # Not the user's folder: what a benchmark leaves behind must be ours to remove.
        self.folder = tempfile.mkdtemp(prefix="s-")
        self.ray.init("local", num_cpus=self.workers, _temp_dir=self.folder, logging_level=logging.ERROR)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.folder, ignore_errors=True)


class PoolSession(Session):
    """What offers `submit` and futures with `result`."""

    submit: Callable[..., Any]

    def result(self, future: Any) -> Any:
        return future.result()

    def gather(self, futures: Sequence[Any]) -> list[Any]:
        return [self.result(future) for future in futures]

    def first(self) -> None:
        assert self.result(self.submit(small)) == b"ok"


class FuturesSession(PoolSession):
    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from concurrent.futures import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(workers)
        self.submit = self.pool.submit

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


class LokySession(PoolSession):
    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self.pool: Any = importlib.import_module("loky").get_reusable_executor(max_workers=workers, timeout=600)
        self.submit = self.pool.submit

    def close(self) -> None:
        self.pool.shutdown(kill_workers=True)


class DaskSession(PoolSession):
    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        distributed: Any = importlib.import_module("distributed")
        self.folder = tempfile.mkdtemp(prefix="s-")
        self.cluster = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", local_directory=self.folder
        )
        self.client = distributed.Client(self.cluster)

    def submit(self, function: Any, *arguments: Any) -> Any:
        return self.client.submit(function, *arguments, pure=False)

    def gather(self, futures: Sequence[Any]) -> list[Any]:
        gathered: list[Any] = self.client.gather(list(futures))
        return gathered

    def close(self) -> None:
        self.client.close()
        self.cluster.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class IpyparallelSession(PoolSession):
    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        ipyparallel: Any = importlib.import_module("ipyparallel")
        self.cluster = ipyparallel.Cluster(n=workers, log_level=logging.ERROR)
        self.client = self.cluster.start_and_connect_sync(activate=False)
        self.view = self.client.load_balanced_view()
        self.submit = self.view.apply_async

    def result(self, future: Any) -> Any:
        return future.get()

    def close(self) -> None:
        self.client.close()
        self.cluster.stop_cluster_sync()


class LimitSession(Session):
    """The machine itself."""

    def first(self) -> None:
        """Nothing has to be waited for."""


@dataclass(frozen=True)
class Contender:
    """One who is measured.

    Attributes
    ----------
    key, name
        What `--only` selects by, and what people read.
    package
        What brings it; None for what is always there.
    families
        Whose rows it runs, best first.
    session
        How it starts and ends.
    imports, first, last
        A user's program: its import, what it does until the first result of a task is there, and its end.
    """

    key: str
    name: str
    package: str | None
    families: tuple[Family, ...]
    session: type[Session]
    imports: str = ""
    first: str = ""
    last: str = ""

    def version(self) -> str | None:
        """Return the installed version, without importing it; None if it is not installed."""
        if self.package is None:
            return ""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None


OURS = "jupyter_ray"
RAY = "ray"
LIMIT = "limit"

RAY_PROGRAM = """
ray.init({arguments})
@ray.remote
def one():
    return 1
assert ray.get(one.remote()) == 1"""

CONTENDERS = {
    each.key: each
    for each in (
        Contender(
            OURS,
            "jupyter_ray",
            None,
            ("own", "ray", "bare"),
            RaySession,
            "import jupyter_ray as ray",
            RAY_PROGRAM.replace("{arguments}", "num_cpus=2"),
            "ray.shutdown()",
        ),
        Contender(
            RAY,
            "Ray",
            "ray",
            ("ray", "bare"),
            RealRaySession,
            "import ray",
            RAY_PROGRAM.replace(
                "{arguments}", "address='local', num_cpus=2, _temp_dir='{folder}', logging_level='ERROR'"
            ),
            "ray.shutdown()",
        ),
        Contender(
            "futures",
            "concurrent.futures",
            None,
            ("pool", "bare"),
            FuturesSession,
            "from concurrent.futures import ProcessPoolExecutor",
            "pool = ProcessPoolExecutor(2)\nassert pool.submit(len, 'a').result() == 1",
            "pool.shutdown()",
        ),
        Contender(
            "loky",
            "loky",
            "loky",
            ("pool", "bare"),
            LokySession,
            "from loky import get_reusable_executor",
            "pool = get_reusable_executor(max_workers=2)\nassert pool.submit(len, 'a').result() == 1",
            "pool.shutdown(kill_workers=True)",
        ),
        Contender(
            "distributed",
            "distributed",
            "distributed",
            ("dask", "pool", "bare"),
            DaskSession,
            "from distributed import Client, LocalCluster",
            "cluster = LocalCluster(n_workers=2, threads_per_worker=1, "
            "dashboard_address=':0', local_directory='{folder}')\n"
            "client = Client(cluster)\nassert client.submit(len, 'a').result() == 1",
            "client.close(); cluster.close()",
        ),
        Contender(
            "ipyparallel",
            "ipyparallel",
            "ipyparallel",
            ("pool", "bare"),
            IpyparallelSession,
            "import ipyparallel",
            "cluster = ipyparallel.Cluster(n=2, log_level=40)\n"
            "client = cluster.start_and_connect_sync(activate=False)\n"
            "assert client.load_balanced_view().apply_async(len, 'a').get() == 1",
            "client.close(); cluster.stop_cluster_sync()",
        ),
        Contender(LIMIT, "the machine", None, ("limit",), LimitSession),
    )
}
