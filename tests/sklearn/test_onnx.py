"""Estimators in ONNX Runtime: as files, and in skl2onnx's pipelines."""

import json

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nnx
from nnx.sklearn import MLPClassifier, MLPRegressor, register_skl2onnx

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_digits(return_X_y=True)
X, Y = X[:200] / 16, Y[:200]
NAMES = np.array([f"digit {label}" for label in Y])
CLASSIFIERS = [
    (Y, {}),
    (NAMES, {"batch_norm": True, "hidden_layer_sizes": (8, 7), "dropout": 0.2}),
    (NAMES.astype(object), {"activation": "tanh"}),
    (Y > 4, {"activation": "logistic"}),
    (np.where(Y > 4, "large", "small"), {"hidden_layer_sizes": ()}),
    ((Y > 4) * 2.0, {"activation": "identity"}),
    (np.eye(10, dtype=int)[Y], {}),
]
REGRESSORS = [(Y / 9, {}), (X[:, 20:23], {"batch_norm": True}), (Y, {"loss": "poisson", "activation": "tanh"})]


def fitted(cls, y, settings, dtype):
    settings = {"hidden_layer_sizes": (8,), "max_iter": 4, **settings}
    return cls(**settings, random_state=0, dtype=dtype, backend="numpy").fit(X, y)


def run(model, x):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    results = session.run(None, {given.name: x})
    return dict(zip([output.name for output in session.get_outputs()], results, strict=True)), session


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("y", "settings"), CLASSIFIERS)
def test_a_classifier_gives_labels_and_probabilities(y, settings, dtype, tmp_path):
    model = fitted(MLPClassifier, y, settings, dtype)
    model.to_onnx(tmp_path / "model.onnx", {"trained": "today"})
    for n in (1, 200):
        x = X[:n].astype(dtype)
        results, session = run(tmp_path / "model.onnx", x)
        assert list(results) == ["label", "probabilities"]
        np.testing.assert_allclose(results["probabilities"], model.predict_proba(x), atol=1e-5)
        np.testing.assert_array_equal(results["label"], model.predict(x))
        assert results["probabilities"].dtype == dtype
    notes = session.get_modelmeta().custom_metadata_map
    assert json.loads(notes["classes"]) == model.classes_.tolist()
    assert notes["trained"] == "today"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("y", "settings"), REGRESSORS)
def test_a_regressor_gives_its_targets(y, settings, dtype, tmp_path):
    model = fitted(MLPRegressor, y, settings, dtype)
    model.to_onnx(tmp_path / "model.onnx")
    results, _ = run(tmp_path / "model.onnx", X.astype(dtype))
    np.testing.assert_allclose(results["variable"], model.predict(X).reshape(200, -1), rtol=1e-4, atol=1e-5)


def test_weights_set_by_hand_and_scores(tmp_path):
    model = MLPRegressor(hidden_layer_sizes=(2,))
    with pytest.raises(NotFittedError):
        model.to_onnx(tmp_path / "model.onnx")
    model.coefs_, model.intercepts_ = [np.ones((3, 2), int), np.ones((2, 1), int)], [0, 0]
    model.to_onnx(tmp_path / "model.onnx")
    assert run(tmp_path / "model.onnx", np.ones((1, 3)))[0]["variable"].tolist() == [[6]]


def test_metadata_are_strings(tmp_path):
    with pytest.raises(nnx.InputTypeError, match="metadata: got 3, expected a dictionary of strings"):
        fitted(MLPClassifier, Y, {}, None).to_onnx(tmp_path / "model.onnx", 3)


# skl2onnx -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
@pytest.mark.parametrize(("y", "settings"), CLASSIFIERS)
def test_classifiers_in_a_pipeline(y, settings, dtype):
    skl2onnx = pytest.importorskip("skl2onnx")
    register_skl2onnx()
    x = (X * 16).astype(dtype)
    pipeline = make_pipeline(StandardScaler(), fitted(MLPClassifier, y, settings, None)).fit(X * 16, y)
    model = skl2onnx.to_onnx(pipeline, x[:1], options={"mlpclassifier__zipmap": False})
    results, _ = run(model.SerializeToString(), x)
    np.testing.assert_allclose(results["probabilities"], pipeline.predict_proba(x), atol=2e-4)
    np.testing.assert_array_equal(results["label"], pipeline.predict(x))


def test_probabilities_by_the_name_of_their_class():
    skl2onnx = pytest.importorskip("skl2onnx")
    register_skl2onnx()
    model = fitted(MLPClassifier, NAMES, {}, "float32")
    results, _ = run(skl2onnx.to_onnx(model, X[:1].astype("float32")).SerializeToString(), X.astype("float32"))
    first = results["output_probability"][0]
    assert first == pytest.approx(dict(zip(model.classes_, model.predict_proba(X)[0], strict=True)), abs=1e-5)


@pytest.mark.parametrize(("y", "settings"), REGRESSORS)
def test_regressors_in_a_pipeline(y, settings):
    skl2onnx = pytest.importorskip("skl2onnx")
    register_skl2onnx()
    pipeline = make_pipeline(StandardScaler(), fitted(MLPRegressor, y, settings, None)).fit(X, y)
    results, _ = run(skl2onnx.to_onnx(pipeline, X[:1]).SerializeToString(), X)
    np.testing.assert_allclose(results["variable"], pipeline.predict(X).reshape(200, -1), rtol=1e-4, atol=1e-5)


def test_what_is_missing_is_named(monkeypatch, tmp_path):
    model = fitted(MLPClassifier, Y, {}, None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(nnx.InputError, match="register_skl2onnx: needs skl2onnx, which is not installed"):
        register_skl2onnx()
    with pytest.raises(nnx.InputError, match="to_onnx: needs the package onnx"):
        model.to_onnx(tmp_path / "model.onnx")
