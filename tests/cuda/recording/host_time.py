"""The host's own time for a step, as if CUDA's calls cost nothing: `python -m recording.host_time`, from tests/cuda.

Network S of the benchmarks (784-50-10, batches of 100, SGD), after its graph is made: microseconds, the best of 15
rounds. To it come CUDA's own calls, which only a GPU's machine can tell. For a person to read, on a machine that does
nothing else; no test asserts it.
"""

import gc
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
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


def call_of(owner: type, name: str, work: Callable[[], Any]) -> Callable[[], Any]:
    """The call of a method that `work` makes, to be made again and again: whatever its arguments are."""
    method, calls = getattr(owner, name), []

    def noting(*arguments: Any, **settings: Any) -> Any:
        calls.append(partial(method, *arguments, **settings))
        return method(*arguments, **settings)

    setattr(owner, name, noting)
    try:
        work()
    finally:
        setattr(owner, name, method)
    return calls[-1]


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

        settings: dict[str, Any] = {"batch_size": net.batch, "train_accuracy": False, "verbose": False}
        trainer.fit(x, t, epochs=ROUNDS + 1, callbacks=[stop_the_clock], **settings)
    return 1e6 * min(end - start for start, end in pairwise(ends)) / EPOCH


def main() -> None:
    recording.start()
    from nnx_cupy._graph import CapturedStep

    import nnx
    from nnx.bench.networks import NETWORKS, batches, nnx_trainer

    net, backend = NETWORKS["S"], nnx.get_backend("cupy")
    host = batches(net, 1)[0]
    device = tuple(backend.to_device(array) for array in host)
    steps = []
    for arrays in (device, host):
        step = partial(nnx_trainer(net, "cupy").step, *arrays)
        for _ in range(5):
            step()
        steps.append(step)
    update = call_of(nnx.Trainer, "advance", steps[0])
    captured = call_of(CapturedStep, "__call__", steps[0])
    gc.collect()
    with recording.quiet():
        figures = {
            "Trainer.step, arrays on the device": best(steps[0]),
            "Trainer.step, arrays on the host": best(steps[1]),
            "Trainer.advance": best(update),
            "CapturedStep()": best(captured),
        }
    figures["a step of fit"] = of_fit(nnx_trainer(net, "cupy"), net)
    for name, microseconds in figures.items():
        print(f"{name:36} {microseconds:6.1f} us")


if __name__ == "__main__":
    main()
