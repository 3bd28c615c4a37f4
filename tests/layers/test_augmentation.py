"""Layers that change pictures at random in training, and dropout of whole channels."""

import numpy as np
import pytest
from strict import StrictBackend

import nnx
from nnx import testing

BACKENDS = ["numpy", "numba"]
LAYERS = {
    "shift": lambda: nnx.RandomShift(2, seed=3),
    "shift across": lambda: nnx.RandomShift((0, 3), seed=3),
    "flip": lambda: nnx.RandomFlip(seed=3),
    "spatial dropout": lambda: nnx.SpatialDropout(0.4, seed=3),
    "inverted spatial dropout": lambda: nnx.SpatialDropout(0.4, inverted=True, seed=3),
}
X = np.random.default_rng(0).standard_normal((40, 3, 5, 6))


def shifted(x, down, across):
    """Pictures (n, c, h, w) moved by hand."""
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (height, height), (width, width)))
    return padded[:, :, height - down : 2 * height - down, width - across : 2 * width - across]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", LAYERS)
def test_gradients_shapes_and_settings(name, backend):
    testing.check_layer(LAYERS[name](), (2, 5, 4), backend=backend)


@pytest.mark.parametrize("name", ["shift", "flip", "spatial dropout"])
def test_names_of_the_array_api_are_enough(name):
    x = np.random.default_rng(0).standard_normal((9, 2, 5, 4))
    results = []
    for backend in ("numpy", StrictBackend()):
        model = nnx.Sequential(LAYERS[name](), nnx.Convolution(2, 3), nnx.GlobalAveragePooling())
        one = nnx.Trainer(model, nnx.SGD(0.1), backend=backend, seed=2, dtype="float64")
        one.fit(x, np.arange(9) % 2, epochs=2, batch_size=4, verbose=False)
        results.append(model.predict(x))
    np.testing.assert_allclose(*results, rtol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_the_same_numbers_on_every_backend(name):
    results = []
    for backend in BACKENDS:
        with nnx.use_backend(backend):
            layer = LAYERS[name]()
            results.append([layer.forward(X.astype("f")), layer.backward(X.astype("f")), layer.forward(X.astype("f"))])
    np.testing.assert_array_equal(*results)
    assert not np.array_equal(results[0][0], results[0][2])  # the next step draws anew
    assert not np.array_equal(results[0][0], X.astype("f"))


@pytest.mark.parametrize("name", ["shift", "flip"])
def test_prediction_leaves_pictures_as_they_are(name):
    layer = LAYERS[name]()
    assert layer.forward(X, train_flg=False) is X
    assert layer._saved is None


@pytest.mark.parametrize(("pixels", "down", "across"), [(2, 2, 2), ((0, 3), 0, 3), ((1, 0), 1, 0)])
def test_shifts_are_whole_and_every_one_as_probable(pixels, down, across):
    x = np.random.default_rng(1).standard_normal((3000, 2, 5, 6))
    y = nnx.RandomShift(pixels, seed=1).forward(x)
    possible = [(d, a) for d in range(-down, down + 1) for a in range(-across, across + 1)]
    counts = {by: int(np.sum((y == shifted(x, *by)).all(axis=(1, 2, 3)))) for by in possible}
    assert sum(counts.values()) == len(x)
    expected = len(x) / len(possible)
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values()), counts


def test_half_of_the_pictures_is_flipped():
    x = np.random.default_rng(1).standard_normal((3000, 1, 3, 4))
    y = nnx.RandomFlip(seed=1).forward(x)
    flipped = (y == x[..., ::-1]).all(axis=(1, 2, 3))
    assert (flipped | (y == x).all(axis=(1, 2, 3))).all()
    assert abs(flipped.mean() - 0.5) < 0.05


def test_whole_channels_are_dropped():
    x = np.ones((200, 20, 2, 3))
    layer = nnx.SpatialDropout(0.25, inverted=True, seed=1)
    y = layer.forward(x)
    assert (y == y[:, :, :1, :1]).all()
    assert set(np.unique(y)) == {0, 4 / 3}
    assert abs(np.mean(y == 0) - 0.25) < 0.03
    np.testing.assert_array_equal(layer.backward(x), y)
    np.testing.assert_array_equal(nnx.SpatialDropout(0.25).forward(x, False), np.full_like(x, 0.75))


def test_nan_stays_in_its_picture():
    x = np.zeros((2, 1, 4, 4))
    x[0, 0, 1, 1] = np.nan
    y = nnx.RandomShift(2, seed=0).forward(x)
    assert np.isnan(y[0]).sum() == 1
    assert not y[1].any()


def trainer(backend):
    layers = (
        nnx.RandomShift(1), nnx.RandomFlip(), nnx.Convolution(3, 3), nnx.ReLU(), nnx.SpatialDropout(0.3),
        nnx.Flatten(), nnx.Dropout(0.2), nnx.Affine(3),
    )  # fmt: skip
    return nnx.Trainer(nnx.Sequential(*layers), nnx.SGD(0.1), backend=backend, seed=4)


