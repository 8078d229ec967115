"""A name that is not there: the error says which one may be meant."""

from __future__ import annotations

import pytest

import jupyter_ray as ray
from jupyter_ray.spelling import meant


def test_the_nearest_name_is_named() -> None:
    assert meant("num_cpu", ["num_cpus", "num_gpus", "name"]) == " Did you mean 'num_cpus'?"
    assert meant("zzz", ["num_cpus", "num_gpus"]) == ""
    assert meant("num_cpus", ["num_cpus"]) == ""
    assert meant("_repr_html_", ["_repr_htm_"]) == ""  # Displays try what there may be.


@pytest.mark.parametrize(("written", "near"), [("num_cpu", "num_cpus"), ("num_return_vals", "num_returns")])
def test_options(written: str, near: str) -> None:
    with pytest.raises(
        ValueError,
        match=rf"keyword {written} for remote functions and for actors\. Did you mean '{near}'\? Valid ones are",
    ):
        ray.remote(**{written: 1})

    @ray.remote
    def task() -> None: ...

    with pytest.raises(ValueError, match=rf"keyword {written} for remote functions\. Did you mean '{near}'\? Valid"):
        task.options(**{written: 1})


def test_keywords_of_init() -> None:
    with pytest.raises(RuntimeError, match=r"argument\(s\): num_cpu\. Did you mean 'num_cpus'\?$"):
        ray.init(num_cpu=1)
    with pytest.raises(RuntimeError, match=r"argument\(s\): temp_dir\. Did you mean '_temp_dir'\?$"):
        ray.init(temp_dir="/nowhere")
    with pytest.raises(RuntimeError, match=r"argument\(s\): huge_pages\. huge_pages was an option of older"):
        ray.init(huge_pages=True)
    with pytest.raises(RuntimeError, match=r"argument\(s\): something$"):
        ray.init(something=True)


def test_names_of_the_package() -> None:
    with pytest.raises(AttributeError, match=r"module 'jupyter_ray' has no attribute 'gets'\. Did you mean 'get'\?$"):
        ray.gets  # noqa: B018
    with pytest.raises(AttributeError, match=r"'ActorPol'\. Did you mean 'ActorPool'\?$"):
        ray.util.ActorPol  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'jupyter_ray' has no attribute 'zzz'$"):
        ray.zzz  # noqa: B018
