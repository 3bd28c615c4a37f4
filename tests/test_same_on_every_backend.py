"""The same seed gives the same run on every backend: initial weights, batches and masks bit for bit, losses nearly."""

import numpy as np
import pytest

import nnx
from nnx.datasets import digits

OTHERS = [s.name for s in nnx.list_backends() if s.usable and s.name != "numpy"]
TOLERANCE = {"float32": 1e-4, "float64": 1e-10}


def recording(name, seen):
    """A backend that keeps the rows it gathers and the masks it draws. It records no steps, to see those of each."""

    class Recording(type(nnx.get_backend(name))):
        capture = None

        def take(self, data, index, scale=None, *, out=None):
            seen.append(np.array(index))
            return super().take(data, index, scale, out=out)

        def dropout(self, x, rng, factor, *, out=None, mask=None):
            y = super().dropout(x, rng, factor, out=out, mask=mask)
            seen.append(np.array(mask))
            return y

    return Recording()


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("inverted", [False, True])
def test_same_seed_same_run(other, dtype, inverted):
    runs = {}
    train, val = digits().split(0.9, 0.1)
    for name, kind in (("numpy", recording), (other, recording), ("as it is", lambda *_: other)):
        seen = []
        layers = (
            nnx.Flatten(),
            nnx.Affine(50),
            nnx.BatchNorm(),
            nnx.ReLU(),
            nnx.Dropout(0.3, inverted),
            nnx.Affine(10),
        )
        trainer = nnx.Trainer(
            nnx.Sequential(*layers),
            weight_decay=1e-3,
            clip_norm=1.0,
            backend=kind(name, seen),
            seed=7,
            dtype=dtype,
        )
        trainer.build((8, 8))
        start = trainer.model.state_dict()
        trainer.fit(train, epochs=5, validation_data=val, verbose=False)
        runs[name] = start, seen, trainer.history
    (start, seen, history), (other_start, other_seen, other_history), (*_, third_history) = runs.values()
    assert all(np.array_equal(start[name], other_start[name]) for name in start)
    assert len(seen) == len(other_seen)
    assert all(np.array_equal(a, b) for a, b in zip(seen, other_seen, strict=True))
    for entry in ("loss", "val_loss"):
        for got in (other_history, third_history):
            np.testing.assert_allclose(got[entry], history[entry], rtol=0, atol=TOLERANCE[dtype], err_msg=entry)


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_same_seed_same_run_on_pictures(other, dtype):
    data = digits()
    x, t = (data.x[:200] * data.scale).reshape(-1, 1, 8, 8), data.t[:200]
    runs = []
    for name in ("numpy", other):
        layers = (
            nnx.Convolution(6, 3, pad=1),
            nnx.ReLU(),
            nnx.MaxPooling(3, 2, 1),
            nnx.BatchNorm(),
            nnx.Convolution(8, 2),
            nnx.Sigmoid(),
            nnx.Dropout(0.2),
            nnx.GlobalAveragePooling(),
            nnx.Affine(10),
        )
        trainer = nnx.Trainer(nnx.Sequential(*layers), weight_decay=1e-3, backend=name, seed=7, dtype=dtype)
        trainer.build((1, 8, 8))
        start = trainer.model.state_dict()
        trainer.fit(x, t, epochs=2, batch_size=30, validation_data=(x, t), verbose=False)
        runs.append((start, trainer))
    (start, first), (other_start, second) = runs
    assert all(np.array_equal(start[name], other_start[name]) for name in start)
    for entry in ("loss", "val_loss"):
        np.testing.assert_allclose(second.history[entry], first.history[entry], rtol=0, atol=TOLERANCE[dtype])
    np.testing.assert_allclose(second.model.predict(x), first.model.predict(x), atol=10 * TOLERANCE[dtype])


@pytest.mark.parametrize("other", OTHERS)
def test_a_checkpoint_of_one_loads_on_the_other(other, tmp_path):
    data = digits()
    first = nnx.Trainer(nnx.MLP((20,), 10, batch_norm=True), backend=other)
    first.fit(data, epochs=1, verbose=False)
    first.save(tmp_path / "c")
    second = nnx.Trainer.load(tmp_path / "c", backend="numpy")
    np.testing.assert_allclose(second.model.predict(data), first.model.predict(data), rtol=1e-4, atol=1e-5)
    with pytest.warns(nnx.ResumeWarning, match=f"backend was '{other}' and is 'numpy'"):
        second.fit(data, epochs=2, verbose=False)
