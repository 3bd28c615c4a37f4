"""Softmax-cross-entropy with its gradient, and Adam, in other libraries: each in its own processes, taking turns."""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

import nnx
from nnx.backend import environment
from nnx.bench.measure import per_call

SHAPES = ((4096, 8192), (128, 1000))
PARAMETERS = 10_000_000
PEERS = {"PyTorch": "torch", "torch.compile": "torch", "JAX jit": "jax"}


def _inputs(n: int, c: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, c)).astype(np.float32), rng.integers(0, c, n)


def _nnx(backend: str) -> dict[str, Callable[[int], Any]]:
    ops = nnx.Ops(nnx.get_backend(backend))

    def cross_entropy(n: int, c: int) -> Callable[[int], Any]:
        z, t = map(ops.to_device, _inputs(n, c))
        dz = ops.xp.zeros_like(z)
        return lambda i: ops.softmax_cross_entropy(z, t, dz=dz)

    rng = np.random.default_rng(0)
    p, g, m, v = (ops.to_device(rng.random(PARAMETERS).astype(np.float32)) for _ in range(4))
    hyper = ops.to_device(np.array(nnx.Adam(1e-6).hyper(0), np.float32))
    adam = nnx.Adam.formula()
    works = {f"softmax_cross_entropy {n} x {c}": cross_entropy(n, c) for n, c in SHAPES}
    return works | {f"adam_ {PARAMETERS:,}": lambda i: ops.update_(adam, hyper, p, g, m, v)}


def _torch(compiled: bool) -> dict[str, Callable[[int], Any]]:
    import torch

    torch.set_num_threads(environment.cores())

    def forward_backward(z: Any, t: Any) -> Any:
        loss = torch.nn.functional.cross_entropy(z, t)
        loss.backward()
        return loss

    def cross_entropy(n: int, c: int) -> Callable[[int], Any]:
        z, t = map(torch.from_numpy, _inputs(n, c))
        z.requires_grad_()
        run = torch.compile(forward_backward) if compiled else forward_backward

        def call(i: int) -> Any:
            z.grad = None
            return run(z, t)

        return call

    works = {f"softmax_cross_entropy {n} x {c}": cross_entropy(n, c) for n, c in SHAPES}
    if compiled:
        return works
    p = torch.rand(PARAMETERS, requires_grad=True)
    p.grad = torch.rand(PARAMETERS)
    optimizer = torch.optim.Adam([p], lr=1e-6, fused=True)
    return works | {f"adam_ {PARAMETERS:,}": lambda i: optimizer.step()}


def _jax() -> dict[str, Callable[[int], Any]]:
    import jax
    import jax.numpy as jnp

    def loss_of(z: Any, t: Any) -> Any:
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), t[:, None], axis=1))

    def cross_entropy(n: int, c: int) -> Callable[[int], Any]:
        z, t = map(jnp.asarray, _inputs(n, c))
        run = jax.jit(jax.value_and_grad(loss_of))
        return lambda i: jax.block_until_ready(run(z, t))

    return {f"softmax_cross_entropy {n} x {c}": cross_entropy(n, c) for n, c in SHAPES}


def worker(name: str) -> dict[str, float]:
    """Measure the seconds per call of each operation in one library, or on one backend."""
    makers: dict[str, Any] = {"JAX jit": _jax, "PyTorch": lambda: _torch(False), "torch.compile": lambda: _torch(True)}
    works = makers[name]() if name in makers else _nnx(name)
    return {work: per_call(run, seconds=1.0) for work, run in works.items()}


if __name__ == "__main__":
    print(json.dumps(worker(sys.argv[1])))
