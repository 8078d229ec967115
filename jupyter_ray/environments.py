"""The fields of a runtime environment, and what each accepts. Source: Ray's ``runtime_env``."""

from __future__ import annotations

import logging
import os
import types
import warnings
from collections.abc import Mapping
from typing import Any

from jupyter_ray.deprecation import program_level
from jupyter_ray.spelling import meant

_log = logging.getLogger("jupyter_ray")

SETTINGS = frozenset(("setup_timeout_seconds", "eager_install", "log_files"))
"""What a runtime environment's `config` may say."""

SETUP_HOOK = "worker_process_setup_hook"
RUNTIME_ENV_HONOURED = ("env_vars", "working_dir", "py_modules", "excludes", "config", SETUP_HOOK)
"""Fields of a runtime environment that every engine takes."""

RUNTIME_ENV_CLUSTER = (
    "pip", "conda", "uv", "container", "image_uri", "py_executable", "java_jars",
    "nsight", "rocprof-sys", "mpi",
)  # fmt: skip
"""Fields that only a Ray cluster takes: an engine that forks its workers from this process refuses them."""

IN_PLACE = "local://"
"""What stands before a folder that is used where it is, and not copied. Source: Ray."""

_SCHEMES = ("http", "https", "s3", "gs", "azure", "abfss", "file", "gcs", "local")
_TARS = (".tar.gz", ".tgz", ".tar.xz")
_ARCHIVES = {"working_dir": (".zip", *_TARS), "py_modules": (".zip", ".whl", *_TARS)}


