"""A network of the book's layers on a plan: scores and gradients, each as one step that a backend may capture."""

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import layers as own
from .._support.arena import Views
from ..errors import InputError
from ..losses import SoftmaxCrossEntropy
from ..model import Sequential
from ..ops import FLOATS, Array, HostArray, Ops, dtype_name
from ..optimizers import SGD
from ..plan import Captured, Plan, Program, Stage, stage_of
from ._arrays import on_host
from .layers import Affine, Convolution, Dropout, Pooling, Relu, Sigmoid

_REMEMBERED = 8
"""Steps that are kept; where the number of rows changes all the time, the oldest goes."""


class _Masked(own.Layer):
    """The book's dropout: x * mask * factor, which are set before each pass."""

    mask: Array = None
    factor: Array = None

    def __init__(self, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio


@stage_of(_Masked)
class _MaskedStage(Stage):
    layer: _Masked
    operations_alone = takes_db = True

    def forward(self, program: Program) -> Any:
        op, out, layer = program.ops.dropout_backward, program.output(self.shape), self.layer
        return lambda x: op(x, layer.mask, layer.factor, out=out)

    def backward(self, program: Program, db: Array | None, needs_dx: bool) -> Any:
        op, out, layer = program.ops.dropout_backward, program.gradient(self.shape), self.layer
        return lambda dy, x, y: op(dy, layer.mask, layer.factor, out=out, db=db)


class Fused:
    """The plan of a network, with parameters of its own.

    Args:
        ops: the operations of the backend in force.
        network: the book's layers; their parameters are copied.
        shape: of one image, (channels, height, width).

    Attributes:
        parameters: W and b of each layer that has them, in order: the plan's own arrays.

    Raises:
        InputError: the layers do not fit each other, or are not of one of the dtypes float32 and float64.
    """

    def __init__(self, ops: Ops, network: Iterable[Any], shape: Sequence[int]) -> None:
        weighted, translated = list[own.Weighted](), list[own.Layer]()
        for layer in network:
            translated += _translated(ops, layer, flat=any(isinstance(one, own.Affine) for one in translated))
            if isinstance(translated[-1], own.Weighted):
                weighted.append(translated[-1])
        dtypes = {dtype_name(array) for layer in weighted for array in layer.params.values()}
        if len(dtypes) != 1 or dtypes.isdisjoint(FLOATS):
            raise InputError(f"got parameters of {', '.join(sorted(dtypes))}, expected float32 or float64.")
        (self.dtype,) = dtypes
        self.shape = tuple(shape)
        self._model = Sequential(*translated).build(self.shape, backend=ops.backend, dtype=self.dtype)
        self._plan = Plan(self._model.arena, self._model.stages, SoftmaxCrossEntropy(), SGD(), guarded=False)
        self._masked = [(i, layer) for i, layer in enumerate(translated) if isinstance(layer, _Masked)]
        self._numbers = [self._plan.constant(1.0), *(self._plan.constant(1 - layer.ratio) for _, layer in self._masked)]
        self._names = [f"{i}." for i, layer in enumerate(translated) if isinstance(layer, own.Weighted)]
        self.parameters = [(layer.params["W"], layer.params["b"]) for layer in weighted]
        self._captured: dict[tuple[Program, bool], Captured] = {}
        self._lock = threading.Lock()
        """Threads that predict at once take turns in the plan's buffers."""

    @property
    def ops(self) -> Ops:
        return self._model.ops

    @property
    def classes(self) -> int:
        return self._model.output_shape[0]

    def copied(self) -> list[tuple[Array, Array]]:
        """Copy the present parameters, in the order of `parameters`."""
        return self._views(self._model.arena.params)

    def _views(self, of: Views) -> list[tuple[Array, Array]]:
        views = Views(self.ops, of.layout, self.ops.xp.asarray(of.buffer, copy=True))
        return [(views[name + "W"], views[name + "b"]) for name in self._names]

    def scores(self, x: Array, *, training: bool) -> Array:
        """Return the scores (n, classes) of images x, as `native` gives them; in training with dropout."""
        with self._lock:
            return self._run(False, [x, *self._dropout(x.shape[0], training)])

    def gradients(self, x: Array, t: HostArray) -> tuple[Array, list[tuple[Array, Array]]] | None:
        """Return the scores in training, and the gradients of the mean loss in the order of `parameters`.

        None where a gradient is not finite: then infinities may meet zeros, where the book's layers select and the
        plan's operations multiply.

        Args:
            x: the images, as `native` gives them.
            t: labels (n,), int64.
        """
        with self._lock:
            scores = self._run(True, [x, t, *self._dropout(x.shape[0], True)])
            grads = self._model.arena.grads
            if not np.isfinite(self.ops.to_host(self.ops.sum_squares(grads.buffer))):
                return None
            return scores, self._views(grads)

    def native(self, x: Any) -> Array:
        """Return images in the dtype and memory order of the plan."""
        ops = self.ops
        if isinstance(x, ops.array_type) and not ops.on_host:
            return ops.xp.asarray(x, dtype=ops.dtypes[self.dtype])
        return ops.to_device(np.ascontiguousarray(on_host(ops, x), self.dtype))

    def _dropout(self, n: int, training: bool) -> list[Array]:
        """Draw the masks of n rows from NumPy's global generator, in the order of the layers; with their factors."""
        inputs: list[Array] = []
        for place, (i, layer) in enumerate(self._masked, 1):
            shape = (n, *self._model.shapes[i])
            mask = np.random.random_sample(shape) > layer.ratio if training else np.ones(shape, bool)
            inputs += [mask, self._numbers[0 if training else place]]
        return inputs

    def _run(self, backward: bool, inputs: list[Array]) -> Array:
        plan, n = self._plan, inputs[0].shape[0]
        if n > plan.capacity:
            self._captured.clear()
        program = plan.program(n)
        captured = self._captured.get((program, backward))
        if captured is None:
            if len(self._captured) >= _REMEMBERED:
                del self._captured[next(iter(self._captured))]
            step = self._differentiate(program) if backward else self._forward(program)
            captured = self._captured[program, backward] = Captured(self.ops, step, capture=plan.capturable)
        with np.errstate(all="ignore"):
            captured(*inputs)
        y = self.ops.xp.asarray(program.values[-1], copy=True)
        return y if program.bias is None else y + program.bias  # the loss adds a last bias itself

    def _set(self, dropout: Sequence[Array]) -> None:
        for k, (_, layer) in enumerate(self._masked):
            layer.mask, layer.factor = dropout[2 * k : 2 * k + 2]

    def _differentiate(self, program: Program) -> Any:
        def step(x: Array, t: Array, *dropout: Array) -> Array:
            self._set(dropout)
            return program.differentiate(x, t, None)

        return step

    def _forward(self, program: Program) -> Any:
        def step(x: Array, *dropout: Array) -> Array:
            self._set(dropout)
            for i, forward in enumerate(program.forwards):
                x = program.values[i + 1] = forward(x)
            return self.ops.sum_squares(x)  # a step returns a number

        return step


def _translated(ops: Ops, layer: Any, *, flat: bool) -> list[own.Layer]:
    """Return nnx's layers for one of the book's; `flat` if its inputs are rows already."""
    if type(layer) is Convolution:
        return [own.Convolution(layer.W, layer.b, layer.stride, layer.pad)]
    if type(layer) is Affine:
        return [*([] if flat else [own.Flatten()]), own.Affine(layer.W, layer.b)]
    if type(layer) is Pooling and layer.pad == 0:
        return [own.MaxPooling((layer.pool_h, layer.pool_w), layer.stride)]
    if type(layer) is Dropout:
        return [_Masked(layer.dropout_ratio)]
    if type(layer) in (Relu, Sigmoid):
        return [own.ReLU() if type(layer) is Relu else own.Sigmoid()]
    raise InputError(f"{layer!r}: no plan is made of it.")
