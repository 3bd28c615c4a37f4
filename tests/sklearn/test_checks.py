"""scikit-learn's own checks of estimators, on both CPU backends."""

import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from nnx.sklearn import MLPClassifier, MLPRegressor


def estimators(backend):
    return [cls(max_iter=100, backend=backend) for cls in (MLPClassifier, MLPRegressor)]


# As in scikit-learn's own suite: only these solvers come close enough to a minimum for the check of weights.
SETTINGS = {
    "MLPClassifier": {"solver": "lbfgs"},
    "MLPRegressor": {"solver": "sgd", "tol": 1e-2, "random_state": 42},
}


quiet = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::sklearn.exceptions.SkipTestWarning"
)


@pytest.mark.slow
@quiet
@parametrize_with_checks(estimators("numba"))
def test_check(estimator, check):
    if "sample_weight_equivalence_on_dense" in str(check):
        estimator = clone(estimator).set_params(**SETTINGS[type(estimator).__name__])
    check(estimator)


@pytest.mark.long
@quiet
@parametrize_with_checks(estimators("numpy"))
def test_check_on_the_reference(estimator, check):
    test_check(estimator, check)
