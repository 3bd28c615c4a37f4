"""Estimators to ONNX: as files, and within skl2onnx's conversion of pipelines."""

import importlib.util
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._support.checks import check_path
from ..errors import InputError
from ..interop.onnx import Graph, check_metadata, make_model, save
from ..losses import MeanSquaredError
from ..ops import FLOATS, HostArray
from ..optimizers import SGD
from ._network import Network

_ACTIVATIONS = {
    "softmax": "Softmax", "logistic": "Sigmoid", "exp": "Exp", "identity": "Identity", "tanh": "Tanh", "relu": "Relu",
}  # fmt: skip
"""ONNX's names of what `out_activation_` may be."""


def to_onnx(estimator: Any, path: "str | os.PathLike[str]", metadata: Mapping[str, str] | None) -> None:
    """See `BaseMLP.to_onnx`."""
    notes, file = check_metadata(metadata), check_path("path", path)
    weights = estimator._weights()
    dtype = estimator._dtype() or (weights.dtype if weights.dtype in FLOATS else "float64")
    graph = _graph(estimator, dtype)
    if hasattr(estimator, "classes_"):
        notes.setdefault("classes", json.dumps(np.asarray(estimator.classes_).tolist()))
    if hasattr(estimator, "feature_names_in_"):
        notes.setdefault("features", json.dumps(estimator.feature_names_in_.tolist()))
    save(graph, file, notes)


def _graph(estimator: Any, dtype: str, *, cast: bool = False) -> Any:
    """Make the graph from "X" to "label" and "probabilities", or of a regressor to "variable".

    Args:
        estimator: with weights.
        dtype: to compute in, "float32" or "float64".
        cast: whether X may have another dtype.
    """
    model = Network(
        estimator._weights(), dtype=dtype, activation=estimator.activation, loss=MeanSquaredError(), optimizer=SGD(),
        dropout=0.0, sparse=False, backend="numpy",
    ).model  # fmt: skip
    graph = Graph(model, "X")
    if cast:
        from onnx import helper

        graph.append("Cast", ["X"], "rows", to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    graph.add_layers()
    out, n = estimator.out_activation_, estimator.n_outputs_
    attributes = {"axis": 1} if out == "softmax" else {}
    if not hasattr(estimator, "predict_proba"):
        graph.append(_ACTIVATIONS[out], [graph.last], "variable", **attributes)
        return graph.finish({"variable": (dtype, (n,))})
    name = "positive" if n == 1 else "probabilities"
    graph.append(_ACTIVATIONS[out], [graph.last], name, **attributes)
    if n == 1:
        graph.append("Sub", [graph.constant("one", np.ones((1, 1), dtype)), name], "negative")
        graph.append("Concat", ["negative", name], "probabilities", axis=1)
    if estimator._label_binarizer.y_type_.startswith("multilabel"):
        graph.append("Greater", ["probabilities", graph.constant("half", np.array(0.5, dtype))], "holds")
        graph.append("Cast", ["holds"], "label", to=7)  # int64
        return graph.finish({"label": (np.int64, (n,)), "probabilities": (dtype, (n,))})
    names = _names(estimator._label_binarizer.classes_)
    graph.append("ArgMax", ["probabilities"], "index", axis=1, keepdims=0)
    graph.append("Gather", [graph.constant("classes", names), "index"], "label")
    return graph.finish({"label": (names.dtype, ()), "probabilities": (dtype, (len(names),))})


def _names(classes: HostArray) -> HostArray:
    """Return the classes as ONNX has labels: as int64 or text (scikit-learn takes floats that are whole)."""
    return classes.astype(np.int64 if classes.dtype.kind in "iubf" else object)


def register_skl2onnx() -> None:
    """Register a converter for the estimators with skl2onnx, whose `to_onnx` then takes pipelines that hold them.

    Outputs are those of scikit-learn's own MLP there, and so are the options "zipmap" and "output_class_labels"; batch
    normalization, `loss="poisson"` and several outputs of a regressor are converted, too.

    Raises:
        InputError: skl2onnx is missing.
    """
    if importlib.util.find_spec("skl2onnx") is None:
        raise InputError("register_skl2onnx: needs skl2onnx, which is not installed; pip install skl2onnx.")
    from skl2onnx import update_registered_converter
    from skl2onnx.common.data_types import DoubleTensorType
    from skl2onnx.common.shape_calculator import (
        calculate_linear_classifier_output_shapes,
        calculate_linear_regressor_output_shapes,
    )

    from ._classifier import MLPClassifier
    from ._regressor import MLPRegressor

    def convert(scope: Any, operator: Any, container: Any) -> None:
        from skl2onnx.helpers.integration import add_onnx_graph

        dtype = "float64" if isinstance(operator.inputs[0].type, DoubleTensorType) else "float32"
        add_onnx_graph(scope, operator, container, make_model(_graph(operator.raw_operator, dtype, cast=True)))

    def classifier_shapes(operator: Any) -> None:
        calculate_linear_classifier_output_shapes(operator)
        estimator = operator.raw_operator
        if estimator._label_binarizer.y_type_.startswith("multilabel"):
            operator.outputs[0].type.shape = operator.outputs[1].type.shape

    def regressor_shapes(operator: Any) -> None:
        calculate_linear_regressor_output_shapes(operator)
        operator.outputs[0].type.shape = [operator.inputs[0].get_first_dimension(), operator.raw_operator.n_outputs_]

    options = {"zipmap": [True, False, "columns"], "output_class_labels": [False, True], "nocl": [False]}
    update_registered_converter(MLPClassifier, "NnxMLPClassifier", classifier_shapes, convert, options=options)
    update_registered_converter(MLPRegressor, "NnxMLPRegressor", regressor_shapes, convert)
