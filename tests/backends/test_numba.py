"""What the Numba backend promises beside the conformance kit: precision, threads, processes, and no declines."""

import math
import multiprocessing
import os
import subprocess
import sys

import kit
import numpy as np
import pytest
from threads import at_once

import nnx
import nnx.testing
from nnx.datasets import digits
from nnx.ops import Ops

pytestmark = pytest.mark.skipif(
    "numba" not in [s.name for s in nnx.list_backends() if s.usable], reason="the Numba backend cannot run here"
)


@pytest.fixture(scope="module")
def backend():
    return nnx.get_backend("numba")


def in_a_process(code, **environment):
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout + done.stderr


@kit.dtypes(pytest.mark.long)
def test_the_kit_passes(backend, dtype):
    kit.passes(backend, dtype)


KIT = """
import sys, nnx.testing
from nnx_numba import NumbaBackend
report = nnx.testing.run(NumbaBackend())
sys.exit(0 if report.ok else str(report))
"""


@pytest.mark.long
@pytest.mark.parametrize("setting", [{"NUMBA_DISABLE_JIT": "1"}, {"NNX_NUM_THREADS": "1"}], ids=str)
def test_the_kit_passes_with(setting):
    status, output = in_a_process(KIT, **setting)
    assert status == 0, output


@pytest.mark.long
def test_the_kit_passes_with_bounds_checked(tmp_path):
    status, output = in_a_process(KIT, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert status == 0, output


def test_shapes_that_disagree_are_refused_before_any_tile_runs(backend):
    x, w, b = np.ones((6, 4), np.float32), np.ones((5, 3), np.float32), np.zeros(3, np.float32)
    for call in (
        lambda: backend.affine(x, w, b),
        lambda: backend.affine(x, w[:4].copy(), out=np.empty((6, 2), np.float32)),
        lambda: backend.affine_backward(np.ones((7, 3), np.float32), x, w, dw=np.empty((4, 3), np.float32)),
        lambda: backend.affine_backward(np.ones((6, 2), np.float32), x, w, dx=np.empty((6, 5), np.float32)),
    ):
        with pytest.raises(ValueError, match=r"matmul|mismatch"):
            call()


OPTIMIZERS = [nnx.SGD, nnx.Momentum, nnx.Nesterov, nnx.AdaGrad, nnx.RMSprop, nnx.Adam, nnx.AdamW]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_declined_in_training(dtype):
    data = digits()
    for i, optimizer in enumerate(OPTIMIZERS):
        activation = ("relu", "sigmoid", "tanh")[i % 3]
        model = nnx.MLP((30, 20), 10, activation=activation, batch_norm=i % 2 == 0, dropout=0.2)
        trainer = nnx.Trainer(model, optimizer(), weight_decay=1e-4, clip_norm=1.0, backend="numba", dtype=dtype)
        trainer.fit(data, epochs=1, validation_data=(data.x, np.eye(10)[data.t]), verbose=False)
        explanation = model.ops.explain()
        assert explanation.declined == {}
        assert explanation.composed == ()
    pictures = nnx.Sequential(
        nnx.Convolution(6, 3, pad=1),
        nnx.ReLU(),
        nnx.MaxPooling(2),
        nnx.Convolution(5, 3, stride=2, pad=1),
        nnx.AveragePooling(2),
        nnx.Flatten(),
        nnx.Affine(10),
    )
    trainer = nnx.Trainer(pictures, backend="numba", dtype=dtype)
    trainer.fit(data.inputs().reshape(-1, 1, 8, 8), data.t, epochs=1, verbose=False)
    assert pictures.ops.explain().declined == {}
    regression = nnx.Trainer(nnx.MLP((30,), 10), loss=nnx.MeanSquaredError(), backend="numba", dtype=dtype)
    regression.step(data.inputs(), np.eye(10)[data.t])
    assert regression.model.ops.explain().declined == {}


def pictures_of(ops, dtype, seed=0):
    """Results and gradients of a convolution of some pictures, and of a pooling."""
    r = np.random.default_rng(seed)
    x, w = r.normal(size=(37, 9, 8, 5)).astype(dtype), r.normal(size=(19, 5, 3, 3)).astype(dtype)
    settings = {"stride": (1, 2), "pad": (1, 1)}
    y = ops.convolution(x, w, **settings)
    dx, dw, index = np.empty_like(x), np.empty_like(w), np.empty((37, 4, 2, 19), np.uint8)
    ops.convolution_backward(y, x, w, dx=dx, dw=dw, **settings)
    return y, dx, dw, ops.max_pooling(y, size=(2, 2), stride=(2, 2), index=index), index


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolutions_have_the_same_bits_whatever_the_threads(backend, dtype, monkeypatch):
    from nnx_kernels.cpu import team
    from nnx_numba._team import Team

    monkeypatch.setattr(backend, "_team", Team(1, team))
    alone = pictures_of(Ops(backend), dtype)
    for threads in (2, 4):
        monkeypatch.setattr(backend, "_team", Team(threads, team))
        for got, expected in zip(pictures_of(Ops(backend), dtype), alone, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("padded", [False, True])
def test_padded_and_trimmed_convolutions_are_the_same(backend, padded, monkeypatch):
    from nnx_numba import _tables

    expected = pictures_of(Ops(nnx.get_backend("numpy")), "float64")
    monkeypatch.setattr(_tables, "_cheapest", lambda layouts, *_: layouts[-1 if padded else 0])
    _tables.tables.cache_clear()
    try:
        for got, wanted in zip(pictures_of(Ops(backend), "float64"), expected, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-12)
    finally:
        _tables.tables.cache_clear()


def test_denormals_are_flushed_in_a_kernel_and_nowhere_else(backend):
    p, g, m, v = (np.full(1000, 1e-39, np.float32) for _ in range(4))
    backend.update_(nnx.Adam.formula(), np.array([1e-3, 1, 1e-8, 0.1, 0.001, 0, 1], np.float32), p, g, m, v)
    assert not m.any()
    assert (np.full(4, 1e-38, np.float32) * np.float32(0.1) > 0).all()  # the thread's mode is as it was


def test_a_sum_of_squares_goes_over_slices_of_4096(backend):
    sums = np.empty(1)
    backend._reduce.sum_squares(np.ones(9000, np.float32), sums)  # as in a step from 2**24 elements on
    assert sums[0] == 9000


@pytest.mark.parametrize("largest", [0, 2**62])
def test_batch_norm_declines_other_layouts_of_any_size(backend, largest, monkeypatch):
    from nnx_numba import _backend

    monkeypatch.setattr(_backend, "_LARGE", largest)
    x, one, hyper = np.ones((20, 12), np.float32), np.ones(6, np.float32), np.array([1e-5, 0.9], np.float32)
    strided = x[:, ::2]
    assert backend.batch_norm(strided, one, one, hyper) is NotImplemented
    assert backend.batch_norm_inference(strided, one, one, one, one, hyper) is NotImplemented
    assert backend.batch_norm_backward(strided, strided, one, one, one, hyper) is NotImplemented


@pytest.mark.slow
@pytest.mark.parametrize("largest", [-1, 2**62])
def test_products_by_blas_alone_and_by_tiles_alone(backend, largest, monkeypatch):
    import nnx_numba._backend

    monkeypatch.setattr(nnx_numba._backend, "LARGEST_OWN", largest)
    ops = Ops(backend)
    for check in nnx.testing.checks(["affine", "affine_backward", "training"]):
        check.run(ops)


@pytest.mark.parametrize("size", [100, 262_144, 2_500_003])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_same_bits_whatever_the_threads(size, kind, backend):
    from nnx_kernels.cpu import team
    from nnx_numba._team import Team

    rng = np.random.default_rng(0)
    hyper = np.array(kind().hyper(3, 0.01), np.float32)
    start = [rng.random(size, np.float32) for _ in range(2 + len(kind.slots))]
    results = []
    before = backend._team
    try:
        for threads in (1, 2, 3):
            backend._team = Team(threads, team)
            buffers = [a.copy() for a in start]
            backend.update_(kind.formula(), hyper, *buffers, decay=size // 3)
            results.append(buffers)
    finally:
        backend._team = before
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # without a compiler: NumPy's, of a batch without rows
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [pytest.param((2111, 1003), id="large", marks=pytest.mark.long), pytest.param((53, 13), id="slices")]
)
def test_large_arrays_go_through_threads_and_are_right(backend, dtype, shape, monkeypatch):
    from nnx_numba import _backend, _jobs

    if math.prod(shape) <= _backend._LARGE:  # in small parts, which take no time without a compiler either
        monkeypatch.setattr(_backend, "_LARGE", 0)
        monkeypatch.setattr(_jobs, "_PART", 128)
    reference = nnx.get_backend("numpy")
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal(shape).astype(dtype), rng.integers(0, shape[1], shape[0])
    bias, other, key = x[5].copy(), 2 * x[::-1], np.array([1, 2, 3, 4, 5, 2**31, 0], np.uint32)
    one, tolerance = np.array(1, dtype), 2e-4 if dtype == "float32" else 1e-11

    def compare(name, *arguments, buffers=(), **keywords):
        results = []
        for b in (backend, reference):
            own = {k: np.empty_like(like) for k, like in buffers}
            results.append([getattr(b, name)(*arguments, **own, **keywords), *own.values()])
        assert not any(r is NotImplemented for r in results[0])
        for got, expected in zip(*results, strict=True):
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance, err_msg=name)

    for layer in (nnx.ReLU(), nnx.Sigmoid(), nnx.Tanh()):
        compare("activation", layer.formula, x)
        y = reference.activation(layer.formula, other)
        compare("activation_backward", layer.formula_backward, x, other, y, buffers=[("db", bias), ("out", x)])
        compare("activation_backward", layer.formula_backward, x, other, y)
    sums = np.empty_like(bias), np.empty_like(bias)
    for b, db in zip((backend, reference), sums, strict=True):
        b.affine_backward(x, other, bias, db=db)
    np.testing.assert_allclose(*sums, rtol=tolerance, atol=tolerance)
    compare("softmax", x)
    compare("softmax_cross_entropy", x, t, bias=bias, buffers=[("dz", x), ("db", bias)])
    compare("softmax_cross_entropy", x, reference.softmax(other), buffers=[("dz", x)])
    row = rng.standard_normal((2, 4099)).astype(dtype)  # longer than a block
    compare("softmax_cross_entropy", row, reference.softmax(-row), buffers=[("dz", row)])
    compare("loss", nnx.MeanSquaredError().formula, x, other, bias=bias, buffers=[("dz", x), ("db", bias)])
    compare("dropout", x, key, one, buffers=[("mask", x > 0)])
    compare("dropout_backward", x, other > 0, one, buffers=[("db", bias)])
    gamma, var, hyper = np.abs(bias) + 1, np.abs(other[1]) + 1, np.array([1e-5, 0.9, 0.1], dtype)
    shifted = x * 3 + 10  # a variance that a naive sum of squares would get wrong in float32
    compare("batch_norm", shifted, gamma, bias, hyper, buffers=[("mean", bias), ("var", bias), ("out", x)])
    sums = [("dgamma", bias), ("dbeta", bias), ("db", bias)]
    compare("batch_norm_backward", other, x, gamma, bias, var, hyper, buffers=[*sums, ("out", x)])
    compare("sum_squares", x)
    for kind in (nnx.SGD, nnx.Adam):
        settings, decay = np.array([*kind().hyper(3, 0.1)[:-1], 0.5], dtype), x.size // 3
        updated = [[np.abs(x), *(a.copy() for a in [other] + [np.abs(x)] * len(kind.slots))] for _ in range(2)]
        for b, arrays in zip((backend, reference), updated, strict=True):
            assert b.update_(kind.formula(), settings, *arrays, decay=decay) is None
        for got, expected in zip(*updated, strict=True):
            np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    transposed = np.asfortranarray(x)
    assert backend.softmax(transposed) is NotImplemented
    assert backend.activation(nnx.ReLU().formula, transposed) is NotImplemented


COLD = """
import threading
import numpy as np
import nnx
backend, failures = nnx.get_backend("numba"), []

def work():
    try:
        for dtype in ("float32", "float64"):
            x = np.ones((3, 4), dtype)
            for name in ("softmax", "sum_squares"):
                if getattr(backend, name)(x) is NotImplemented:
                    failures.append(name)
            for layer in (nnx.ReLU(), nnx.Sigmoid()):
                if backend.activation(layer.formula, x) is NotImplemented:
                    failures.append(layer.name)
    except Exception as error:
        failures.append(repr(error))

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert failures == [], failures
"""


@pytest.mark.long
def test_many_threads_may_meet_a_kernel_that_is_not_compiled_yet(tmp_path):
    status, output = in_a_process(COLD, NUMBA_CACHE_DIR=str(tmp_path))
    assert status == 0, output


def train(seed, steps=1000):
    data = digits()
    model = nnx.MLP((40, 30), 10, batch_norm=True, dropout=0.2)
    trainer = nnx.Trainer(model, weight_decay=1e-4, backend="numba", seed=seed)
    x = data.inputs()
    for i in range(steps):
        start = 50 * i % 1700
        trainer.step(x[start : start + 50], data.t[start : start + 50])
    return model.state_dict()


@pytest.mark.slow
def test_four_models_in_four_threads_are_as_each_alone():
    alone, together = [train(seed) for seed in range(4)], [None] * 4

    def work(seed):
        together[seed] = train(seed)

    at_once(work, range(4))
    for a, b in zip(alone, together, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)


def in_child(queue):
    backend = nnx.get_backend("numba")
    buffers = [np.ones(2_500_000, np.float32) for _ in range(2)]
    backend.update_(nnx.SGD.formula(), np.array([0.5, 0, 1], np.float32), *buffers)
    queue.put((float(buffers[0].min()), train(0, 20)["1.W"]))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_works_in_child_processes(method, backend):
    buffers = [np.ones(2_500_000, np.float32) for _ in range(2)]
    backend.update_(nnx.SGD.formula(), np.array([0.5, 0, 1], np.float32), *buffers)  # the pool runs
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=in_child, args=(queue,))
    child.start()
    low, weights = queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0
    assert low == 0.5
    np.testing.assert_array_equal(weights, train(0, 20)["1.W"])


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
def test_bad_thread_counts(value, monkeypatch):
    monkeypatch.setenv("NNX_NUM_THREADS", value)
    (status,) = (s for s in nnx.list_backends() if s.name == "numba")
    assert status.reason == f"NNX_NUM_THREADS: got {value!r}, expected a whole number of at least 1"


