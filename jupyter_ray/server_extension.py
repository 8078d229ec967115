"""The part that runs in the Jupyter server: it keeps the panel's messages out of the kernel's busy/idle state.

Server and frontend derive a kernel's state, and the time it was last active, from the messages they see, save those of
"untracked" types; the server hands its list to the page. The panel talks to the kernel while a cell runs, over a
subshell. Without help, the "idle" that follows each such message would be taken for the end of the cell, and a kernel
with an open panel would never be culled. So the types of these messages join the list.

One type leaves it. After a restart or a reconnection JupyterLab asks for ``kernel_info``, but the answer's status is
untracked by default; what sets the kernel's state free from "starting" is that ipywidgets happens to open a comm. With
comms untracked the page would show "starting" or "unknown" until the next cell is run, so ``kernel_info_request``
must count. It is sent over the shell channel, behind a running cell, and so says the truth about it.

A file in ``jupyter_server_config.d`` can name extensions but no other configuration (jupyter_server reads nothing else
from there), hence code instead of a setting. It starts from the list in force: an administrator's own additions stay.
This module imports nothing of the package: a server should not pay for a runtime that it never starts.
"""

from __future__ import annotations

from typing import Any

UNTRACKED = ("comm_open", "comm_msg", "comm_close", "create_subshell_request", "delete_subshell_request")
"""The messages of comms, and those that make and end the subshells that carry them."""

TRACKED = ("kernel_info_request",)
"""What tells the page that a kernel is there again."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyter_ray.server_extension"}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Change the kernel manager's ``untracked_message_types``, where it has them."""
    manager = app.kernel_manager
    untracked = getattr(manager, "untracked_message_types", None)
    if untracked is None:
        app.log.info("jupyter_ray: this server tracks all messages; a busy kernel may be shown as idle")
        return
    manager.untracked_message_types = [kind for kind in dict.fromkeys([*untracked, *UNTRACKED]) if kind not in TRACKED]