def test_a_training_is_the_same_on_every_backend_and_after_a_resume(tmp_path):
    x, t = X.astype("f"), np.arange(len(X)) % 3
    settings = {"batch_size": 16, "verbose": False}
    whole, other = (trainer(name).fit(x, t, epochs=4, **settings)["loss"] for name in BACKENDS)
    np.testing.assert_allclose(whole, other, rtol=1e-5)
    half = trainer("numpy")
    half.fit(x, t, epochs=2, checkpoint=tmp_path / "half", **settings)
    assert nnx.Trainer.load(tmp_path / "half", backend="numpy").fit(x, t, epochs=4, **settings)["loss"] == whole


def test_a_step_with_augmentation_is_recorded():
    """Warnings are errors: Numba says so where a step cannot be recorded."""
    losses = []
    for backend in BACKENDS:
        model = nnx.Sequential(nnx.RandomShift(1), nnx.RandomFlip(), nnx.Flatten(), nnx.Affine(3))
        one = nnx.Trainer(model, nnx.SGD(0.1), backend=backend, seed=4)
        losses.append([float(one.step(X.astype("f"), np.arange(len(X)) % 3)) for _ in range(5)])
        assert one.plan.capturable
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_other_programs_get_the_network_without_augmentation():
    model = nnx.Sequential(nnx.RandomShift(1), nnx.RandomFlip(), nnx.Flatten(), nnx.BatchNorm(), nnx.Affine(2))
    model.build((3, 5, 6), dtype="float64", backend="numpy")
    model.params["3.beta"][...] = 2.0
    bare = model._without_augmentation()
    assert repr(bare) == "Sequential(Flatten(), BatchNorm(), Affine(2))"
    np.testing.assert_array_equal(bare.predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnx.RandomShift(0), "RandomShift: pixels: got 0, expected at least 1 down or across"),
        (lambda: nnx.RandomShift(-1), "RandomShift: pixels: got -1, expected a whole number of at least 0"),
        (lambda: nnx.RandomShift(1.5), "RandomShift: pixels: got 1.5"),
        (lambda: nnx.RandomShift(1, seed=-1), "seed: got -1"),
        (lambda: nnx.RandomShift(5).forward(X), "got pictures of 5 x 6, expected more pixels than the shift; lower it"),
        (lambda: nnx.RandomShift((1, 6)).forward(X), r"RandomShift\(\(1, 6\)\): got pictures of 5 x 6"),
        (lambda: nnx.Sequential(nnx.RandomShift(8)).build((1, 8, 8)), "got pictures of 8 x 8, expected more pixels"),
        (lambda: nnx.Sequential(nnx.RandomFlip()).build((8, 8)), r"of a Dataset: data.pictures\(\)"),
        (lambda: nnx.RandomFlip().forward(X[0]), r"expected pictures \(n, channels, height, width\)"),
        (lambda: nnx.RandomFlip().backward(X), "backward needs a forward"),
        (lambda: nnx.SpatialDropout(1), "SpatialDropout: dropout_ratio: got 1"),
        (lambda: nnx.SpatialDropout().forward(X[0, 0]), r"expected pictures \(n, channels, height, width\)"),
        (lambda: nnx.Sequential(nnx.SpatialDropout()).build(5), r"expected pictures \(n, channels, height, width\)"),
    ],
)  # fmt: skip
def test_refusals(make, message):
    with pytest.raises(nnx.NnxError, match=message):
        make()


@pytest.mark.parametrize("name", LAYERS)
def test_a_gradient_of_another_shape_is_refused(name):
    layer = LAYERS[name]()
    layer.forward(X)
    with pytest.raises(nnx.InputError, match=r"got a gradient of shape \(39, 3, 5, 6\), expected \(40, 3, 5, 6\)"):
        layer.backward(X[1:])


def test_reprs_are_constructor_calls():
    assert repr(nnx.RandomShift((2, 0))) == "RandomShift((2, 0))"
    assert repr(nnx.RandomShift((3, 3))) == "RandomShift(3)"
    assert repr(nnx.RandomFlip()) == "RandomFlip()"
    assert repr(nnx.SpatialDropout(0.2)) == "SpatialDropout(0.2)"


class Dice(nnx.Layer):
    random = True


def test_integers_are_alike_everywhere_and_evenly_spread():
    draws = []
    for backend in BACKENDS:
        with nnx.use_backend(backend):
            dice = Dice()
            dice.seed = 5
            draws.append(dice.integers((3000, 2), 6))
    np.testing.assert_array_equal(*draws)
    assert draws[0].dtype == np.int64
    counts = np.bincount(draws[0].ravel(), minlength=6)
    assert len(counts) == 6
    assert (np.abs(counts - 1000) < 150).all()
    assert dice.integers((1,), 2**31) >= 0
    for count in (0, 2**31 + 1):
        with pytest.raises(nnx.InputError, match=f"count: got {count}, expected"):
            dice.integers((1,), count)
