"""The networks of `nnx bench` in other libraries: the same shapes, batches and optimizer, each in its own idiom.

To measure one candidate by hand, `python bench/peers/steps.py CANDIDATE NETWORKS` prints a line of JSON after each
network. A candidate is a library or one of nnx's backends.
"""

import importlib.util
import json
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from nnx.backend import environment
from nnx.bench.measure import nothing_to_wait_for
from nnx.bench.networks import NETWORKS, Batch, Network
from nnx.bench.steps import Candidate, Maker, in_turn, nnx_candidate
from nnx.bench.steps import worker as times


def handwritten_step(net: Network) -> Callable[[Any, Any], Any]:
    """Return a training step in hand-written NumPy: all buffers allocated beforehand, every operation in place."""
    rng, f4 = np.random.default_rng(0), np.float32
    pairs = list(zip(net.sizes, net.sizes[1:], strict=False))
    weights = [(rng.standard_normal(p) * sqrt(2 / p[0])).astype(f4) for p in pairs]
    biases = [np.zeros(o, f4) for _, o in pairs]
    d_weights, d_biases = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
    outputs = [np.zeros((net.batch, o), f4) for _, o in pairs]
    gradients = [np.zeros((net.batch, o), f4) for _, o in pairs]
    masks = [np.zeros((net.batch, o), bool) for _, o in pairs[:-1]]
    column, total, rows = np.zeros((net.batch, 1), f4), np.zeros((net.batch, 1), f4), np.arange(net.batch)
    params, grads = weights + biases, d_weights + d_biases
    first, second = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    scratch = [np.zeros_like(p) for p in params]
    count = 0

    def update_adam() -> None:
        nonlocal count
        count += 1
        rate, root = f4(0.001 / (1 - 0.9**count)), f4(1 / sqrt(1 - 0.999**count))
        for p, g, m, v, s in zip(params, grads, first, second, scratch, strict=True):
            np.subtract(g, m, out=s)
            np.multiply(s, f4(0.1), out=s)
            np.add(m, s, out=m)
            np.multiply(g, g, out=s)
            np.subtract(s, v, out=s)
            np.multiply(s, f4(0.001), out=s)
            np.add(v, s, out=v)
            np.sqrt(v, out=s)
            np.multiply(s, root, out=s)
            np.add(s, f4(1e-8), out=s)
            np.divide(m, s, out=s)
            np.multiply(s, rate, out=s)
            np.subtract(p, s, out=p)

    def update_sgd() -> None:
        for p, g, s in zip(params, grads, scratch, strict=True):
            np.multiply(g, f4(0.01), out=s)
            np.subtract(p, s, out=p)

    update = update_adam if net.optimizer == "adam" else update_sgd

    def step(x: Any, t: Any) -> Any:
        h = x
        for i, (w, b) in enumerate(zip(weights, biases, strict=True)):
            np.matmul(h, w, out=outputs[i])
            h = outputs[i]
            np.add(h, b, out=h)
            if i < len(weights) - 1:
                np.maximum(h, 0, out=h)
        d = gradients[-1]
        np.max(h, axis=1, keepdims=True, out=column)
        np.subtract(h, column, out=h)
        np.exp(h, out=d)
        np.sum(d, axis=1, keepdims=True, out=total)
        loss = (np.log(total[:, 0]) - h[rows, t]).mean()
        np.divide(d, total, out=d)
        d[rows, t] -= 1
        np.divide(d, len(x), out=d)
        for i in reversed(range(len(weights))):
            below = outputs[i - 1] if i else x
            np.matmul(below.T, d, out=d_weights[i])
            np.sum(d, axis=0, out=d_biases[i])
            if i:
                np.matmul(d, weights[i].T, out=gradients[i - 1])
                d = gradients[i - 1]
                np.greater(below, 0, out=masks[i - 1])
                np.multiply(d, masks[i - 1], out=d)
        update()
        return loss

    return step


