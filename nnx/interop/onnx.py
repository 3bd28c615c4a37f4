"""Networks to ONNX (https://onnx.ai): the graph that predicts, for any runtime."""

import importlib.util
import math
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from .._support.checks import check_path
from .._support.files import write_atomically
from .._support.pages import see
from ..errors import InputError, InputTypeError
from ..formula import Formula
from ..layers import (
    Activation,
    Affine,
    AveragePooling,
    BatchNorm,
    Convolution,
    Dropout,
    Flatten,
    GlobalAveragePooling,
    Identity,
    Layer,
    LayerNorm,
    MaxPooling,
    Pooling,
    ReLU,
)
from ..model import Sequential
from ..ops import HostArray

_OPSET, _IR_VERSION = 17, 8  # of 2022: what runtimes of today read, and all that these layers need
_CONVERTED = (
    Affine, Convolution, MaxPooling, AveragePooling, GlobalAveragePooling, BatchNorm, Dropout, Flatten, Identity,
    LayerNorm,
)  # fmt: skip
_OPERATIONS = {
    "+": "Add", "-": "Sub", "*": "Mul", "/": "Div", "neg": "Neg", "maximum": "Max", "minimum": "Min", "where": "Where",
    "<": "Less", "<=": "LessOrEqual", ">": "Greater", ">=": "GreaterOrEqual",
}  # fmt: skip
"""Operations of formulas by ONNX's names; the others have the same but for the capital letter."""
_LARGEST = 2**31 - 2**20  # bytes: a protobuf file holds 2 GiB at most


def to_onnx(model: Sequential, path: "str | os.PathLike[str]", metadata: Mapping[str, str] | None = None) -> None:
    """Write a model to an ONNX file; see `Sequential.to_onnx`."""
    path, metadata = check_path("path", path), check_metadata(metadata)
    graph = Graph(model)
    graph.add_layers()
    save(graph.finish(), path, metadata)


def save(graph: Any, path: Path, metadata: Mapping[str, str]) -> None:
    """Write a graph to a file, atomically, with metadata beside the version of nnx.

    Args:
        graph: what `Graph.finish` gave.
        path: the file.
        metadata: strings by name.
    """
    import onnx

    notes = {**metadata, "nnx": version("nnx-array")}
    result = make_model(graph, producer_name="nnx", producer_version=notes["nnx"])
    onnx.helper.set_model_props(result, notes)
    onnx.checker.check_model(result, full_check=True)
    write_atomically(path, result.SerializeToString())


def make_model(graph: Any, **description: str) -> Any:
    """Make an `onnx.ModelProto` of a graph."""
    import onnx

    opset = onnx.helper.make_opsetid("", _OPSET)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=_IR_VERSION, **description)


def check_metadata(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Return a copy of what is a dictionary of strings, empty for None; raise for anything else."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping) or not all(
        isinstance(text, str) for item in metadata.items() for text in item
    ):
        raise InputTypeError(f"metadata: got {metadata!r}, expected a dictionary of strings.")
    return dict(metadata)


def _window(layer: Convolution | Pooling) -> dict[str, Any]:
    """Return the attributes that tell size, stride and padding."""
    return {"kernel_shape": layer.window, "strides": layer.steps, "pads": 2 * layer.margin}


