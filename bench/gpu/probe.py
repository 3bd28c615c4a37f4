"""The first questions to a GPU, seconds each: `python bench/gpu/probe.py QUESTION...`.

Questions: backend, products, uploads, nodes, leaks, host. Each says what it sees and what is wrong with it; the exit
status is 1 if anything was wrong or a question could not be asked.
"""

import gc
import statistics
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import _inside
import cupy
import numpy as np

import nnx
from nnx.bench.networks import NETWORKS, batches, nnx_trainer
from nnx.layers import Layer

KINDS: tuple[dict[str, str], ...] = (
    {"dtype": "float32"},
    {"dtype": "float64"},
    {"precision": "bfloat16"},
    {"precision": "float16"},
)
"""Settings of a trainer, by which its products differ."""
ROUNDING = 2e-3
"""How far 300 losses in float32 may be from NumPy's: as in tests/gpu."""
FLAT = 8
"""MiB by which the device's memory may grow and still be called flat: CUDA itself takes memory in pieces of 2."""

Answer = list[str]
"""What is wrong; none of it if all is well."""


def trainer(**settings: Any) -> nnx.Trainer:
    """One that uses all that a step can hold: batch normalization, dropout, weight decay, clipping."""
    model = nnx.MLP((64, 32), 10, batch_norm=True, dropout=0.2)
    return nnx.Trainer(model, nnx.Adam(1e-3), weight_decay=1e-4, clip_norm=5.0, backend="cupy", seed=1, **settings)


def digits() -> tuple[Any, Any]:
    """Rows of 64 numbers, float32, and their labels."""
    data = nnx.datasets.digits()
    return data.inputs().reshape(-1, 64), data.t


def backend() -> Answer:
    """Can the backend run here, and on what? Good: "can run", and the GPU that one expects."""
    from nnx_cupy import CupyBackend

    if why := CupyBackend.unavailable():
        return [f"the backend cannot run: {why}"]
    print("can run", nnx.get_backend("cupy").device_info())
    return []


def products() -> Answer:
    """Which products does cuBLASLt take, in every dtype? Good: each is taken, no operation is declined, and the losses
    are numbers that fall."""
    wrong, (x, t) = [], digits()
    for kind in KINDS:
        tried = trainer(**kind)
        x_kind = x[:100].astype(kind.get("dtype", "float32"))
        kept = [tried.step(x_kind, t[:100]) for _ in range(8)]
        ops = tried.model.ops
        losses, declined = [float(ops.to_host(loss)) for loss in kept], ops.explain().declined
        print(kind, "losses", np.round(losses, 3), "declined", declined)
        if declined:
            wrong.append(f"{kind}: operations were declined: {declined}")
        if not (np.isfinite(losses).all() and losses[-1] < losses[0]):
            wrong.append(f"{kind}: the losses do not fall")
    declined_products, asked = _inside.products(nnx.get_backend("cupy"))
    print("products declined", declined_products, *asked, sep="\n")
    return wrong + [product for product in asked if product.startswith("no algorithm")]


