"""The overhead of nnx: a training step of S less its operations alone, and a step of `fit` less a training step."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from ..layers import Affine, ReLU
from ..losses import SoftmaxCrossEntropy
from ..model import Sequential
from ..ops import spec
from ..optimizers import SGD
from ..plan import TrainingStep
from ..training import DeviceData, Trainer
from .networks import NETWORKS, batches


def _alternate(first: Callable[[], Any], second: Callable[[], Any], rounds: int = 21, calls: int = 300) -> float:
    """Return how many seconds longer a call of `first` takes than one of `second`: the median over the rounds."""
    differences = []
    for _ in range(rounds):
        times = []
        for run in (first, second):
            start = time.perf_counter()
            for _ in range(calls):
                run()
            times.append((time.perf_counter() - start) / calls)
        differences.append(times[0] - times[1])
    return statistics.median(differences)


def run_overhead(backend: str) -> dict[str, float]:
    """Measure the overhead in seconds.

    Returns:
        "step": of a training step of S over its operations alone; over its jobs alone, where they are recorded. "fit":
            of a step of `fit` on a batch of 60,000 shuffled rows of bytes over a training step.
    """
    net = NETWORKS["S"]
    x, t = batches(net)[0]
    model = Sequential(Affine(net.sizes[1]), ReLU(), Affine(net.sizes[2]))
    trainer = Trainer(model, SGD(lr=0.01), backend=backend)
    trainer.build((net.sizes[0],))

    def step() -> None:
        trainer.step(x, t)

    calls: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []
    bound = {name: getattr(model.ops, name) for name in spec.OPERATIONS if name != "capture"}
    for name, op in bound.items():

        def recording(*args: Any, _op: Callable[..., Any] = op, **kwargs: Any) -> Any:
            calls.append((_op, args, kwargs))
            return _op(*args, **kwargs)

        setattr(model.ops, name, recording)
    recorder = Trainer(model, SGD(lr=0.01))
    recorder.step(x, t)
    calls.clear()  # the first step allocates
    recorder.step(x, t)
    for name, op in bound.items():
        setattr(model.ops, name, op)

    def replay() -> None:
        for op, args, kwargs in calls:
            op(*args, **kwargs)

    for _ in range(3):
        step()
    alone = getattr(trainer.training_step.captured(net.batch).run, "repeat_jobs", replay)

    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (60_000, net.sizes[0]), np.uint8)
    data = DeviceData(
        model, SoftmaxCrossEntropy(), rows, rng.integers(0, 10, len(rows)), name="x", target="t", finite=False
    )
    order = rng.permutation(len(rows))
    place = 0

    gathered = TrainingStep(trainer.plan, data)

    def fit_step() -> None:
        nonlocal place
        place = (place + net.batch) % (len(rows) - net.batch)
        trainer.advance(gathered, net.batch, (order[place : place + net.batch],))

    fit_step()
    return {"step": _alternate(step, alone), "fit": _alternate(fit_step, step)}