def merge(outer: Mapping[str, Any] | None, inner: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `inner` on top of `outer`; ``env_vars`` are merged name by name (as in Ray)."""
    outer, inner = outer or {}, inner or {}
    merged = {**outer, **inner}
    variables = {**(outer.get("env_vars") or {}), **(inner.get("env_vars") or {})}
    if variables:
        merged["env_vars"] = variables
    return merged


def copied(value: Any) -> Any:
    """Return options with dicts and lists of their own: a program may change its own afterwards, as for each actor."""
    if isinstance(value, dict):
        return {name: copied(item) for name, item in value.items()}
    return [copied(item) for item in value] if isinstance(value, list) else value


def check_runtime_env(name: str, value: Any) -> str | None:
    """Return what is wrong with a runtime environment, or None.

    Raises
    ------
    TypeError
        A field is of the wrong type.
    """
    fields: dict[str, Any] = value or {}
    for field in fields:
        known = field in RUNTIME_ENV_HONOURED or field in RUNTIME_ENV_CLUSTER or str(field).startswith("_")
        if not known and (wrong := _unknown(name, str(field))):
            return wrong
    tools = [field for field in ("pip", "conda", "uv") if fields.get(field) is not None]
    if len(tools) > 1:
        return (
            "The 'pip' field, 'uv' field, and 'conda' field of runtime_env cannot be specified at the same time, and "
            f"{name} names {' and '.join(tools)}; conda's may list packages of pip."
        )
    for image in ("container", "image_uri"):
        if fields.get(image) and (others := set(fields) - {image, "config", "env_vars"}):
            named = ", ".join(map(str, sorted(others)))
            return f"The {image!r} field currently cannot be used together with other fields of {name}: {named}."
    _check_variables(f"{name}['env_vars']", fields.get("env_vars"))
    if not isinstance(fields.get("conda"), str | dict | None):
        raise TypeError(f"{name}['conda'] must be of type str or dict, got {type(fields['conda'])}.")
    if wrong := _check_code(name, fields):
        return wrong
    _check_config(name, fields.get("config"))
    hook = fields.get(SETUP_HOOK)
    if hook is not None and not isinstance(hook, str | dict) and not callable(hook):  # dict: packed by the engine.
        raise TypeError(f"{name}[{SETUP_HOOK!r}] must be a function or 'module.function', got {type(hook)}.")
    return None


def _check_config(name: str, config: Any) -> None:
    """Check the settings of the set-up."""
    if config is not None and not isinstance(config, dict):
        raise TypeError(f"{name}['config'] must be a dict or a RuntimeEnvConfig, got {type(config)}.")
    settings: dict[str, Any] = config or {}
    if unknown := sorted(map(str, settings.keys() - SETTINGS)):
        _log.warning("Unknown entries of %s['config'] are left out: %s.", name, ", ".join(unknown))
    seconds = settings.get("setup_timeout_seconds", 600)
    if not isinstance(seconds, int):
        raise TypeError(f"setup_timeout_seconds must be of type int, got: {type(seconds)}")
    if seconds <= 0 and seconds != -1:
        raise ValueError(f"setup_timeout_seconds must be greater than zero or equals to -1, got: {seconds}")
    eager = settings.get("eager_install", True)
    if not isinstance(eager, bool):
        raise TypeError(f"eager_install must be a boolean. got {type(eager)}")


def _unknown(name: str, field: str) -> str | None:
    """Return what is wrong with a field if it is misspelt; else warn: to Ray it is a plugin's."""
    valid = f"Valid ones are {list(RUNTIME_ENV_HONOURED)}, and on a Ray cluster also {list(RUNTIME_ENV_CLUSTER)}."
    if hint := meant(field, (*RUNTIME_ENV_HONOURED, *RUNTIME_ENV_CLUSTER)):
        return f"{name} has no field {field!r}.{hint} {valid}"
    warnings.warn(f"{name} has no field {field!r}: it has no effect. {valid}", UserWarning, stacklevel=program_level())
    return None


def _check_code(name: str, fields: dict[str, Any]) -> str | None:
    """Return what is wrong with the fields that say where code is."""
    _check_types_of_code(name, fields)
    modules = fields.get("py_modules") or ()
    places = [("working_dir", fields.get("working_dir")), *(("py_modules", each) for each in modules)]
    for field, place in places:
        scheme, colon, path = place.partition("://") if isinstance(place, str) else ("", "", "")
        if colon and scheme not in _SCHEMES:
            return f"{name}[{field!r}]: {place} is not a valid URI, nor a path. Schemes are {', '.join(_SCHEMES)}."
        endings = _ARCHIVES[field]
        if place == IN_PLACE + path:
            if wrong := _check_in_place(path):
                return f"{name}[{field!r}]: {place} is not valid: {wrong}."
        elif colon and not path.partition("?")[0].endswith(endings):
            return f"{name}[{field!r}]: Only {', '.join(endings)} files are supported for URIs; got {place}."
    return None


def _check_types_of_code(name: str, fields: dict[str, Any]) -> None:
    folder = fields.get("working_dir")
    if not isinstance(folder, str | os.PathLike | None):
        raise TypeError(f"{name}['working_dir'] must be a string that is a path, got {type(folder)}.")
    for field in ("py_modules", "excludes"):
        listed = fields.get(field)
        if not isinstance(listed, list | tuple | None):
            raise TypeError(f"{name}[{field!r}] must be a list of strings, got {type(listed)}.")
    if not all(isinstance(each, str) for each in fields.get("excludes") or ()):
        raise TypeError(f"{name}['excludes'] must be a list of strings, got {fields['excludes']!r}.")
    if not all(isinstance(each, str | os.PathLike | types.ModuleType) for each in fields.get("py_modules") or ()):
        raise TypeError(f"{name}['py_modules'] holds paths and modules, got {fields['py_modules']!r}.")


def _check_in_place(path: str) -> str | None:
    """Return what is wrong with a folder that is to be used in place."""
    if not path.startswith("/"):
        return f"the path must be absolute, as in {IN_PLACE}/path/of/a/folder"
    if path.endswith(_ARCHIVES["py_modules"]):
        return "the path must be a directory, and no archive, since nothing is unpacked"
    return None


def in_place(source: Any) -> str | None:
    """Return the folder that is to be used where it is, or None if what is named is to be copied."""
    return source.removeprefix(IN_PLACE) if isinstance(source, str) and source.startswith(IN_PLACE) else None


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
