"""Fusion: a model's layers lowered to bound operations over buffers that the plan owns. This is what `Trainer.step`
runs.

- Affine and the activation after it are one operation, if that's derivative needs its value alone.
- Whatever produces the gradient of an Affine's output writes its bias gradient, too; the loss adds the last bias
  itself.
- Nothing below the lowest parameters is differentiated.
- Buffers are sized for the largest batch seen; a smaller batch uses their leading rows. After its first step a plan
  allocates nothing that grows with the batch.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from .arena import Arena
from .backend import Array
from .layers import RUNNING_AVERAGE, Activation, Affine, BatchNorm, Dropout, Flatten, Identity, Layer
from .losses import Loss
from .ops import Ops
from .optimizers import Optimizer, OwnOptimizer
from .precision import LossScaling, NarrowParameters, NarrowProducts

Forward = Callable[[Array], Array]
Backward = Callable[[Array, Array, Array], "Array | None"]
"""(gradient of the output, input, output) -> gradient of the input, or None where nothing below needs it."""


class Stage:
    """One or two layers as one step of the plan. This one runs a layer of unknown kind by its own methods."""

    takes_db = False
    """Whether its backward can write the bias gradient of an Affine just below."""
    bias: Layer | None = None
    """The Affine whose bias gradient the stage above should write."""

    def __init__(self, layer: Layer, shape: tuple[int, ...]) -> None:
        self.layer, self.shape = layer, shape

    @property
    def name(self) -> str:
        return repr(self.layer)

    @property
    def has_parameters(self) -> bool:
        return bool(self.layer.params)

    def infer(self, ops: Ops, x: Array) -> Array:
        return self.layer.forward(x, False)

    def forward(self, program: "Program") -> Forward:
        return self.layer.forward

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        layer = self.layer
        return lambda dy, x, y: layer.backward(dy)


class AffineStage(Stage):
    layer: Affine

    def __init__(self, layer: Affine, shape: tuple[int, ...]) -> None:
        super().__init__(layer, shape)
        self.bias = layer if layer.bias else None
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
        self.bias, self.activation, self.db_above = None, activation, True

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
    takes_db = True

    def forward(self, program: "Program") -> Forward:
        op, formula, out = program.ops.activation, self.layer.formula, program.output(self.shape)
        return lambda x: op(formula, x, out=out)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        op, formula = program.ops.activation_backward, self.layer.formula_backward
        out = program.gradient(self.shape)
        return lambda dy, x, y: op(formula, dy, x, y, out=out, db=db)


class BatchNormStage(Stage):
    layer: BatchNorm
    takes_db = True

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


class DropoutStage(Stage):
    layer: Dropout
    takes_db = True

    def forward(self, program: "Program") -> Forward:
        dropout, out = program.ops.dropout, program.output(self.shape)
        factor, row = program.constant(self.layer.training_factor), program.random_row(self.layer)
        mask = program.masks[self] = program.rows(self.shape, "bool")
        return lambda x: dropout(x, program.rng[row], factor, out=out, mask=mask)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        op, out, mask = program.ops.dropout_backward, program.gradient(self.shape), program.masks[self]
        factor = program.constant(self.layer.training_factor)
        return lambda dy, x, y: op(dy, mask, factor, out=out, db=db)


class FlattenStage(Stage):
    def forward(self, program: "Program") -> Forward:
        reshape, shape = program.ops.xp.reshape, (program.n, *self.shape)
        return lambda x: reshape(x, shape)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        reshape = program.ops.xp.reshape
        return lambda dy, x, y: reshape(dy, x.shape)


def lower(layers: Sequence[Layer], shapes: Sequence[tuple[int, ...]]) -> list[Stage]:
    """The stages of a model. shapes: of each layer's output, without the rows."""
    kinds = {BatchNorm: BatchNormStage, Dropout: DropoutStage, Flatten: FlattenStage}
    stages: list[Stage] = []
    work = [(layer, shape) for layer, shape in zip(layers, shapes, strict=True) if type(layer) is not Identity]
    while work:
        layer, shape = work.pop(0)
        if type(layer) is Affine:
            following = work[0][0] if work else None
            if isinstance(following, Activation) and not following.formula_backward.uses("x"):
                stages.append(ActivatedAffineStage(layer, following, work.pop(0)[1]))
            else:
                stages.append(AffineStage(layer, shape))
        elif isinstance(layer, Activation):
            stages.append(ActivationStage(layer, shape))
        else:
            stages.append(kinds.get(type(layer), Stage)(layer, shape))
    for below, above in pairwise(stages):
        if isinstance(below, AffineStage) and below.bias is not None:
            below.db_above = above.takes_db
    if stages and isinstance(stages[-1], AffineStage) and stages[-1].bias is not None:
        stages[-1].by_loss = stages[-1].db_above = True
    return stages


