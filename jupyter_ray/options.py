"""What a call may ask for: the options of tasks, actors and methods.

The records are complete and typed; `api` makes them from keyword arguments through the tables at the end of this module.
Amounts of resources are what the user wrote; `demand()` gives them in fixed point.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from jupyter_ray.resources import CPU, GPU, MEMORY, Demand, demand

NumReturns = int | Literal["dynamic", "streaming"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """The options of one remote function or of one call of it. Defaults are Ray's."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: dict[str, float] | None = None
    memory: float | None = None
    num_returns: NumReturns | None = None
    max_retries: int | None = None
    retry_exceptions: bool | list[type[BaseException]] = False
    max_calls: int | None = None
    name: str | None = None
    runtime_env: dict[str, Any] | None = None
    scheduling_strategy: Any = None
    writable: bool | list[str | int] | None = None
    inout: list[str | int] | None = None
    generator_backpressure: int = -1
    enable_task_events: bool = True

    def demand(self) -> Demand:
        """Return what the task holds while it runs: one CPU unless stated."""
        return _demand(self, 1.0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ActorOptions:
    """The options of one actor. Defaults are Ray's."""

    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: dict[str, float] | None = None
    memory: float | None = None
    name: str | None = None
    namespace: str | None = None
    lifetime: Literal["detached", "non_detached"] | None = None
    get_if_exists: bool = False
    max_restarts: int = 0
    max_task_retries: int = 0
    max_concurrency: int | None = None
    concurrency_groups: dict[str, int] | None = None
    max_pending_calls: int = -1
    allow_out_of_order_execution: bool | None = None
    runtime_env: dict[str, Any] | None = None
    scheduling_strategy: Any = None
    enable_task_events: bool = True

    def demand(self) -> Demand:
        """Return what the actor holds while it lives: no CPU unless stated."""
        return _demand(self, 0.0)

    def placement_demand(self) -> Demand:
        """Return what must be free to place the actor: one CPU unless a CPU amount is stated."""
        return _demand(self, 1.0) if self.num_cpus is None and not self.num_gpus else _demand(self, 0.0)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MethodOptions:
    """The options of one actor method or of one call of it."""

    num_returns: NumReturns | None = None
    name: str | None = None
    concurrency_group: str | None = None
    max_task_retries: int | None = None
    retry_exceptions: bool | list[type[BaseException]] = False
    generator_backpressure: int = -1
    enable_task_events: bool = True


def _demand(options: TaskOptions | ActorOptions, cpus: float) -> Demand:
    named = {
        CPU: cpus if options.num_cpus is None else options.num_cpus,
        GPU: options.num_gpus,
        MEMORY: options.memory,
    }
    return demand({**named, **(options.resources or {})})
