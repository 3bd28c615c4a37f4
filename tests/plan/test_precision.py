"""Mixed precision: what is rounded, what stays float32, and the loss scale."""

import numpy as np
import pytest

import nnx
from nnx.plan._precision import LossScaling

RNG = np.random.default_rng(5)
X, T = RNG.standard_normal((90, 20)).astype(np.float32), RNG.integers(0, 5, 90)
HALVES = ("bfloat16", "float16")


@pytest.fixture(params=[s.name for s in nnx.list_backends() if s.usable])
def backend(request):
    return request.param


def layers():
    return nnx.Affine(16), nnx.BatchNorm(), nnx.ReLU(), nnx.Affine(12), nnx.ReLU(), nnx.Dropout(0.2), nnx.Affine(5)


def trainer_of(backend, precision, model=None, **settings):
    model = nnx.Sequential(*layers()) if model is None else model
    settings = {"optimizer": nnx.Adam(0.01), "backend": backend, "precision": precision, "seed": 2} | settings
    return nnx.Trainer(model, **settings)


@pytest.mark.parametrize("precision", HALVES)
def test_it_learns_as_float32_does(backend, precision):
    histories = [
        trainer_of(backend, p, weight_decay=1e-4, clip_norm=1.0).fit(X, T, epochs=30, batch_size=32, verbose=False)
        for p in ("float32", precision)
    ]
    exact, mixed = (np.array(history["loss"]) for history in histories)
    np.testing.assert_allclose(mixed, exact, rtol=0.05)
    assert not np.array_equal(mixed, exact)


@pytest.mark.parametrize("precision", HALVES)
def test_the_gradients_are_those_of_rounded_products(backend, precision):
    """One Affine: the loss and gradients from rounded inputs and weights, by hand."""
    trainer = trainer_of(backend, precision, nnx.Sequential(nnx.Affine(5)), optimizer=nnx.SGD(0.0))
    trainer.build((20,))
    model, ops = trainer.model, trainer.model.ops
    w = np.array(ops.to_host(model.params["0.W"]))
    x16, w16 = (np.array(ops.to_host(ops.narrow(ops.to_device(a), precision))).astype(float) for a in (X, w))
    z = x16 @ w16
    e = np.exp(z - z.max(axis=1, keepdims=True))
    dz = (e / e.sum(axis=1, keepdims=True) - np.eye(5)[T]) / len(X)
    loss = trainer.step(X, T)
    scale = 1.0 if trainer.plan.scaling is None else LossScaling.START
    np.testing.assert_allclose(loss, -np.mean(np.log(e / e.sum(axis=1, keepdims=True))[np.arange(90), T]), rtol=1e-5)
    rounding = 2.0**-8 if precision == "bfloat16" else 2.0**-11
    grads = {name: np.array(ops.to_host(g)) / scale for name, g in model.arena.grads.items()}
    np.testing.assert_allclose(grads["0.W"], x16.T @ dz, atol=2 * rounding * np.abs(x16.T @ dz).max())
    np.testing.assert_allclose(grads["0.b"], dz.sum(axis=0), rtol=1e-4, atol=1e-7)  # not rounded


@pytest.mark.parametrize("precision", HALVES)
def test_parameters_and_predictions_stay_float32(backend, precision):
    trainer = trainer_of(backend, precision)
    trainer.fit(X, T, epochs=2, verbose=False)
    model, ops = trainer.model, trainer.model.ops
    w = np.array(ops.to_host(model.params["0.W"]))
    rounded = np.array(ops.to_host(ops.narrow(ops.to_device(w), precision))).astype(np.float32)
    assert w.dtype == np.float32
    assert not np.array_equal(w, rounded), "the parameters have more digits than the products"
    twin = nnx.Trainer(nnx.Sequential(*layers()), backend=backend)
    twin.build((20,))
    twin.model.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(model.predict(X), twin.model.predict(X))


def test_gradients_too_small_for_float16_are_not_lost(backend):
    """Nothing is left of 1e-8 in float16, whose least number is 6e-8."""
    trainer = trainer_of(backend, "float16", nnx.Sequential(nnx.Affine(5), nnx.Affine(1)), loss=nnx.MeanSquaredError())
    trainer.build((20,))
    before = trainer.model.state_dict()["0.W"].copy()
    t = np.array(trainer.model.forward(X * 1e-4)) + 1e-6
    trainer.step(X * 1e-4, t)
    assert not np.array_equal(trainer.model.state_dict()["0.W"], before)


def test_an_overflow_skips_the_update_and_halves_the_scale(backend):
    trainer = trainer_of(backend, "float16")
    trainer.step(X, T)
    before = {name: array.copy() for name, array in trainer.model.state_dict().items()}
    scaling, to_device = trainer.plan.scaling, trainer.model.ops.to_device
    scaling.state[...] = to_device(np.array([2.0**24, 1.0, 2000.0], np.float32))
    loss = trainer.step(X * 300, T)
    assert np.isfinite(loss)
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    assert np.array(scaling.state).tolist() == [2.0**23, 0.0, 2000.0]
    for _ in range(12):
        trainer.step(X, T)
    assert np.array(scaling.state)[0] < 2.0**23
    assert not np.array_equal(trainer.model.state_dict()["0.W"], before["0.W"])


def test_the_scale_is_in_the_checkpoint(backend, tmp_path):
    whole, begun = trainer_of(backend, "float16"), trainer_of(backend, "float16")
    whole.fit(X, T, epochs=4, verbose=False)
    begun.fit(X, T, epochs=2, verbose=False)
    begun.save(tmp_path / "run.safetensors")
    continued = nnx.Trainer.load(tmp_path / "run.safetensors", backend=backend)
    continued.fit(X, T, epochs=4, verbose=False)
    assert continued.precision == "float16"
    assert continued.history == whole.history
    assert np.array_equal(continued.plan.scaling.state, whole.plan.scaling.state)


def test_both_cpu_backends_round_alike():
    pytest.importorskip("numba")
    histories = [trainer_of(b, "bfloat16").fit(X, T, epochs=3, verbose=False) for b in ("numpy", "numba")]
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-3)


def test_fit_says_so(backend):
    trainer = trainer_of(backend, "bfloat16")
    trainer.build((20,))
    assert trainer.describe().endswith("; products in bfloat16")


def test_refusals():
    with pytest.raises(nnx.InputError, match="unknown precision 'float61'. Did you mean 'float16'"):
        trainer_of("numpy", "float61")
    with pytest.raises(nnx.InputError, match="precision: got 'float16' for a model of float64; give the model dtype="):
        trainer_of("numpy", "float16", dtype="float64")
    model = nnx.Sequential(nnx.Affine(2)).build((3,), backend="numpy", dtype="float64")
    with pytest.raises(nnx.InputError, match="precision: got 'bfloat16' for a model of float64"):
        nnx.Trainer(model, precision="bfloat16")
