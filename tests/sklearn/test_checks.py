"""scikit-learn's own checks of estimators, on both CPU backends."""

import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from nnx.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.slow

ESTIMATORS = [cls(max_iter=100, backend=name) for name in ("numpy", "numba") for cls in (MLPClassifier, MLPRegressor)]
# As in scikit-learn's own suite: only these solvers come close enough to a minimum for the check of weights.
SETTINGS = {
    "MLPClassifier": {"solver": "lbfgs"},
    "MLPRegressor": {"solver": "sgd", "tol": 1e-2, "random_state": 42},
}


@parametrize_with_checks(ESTIMATORS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_check(estimator, check):
    if "sample_weight_equivalence_on_dense" in str(check):
        estimator = clone(estimator).set_params(**SETTINGS[type(estimator).__name__])
    check(estimator)