class Plan:
    """The training step of one model, loss and optimizer, for batches of any size."""

    def __init__(
        self,
        arena: Arena,
        stages: Sequence[Stage],
        loss: Loss,
        optimizer: Optimizer,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        precision: str = "float32",
    ) -> None:
        self.arena, self.ops, self.stages, self.loss = arena, arena.ops, tuple(stages), loss
        self.dropouts = [stage.layer for stage in stages if isinstance(stage, DropoutStage)]
        self.state = {slot: arena.buffer() for slot in optimizer.slots}
        self.own = optimizer if isinstance(optimizer, OwnOptimizer) else None
        self.update = optimizer.formula() if self.own is None else None
        self.clip_norm = None if clip_norm is None else self.constant(clip_norm)
        penalised = weight_decay > 0 and not optimizer.decoupled
        self.half_decay = self.constant(0.5 * weight_decay) if penalised else None
        self.precision = precision
        self.narrow = NarrowParameters(self, precision) if precision != "float32" else None
        self.scaling = LossScaling(self) if precision == "float16" else None
        self.capacity = 0
        self._programs: dict[int, Program] = {}

    def constant(self, value: float) -> Array:
        """A 0-d native array in the parameters' dtype."""
        return self.ops.to_device(np.array(value, self.arena.dtype))

    def program(self, n: int) -> "Program":
        """The step for batches of n rows; made once for each n."""
        if n > self.capacity:
            self.capacity = n
            self._programs.clear()
            self._buffers: list[Array] = []
        if n not in self._programs:
            if len(self._programs) >= 8:  # sizes that change all the time: forget the oldest
                del self._programs[next(iter(self._programs))]
            self._programs[n] = Program(self, n)
        return self._programs[n]

    def buffer(self, index: int, size: int, dtype: str) -> Array:
        """The index-th buffer of the plan: `size` elements for each row of the largest batch."""
        if index == len(self._buffers):
            narrow = dtype in ("bfloat16", "float16")
            buffer = self.ops.allocate(size * self.capacity, self.arena.dtype if narrow else dtype)
            self._buffers.append(self.ops.narrow(buffer, dtype) if narrow else buffer)
        return self._buffers[index]

    def penalty(self, loss: Array) -> Array:
        """The loss with weight decay's penalty, 0.5 * weight_decay * sum(W**2)."""
        if self.half_decay is None:
            return loss
        return loss + self.half_decay * self.ops.sum_squares(self.arena.params.buffer[: self.arena.layout.decay])


class Captured:
    """A step that the backend captures at its first call, by the shapes of that call's inputs."""

    def __init__(self, ops: Ops, step: Callable[..., Array]) -> None:
        self._ops = ops
        self._run: Callable[..., Array] | None = None

        def uploading(*inputs: Array) -> Array:
            return step(*(i if isinstance(i, ops.array_type) else ops.to_device(i) for i in inputs))

        self._step = step if ops.on_host else uploading

    def __call__(self, *inputs: Array) -> Array:
        if self._run is None:
            self._run = self._ops.capture(self._step, inputs)
        return self._run(*inputs)


