"""The CuPy backend on a device: against the kit, the CPU, itself without graphs, and its memory's limits."""

import numpy as np
import pytest

import nnx
from nnx.ops import Ops
from nnx.testing import run
from nnx.training._device_data import DeviceData


class Eager:
    """A backend without its graphs."""

    def __init__(self, backend):
        self._backend = backend

    def __getattr__(self, name):
        if name == "capture":
            raise AttributeError(name)
        return getattr(self._backend, name)


def trained(backend, steps=1000, dtype="float32", batch_norm=True):
    """The losses of a training on digits, and its trainer."""
    data = nnx.datasets.digits()
    model = nnx.MLP((64, 32), 10, batch_norm=batch_norm, dropout=0.2)
    trainer = nnx.Trainer(model, nnx.Adam(1e-3), weight_decay=1e-4, clip_norm=5.0, backend=backend, seed=1, dtype=dtype)
    x, losses = data.inputs().astype(dtype), []
    for i in range(steps):
        start = 100 * i % 1700
        losses.append(trainer.step(x[start : start + 100], data.t[start : start + 100]))
    to_host = trainer.model.ops.to_host
    return np.array([float(to_host(loss)) for loss in losses]), trainer


def test_the_kit_passes(backend):
    report = run(backend)
    assert report.ok, str(report)
    assert "capture" in report.explanation.fused


def test_nothing_is_declined_in_training(backend):
    _, trainer = trained(backend, steps=5)
    explanation = trainer.model.ops.explain()
    assert explanation.declined == {}
    assert explanation.composed == ()


def test_graphs_have_the_bits_of_launches(backend):
    losses, by_graphs = trained(backend, steps=50)
    expected, eager = trained(Eager(backend), steps=50)
    np.testing.assert_array_equal(losses, expected)
    for name, array in by_graphs.model.state_dict().items():
        np.testing.assert_array_equal(array, eager.model.state_dict()[name], err_msg=name)


def test_a_step_is_captured(backend, recwarn):
    _, trainer = trained(backend, steps=5)
    assert not [w for w in recwarn if "CUDA graph" in str(w.message)]
    assert trainer.training_step.captured(100).run.graph is not None


def test_two_runs_have_the_same_bits(backend):
    np.testing.assert_array_equal(trained(backend, steps=100)[0], trained(backend, steps=100)[0])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-3), ("float64", 1e-8)])
def test_a_thousand_steps_follow_the_cpu(backend, dtype, tolerance):
    # Without BatchNorm: the weights' tiny differences grow chaotically over a thousand steps, most of all there.
    losses, _ = trained(backend, dtype=dtype, batch_norm=False)
    expected, _ = trained("numpy", dtype=dtype, batch_norm=False)
    np.testing.assert_allclose(losses, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_follows_the_cpu(backend, precision):
    data, histories = nnx.datasets.digits(), []
    for name in (backend, "numpy"):
        trainer = nnx.Trainer(nnx.MLP((50,), 10), nnx.Adam(), backend=name, seed=2, precision=precision)
        histories.append(trainer.fit(data, epochs=5, batch_size=100, verbose=False))
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=2e-2)
    assert trainer.model.ops.explain().declined == {}


def test_fit_follows_the_cpu(backend):
    data, histories = nnx.datasets.digits(), []
    for name in (backend, "numpy"):
        trainer = nnx.Trainer(nnx.MLP((50,), 10, dropout=0.1), nnx.Adam(), backend=name, seed=2)
        histories.append(trainer.fit(data, epochs=5, batch_size=100, verbose=False))
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-4, atol=1e-4)


def trained_on_pictures(backend, dtype="float32"):
    """The losses of fifty steps of a convolutional network, and its parameters."""
    data = nnx.datasets.digits()
    first = nnx.Convolution(16, 3, pad=1), nnx.ReLU(), nnx.MaxPooling(2), nnx.Dropout(0.2)
    second = nnx.Convolution(12, 3, pad=1), nnx.BatchNorm(), nnx.Sigmoid(), nnx.AveragePooling(2), nnx.Convolution(8, 1)
    model = nnx.Sequential(*first, *second, nnx.Flatten(), nnx.Affine(10))
    trainer = nnx.Trainer(model, nnx.Adam(1e-3), backend=backend, seed=1, dtype=dtype)
    x = data.inputs().astype(dtype).reshape(-1, 1, 8, 8)
    losses = [trainer.step(x[i : i + 100], data.t[i : i + 100]) for _ in range(5) for i in range(0, 1000, 100)]
    assert trainer.model.ops.explain().declined == {}
    return np.array([float(trainer.model.ops.to_host(loss)) for loss in losses]), trainer.model.state_dict()


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-3), ("float64", 1e-8)])
def test_a_training_on_pictures_follows_the_cpu(backend, dtype, tolerance):
    losses, _ = trained_on_pictures(backend, dtype)
    expected, _ = trained_on_pictures("numpy", dtype)
    np.testing.assert_allclose(losses, expected, rtol=tolerance, atol=tolerance)


