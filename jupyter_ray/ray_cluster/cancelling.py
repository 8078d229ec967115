"""Cancels are asked for on that thread of Ray's which submits tasks and receives their results.

Asked for from another one, Ray 2.60 ends the process, without an error of Python's, where that thread is just busy with
the task: it has not taken it up yet, or has its result and is not done with it.
"""

from __future__ import annotations

import concurrent.futures
from typing import Any

import ray
from ray.util.client import ray as through_client

from jupyter_ray.exceptions import RaySystemError

_PATIENCE_SECONDS = 60.0


def cancel(made: Any, *, force: bool = False, recursive: bool = True) -> None:
    """Do what `ray.cancel` does.

    Parameters
    ----------
    made
        Ray's reference, or the generator of references.

    Raises
    ------
    RaySystemError
        If Ray's thread had no time for it.
    """
    if through_client.is_connected():  # The server cancels.
        ray.cancel(made, force=force, recursive=recursive)
        return
    asked: concurrent.futures.Future[None] = concurrent.futures.Future()

    def ask(_: Any) -> None:
        try:
            ray.cancel(made, force=force, recursive=recursive)
        except BaseException as error:
            asked.set_exception(error)
        else:
            asked.set_result(None)

    there = ray.put(None)
    there._on_completed(ask)  # Ray's thread calls what waits for an object, also for one that is there.
    try:
        asked.result(_PATIENCE_SECONDS)
    except concurrent.futures.TimeoutError:
        raise RaySystemError(
            f"Ray had no time to cancel a task within {_PATIENCE_SECONDS:.0f} s: other calls of this process keep it "
            "busy. Try again."
        ) from None
