"""``init(logging_config=...)``: the root loggers of the driver and of the workers."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import jupyter_ray as ray
from jupyter_ray.events import LogLines
from tests.contract.helpers import Log, eventually


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[logging.Logger]:
    """The root logger, as it was before in the end."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield root
    root.setLevel(level)
    root.handlers[:] = handlers


@ray.remote
def say(text: str) -> None:
    logging.getLogger("of.a.library").info("%s from a task", text, extra={"unit": "kg"})


class _Actor:
    def say(self) -> None:
        try:
            raise ValueError("wrong")
        except ValueError:
            logging.exception("it failed")


def _lines(log: Log, text: str) -> list[str]:
    return [line for event in log.find(LogLines) for line in event.text.splitlines() if text in line]


def test_json(start: Callable[..., Any], root_logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    config = ray.LoggingConfig(
        encoding="JSON", additional_log_standard_attrs=["name", "asctime", "message", "taskName"]
    )
    start(num_cpus=1, logging_config=config)
    logging.getLogger().info("from the driver")
    context = ray.get_runtime_context()
    written = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert written["message"] == "from the driver"
    assert written["asctime"]
    assert written["taskName"] is None
    assert written["job_id"] == context.get_job_id()
    with Log() as log:
        called = say.remote("hello")
        ray.get(called)
        actor = ray.remote(_Actor).options(name="speaker").remote()
        ray.get(actor.say.remote())
        of_task = json.loads(eventually(lambda: _lines(log, "hello from a task"))[0])
        of_actor = json.loads(eventually(lambda: _lines(log, "it failed"))[0])
    assert (of_task["levelname"], of_task["name"], of_task["unit"]) == ("INFO", "of.a.library", "kg")
    assert (of_task["task_id"], of_task["task_name"]) == (called.task_id().hex(), "say")
    assert of_task["task_func_name"] == f"{__name__}.say"
    assert of_actor["task_func_name"] == f"{__name__}._Actor.say"
    assert (of_actor["actor_id"], of_actor["actor_name"]) == (actor._actor_id.hex(), "speaker")
    assert "ValueError: wrong" in of_actor["exc_text"]


def test_text_and_level(start: Callable[..., Any]) -> None:
    start(num_cpus=1, logging_config=ray.LoggingConfig(log_level="ERROR"))
    with Log() as log:
        ray.get(say.remote("hello"))
        ray.get(ray.remote(_Actor).remote().say.remote())
        line = eventually(lambda: _lines(log, "it failed"))[0]
        assert not _lines(log, "hello")
    assert "ERROR test_logging_config.py:" in line
    assert f"job_id={ray.get_runtime_context().get_job_id()}" in line


def test_what_is_no_config_is_refused(start: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="LoggingConfig"):
        start(logging_config={"encoding": "JSON"})
    with pytest.raises(ValueError, match="Unknown python logging standard attribute: colour"):
        ray.LoggingConfig(additional_log_standard_attrs=["colour"])


@pytest.fixture
def rays_logger() -> Iterator[logging.Logger]:
    """The logger that programs for Ray use, as it was before in the end."""
    logger = logging.getLogger("ray")
    level, handlers, propagate = logger.level, list(logger.handlers), logger.propagate
    yield logger
    logger.setLevel(level)
    logger.handlers[:] = handlers
    logger.propagate = propagate


def test_a_task_may_write_to_the_logger_of_ray(start: Callable[..., Any]) -> None:
    start(num_cpus=1)

    @ray.remote
    def write() -> None:
        logging.getLogger("ray").info("something new")
        logging.getLogger("ray").debug("a detail")
        logging.getLogger("other").info("nothing")

    with Log() as log:
        ray.get(write.remote())
        assert eventually(lambda: _lines(log, "something new")) == ["something new"]
        assert not _lines(log, "a detail") + _lines(log, "nothing")


@pytest.mark.local_only("on a cluster Ray itself sets up its logger in the driver")
def test_the_driver_may_write_to_the_logger_of_ray(
    start: Callable[..., Any], rays_logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    rays_logger.handlers.clear()
    rays_logger.setLevel(logging.NOTSET)
    start(num_cpus=1)
    rays_logger.info("it begins")
    rays_logger.debug("a detail")
    assert capsys.readouterr().err.endswith(" -- it begins\n")
