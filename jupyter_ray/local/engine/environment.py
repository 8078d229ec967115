"""Runtime environments: ``env_vars``, ``working_dir``, ``py_modules``, merged and written as canonical JSON.

Two calls with the same text may share workers, others never do. Folders are copied into the session's folder first,
so that a change of the original does not change what runs. Source: Ray's ``runtime_env``.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jupyter_ray.config import guest_folder, session_folder
from jupyter_ray.environments import RUNTIME_ENV_CLUSTER, SETUP_HOOK, in_place
from jupyter_ray.exceptions import RuntimeEnvSetupError
from jupyter_ray.local.serialization import values
from jupyter_ray.local.serialization.errors import format_remote


def encode(environment: Mapping[str, Any], folder: Path) -> str:
    """Return an environment as canonical JSON, "" if it asks for nothing.

    Parameters
    ----------
    environment
        What the user wrote, merged.
    folder
        The session's folder, which gets the copies.

    Raises
    ------
    RuntimeEnvSetupError
        A field asks for what a forked worker cannot have; a folder is too large.
    ValueError
        A folder does not exist, or is none.
    """
    _refuse(environment)
    kept: dict[str, Any] = {}
    variables = environment.get("env_vars")
    if variables:
        kept["env_vars"] = {str(name): str(value) for name, value in variables.items()}
    if environment.get("working_dir") or environment.get("py_modules"):
        from jupyter_ray.local.engine import folders

        excludes = tuple(environment.get("excludes") or ())
        if source := environment.get("working_dir"):
            kept["working_dir"] = _used_in_place(source) or folders.copied(folders.path_of(source), folder, excludes)
        if modules := environment.get("py_modules"):
            kept["py_modules"] = [
                _used_in_place(each) or folders.module_copied(each, folder, excludes) for each in modules
            ]
    if environment.get(SETUP_HOOK):
        kept[SETUP_HOOK] = _packed(environment[SETUP_HOOK])
    return json.dumps(kept, sort_keys=True, separators=(",", ":")) if kept else ""


def folder_for(session: str, guest: str) -> Path:
    """Return the folder that gets the copies: of a driver that joined, one of its own, which goes with it."""
    return guest_folder(session, guest) if guest else session_folder(session)


def decode(text: str) -> dict[str, Any]:
    """Return what `encode` encoded."""
    decoded: dict[str, Any] = json.loads(text) if text else {}
    return decoded


def _packed(hook: Any) -> Any:
    if not callable(hook):
        return hook  # A name, or packed already: it was inherited.
    try:
        return {"pickled": base64.b64encode(values.code_dumps(hook).data).decode()}
    except Exception as error:
        raise RuntimeEnvSetupError(f"Failed to export the setup function. {error!r}") from error


def run_hook(environment: Mapping[str, Any]) -> None:
    """Call what the environment says that each of its processes calls first, if it says so.

    Raises
    ------
    RuntimeEnvSetupError
        It raised, or cannot be found or unpickled here.
    """
    hook = environment.get(SETUP_HOOK)
    if not hook:
        return
    try:
        if isinstance(hook, str):
            module, _, name = hook.rpartition(".")
            function = getattr(importlib.import_module(module), name)
        else:
            function = pickle.loads(base64.b64decode(hook["pickled"]))
        function()
    except Exception as error:
        raise RuntimeEnvSetupError(f"Failed to execute the setup hook method. {format_remote(error)}") from error


def _refuse(environment: Mapping[str, Any]) -> None:
    """Raise for the first field that this engine cannot honour: a worker is a fork of what this kernel runs on."""
    for field in RUNTIME_ENV_CLUSTER:
        if environment.get(field):
            install = f": %{field} install ..." if field in ("pip", "conda", "uv") else ""
            raise RuntimeEnvSetupError(
                f"runtime_env[{field!r}] cannot be honoured here: the workers are forked from this kernel's own "
                f"environment. Install what the tasks need into that environment{install}, or join a Ray cluster with "
                f"init(address=...), which honours {field!r}."
            )


def _used_in_place(source: Any) -> str | None:
    """Return ``local:///folder`` as it was written; None if what is named is to be copied."""
    if (path := in_place(source)) is None:
        return None
    if not os.path.isdir(path):
        raise RuntimeEnvSetupError(
            f"The runtime environment names {source}, which points to {path!r}: that must exist already, as a folder."
        )
    return str(source)


def paths(environment: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """Return the working directory, and the folders of modules, that an encoded environment has."""
    folder, modules = environment.get("working_dir"), environment.get("py_modules", ())
    return in_place(folder) or folder, [in_place(each) or each for each in modules]
