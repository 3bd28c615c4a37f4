"""Two convolutional networks, and single convolutions, in nnx and in other libraries, each in its own idiom."""

import ctypes
import gc
import importlib.util
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np

import nnx
from nnx.backend import environment
from nnx.bench.measure import per_call
from nnx.bench.networks import NETWORKS, batches
from nnx.bench.steps import Candidate, in_turn

from . import im2col

BATCH = 100
SHAPE = (1, 28, 28)
STEPS = 3
"""Training steps whose losses have to agree."""


@dataclass(frozen=True)
class Net:
    """A network for pictures of `SHAPE`; its layers by kind, with their numbers.

    A convolution has filters, their size, and the padding, a pooling takes 2 x 2 pixels.
    """

    name: str
    layers: tuple[tuple[Any, ...], ...]

    def __str__(self) -> str:
        return self.name

    def walk(self) -> Iterator[tuple[str, tuple[Any, ...], tuple[int, ...]]]:
        """Yield each layer's kind, its numbers, and the shape that it gets."""
        shape: tuple[int, ...] = SHAPE
        for kind, *numbers in self.layers:
            yield kind, tuple(numbers), shape
            if kind == "convolution":
                filters, size, pad = numbers
                shape = (filters, *(length + 2 * pad - size + 1 for length in shape[1:]))
            elif kind == "pooling":
                shape = (shape[0], shape[1] // 2, shape[2] // 2)
            elif kind == "flatten":
                shape = (prod(shape),)
            elif kind == "affine":
                shape = (numbers[0],)

    def weights(self) -> Iterator[tuple[Any, Any]]:
        """Yield weights and bias of each layer that has them: (filters, channels, size, size) or (inputs, outputs)."""
        rng = np.random.default_rng(0)
        for kind, numbers, shape in self.walk():
            if kind in ("convolution", "affine"):
                of_convolution = (numbers[0], shape[0], *numbers[1:2] * 2)
                w = rng.standard_normal(of_convolution if kind == "convolution" else (*shape, numbers[0]))
                inputs = w[0].size if kind == "convolution" else len(w)
                yield (w * sqrt(2 / inputs)).astype(np.float32), np.zeros(numbers[0], np.float32)

    def without_dropout(self) -> "Net":
        return Net(self.name, tuple(layer for layer in self.layers if layer[0] != "dropout"))

    def largest_im2col(self) -> int:
        """Return the bytes of the largest matrix that im2col would make of a batch."""
        sizes = []
        for kind, numbers, (channels, *lengths) in self.walk():
            if kind == "convolution":
                _, size, pad = numbers
                sizes.append(channels * size**2 * prod(length + 2 * pad - size + 1 for length in lengths))
        return 4 * BATCH * max(sizes)


@dataclass(frozen=True)
class Layer:
    """A convolution, forward and backward with all gradients."""

    channels: int
    filters: int
    size: int
    stride: int
    pad: int
    length: int

    def __str__(self) -> str:
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        return f"{self.channels} to {self.filters}, {self.size} x {self.size}{stride}, of {self.length} x {self.length}"

    @property
    def out(self) -> int:
        return (self.length + 2 * self.pad - self.size) // self.stride + 1

    def arrays(self, batch: int) -> tuple[Any, ...]:
        """Return x, w, b and the gradient dy, channels first."""
        rng = np.random.default_rng(0)
        shapes = (
            (batch, self.channels, self.length, self.length),
            (self.filters, self.channels, self.size, self.size),
            (self.filters,),
            (batch, self.filters, self.out, self.out),
        )
        return tuple(rng.standard_normal(shape).astype(np.float32) for shape in shapes)

    def largest_im2col(self) -> int:
        return 4 * BATCH * self.channels * self.size**2 * self.out**2


RELU, POOLING, FLATTEN = ("relu",), ("pooling",), ("flatten",)
WORKS: dict[str, tuple[Any, ...]] = {
    "nets": (
        Net(
            "SimpleConvNet",
            (("convolution", 30, 5, 0), RELU, POOLING, FLATTEN, ("affine", 100), RELU, ("affine", 10)),
        ),
        Net(
            "DeepConvNet",
            (
                *(("convolution", 16, 3, 1), RELU, ("convolution", 16, 3, 1), RELU, POOLING),
                *(("convolution", 32, 3, 1), RELU, ("convolution", 32, 3, 2), RELU, POOLING),
                *(("convolution", 64, 3, 1), RELU, ("convolution", 64, 3, 1), RELU, POOLING),
                *(FLATTEN, ("affine", 50), RELU, ("dropout", 0.5), ("affine", 10)),
            ),
        ),
    ),
    "layers": (
        Layer(1, 30, 5, 1, 0, 28),
        Layer(1, 16, 3, 1, 1, 28),
        Layer(3, 32, 5, 2, 2, 28),
        Layer(16, 16, 3, 1, 1, 28),
        Layer(16, 32, 3, 1, 1, 14),
        Layer(32, 32, 3, 1, 2, 14),
        Layer(32, 64, 3, 2, 1, 14),
        Layer(64, 64, 5, 1, 2, 14),
        Layer(64, 64, 3, 1, 1, 8),
        Layer(128, 128, 3, 1, 1, 7),
    ),
}


def data(batch: int) -> list[tuple[Any, Any]]:
    """Return batches of real digits."""
    return [(x[:batch].reshape(-1, *SHAPE), t[:batch]) for x, t in batches(NETWORKS["L"])]


# nnx ------------------------------------------------------------------------------------------------------------------


def nnx_net(backend: str, net: Net, batch: int) -> Candidate:
    """Return the public `Trainer.step`."""
    weights, layers = net.weights(), []
    for kind, numbers, _ in net.walk():
        if kind == "convolution":
            layers.append(nnx.Convolution(*next(weights), pad=numbers[2]))
        elif kind == "affine":
            layers.append(nnx.Affine(*next(weights)))
        elif kind == "dropout":
            layers.append(nnx.Dropout(*numbers, inverted=True))
        else:
            layers.append({"relu": nnx.ReLU, "pooling": nnx.MaxPooling, "flatten": nnx.Flatten}[kind]())
    trainer = nnx.Trainer(nnx.Sequential(*layers), nnx.Adam(0.001), backend=backend)
    return Candidate(in_turn(trainer.step, data(batch)))


def nnx_layer(backend: str, layer: Layer, batch: int) -> Candidate:
    """Return the two operations of a backend, which have the channels last."""
    ops = nnx.Ops(nnx.get_backend(backend))
    x, w, b, dy = layer.arrays(batch)
    x, dy = (np.ascontiguousarray(part.transpose(0, 2, 3, 1)) for part in (x, dy))
    y, dx, dw, db = (np.empty_like(part) for part in (dy, x, w, b))
    settings = {"stride": (layer.stride,) * 2, "pad": (layer.pad,) * 2}

    def run(_: int) -> tuple[Any, ...]:
        ops.convolution(x, w, b, out=y, **settings)
        ops.convolution_backward(dy, x, w, dx=dx, dw=dw, db=db, **settings)
        return y, dx, dw, db

    return Candidate(run)


# PyTorch --------------------------------------------------------------------------------------------------------------


def _torch(last: bool) -> tuple[Any, Any]:
    """Return the module, with threads and denormals as for the others, and the memory format."""
    import torch

    torch.set_num_threads(environment.cores())
    torch.set_flush_denormal(True)
    return torch, torch.channels_last if last else torch.contiguous_format


def torch_net(net: Net, batch: int, *, last: bool = False, compiled: bool = False) -> Candidate:
    torch, layout = _torch(last)
    nn, weights, layers = torch.nn, net.weights(), []
    for kind, numbers, shape in net.walk():
        if kind in ("convolution", "affine"):
            w, b = map(torch.from_numpy, next(weights))
            if kind == "convolution":
                layers.append(nn.Conv2d(shape[0], *numbers[:2], padding=numbers[2]))
            else:
                layers.append(nn.Linear(*shape, *numbers))
                w = w.T
            layers[-1].load_state_dict({"weight": w, "bias": b})
        elif kind == "pooling":
            layers.append(nn.MaxPool2d(2))
        else:
            layers.append({"relu": nn.ReLU, "flatten": nn.Flatten, "dropout": nn.Dropout}[kind](*numbers))
    model = nn.Sequential(*layers).to(memory_format=layout)
    loss_of, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters(), lr=0.001, fused=True)

    def forward_backward(x: Any, t: Any) -> Any:
        loss = loss_of(model(x), t)
        loss.backward()
        return loss

    differentiate = torch.compile(forward_backward) if compiled else forward_backward

    def step(x: Any, t: Any) -> Any:
        optimizer.zero_grad()
        loss = differentiate(x, t)
        optimizer.step()
        return loss.detach()

    given = [(torch.from_numpy(x).contiguous(memory_format=layout), torch.from_numpy(t)) for x, t in data(batch)]
    return Candidate(in_turn(step, given))


