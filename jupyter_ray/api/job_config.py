"""``JobConfig``: settings of a session in one object, for `init`. Source: Ray's ``ray.job_config``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from jupyter_ray.environments import merge

_LIFETIMES = ("detached", "non_detached")


class JobConfig:
    """Settings of a session. What `init` is told directly comes first.

    Parameters
    ----------
    jvm_options
        For Java in Ray; accepted.
    code_search_path
        Folders whose modules workers can import, after those of the script's own folder.
    runtime_env
        As that of `init`.
    metadata
        Any text, by name; `util.state.list_jobs` shows it.
    ray_namespace
        As `namespace` of `init`.
    default_actor_lifetime
        ``"detached"`` or ``"non_detached"``: of actors that do not say.

    Raises
    ------
    TypeError
        `code_search_path` is neither a list nor a tuple.
    ValueError
        `default_actor_lifetime` is another word.
    """

    def __init__(
        self,
        jvm_options: list[str] | None = None,
        code_search_path: list[str] | None = None,
        runtime_env: dict[str, Any] | None = None,
        _client_job: bool = False,
        metadata: dict[str, str] | None = None,
        ray_namespace: str | None = None,
        default_actor_lifetime: str = "non_detached",
        **others: Any,
    ) -> None:
        if code_search_path is not None and not isinstance(code_search_path, list | tuple):
            raise TypeError(f"The type of code search path is incorrect: {type(code_search_path)}")
        self.jvm_options = jvm_options or []
        self.code_search_path = code_search_path or []
        self.metadata = metadata or {}
        self.ray_namespace = ray_namespace
        self.runtime_env: dict[str, Any] = {}
        self.default_actor_lifetime = "non_detached"
        self.set_runtime_env(runtime_env)
        self.set_default_actor_lifetime(default_actor_lifetime)

    def set_metadata(self, key: str, value: str) -> None:
        """Set one piece of metadata."""
        self.metadata[key] = value

    def set_runtime_env(self, runtime_env: dict[str, Any] | None, validate: bool = False) -> None:
        """Set the runtime environment; it is checked by `init`."""
        self.runtime_env = runtime_env if runtime_env is not None else {}

    def set_ray_namespace(self, ray_namespace: str) -> None:
        """Set the namespace of named actors."""
        self.ray_namespace = ray_namespace

    def set_default_actor_lifetime(self, default_actor_lifetime: str) -> None:
        """Set the lifetime of actors that do not say; ValueError for an unknown one."""
        if default_actor_lifetime not in _LIFETIMES:
            raise ValueError(f"Default actor lifetime must be one of {_LIFETIMES}, got {default_actor_lifetime!r}.")
        self.default_actor_lifetime = default_actor_lifetime

    @classmethod
    def from_json(cls, job_config_json: Mapping[str, Any]) -> JobConfig:
        """Return what a mapping of the parameters says; `client_job` among them has no effect."""
        of = job_config_json.get
        return cls(
            of("jvm_options"), of("code_search_path"), of("runtime_env"), False, of("metadata"), of("ray_namespace")
        )

    @classmethod
    def of_environment(cls) -> JobConfig:
        """Return what the environment variable ``RAY_JOB_CONFIG_JSON_ENV_VAR`` says; nothing by default."""
        text = os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR")
        return cls.from_json(json.loads(text)) if text else cls()

    def joined(self, runtime_env: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return this runtime environment and that of a program in one.

        Raises
        ------
        ValueError
            Both say what one of them must say; ``RAY_OVERRIDE_JOB_RUNTIME_ENV=1`` lets the program say it (as in Ray).
        """
        mine, other = self.runtime_env, runtime_env or {}
        if not mine or not other:
            return mine or runtime_env
        if os.environ.get("RAY_OVERRIDE_JOB_RUNTIME_ENV") != "1":
            both = sorted((set(mine) & set(other)) - {"env_vars"})
            both += sorted(set(mine.get("env_vars") or {}) & set(other.get("env_vars") or {}))
            if both:
                raise ValueError(
                    f"Failed to merge the Job's runtime env {dict(mine)} with init's {dict(other)}, because of a "
                    f"conflict: {', '.join(both)}. Leave it out of one of them, or let init's win with "
                    "RAY_OVERRIDE_JOB_RUNTIME_ENV=1."
                )
        return merge(mine, other)

    def __repr__(self) -> str:
        told = {name: value for name, value in vars(self).items() if value and value != "non_detached"}
        return f"JobConfig({', '.join(f'{name}={value!r}' for name, value in told.items())})"
