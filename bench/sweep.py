"""Twelve networks that nobody tuned for, on the Numba backend and in the frameworks: `python bench/sweep.py`.

Inputs of 4 to 1,500 numbers, hidden layers of 16 to 1,500, batches of 16 to 1,024, all activations and optimizers that
the frameworks share, batch normalization and dropout in some. Every candidate is measured in processes of its own,
which take turns; a framework that is not installed is left out.
"""

import argparse
import importlib.util
import json
import statistics
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.table import Table

import nnx
from nnx.backend import environment
from nnx.bench.measure import per_call
from nnx.bench.run import Run
from nnx.bench.steps import in_turns


@dataclass(frozen=True)
class Net:
    """A network: its sizes, rows of a batch, optimizer, activation; what else is in each hidden layer."""

    sizes: tuple
    batch: int
    optimizer: str
    activation: str
    norm: bool = False
    dropout: float = 0.0

    def __str__(self):
        extra = ", batch norm" * self.norm + f", dropout {self.dropout}" * (self.dropout > 0)
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}, {self.optimizer}, {self.activation}{extra}"


NETS = (
    Net((4, 16, 3), 16, "sgd", "relu"),
    Net((13, 64, 32, 3), 32, "adam", "tanh"),
    Net((64, 30, 10), 100, "adam", "relu"),
    Net((54, 256, 256, 256, 7), 512, "adam", "relu"),
    Net((300, 200, 100, 7), 64, "momentum", "sigmoid"),
    Net((784, 100, 10), 64, "rmsprop", "gelu"),
    Net((128, 512, 2), 256, "adagrad", "relu", dropout=0.5),
    Net((1500, 64, 20), 128, "adam", "leaky_relu"),
    Net((1000, 1500, 10), 64, "momentum", "relu"),
    Net((20, 100, 100, 100, 100, 5), 1024, "adam", "tanh", norm=True),
    Net((256, 256, 256, 26), 200, "adam", "gelu", norm=True, dropout=0.2),
    Net((40, 16, 16, 2), 1024, "sgd", "sigmoid"),
)
BATCHES = 7


