"""Stages of pictures, whose channels are last: (n, h, w, c)."""

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..layers import (
    AveragePooling,
    Convolution,
    GlobalAveragePooling,
    Identity,
    MaxPooling,
    SpatialDropout,
    channels_first,
    channels_last,
)
from ..ops import Array, Ops, Pair
from ._stages import Backward, Forward, ProductStage, Stage, stage_of

if TYPE_CHECKING:
    from ._plan import Program


@stage_of(Convolution)
class ConvolutionStage(ProductStage):
    layer: Convolution
    channels_last = True

    def product(self, ops: Any) -> Callable[..., Array]:
        return partial(ops.convolution, stride=self.layer.steps, pad=self.layer.margin)

    def product_backward(self, ops: Any) -> Callable[..., None]:
        return partial(ops.convolution_backward, stride=self.layer.steps, pad=self.layer.margin)

    def operations(self, program: "Program") -> Ops:
        return program.ops  # in float32, whatever the precision of matrix products


class PicturesStage(Stage):
    """A stage of pictures that is no product."""

    operations_alone = channels_last = True

    @property
    def pixels(self) -> Pair:
        """Height and width of its input."""
        return self.input_shape[0], self.input_shape[1]


@stage_of(MaxPooling)
class MaxPoolingStage(PicturesStage):
    layer: MaxPooling
    keeps_sums = True

    def infer(self, ops: Any, x: Array) -> Any:
        return ops.max_pooling(x, **self.layer.settings)

    def forward(self, program: "Program") -> Forward:
        op: Any = partial(program.ops.max_pooling, **self.layer.settings)
        out = program.output(self.shape)
        index = program.masks[self] = program.rows(self.shape, "uint8")
        return lambda x: op(x, out=out, index=index)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        op: Any = partial(program.ops.max_pooling_backward, **self.layer.settings)
        index = program.masks[self]
        out, shape = program.gradient(self.input_shape), self.pixels
        return lambda dy, x, y: op(dy, index, shape=shape, out=out)


@stage_of(AveragePooling)
class AveragePoolingStage(PicturesStage):
    layer: AveragePooling

    def infer(self, ops: Any, x: Array) -> Any:
        return ops.average_pooling(x, **self.layer.settings)

    def forward(self, program: "Program") -> Forward:
        op: Any = partial(program.ops.average_pooling, **self.layer.settings)
        out = program.output(self.shape)
        return lambda x: op(x, out=out)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        op: Any = partial(program.ops.average_pooling_backward, **self.layer.settings)
        out, shape = program.gradient(self.input_shape), self.pixels
        return lambda dy, x, y: op(dy, shape=shape, out=out)


@stage_of(GlobalAveragePooling)
class GlobalAveragePoolingStage(PicturesStage):
    def infer(self, ops: Ops, x: Array) -> Array:
        whole = self.pixels
        return ops.xp.reshape(ops.average_pooling(x, size=whole, stride=whole), (x.shape[0], *self.shape))

    def forward(self, program: "Program") -> Forward:
        op, whole, reshape = program.ops.average_pooling, self.pixels, program.ops.xp.reshape
        out, shape = program.output((1, 1, *self.shape)), (program.n, *self.shape)
        return lambda x: reshape(op(x, size=whole, stride=whole, out=out), shape)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        op, whole, reshape = program.ops.average_pooling_backward, self.pixels, program.ops.xp.reshape
        out, shape = program.gradient(self.input_shape), (program.n, 1, 1, *self.shape)
        return lambda dy, x, y: op(reshape(dy, shape), shape=whole, size=whole, stride=whole, out=out)


@stage_of(SpatialDropout)
class SpatialDropoutStage(Stage):
    """Factors by picture and channel, 0 among them, by the operation that drops single elements."""

    layer: SpatialDropout
    channels_last = True

    def forward(self, program: "Program") -> Forward:
        dropout, row, channels = program.ops.dropout, program.random_row(self.layer), self.shape[2]
        ones = program.ops.xp.ones((program.n, channels), dtype=program.ops.dtypes[program.plan.arena.dtype])
        factor, out = program.constant(self.layer.training_factor), program.output(self.shape)
        kept = program.output((channels,))
        factors = program.masks[self] = program.ops.xp.reshape(kept, (program.n, 1, 1, channels))

        def forward(x: Array) -> Array:
            dropout(ones, program.rng[row, ...], factor, out=kept)
            out[...] = x * factors
            return out

        return forward

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        factors, out = program.masks[self], program.gradient(self.shape)

        def backward(dy: Array, x: Array, y: Array) -> Array:
            out[...] = dy * factors
            return out

        return backward


class TurnStage(Stage):
    """Pictures with the channels last from here on, or first again."""

    operations_alone = True

    def __init__(self, input_shape: tuple[int, ...], shape: tuple[int, ...], to_last: bool) -> None:
        super().__init__(Identity(), shape)
        self.input_shape = input_shape
        self._there, self._back = (channels_last, channels_first) if to_last else (channels_first, channels_last)
        channels, *pixels = input_shape if to_last else shape
        self._moves = channels != 1 and math.prod(pixels) != 1
        """Whether elements change their places: with one channel or one pixel only the shape changes."""

    @property
    def name(self) -> str:
        return "the order of axes"

    def infer(self, ops: Ops, x: Array) -> Array:
        return self._there(ops, x)

    def forward(self, program: "Program") -> Forward:
        turn, ops, out = self._there, program.ops, program.output(self.shape) if self._moves else None
        return lambda x: turn(ops, x, out)

    def backward(self, program: "Program", db: Array | None, needs_dx: bool) -> Backward:
        # The buffers take turns: where nothing moves, the next one is not this stage's to take.
        turn, ops, out = self._back, program.ops, program.gradient(self.input_shape) if self._moves else None
        return lambda dy, x, y: turn(ops, dy, out)
