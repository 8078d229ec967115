"""What a caller and a worker say to each other without the runtime."""

from jupyter_ray.local.protocol.calls import Message, Payload, TaskSpec
from jupyter_ray.local.protocol.to_runtime import Done, Hello


class Call(Message, frozen=True, tag=60):
    """Run a task. `version` is that of its definition, 0 for a method; `values` are those of its dependencies."""

    spec: TaskSpec
    version: int = 0
    values: tuple[Payload, ...] = ()


class Elsewhere(Message, frozen=True, tag=61):
    """The runtime knows what became of the task: ask there. Otherwise `Done` answers a `Call`."""

    task: bytes


DirectMessage = Hello | Call
DirectReply = Done | Elsewhere
