"""joblib and scikit-learn on a session: ``ray.util.joblib.register_ray``."""

from __future__ import annotations

import os
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import jupyter_ray as ray
from jupyter_ray.events import ObjectSealed
from jupyter_ray.util.joblib import register_ray
from tests.contract.helpers import Log

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(autouse=True)
def registered(cluster: Any) -> None:
    register_ray()


def square(x: int) -> tuple[int, int]:
    return x * x, os.getpid()


def test_calls_run_in_the_session() -> None:
    with joblib.parallel_backend("ray"):
        found = joblib.Parallel()(joblib.delayed(square)(x) for x in range(30))
    assert [value for value, _ in found] == [x * x for x in range(30)]
    pids = {pid for _, pid in found}
    assert os.getpid() not in pids
    assert len(pids) > 1


def test_the_newer_spelling_and_the_number_of_jobs() -> None:
    with joblib.parallel_config(backend="ray", n_jobs=2):
        pids = {pid for _, pid in joblib.Parallel()(joblib.delayed(square)(x) for x in range(20))}
        assert joblib.effective_n_jobs(-1) == 4
        assert joblib.effective_n_jobs(100) == 4
    assert 1 <= len(pids) <= 2


def test_an_error_reaches_the_caller() -> None:
    def bad(x: int) -> int:
        raise KeyError(x)

    with joblib.parallel_backend("ray", n_jobs=2), pytest.raises(KeyError):
        joblib.Parallel()(joblib.delayed(bad)(x) for x in range(4))


def test_a_large_argument_is_read_only() -> None:
    data = np.ones(1 << 20)

    def total(array: Any, x: int) -> tuple[float, bool]:
        return float(array.sum()) + x, array.flags.writeable

    with joblib.parallel_backend("ray", n_jobs=2):
        found = joblib.Parallel()(joblib.delayed(total)(data, x) for x in range(8))
    assert found == [(float(1 << 20) + x, False) for x in range(8)]


@pytest.mark.local_only("Ray has no events for the life of an object")
def test_a_large_argument_is_one_object() -> None:
    data = np.ones(1 << 21)  # Larger than that of the other test, whose events are in the log too.
    with Log() as log, joblib.parallel_backend("ray", n_jobs=2):
        joblib.Parallel()(joblib.delayed(len)(data) for _ in range(8))
    assert len([event for event in log.find(ObjectSealed) if event.size > data.nbytes]) == 1


def test_options_of_the_processes() -> None:
    def held() -> dict[str, float]:
        return ray.get_runtime_context().get_assigned_resources()

    with joblib.parallel_backend("ray", n_jobs=2, ray_remote_args={"num_cpus": 1}):
        assert joblib.Parallel()(joblib.delayed(held)() for _ in range(2)) == [{"CPU": 1.0}] * 2


def test_scikit_learn_finds_the_same() -> None:
    x, y = make_classification(n_samples=200, n_features=8, random_state=0)
    search = GridSearchCV(SVC(), {"C": [0.1, 1.0, 10.0]}, cv=3)
    alone = search.fit(x, y).cv_results_["mean_test_score"]
    with joblib.parallel_backend("ray"):
        spread = search.fit(x, y).cv_results_["mean_test_score"]
        forest = RandomForestClassifier(n_estimators=10, random_state=0, n_jobs=-1).fit(x, y)
    assert spread == pytest.approx(alone)
    assert forest.score(x, y) > 0.9