def torch_layer(layer: Layer, batch: int, *, last: bool = False) -> Candidate:
    torch, layout = _torch(last)
    x, w, b, dy = map(torch.from_numpy, layer.arrays(batch))
    x, w, dy = (part.contiguous(memory_format=layout) for part in (x, w, dy))
    for part in (x, w, b):
        part.requires_grad_()

    def run(_: int) -> tuple[Any, ...]:
        y = torch.nn.functional.conv2d(x, w, b, layer.stride, layer.pad)
        return y.detach(), *torch.autograd.grad(y, (x, w, b), dy)

    return Candidate(run)


# JAX ------------------------------------------------------------------------------------------------------------------


def _jax_convolution(layout: str, x: Any, w: Any, b: Any, stride: int, pad: int) -> Any:
    import jax

    filters = "OIHW" if layout == "NCHW" else "HWIO"
    bias = b[:, None, None] if layout == "NCHW" else b
    dimensions = (layout, filters, layout)
    return jax.lax.conv_general_dilated(x, w, (stride,) * 2, [(pad, pad)] * 2, dimension_numbers=dimensions) + bias


def jax_net(net: Net, batch: int, *, layout: str) -> Candidate:
    import jax
    import jax.numpy as jnp
    import optax

    first, weights, params, flattened = layout == "NCHW", net.weights(), [], ()
    for kind, _, shape in net.walk():
        if kind == "flatten":
            flattened = shape
        elif kind in ("convolution", "affine"):
            w, b = next(weights)
            if kind == "convolution" and not first:
                w = w.transpose(2, 3, 1, 0)
            elif flattened and not first:  # the first Affine after the pictures, whose inputs have the channels last
                w = w.reshape(*flattened, -1).transpose(1, 2, 0, 3).reshape(w.shape)
                flattened = ()
            params.append((w, b))
    params, optimizer = jax.device_put(params), optax.adam(0.001)
    state, key = optimizer.init(params), jax.random.key(0)

    def pooled(x: Any) -> Any:
        """Return 2 x 2 maxima; the gradient of `reduce_window`, a scatter, takes five to ten times as long on a CPU."""
        if first:
            above, below = (jnp.maximum(x[:, :, i::2, ::2], x[:, :, i::2, 1::2]) for i in range(2))
            return jnp.maximum(above, below)
        n, h, w, c = x.shape
        return x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))

    def loss_of(params: Any, key: Any, x: Any, t: Any) -> Any:
        own = iter(params)
        for kind, numbers, _ in net.walk():
            if kind == "convolution":
                x = _jax_convolution(layout, x, *next(own), 1, numbers[2])
            elif kind == "affine":
                w, b = next(own)
                x = jnp.matmul(x, w) + b
            elif kind == "relu":
                x = jax.nn.relu(x)
            elif kind == "pooling":
                x = pooled(x)
            elif kind == "flatten":
                x = x.reshape(len(x), -1)
            else:
                keep = jax.random.bernoulli(key, 1 - numbers[0], x.shape)
                x = jnp.where(keep, x / (1 - numbers[0]), 0)
        return optax.softmax_cross_entropy_with_integer_labels(x, t).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, state: Any, key: Any, x: Any, t: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, key, x, t)
        changes, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, changes), state, jax.random.fold_in(key, 1), loss

    def step(x: Any, t: Any) -> Any:
        nonlocal params, state, key
        params, state, key, loss = update(params, state, key, x, t)
        return loss.block_until_ready()

    order = (0, 1, 2, 3) if first else (0, 2, 3, 1)
    return Candidate(in_turn(step, [(jax.device_put(x.transpose(order)), jax.device_put(t)) for x, t in data(batch)]))


