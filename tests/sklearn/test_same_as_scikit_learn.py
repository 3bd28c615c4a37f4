"""The same numbers as scikit-learn's own MLP: same start, batches, updates, stopping."""

import numpy as np
import pytest
from scipy import sparse
from sklearn import neural_network
from sklearn.datasets import load_digits, make_multilabel_classification

import nnx
from nnx import sklearn as ours

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.parametrize("backend", ["numpy", "numba"]),
]
RNG = np.random.default_rng(0)
X, Y = load_digits(return_X_y=True)
X, Y = X[:300] / 16, Y[:300]
WEIGHT = RNG.uniform(0.1, 2, 300)
X_LABELS, LABELS = make_multilabel_classification(200, random_state=0)
TARGETS = X @ RNG.normal(size=(64, 3))
COUNTS = RNG.poisson(2, (300, 2))
SPARSE, SPARSE_Y = sparse.random(200, 500, 0.03, format="csr", random_state=0), RNG.integers(0, 4, 200)


def pair(kind, backend, **settings):
    settings = {"hidden_layer_sizes": (12, 9), "random_state": 3, "max_iter": 4, "batch_size": 64, **settings}
    return getattr(neural_network, kind)(**settings), getattr(ours, kind)(backend=backend, **settings)


def assert_same(theirs, mine, x, tolerance=1e-9):
    """Parameters, record and predictions agree to `tolerance`."""
    for a, b in zip(theirs.coefs_ + theirs.intercepts_, mine.coefs_ + mine.intercepts_, strict=True):
        assert type(b) is np.ndarray
        assert a.dtype == b.dtype
        np.testing.assert_allclose(b, a, rtol=0, atol=tolerance)
    for name in vars(theirs).keys() - {"classes_"}:
        if not name.endswith("_") or name in ("coefs_", "intercepts_"):
            continue
        a, b = getattr(theirs, name), getattr(mine, name)
        if isinstance(a, str | int | None):
            assert a == b, name
        else:
            np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance, err_msg=name)
    if hasattr(theirs, "predict_proba"):
        np.testing.assert_array_equal(theirs.classes_, mine.classes_)
        np.testing.assert_allclose(mine.predict_proba(x), theirs.predict_proba(x), atol=tolerance)
        np.testing.assert_allclose(mine.predict_log_proba(x), theirs.predict_log_proba(x), rtol=1e-6, atol=1e-6)
        a, b = theirs.predict(x), mine.predict(x)
        assert type(a) is type(b)
        np.testing.assert_array_equal(*((y.toarray() if sparse.issparse(y) else y) for y in (a, b)))
    else:
        np.testing.assert_allclose(mine.predict(x), theirs.predict(x), atol=tolerance * 100)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_solver_and_activation(backend, solver, activation):
    theirs, mine = pair("MLPClassifier", backend, solver=solver, activation=activation, alpha=0.1)
    assert_same(theirs.fit(X, Y), mine.fit(X, Y), X)


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": "constant", "momentum": 0.0},
        {"learning_rate": "constant", "nesterovs_momentum": False},
        {"learning_rate": "invscaling", "power_t": 0.2},
        {"learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1, "max_iter": 40},
        {"tol": 0.1, "n_iter_no_change": 2, "max_iter": 40},
        {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 40},
        {"shuffle": False},
        {"batch_size": "auto"},
    ],
    ids=str,
)
def test_gradient_descent(backend, settings):
    theirs, mine = pair("MLPClassifier", backend, solver="sgd", **{"learning_rate_init": 0.2, **settings})
    assert_same(theirs.fit(X, Y), mine.fit(X, Y), X)


@pytest.mark.parametrize(
    ("x", "y", "weight", "settings"),
    [
        (X, np.array([f"class {label}" for label in Y]), None, {}),
        (X, Y > 4, None, {"early_stopping": True, "max_iter": 15}),
        (X, Y, WEIGHT, {}),
        (X, Y > 4, WEIGHT, {"early_stopping": True, "max_iter": 15}),
        (X, Y, WEIGHT, {"solver": "lbfgs"}),
        (X, Y, None, {"hidden_layer_sizes": (), "solver": "sgd"}),
        (X, Y, None, {"hidden_layer_sizes": 7}),
        (X_LABELS, LABELS, None, {}),
        (X_LABELS, LABELS, None, {"early_stopping": True, "max_iter": 15}),
        (X_LABELS, sparse.csr_matrix(LABELS), None, {"solver": "lbfgs"}),
        (SPARSE, SPARSE_Y, None, {}),
        (SPARSE.tocsc(), SPARSE_Y, None, {"solver": "sgd", "activation": "tanh", "early_stopping": True}),
        (SPARSE, SPARSE_Y, None, {"solver": "lbfgs"}),
        (SPARSE, SPARSE_Y, None, {"hidden_layer_sizes": ()}),
    ],
)
def test_classifier(backend, x, y, weight, settings):
    theirs, mine = pair("MLPClassifier", backend, **settings)
    assert_same(theirs.fit(x, y, weight), mine.fit(x, y, weight), x)


