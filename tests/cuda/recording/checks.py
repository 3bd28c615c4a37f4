"""What `test_recording.py` looks at, in a process of its own: `python -m recording.checks NAME...` prints JSON.

A check does something with nnx on the recording CUDA, and returns facts of it; problems and refusals are added by the
runner. What has to be true of them is said in the tests. Losses mean nothing here, since kernels compute nothing.
"""

import gc
import json
import random
import sys
import threading
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from time import perf_counter
from typing import Any

import recording
from recording._runtime import Call, RecordingCuda

cuda = recording.start()

import cupy  # noqa: E402  after the start
import numpy as np  # noqa: E402

import nnx  # noqa: E402
from nnx.bench.networks import NETWORKS, batches, nnx_trainer  # noqa: E402
from nnx.layers import Layer  # noqa: E402
from nnx.training._loop import FitLoop  # noqa: E402

Facts = dict[str, Any]
CHECKS: dict[str, Callable[[], Facts]] = {}

nnx.set_backend("cupy")
# Nothing writes a loss: what is read as one is whatever was in its place, which may look like infinity.
FitLoop.diverged = lambda *_: None  # type: ignore[method-assign]


def check(function: Callable[[], Facts]) -> Callable[[], Facts]:
    CHECKS[function.__name__] = function
    return function


def run(name: str) -> Facts:
    """The facts of a check, with what was wrong, refused and warned of meanwhile."""
    problems, calls, refused = len(cuda.problems), len(cuda.calls), cuda.refused.copy()
    checked = cuda.counts["launches with checked arguments"]
    facts: Facts = {}
    began = perf_counter()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            facts = CHECKS[name]()
        except Exception:
            facts["error"] = traceback.format_exc()
    facts["seconds"] = perf_counter() - began
    times = Counter((problem.text, problem.where) for problem in cuda.problems[problems:])
    facts["problems"] = [f"{text} ({count} times), from {' > '.join(where)}" for (text, where), count in times.items()]
    facts["refused"] = {str(status): count for status, count in (cuda.refused - refused).items()}
    facts["warnings"] = [f"{warning.category.__name__}: {warning.message}" for warning in warned]
    facts["checked"] = cuda.counts["launches with checked arguments"] - checked
    facts["kernels"] = sorted({call.name for call in cuda.calls[calls:] if call.kind == "kernel"})
    return facts


def network(**settings: Any) -> Any:
    return nnx.MLP(**{"hidden": (20, 12), "outputs": 10, **settings})


def of_pictures() -> Any:
    """The second convolution of 3,000 pictures takes two blocks."""
    first = nnx.Convolution(24, 3, pad=1), nnx.ReLU(), nnx.Convolution(5, 3, pad=1), nnx.MaxPooling(2, stride=1, pad=1)
    second = nnx.BatchNorm(), nnx.Sigmoid(), nnx.Dropout(0.2), nnx.AveragePooling(2), nnx.Convolution(7, 1)
    return nnx.Sequential(*first, *second, nnx.Flatten(), nnx.Affine(10))


def without_biases() -> Any:
    """Activations whose gradients are not summed up for a bias."""
    layers = [layer for activation in (nnx.Sigmoid, nnx.Tanh) for layer in (nnx.Affine(12, bias=False), activation())]
    return nnx.Sequential(*layers, nnx.Affine(10))


FIT: Facts = {"batch_size": 10, "verbose": False}


def data(rows: int, dtype: str = "float32") -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.random((rows, 30)).astype(dtype), rng.integers(0, 10, rows)


def memory() -> int:
    """Bytes of the device that are in use when all that nobody needs is given back."""
    gc.collect()
    cupy.get_default_memory_pool().free_all_blocks()
    return cuda.device.used


def since(start: int) -> list[Call]:
    return cuda.calls[start:]


# Everything that a training launches ----------------------------------------------------------------------------------