def jax_layer(layer: Layer, batch: int, *, layout: str) -> Candidate:
    import jax

    x, w, b, dy = layer.arrays(batch)
    if layout == "NHWC":
        x, w, dy = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), dy.transpose(0, 2, 3, 1)
    given = jax.device_put((x, w, b, dy))

    @jax.jit
    def both(x: Any, w: Any, b: Any, dy: Any) -> Any:
        y, backward = jax.vjp(lambda *at: _jax_convolution(layout, *at, layer.stride, layer.pad), x, w, b)
        return y, *backward(dy)

    return Candidate(lambda _: jax.block_until_ready(both(*given)))


# A textbook's NumPy ---------------------------------------------------------------------------------------------------


def im2col_net(net: Net, batch: int) -> Candidate:
    weights, layers = net.weights(), []
    for kind, numbers, _ in net.walk():
        if kind == "convolution":
            layers.append(im2col.Convolution(*next(weights), pad=numbers[2]))
        elif kind == "affine":
            layers.append(im2col.Affine(*next(weights)))
        elif kind != "flatten":
            layers.append({"relu": im2col.ReLU, "pooling": im2col.Pooling, "dropout": im2col.Dropout}[kind](*numbers))
    return Candidate(in_turn(im2col.training_step(layers), data(batch)))


