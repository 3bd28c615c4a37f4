"""scikit-learn's multilayer perceptrons on nnx's fused steps: `from nnx.sklearn import MLPClassifier, MLPRegressor`."""

from importlib.util import find_spec

if find_spec("sklearn") is None:
    raise ImportError("nnx.sklearn needs scikit-learn; pip install 'nnx-array[sklearn]'.")

from ._classifier import MLPClassifier
from ._onnx import register_skl2onnx
from ._regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "register_skl2onnx"]