TRAININGS: dict[str, Callable[[], Any]] = {
    "SGD": lambda: nnx.Trainer(network(), nnx.SGD()),
    "Momentum": lambda: nnx.Trainer(network(activation="tanh"), nnx.Momentum(), weight_decay=1e-4),
    "Nesterov": lambda: nnx.Trainer(network(activation="sigmoid"), nnx.Nesterov(), clip_norm=1.0),
    "without biases": lambda: nnx.Trainer(without_biases(), nnx.SGD()),
    "pictures": lambda: nnx.Trainer(of_pictures(), nnx.Adam()),
    "AdaGrad": lambda: nnx.Trainer(network(dropout=0.3), nnx.AdaGrad(), dtype="float64"),
    "RMSprop": lambda: nnx.Trainer(network(batch_norm=True), nnx.RMSprop(), dtype="float64", weight_decay=1e-4),
    "Adam": lambda: nnx.Trainer(network(batch_norm=True, dropout=0.2), nnx.Adam(), weight_decay=1e-4, clip_norm=5.0),
    "AdamW": lambda: nnx.Trainer(network(batch_norm=True, dropout=0.2), nnx.AdamW(), dtype="float64", clip_norm=5.0),
    "bfloat16": lambda: nnx.Trainer(network(batch_norm=True, dropout=0.2), nnx.Adam(), precision="bfloat16"),
    "float16": lambda: nnx.Trainer(network(dropout=0.2), nnx.AdamW(), precision="float16", clip_norm=1.0),
}


@check
def trainings() -> Facts:
    """Steps of batches of 3,000, 20, 13 and one rows, then a `fit` of bytes; and what is in the graphs."""
    graphs = {}
    for name, make in TRAININGS.items():
        before = len(cuda.recorded)
        trainer = make()
        x, t = data(3000, trainer.dtype or "float32")
        shape = (1, 5, 6) if name == "pictures" else (30,)
        x = x.reshape(-1, *shape)
        for rows in (3000, 20, 13, 1):
            for _ in range(4):
                trainer.step(x[:rows], t[:rows])
        trainer.fit(np.arange(43 * 30, dtype=np.uint8).reshape(43, *shape), t[:1].repeat(43), epochs=4, **FIT)
        made = cuda.recorded[before:]
        graphs[name] = {
            "count": len(made),
            "nodes": Counter(_kind(node) for graph in made for node in graph.nodes),
            "patches": [sum(node.name == "patches" for node in graph.nodes) for graph in made],
        }
    return {"graphs": graphs}


def _kind(call: Call) -> str:
    return f"{call.kind} {call.name}" if call.kind in ("copy", "synchronize") else call.kind


@check
def losses() -> Facts:
    """The other losses, with targets of their kinds."""
    x, _ = data(20)
    rng = np.random.default_rng(0)
    for loss, targets in (
        (nnx.MeanSquaredError(), rng.random((20, 10), np.float32)),
        (nnx.SigmoidCrossEntropy(), rng.integers(0, 2, (20, 10)).astype(np.float32)),
        (nnx.PoissonDeviance(), rng.integers(0, 9, (20, 10)).astype(np.float32)),
    ):
        trainer = nnx.Trainer(network(), loss=loss)
        for _ in range(5):
            trainer.step(x, targets)
        trainer.fit(x, targets, epochs=4, **FIT)
    return {"graphs": len(cuda.recorded)}


@check
def kit() -> Facts:
    """The conformance kit: every operation in every case. Its results are wrong; only what was raised counts."""
    from nnx.testing import run as run_kit

    with np.errstate(invalid="ignore"):  # what lies in a result's place may be a signaling NaN
        report = run_kit(nnx.get_backend())
    errors = [result.error for result in report.results if result.error is not None]
    return {"checks": len(report.results), "raised": [e[:300] for e in errors if "RuntimeError: " in e or "Lt" in e]}


# Memory ---------------------------------------------------------------------------------------------------------------


@check
def memory_under_graphs() -> Facts:
    """Batch sizes at random, trainings side by side, evaluations and garbage collections: graphs come and go."""
    chance = random.Random(0)
    x, t = data(60)
    with recording.watched_blocks(cuda):
        trainers = [nnx.Trainer(network(batch_norm=True, dropout=0.2), nnx.Adam(), weight_decay=1e-4) for _ in range(3)]
        for _ in range(25):
            trainer = chance.choice(trainers)
            rows = chance.choice((1, 2, 7, 20, 33, 60))
            for _ in range(chance.randint(1, 6)):
                trainer.step(x[:rows], t[:rows])
            match chance.randrange(4):
                case 0:
                    trainer.fit(x, t, epochs=2, batch_size=chance.choice((7, 13, 20)), verbose=False)
                case 1:
                    trainer.evaluate(x, t)
                case 2:
                    trainer.model.predict(x)
                case _:
                    memory()
        launches = sum(call.kind == "graph" for call in cuda.calls)
    return {"launches": launches, "private": len(cuda.private)}


