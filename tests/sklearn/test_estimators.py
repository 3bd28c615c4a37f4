"""What users do with the estimators, and what they add to scikit-learn's."""

import copy
import doctest
import importlib
import pickle
import sys
import warnings

import joblib
import numpy as np
import pytest
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingRandomSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nnx
from nnx.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "numba"])
X, Y = load_digits(return_X_y=True)
X, Y = X[:300] / 16, Y[:300]


def classifier(**settings):
    return MLPClassifier(**{"hidden_layer_sizes": (16,), "random_state": 0, "max_iter": 5, **settings})


def same_weights(a, b):
    return all(np.array_equal(p, q) for p, q in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True))


# Copies and files -----------------------------------------------------------------------------------------------------


@BACKENDS
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("way", ["pickle", "joblib", "deepcopy"])
def test_a_copy_predicts_and_goes_on_training_as_the_original_would(backend, solver, way, tmp_path):
    model = classifier(backend=backend, solver=solver, batch_norm=True, dropout=0.2).fit(X, Y)
    if way == "pickle":
        other = pickle.loads(pickle.dumps(model))
    elif way == "joblib":
        joblib.dump(model, tmp_path / "model")
        other = joblib.load(tmp_path / "model")
    else:
        other = copy.deepcopy(model)
    np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
    for each in (model, other):
        each.partial_fit(X, Y).partial_fit(X, Y)
    assert same_weights(model, other)
    assert not same_weights(model, classifier(backend=backend, solver=solver, batch_norm=True, dropout=0.2).fit(X, Y))


def test_a_pickle_holds_numpy_arrays_alone():
    model = classifier(backend="numba").fit(X, Y)
    assert "_network" not in model.__getstate__()
    assert b"nnx_numba" not in pickle.dumps(model)


def test_clone_has_the_parameters_and_no_memory():
    model = classifier(dropout=0.5, class_weight="balanced", backend="numpy").fit(X, Y)
    other = clone(model)
    assert other.get_params() == model.get_params()
    with pytest.raises(NotFittedError, match="This MLPClassifier instance is not fitted yet"):
        other.predict(X)


# Within scikit-learn --------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_pipeline_and_grid_search_in_processes():
    pipeline = make_pipeline(StandardScaler(), classifier(backend="numba", max_iter=20, learning_rate_init=0.02))
    grid = {"mlpclassifier__alpha": [1e-4, 1e-1], "mlpclassifier__dropout": [0.0, 0.2]}
    search = GridSearchCV(pipeline, grid, n_jobs=2, cv=2).fit(X, Y)
    alone = GridSearchCV(pipeline, grid, cv=2).fit(X, Y)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert search.score(X, Y) > 0.9


def test_halving_search_finds_what_it_finds_with_scikit_learns_own():
    space = {"learning_rate_init": [1e-4, 1e-3, 1e-2], "hidden_layer_sizes": [(8,), (16,)]}
    searches = [
        HalvingRandomSearchCV(
            cls(max_iter=5, random_state=0),
            space,
            n_candidates=6,
            resource="max_iter",
            max_resources=30,
            random_state=0,
            cv=2,
        ).fit(X, Y)
        for cls in (MLPClassifier, neural_network.MLPClassifier)
    ]
    assert searches[0].best_params_ == searches[1].best_params_
    assert searches[0].best_score_ == searches[1].best_score_


def test_backend_is_that_in_force_at_the_fit():
    with nnx.use_backend("numpy"):
        model = classifier().fit(X, Y)
    assert model._network.model.backend.name == "numpy"
    assert classifier(backend="numba").fit(X, Y)._network.model.backend.name == "numba"
    with pytest.raises(nnx.InputError, match="unknown backend 'numbo'. Did you mean 'numba'?"):
        classifier(backend="numbo").fit(X, Y)


# The user's own hands on the weights ----------------------------------------------------------------------------------


@BACKENDS
def test_changed_weights_are_used_by_predictions_and_by_training(backend):
    model = classifier(backend=backend).fit(X, Y)
    before = model.predict_proba(X)
    model.coefs_[1][:, 3] = 0  # in place
    model.intercepts_[1] = model.intercepts_[1] + np.eye(10)[3] * 50  # another array
    assert (model.predict(X) == 3).all()
    model.partial_fit(X, Y)
    assert model.intercepts_[1][3] > 10
    assert (model.predict(X) == 3).all()
    assert not np.array_equal(before, model.predict_proba(X))
    model.coefs_[1] = model.coefs_[1][:, :3]
    with pytest.raises(ValueError, match=r"got an array of shape \(16, 3\), expected \(16, 10\)"):
        model.partial_fit(X, Y)


def test_an_older_fit_keeps_its_arrays():
    model = classifier().fit(X, Y)
    first, values = model.coefs_[0], model.coefs_[0].copy()
    model.fit(X, Y > 4)
    np.testing.assert_array_equal(first, values)


