"""Stages: a model's layers as steps of a plan, each bound to operations and buffers.

- A product and the activation after it are one operation, if the activation's derivative needs its value alone.
- The stage that produces the gradient of a product also writes its bias gradient. The loss adds the last bias itself.
- Between layers of pictures the channels are last, so that bias, normalization and column sums are those of matrices.
"""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from ..errors import InputTypeError
from ..formula import Formula
from ..layers import (
    Activation,
    Affine,
    BatchNorm,
    Dropout,
    Flatten,
    Layer,
    Weighted,
)
from ..ops import Array, Ops

if TYPE_CHECKING:
    from ._plan import Program
    from ._precision import NarrowProducts


Forward = Callable[[Array], Array]
Backward = Callable[[Array, Array, Array], "Array | None"]
"""(gradient of the output, input, output) -> gradient of the input, or None where nothing below needs it."""


class Stage:
    """One or two layers as one step of the plan. This class runs a layer by its own methods.

    For a layer of one's own, a subclass gives `forward` and `backward` on the plan's buffers, and `infer`;
    `nnx.plan.stage_of(MyLayer)` before the class makes plans use it.

    Args:
        layer: the layer, or the first of two.
        shape: of the output, without the rows.
    """

    operations_alone = False
    """Whether its forward and backward call the program's operations and do nothing else to arrays."""
    takes_db = False
    """Whether its backward can write the bias gradient of a layer below: `db`, the sums of the gradient that it returns
    over all axes but the last."""
    owes_db: Layer | None = None
    """The layer whose bias gradient a stage above is to write."""
    keeps_sums = False
    """Whether its backward leaves the sums of a gradient over all axes but the last as they are."""
    bias_below: Layer | None = None
    """The layer whose bias gradient it writes, if it `takes_db`."""
    channels_last: bool | None = False
    """Whether pictures that it takes and gives have the channels last, (n, h, w, c), not first; None: either way."""
    input_shape: tuple[int, ...]
    """The shape of its input, without the rows."""

    def __init__(self, layer: Layer, shape: tuple[int, ...]) -> None:
        self.layer, self.shape = layer, shape

    @property
    def name(self) -> str:
        return repr(self.layer)

    @property
    def has_parameters(self) -> bool:
        return bool(self.layer.params)

    @property
    def capturable(self) -> bool:
        """Whether it may be recorded: a subclass always, a layer run by its own methods if it says so."""
        return type(self) is not Stage or self.layer.capturable

    def infer(self, ops: Ops, x: Array) -> Array:
        """Return the output for x, (n, ...), in prediction; store nothing."""
        return self._checked(x, self.layer.forward(x, False))

    def _checked(self, x: Array, y: Array) -> Array:
        return self.layer.check_output("forward", y, (x.shape[0], *self.shape), "declare said")

    def of_twins(self, twin: Callable[[Layer], Layer]) -> "Stage":
        """Return the same stage of other layers: `twin` gives the one for each."""
        other = copy.copy(self)
        other.layer = twin(self.layer)
        other.owes_db = None if self.owes_db is None else twin(self.owes_db)
        other.bias_below = None if self.bias_below is None else twin(self.bias_below)
        return other

    def forward(self, program: "Program") -> Forward:
        """Return f(x), bound for batches of one size; `program.output(shape)` is a buffer for the result."""
        layer, checked = self.layer, self._checked
        if not layer.random:
            return lambda x: checked(x, layer.forward(x))
        row = program.random_row(layer)

        def forward(x: Array) -> Array:
            layer.use_key(program.rng[row, ...], program.n)
            y = layer.forward(x)
            layer.use_key(None)
            return checked(x, y)

        return forward

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        """Return f(dy, x, y), bound for batches of one size; the parameters' gradients go into `layer.grads`.

        Args:
            program: its `gradient(shape)` is a buffer for the gradient of x.
            db: where to write the bias gradient of the product below, if `takes_db`; None: nowhere.
            needs_dx: whether f must return the gradient of x.
        """
        layer = self.layer

        def run(dy: Array, x: Array, y: Array) -> Array | None:
            dx = layer.backward(dy)
            return layer.check_output("backward", dx, tuple(x.shape), "its input was") if needs_dx else None

        return run


STAGES: dict[type[Layer], type[Stage]] = {}
"""By the very class of the layer: a subclass may do something else."""

S = TypeVar("S", bound=type[Stage])


def stage_of(layer: type[Layer]) -> Callable[[S], S]:
    """Make the decorated class the stage by which plans run layers of the given class, subclasses not included."""
    if not (isinstance(layer, type) and issubclass(layer, Layer)):
        raise InputTypeError(f"stage_of: got {layer!r}, expected a class of layers.")

    def enter(stage: S) -> S:
        STAGES[layer] = stage
        return stage

    return enter


