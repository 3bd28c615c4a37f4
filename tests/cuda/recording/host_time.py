"""The host's own time for a step, as if CUDA's calls cost nothing: `python -m recording.host_time`, from tests/cuda.

Network S of the benchmarks (784-50-10, batches of 100, SGD), after its graph is made: microseconds, the best of 15
rounds. To it come CUDA's own calls, which only a GPU's machine can tell. For a person to read, on a machine that does
nothing else; no test asserts it.
"""

import gc
import time
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import recording

ROUNDS, STEPS, EPOCH = 15, 400, 200


def best(step: Callable[[], Any]) -> float:
    """Microseconds of a call."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(STEPS):
            step()
        rounds.append((time.perf_counter() - start) / STEPS)
    return 1e6 * min(rounds)


def of_fit(trainer: Any, net: Any) -> float:
    """Microseconds of a step of `fit`: of the best epoch, with all that is done at its end."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.random((net.batch * EPOCH, net.sizes[0]), np.float32)
    t = rng.integers(0, net.sizes[-1], len(x))
    ends: list[float] = []

    with ExitStack() as silence:

        def stop_the_clock(*_: Any) -> None:
            if not ends:  # the first epoch has made the graph
                silence.enter_context(recording.quiet())
            ends.append(time.perf_counter())

        settings = {"epochs": ROUNDS + 1, "batch_size": net.batch, "train_accuracy": False, "verbose": False}
        trainer.fit(x, t, callbacks=[stop_the_clock], **settings)
    return 1e6 * min(end - start for start, end in pairwise(ends)) / EPOCH


def main() -> None:
    recording.start()
    import numpy as np

    import nnx
    from nnx.bench.networks import NETWORKS, batches, nnx_trainer

    net = NETWORKS["S"]
    backend = nnx.get_backend("cupy")
    trainer = nnx_trainer(net, backend)
    host_x, host_t = batches(net, 1)[0]
    x, t = backend.to_device(host_x), backend.to_device(host_t)
    for _ in range(5):
        trainer.step(x, t)
        trainer.step(host_x, host_t)
    run = trainer.plan.program(net.batch).run
    captured = run._run
    hyper = np.array(trainer.optimizer.hyper(trainer.steps, trainer._decay), trainer.model.dtype)
    gc.collect()
    with recording.quiet():
        figures = {
            "Trainer.step, arrays on the device": best(lambda: trainer.step(x, t)),
            "Trainer.step, arrays on the host": best(lambda: trainer.step(host_x, host_t)),
            "Trainer._update": best(lambda: trainer._update(run, x, t)),
            "CapturedStep()": best(lambda: captured(x, t, hyper)),
        }
    figures["a step of fit"] = of_fit(nnx_trainer(net, backend), net)
    for name, microseconds in figures.items():
        print(f"{name:36} {microseconds:6.1f} us")


if __name__ == "__main__":
    main()
