"""``RuntimeEnv``: the surroundings that tasks and actors run in."""

from __future__ import annotations

import json
from typing import Any

from jupyter_ray.environments import check_runtime_env


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
    **others
        Further fields of Ray; the local engine says when it cannot honour one.

    Notes
    -----
    Source: Ray's ``ray.runtime_env.RuntimeEnv``.
    """

    def __init__(
        self,
        *,
        env_vars: dict[str, str] | None = None,
        working_dir: str | None = None,
        py_modules: list[Any] | None = None,
        **others: Any,
    ) -> None:
        fields = {"env_vars": env_vars, "working_dir": working_dir, "py_modules": py_modules, **others}
        super().__init__({name: value for name, value in fields.items() if value is not None})
        if wrong := check_runtime_env("runtime_env", self):
            raise ValueError(wrong)

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
        """Return the fields as JSON."""
        return json.dumps(self, sort_keys=True)

    @classmethod
    def deserialize(cls, serialized: str) -> RuntimeEnv:
        """Return the environment that `serialize` wrote."""
        return cls(**json.loads(serialized))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a plain dict."""
        return {name: dict(value) if isinstance(value, dict) else value for name, value in self.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (dict(self),)


class RuntimeEnvConfig(dict[str, Any]):
    """Settings of a runtime environment's set-up (accepted, of no effect). Source: Ray's ``RuntimeEnvConfig``."""

    def __init__(self, setup_timeout_seconds: int = 600, eager_install: bool = True, **others: Any) -> None:
        super().__init__({"setup_timeout_seconds": setup_timeout_seconds, "eager_install": eager_install, **others})
        if not isinstance(eager_install, bool):
            raise TypeError(f"eager_install must be a boolean. got {type(eager_install)}")
        check_runtime_env("runtime_env", {"config": self})

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as a plain dict."""
        return dict(self)


def _rebuild(fields: dict[str, Any]) -> RuntimeEnv:
    return RuntimeEnv(**fields)
