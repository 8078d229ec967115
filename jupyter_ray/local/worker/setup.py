"""What a worker process is told when it is forked. The runtime makes it, `worker.main` takes it."""

import msgspec


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a worker needs to connect and to look like its driver.

    Attributes
    ----------
    socket
        Path of the runtime's socket.
    session
        Names the session's folders.
    worker
        The id the runtime gave it, 16 bytes.
    sys_path, cwd, environ
        The driver's, at `init`. `environ` is applied whole.
    env
        The runtime environment as canonical JSON, "" for none; applied after `environ`.
    """

    socket: str
    session: str
    worker: bytes
    sys_path: list[str]
    cwd: str
    environ: dict[str, str]
    env: str = ""
    namespace: str = ""
    job: bytes = b""
    node: bytes = b""
    total: dict[str, int] = {}
    """All resources of the session, in parts."""
    guest: str = ""
    """The job (hex) of a driver that joined, whose worker it is; "" of the one that started the runtime."""
    idle_title: str = "ray::IDLE"
