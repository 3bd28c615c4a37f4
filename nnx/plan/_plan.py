"""A model's stages bound to operations over buffers that the plan owns. This is what `Trainer.step` runs.

- Nothing below the lowest parameters is differentiated.
- Buffers are sized for the largest batch seen; a smaller batch uses their leading rows. After its first step a plan
  allocates nothing that grows with the batch.
"""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .._support.arena import Arena
from ..errors import CaptureWarning
from ..layers import RUNNING_AVERAGE, Layer
from ..losses import Loss
from ..ops import Array, HostArray, Ops
from ..optimizers import Optimizer, OwnOptimizer
from ._pictures import TurnStage
from ._precision import LossScaling, NarrowParameters, NarrowProducts
from ._stages import Backward, ProductStage, Stage

_SMALL = 2**17
"""Elements of a gradient, for the largest batch, up to which it has memory of its own."""


class Plan:
    """The training step of one model, loss and optimizer, for batches of any size.

    Args:
        arena: the model's parameters and gradients.
        stages: the model's, as `lower` made them.
        loss: the loss.
        optimizer: the optimizer.
        clip_norm: gradients of a greater Euclidean norm are scaled down to it.
        precision: "float32", or the 16-bit format that products are rounded to.
        guarded: whether a step whose loss is not finite leaves the parameters as they are.
        report: makes of a step's loss and `hyper` what the step returns, where that is not the loss itself.
    """

    def __init__(
        self,
        arena: Arena,
        stages: Sequence[Stage],
        loss: Loss,
        optimizer: Optimizer,
        *,
        clip_norm: float | None = None,
        precision: str = "float32",
        guarded: bool = True,
        report: Callable[[Array, Array], Array] | None = None,
    ) -> None:
        self.arena, self.ops, self.stages, self.loss = arena, arena.ops, tuple(stages), loss
        self.host_dtype = np.dtype(arena.dtype)
        self.random = [stage.layer for stage in stages if stage.layer.random]
        """The layers with randomness, in the order of their keys."""
        self.state = self._new_state(optimizer.slots)
        self.own = optimizer if isinstance(optimizer, OwnOptimizer) else None
        self.update = None if self.own is not None else optimizer.formula()
        self.clip_norm = None if clip_norm is None else self.constant(clip_norm)
        self.guarded, self.report = guarded, report
        self.precision = precision
        self.narrow = NarrowParameters(self, precision) if precision != "float32" else None
        self.scaling = LossScaling(self) if precision == "float16" else None
        self.capturable = self._is_capturable()
        """Whether a step may be recorded once and launched from then on."""
        self.lanes: Sequence[Plan] = ()
        """Plans of the parts of a step; none where it is done as a whole."""
        self.forget(0)

    def _new_state(self, slots: Sequence[str]) -> Mapping[str, Any]:
        return {slot: self.arena.buffer() for slot in slots}

    def _is_capturable(self) -> bool:
        if self.own is not None:
            return False
        unknown = [stage.name for stage in self.stages if not stage.capturable]
        unknown += [] if self.loss.capturable else [repr(self.loss)]
        if self.ops.records_operations_alone:
            return True
        if unknown and "capture" in self.ops.explain().fused:
            warnings.warn(
                f"{unknown[0]}: the backend {self.ops.backend.name!r} does not record steps with a part that it does "
                "not know, and runs them launch by launch, more slowly. If its forward and backward do the same "
                "operations on arrays at every step, and nothing else, say so: capturable = True in its class.",
                CaptureWarning,
                stacklevel=5,
            )
        return not unknown

    def constant(self, value: float) -> Array:
        """Make a 0-d native array in the parameters' dtype."""
        return self.ops.to_device(np.array(value, self.arena.dtype))

    def program(self, n: int) -> "Program":
        """Return the step for batches of n rows, made when n is first seen."""
        if n > self.capacity:
            self.forget(n)
        if n not in self._programs:
            if len(self._programs) >= 8:  # sizes that change all the time: forget the oldest
                del self._programs[next(iter(self._programs))]
            self._programs[n] = self._new_program(n)
        return self._programs[n]

    def forget(self, capacity: int) -> None:
        """Let go of all programs and buffers; the next ones are for batches of up to so many rows."""
        self.capacity = capacity
        self._programs: dict[int, Program] = {}
        self._buffers: list[Array] = []

    def _new_program(self, n: int) -> "Program":
        return Program(self, n)

    def own_rows(self, n: int) -> slice:
        """Return which rows of a batch of n this process computes."""
        return slice(0, n)

    def buffer(self, index: int, size: int, dtype: str) -> Array:
        """Return the index-th buffer of the plan: `size` elements for each row of the largest batch."""
        if index == len(self._buffers):
            narrow = dtype in ("bfloat16", "float16")
            buffer = self.ops.allocate(size * self.capacity, self.arena.dtype if narrow else dtype)
            self._buffers.append(self.ops.narrow(buffer, dtype) if narrow else buffer)
        return self._buffers[index]

    def keys(self, seed: int, step: int, n: int = 1) -> HostArray | None:
        """Return the random keys of a step on n rows, uint32 (layers with randomness, 7); None without such layers."""
        return np.stack([layer.random_key(seed, step) for layer in self.random]) if self.random else None

    def state_arrays(self) -> Mapping[str, Mapping[str, Array]]:
        """Return the optimizer's state: by slot an array for each parameter."""
        return self.state

    def put_state(self, state: Mapping[str, Mapping[str, HostArray]]) -> None:
        """Take over an optimizer's state, by slot an array for each parameter."""
        for slot, arrays in state.items():
            for name, array in arrays.items():
                self.state[slot][name] = array

    def limited(self, loss: Array, hyper: Array, norm: Callable[[], Array]) -> Array | None:
        """Make the optimizer clip the gradients and take out the loss scale, if it is to.

        Args:
            loss: 0-d.
            hyper: the optimizer's scalars, which are changed.
            norm: computes the norm of the gradients, if it is needed.

        Returns:
            The guard of the update.
        """
        guard = loss
        if self.clip_norm is not None or self.scaling is not None:
            length = norm()
            if self.scaling is not None:
                self.scaling.unscale(hyper, length)
            if self.clip_norm is not None:
                self.ops.clip_(hyper, length, self.clip_norm)
            guard = guard + length
        return guard if self.guarded else None

    def move_running(self, running: Sequence[tuple[slice, Array]], guard: Array | None) -> None:
        """Take the batch statistics at these places into the running ones."""
        arena = self.arena
        for span, constants in running:
            of_all, of_batch = arena.running.buffer[span], arena.batch.buffer[span]
            self.ops.update_(RUNNING_AVERAGE, constants, of_all, of_batch, guard=guard)

    def update_by_own(self, hyper: Array, guard: Array | None) -> bool:
        """Update by a user's own `update(params, grads)`, which knows of neither weight decay nor scales.

        Returns whether the update was done: not if `guard` is not finite.
        """
        arena, to_host = self.arena, self.ops.to_host
        if guard is not None and not np.isfinite(to_host(guard)):
            return False
        decay, scale = (float(number) for number in to_host(hyper)[-2:])
        params, grads, decayed = arena.params.buffer, arena.grads.buffer, arena.layout.decay
        if scale != 1:
            grads[...] = grads * hyper[-1]
        if decay:
            grads[:decayed] = grads[:decayed] + hyper[-2] * params[:decayed]
        assert self.own is not None
        self.own.update(arena.params, arena.grads)
        return True

    def sum_squares(self) -> Array:
        """Return the sum of the squares of all parameters under weight decay, 0-d."""
        return self.ops.sum_squares(self.arena.params.buffer[: self.arena.layout.decay])