@check
def memory_of_trainings() -> Facts:
    """Bytes in use after one training, and after another hundred."""
    x, t = data(40)

    def train() -> None:
        trainer = nnx.Trainer(nnx.MLP((8,), 10, dropout=0.2), nnx.SGD())
        trainer.fit(x, t, epochs=1, batch_size=10, train_accuracy=False, verbose=False)
        for _ in range(4):
            trainer.step(x, t)

    train()
    first, recorded = memory(), len(cuda.recorded)
    for _ in range(100):
        train()
    return {"first": first, "last": memory(), "graphs": len(cuda.recorded) - recorded, "living": len(cuda.executables)}


@check
def memory_of_threads() -> Facts:
    """Bytes in use after rounds of four threads that train at once."""
    x, t = data(40)
    failed: list[str] = []

    def train() -> None:
        try:
            trainer = nnx.Trainer(network(dropout=0.2), nnx.Adam())
            trainer.fit(x, t, epochs=3, **FIT)
        except Exception:
            failed.append(traceback.format_exc())

    used, threads_of_calls = [], set()
    for _ in range(5):
        start = len(cuda.calls)
        threads = [threading.Thread(target=train) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        threads_of_calls |= {(call.thread, call.stream) for call in since(start) if call.captured}
        used.append(memory())
    return {"used": used, "failed": failed, "recording": len({stream for _, stream in threads_of_calls})}


# Copies ---------------------------------------------------------------------------------------------------------------


class Residual(Layer):
    """x + Dropout(x): nnx does not know its kind, and its dropout uploads two numbers at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nnx.Dropout(0.2)

    def attach(self, arena: Any, names: Any, prefix: str) -> None:
        super().attach(arena, names, prefix)
        self.inner._ops, self.inner.seed = arena.ops, 3

    def forward(self, x: Any, train_flg: bool = True) -> Any:
        return x + self.inner.forward(x, train_flg)

    def backward(self, dout: Any) -> Any:
        return dout + self.inner.backward(dout)


class CapturableResidual(Residual):
    """Says of itself that it may be captured, which is not true."""

    capturable = True


def _uploads(layer: Layer) -> Facts:
    return _steps(nnx.Sequential(nnx.Affine(12), layer, nnx.Affine(10)), *data(20))


def _steps(model: nnx.Sequential, x: Any, t: Any) -> Facts:
    """What is recorded in some steps, and what the last one does."""
    trainer = nnx.Trainer(model, nnx.Adam())
    recorded = len(cuda.recorded)
    for _ in range(8):
        trainer.step(x, t)
    start = len(cuda.calls)
    trainer.step(x, t)
    nodes = Counter(_kind(node) for graph in cuda.recorded[recorded:] for node in graph.nodes)
    return {"recorded": nodes, "last step": Counter(_kind(call) for call in since(start))}


@check
def uploads_of_an_unknown_layer() -> Facts:
    return _uploads(Residual())


@check
def uploads_of_a_capturable_layer() -> Facts:
    return _uploads(CapturableResidual())


@check
def augmentation() -> Facts:
    """Layers of pictures that draw random numbers."""
    x, t = data(20)
    layers = nnx.RandomShift(1), nnx.BatchNorm(), nnx.SpatialDropout(0.3), nnx.RandomFlip(), nnx.Flatten()
    return _steps(nnx.Sequential(*layers, nnx.Affine(10)), x.reshape(20, 2, 3, 5), t)


@check
def epochs() -> Facts:
    """What each epoch of 40 steps asks of CUDA once all is captured, and in its end, after the last step's graph."""
    x, t = data(400)
    trainer = nnx.Trainer(network(), nnx.SGD())
    ends: list[int] = []
    trainer.fit(x, t, epochs=5, train_accuracy=False, callbacks=[lambda *_: ends.append(len(cuda.calls))], **FIT)
    facts: Facts = {"copies to the host": [], "graphs": [], "kernels of an epoch": [], "steps that wait": []}
    for start, end in pairwise(ends[1:]):
        calls = cuda.calls[start:end]
        steps = [i for i, call in enumerate(calls) if call.kind == "graph"]
        facts["copies to the host"].append([call.size for call in calls if call.name == "DtoH"])
        facts["graphs"].append(len(steps))
        facts["kernels of an epoch"].append([call.name for call in calls if call.kind == "kernel"])
        facts["steps that wait"].append([_kind(call) for call in calls[: steps[-1]] if call.waits])
    return facts


@check
def step_from_host() -> Facts:
    """All calls of single steps of network S, with arrays of the host, after its graph was made."""
    net = NETWORKS["S"]
    trainer = nnx_trainer(net, "cupy")
    x, t = batches(net, 1)[0]
    for _ in range(5):
        trainer.step(x, t)
    steps = []
    for _ in range(10):
        start = len(cuda.calls)
        trainer.step(x, t)
        steps.append(
            [
                {"what": _kind(c), "size": c.size, "pinned": c.pinned, "waits": c.waits, "stream": c.stream}
                for c in since(start)
            ]
        )
    return {"steps": steps, "bytes": x.nbytes + t.nbytes}


# The recording itself -------------------------------------------------------------------------------------------------


@check
def misuses() -> Facts:
    """What each of some mistakes is found to be: problems' texts, and CUDA's errors by number."""
    return {"found": {function.__name__: _found(function) for function in MISUSES}}


def _found(function: Callable[[RecordingCuda], None]) -> list[str]:
    refused, problems = cuda.refused.copy(), len(cuda.problems)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with suppress(cupy.cuda.runtime.CUDARuntimeError):  # it is counted
            function(cuda)
    found = [problem.text for problem in cuda.problems[problems:]]
    del cuda.problems[problems:]
    found += [f"refused: {status}" for status in (cuda.refused - refused).elements()]
    cuda.refused = refused
    return found


def _captured(work: Callable[[], Any], *, blocking: bool = False) -> Any:
    """The graph, or None where CUDA refused."""
    stream = cupy.cuda.Stream(non_blocking=not blocking)
    with stream:
        stream.begin_capture()
        with suppress(cupy.cuda.runtime.CUDARuntimeError):
            work()
        try:
            return stream.end_capture()
        except cupy.cuda.runtime.CUDARuntimeError:
            return None


def _kernel(parameter: str, shared: int = 0, bound: int = 256) -> Any:
    code = f"""
        extern "C" __global__ void __launch_bounds__({bound}) misused(float *a, {parameter} b) {{
            __shared__ float kept[{shared // 4 + 1}];
            kept[threadIdx.x % {shared // 4 + 1}] = a[0];
            a[1] = kept[0] + b;
        }}"""
    return cupy.RawModule(code=code).get_function("misused")


def memory_freed_under_a_graph(cuda: RecordingCuda) -> None:
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        arrays = [cupy.zeros(5000)]
    graph = _captured(lambda: arrays[0].fill(1))
    arrays.clear()
    pool.free_all_blocks()
    graph.launch()


def memory_given_back_under_a_graph(cuda: RecordingCuda) -> None:
    with recording.watched_blocks(cuda):
        arrays = [cupy.zeros(5000)]
        graph = _captured(lambda: arrays[0].fill(1))
        graph.launch()
        arrays.clear()
        graph.launch()


def host_memory_copied_by_a_graph(cuda: RecordingCuda) -> None:
    a, host = cupy.zeros(5), np.zeros(5)
    runtime = cupy.cuda.runtime

    def copy() -> None:
        stream = cupy.cuda.get_current_stream().ptr
        runtime.memcpyAsync(a.data.ptr, host.ctypes.data, a.nbytes, runtime.memcpyHostToDevice, stream)

    _captured(copy)


def a_wait_while_capturing(cuda: RecordingCuda) -> None:
    _captured(lambda: cupy.cuda.get_current_stream().synchronize())


def a_wait_for_the_device_while_capturing(cuda: RecordingCuda) -> None:
    _captured(cupy.cuda.runtime.deviceSynchronize)


def an_event_from_outside(cuda: RecordingCuda) -> None:
    event = cupy.cuda.get_current_stream().record()
    _captured(lambda: cupy.cuda.get_current_stream().wait_event(event))


def an_event_of_a_graph_waited_for(cuda: RecordingCuda) -> None:
    events = []
    _captured(lambda: events.append(cupy.cuda.get_current_stream().record()))
    events[0].synchronize()


def a_stream_left_behind(cuda: RecordingCuda) -> None:
    other = cupy.cuda.Stream(non_blocking=True)
    _captured(lambda: other.wait_event(cupy.cuda.get_current_stream().record()))


def a_stream_that_comes_back(cuda: RecordingCuda) -> None:
    """No misuse."""
    other, a = cupy.cuda.Stream(non_blocking=True), cupy.zeros(5)

    def work() -> None:
        own = cupy.cuda.get_current_stream()
        other.wait_event(own.record())
        with other:
            a.fill(1)
        own.wait_event(other.record())

    assert len(_captured(work).debug_dot_str().splitlines()) == 1


def a_blocking_stream_captured(cuda: RecordingCuda) -> None:
    _captured(lambda: None, blocking=True)


def an_argument_too_large(cuda: RecordingCuda) -> None:
    _kernel("int")((1,), (32,), (cupy.zeros(2, "f"), np.int64(1)))


def an_argument_too_small(cuda: RecordingCuda) -> None:
    _kernel("long long")((1,), (32,), (cupy.zeros(2, "f"), np.int32(1)))


def an_argument_missing(cuda: RecordingCuda) -> None:
    _kernel("int")((1,), (32,), (cupy.zeros(2, "f"),))


def no_misuse_of_a_kernel(cuda: RecordingCuda) -> None:
    _kernel("int")((1,), (256,), (cupy.zeros(2, "f"), np.int32(1)))


def a_block_too_large(cuda: RecordingCuda) -> None:
    _kernel("int", bound=128)((1,), (256,), (cupy.zeros(2, "f"), np.int32(1)))


def a_grid_too_large(cuda: RecordingCuda) -> None:
    _kernel("int")((1, 1 << 16), (32,), (cupy.zeros(2, "f"), np.int32(1)))


def too_much_shared_memory(cuda: RecordingCuda) -> None:
    _kernel("int", shared=16 << 10)((1,), (32,), (cupy.zeros(2, "f"), np.int32(1)), shared_mem=40 << 10)


def a_copy_beyond_the_memory(cuda: RecordingCuda) -> None:
    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        a = cupy.zeros(128)
    host, runtime = np.zeros(1 << 10), cupy.cuda.runtime
    runtime.memcpyAsync(a.data.ptr, host.ctypes.data, host.nbytes, runtime.memcpyHostToDevice, 0)


MISUSES = (
    memory_freed_under_a_graph,
    memory_given_back_under_a_graph,
    host_memory_copied_by_a_graph,
    a_wait_while_capturing,
    a_wait_for_the_device_while_capturing,
    an_event_from_outside,
    an_event_of_a_graph_waited_for,
    a_stream_left_behind,
    a_stream_that_comes_back,
    a_blocking_stream_captured,
    an_argument_too_large,
    an_argument_too_small,
    an_argument_missing,
    no_misuse_of_a_kernel,
    a_block_too_large,
    a_grid_too_large,
    too_much_shared_memory,
    a_copy_beyond_the_memory,
)


@check
def what_is_seen() -> Facts:
    """Copies from either kind of the host's memory, and streams, are told apart; quiet mode writes nothing down."""
    a, own = cupy.zeros(1000), cupy.cuda.Stream(non_blocking=True)
    pinned = np.frombuffer(cupy.cuda.alloc_pinned_memory(a.nbytes), a.dtype, a.size)
    start = len(cuda.calls)
    a.set(np.arange(1000.0))
    a.set(pinned, own)
    copies = [call for call in since(start) if call.kind == "copy"]
    a.set(np.arange(1000.0))
    start = len(cuda.calls)
    with recording.quiet():
        a.fill(3)
        read = a.get()
    return {
        "pinned": [copy.pinned for copy in copies],
        "on the stream": [copy.stream == own.ptr for copy in copies],
        "read in quiet mode": bool((read == np.arange(1000.0)).all()),
        "written down in quiet mode": len(since(start)),
    }


def main() -> None:
    json.dump({name: run(name) for name in sys.argv[1:] or CHECKS}, sys.stdout)


if __name__ == "__main__":
    main()