def test_graphs_of_pictures_have_the_bits_of_launches(backend):
    losses, parameters = trained_on_pictures(backend)
    expected, by_launches = trained_on_pictures(Eager(backend))
    np.testing.assert_array_equal(losses, expected)
    for name, array in parameters.items():
        np.testing.assert_array_equal(array, by_launches[name], err_msg=name)


def test_a_convolution_in_blocks_follows_the_cpu(backend):
    """What lies under its windows are 18 million numbers."""
    rng, settings = np.random.default_rng(0), {"stride": (1, 2), "pad": (1, 1)}
    x, w = rng.normal(size=(40, 56, 56, 32)).astype("f"), rng.normal(size=(24, 32, 3, 3)).astype("f")
    results = []
    for name in (backend, "numpy"):
        ops = Ops(nnx.get_backend(name) if name == "numpy" else name)
        on_device = [ops.to_device(a) for a in (x, w)]
        y = ops.convolution(*on_device, **settings)
        dx, dw, db = (ops.to_device(np.empty(shape, "f")) for shape in (x.shape, w.shape, 24))
        ops.convolution_backward(y, *on_device, dx=dx, dw=dw, db=db, **settings)
        results.append([ops.to_host(a) for a in (y, dx, dw, db)])
    for got, expected in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_checkpoint_goes_to_the_cpu_and_back(backend, tmp_path):
    data, path = nnx.datasets.digits(), tmp_path / "run.safetensors"
    trainer = nnx.Trainer(nnx.MLP((40,), 10, batch_norm=True), backend=backend)
    trainer.fit(data, epochs=1, checkpoint=path, verbose=False)
    on_cpu = nnx.Trainer.load(path, backend="numpy")
    on_cpu.save(path)
    back = nnx.Trainer.load(path, backend="cupy")
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, on_cpu.model.state_dict()[name], err_msg=name)
        np.testing.assert_array_equal(array, back.model.state_dict()[name], err_msg=name)
    x = data.inputs()[:100]
    np.testing.assert_allclose(back.model.predict(x), on_cpu.model.predict(x), rtol=1e-4, atol=1e-4)


def test_out_of_memory_says_what_to_do_and_harms_nothing(backend):
    with pytest.raises(MemoryError, match=r"the GPU has no room for another .* GiB: .* are free.*smaller batch_size"):
        backend.allocate(1 << 44, "float32")
    assert float(backend.to_host(backend.sum_squares(backend.to_device(np.ones(4, np.float32))))) == 4.0


def test_numpy_arrays_are_refused_by_name(backend):
    trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(3)), backend=backend)
    trainer.build((4,))
    with pytest.raises(nnx.InputTypeError, match=r"x: got numpy\.ndarray, but the backend 'cupy' computes with cupy"):
        trainer.model.layers[0].forward(np.ones((2, 4), np.float32))


def on_gpu(library, host):
    """An array of a library in the GPU's memory."""
    if library == "cupy":
        return pytest.importorskip("cupy").asarray(host)
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch sees no GPU")
    return torch.from_numpy(host.copy()).cuda()


@pytest.mark.parametrize("library", ["cupy", "torch"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_arrays_on_the_gpu_are_taken_where_they_are(backend, library, dtype):
    data = nnx.datasets.digits()
    host, results = data.x.reshape(-1, 64).astype(dtype), []
    for x, t in ((host, data.t), (on_gpu(library, host), on_gpu(library, data.t))):
        trainer = nnx.Trainer(nnx.MLP((50,), 10), backend=backend)
        history = trainer.fit(x, t, epochs=1, verbose=False)
        loss = float(backend.to_host(trainer.step(x[:100], t[:100])))
        results.append((history, loss, trainer.model.accuracy(x, t), trainer.model.predict(x).tolist()))
    assert results[0] == results[1]
    if dtype != "float64":
        inputs = DeviceData(trainer.model, trainer.loss, x, t, name="x", target="t")
        assert inputs.x.data.ptr == (x.data.ptr if library == "cupy" else x.data_ptr())


@pytest.mark.parametrize("library", ["cupy", "torch"])
def test_arrays_on_the_gpu_are_copied_to_a_cpu_backend(library):
    data = nnx.datasets.digits()
    model = nnx.MLP((20,), 10).build((8, 8), backend="numpy")
    x = data.inputs()
    np.testing.assert_array_equal(model.predict(on_gpu(library, x)), model.predict(x))
    assert model.accuracy(on_gpu(library, x), on_gpu(library, data.t)) == model.accuracy(x, data.t)


def test_many_uploads_run_ahead_of_the_device(backend):
    """More than both halves of the staging memory: every array still arrives as it was."""
    host = np.empty(7, np.float32)
    arrays = []
    for i in range(2000):
        host[:] = i
        arrays.append(backend.to_device(host))
    for i, array in enumerate(arrays):
        np.testing.assert_array_equal(backend.to_host(array), np.full(7, i, np.float32))