def test_thread_count_reaches_blas():
    code = "import nnx; print(nnx.get_backend('numba').device_info())"
    status, output = in_a_process(code, NNX_NUM_THREADS="1")
    assert status == 0
    assert "'threads': '1'" in output
    assert "'blas threads': '1'" in output


def test_importing_the_plugin_does_not_import_numba():
    status, output = in_a_process("import nnx, sys; nnx.list_backends(); sys.exit('numba' in sys.modules)")
    assert status == 0, output


def doubled(x):
    for i in range(x.size):
        x[i] *= 2


def test_without_a_folder_for_the_cache_it_compiles_anew_and_says_so(backend, monkeypatch):
    from nnx_kernels.cpu import _jit

    real = _jit.numba.njit

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(_jit.numba, "njit", njit)
    monkeypatch.setattr(_jit, "uncached", [])
    monkeypatch.setattr(_jit, "kernels", [])
    x = np.ones(3)
    assert _jit.kernel("v")(doubled)(x) is None
    np.testing.assert_array_equal(x, 2)
    assert backend.device_info()["kernel cache"] == "no writable folder: kernels are compiled anew in every process"


def test_a_formulas_kernel_without_a_folder_is_compiled_anew_and_says_so(backend, monkeypatch):
    from nnx_kernels.cpu import _jit
    from nnx_kernels.cpu import formula as kernels

    monkeypatch.setattr(_jit, "_folders", list)
    monkeypatch.setattr(_jit, "uncached", [])
    monkeypatch.setattr(_jit, "kernels", [])
    x, y = np.arange(-2.0, 3.0), np.empty(5)
    kernels.activation.__wrapped__(nnx.Activation(lambda x: x * 3).formula)(x, y)
    np.testing.assert_array_equal(y, 3 * x)
    assert _jit.uncached == ["activation_activation"]
    assert "kernel cache" in backend.device_info()