def im2col_layer(layer: Layer, batch: int) -> Candidate:
    x, w, b, dy = layer.arrays(batch)
    convolution = im2col.Convolution(w, b, layer.stride, layer.pad)

    def run(_: int) -> tuple[Any, ...]:
        y = convolution.forward(x)
        dx = convolution.backward(dy)
        return y, dx, *convolution.grads

    return Candidate(run)


# Measuring ------------------------------------------------------------------------------------------------------------

IM2COL = "im2col in NumPy"
CANDIDATES: dict[str, tuple[str, dict[str, Callable[..., Candidate]]]] = {
    **{
        backend: (backend, {"nets": partial(nnx_net, backend), "layers": partial(nnx_layer, backend)})
        for backend in ("numba", "numpy")
    },
    "PyTorch": ("torch", {"nets": torch_net, "layers": torch_layer}),
    "PyTorch, channels last": (
        "torch",
        {"nets": partial(torch_net, last=True), "layers": partial(torch_layer, last=True)},
    ),
    "torch.compile": ("torch", {"nets": partial(torch_net, compiled=True)}),
    "torch.compile, channels last": ("torch", {"nets": partial(torch_net, compiled=True, last=True)}),
    **{
        f"JAX jit, {layout}": (
            "jax optax",
            {"nets": partial(jax_net, layout=layout), "layers": partial(jax_layer, layout=layout)},
        )
        for layout in ("NCHW", "NHWC")
    },
    IM2COL: ("numpy", {"nets": im2col_net, "layers": im2col_layer}),
}
"""By name: the modules that must be installed, and what makes a network or a layer. After a comma comes the layout."""


def installed(kind: str) -> list[str]:
    """Return the candidates whose modules are installed and that have what is asked for."""
    return [
        name
        for name, (modules, makers) in CANDIDATES.items()
        if kind in makers and all(map(importlib.util.find_spec, modules.split()))
    ]


def figures(make: Callable[..., Candidate], work: Any) -> list[float]:
    """Return what all candidates must agree about: losses of the first steps, or norms of result and gradients.

    Without dropout, whose masks are everybody's own.
    """
    if isinstance(work, Net):
        run = make(work.without_dropout(), BATCH).run
        return [float(run(i)) for i in range(STEPS)]
    return [float(np.linalg.norm(np.asarray(part))) for part in make(work, BATCH).run(0)]


def warm_seconds(make: Callable[..., Candidate], work: Any, seconds: float) -> float:
    """Measure the seconds per call within so many seconds, after half of them and twenty calls, or twice as many."""
    run, wait = make(work, BATCH)
    start, i = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds / 2 or (i < 20 and passed < 2 * seconds):
        run(i)
        i += 1
    return per_call(run, wait, seconds=seconds, rounds=7)


def peak_bytes(make: Callable[..., Candidate], work: Any, batch: int) -> int:
    """Measure how much the process holds at most in a warm call, above what it held before there was this work."""

    def resident(field: str) -> int:
        gc.collect()
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))

    def give_back() -> None:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)

    give_back()
    before = resident("VmRSS")
    run = make(work, batch).run
    for i in range(5):
        run(i)
    give_back()
    Path("/proc/self/clear_refs").write_text("5")  # begins a new maximum
    for i in range(3):
        run(i)
    return resident("VmHWM") - before


def worker(name: str, kind: str, seconds: float, memory: int | None, count: int | None) -> Iterator[dict[str, Any]]:
    """Measure the networks or layers, or so many of them; after each, yield all results so far."""
    make = CANDIDATES[name][1][kind]
    results: dict[str, Any] = {}
    for work in WORKS[kind][:count]:
        if memory is not None:
            results[str(work)] = peak_bytes(make, work, memory)
        else:
            results[str(work)] = {"agree": figures(make, work), "seconds": warm_seconds(make, work, seconds)}
        yield results