class ProductStage(Stage):
    """A layer with weights and perhaps a bias, and the activation after it, if its derivative needs its value alone."""

    layer: Weighted
    operations_alone = True

    def __init__(self, layer: Weighted, shape: tuple[int, ...], activation: Activation | None = None) -> None:
        super().__init__(layer, shape)
        self.activation = activation
        self.owes_db = layer if layer.bias and activation is None else None
        self.by_loss = False
        """The last layer's bias is added by the loss, and its gradient written there."""
        self.db_above = activation is not None

    @property
    def name(self) -> str:
        return repr(self.layer) if self.activation is None else f"{self.layer!r}, {self.activation!r}"

    @property
    def formula(self) -> Formula | None:
        return None if self.activation is None else self.activation.formula

    def product(self, ops: "Ops | NarrowProducts") -> Callable[..., Array]:
        """Return the operation, of inputs, weights and bias."""
        return ops.affine

    def product_backward(self, ops: "Ops | NarrowProducts") -> Callable[..., None]:
        return ops.affine_backward

    def operations(self, program: "Program") -> "Ops | NarrowProducts":
        return program.products(self)

    def infer(self, ops: Ops, x: Array) -> Array:
        params = self.layer.params
        return self.product(ops)(x, params["W"], params.get("b"), activation=self.formula)

    def forward(self, program: "Program") -> Forward:
        product, out, formula = self.product(self.operations(program)), program.output(self.shape), self.formula
        w, b = self.layer.params["W"], None if self.by_loss else self.layer.params.get("b")
        return lambda x: product(x, w, b, activation=formula, out=out)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        product_backward, grads = self.product_backward(self.operations(program)), self.layer.grads
        w, dw, bias = self.layer.params["W"], grads["W"], grads.get("b")
        own_db = None if self.db_above else bias
        dz = None if self.activation is None else program.gradient(self.shape)
        dx = program.gradient(self.input_shape) if needs_dx else None

        def run(dy: Array, x: Array, y: Array) -> Array | None:
            product_backward(dy, x, w, dx=dx, dw=dw, db=own_db)
            return dx

        if self.activation is None:
            return run
        op, formula = program.ops.activation_backward, self.activation.formula_backward
        return lambda dy, x, y: run(op(formula, dy, None, y, out=dz, db=bias), x, y)


@stage_of(Affine)
class AffineStage(ProductStage):
    pass


class ActivationStage(Stage):
    layer: Activation
    operations_alone = takes_db = True
    channels_last = None

    def forward(self, program: "Program") -> Forward:
        op, formula, out = program.ops.activation, self.layer.formula, program.output(self.shape)
        return lambda x: op(formula, x, out=out)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        op, formula = program.ops.activation_backward, self.layer.formula_backward
        out = program.gradient(self.shape)
        return lambda dy, x, y: op(formula, dy, x, y, out=out, db=db)


@stage_of(BatchNorm)
class BatchNormStage(Stage):
    """Batch normalization; of pictures the pixels are the rows."""

    layer: BatchNorm
    operations_alone = takes_db = channels_last = True

    def infer(self, ops: Ops, x: Array) -> Array:
        layer, rows = self.layer, ops.xp.reshape(x, (-1, self.shape[-1]))
        mean, var = layer.running["running_mean"], layer.running["running_var"]
        y = ops.batch_norm_inference(rows, layer.params["gamma"], layer.params["beta"], mean, var, layer.hyper)
        return ops.xp.reshape(y, x.shape)

    def forward(self, program: "Program") -> Forward:
        layer, batch_norm, reshape = self.layer, program.ops.batch_norm, program.ops.xp.reshape
        gamma, beta, hyper = layer.params["gamma"], layer.params["beta"], layer.hyper
        mean, var = layer.batch["running_mean"], layer.batch["running_var"]
        y = program.output(self.shape)
        out = reshape(y, (-1, self.shape[-1]))
        if out.shape[0] > 1:
            program.running.append((layer.span, hyper))

        def forward(x: Array) -> Array:
            batch_norm(reshape(x, out.shape), gamma, beta, hyper, out=out, mean=mean, var=var)
            return y

        return forward

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        layer, op, reshape = self.layer, program.ops.batch_norm_backward, program.ops.xp.reshape
        gamma, hyper = layer.params["gamma"], layer.hyper
        mean, var = layer.batch["running_mean"], layer.batch["running_var"]
        dgamma, dbeta = layer.grads["gamma"], layer.grads["beta"]
        dx = program.gradient(self.shape)
        out = reshape(dx, (-1, self.shape[-1]))
        rows = out.shape

        def backward(dy: Array, x: Array, y: Array) -> Array:
            dy, x = reshape(dy, rows), reshape(x, rows)
            op(dy, x, gamma, mean, var, hyper, out=out, dgamma=dgamma, dbeta=dbeta, db=db)
            return dx

        return backward


@stage_of(Dropout)
class DropoutStage(Stage):
    layer: Dropout
    operations_alone = takes_db = channels_last = True

    def forward(self, program: "Program") -> Forward:
        dropout, out = program.ops.dropout, program.output(self.shape)
        factor, row = program.constant(self.layer.training_factor), program.random_row(self.layer)
        mask = program.masks[self] = program.rows(self.shape, "bool")
        return lambda x: dropout(x, program.rng[row, ...], factor, out=out, mask=mask)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        op, out, mask = program.ops.dropout_backward, program.gradient(self.shape), program.masks[self]
        factor = program.constant(self.layer.training_factor)
        return lambda dy, x, y: op(dy, mask, factor, out=out, db=db)


@stage_of(Flatten)
class FlattenStage(Stage):
    operations_alone = True

    def forward(self, program: "Program") -> Forward:
        reshape, shape = program.ops.xp.reshape, (program.n, *self.shape)
        return lambda x: reshape(x, shape)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        reshape = program.ops.xp.reshape
        return lambda dy, x, y: reshape(dy, x.shape)
