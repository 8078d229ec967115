"""The kernel's end of the panel's comm: one comm with a fixed id, which is never opened or closed on the wire.

Which thread does what::

    hub's thread ──► PanelComm._push ──► session.send on IOPub (ipykernel hands it to its own IOPub thread)
    main thread or a subshell's ── shell channel ──► FixedComm.handle_msg ──► Hub.handle
    control thread ── control channel ──► PanelComm._on_control ──► Hub.handle, or the kernel's own comm manager

A fixed id lets a panel that was open before, reloaded or moved here hear and speak without any handshake of comms. The
control channel is the way in while a cell runs and no subshell is to be had. `Hub.handle` returns at once.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable
from typing import Any, Final

from comm.base_comm import BaseComm

from jupyter_ray.interrupts import shielded
from jupyter_ray.monitor.hub import Hub

logger = logging.getLogger(__name__)

COMM_ID: Final = "jupyter_ray"
"""Both the id and the target's name."""

_TOPIC: Final = b"comm-jupyter_ray"
_NEEDS: Final = ("session", "iopub_socket", "control_handlers", "comm_manager")


def open_comm(hub: Hub, shell: Any) -> PanelComm | None:
    """Connect the hub with the panels of this kernel.

    Parameters
    ----------
    hub
        What to show.
    shell
        The IPython shell, as `load_ipython_extension` gets it.

    Returns
    -------
    PanelComm or None
        None where there is no ipykernel: in plain IPython nobody could listen.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None or any(getattr(kernel, need, None) is None for need in _NEEDS):
        return None
    earlier = kernel.comm_manager.comms.get(COMM_ID)
    if isinstance(earlier, FixedComm):
        earlier.panel.close()
    return PanelComm(hub, kernel)


class PanelComm:
    """The connection of one hub with one kernel's frontends, until `close`.

    Parameters
    ----------
    hub
        Makes the messages, and takes in what the panels say.
    kernel
        An ipykernel 7 kernel.
    """

    def __init__(self, hub: Hub, kernel: Any) -> None:
        self._hub = hub
        self._kernel = kernel
        self._closed = False
        self._comm = FixedComm(self)
        kernel.comm_manager.register_comm(self._comm)
        self._earlier_handler: Callable[..., Any] | None = kernel.control_handlers.get("comm_msg")
        # One object, because each `self._on_control` makes a new one, and `close` must know ours.
        self._handler: Callable[..., Any] = self._on_control
        kernel.control_handlers["comm_msg"] = self._handler
        self._detach = hub.attach(self._push)
        # Before ipykernel closes its sockets, which it does in an exit handler that is older than ours.
        atexit.register(self.close)

    def __repr__(self) -> str:
        return f"<PanelComm {'closed' if self._closed else 'open'} for {self._hub!r}>"

    def close(self) -> None:
        """Send nothing more and leave the kernel as it was; safe to repeat. The hub lives on."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._detach()
        handlers = self._kernel.control_handlers
        if handlers.get("comm_msg") is self._handler:  # Someone who wrapped ours keeps it; it delegates from now on.
            if self._earlier_handler is None:
                del handlers["comm_msg"]
            else:
                handlers["comm_msg"] = self._earlier_handler
        comms = self._kernel.comm_manager.comms
        if comms.get(COMM_ID) is self._comm:
            del comms[COMM_ID]

    def receive(self, message: dict[str, Any]) -> None:
        """Take in a Jupyter message whose content is a panel's."""
        data = message.get("content", {}).get("data")
        if not self._closed and isinstance(data, dict):
            self._hub.handle(data)

    def restore(self) -> None:
        """Register the comm anew, after a frontend closed it."""
        if not self._closed:
            self._kernel.comm_manager.register_comm(self._comm)

    def _push(self, message: dict[str, Any]) -> None:
        # Not `comm.send()`: ipykernel 7.4 routes later messages to the shell that it was last called from. And no
        # parent, because the message belongs to no cell.
        self._kernel.session.send(
            self._kernel.iopub_socket,
            "comm_msg",
            {"comm_id": COMM_ID, "data": message},
            parent={},
            ident=_TOPIC,
        )

    def _on_control(self, stream: Any, ident: Any, message: dict[str, Any]) -> Any:
        if not self._closed and message["content"].get("comm_id") == COMM_ID:
            self.receive(message)
            return None
        handler = self._earlier_handler or self._kernel.comm_manager.comm_msg
        return handler(stream, ident, message)


class FixedComm(BaseComm):
    """What the comm manager knows: it hears, and never says anything on the wire by itself.

    Made without `comm.create_comm`, whose objects announce their end when they are collected, and run the shell's
    ``pre_execute`` and ``post_execute`` hooks for each message: an ``ack`` in the middle of a cell would make
    Matplotlib show and close the cell's half-made figures.
    """

    def __init__(self, panel: PanelComm) -> None:
        self.panel = panel
        super().__init__(target_name=COMM_ID, comm_id=COMM_ID, primary=False)

    def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any) -> None:
        """Say nothing: `PanelComm` pushes by itself."""

    def handle_msg(self, msg: dict[str, Any]) -> None:
        """Take in a message of the shell channel."""
        self.panel.receive(msg)

    def handle_close(self, msg: dict[str, Any]) -> None:
        """Stay: other panels may listen."""
        with shielded():
            logger.debug("a frontend closed the panel's comm; it stays")
        self._closed = False
        self.panel.restore()
