"""``RuntimeEnv``: the surroundings that tasks and actors run in."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from jupyter_ray.environments import RUNTIME_ENV_CLUSTER, RUNTIME_ENV_HONOURED, SETTINGS, check_runtime_env


class RuntimeEnv(dict[str, Any]):
    """A runtime environment: a dict that names its fields.

    Parameters
    ----------
    env_vars
        Environment variables.
    working_dir
        A folder; the working directory of the workers, and importable.
    py_modules
        Folders of modules that shall be importable.
    worker_process_setup_hook
        A function, or its name, that each worker calls before anything else.
    config
        A `RuntimeEnvConfig`.
    py_executable, pip, conda, container, nsight, rocprof_sys, image_uri, uv
        For Ray clusters; the local engine says that it cannot honour them.
    _validate
        Check the fields.
    **kwargs
        Further fields.

    Notes
    -----
    Source: Ray's ``ray.runtime_env.RuntimeEnv``.
    """

    known_fields = frozenset((*RUNTIME_ENV_HONOURED, *RUNTIME_ENV_CLUSTER))

    def __init__(
        self,
        *,
        py_modules: list[Any] | None = None,
        py_executable: str | None = None,
        working_dir: str | None = None,
        pip: Any = None,
        conda: Any = None,
        container: dict[str, Any] | None = None,
        env_vars: dict[str, str] | None = None,
        worker_process_setup_hook: Any = None,
        nsight: Any = None,
        rocprof_sys: Any = None,
        config: dict[str, Any] | None = None,
        _validate: bool = True,
        image_uri: str | None = None,
        uv: Any = None,
        **kwargs: Any,
    ) -> None:
        fields = {
            "env_vars": env_vars,
            "working_dir": working_dir,
            "py_modules": py_modules,
            "worker_process_setup_hook": worker_process_setup_hook,
            "config": config,
            "py_executable": py_executable,
            "pip": pip,
            "conda": conda,
            "container": container,
            "nsight": nsight,
            "rocprof-sys": rocprof_sys,
            "image_uri": image_uri,
            "uv": uv,
            **kwargs,
        }
        given = {name: value for name, value in fields.items() if value is not None}
        if given.get("excludes") == []:
            del given["excludes"]
        if isinstance(given.get("config"), dict):
            settings = given["config"]
            check_runtime_env("runtime_env", {"config": settings})  # It tells of entries that are left out.
            known = {name: settings[name] for name in RuntimeEnvConfig.known_fields if name in settings}
            given["config"] = RuntimeEnvConfig(**known)
        super().__init__(given)
        for name in _PACKAGES:
            if name in self:
                self[name] = self[name]
        if _validate:
            self._check()
            for field, place in (("working_dir", working_dir), *(("py_modules", each) for each in py_modules or ())):
                if isinstance(place, str) and "://" not in place and not Path(place).expanduser().exists():
                    raise ValueError(f"runtime_env[{field!r}] names {place}, which is not a valid path.")

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, _packages(name, value) if name in _PACKAGES else value)

    def _check(self) -> None:
        if wrong := check_runtime_env("runtime_env", self):
            raise ValueError(wrong)

    def get(self, name: str, default: Any = None, data_class: type | None = None) -> Any:
        """Return a field, or `default` if there is none of this name; with a `data_class`, as an instance of that."""
        if name not in self:
            return default
        return self[name] if data_class is None else data_class(**self[name])

    def set(self, name: str, value: Any) -> None:
        """Set a field."""
        if wrong := check_runtime_env("runtime_env", {**self, name: value}):
            raise ValueError(wrong)
        self[name] = value

    def has_pip(self) -> bool:
        """Tell whether packages are named for pip."""
        return bool(self.get("pip"))

    def has_uv(self) -> bool:
        """Tell whether packages are named for uv."""
        return bool(self.get("uv"))

    def has_conda(self) -> bool:
        """Tell whether there is a conda environment."""
        return bool(self.get("conda"))

    def conda_env_name(self) -> str | None:
        """Return the conda environment that is named, if one is."""
        conda = self.get("conda")
        return conda if conda and isinstance(conda, str) else None

    def conda_config(self) -> str | None:
        """Return the conda environment that is described, as JSON, if one is."""
        conda = self.get("conda")
        return json.dumps(conda, sort_keys=True) if conda and isinstance(conda, dict) else None

    def pip_config(self) -> dict[str, Any]:
        """Return what pip is to install, and how."""
        return self.get("pip") or {}

    def uv_config(self) -> dict[str, Any]:
        """Return what uv is to install, and how."""
        return self.get("uv") or {}

    def virtualenv_name(self) -> str | None:
        """Return None: packages are always listed (as in Ray)."""
        return None

    def has_py_container(self) -> bool:
        """Tell whether there is a container."""
        return bool(self.get("container"))

    def py_container_image(self) -> str | None:
        """Return the image of the container, if there is one."""
        return self["container"].get("image", "") if self.has_py_container() else None

    def py_container_worker_path(self) -> str | None:
        """Return the worker's program in the container, if there is one."""
        return self["container"].get("worker_path", "") if self.has_py_container() else None

    def py_container_run_options(self) -> list[str] | None:
        """Return the options that the container is run with, if there is one."""
        return self["container"].get("run_options", []) if self.has_py_container() else None

    def py_executable(self) -> str | None:
        """Return the Python to use, if one is named."""
        found: str | None = self.get("py_executable")
        return found

    def image_uri(self) -> str | None:
        """Return the container's image, if one is named."""
        found: str | None = self.get("image_uri")
        return found

    def working_dir_uri(self) -> str | None:
        """Return the working directory as it was written."""
        found: str | None = self.get("working_dir")
        return found

    def py_modules_uris(self) -> list[Any]:
        """Return the modules as they were written."""
        return self.py_modules()

    def env_vars(self) -> dict[str, str]:
        """Return the environment variables."""
        return dict(self.get("env_vars") or {})

    def has_working_dir(self) -> bool:
        """Tell whether there is a working directory."""
        return bool(self.get("working_dir"))

    def working_dir(self) -> str:
        """Return the working directory, empty if there is none."""
        return str(self.get("working_dir") or "")

    def py_modules(self) -> list[Any]:
        """Return the folders of modules."""
        return list(self.get("py_modules") or [])

    def serialize(self) -> str:
        """Return the fields as JSON.

        Raises
        ------
        ValueError
            A field is wrong, or two of them exclude each other.
        """
        self._check()
        return json.dumps(self, sort_keys=True)

    @classmethod
    def deserialize(cls, serialized_runtime_env: str) -> RuntimeEnv:
        """Return the environment that `serialize` wrote."""
        return _rebuild(json.loads(serialized_runtime_env))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a plain dict."""
        return {name: dict(value) if isinstance(value, dict) else value for name, value in copy.deepcopy(self).items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (dict(self),)


class RuntimeEnvConfig(dict[str, Any]):
    """Settings of a runtime environment's set-up (accepted, of no effect). Source: Ray's ``RuntimeEnvConfig``."""

    known_fields = SETTINGS

    def __init__(
        self, setup_timeout_seconds: int = 600, eager_install: bool = True, log_files: list[str] | None = None
    ) -> None:
        fields = {"setup_timeout_seconds": setup_timeout_seconds, "eager_install": eager_install}
        super().__init__({**fields, "log_files": log_files or []})
        listed: Any = log_files
        if listed is not None and not (isinstance(listed, list) and all(isinstance(each, str) for each in listed)):
            raise TypeError(f"log_files must be a list of strings or None, got {listed!r}, of type {type(listed)}.")
        check_runtime_env("runtime_env", {"config": self})

    @classmethod
    def default_config(cls) -> RuntimeEnvConfig:
        """Return the settings that nobody has changed."""
        return cls()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a plain dict."""
        return dict(self)


