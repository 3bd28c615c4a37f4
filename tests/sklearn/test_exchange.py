"""Estimators, pickles and habits of scikit-learn's users: to nnx, back, and weights set by hand."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from sklearn import neural_network
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning, InconsistentVersionWarning
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelBinarizer

import nnx
from nnx import accel
from nnx import sklearn as ours
from nnx.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "numba"])
X, Y = load_digits(return_X_y=True)
X, Y = X[:300] / 16, Y[:300]
KINDS = [
    ("MLPClassifier", Y),
    ("MLPClassifier", Y > 4),
    ("MLPClassifier", np.eye(10, dtype=int)[Y]),
    ("MLPRegressor", Y / 9),
    ("MLPRegressor", X[:, 20:23]),
]


def theirs(kind, **settings):
    settings = {"hidden_layer_sizes": (12, 9), "random_state": 3, "max_iter": 4, "batch_size": 64, **settings}
    return getattr(neural_network, kind)(**settings)


def assert_same(a, b):
    for p, q in zip(a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True):
        np.testing.assert_allclose(p, q, rtol=0, atol=1e-9)
    np.testing.assert_allclose(a.predict(X), b.predict(X), atol=1e-8)
    if hasattr(a, "predict_proba"):
        np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), atol=1e-9)


# To scikit-learn and back ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"solver": "sgd"}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
@pytest.mark.parametrize(("kind", "y"), KINDS)
def test_there_and_back(kind, y, settings):
    original = theirs(kind, **settings).fit(X, y)
    mine = getattr(ours, kind).from_sklearn(original)
    back = mine.to_sklearn()
    assert type(back) is type(original)
    assert vars(back).keys() == vars(original).keys()
    assert back.get_params() == original.get_params()
    if settings in ({}, {"solver": "sgd"}):
        for _ in range(2):  # the optimizer's state goes over in both directions
            for estimator in (original, mine, back):
                estimator.partial_fit(X, y)
            assert_same(original, mine)
            assert_same(original, back)
            back = mine.to_sklearn()
    assert_same(original, mine)
    assert_same(original, back)
    mine.coefs_[0][...] = 0
    assert original.coefs_[0].any()
    assert back.coefs_[0].any()


def test_estimators_that_are_not_fitted_go_over_as_well():
    assert vars(MLPClassifier(alpha=3).to_sklearn()) == vars(neural_network.MLPClassifier(alpha=3))
    assert MLPRegressor.from_sklearn(neural_network.MLPRegressor(alpha=3)).get_params()["alpha"] == 3


def test_what_cannot_go_over_is_named():
    with pytest.raises(nnx.InputError, match=r"does not have dropout=0.2, batch_norm=True. Train without, or export"):
        MLPRegressor(dropout=0.2, batch_norm=True).to_sklearn()
    with pytest.raises(nnx.InputError, match="does not have class_weight='balanced'"):
        MLPClassifier(class_weight="balanced").to_sklearn()
    with pytest.raises(nnx.InputTypeError, match="got sklearn.neural_network._multilayer_perceptron.MLPRegressor,"):
        MLPClassifier.from_sklearn(neural_network.MLPRegressor())

    class Own(MLPClassifier):
        pass

    with pytest.raises(nnx.InputTypeError, match="Own, a subclass, whose additions"):
        Own().to_sklearn()


@pytest.mark.parametrize(("kind", "y"), KINDS)
def test_scikit_learns_pickles_under_nnx_run(kind, y):
    original = theirs(kind).fit(X, y)
    data = pickle.dumps(original)
    accel.install(book=False)
    try:
        mine = pickle.loads(data)
    finally:
        accel.uninstall()
    assert type(mine) is getattr(ours, kind)
    assert isinstance(mine, type(original))
    assert_same(original, mine)
    assert_same(original.partial_fit(X, y), mine.partial_fit(X, y))
    assert_same(original, copy.deepcopy(mine))


def test_a_pickle_of_another_version_warns_as_in_scikit_learn():
    state = neural_network.MLPRegressor().__getstate__()
    del state["max_fun"]  # as before 0.22
    mine = MLPRegressor.__new__(MLPRegressor)
    with pytest.warns(InconsistentVersionWarning, match="from version 1.0"):
        mine.__setstate__({**state, "_sklearn_version": "1.0"})
    assert mine.max_fun == 15000
    assert mine.backend is None


@pytest.mark.parametrize("way", [copy.deepcopy, copy.copy, lambda model: pickle.loads(pickle.dumps(model))])
@pytest.mark.parametrize(
    ("cls", "settings"),
    [
        (MLPClassifier, {"class_weight": "balanced", "early_stopping": True, "backend": "numpy"}),
        (MLPClassifier, {"solver": "lbfgs", "dtype": "float32", "batch_norm": True}),
        (MLPClassifier, {"solver": "sgd", "learning_rate": "adaptive", "dropout": 0.1, "backend": "numba"}),
        (MLPRegressor, {"loss": "poisson", "batch_norm": True, "early_stopping": True}),
    ],
)
def test_copies_with_every_option(cls, settings, way):
    model = cls(hidden_layer_sizes=(8,), max_iter=3, random_state=0, **settings).fit(X, Y)
    other = way(model)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    np.testing.assert_array_equal(other.fit(X, Y).predict(X), model.predict(X))


# Weights set by hand --------------------------------------------------------------------------------------------------


def by_hand(cls, outputs=1, **settings):
    model = cls(hidden_layer_sizes=(2,), **settings)
    model.coefs_, model.intercepts_ = [np.ones((3, 2)), np.ones((2, outputs))], [np.zeros(2), np.arange(outputs)]
    return model


@BACKENDS
def test_weights_are_enough_to_predict(backend):
    x = np.ones((2, 3))
    np.testing.assert_array_equal(by_hand(MLPRegressor, backend=backend).predict(x), [6, 6])
    np.testing.assert_allclose(by_hand(MLPRegressor, loss="poisson", backend=backend).predict(x), np.exp([6, 6]))
    classifier = by_hand(MLPClassifier, 3, backend=backend)
    classifier.classes_ = ["a", "b", "c"]
    assert classifier.predict(x).tolist() == ["c", "c"]
    assert classifier.score(x, ["c", "a"]) == 0.5
    binary = by_hand(MLPClassifier, backend=backend)
    binary.classes_ = [3, 4]
    assert binary.predict(x).tolist() == [4, 4]
    labels = by_hand(MLPClassifier, 3, backend=backend)
    labels.out_activation_ = "logistic"
    assert labels.predict(x).tolist() == [[1, 1, 1]] * 2
    labels.out_activation_ = "identity"  # scores
    assert labels.predict_proba(x).tolist() == [[6, 7, 8]] * 2


def test_lists_numbers_and_rows_will_do_as_scikit_learn_takes_them():
    model = MLPRegressor()
    model.coefs_, model.intercepts_ = [[[1, 0], [2, 0]], [[1.0], [0.0]]], [0, np.array([[1.0]])]
    assert model.predict([[1, 1]]).tolist() == [4]


@BACKENDS
def test_training_begins_with_weights_set_by_hand(backend):
    x, y = np.random.default_rng(0).uniform(size=(20, 3)), np.arange(20.0)
    settings = {"backend": backend, "learning_rate_init": 1e-9, "max_iter": 2}
    for solver in ("adam", "sgd", "lbfgs"):
        model = by_hand(MLPRegressor, warm_start=True, solver=solver, **settings)
        expected = ((model.predict(x) - y) ** 2).mean() / 2
        model.fit(x, y)
        assert model.loss_ <= expected * 1.001
        assert model.n_features_in_ == 3
        assert solver == "lbfgs" or model.loss_curve_[0] == pytest.approx(expected, rel=1e-4)
    early = by_hand(MLPRegressor, warm_start=True, early_stopping=True, **settings).fit(x, y)
    assert len(early.validation_scores_) == 2
    classifier = by_hand(MLPClassifier, 3, **settings)
    classifier.partial_fit(x, np.arange(20) % 3, classes=[0, 1, 2]).partial_fit(x, np.arange(20) % 3)
    np.testing.assert_allclose(classifier.coefs_[0], 1, atol=1e-6)


def test_federated_learning_sets_weights_before_the_first_step():
    model = MLPClassifier((16,), max_iter=1, warm_start=True, random_state=0)
    model.coefs_ = [np.full((64, 16), 0.01, "float32"), np.full((16, 10), 0.01, "float32")]
    model.intercepts_ = [np.zeros(16, "float32"), np.zeros(10, "float32")]
    model.classes_, model.n_layers_, model.n_iter_, model.out_activation_ = np.arange(10), 3, 0, "softmax"
    model._label_binarizer = LabelBinarizer().fit(np.arange(10))
    model.partial_fit(X, Y, classes=np.arange(10))
    assert model.loss_curve_[0] == pytest.approx(np.log(10), rel=1e-3)
    assert model.coefs_[0].dtype == np.float32


def test_small_files_by_half_precision():
    model = MLPClassifier((16,), max_iter=5, random_state=0).fit(X, Y)
    expected, size = model.predict_proba(X), len(pickle.dumps(model))
    model._optimizer = model._best_coefs = model._best_intercepts = None
    for arrays in (model.coefs_, model.intercepts_):
        arrays[:] = [array.astype(np.float16) for array in arrays]
    data = pickle.dumps(model)
    assert len(data) < size / 4
    other = pickle.loads(data)
    np.testing.assert_allclose(other.predict_proba(X), expected, atol=2e-3)
    other.predict((X * 16).astype(np.uint8))  # computed in float32 at least
    assert other.partial_fit(X, Y).coefs_[0].dtype == np.float64


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"intercepts_": [np.zeros(2)]}, "coefs_, intercepts_: got 2 and 1 arrays, expected one of each for a layer."),
        (
            {"intercepts_": [0, np.zeros(3)]},
            r"intercepts_\[1\]: got an array of shape \(3,\), expected \(1,\) for coefs_",
        ),
        (
            {"coefs_": [np.ones((3, 4)), np.ones((2, 1))], "intercepts_": [0, 0]},
            r"coefs_\[1\]: got an array of shape \(2, 1\), expected \(4, any",
        ),
        (
            {"coefs_": [np.ones(3), np.ones((2, 1))]},
            r"coefs_\[0\]: got an array of shape \(3,\), expected \(any, any\)",
        ),
        ({"coefs_": [np.ones((4, 2)), np.ones((2, 1))]}, r"X: got an array of shape \(1, 3\), expected \(n, 4\)"),
        ({"coefs_": [np.full((3, 2), "1"), np.ones((2, 1))]}, r"coefs_\[0\]: got dtype <U1, expected numbers."),
        ({"out_activation_": "sigmoid"}, "unknown out_activation_ 'sigmoid'."),
    ],
)
def test_weights_that_do_not_fit(changes, message):
    model = by_hand(MLPRegressor)
    vars(model).update(changes)
    with pytest.raises(nnx.NnxError, match=message):
        model.predict(np.ones((1, 3)))


def test_training_names_weights_that_do_not_fit_the_data():
    with pytest.raises(nnx.InputError, match=r"coefs_\[0\]: got an array of shape \(3, 2\), expected \(5, any\)"):
        by_hand(MLPRegressor).partial_fit(np.ones((4, 5)), np.ones(4))
    with pytest.raises(nnx.InputError, match=r"coefs_\[1\]: got an array of shape \(2, 1\), expected \(2, 3\)"):
        by_hand(MLPRegressor).partial_fit(np.ones((4, 3)), np.ones((4, 3)))


def test_a_classifier_by_hand_says_what_is_missing():
    model = by_hand(MLPClassifier, 3)
    with pytest.raises(AttributeError, match="out_activation_ is not set, and weights with 3 outputs do not tell it"):
        model.predict(np.ones((1, 3)))
    model.out_activation_ = "softmax"
    with pytest.raises(AttributeError, match="classes_ is not set, though weights are"):
        model.predict(np.ones((1, 3)))
    model.classes_ = ["b", "a", "c"]
    with pytest.raises(nnx.InputError, match=r"classes_: got \['b', 'a', 'c'\], expected 3 different names in ascend"):
        model.predict(np.ones((1, 3)))


# Private members that scripts use -------------------------------------------------------------------------------------


def test_forward_pass_and_backprop_are_scikit_learns():
    original = theirs("MLPClassifier").fit(X, Y)
    mine = MLPClassifier.from_sklearn(original)
    y = mine._label_binarizer.transform(Y)
    results = []
    for model in (original, mine):
        activations = model._forward_pass([X, None, None, None])
        lists = [None] * 3, [None] * 3, [None] * 3
        results.append((activations, *model._backprop(X, y, None, [X, None, None, None], *lists)))
    for a, b in zip(*results, strict=True):
        for p, q in zip(a, b, strict=True) if isinstance(a, list) else [(a, b)]:
            np.testing.assert_allclose(p, q, atol=1e-12)
    np.testing.assert_allclose(mine._forward_pass_fast(X, check_input=False), results[0][0][-1], atol=1e-12)


def test_batch_normalization_is_unknown_to_forward_pass():
    model = MLPClassifier((4,), batch_norm=True, max_iter=1).fit(X, Y)
    with pytest.raises(nnx.InputError, match="_forward_pass: scikit-learn's knows no batch normalization"):
        model._forward_pass([X, None, None])


def test_weights_can_be_initialized_without_fit():
    a, b = (getattr(module, "MLPClassifier")(random_state=0) for module in (neural_network, ours))  # noqa: B009
    for model in (a, b):
        model._validate_input(X, Y, False, reset=True)
        model._random_state = np.random.RandomState(0)
        model._initialize(np.zeros((1, 10)), [64, 100, 10], X.dtype)
    assert_same(a, b)
    assert_same(a.partial_fit(X, Y), b.partial_fit(X, Y))


def test_initial_weights_of_a_subclass():
    class Own(MLPRegressor):
        def _init_coef(self, fan_in, fan_out, dtype):
            return np.full((fan_in, fan_out), 0.1, dtype), np.zeros(fan_out, dtype)

    model = Own(hidden_layer_sizes=(3,), max_iter=1, learning_rate_init=1e-9).fit(X, Y)
    np.testing.assert_allclose(model.coefs_[1], 0.1, atol=1e-6)


def test_the_learning_rate_can_be_changed_between_steps():
    models = [theirs("MLPRegressor", solver="sgd"), MLPRegressor.from_sklearn(theirs("MLPRegressor", solver="sgd"))]
    for model in models:
        for rate in (0.1, 0.01, 0.2):
            model.partial_fit(X, Y / 9)
            model._optimizer.learning_rate = rate
    assert_same(*models)
    with pytest.raises(AttributeError, match="nnx keeps the optimizer's velocities in a buffer of its training step"):
        _ = models[1]._optimizer.velocities
    assert len(models[1].to_sklearn()._optimizer.velocities) == 6


def test_a_subclass_with_a_training_of_its_own_is_trained_by_scikit_learn_and_says_so():
    class Counting:
        calls = 0

        def _backprop(self, *args, **kwargs):
            self.calls += 1
            return super()._backprop(*args, **kwargs)

    class Theirs(Counting, neural_network.MLPClassifier):
        pass

    class Own(Counting, MLPClassifier):
        pass

    settings = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
    with pytest.warns(UserWarning, match="Own overrides _backprop, which nnx's training does not call: scikit-learn's"):
        mine = Own(**settings).fit(X, Y)
    assert mine.calls == 6
    assert_same(Theirs(**settings).fit(X, Y), mine)
    with pytest.raises(nnx.InputError, match="which knows no dropout, dtype; leave either at its default"):
        Own(dropout=0.1, dtype="float32").fit(X, Y)


def test_partial_fit_is_missing_for_the_reason_that_scikit_learn_gives():
    with pytest.raises(AttributeError, match="This 'MLPClassifier' has no attribute 'partial_fit'") as error:
        _ = MLPClassifier(solver="lbfgs").partial_fit
    assert "lbfgs is not stochastic" in str(error.value.__cause__)
    assert not hasattr(MLPClassifier(), "coefs_")


# The record -----------------------------------------------------------------------------------------------------------


@BACKENDS
def test_the_loss_of_the_held_out_rows(backend):
    settings = {"early_stopping": True, "random_state": 0, "max_iter": 3, "validation_fraction": 0.2}
    model = MLPClassifier((12,), alpha=5.0, backend=backend, learning_rate_init=0.02, **settings).fit(X, Y)
    _, x, _, y = train_test_split(X, Y, random_state=second_state(), test_size=0.2)
    best = int(np.argmax(model.validation_scores_))
    assert model.validation_loss_curve_[best] == pytest.approx(log_loss(y, model.predict_proba(x), labels=range(10)))
    targets, weight = X[:, 20:23], np.random.default_rng(0).uniform(0.5, 2, 300)
    regressor = MLPRegressor(hidden_layer_sizes=(12,), backend=backend, **settings).fit(X, targets, weight)
    _, x, _, t, _, w = train_test_split(X, targets, weight, random_state=second_state(sizes=(12, 3)), test_size=0.2)
    best = int(np.argmax(regressor.validation_scores_))
    expected = np.average(((regressor.predict(x) - t) ** 2).mean(axis=1), weights=w) / 2
    assert regressor.validation_loss_curve_[best] == pytest.approx(expected)
    assert regressor.set_params(early_stopping=False).fit(X, targets).validation_loss_curve_ is None


def second_state(sizes=(12, 10)):
    """Return the generator of random_state=0 after the initial weights have been drawn."""
    state = np.random.RandomState(0)
    for i, o in ((64, sizes[0]), sizes):
        state.uniform(size=(i, o))
        state.uniform(size=o)
    return state


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_warnings_show_the_users_line_and_obey_filters_for_scikit_learns_module(solver):
    model = MLPClassifier((4,), max_iter=2, solver=solver)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, Y)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn.neural_network")
        model.fit(X, Y)
