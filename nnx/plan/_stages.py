"""Stages: a model's layers as steps of a plan, each bound to operations and buffers.

- Affine and the activation after it are one operation, if the activation's derivative needs its value alone.
- The stage that produces the gradient of an Affine's output also writes the Affine's bias gradient. The loss adds the
  last bias itself.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, TypeGuard, TypeVar

from ..errors import InputTypeError
from ..layers import Activation, Affine, BatchNorm, Dropout, Flatten, Identity, Layer
from ..ops import Array, Ops

if TYPE_CHECKING:
    from ._plan import Program


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
    """Whether its backward can write the bias gradient of an Affine just below: `db`, the column sums of the gradient
    that it returns."""
    owes_db: Layer | None = None
    """The Affine whose bias gradient the stage above is to write."""

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

    def forward(self, program: "Program") -> Forward:
        """Return f(x), bound for batches of one size; `program.output(shape)` is a buffer for the result."""
        layer, checked = self.layer, self._checked
        if not layer.random:
            return lambda x: checked(x, layer.forward(x))
        row = program.random_row(layer)

        def forward(x: Array) -> Array:
            layer.rng = program.rng[row, ...]
            y = layer.forward(x)
            layer.rng = None
            return checked(x, y)

        return forward

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        """Return f(dy, x, y), bound for batches of one size; the parameters' gradients go into `layer.grads`.

        Args:
            program: its `gradient(shape)` is a buffer for the gradient of x.
            db: where to write the bias gradient of the Affine below, if `takes_db`.
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


@stage_of(Affine)
class AffineStage(Stage):
    layer: Affine
    operations_alone = True

    def __init__(self, layer: Affine, shape: tuple[int, ...]) -> None:
        super().__init__(layer, shape)
        self.owes_db = layer if layer.bias else None
        self.by_loss = False
        """The last layer's bias is added by the loss, and its gradient written there."""
        self.db_above = False

    def infer(self, ops: Ops, x: Array) -> Array:
        return ops.affine(x, self.layer.params["W"], self.layer.params.get("b"))

    def forward(self, program: "Program") -> Forward:
        affine, out = program.products(self).affine, program.output(self.shape)
        w, b = self.layer.params["W"], None if self.by_loss else self.layer.params.get("b")
        return lambda x: affine(x, w, b, out=out)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        affine_backward = program.products(self).affine_backward
        w, dw = self.layer.params["W"], self.layer.grads["W"]
        own_db = None if self.db_above else self.layer.grads.get("b")
        dx = program.gradient((w.shape[0],)) if needs_dx else None

        def run(dy: Array, x: Array, y: Array) -> Array | None:
            affine_backward(dy, x, w, dx=dx, dw=dw, db=own_db)
            return dx

        return run


class ActivatedAffineStage(AffineStage):
    def __init__(self, layer: Affine, activation: Activation, shape: tuple[int, ...]) -> None:
        super().__init__(layer, shape)
        self.owes_db, self.activation, self.db_above = None, activation, True

    @property
    def name(self) -> str:
        return f"{self.layer!r}, {self.activation!r}"

    def infer(self, ops: Ops, x: Array) -> Array:
        params = self.layer.params
        return ops.affine(x, params["W"], params.get("b"), activation=self.activation.formula)

    def forward(self, program: "Program") -> Forward:
        affine, out = program.products(self).affine, program.output(self.shape)
        w, b, activation = self.layer.params["W"], self.layer.params.get("b"), self.activation.formula
        return lambda x: affine(x, w, b, activation=activation, out=out)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        op, formula = program.ops.activation_backward, self.activation.formula_backward
        own_db, dz = self.layer.grads.get("b"), program.gradient(self.shape)
        below = super().backward(program, None, needs_dx)
        return lambda dy, x, y: below(op(formula, dy, None, y, out=dz, db=own_db), x, y)


class ActivationStage(Stage):
    layer: Activation
    operations_alone = takes_db = True

    def forward(self, program: "Program") -> Forward:
        op, formula, out = program.ops.activation, self.layer.formula, program.output(self.shape)
        return lambda x: op(formula, x, out=out)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        op, formula = program.ops.activation_backward, self.layer.formula_backward
        out = program.gradient(self.shape)
        return lambda dy, x, y: op(formula, dy, x, y, out=out, db=db)


@stage_of(BatchNorm)
class BatchNormStage(Stage):
    layer: BatchNorm
    operations_alone = takes_db = True

    def forward(self, program: "Program") -> Forward:
        layer, batch_norm, out = self.layer, program.ops.batch_norm, program.output(self.shape)
        gamma, beta, hyper = layer.params["gamma"], layer.params["beta"], layer.hyper
        mean, var = layer.batch["running_mean"], layer.batch["running_var"]
        if program.n > 1:
            program.running.append((layer.span, hyper))
        return lambda x: batch_norm(x, gamma, beta, hyper, out=out, mean=mean, var=var)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        layer, op, out = self.layer, program.ops.batch_norm_backward, program.gradient(self.shape)
        gamma, hyper = layer.params["gamma"], layer.hyper
        mean, var = layer.batch["running_mean"], layer.batch["running_var"]
        dgamma, dbeta = layer.grads["gamma"], layer.grads["beta"]
        return lambda dy, x, y: op(dy, x, gamma, mean, var, hyper, out=out, dgamma=dgamma, dbeta=dbeta, db=db)


@stage_of(Dropout)
class DropoutStage(Stage):
    layer: Dropout
    operations_alone = takes_db = True

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


def lower(layers: Sequence[Layer], shapes: Sequence[tuple[int, ...]]) -> list[Stage]:
    """Make the stages of a model.

    Args:
        layers: the model's.
        shapes: of each layer's output, without the rows.
    """
    stages: list[Stage] = []
    work = [(layer, shape) for layer, shape in zip(layers, shapes, strict=True) if type(layer) is not Identity]
    while work:
        layer, shape = work.pop(0)
        following = work[0][0] if work else None
        if type(layer) is Affine and _fuses(following):
            stages.append(ActivatedAffineStage(layer, following, work.pop(0)[1]))
        else:
            kind = ActivationStage if isinstance(layer, Activation) else Stage
            stages.append(STAGES.get(type(layer), kind)(layer, shape))
    for below, above in pairwise(stages):
        if isinstance(below, AffineStage) and below.owes_db is not None:
            below.db_above = above.takes_db
    if stages and isinstance(stages[-1], AffineStage) and stages[-1].owes_db is not None:
        stages[-1].by_loss = stages[-1].db_above = True
    return stages


def _fuses(layer: Layer | None) -> TypeGuard[Activation]:
    """Return whether the layer can be one operation with the Affine before it, whose own output is then not kept."""
    return isinstance(layer, Activation) and type(layer) not in STAGES and not layer.formula_backward.uses("x")
