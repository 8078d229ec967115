"""How an engine on Ray is started: by address on a node, through Ray Client, or on a worker's own connection."""

from __future__ import annotations

import ray

from jupyter_ray.engine.base import InitOptions
from jupyter_ray.engine.context import ProcessContext
from jupyter_ray.ray_cluster import checks, joining, worker
from jupyter_ray.ray_cluster.engine import RayEngine, driver_of
from jupyter_ray.ray_cluster.events import EventLog
from jupyter_ray.ray_cluster.observer import Channel, Observer
from jupyter_ray.ray_cluster.state import ready


def start(options: InitOptions, address: str | None) -> RayEngine:
    """Join the cluster at `address`. What `registry.start` calls."""
    if address == worker.WORKER:
        return _worker_engine()
    joining.join(options, str(address))
    checks.check()
    if joining.is_client(str(address)):
        from jupyter_ray.ray_cluster.client import ClientEngine  # It takes as long to import as all the rest.

        return ClientEngine.begin(options)
    process = driver_of(options)
    return RayEngine(process, EventLog(Channel(process.job.hex()), ready(ray.nodes())), owned=True)


def _worker_engine() -> RayEngine:
    """Return the engine of a worker, on the connection that Ray gave it."""
    context = ray.get_runtime_context()
    environment = {key: value for key, value in context.runtime_env.items() if key != "_ray_commit"}
    process = ProcessContext(
        job=bytes.fromhex(context.get_job_id()),
        node=bytes.fromhex(context.get_node_id()),
        worker=bytes.fromhex(context.get_worker_id()),
        is_driver=False,
        namespace=context.namespace,
        session=context.get_session_name(),
        runtime_env=environment or None,
    )
    return RayEngine(process, observer=Observer(process.job.hex(), process.worker.hex(), process.node.hex()))


def warm() -> None:
    """There is nothing to start ahead: the cluster runs."""


def cool() -> None:
    """There is nothing to end."""
