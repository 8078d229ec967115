"""The part that runs in the Jupyter server: it keeps the panel's messages out of the kernel's busy/idle state.

Jupyter's server derives a kernel's state, and the time it was last active, from the messages it sees. The panel talks
to the kernel while a cell runs, over a subshell; the server would take the "idle" that follows each such message for
the end of the cell, and the frontend would show an idle kernel in the middle of a computation. It would also never
cull a kernel with an open panel. So these messages are added to those that the server does not track.

A file in ``jupyter_server_config.d`` can name extensions but no other configuration (jupyter_server reads nothing else
from there), hence code instead of a setting. It adds to the list in force: an administrator's own additions stay.
This module imports nothing of the package: a server should not pay for a runtime that it never starts.
"""

from __future__ import annotations

from typing import Any

UNTRACKED = ("comm_open", "comm_msg", "comm_close", "create_subshell_request", "delete_subshell_request")
"""The messages of comms, and those that make and end the subshells that carry them."""


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "jupyter_ray.server_extension"}]


def _load_jupyter_server_extension(app: Any) -> None:
    """Extend the kernel manager's ``untracked_message_types``, where it has them."""
    tracked = getattr(app.kernel_manager, "untracked_message_types", None)
    if tracked is None:
        app.log.info("jupyter_ray: this kernel manager cannot leave messages untracked; the kernel may seem idle early")
        return
    app.kernel_manager.untracked_message_types = [*tracked, *(kind for kind in UNTRACKED if kind not in tracked)]
