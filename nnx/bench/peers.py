"""The same networks in other libraries: the same shapes, batches and optimizer, each in its own idiom."""

import importlib.util
import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from .networks import Batch, Network, handwritten_step, nnx_step

Run = Callable[[int], Any]
"""run(i): one update on batch i, in the library's own arrays."""


def _turns(step: Callable[[Any, Any], Any], data: Sequence[tuple[Any, Any]]) -> Run:
    return lambda i: step(*data[i % len(data)])


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torch_eager(net: Network, data: Sequence[Batch], *, compiled: bool = False) -> Run:
    """PyTorch: `Sequential` of `Linear` and `ReLU`, fused Adam."""
    import torch

    torch.set_num_threads(_threads())
    torch.manual_seed(0)
    layers: list[Any] = []
    for i, o in zip(net.sizes, net.sizes[1:], strict=False):
        layers += [torch.nn.Linear(i, o), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    loss_of = torch.nn.CrossEntropyLoss()
    kind = (
        partial(torch.optim.SGD, lr=0.01) if net.optimizer == "sgd" else partial(torch.optim.Adam, lr=0.001, fused=True)
    )
    optimizer = kind(model.parameters())

    def forward_backward(x: Any, t: Any) -> Any:
        loss = loss_of(model(x), t)
        loss.backward()
        return loss

    differentiate = torch.compile(forward_backward) if compiled else forward_backward

    def step(x: Any, t: Any) -> Any:
        optimizer.zero_grad()
        loss = differentiate(x, t)
        optimizer.step()
        return loss

    return _turns(step, [(torch.from_numpy(x), torch.from_numpy(t)) for x, t in data])


def jax_jit(net: Network, data: Sequence[Batch]) -> Run:
    """JAX with optax: the whole update in one jitted function, arguments donated, waited for."""
    import jax
    import jax.numpy as jnp
    import optax

    rng = np.random.default_rng(0)
    params = [
        (jnp.asarray(rng.standard_normal((i, o)) * np.sqrt(2 / i), jnp.float32), jnp.zeros(o))
        for i, o in zip(net.sizes, net.sizes[1:], strict=False)
    ]
    optimizer = optax.sgd(0.01) if net.optimizer == "sgd" else optax.adam(0.001)
    state = optimizer.init(params)

    def loss_of(params: Any, x: Any, t: Any) -> Any:
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = params[-1]
        return optax.softmax_cross_entropy_with_integer_labels(x @ w + b, t).mean()

    @partial(jax.jit, donate_argnums=(0, 1))
    def update(params: Any, state: Any, x: Any, t: Any) -> Any:
        loss, grads = jax.value_and_grad(loss_of)(params, x, t)
        changes, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, changes), state, loss

    def step(x: Any, t: Any) -> Any:
        nonlocal params, state
        params, state, loss = update(params, state, x, t)
        return loss.block_until_ready()

    return _turns(step, [(jnp.asarray(x), jnp.asarray(t)) for x, t in data])


def scikit_learn(net: Network, data: Sequence[Batch]) -> Run:
    """scikit-learn: `MLPClassifier.partial_fit` on one batch, plain SGD without momentum."""
    from sklearn.neural_network import MLPClassifier

    settings: dict[str, Any] = {"solver": "adam", "learning_rate_init": 0.001}
    if net.optimizer == "sgd":
        settings = {"solver": "sgd", "learning_rate_init": 0.01, "momentum": 0.0, "nesterovs_momentum": False}
    model = MLPClassifier(net.sizes[1:-1], batch_size=net.batch, alpha=0.0, random_state=0, **settings)
    warnings.filterwarnings("ignore", module="sklearn")
    model.partial_fit(*data[0], classes=np.arange(net.sizes[-1]))
    return _turns(model.partial_fit, data)


def thinc(net: Network, data: Sequence[Batch]) -> Run:
    """Thinc: `chain` of `Relu` and `Softmax`, on its own NumPy operations."""
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

    return _turns(step, targets)


PEERS: dict[str, tuple[str, Callable[[Network, Sequence[Batch]], Run]]] = {
    "hand-written NumPy": ("numpy", lambda net, data: _turns(handwritten_step(net), data)),
    "PyTorch": ("torch", torch_eager),
    "torch.compile": ("torch", partial(torch_eager, compiled=True)),
    "JAX jit": ("jax optax", jax_jit),
    "scikit-learn": ("sklearn", scikit_learn),
    "Thinc": ("thinc", thinc),
}
"""By name: the modules that must be there, and what makes the step."""


def installed_peers() -> list[str]:
    """The peers whose modules are there."""
    return [name for name, (modules, _) in PEERS.items() if all(map(importlib.util.find_spec, modules.split()))]


def candidate(name: str, net: Network, data: Sequence[Batch]) -> Run:
    """The step of a peer, or of the backend of that name through `Trainer.step`."""
    if name in PEERS:
        return PEERS[name][1](net, data)
    return _turns(nnx_step(net, name), data)
