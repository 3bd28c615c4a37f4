"""Written by tests/typing/stub.py from the signatures of nnx/ops/spec.py."""

from typing import Any

from ..formula import Formula
from .protocol import Array, Pair

class Operations:
    """Every operation of nnx.ops.spec, bound to a backend."""

    def allocate(self, size: int, dtype: str) -> Array: ...
    def take(self, data: Array, index: Array, scale: Array | None = None, *, out: Array | None = None) -> Array: ...
    def capture(self, step: Any, example_inputs: tuple[Array, ...]) -> Any: ...
    def affine(
        self, x: Array, w: Array, b: Array | None = None, *, activation: Formula | None = None, out: Array | None = None
    ) -> Array: ...
    def affine_backward(
        self,
        dy: Array,
        x: Array,
        w: Array,
        *,
        dx: Array | None = None,
        dw: Array | None = None,
        db: Array | None = None,
    ) -> None: ...
    def activation(self, formula: Formula, x: Array, *, out: Array | None = None) -> Array: ...
    def activation_backward(
        self,
        formula: Formula,
        dy: Array,
        x: Array | None,
        y: Array,
        *,
        out: Array | None = None,
        db: Array | None = None,
    ) -> Array: ...
    def batch_norm(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        hyper: Array,
        *,
        out: Array | None = None,
        mean: Array | None = None,
        var: Array | None = None,
    ) -> Array: ...
    def batch_norm_backward(
        self,
        dy: Array,
        x: Array,
        gamma: Array,
        mean: Array,
        var: Array,
        hyper: Array,
        *,
        out: Array | None = None,
        dgamma: Array | None = None,
        dbeta: Array | None = None,
        db: Array | None = None,
    ) -> Array: ...
    def batch_norm_inference(
        self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, hyper: Array, *, out: Array | None = None
    ) -> Array: ...
    def convolution(
        self,
        x: Array,
        w: Array,
        b: Array | None = None,
        *,
        stride: Pair = (1, 1),
        pad: Pair = (0, 0),
        activation: Formula | None = None,
        out: Array | None = None,
    ) -> Array: ...
    def convolution_backward(
        self,
        dy: Array,
        x: Array,
        w: Array,
        *,
        stride: Pair = (1, 1),
        pad: Pair = (0, 0),
        dx: Array | None = None,
        dw: Array | None = None,
        db: Array | None = None,
    ) -> None: ...
    def max_pooling(
        self,
        x: Array,
        *,
        size: Pair,
        stride: Pair,
        pad: Pair = (0, 0),
        out: Array | None = None,
        index: Array | None = None,
    ) -> Array: ...
    def max_pooling_backward(
        self,
        dy: Array,
        index: Array,
        *,
        shape: Pair,
        size: Pair,
        stride: Pair,
        pad: Pair = (0, 0),
        out: Array | None = None,
    ) -> Array: ...
    def average_pooling(
        self, x: Array, *, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
    ) -> Array: ...
    def average_pooling_backward(
        self, dy: Array, *, shape: Pair, size: Pair, stride: Pair, pad: Pair = (0, 0), out: Array | None = None
    ) -> Array: ...
    def swap_axes(self, x: Array, *, out: Array | None = None) -> Array: ...
    def philox(self, rng: Array, size: int, row: int = 1) -> Array: ...
    def dropout(
        self, x: Array, rng: Array, factor: Array, *, out: Array | None = None, mask: Array | None = None
    ) -> Array: ...
    def dropout_backward(
        self, dy: Array, mask: Array, factor: Array, *, out: Array | None = None, db: Array | None = None
    ) -> Array: ...
    def softmax(self, x: Array, *, out: Array | None = None) -> Array: ...
    def softmax_cross_entropy(
        self,
        z: Array,
        t: Array,
        *,
        weight: Array | None = None,
        bias: Array | None = None,
        dz: Array | None = None,
        db: Array | None = None,
    ) -> Array: ...
    def loss(
        self,
        formula: Formula,
        z: Array,
        t: Array,
        hyper: Array | None = None,
        *,
        weight: Array | None = None,
        bias: Array | None = None,
        dz: Array | None = None,
        db: Array | None = None,
    ) -> Array: ...
    def count_correct(self, y: Array, t: Array) -> Array: ...
    def sum_squares(self, x: Array) -> Array: ...
    def global_norm(self, x: Array) -> Array: ...
    def narrow(self, x: Array, precision: str, *, out: Array | None = None) -> Array: ...
    def rescale_(self, x: Array, scaling: Array) -> None: ...
    def unscale_(self, hyper: Array, norm: Array, scaling: Array) -> None: ...
    def clip_(self, hyper: Array, norm: Array, limit: Array) -> None: ...
    def update_(
        self, formula: Formula, hyper: Array, *arrays: Array, decay: int = 0, guard: Array | None = None
    ) -> None: ...
