"""Searches whose fits run in several processes: these share the cores, and none compiles what another one has."""

import os

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

import nnx
from nnx.sklearn import MLPClassifier

pytestmark = pytest.mark.long

R = np.random.default_rng(0)
X = R.standard_normal((200, 6))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)
SHARE = max(1, (os.cpu_count() or 1) // 2)


def classifier():
    # It stops after a few epochs: by its tolerance, and not with a warning.
    return MLPClassifier((8,), tol=1.0, n_iter_no_change=3, learning_rate_init=0.02, random_state=0, backend="numba")


def facts():
    """What a worker is: its process, the threads of nnx and of BLAS, and the seconds that it has compiled for."""
    classifier().fit(X, Y)
    backend = nnx.get_backend("numba")
    information = backend.device_info()
    return os.getpid(), int(information["threads"]), int(information["blas threads"]), backend.compile_seconds


def scores(**settings):
    return GridSearchCV(classifier(), {"alpha": [1e-4, 1.0]}, cv=2, **settings).fit(X, Y).cv_results_["mean_test_score"]


@pytest.fixture(scope="module", autouse=True)
def _compiled():
    classifier().fit(X, Y)


def test_processes_of_joblib_share_the_cores_and_compile_nothing():
    workers = joblib.Parallel(n_jobs=2)(joblib.delayed(facts)() for _ in range(8))
    assert os.getpid() not in {process for process, *_ in workers}
    assert {tuple(each) for _, *each in workers} == {(SHARE, SHARE, 0.0)}


def test_so_do_those_of_dask_with_the_same_scores():
    distributed = pytest.importorskip("distributed", reason="needs Dask: pip install distributed")
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster), joblib.parallel_config("dask"):
        workers = joblib.Parallel(n_jobs=2)(joblib.delayed(facts)() for _ in range(8))
        np.testing.assert_array_equal(scores(n_jobs=2), scores(n_jobs=1))
    assert {tuple(each) for _, *each in workers} == {(1, 1, 0.0)}