class Scaled(Layer):
    """x times a number that Python counts on and uploads at every call: a recording would hold the first one."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.factor = 0, None

    def forward(self, x: Any, train_flg: bool = True) -> Any:
        self.factor = self.ops.to_device(np.array(1 + self.calls % 7 / 8, "float32"))
        self.calls += train_flg
        return x * self.factor

    def backward(self, dout: Any) -> Any:
        return dout * self.factor


class CapturableScaled(Scaled):
    """The same, said to be fit for a recording, which it is not."""

    capturable = True


def losses_of(layer: Layer, backend: str) -> tuple[list[float], list[str]]:
    """Of 300 steps with that layer in the middle, and what was warned of."""
    x, t = digits()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        tried = nnx.Trainer(nnx.Sequential(nnx.Affine(32), layer, nnx.Affine(10)), nnx.Adam(), backend=backend)
        kept = [tried.step(x[:100], t[:100]) for _ in range(300)]
        losses = [float(tried.model.ops.to_host(loss)) for loss in kept]
    return losses, [f"{w.category.__name__}: {w.message}" for w in seen]


def uploads() -> Answer:
    """What becomes of a step that uploads? Good: it runs launch by launch, as NumPy to rounding, and nnx says so; of a
    layer that is said to be capturable by a CaptureWarning, when its upload inside the recording is refused."""
    wrong = []
    for kind in (Scaled, CapturableScaled):
        (losses, warned), (expected, _) = losses_of(kind(), "cupy"), losses_of(kind(), "numpy")
        difference = float(np.abs(np.subtract(losses, expected)).max())
        print(f"{kind.__name__}: largest difference {difference:.2g}, warned of {warned}")
        if not difference <= ROUNDING:
            wrong.append(f"{kind.__name__}: losses differ from NumPy's by {difference:.2g}")
        if not any(kind is Scaled or text.startswith("CaptureWarning") for text in warned):
            wrong.append(f"{kind.__name__}: nothing says that the step does not become a graph")
    return wrong


def nodes() -> Answer:
    """What is in the graph of a step? Good: kernels and memsets; a MEMCPY would read the host's memory at each launch,
    whatever lies there by then."""
    wrong, (x, t) = [], digits()
    for kind in KINDS:
        tried = trainer(**kind)
        for _ in range(5):
            tried.step(x[:100].astype(kind.get("dtype", "float32")), t[:100])
        counted = _inside.count(_inside.graph(tried, 100))
        print(kind, counted)
        if counted["MEMCPY"]:
            wrong.append(f"{kind}: {counted['MEMCPY']} copies in the graph")
    return wrong


def used() -> int:
    """MiB of the device's memory that somebody uses, free blocks of CuPy's pool given back: others' on it, too."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    cupy.cuda.runtime.deviceSynchronize()
    free, total = cupy.cuda.runtime.memGetInfo()
    return int(total - free) >> 20


def leaks() -> Answer:
    """Does memory stay with trainings, or threads, that have ended? Good: as much is used after many as after one."""
    x, t = digits()

    def fit() -> None:
        trainer().fit(x, t, epochs=3, verbose=False)

    def four_threads() -> None:
        threads = [threading.Thread(target=fit) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    wrong = []
    for what, run, times in (("trainings", fit, 20), ("rounds of four threads that train", four_threads, 4)):
        run()
        first = used()
        for _ in range(times - 1):
            run()
        last = used()
        print(f"{first} MiB after the first of {times} {what}, {last} after the last")
        if last - first > FLAT:
            wrong.append(f"memory grows by {last - first} MiB in {times} {what}")
    return wrong


def host() -> Answer:
    """Microseconds of a step of S: the host's, the device's with the host, the graph's alone. Good: the host's, 10 at
    most, are fewer than the device's. Figures; none is called wrong."""
    net = NETWORKS["S"]
    tried = nnx_trainer(net, "cupy")
    x, t = map(tried.model.backend.to_device, batches(net, 1)[0])

    def microseconds(run: Callable[[], Any], count: int) -> tuple[float, float]:
        """Of a call: on the host, and on the device."""
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        start = time.perf_counter()
        for _ in range(count):
            run()
        took = time.perf_counter() - start
        end.record()
        end.synchronize()
        return took / count * 1e6, cupy.cuda.get_elapsed_time(begin, end) / count * 1e3

    microseconds(lambda: tried.step(x, t), 50)
    # Few enough that the host never waits for room in the device's queue.
    by_host, by_device = microseconds(lambda: tried.step(x, t), 150)
    launch, stream = _inside.graph(tried, net.batch).launch, cupy.cuda.get_current_stream()
    alone = statistics.median(microseconds(lambda: launch(stream), 1)[1] for _ in range(50))
    print(f"S: host {by_host:.1f} us a step, device {by_device:.1f} us a step, the graph alone {alone:.1f} us")
    return []


QUESTIONS = {question.__name__: question for question in (backend, products, uploads, nodes, leaks, host)}


def main(names: list[str]) -> int:
    """1 if anything was wrong. A question that cannot be asked harms no other."""
    unknown = [name for name in names if name not in QUESTIONS]
    if unknown or not names:
        print(f"got {unknown or 'no question'}, expected some of {', '.join(QUESTIONS)}", file=sys.stderr)
        return 2
    failed = False
    for name in names:
        print(f"== {name}", flush=True)
        try:
            wrong = QUESTIONS[name]()
        except Exception:
            wrong = [traceback.format_exc()]
        for sentence in wrong:
            print(f"{name}: WRONG: {sentence}", flush=True)
        failed |= bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