@BACKENDS
def test_settings_changed_between_partial_fits_keep_the_optimizer(backend):
    model, other = classifier(backend=backend), classifier(backend=backend)
    for each in (model, other):
        each.partial_fit(X, Y, classes=range(10))
    moments = model._network.slots()
    model.set_params(activation="tanh").partial_fit(X, Y)
    other.set_params(activation="tanh")
    other._network = None  # as if nothing had been kept
    other.partial_fit(X, Y)
    assert all(moment.any() for moment in moments["m"])
    assert not same_weights(model, other)


# Beyond scikit-learn --------------------------------------------------------------------------------------------------


@BACKENDS
def test_class_weight_is_a_sample_weight(backend):
    y = (Y == 0).astype(int)
    weights = {0: 1.0, 1: 10.0}
    model = classifier(backend=backend, class_weight=weights).fit(X, y)
    assert same_weights(model, classifier(backend=backend).fit(X, y, np.where(y == 1, 10.0, 1.0)))
    balanced = classifier(backend=backend, class_weight="balanced").fit(X, y)
    assert same_weights(balanced, classifier(backend=backend).fit(X, y, len(y) / (2 * np.bincount(y)[y])))
    both = classifier(backend=backend, class_weight=weights).fit(X, y, np.arange(1, 301))
    assert same_weights(both, classifier(backend=backend).fit(X, y, np.where(y == 1, 10.0, 1.0) * np.arange(1, 301)))


def test_class_weight_balanced_needs_all_rows():
    with pytest.raises(ValueError, match="class_weight 'balanced' needs all rows"):
        classifier(class_weight="balanced").partial_fit(X, Y, classes=range(10))


@BACKENDS
def test_dropout_regularises_and_is_reproducible(backend):
    settings = {"max_iter": 60, "hidden_layer_sizes": (64,), "backend": backend, "learning_rate_init": 0.01}
    plain, model = (classifier(dropout=ratio, **settings).fit(X, Y) for ratio in (0.0, 0.5))
    assert same_weights(model, classifier(dropout=0.5, **settings).fit(X, Y))
    assert model.loss_ > 3 * plain.loss_  # the masks are at work in training
    assert model.score(X, Y) > 0.97  # and not in predictions
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))


def test_dropout_is_the_same_on_every_backend():
    a, b = (classifier(dropout=0.3, batch_norm=True, backend=name).fit(X, Y) for name in ("numpy", "numba"))
    np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-9)


@BACKENDS
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_batch_norm(backend, solver):
    model = classifier(
        backend=backend,
        solver=solver,
        batch_norm=True,
        max_iter=30,
        hidden_layer_sizes=(16, 16),
        activation="tanh",
        learning_rate_init=0.02,
        batch_size=20,
    )
    model.fit(X * 1000 + 500, Y)  # badly scaled on purpose
    assert model.score(X * 1000 + 500, Y) > 0.95
    assert [{name: array.shape for name, array in norm.items()} for norm in model.batch_norms_] == [
        {"gamma": (16,), "beta": (16,), "running_mean": (16,), "running_var": (16,)}
    ] * 2
    assert all(type(array) is np.ndarray for norm in model.batch_norms_ for array in norm.values())
    hidden = X * 1000 + 500
    for norm, w, b in zip(model.batch_norms_, model.coefs_, model.intercepts_, strict=False):
        z = hidden @ w + b
        z = (z - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5) * norm["gamma"] + norm["beta"]
        hidden = np.tanh(z)
    z = hidden @ model.coefs_[2] + model.intercepts_[2]
    p = np.exp(z - z.max(axis=1, keepdims=True))
    np.testing.assert_allclose(model.predict_proba(X * 1000 + 500), p / p.sum(axis=1, keepdims=True), atol=1e-9)


def test_early_stopping_restores_the_best_weights_with_their_statistics():
    model = classifier(
        early_stopping=True, batch_norm=True, solver="sgd", learning_rate_init=5.0, max_iter=30, validation_fraction=0.3
    )
    model.fit(X, Y)
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.validation_scores_[-1] < model.best_validation_score_
    assert all(np.array_equal(a, b) for a, b in zip(model._weights(), model._best(), strict=True))


