"""Single operations on large arrays, against the machine's product and memory rates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..backend import get_backend
from ..layers import RELU, ReLU, Sigmoid, Tanh
from ..losses import MeanSquaredError
from ..ops import Ops
from ..optimizers import SGD, Adam, Momentum
from .measure import device_rates, per_call


@dataclass(frozen=True)
class Work:
    """One call, with the least that it does: in floating-point operations or in bytes moved."""

    op: str
    size: str
    run: Callable[[], Any]
    flops: float = 0
    bytes: float = 0


def works(ops: Ops, shrink: int = 1) -> Iterator[Work]:
    """Yield the operations of a training step, float32, on arrays larger than the last-level cache.

    Args:
        ops: the bound operations.
        shrink: divides the rows and the parameters, to try the calls out.
    """
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> Any:
        return ops.to_device(rng.standard_normal(shape).astype(np.float32))

    def empty(*shape: int) -> Any:
        return ops.to_device(np.zeros(shape, np.float32))

    n, i, o = 256 // shrink, 1024, 1024
    x, w, b, y, dw, dx = draw(n, i), draw(i, o), draw(o), empty(n, o), empty(i, o), empty(n, i)
    size = f"{n} x {i} x {o}"
    yield Work("affine, relu", size, lambda: ops.affine(x, w, b, activation=RELU, out=y), flops=2 * n * i * o)
    yield Work("affine_backward", size, lambda: ops.affine_backward(y, x, w, dx=dx, dw=dw), flops=4 * n * i * o)

    n, c = 4096 // shrink, 8192
    z, out, column, many = draw(n, c), empty(n, c), empty(c), n * c
    size = f"{n} x {c}"
    other = draw(n, c)
    for layer in (ReLU(), Sigmoid(), Tanh()):
        forward = partial(ops.activation, layer.formula, z, out=out)
        backward = partial(ops.activation_backward, layer.formula_backward, z, None, other, out=out, db=column)
        yield Work(layer.name, size, forward, bytes=8 * many)
        yield Work(f"{layer.name}_backward", f"{size}, db", backward, bytes=12 * many)
    gamma, beta, mean, var = draw(c), draw(c), empty(c), empty(c)
    hyper = ops.to_device(np.array([1e-5, 0.9, 0.1], np.float32))
    yield Work(
        "batch_norm", size, lambda: ops.batch_norm(z, gamma, beta, hyper, out=out, mean=mean, var=var), bytes=12 * many
    )
    yield Work(
        "batch_norm_backward",
        size,
        lambda: ops.batch_norm_backward(other, z, gamma, mean, var, hyper, out=out, dgamma=column, dbeta=beta),
        bytes=20 * many,
    )
    key = ops.to_device(np.array([1, 2, 3, 4, 5, 2**31, 0], np.uint32))
    mask, one = ops.to_device(np.zeros((n, c), bool)), ops.to_device(np.array(1, np.float32))
    yield Work("dropout", size, lambda: ops.dropout(z, key, one, out=out, mask=mask), bytes=9 * many)
    yield Work("dropout_backward", size, lambda: ops.dropout_backward(z, mask, one, out=out), bytes=9 * many)
    labels = ops.to_device(rng.integers(0, c, n))
    yield Work("softmax_cross_entropy", size, lambda: ops.softmax_cross_entropy(z, labels, dz=out), bytes=8 * many)
    yield Work(
        "mean_squared_error", size, lambda: ops.loss(MeanSquaredError().formula, z, other, dz=out), bytes=12 * many
    )
    flat = ops.xp.reshape(z, (-1,))
    yield Work("sum_squares", f"{many:,}", lambda: ops.sum_squares(flat), bytes=4 * many)
    small, small_out = draw(128, 1000), empty(128, 1000)
    few = ops.to_device(rng.integers(0, 1000, 128))
    yield Work(
        "softmax_cross_entropy",
        "128 x 1000",
        lambda: ops.softmax_cross_entropy(small, few, dz=small_out),
        bytes=8 * 128_000,
    )

    rows = ops.to_device(rng.integers(0, 256, (60_000, 784), np.uint8))
    index = ops.to_device(rng.permutation(60_000)[:10_000])
    batch, scale = empty(10_000, 784), ops.to_device(np.array(1 / 255, np.float32))
    yield Work("take", "10,000 x 784, uint8", lambda: ops.take(rows, index, scale, out=batch), bytes=5 * 7_840_000)

    many = 10_000_000 // shrink
    p, g, m, v = (ops.to_device(rng.random(many).astype(np.float32)) for _ in range(4))
    for optimizer, buffers in ((SGD(1e-6), (p, g)), (Momentum(1e-6), (p, g, m)), (Adam(1e-6), (p, g, m, v))):
        update, hyper = optimizer.formula(), ops.to_device(np.array(optimizer.hyper(0), np.float32))
        work = partial(ops.update_, update, hyper, *buffers)
        yield Work(f"update_ {update.name}", f"{many:,}", work, bytes=(8 * len(buffers) - 4) * many)


def run_ops(backend: str, rates: dict[str, float]) -> list[dict[str, Any]]:
    """Measure a backend's operations.

    Args:
        backend: Name of the backend.
        rates: Product and memory rates of the host; those of a separate device are measured here.

    Returns:
        A row for each operation: seconds, its rate, and its share of the machine's rate (of products or memory).
    """
    ops = Ops(get_backend(backend))
    rates = rates if ops.on_host else device_rates(ops)
    rows = []
    for work in works(ops):

        def run(i: int, work: Work = work) -> None:
            work.run()

        seconds = per_call(run, ops.backend.synchronize)
        amount, ceiling = (work.flops, rates["product"]) if work.flops else (work.bytes, rates["triad"])
        rows.append(
            {
                "op": work.op,
                "size": work.size,
                "seconds": seconds,
                "unit": "GFLOP/s" if work.flops else "GB/s",
                "rate": amount / seconds / 1e9,
                "share_of_ceiling": amount / seconds / ceiling,
            }
        )
    return rows
