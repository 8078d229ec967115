"""`JobConfig`: settings of a session in one object."""

from __future__ import annotations

import pytest

from jupyter_ray.job_config import JobConfig, LoggingConfig


def test_it_holds_what_it_was_given() -> None:
    config = JobConfig(runtime_env={"env_vars": {"A": "1"}}, ray_namespace="n", default_actor_lifetime="detached")
    config.set_metadata("who", "me")
    assert (config.runtime_env, config.ray_namespace) == ({"env_vars": {"A": "1"}}, "n")
    assert (config.metadata, config.default_actor_lifetime) == ({"who": "me"}, "detached")
    assert "ray_namespace='n'" in repr(config)
    assert JobConfig().runtime_env == {}
    assert JobConfig.from_json({"ray_namespace": "m", "client_job": True}).ray_namespace == "m"


def test_wrong_values_are_told() -> None:
    with pytest.raises(ValueError, match="lifetime must be one of"):
        JobConfig(default_actor_lifetime="for ever")
    with pytest.raises(TypeError, match="code search path"):
        JobConfig(code_search_path="/a")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="encoding"):
        LoggingConfig(encoding="XML")
