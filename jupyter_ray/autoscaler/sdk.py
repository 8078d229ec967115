"""``ray.autoscaler.sdk``: requests for machines, which change nothing where there is one."""

from __future__ import annotations

from jupyter_ray.api.session import session_engine

__all__ = ["request_resources"]


def request_resources(
    num_cpus: int | None = None,
    bundles: list[dict[str, float]] | None = None,
    bundle_label_selectors: list[dict[str, str]] | None = None,
) -> None:
    """Ask for so many CPUs, or for room for these bundles: changes nothing, as in Ray without an autoscaler.

    Raises
    ------
    RaySystemError
        No session runs.

    Notes
    -----
    Source: Ray's ``ray.autoscaler.sdk.request_resources``.
    """
    session_engine()
