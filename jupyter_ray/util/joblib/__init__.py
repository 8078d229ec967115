"""``register_ray``: joblib, and with it scikit-learn, on this session. Source: Ray's ``ray.util.joblib``.

``with joblib.parallel_backend("ray"): search.fit(X, y)`` runs on as many processes as the session has CPUs. Large
arrays among the arguments go to shared memory once, and all calls read them there.
"""

from __future__ import annotations

BACKEND = "ray"


def register_ray() -> None:
    """Make ``joblib.parallel_backend("ray")`` and ``joblib.parallel_config(backend="ray")`` known. Idempotent.

    The backend takes Ray's option ``ray_remote_args``: options of the worker actors.

    Raises
    ------
    ImportError
        joblib is not installed, or is older than 1.3.

    Notes
    -----
    Source: Ray's ``ray.util.joblib.register_ray``.
    """
    try:
        from joblib.parallel import register_parallel_backend

        from jupyter_ray.util.joblib.ray_backend import RayBackend
    except ImportError as error:
        raise ImportError(
            f"To use joblib on this session, install joblib 1.3 or later: pip install joblib ({error})."
        ) from error
    register_parallel_backend(BACKEND, RayBackend)