@pytest.mark.parametrize(
    ("y", "weight", "settings"),
    [
        (TARGETS[:, 0], None, {}),
        (TARGETS, None, {"alpha": 1.0}),
        (TARGETS, WEIGHT, {"early_stopping": True, "max_iter": 15}),
        (TARGETS, WEIGHT, {"solver": "lbfgs"}),
        (COUNTS[:, 0], None, {"loss": "poisson"}),
        (COUNTS, WEIGHT, {"loss": "poisson", "solver": "sgd"}),
        (COUNTS, None, {"loss": "poisson", "solver": "lbfgs"}),
    ],
)
def test_regressor(backend, y, weight, settings):
    theirs, mine = pair("MLPRegressor", backend, **settings)
    assert_same(theirs.fit(X, y, weight), mine.fit(X, y, weight), X)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_partial_fit_and_warm_start(backend, solver):
    theirs, mine = pair("MLPClassifier", backend, solver=solver, learning_rate="invscaling", warm_start=True)
    for model in (theirs, mine):
        for start in range(0, 300, 100):
            model.partial_fit(X[start : start + 100], Y[start : start + 100], classes=np.arange(10))
    assert_same(theirs, mine, X)
    assert_same(theirs.fit(X, Y), mine.fit(X, Y), X)
    assert_same(theirs.fit(X, Y), mine.fit(X, Y), X)
    assert_same(theirs.partial_fit(X, Y), mine.partial_fit(X, Y), X)


def test_random_state_object_is_drawn_from_alike(backend):
    theirs, mine = pair("MLPClassifier", backend, early_stopping=True, random_state=None)
    theirs.set_params(random_state=np.random.RandomState(7)).fit(X, Y)
    mine.set_params(random_state=np.random.RandomState(7)).fit(X, Y)
    assert_same(theirs, mine, X)
    assert theirs.random_state.randint(10**6) == mine.random_state.randint(10**6)


def test_float32_if_asked_for(backend, monkeypatch):
    asked, by_environment = pair("MLPClassifier", backend)[1], pair("MLPClassifier", backend)[1]
    asked.set_params(dtype="float32").fit(X, Y)
    assert asked.coefs_[0].dtype == asked.predict_proba(X).dtype == np.float32
    monkeypatch.setenv("NNX_SCRIPT_DTYPE", "float32")
    np.testing.assert_array_equal(by_environment.fit(X, Y).predict_proba(X), asked.predict_proba(X))
    monkeypatch.setenv("NNX_SCRIPT_DTYPE", "float16")
    with pytest.raises(nnx.InputError, match="NNX_SCRIPT_DTYPE: got 'float16', expected float32 or float64"):
        by_environment.fit(X, Y)


def test_float32_stays_float32(backend):
    x = X.astype(np.float32)
    theirs, mine = pair("MLPClassifier", backend)
    assert_same(theirs.fit(x, Y), mine.fit(x, Y), x, tolerance=1e-4)
    assert mine.coefs_[0].dtype == np.float32
    assert mine.predict_proba(x).dtype == np.float32
    assert mine.predict_proba(X).dtype == theirs.predict_proba(X).dtype == np.float64


def test_printed_lines_are_the_same(backend, capsys):
    theirs, mine = pair("MLPClassifier", backend, solver="sgd", learning_rate="adaptive", learning_rate_init=1e-5)
    lines = []
    for early in (False, True):
        for model in (theirs, mine):
            model.set_params(verbose=True, tol=1.0, n_iter_no_change=1, max_iter=12, early_stopping=early).fit(X, Y)
            lines.append(capsys.readouterr().out)
    assert lines[0] == lines[1]
    assert lines[2] == lines[3]
    assert "Setting learning rate to" in lines[0]
    assert "Learning rate too small. Stopping." in lines[0]
    assert "Validation score: " in lines[2]