def pytorch(net: Network, data: Sequence[Batch], *, compiled: bool = False, gpu: bool = False) -> Candidate:
    """Return a step of PyTorch: `Sequential` of `Linear` and `ReLU`, fused Adam.

    If it is compiled for a GPU, mode="reduce-overhead" is used. Products of float32 are computed in float32, not in
    TF32.
    """
    import torch

    device = "cuda" if gpu else "cpu"
    model, loss_of, optimizer = _torch_parts(net, device)

    def forward_backward(x: Any, t: Any) -> Any:
        with _autocast(net, device):
            loss = loss_of(model(x), t)
        loss.backward()
        return loss

    mode = "reduce-overhead" if gpu else None
    differentiate = torch.compile(forward_backward, mode=mode) if compiled else forward_backward

    def step(x: Any, t: Any) -> Any:
        optimizer.zero_grad()
        loss = differentiate(x, t)
        optimizer.step()
        return loss

    return Candidate(
        in_turn(step, _torch_batches(data, device)), torch.cuda.synchronize if gpu else nothing_to_wait_for
    )


def pytorch_graph(net: Network, data: Sequence[Batch]) -> Candidate:
    """Return a step of PyTorch as one CUDA graph, captured by hand as its documentation shows, batches copied in."""
    import torch

    model, loss_of, optimizer = _torch_parts(net, "cuda", capturable=True)
    batches = _torch_batches(data, "cuda")
    x, t = (part.clone() for part in batches[0])

    def update() -> Any:
        optimizer.zero_grad(set_to_none=True)
        with _autocast(net, "cuda"):
            loss = loss_of(model(x), t)
        loss.backward()
        optimizer.step()
        return loss

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            update()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss = update()

    def step(new_x: Any, new_t: Any) -> Any:
        x.copy_(new_x)
        t.copy_(new_t)
        graph.replay()
        return loss.clone()

    return Candidate(in_turn(step, batches), torch.cuda.synchronize)


def _torch_parts(net: Network, device: str, *, capturable: bool = False) -> tuple[Any, Any, Any]:
    import torch

    torch.set_num_threads(environment.cores())
    torch.set_float32_matmul_precision("highest")  # no TF32: PyTorch's default, unless an environment changes it
    torch.manual_seed(0)
    layers: list[Any] = []
    for i, o in zip(net.sizes, net.sizes[1:], strict=False):
        layers += [torch.nn.Linear(i, o), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1]).to(device)
    if net.optimizer == "sgd":
        optimizer: Any = torch.optim.SGD(model.parameters(), lr=0.01, fused=device == "cuda")
    else:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.001, fused=True, capturable=capturable)
    return model, torch.nn.CrossEntropyLoss(), optimizer


def _autocast(net: Network, device: str) -> Any:
    import torch

    return torch.autocast(device, torch.bfloat16, enabled=net.precision == "bfloat16")


def _torch_batches(data: Sequence[Batch], device: str) -> list[tuple[Any, Any]]:
    import torch

    return [(torch.from_numpy(x).to(device), torch.from_numpy(t).to(device)) for x, t in data]


def jax_jit(net: Network, data: Sequence[Batch], *, gpu: bool = False) -> Candidate:
    """Return a step of JAX with optax: the whole update in one jitted function with donated arguments.

    On the CPU every step is waited for. Products of float32 are computed in float32, as for the others here: by default
    JAX uses TF32 on GPUs that have it.
    """
    import jax
    import jax.numpy as jnp
    import optax

    device = jax.devices("gpu" if gpu else "cpu")[0]
    rng = np.random.default_rng(0)
    pairs = list(zip(net.sizes, net.sizes[1:], strict=False))
    weights = [(rng.standard_normal((i, o)) * np.sqrt(2 / i)).astype(np.float32) for i, o in pairs]
    params = jax.device_put([(w, np.zeros(w.shape[1], np.float32)) for w in weights], device)
    optimizer = optax.sgd(0.01) if net.optimizer == "sgd" else optax.adam(0.001)
    state = jax.device_put(optimizer.init(params), device)

    def product(x: Any, w: Any) -> Any:
        if net.precision == "float32":
            return jnp.matmul(x, w, precision="highest")  # the gradient's products, too
        return jnp.matmul(x.astype(net.precision), w.astype(net.precision), preferred_element_type=jnp.float32)

    def loss_of(params: Any, x: Any, t: Any) -> Any:
        for w, b in params[:-1]:
            x = jax.nn.relu(product(x, w) + b)
        w, b = params[-1]
        return optax.softmax_cross_entropy_with_integer_labels(product(x, w) + b, t).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, state: Any, x: Any, t: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, t)
        changes, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, changes), state, loss

    loss = jnp.zeros(())

    def step(x: Any, t: Any) -> Any:
        nonlocal params, state, loss
        params, state, loss = update(params, state, x, t)
        return loss if gpu else loss.block_until_ready()

    batches = [(jax.device_put(x, device), jax.device_put(t, device)) for x, t in data]

    def wait() -> None:
        loss.block_until_ready()

    return Candidate(in_turn(step, batches), wait)