def _rebuild(fields: dict[str, Any]) -> RuntimeEnv:
    made = RuntimeEnv(_validate=False)
    made.update(fields)
    return made


_SETTINGS = {
    "pip": ("packages", "pip_check", "pip_install_options", "pip_version"),
    "uv": ("packages", "uv_check", "uv_version", "uv_pip_install_options"),
}
_PACKAGES = tuple(_SETTINGS)


def _packages(tool: str, value: Any) -> Any:
    """Return what a tool is to install as Ray writes it: a list, or the path of one, becomes a dict with `packages`."""
    fields = dict(value) if isinstance(value, dict) else {"packages": value}
    if unknown := set(fields) - set(_SETTINGS[tool]):
        known = ", ".join(_SETTINGS[tool])
        raise ValueError(f"runtime_env[{tool!r}] can only have these fields: {known}, but got {sorted(unknown)}.")
    if isinstance(fields.get("packages"), str):
        try:
            text = Path(fields["packages"]).read_text()
        except OSError as error:
            raise ValueError(f"runtime_env[{tool!r}] names a list of packages that cannot be read: {error}.") from error
        fields["packages"] = text.strip().splitlines()
    listed = fields.get("packages")
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise TypeError(f"runtime_env[{tool!r}] must list packages, or name a file that does, got {value!r}.")
    return {f"{tool}_check": False, **fields}
