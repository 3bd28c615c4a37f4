"""Frames of pandas and polars, and the names of their columns."""

import json

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nnx.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
X, Y = load_digits(return_X_y=True)
X, Y = X[:200, 20:30] / 16, Y[:200]
COLUMNS = [f"pixel {i}" for i in range(10)]
NAMES = [f"digit {label}" for label in Y]


@pytest.fixture(params=["pandas", "polars"])
def frames(request):
    return pytest.importorskip(request.param)


def frame(frames):
    return frames.DataFrame(dict(zip(COLUMNS, X.T, strict=True)))


def classifier():
    return MLPClassifier((6,), max_iter=3, random_state=0, early_stopping=True, class_weight="balanced")


def test_a_frame_is_its_array_with_names(frames):
    weight = np.linspace(1, 2, 200)
    model = classifier().fit(frame(frames), frames.Series(NAMES), frames.Series(weight))
    plain = classifier().fit(X, np.array(NAMES), weight)
    np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])
    np.testing.assert_array_equal(model.predict(frame(frames)), plain.predict(X))
    assert model.feature_names_in_.tolist() == COLUMNS
    assert model.score(frame(frames), frames.Series(NAMES)) == plain.score(X, NAMES)


def test_columns_are_checked_by_name_as_in_scikit_learn(frames):
    model = classifier().fit(frame(frames), frames.Series(NAMES))
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        model.predict(frame(frames)[COLUMNS[::-1]])
    with pytest.warns(UserWarning, match="X does not have valid feature names, but MLPClassifier was fitted with"):
        model.predict(X)


def test_partial_fit_and_targets_in_a_frame(frames):
    model = MLPClassifier((6,), random_state=0).partial_fit(
        frame(frames), frames.Series(NAMES), classes=sorted({*NAMES})
    )
    plain = MLPClassifier((6,), random_state=0).partial_fit(X, NAMES, classes=sorted({*NAMES}))
    np.testing.assert_array_equal(model.coefs_[0], plain.coefs_[0])
    targets = frame(frames)[COLUMNS[:2]]
    regressor = MLPRegressor(hidden_layer_sizes=(6,), max_iter=2, random_state=0).fit(frame(frames), targets)
    assert regressor.predict(frame(frames)).shape == (200, 2)


def test_frames_between_the_steps_of_a_pipeline(frames):
    name = frames.__name__
    pipeline = make_pipeline(StandardScaler(), classifier()).set_output(transform=name)
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-4, 1e-2]}, cv=2).fit(
        frame(frames), frames.Series(NAMES)
    )
    assert search.best_estimator_[-1].feature_names_in_.tolist() == COLUMNS
    plain = make_pipeline(StandardScaler(), classifier()).set_params(**search.best_params_).fit(X, NAMES)
    np.testing.assert_array_equal(search.predict(frame(frames)), plain.predict(X))


def test_the_columns_names_go_into_onnx(frames, tmp_path):
    model = classifier().fit(frame(frames), frames.Series(NAMES))
    model.to_onnx(tmp_path / "model.onnx")
    notes = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(notes["features"]) == COLUMNS