def batches(net):
    """Rows with labels that a network can learn: where nothing can be learned, Adam's moments become denormal."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCHES * net.batch, net.sizes[0])).astype(np.float32)
    t = (x @ rng.normal(size=(net.sizes[0], net.sizes[-1]))).argmax(axis=1)
    return [(x[i : i + net.batch].copy(), t[i : i + net.batch].copy()) for i in range(0, len(x), net.batch)]


def of_nnx(net, data):
    kinds = {"relu": nnx.ReLU, "tanh": nnx.Tanh, "sigmoid": nnx.Sigmoid, "gelu": nnx.GELU, "leaky_relu": nnx.LeakyReLU}
    optimizers = {
        "sgd": partial(nnx.SGD, 0.01),
        "momentum": partial(nnx.Momentum, 0.01),
        "adagrad": partial(nnx.AdaGrad, 0.01),
        "rmsprop": partial(nnx.RMSprop, 0.001),
        "adam": partial(nnx.Adam, 0.001),
    }
    layers = []
    for size in net.sizes[1:-1]:
        layers += [nnx.Affine(size), *([nnx.BatchNorm()] if net.norm else []), kinds[net.activation]()]
        layers += [nnx.Dropout(net.dropout, inverted=True)] if net.dropout else []
    model = nnx.Sequential(*layers, nnx.Affine(net.sizes[-1]))
    trainer = nnx.Trainer(model, optimizers[net.optimizer](), backend="numba")
    return trainer.step, data


def of_torch(net, data, compiled=False):
    import torch

    torch.set_num_threads(environment.cores())
    torch.manual_seed(0)
    kinds = {
        "relu": torch.nn.ReLU,
        "tanh": torch.nn.Tanh,
        "sigmoid": torch.nn.Sigmoid,
        "gelu": torch.nn.GELU,
        "leaky_relu": torch.nn.LeakyReLU,
    }
    optimizers = {
        "sgd": partial(torch.optim.SGD, lr=0.01, fused=True),
        "momentum": partial(torch.optim.SGD, lr=0.01, momentum=0.9, fused=True),
        "adagrad": partial(torch.optim.Adagrad, lr=0.01, fused=True),
        "rmsprop": partial(torch.optim.RMSprop, lr=0.001),
        "adam": partial(torch.optim.Adam, lr=0.001, fused=True),
    }
    layers = []
    for i, o in zip(net.sizes[:-2], net.sizes[1:-1], strict=True):
        layers += [torch.nn.Linear(i, o), *([torch.nn.BatchNorm1d(o)] if net.norm else []), kinds[net.activation]()]
        layers += [torch.nn.Dropout(net.dropout)] if net.dropout else []
    model = torch.nn.Sequential(*layers, torch.nn.Linear(*net.sizes[-2:]))
    loss_of, optimizer = torch.nn.CrossEntropyLoss(), optimizers[net.optimizer](model.parameters())

    def forward_backward(x, t):
        loss = loss_of(model(x), t)
        loss.backward()
        return loss

    differentiate = torch.compile(forward_backward) if compiled else forward_backward

    def step(x, t):
        optimizer.zero_grad()
        loss = differentiate(x, t)
        optimizer.step()
        return loss

    return step, [(torch.from_numpy(x), torch.from_numpy(t)) for x, t in data]


def of_jax(net, data):
    import jax
    import jax.numpy as jnp
    import optax

    kinds = {
        "relu": jax.nn.relu,
        "tanh": jnp.tanh,
        "sigmoid": jax.nn.sigmoid,
        "gelu": partial(jax.nn.gelu, approximate=False),
        "leaky_relu": jax.nn.leaky_relu,
    }
    optimizer = {
        "sgd": lambda: optax.sgd(0.01),
        "momentum": lambda: optax.sgd(0.01, momentum=0.9),
        "adagrad": lambda: optax.adagrad(0.01),
        "rmsprop": lambda: optax.rmsprop(0.001),
        "adam": lambda: optax.adam(0.001),
    }[net.optimizer]()
    rng = np.random.default_rng(0)
    params, running = [], []
    for i, o in zip(net.sizes[:-1], net.sizes[1:], strict=True):
        w = (rng.standard_normal((i, o)) * np.sqrt(2 / i)).astype(np.float32)
        params.append((w, *(np.full(o, v, np.float32) for v in (0, 1, 0))))  # bias, scale and shift
        running.append(tuple(np.full(o, v, np.float32) for v in (0, 1)))
    params = [p if net.norm else p[:2] for p in params[:-1]] + [params[-1][:2]]
    params, running = jax.device_put(params), jax.device_put(running[:-1])
    state, key = optimizer.init(params), jax.random.key(0)

    def loss_of(params, running, key, x, t):
        kept = []
        for k, (w, b, *norm) in enumerate(params[:-1]):
            x = jnp.matmul(x, w, precision="highest") + b
            if net.norm:
                mean, var = x.mean(axis=0), x.var(axis=0)
                kept.append((0.9 * running[k][0] + 0.1 * mean, 0.9 * running[k][1] + 0.1 * var))
                x = norm[0] * (x - mean) / jnp.sqrt(var + 1e-5) + norm[1]
            x = kinds[net.activation](x)
            if net.dropout:
                keep = jax.random.bernoulli(jax.random.fold_in(key, k), 1 - net.dropout, x.shape)
                x = jnp.where(keep, x / (1 - net.dropout), 0)
        w, b = params[-1]
        z = jnp.matmul(x, w, precision="highest") + b
        return optax.softmax_cross_entropy_with_integer_labels(z, t).mean(), kept or running

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def update(params, state, running, key, x, t):
        (loss, running), grads = jax.value_and_grad(loss_of, has_aux=True)(params, running, key, x, t)
        changes, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, changes), state, running, jax.random.fold_in(key, 1), loss

    def step(x, t):
        nonlocal params, state, running, key
        params, state, running, key, loss = update(params, state, running, key, x, t)
        return loss.block_until_ready()

    return step, [(jax.device_put(x), jax.device_put(t)) for x, t in data]


CANDIDATES = {
    "nnx": ("numba", of_nnx),
    "PyTorch": ("torch", of_torch),
    "torch.compile": ("torch", partial(of_torch, compiled=True)),
    "JAX jit": ("optax", of_jax),
}


def work(name, nets):
    """Print the seconds of a step of each network, as JSON."""
    seconds = {}
    for k in nets:
        step, data = CANDIDATES[name][1](NETS[k], batches(NETS[k]))

        def run(i, step=step, data=data):
            step(*data[i % BATCHES])

        for i in range(20):
            run(i)
        seconds[k] = per_call(run, lambda: None, seconds=0.5, rounds=7)
        print(json.dumps(seconds), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="processes of each candidate, which take turns")
    parser.add_argument("--candidates", help="names, separated by commas; default: all that are installed")
    parser.add_argument("--nets", help="numbers of networks, from 0, separated by commas; default: all")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("worker", nargs="?", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    nets = [int(k) for k in asked.nets.split(",")] if asked.nets else range(len(NETS))
    if asked.worker:
        work(asked.worker, nets)
        return
    names = asked.candidates.split(",") if asked.candidates else list(CANDIDATES)
    names = [n for n in names if importlib.util.find_spec(CANDIDATES[n][0])]
    run, times = Run("numba", "S", asked.rounds, asked.json), {}
    for name, result in in_turns([__file__], names, ["--nets", ",".join(map(str, nets))], asked.rounds):
        if "error" in result:
            run.console.print(f"{name}: failed: {result.pop('error')}", markup=False, highlight=False)
        for k, seconds in result.items():
            times.setdefault(int(k), {}).setdefault(name, []).append(seconds)
    table = Table("network", *names, "lead", title="microseconds of a step, medians over the processes")
    rows, leads = {}, []
    for k, found in times.items():
        medians = {name: statistics.median(seconds) for name, seconds in found.items()}
        others = [seconds for name, seconds in medians.items() if name != "nnx"]
        lead = min(others) / medians["nnx"] if others and "nnx" in medians else float("nan")
        leads.append(lead)
        rows[str(NETS[k])] = {"seconds": medians, "lead": lead}
        table.add_row(str(NETS[k]), *(f"{medians[n] * 1e6:.0f}" if n in medians else "" for n in names), f"{lead:.2f}")
    run.console.print(table)
    mean = statistics.geometric_mean(leads)
    run.console.print(
        f"lead over the fastest framework: geometric mean {mean:.2f}, least {min(leads):.2f}", highlight=False
    )
    run.keep("sweep", {"networks": rows, "mean": mean, "least": min(leads)})
    run.finish()


if __name__ == "__main__":
    sys.exit(main())