def scikit_learn(net: Network, data: Sequence[Batch]) -> Candidate:
    """Return a step of scikit-learn: `MLPClassifier.partial_fit` on one batch, SGD without momentum."""
    from sklearn.neural_network import MLPClassifier

    settings: dict[str, Any] = {"solver": "adam", "learning_rate_init": 0.001}
    if net.optimizer == "sgd":
        settings = {"solver": "sgd", "learning_rate_init": 0.01, "momentum": 0.0, "nesterovs_momentum": False}
    model = MLPClassifier(net.sizes[1:-1], batch_size=net.batch, alpha=0.0, random_state=0, **settings)
    warnings.filterwarnings("ignore", module="sklearn")
    model.partial_fit(*data[0], classes=np.arange(net.sizes[-1]))
    return Candidate(in_turn(model.partial_fit, data))


def thinc(net: Network, data: Sequence[Batch]) -> Candidate:
    """Return a step of Thinc: `chain` of `Relu` and `Softmax`, on its own NumPy operations."""
    from thinc.api import SGD, Adam, Relu, Softmax, chain

    model: Any = chain(*(Relu(size) for size in net.sizes[1:-1]), Softmax(net.sizes[-1]))
    one_hot = np.eye(net.sizes[-1], dtype=np.float32)
    targets = [(x, one_hot[t]) for x, t in data]
    model.initialize(X=targets[0][0], Y=targets[0][1])
    optimizer = SGD(0.01) if net.optimizer == "sgd" else Adam(0.001)

    def step(x: Any, t: Any) -> Any:
        y, backward = model.begin_update(x)
        backward((y - t) / len(x))
        model.finish_update(optimizer)

    return Candidate(in_turn(step, targets))


PEERS: dict[str, tuple[str, Maker]] = {
    "hand-written NumPy": ("numpy", lambda net, data: Candidate(in_turn(handwritten_step(net), data))),
    "PyTorch": ("torch", pytorch),
    "torch.compile": ("torch", partial(pytorch, compiled=True)),
    "JAX jit": ("jax optax", jax_jit),
    "scikit-learn": ("sklearn", scikit_learn),
    "Thinc": ("thinc", thinc),
}
"""By name: the modules that must be installed, and the function that makes the step."""
GPU_PEERS: dict[str, tuple[str, Maker]] = {
    "PyTorch, GPU": ("torch", partial(pytorch, gpu=True)),
    "torch.compile, GPU": ("torch", partial(pytorch, compiled=True, gpu=True)),
    "PyTorch CUDA graph": ("torch", pytorch_graph),
    "JAX jit, GPU": ("jax optax", partial(jax_jit, gpu=True)),
}
"""Peers that need an NVIDIA GPU."""
FLOAT32_ONLY = ("hand-written NumPy", "scikit-learn", "Thinc")
"""Peers without mixed precision."""


def installed_peers(backends: Sequence[str]) -> list[str]:
    """Return the peers whose modules are installed, on the processors that the backends use."""
    gpu = "cupy" in backends
    peers = (PEERS if set(backends) != {"cupy"} else {}) | (GPU_PEERS if gpu else {})
    return [name for name, (modules, _) in peers.items() if all(map(importlib.util.find_spec, modules.split()))]


def candidate(name: str, net: Network, data: Sequence[Batch]) -> Candidate:
    """Return the step of a peer, or of the backend of that name."""
    peers = PEERS | GPU_PEERS
    return peers[name][1](net, data) if name in peers else nnx_candidate(name, net, data)


def worker(name: str, networks: Sequence[str]) -> Iterator[dict[str, dict[str, float]]]:
    """Yield what `nnx.bench.steps.worker` yields, without the networks whose precision the candidate does not have."""
    known = [n for n in networks if NETWORKS[n].precision == "float32" or name not in FLOAT32_ONLY]
    return times(partial(candidate, name), known)


if __name__ == "__main__":
    for so_far in worker(sys.argv[1], sys.argv[2].split(",")):
        print(json.dumps(so_far), flush=True)
