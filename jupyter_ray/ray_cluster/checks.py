"""What would differ on the cluster, said at `init` with what to do: versions, packages, local modules, local paths.

One small task looks on a node. It is pickled by value and needs nothing there, not even this package.
"""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ray

from jupyter_ray._version import __version__
from jupyter_ray.interrupts import shielded

PATIENCE_SECONDS = 5.0
"""How long `init` waits for the answer; a node may have to start a process first."""

_MOST = 50
_KNOWN = ("__main__", "jupyter_ray", "ray")
_log = logging.getLogger("jupyter_ray")

VARIABLE = "JUPYTER_RAY_CHECKS"
"""The environment variable that switches the checks off: ``0``."""


def check(namespace: dict[str, Any] | None = None) -> list[str]:
    """Look on a node for what this process has, log what would differ, and return it.

    Parameters
    ----------
    namespace
        Whose modules and paths to look for; None: those of ``__main__``, which is the notebook.
    """
    if os.environ.get(VARIABLE, "") == "0":
        return []
    here = vars(sys.modules["__main__"]) if namespace is None else namespace
    packages, modules = _modules(here.values())
    paths = _paths(here)
    try:
        # No task of the user's: neither panel nor tables show it.
        look = ray.remote(num_cpus=0, max_retries=0, enable_task_events=False)(_looker())
        ref = look.remote(sorted({*packages, *modules}), sorted(paths.values()))
        done, _ = ray.wait([ref], timeout=PATIENCE_SECONDS)
        if not done:
            told = [f"No node has answered within {PATIENCE_SECONDS:g} s, so what differs there is not known yet."]
        else:
            told = _differences(ray.get(ref), packages, modules, paths)
    except ray.exceptions.RayError as error:
        told = [f"A look at a node failed: {str(error).strip().splitlines()[-1]}"]
    for line in told:
        with shielded():
            _log.warning(line)
    return told


def _looker() -> Callable[[list[str], list[str]], dict[str, Any]]:
    """Return the function that looks; nested, so that it travels by value."""

    def look(names: list[str], paths: list[str]) -> dict[str, Any]:
        import importlib.metadata
        import importlib.util
        import os
        import platform
        import socket

        def version(name: str) -> str | None:
            try:
                return importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                return None

        def found(name: str) -> bool:
            try:
                return importlib.util.find_spec(name) is not None
            except (ImportError, ValueError):
                return False

        ours = None
        if found("jupyter_ray"):
            ours = importlib.import_module("jupyter_ray._version").__version__
        distributions = {name: version(name) for name in names}
        return {
            "host": socket.gethostname(),
            "python": platform.python_version(),
            "jupyter_ray": ours,
            "missing": [name for name in names if not found(name)],
            "versions": distributions,
            "paths": [path for path in paths if not os.path.exists(path)],
        }

    return look


def _modules(values: Iterable[Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the packages with their versions, and the local modules with their files, in a namespace."""
    packages: dict[str, str] = {}
    modules: dict[str, str] = {}
    for value in list(values):
        name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        top = str(name or "").partition(".")[0]
        module = sys.modules.get(top)
        file = getattr(module, "__file__", None)
        if (
            module is None
            or file is None
            or top in ("__main__", "jupyter_ray", "ray")
            or top in sys.stdlib_module_names
        ):
            continue
        try:
            packages[top] = importlib.metadata.version(top)
        except importlib.metadata.PackageNotFoundError:
            if "site-packages" in file or "dist-packages" in file:
                packages[top] = ""
            else:
                modules[top] = file
    return packages, modules


def _paths(namespace: dict[str, Any]) -> dict[str, str]:
    """Return the variables that hold a path which exists here."""
    found: dict[str, str] = {}
    for name, value in list(namespace.items()):
        if name.startswith("_") or len(found) >= _MOST:
            continue
        text = str(value) if isinstance(value, Path) else value
        if isinstance(text, str) and 1 < len(text) < 500 and os.sep in text and os.path.exists(text):
            found[name] = os.path.abspath(text)
    return found


def _differences(
    there: dict[str, Any], packages: dict[str, str], modules: dict[str, str], paths: dict[str, str]
) -> list[str]:
    host, missing = there["host"], set(there["missing"])
    told: list[str] = []
    if there["python"] != platform.python_version():
        told.append(
            f"Python is {there['python']} on {host} and {platform.python_version()} here: what is pickled here may not "
            "load there. Use an environment with the cluster's version."
        )
    if there["jupyter_ray"] is None:
        told.append(
            f"jupyter_ray is not installed on {host}, and no task can run: `pip install jupyter-ray=={__version__}` on "
            "every node, or init(address=..., runtime_env={'pip': ['jupyter-ray']})."
        )
    elif there["jupyter_ray"] != __version__:
        told.append(
            f"jupyter_ray is {there['jupyter_ray']} on {host} and {__version__} here: install the same version."
        )
    absent = sorted(name for name in modules if name in missing)
    if absent:
        folders = sorted({os.path.dirname(os.path.abspath(modules[name])) for name in absent})
        told.append(
            f"The workers on {host} cannot import {', '.join(absent)}, which are in {', '.join(folders)}: ship the "
            f"folder with init(address=..., runtime_env={{'working_dir': {folders[0]!r}}})."
        )
    absent = sorted(name for name in packages if name in missing)
    if absent:
        known = importlib.metadata.packages_distributions()  # What is imported may be installed by another name.
        wanted = sorted({known.get(name, [name])[0] for name in absent})
        told.append(
            f"Not installed on {host}: {', '.join(absent)}. Install them on the nodes, or let Ray do it: "
            f"init(address=..., runtime_env={{'pip': {wanted}}})."
        )
    for name, version in sorted(packages.items()):
        other = there["versions"].get(name)
        if version and other and version.split(".")[:2] != other.split(".")[:2]:
            told.append(f"{name} is {other} on {host} and {version} here: results may differ, or not unpickle.")
    lost = sorted(name for name, path in paths.items() if path in there["paths"])
    if lost:
        listed = ", ".join(f"{name} ({paths[name]})" for name in lost[:5])
        told.append(
            f"These paths do not exist on {host}: {listed}. Use storage that all nodes share, or ship the folder with "
            "runtime_env={'working_dir': ...} and name the files relative to it."
        )
    return told
