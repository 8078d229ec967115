"""The fields of a runtime environment, and what each accepts. Source: Ray's ``runtime_env``."""

from __future__ import annotations

import os
import types
from collections.abc import Mapping
from typing import Any

SETUP_HOOK = "worker_process_setup_hook"
RUNTIME_ENV_HONOURED = ("env_vars", "working_dir", "py_modules", "excludes", "config", SETUP_HOOK)
"""Fields of a runtime environment that every engine takes."""

RUNTIME_ENV_CLUSTER = (
    "pip", "conda", "uv", "container", "image_uri", "py_executable", "java_jars",
    "nsight", "rocprof-sys", "mpi",
)  # fmt: skip
"""Fields that only a Ray cluster takes: an engine that forks its workers from this process refuses them."""


def merge(outer: Mapping[str, Any] | None, inner: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `inner` on top of `outer`; ``env_vars`` are merged name by name (as in Ray)."""
    outer, inner = outer or {}, inner or {}
    merged = {**outer, **inner}
    variables = {**(outer.get("env_vars") or {}), **(inner.get("env_vars") or {})}
    if variables:
        merged["env_vars"] = variables
    return merged


def check_runtime_env(name: str, value: Any) -> str | None:
    """Return what is wrong with a runtime environment, or None.

    Raises
    ------
    TypeError
        A field is of the wrong type.
    """
    fields: dict[str, Any] = value or {}
    for field in fields:
        if not (field in RUNTIME_ENV_HONOURED or field in RUNTIME_ENV_CLUSTER or str(field).startswith("_")):
            return (
                f"{name} has no field {field!r}. Valid ones are {list(RUNTIME_ENV_HONOURED)}, "
                f"and on a Ray cluster also {list(RUNTIME_ENV_CLUSTER)}."
            )
    tools = [field for field in ("pip", "conda", "uv") if fields.get(field) is not None]
    if len(tools) > 1:
        return f"{name} names {' and '.join(tools)}, of which there can be one; conda's may list packages of pip."
    if fields.get("container") and (others := set(fields) - {"container", "config", "env_vars"}):
        return f"{name} names a container, which cannot be used with {', '.join(map(str, sorted(others)))}."
    _check_variables(f"{name}['env_vars']", fields.get("env_vars"))
    folder = fields.get("working_dir")
    if folder is not None and not isinstance(folder, str | os.PathLike):
        raise TypeError(f"{name}['working_dir'] must be a path, got {type(folder)}.")
    for field in ("py_modules", "excludes"):
        listed = fields.get(field)
        if listed is not None and not isinstance(listed, list | tuple):
            raise TypeError(f"{name}[{field!r}] must be a list, got {type(listed)}.")
    config = fields.get("config")
    if config is not None and not isinstance(config, dict):
        raise TypeError(f"{name}['config'] must be a dict or a RuntimeEnvConfig, got {type(config)}.")
    seconds = (config or {}).get("setup_timeout_seconds", 600)
    if not isinstance(seconds, int):
        raise TypeError(f"setup_timeout_seconds must be of type int, got: {type(seconds)}")
    if seconds <= 0 and seconds != -1:
        raise ValueError(f"setup_timeout_seconds must be greater than zero or equals to -1, got: {seconds}")
    hook = fields.get(SETUP_HOOK)
    if hook is not None and not isinstance(hook, str | dict) and not callable(hook):  # dict: packed by the engine.
        raise TypeError(f"{name}[{SETUP_HOOK!r}] must be a function or 'module.function', got {type(hook)}.")
    if not all(isinstance(each, str | os.PathLike | types.ModuleType) for each in fields.get("py_modules") or ()):
        raise TypeError(f"{name}['py_modules'] holds paths and modules, got {fields['py_modules']!r}.")
    return None


def _check_variables(name: str, variables: Any) -> None:
    if variables is not None and not isinstance(variables, dict):
        raise TypeError(f"{name} must be of type Dict[str, str], got {type(variables)}.")
    for key, value in (variables or {}).items():
        for what, text in (("key", key), ("value", value)):
            if not isinstance(text, str):
                raise TypeError(
                    f"{name} must be of type Dict[str, str], but the {what} {text} is of type {type(text)}."
                )
            if "\0" in text or not _is_unicode(text) or (what == "key" and (not text or "=" in text)):
                raise ValueError(f"No environment variable can have the {what} {text!r}, which is in {name}.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
