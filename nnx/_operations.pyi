"""Written by tests/typing/stub.py from the signatures of nnx/compose.py."""

from typing import Any

from .backend import Array

class Operations:
    """Every operation of nnx.compose, bound to a backend."""

    def allocate(self, size: int, dtype: str) -> Array: ...
    def take(self, data: Array, index: Array, scale: Array | None = None, *, out: Array | None = None) -> Array: ...
    def capture(self, step: Any, example_inputs: tuple[Array, ...]) -> Any: ...
    def affine(self, x: Array, w: Array, b: Array | None = None, *, out: Array | None = None) -> Array: ...
    def affine_relu(self, x: Array, w: Array, b: Array | None = None, *, out: Array | None = None) -> Array: ...
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
    def relu(self, x: Array, *, out: Array | None = None) -> Array: ...
    def relu_backward(self, dy: Array, y: Array, *, out: Array | None = None, db: Array | None = None) -> Array: ...
    def sigmoid(self, x: Array, *, out: Array | None = None) -> Array: ...
    def sigmoid_backward(self, dy: Array, y: Array, *, out: Array | None = None, db: Array | None = None) -> Array: ...
    def tanh(self, x: Array, *, out: Array | None = None) -> Array: ...
    def tanh_backward(self, dy: Array, y: Array, *, out: Array | None = None, db: Array | None = None) -> Array: ...
    def scale(self, x: Array, factor: Array, *, out: Array | None = None) -> Array: ...
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
    def running_average_(self, running: Array, batch: Array, hyper: Array, *, guard: Array | None = None) -> None: ...
    def philox(self, rng: Array, size: int) -> Array: ...
    def philox_uniform(self, rng: Array, size: int, dtype: str) -> Array: ...
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
    def sigmoid_cross_entropy(
        self,
        z: Array,
        t: Array,
        *,
        weight: Array | None = None,
        bias: Array | None = None,
        dz: Array | None = None,
        db: Array | None = None,
    ) -> Array: ...
    def mean_squared_error(
        self,
        z: Array,
        t: Array,
        *,
        weight: Array | None = None,
        bias: Array | None = None,
        dz: Array | None = None,
        db: Array | None = None,
    ) -> Array: ...
    def poisson_deviance(
        self,
        z: Array,
        t: Array,
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
    def sgd_(self, p: Array, g: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None) -> None: ...
    def momentum_(
        self, p: Array, g: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> None: ...
    def nesterov_(
        self, p: Array, g: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> None: ...
    def adagrad_(
        self, p: Array, g: Array, h: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> None: ...
    def rmsprop_(
        self, p: Array, g: Array, h: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> None: ...
    def adam_(
        self, p: Array, g: Array, m: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> None: ...
    def adamw_(
        self, p: Array, g: Array, m: Array, v: Array, hyper: Array, *, decay: int = 0, guard: Array | None = None
    ) -> None: ...
