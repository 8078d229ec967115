"""``ActorGroup``: one call for all actors of a group. Source: Ray's ``ray.util.actor_group``, deprecated there too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from jupyter_ray.api.calls import get, kill
from jupyter_ray.api.remote import remote
from jupyter_ray.api.waiting import wait
from jupyter_ray.util.annotations import Deprecated


@dataclass
class ActorWrapper:
    """An actor of the group, and what its ``get_actor_metadata`` returned when it was made (None without one)."""

    actor: Any
    metadata: Any


class ActorGroupMethod:
    """A method of all actors of a group."""

    def __init__(self, group: ActorGroup, name: str) -> None:
        self._group = group
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise a TypeError: methods are called with `.remote()`."""
        raise TypeError(
            f"A method of an ActorGroup cannot be called directly: use .{self._name}.remote(...), which returns one "
            "reference for each actor."
        )

    def remote(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Call the method of each actor; return the references, in the order of the actors."""
        return [getattr(each.actor, self._name).remote(*args, **kwargs) for each in self._group.actors]


@Deprecated(
    message="For calls without state, use ray.util.multiprocessing; for actors, ray.util.ActorPool.", warning=True
)
class ActorGroup:
    """Actors of one class that are called together.

    Parameters
    ----------
    actor_cls
        A plain class. If it has a method ``get_actor_metadata``, that is called once for each actor.
    num_actors
        How many.
    num_cpus_per_actor, num_gpus_per_actor, resources_per_actor
        What each of them holds.
    init_args, init_kwargs
        For the constructor.

    Notes
    -----
    ``group.method.remote(...)`` returns one reference for each actor, ``group[i]`` has a handle in ``.actor``.
    """

    def __init__(
        self,
        actor_cls: type,
        num_actors: int = 1,
        num_cpus_per_actor: float = 1,
        num_gpus_per_actor: float = 0,
        resources_per_actor: Mapping[str, float] | None = None,
        init_args: Iterable[Any] | None = None,
        init_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if num_actors <= 0:
            raise ValueError(f"num_actors must be at least 1, got {num_actors}.")
        if min(num_cpus_per_actor, num_gpus_per_actor) < 0:
            raise ValueError(
                f"An actor cannot hold a negative amount: num_cpus_per_actor={num_cpus_per_actor}, "
                f"num_gpus_per_actor={num_gpus_per_actor}."
            )
        self.actors: list[ActorWrapper] = []
        self.num_actors = num_actors
        self._args = tuple(init_args or ())
        self._kwargs = dict(init_kwargs or {})
        resources = None if resources_per_actor is None else dict(resources_per_actor)
        self._class: Any = remote(num_cpus=num_cpus_per_actor, num_gpus=num_gpus_per_actor, resources=resources)(
            actor_cls
        )
        self.start()

    def __getattr__(self, name: str) -> ActorGroupMethod:
        if name.startswith("_"):
            raise AttributeError(name)
        if not self.actors:
            raise RuntimeError("This ActorGroup was shut down; start() makes its actors again.")
        getattr(self.actors[0].actor, name)  # Raises an AttributeError that names the class.
        return ActorGroupMethod(self, name)

    def __len__(self) -> int:
        return len(self.actors)

    def __getitem__(self, index: Any) -> Any:
        return self.actors[index]

    @property
    def actor_metadata(self) -> list[Any]:
        """What the actors said about themselves."""
        return [each.metadata for each in self.actors]

    def start(self) -> None:
        """Make the actors, after `shutdown`."""
        if self.actors:
            raise RuntimeError("The actors of this ActorGroup run already; shutdown() ends them.")
        self.add_actors(self.num_actors)

    def add_actors(self, num_actors: int) -> None:
        """Make further actors."""
        made = [self._class.remote(*self._args, **self._kwargs) for _ in range(num_actors)]
        told = [actor.get_actor_metadata.remote() for actor in made if hasattr(actor, "get_actor_metadata")]
        facts = get(told) if told else [None] * len(made)
        self.actors += [ActorWrapper(actor, fact) for actor, fact in zip(made, facts, strict=True)]

    def remove_actors(self, actor_indexes: Iterable[int]) -> None:
        """Let go of the actors with these numbers."""
        gone = set(actor_indexes)
        self.actors = [each for index, each in enumerate(self.actors) if index not in gone]

    def shutdown(self, patience_s: float = 5) -> None:
        """End the actors, after what they were asked; kill those that take longer than `patience_s` seconds."""
        left = [each.actor for each in self.actors]
        if patience_s > 0 and left:
            ends = {actor.__ray_terminate__.remote(): actor for actor in left}
            _, late = wait(list(ends), num_returns=len(ends), timeout=patience_s)
            left = [ends[ref] for ref in late]
        for actor in left:
            kill(actor)
        self.actors = []
