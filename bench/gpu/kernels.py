"""What only a GPU can tell of our kernels and graphs: `python bench/gpu/kernels.py FILE.json`, about half a minute.

The file is written anew after every figure. One that cannot be had harms no other; the exit status is 1 then.
Times are medians of CUDA events around warm launches, on random numbers (zeros would draw less power and clock higher).
Rates are compared with this device's own copy, measured in the same run.
"""

import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import _inside
import cupy
import numpy as np

import nnx
from nnx.bench.networks import NETWORKS, Batch, Network, batches, nnx_trainer
from nnx.bench.report import Report
from nnx.ops._bind import Ops

PICTURES = Network("pictures", (784, 10), 100, "adam")
"""Its batches are those of `step_of_pictures`."""


def seconds(run: Callable[[], Any], calls: int = 30) -> float:
    """Of one call, on the device."""
    for _ in range(3):
        run()
    times = []
    for _ in range(calls):
        begin, end = cupy.cuda.Event(), cupy.cuda.Event()
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begin, end) / 1e3)
    return statistics.median(times)


def copy_rate(many: int = 100_000_000) -> float:
    """Bytes per second that a copy reads and writes."""
    a = cupy.random.default_rng(0).random(many, dtype=np.float32)
    b = cupy.empty_like(a)
    return 8 * many / seconds(lambda: cupy.copyto(b, a))


def adam_rate(ops: Ops, many: int = 100_000_000) -> float:
    """Bytes per second: 28 for each parameter."""
    rng = cupy.random.default_rng(0)
    p, g, m, v = (rng.random(many, dtype=np.float32) for _ in range(4))
    hyper = ops.to_device(np.array([1e-6, 1, 1e-8, 0.1, 0.001, 0, 1], np.float32))
    return 28 * many / seconds(lambda: ops.update_(nnx.Adam.formula(), hyper, p, g, m, v))


def cross_entropy_rate(ops: Ops, n: int = 16_384, c: int = 32_768) -> float:
    """Bytes per second: 8 for each logit, read and its gradient written."""
    rng = cupy.random.default_rng(0)
    z = rng.standard_normal((n, c), dtype=np.float32)
    dz, t = cupy.empty_like(z), rng.integers(0, c, n)
    return 8 * n * c / seconds(lambda: ops.softmax_cross_entropy(z, t, dz=dz))


def patches_rate(ops: Ops, n: int = 32, side: int = 56, c: int = 64, *, back: bool = False) -> float:
    """Bytes per second around a convolution's products, by 3 x 3 pixels: 40 for each number of x, or of dx."""
    x = cupy.random.default_rng(0).standard_normal((n, side, side, c), dtype=np.float32)
    return 40 * x.size / seconds(_inside.patches(ops.backend, x, back=back))


def max_pooling_rate(ops: Ops, n: int = 64, side: int = 112, c: int = 64) -> float:
    """Bytes per second: halves, so 5 and a quarter for each number of x, with those of the index."""
    x = cupy.random.default_rng(0).standard_normal((n, side, side, c), dtype=np.float32)
    y = cupy.empty((n, side // 2, side // 2, c), np.float32)
    index, halves = cupy.empty(y.shape, np.uint8), {"size": (2, 2), "stride": (2, 2)}
    return (x.nbytes + y.nbytes + index.nbytes) / seconds(lambda: ops.max_pooling(x, out=y, index=index, **halves))


def convolution_rate(ops: Ops, n: int = 64, side: int = 56, c: int = 64, *, back: bool = False) -> float:
    """Operations per second, two for each product of numbers, of c filters of 3 x 3 pixels or of both gradients."""
    rng = cupy.random.default_rng(0)
    x, w = (rng.standard_normal(shape, dtype=np.float32) for shape in ((n, side, side, c), (c, c, 3, 3)))
    b, y, dx, dw = cupy.zeros(c, np.float32), cupy.empty_like(x), cupy.empty_like(x), cupy.empty_like(w)

    def run() -> None:
        if back:
            ops.convolution_backward(x, x, w, pad=(1, 1), dx=dx, dw=dw, db=b)
        else:
            ops.convolution(x, w, b, pad=(1, 1), out=y)

    return (2 if back else 1) * 2 * 9 * c * x.size / seconds(run)


def step(net: Network) -> dict[str, Any]:
    """Of a network of `nnx bench`."""
    return timed(nnx_trainer(net, "cupy"), batches(net))


def step_of_pictures(filters: tuple[int, int] = (20, 50), units: int = 500) -> dict[str, Any]:
    """Of a small convolutional network (LeNet-5's form) on digits of 28 x 28 pixels."""
    layers: list[nnx.Layer] = []
    for count in filters:
        layers += [nnx.Convolution(count, 5), nnx.ReLU(), nnx.MaxPooling(2)]
    model = nnx.Sequential(*layers, nnx.Flatten(), nnx.Affine(units), nnx.ReLU(), nnx.Affine(10))
    trainer = nnx.Trainer(model, nnx.Adam(), backend=nnx.get_backend("cupy"))
    trainer.build((1, 28, 28))
    return timed(trainer, [(x.reshape(-1, 1, 28, 28), t) for x, t in batches(PICTURES)])


def timed(trainer: nnx.Trainer, batches: list[Batch]) -> dict[str, Any]:
    """The host's and the device's seconds per step, and the graph's nodes."""
    to_device = trainer.model.backend.to_device
    data = [(to_device(x), to_device(t)) for x, t in batches]
    for i in range(20):
        trainer.step(*data[i % len(data)])
    trainer.model.backend.synchronize()
    count = 200  # few enough for the device's queue: the host never waits for it
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    start = time.perf_counter()
    begin.record()
    for i in range(count):
        trainer.step(*data[i % len(data)])
    end.record()
    host = (time.perf_counter() - start) / count
    end.synchronize()
    device = cupy.cuda.get_elapsed_time(begin, end) / 1e3 / count
    graph = _inside.graph(trainer, len(data[0][0]))
    return {"host, s": host, "device, s": device, "nodes": _inside.count(graph)["all"]}


def figures(ops: Ops) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """(section, name, what measures it): the steps, then the kernels that are to run at the memory's speed."""
    for net in NETWORKS.values():
        yield "steps", net.name, partial(step, net)
    yield "steps", "pictures", step_of_pictures
    yield "bytes/s", "copy", copy_rate
    yield "bytes/s", "adam_", partial(adam_rate, ops)
    yield "bytes/s", "softmax_cross_entropy", partial(cross_entropy_rate, ops)
    yield "bytes/s", "max_pooling", partial(max_pooling_rate, ops)
    yield "bytes/s", "patches", partial(patches_rate, ops)
    yield "bytes/s", "patches_backward", partial(patches_rate, ops, back=True)
    yield "operations/s", "convolution", partial(convolution_rate, ops)
    yield "operations/s", "convolution_backward", partial(convolution_rate, ops, back=True)


def main(path: Path) -> int:
    """1 if a figure could not be had."""
    backend, report = nnx.get_backend("cupy"), Report(path)
    report["device"] = backend.device_info()
    for section, name, measure in figures(Ops(backend)):
        try:
            report.add(section, name, measure())
        except Exception:
            report.add("failures", f"{section}: {name}", traceback.format_exc())
    rates = report.get("bytes/s", {})
    if copied := rates.get("copy"):
        report["shares of the copy"] = {name: rate / copied for name, rate in rates.items() if name != "copy"}
    report.finish()
    print(json.dumps(report, indent=1))
    return int("failures" in report)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