NEW_FORMULA = """
import numpy as np, nnx
backend = nnx.get_backend("numba")
layer = nnx.Activation(lambda x: x / (1 + x * x))
x = np.linspace(-1, 1, 100)
np.testing.assert_allclose(backend.activation(layer.formula, x), x / (1 + x * x))
"""


@pytest.mark.slow
def test_a_formulas_kernel_is_found_on_disk_by_the_next_process(tmp_path):
    for _ in range(2):
        status, output = in_a_process(NEW_FORMULA, NUMBA_CACHE_DIR=str(tmp_path))
        assert status == 0, output
    assert [path.name for path in tmp_path.glob("activation_activation_*.py")]
    assert len(list(tmp_path.rglob("*activation_activation*.nbc"))) == 1  # and not a second one


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("operation", "wrong", "op"),
    [
        pytest.param("where", "where({0}, {2}, {1})", "activation", marks=pytest.mark.long),
        pytest.param("abs", "({})", "loss", marks=pytest.mark.long),
        ("tanh", "sigmoid({})", "affine"),
    ],
)
def test_the_kit_finds_a_wrong_translation(operation, wrong, op, backend, monkeypatch):
    from nnx_kernels.cpu import formula as kernels

    from nnx.formula import _formula

    families = [kernels.activation, kernels.after_product, kernels.loss]
    for family in families:
        family.cache_clear()
    monkeypatch.setitem(_formula._PYTHON, operation, wrong)
    try:
        assert not nnx.testing.run(backend, [op]).ok
    finally:
        for family in families:
            family.cache_clear()