class Program:
    """The step for batches of one size: operations bound to views on the plan's buffers."""

    def __init__(self, plan: Plan, n: int) -> None:
        self.plan, self.n, self.ops = plan, n, plan.ops
        self.running: list[tuple[slice, Array]] = []
        self.masks: dict[Stage, Array] = {}
        self._products: dict[Stage, NarrowProducts] = {}
        self.rng: Array = None
        self._used = 0
        stages = plan.stages
        sizes = [math.prod(stage.shape) for stage in stages]
        widest = max([size for size in sizes if not self._small(size)], default=0)
        self._gradients = [self._next_buffer(widest, plan.arena.dtype) for _ in range(2)]
        self._turn = 0
        self.forwards = [self._part(stage, stage.forward(self)) for stage in stages]
        self.values: list[Array] = [None] * (len(stages) + 1)

        last = stages[-1]
        bias: Layer | None = last.owes_db if isinstance(last, ProductStage) and last.by_loss else None
        self.loss = plan.loss.bound(self.ops, plan.arena.dtype)
        self.dz = self.gradient(last.shape)
        self.bias: Array = None if bias is None else bias.params["b"]
        self.db: Array = None if bias is None else bias.grads["b"]

        # From the top down to the lowest stage with parameters.
        self.backwards: list[tuple[int, Backward]] = []
        lowest = min((i for i, stage in enumerate(stages) if stage.has_parameters), default=len(stages))
        for i in range(len(stages) - 1, lowest - 1, -1):
            below = stages[i].bias_below
            db = below.grads["b"] if below is not None else None
            self.backwards.append((i, self._part(stages[i], stages[i].backward(self, db, needs_dx=i > lowest))))

    def _part(self, stage: Stage, function: Callable[..., Any]) -> Callable[..., Any]:
        return function if stage.operations_alone else self.ops.in_python(function)

    def _next_buffer(self, size: int, dtype: str) -> Array:
        buffer = self.plan.buffer(self._used, size, dtype)
        self._used += 1
        return buffer

    def _view(self, buffer: Array, shape: tuple[int, ...]) -> Array:
        return self.ops.xp.reshape(buffer[: self.n * math.prod(shape)], (self.n, *shape))

    def rows(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Return a buffer of a stage's own, (n, *shape)."""
        return self._view(self._next_buffer(math.prod(shape), dtype), shape)

    def output(self, shape: tuple[int, ...]) -> Array:
        """Return the buffer of a stage's output, (n, *shape)."""
        return self.rows(shape, self.plan.arena.dtype)

    def _small(self, size: int) -> bool:
        """Whether a gradient has a buffer of its own, so that what reads it can wait; the same for all batches."""
        return self.plan.capacity * size <= _SMALL

    def gradient(self, shape: tuple[int, ...]) -> Array:
        """Return a view for the next gradient on its way down; two buffers take turns with what is not small."""
        if self._small(math.prod(shape)):
            return self.output(shape)
        self._turn = 1 - self._turn
        return self._view(self._gradients[self._turn], shape)

    def products(self, stage: Stage) -> "Ops | NarrowProducts":
        """Return the object whose `affine` and `affine_backward` a stage uses."""
        narrow = self.plan.narrow
        if narrow is None:
            return self.ops
        if stage not in self._products:
            self._products[stage] = NarrowProducts(self, self.plan.precision, narrow.weights(stage.layer))
        return self._products[stage]

    def constant(self, value: float) -> Array:
        return self.plan.constant(value)

    def random_row(self, layer: Layer) -> int:
        """Return the row of the step's `rng` that belongs to a layer."""
        return self.plan.random.index(layer)

    def differentiate(self, x: Array, t: Array, rng: Array | None, weight: Array | None = None) -> Array:
        """Run forward, loss and backward; the gradients are in the arena afterwards, times the loss scale.

        Args:
            x: (n, *input_shape).
            t: the targets of the n rows.
            rng: the step's random keys, None without random layers.
            weight: (n,), factors of the rows' losses.

        Returns:
            The loss, 0-d, without weight decay's penalty.
        """
        if self.plan.narrow is not None:
            self.plan.narrow.refresh()
        self.rng = rng
        values = self.values
        values[0] = x
        for i, forward in enumerate(self.forwards):
            values[i + 1] = x = forward(x)
        loss = self.lose(t, weight)
        dy = self.dz
        for i, backward in self.backwards:
            dy = backward(dy, values[i], values[i + 1])
        return loss

    def lose(self, t: Array, weight: Array | None = None, share: Array | None = None) -> Array:
        """Return the loss of the last forward; its gradient is in `dz` afterwards, times the loss scale.

        Args:
            t: as for `differentiate`.
            weight: as for `differentiate`.
            share: its first element is a further factor of the gradient.
        """
        weights = {} if weight is None else {"weight": weight}
        loss = self.loss(self.values[-1], t, bias=self.bias, dz=self.dz, db=self.db, **weights)
        for gradient in (self.dz, self.db):
            if gradient is not None and share is not None:
                self.ops.rescale_(gradient, share)
        if self.plan.scaling is not None:
            self.plan.scaling.scale(self.dz, self.db)
        return loss

    def step(self, x: Array, t: Array, hyper: Array, rng: Array | None = None, weight: Array | None = None) -> Array:
        """Update the parameters once.

        Args:
            x: (n, *input_shape).
            t: the targets of the n rows.
            hyper: the optimizer's scalars for this step.
            rng: as for `differentiate`.
            weight: as for `differentiate`.

        Returns:
            The loss before the update, fresh, 0-d; or what the plan's `report` makes of it.
        """
        plan, ops, arena = self.plan, self.ops, self.plan.arena
        loss = self.differentiate(x, t, rng, weight)
        params, grads = arena.params.buffer, arena.grads.buffer
        value, loss = loss, loss if plan.report is None else plan.report(loss, hyper)
        guard = plan.limited(value, hyper, lambda: ops.global_norm(grads))
        if plan.update is None:
            if not plan.update_by_own(hyper, guard):
                return loss
        else:
            state = [views.buffer for views in plan.state.values()]
            ops.update_(plan.update, hyper, params, grads, *state, decay=arena.layout.decay, guard=guard)
        plan.move_running(self.running, guard)
        return loss

    def first_non_finite(self) -> str | None:
        """Return the name of the first stage whose output in the last step held NaN or infinity, or None."""
        found = self.first_non_finite_stage()
        return None if found is None else self.plan.stages[found].name

    def first_non_finite_stage(self) -> int | None:
        """Return the place of that stage."""
        for i, (stage, value) in enumerate(zip(self.plan.stages, self.values[1:], strict=True)):
            if not isinstance(stage, TurnStage) and not np.isfinite(self.ops.to_host(value)).all():
                return i
        return None


def infer(ops: Ops, stages: Sequence[Stage], x: Array) -> Array:
    """Return the model's output for x, without dropout.

    Nothing is stored, so it is safe from many threads.

    Args:
        ops: the bound operations.
        stages: the model's.
        x: native, (n, *input_shape).
    """
    for stage in stages:
        x = stage.infer(ops, x)
    return x
