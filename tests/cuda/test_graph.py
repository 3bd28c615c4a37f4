"""Training steps as graphs, in the emulator: the same as run launch by launch, and never the wrong inputs."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from emulator import EmulatedBackend, EmulatedDevice
from nnx_cupy._graph import WARM_UP, CapturedStep, CaptureWarning

import nnx
from nnx import testing


class Eager(EmulatedBackend):
    """Without graphs."""

    def capture(self, step, example_inputs):
        return lambda *inputs: step(*(self.to_device(i) for i in inputs))


def trained(backend, **settings):
    """A short training with dropout, batch normalization and a smaller last batch."""
    rng = np.random.default_rng(0)
    x, t = rng.integers(0, 256, (53, 12), np.uint8), rng.integers(0, 4, 53)
    model = nnx.Sequential(nnx.Affine(9), nnx.BatchNorm(), nnx.ReLU(), nnx.Dropout(0.3), nnx.Affine(6), nnx.Affine(4))
    trainer = nnx.Trainer(model, nnx.Adam(lr=nnx.schedules.Cosine(0.02, steps=24)), backend=backend, seed=3, **settings)
    trainer.fit(x, t, epochs=4, batch_size=10, verbose=False)
    return trainer


def trained_on_pictures(backend, **settings):
    """A short training with convolutions and both kinds of pooling, and a smaller last batch."""
    rng = np.random.default_rng(0)
    x, t = rng.integers(0, 256, (33, 2, 9, 8), np.uint8), rng.integers(0, 4, 33)
    first = nnx.Convolution(6, 3, pad=1), nnx.BatchNorm(), nnx.ReLU(), nnx.MaxPooling(3, stride=2, pad=1)
    second = nnx.Convolution(4, (2, 3)), nnx.Sigmoid(), nnx.Dropout(0.3), nnx.AveragePooling(2), nnx.Convolution(5, 1)
    model = nnx.Sequential(*first, *second, nnx.Flatten(), nnx.Affine(4))
    trainer = nnx.Trainer(model, nnx.Adam(lr=0.02), backend=backend, seed=3, **settings)
    trainer.fit(x, t, epochs=4, batch_size=10, verbose=False)
    assert trainer.model.ops.explain().declined == {}
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("trained", [trained, trained_on_pictures])
def test_a_training_by_graphs_has_the_bits_of_one_without(trained):
    """Clipped: between its operations the step adds two numbers, which a graph has to do, too."""
    by_graphs, eager = (trained(backend, clip_norm=0.5) for backend in (EmulatedBackend(), Eager()))
    assert by_graphs.history == eager.history
    for name, array in by_graphs.model.state_dict().items():
        np.testing.assert_array_equal(array, eager.model.state_dict()[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("trained", [trained, trained_on_pictures])
def test_a_training_by_graphs_follows_the_reference(trained):
    by_graphs, reference = trained(EmulatedBackend(), dtype="float64"), trained("numpy", dtype="float64")
    for name, values in by_graphs.history.items():
        np.testing.assert_allclose(values, reference.history[name], rtol=1e-9, err_msg=name)


@pytest.mark.long
def test_the_trainings_of_the_kit():
    report = testing.run(EmulatedBackend(0), ["training"])
    assert report.ok, str(report)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_follows_the_reference(precision):
    """The same roundings as on the CPU, up to numbers so near to a tie that the sums before them decide."""
    emulated, reference = trained(Eager(), precision=precision), trained("numpy", precision=precision)
    for name, values in emulated.history.items():
        np.testing.assert_allclose(values, reference.history[name], rtol=2e-3, err_msg=name)
    assert emulated.model.ops.explain().declined == {}


def test_mixed_precision_by_graphs_has_the_bits_of_one_without():
    by_graphs, eager = (trained(backend, precision="bfloat16") for backend in (EmulatedBackend(), Eager()))
    assert by_graphs.history == eager.history


def test_nothing_of_numpys_is_in_a_step():
    """What is not launched would not be recorded: a step of two layers is so many launches, and no other work."""
    backend = EmulatedBackend()
    trainer = nnx.Trainer(nnx.MLP((7,), 3), nnx.SGD(), backend=backend)
    x, t = np.ones((5, 4), np.float32), np.array([0, 1, 2, 0, 1])
    for _ in range(WARM_UP + 1):
        trainer.step(x, t)
    backend.device.launches.clear()
    trainer.step(x, t)
    assert "update_sgd" in backend.device.launches
    assert len(backend.device.launches) <= 14, backend.device.launches


def test_inputs_from_the_host_and_results_that_stay():
    device = EmulatedDevice()
    total = np.zeros(3)

    def step(x, factor):
        result = np.empty(())
        device.launch("add", lambda: np.add(total, x * factor, out=total))
        device.launch("sum", lambda: np.copyto(result, total.sum()))
        return result

    captured = CapturedStep(device, step, (np.ones(3), np.ones(1)))
    host = np.empty(1)
    results, expected = [], []
    for i in range(1500):  # more than one table of results
        host[0] = i
        results.append(captured(np.full(3, 2.0), host))
        expected.append(6.0 * (i * (i + 1) // 2))
    assert [float(r) for r in results] == expected


def test_inputs_of_another_shape_are_refused():
    captured = CapturedStep(EmulatedDevice(), lambda x: x, (np.ones(3, np.float32),))
    with pytest.raises(
        ValueError, match=r"a captured step takes inputs like its first, \(3,\) float32; got \(4,\) float32"
    ):
        captured(np.ones(4, np.float32))


def test_what_cannot_be_captured_says_so_and_runs():
    device = EmulatedDevice()

    def step(x):
        if device.recording is not None:
            raise RuntimeError("operation not permitted when stream is capturing")
        return x * 2

    captured = CapturedStep(device, step, (np.ones(1),))
    results = [captured(np.full(1, float(i))) for i in range(WARM_UP)]
    with pytest.warns(CaptureWarning, match="cannot become a CUDA graph .* operation not permitted"):
        results.append(captured(np.full(1, float(WARM_UP))))
    results.append(captured(np.full(1, WARM_UP + 1.0)))
    assert [float(r[0]) for r in results] == [2 * i for i in range(WARM_UP + 2)]


def test_parts_of_ones_own():
    """examples/own_parts.py: fused, as what is built in."""
    main = runpy.run_path(str(Path(__file__).parents[2] / "examples/own_parts.py"))["main"]
    losses, explanation = main(EmulatedBackend(), epochs=2)
    reference, _ = main("numpy", epochs=2)
    np.testing.assert_allclose(losses, reference, rtol=1e-3)
    assert {"activation", "activation_backward", "affine", "loss", "update_"} <= set(explanation.fused)
    assert explanation.declined == {}