# What is refused, and what is said ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_layer_sizes": -1}, "The 'hidden_layer_sizes' parameter of MLPClassifier must be"),
        ({"hidden_layer_sizes": (5, 0)}, r"hidden_layer_sizes must be > 0, got \[5, 0\]."),
        ({"activation": "swish"}, "The 'activation' parameter of MLPClassifier must be a str among"),
        ({"alpha": -1}, "The 'alpha' parameter of MLPClassifier must be a float in the range"),
        ({"dropout": 1.0}, r"The 'dropout' parameter of MLPClassifier must be a float in the range \[0.0, 1.0\)"),
        ({"batch_norm": "yes"}, "The 'batch_norm' parameter of MLPClassifier must be an instance of 'bool'"),
        ({"backend": 3}, "The 'backend' parameter of MLPClassifier must be an instance of 'str'"),
        ({"class_weight": "even"}, "The 'class_weight' parameter of MLPClassifier must be a str among"),
        ({"dropout": 0.5, "solver": "lbfgs"}, "dropout: got 0.5 with solver='lbfgs'"),
        ({"early_stopping": True, "validation_fraction": 0.003}, "The validation set is too small."),
    ],
    ids=str,
)
def test_bad_parameters(settings, message):
    with pytest.raises(ValueError, match=message):
        classifier(**settings).fit(X, Y)


def test_bad_calls():
    with pytest.raises(ValueError, match="classes must be passed on the first call to partial_fit."):
        classifier().partial_fit(X, Y)
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'"):
        classifier(solver="lbfgs").partial_fit(X, Y)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping=True"):
        classifier(early_stopping=True).partial_fit(X, Y, classes=range(10))
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        classifier().partial_fit(X, Y, classes=range(10)).partial_fit(X, Y + 1)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same classes"):
        classifier(warm_start=True).fit(X, Y).fit(X, Y + 1)
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 64 features as input."):
        classifier().fit(X, Y).predict(X[:, :3])
    with pytest.raises(ValueError, match="expected counts or frequencies of at least 0"):
        MLPRegressor(loss="poisson").fit(X, -Y)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        classifier().fit(np.full_like(X, np.nan), Y)
    with pytest.raises(ZeroDivisionError, match="Weights sum to zero"):
        classifier(batch_size=100, shuffle=False).fit(X, Y, np.arange(300) >= 100)
    with pytest.raises(NotFittedError):
        MLPRegressor().predict(X)


@BACKENDS
def test_divergence_is_refused_as_by_scikit_learn(backend):
    model = MLPRegressor(solver="sgd", learning_rate_init=1e20, activation="identity", backend=backend, max_iter=5)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights."):
        model.fit(X * 100, Y)


@pytest.mark.filterwarnings("error")
def test_warnings_are_scikit_learns_and_its_filters_hold():
    with pytest.warns(ConvergenceWarning, match=r"Stochastic Optimizer: Maximum iterations \(5\) reached and the opt"):
        classifier().fit(X, Y)
    with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after 5 iteration"):
        classifier(solver="lbfgs").fit(X, Y)
    with pytest.warns(UserWarning, match="larger than sample size. It is going to be clipped"):
        classifier(batch_size=400, tol=10.0, n_iter_no_change=1).fit(X, Y)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")
        classifier(batch_size=400).fit(X, Y)


def test_interrupted_training_is_kept():
    class Interrupting(type(nnx.get_backend("numpy"))):
        calls = 0

        def update_(self, *args, **kwargs):
            self.calls += 1
            if self.calls == 4:
                raise KeyboardInterrupt
            return super().update_(*args, **kwargs)

    with pytest.warns(UserWarning, match="Training interrupted by user."):
        model = classifier(backend=Interrupting()).fit(X, Y)
    assert model.n_iter_ == 1
    assert len(model.predict(X)) == 300


@BACKENDS
def test_data_are_not_changed(backend):
    x, y, weight = X.copy(), Y.copy(), np.ones(300)
    x.flags.writeable = y.flags.writeable = weight.flags.writeable = False
    classifier(backend=backend).fit(x, y, weight).predict(x)
    np.testing.assert_array_equal(x, X)


def test_without_scikit_learn_the_import_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "nnx.sklearn")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"nnx.sklearn needs scikit-learn; pip install 'nnx-array\[sklearn\]'."):
        importlib.import_module("nnx.sklearn")


def test_partial_fit_after_fits_of_other_shapes_and_solvers():
    model = classifier().fit(X, Y)
    model.set_params(solver="lbfgs", hidden_layer_sizes=(4, 4)).fit(X[:, :10], Y > 4)
    model.set_params(solver="adam")
    before = model.coefs_[0].copy()
    model.partial_fit(X[:, :10], Y > 4)
    assert [w.shape for w in model.coefs_] == [(10, 4), (4, 4), (4, 1)]
    assert not np.array_equal(model.coefs_[0], before)


def test_a_view_put_in_place_of_weights_is_taken_over():
    model = classifier(backend="numpy", learning_rate_init=1e-12).fit(X, Y)
    flipped = model.coefs_[0][:, ::-1].copy()
    model.coefs_[0] = model.coefs_[0][:, ::-1]
    model.partial_fit(X, Y)
    np.testing.assert_allclose(model.coefs_[0], flipped, atol=1e-9)


def test_docstrings():
    for name in ("_classifier", "_regressor"):
        assert doctest.testmod(importlib.import_module(f"nnx.sklearn.{name}")).failed == 0