class Program:
    """The step for batches of one size: operations bound to views on the plan's buffers."""

    def __init__(self, plan: Plan, n: int) -> None:
        self.plan, self.n, self.ops = plan, n, plan.ops
        self.running: list[tuple[slice, Array]] = []
        self.masks: dict[Stage, Array] = {}
        self._products: dict[Stage, NarrowProducts] = {}
        self.rng: Array = None
        self.run = Captured(self.ops, self.step)
        """`step`, captured where the backend can do that: one launch on a GPU."""
        self._used = 0
        stages = plan.stages
        widest = max([math.prod(stage.shape) for stage in stages], default=1)
        self._gradients = [self._next_buffer(widest, plan.arena.dtype) for _ in range(2)]
        self._turn = 0
        self.forwards = [stage.forward(self) for stage in stages]
        self.values: list[Array] = [None] * (len(stages) + 1)

        last = stages[-1]
        bias: Layer | None = last.bias if isinstance(last, AffineStage) else None
        self.loss = plan.loss.bound(self.ops, plan.arena.dtype)
        self.dz = self.gradient(last.shape)
        self.bias: Array = None if bias is None else bias.params["b"]
        self.db: Array = None if bias is None else bias.grads["b"]

        # Downwards from the top, as far as there are parameters below or in a stage.
        self.backwards: list[tuple[int, Backward]] = []
        lowest = min((i for i, stage in enumerate(stages) if stage.has_parameters), default=len(stages))
        for i in range(len(stages) - 1, lowest - 1, -1):
            below = stages[i - 1].bias if i > lowest and stages[i].takes_db else None
            db = below.grads["b"] if below is not None else None
            self.backwards.append((i, stages[i].backward(self, db, needs_dx=i > lowest)))

    def _next_buffer(self, size: int, dtype: str) -> Array:
        buffer = self.plan.buffer(self._used, size, dtype)
        self._used += 1
        return buffer

    def _view(self, buffer: Array, shape: tuple[int, ...]) -> Array:
        return self.ops.xp.reshape(buffer[: self.n * math.prod(shape)], (self.n, *shape))

    def rows(self, shape: tuple[int, ...], dtype: str) -> Array:
        """A buffer of its own for a stage: (n, *shape)."""
        return self._view(self._next_buffer(math.prod(shape), dtype), shape)

    def output(self, shape: tuple[int, ...]) -> Array:
        """The buffer of a stage's output: (n, *shape)."""
        return self.rows(shape, self.plan.arena.dtype)

    def gradient(self, shape: tuple[int, ...]) -> Array:
        """A view for the next gradient on its way down, on the other of two buffers than the one before it."""
        self._turn = 1 - self._turn
        return self._view(self._gradients[self._turn], shape)

    def products(self, stage: Stage) -> "Ops | NarrowProducts":
        """Where a stage finds `affine` and `affine_backward`."""
        narrow = self.plan.narrow
        if narrow is None:
            return self.ops
        if stage not in self._products:
            self._products[stage] = NarrowProducts(self, self.plan.precision, narrow.weights(stage.layer))
        return self._products[stage]

    def constant(self, value: float) -> Array:
        return self.plan.constant(value)

    def random_row(self, layer: Dropout) -> int:
        """The row of the step's `rng` that belongs to a layer."""
        return self.plan.dropouts.index(layer)

    def differentiate(self, x: Array, t: Array, rng: Array | None, weight: Array | None = None) -> Array:
        """Forward, loss (0-d, without penalty) and backward: the gradients are in the arena afterwards, times the loss
        scale. weight: (n,), factors of the rows' losses."""
        if self.plan.narrow is not None:
            self.plan.narrow.refresh()
        self.rng = rng
        values = self.values
        values[0] = x
        for i, forward in enumerate(self.forwards):
            values[i + 1] = x = forward(x)
        weights = {} if weight is None else {"weight": weight}
        loss = self.loss(x, t, bias=self.bias, dz=self.dz, db=self.db, **weights)
        dy = self.dz
        if self.plan.scaling is not None:
            self.plan.scaling.scale(self.dz, self.db)
        for i, backward in self.backwards:
            dy = backward(dy, values[i], values[i + 1])
        return loss

    def step(self, x: Array, t: Array, hyper: Array, rng: Array | None = None) -> Array:
        """One update; returns the loss, penalty included: fresh, 0-d. x, t: n rows. hyper, rng: this step's numbers."""
        plan, ops, arena = self.plan, self.ops, self.plan.arena
        loss = guard = self.differentiate(x, t, rng)
        params, grads = arena.params.buffer, arena.grads.buffer
        if plan.half_decay is not None:
            loss = plan.penalty(loss)
        if plan.clip_norm is not None or plan.scaling is not None:
            norm = ops.global_norm(grads)
            if plan.scaling is not None:
                plan.scaling.unscale(hyper, norm)
            if plan.clip_norm is not None:
                ops.clip_(hyper, norm, plan.clip_norm)
            guard = guard + norm
        state = [views.buffer for views in plan.state.values()]
        if plan.own is None:
            ops.update_(plan.update, hyper, params, grads, *state, decay=arena.layout.decay, guard=guard)
        else:
            plan.own.apply(ops, arena.params, arena.grads, hyper, guard)
        for span, constants in self.running:
            ops.update_(RUNNING_AVERAGE, constants, arena.running.buffer[span], arena.batch.buffer[span], guard=guard)
        return loss

    def first_non_finite(self) -> str | None:
        """The name of the first stage whose output in the last step held NaN or infinity."""
        for stage, value in zip(self.plan.stages, self.values[1:], strict=True):
            if not np.isfinite(self.ops.to_host(value)).all():
                return stage.name
        return None


def infer(ops: Ops, stages: Sequence[Stage], x: Array) -> Array:
    """The model's output for x, without dropout, storing nothing: safe from many threads."""
    for stage in stages:
        x = stage.infer(ops, x)
    return x