class Graph:
    """A graph under construction: nodes one after another, from the input to the outputs.

    Args:
        model: a built model.
        x: the input's name.

    Raises:
        InputError: onnx is missing, or the parameters take more than 2 GiB.
    """

    def __init__(self, model: Sequential, x: str = "x") -> None:
        if importlib.util.find_spec("onnx") is None:
            raise InputError("to_onnx: needs the package onnx, which is not installed; pip install 'nnx-array[onnx]'.")
        count = sum(math.prod(array.shape) for layer in model for array in (layer.params | layer.running).values())
        size = count * np.dtype(model.dtype).itemsize
        if size > _LARGEST:
            raise InputError(f"to_onnx: the parameters take {size / 2**30:.2f} GiB, more than an ONNX file holds (2).")
        self._model, self._dtype, self._x = model, np.dtype(model.dtype), x
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self.last = x
        """The name of the value that the last node gives."""

    def append(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Append a node; return the name of its output."""
        from onnx import helper

        self._nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        self.last = output
        return output

    def constant(self, name: str, array: HostArray) -> str:
        """Add an array; return its name."""
        from onnx import numpy_helper

        self._initializers.append(numpy_helper.from_array(array, name))
        return name

    def add_layers(self) -> None:
        """Append the nodes of all layers of the model."""
        for i, layer in enumerate(self._model.layers):
            self._add(i, layer)

    def _add(self, index: int, layer: Layer) -> None:
        """Append the nodes that do what a layer does in prediction."""
        kind: Any = type(layer)  # a subclass may do something else
        by_formula = isinstance(layer, Activation) and kind.forward is Activation.forward
        if not by_formula and kind not in _CONVERTED:
            known = ", ".join(["an activation by a formula", *(cls.__name__ for cls in _CONVERTED)])
            raise InputError(
                f"to_onnx: layer {index}, {layer!r}: has no known equal in ONNX; expected one of {known}. "
                f"{see('interop')}"
            )
        arrays = {n: self._model.ops.to_host(a) for n, a in (layer.params | layer.running).items()}
        if kind is ReLU:
            self._node(index, "Relu", {})
        elif isinstance(layer, Activation):
            if not layer.formula.uses("x"):
                raise InputError(f"to_onnx: layer {index}, {layer!r}: its value does not depend on its input.")
            self._formula(index, layer.formula)
        elif kind is Affine:
            self._node(index, "Gemm", arrays)
        elif isinstance(layer, Convolution):
            self._node(index, "Conv", arrays, **_window(layer))
        elif isinstance(layer, MaxPooling):
            self._node(index, "MaxPool", {}, **_window(layer))
        elif isinstance(layer, AveragePooling):
            self._node(index, "AveragePool", {}, count_include_pad=1, **_window(layer))
        elif isinstance(layer, GlobalAveragePooling):
            self._node(index, "GlobalAveragePool", {})
            self._node(index, "Flatten", {}, axis=1)
        elif kind is Flatten:
            self._node(index, "Flatten", {}, axis=1)
        elif isinstance(layer, BatchNorm):
            # ONNX keeps epsilon in float32; what the rounding takes away is added to the variance.
            rest = layer.eps - float(np.float32(layer.eps))
            arrays["running_var"] = arrays["running_var"] + np.array(rest, self._dtype)
            self._node(index, "BatchNormalization", arrays, epsilon=layer.eps)
        elif isinstance(layer, LayerNorm):
            self._node(index, "LayerNormalization", arrays, axis=-1, epsilon=layer.eps)
        elif isinstance(layer, Dropout) and layer.inference_factor != 1.0:
            self._node(index, "Mul", {"factor": np.array(layer.inference_factor, self._dtype)})

    def _formula(self, index: int, formula: Formula) -> None:
        """Append a node for each instruction of an activation's formula, whose value is the last one's result."""
        names: dict[str | float, str] = {"x": self.last}

        def of(a: str | float) -> str:
            if a not in names:  # a number
                names[a] = self.constant(f"{index}.{len(names)}", np.array(a, self._dtype))
            return names[a]

        def append(result: str, op: str, *given: str) -> None:
            names[result] = self.append(op, given, f"{index}.{formula.name}.{result}")

        for result, op, args in formula.instructions:
            if op == "log1p":  # ONNX has none
                append(f"{result}+1", "Add", of(args[0]), of(1.0))
                append(result, "Log", names[f"{result}+1"])
            else:
                append(result, _OPERATIONS.get(op, op.capitalize()), *map(of, args))
        self.last = names[formula.results[0]]

    def _node(self, index: int, op: str, arrays: dict[str, HostArray], **attributes: Any) -> None:
        names = [self.constant(f"{index}.{name}", array) for name, array in arrays.items()]
        self.append(op, [self.last, *names], f"{index}.{op}", **attributes)

    def finish(self, outputs: "Mapping[str, tuple[Any, tuple[int, ...]]] | None" = None) -> Any:
        """Return the whole graph, for any number of rows.

        Args:
            outputs: by name, the dtype and the shape of a row; None: the last value, as "y".
        """
        from onnx import helper

        if outputs is None:
            if not self._nodes:
                self._node(0, "Identity", {})
            self._nodes[-1].output[0] = "y"
            outputs = {"y": (self._dtype, self._model.output_shape)}
        values = {self._x: (self._dtype, self._model.input_shape), **outputs}
        x, *rest = (
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["n", *shape])
            for name, (dtype, shape) in values.items()
        )
        return helper.make_graph(self._nodes, "nnx", [x], rest, self._initializers)
