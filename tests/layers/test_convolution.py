"""The convolutional layer against loops, alone and in models of pictures."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threads import at_once

import nnx
from nnx import testing

RNG = np.random.default_rng(4)
X = RNG.standard_normal((3, 2, 7, 6))
W, B = RNG.standard_normal((5, 2, 3, 2)), RNG.standard_normal(5)
BACKENDS = [s.name for s in nnx.list_backends() if s.usable]
SETTINGS = {
    "plain": ((1, 1), (0, 0)),
    "strides": ((2, 3), (0, 0)),
    "padding": ((1, 1), (2, 1)),
    "both": ((2, 1), (1, 3)),
}


def padded(x, pad):
    return np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2))


def places(x, w, stride):
    """Each place of a window: where it is in the output, and the pixels under it."""
    kh, kw = w.shape[2:]
    for i, top in enumerate(range(0, x.shape[2] - kh + 1, stride[0])):
        for j, left in enumerate(range(0, x.shape[3] - kw + 1, stride[1])):
            yield i, j, (slice(None), slice(None), slice(top, top + kh), slice(left, left + kw))


def forward(x, w, b, stride, pad):
    x = padded(x, pad).astype(float)
    lengths = [(x.shape[k + 2] - w.shape[k + 2]) // stride[k] + 1 for k in range(2)]
    y = np.zeros((len(x), len(w), *lengths))
    for i, j, pixels in places(x, w, stride):
        for f, weights in enumerate(w.astype(float)):
            y[:, f, i, j] = (x[pixels] * weights).sum(axis=(1, 2, 3)) + b[f]
    return y


def backward(dy, x, w, stride, pad):
    x = padded(x, pad)
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i, j, pixels in places(x, w, stride):
        for f, weights in enumerate(w):
            share = dy[:, f, i, j, None, None, None]
            dx[pixels] += share * weights
            dw[f] += (share * x[pixels]).sum(axis=0)
    inside = dx[:, :, pad[0] : dx.shape[2] - pad[0], pad[1] : dx.shape[3] - pad[1]]
    return inside, dw, dy.sum(axis=(0, 2, 3))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_the_sum_over_the_pixels_of_every_window(backend, name):
    stride, pad = SETTINGS[name]
    with nnx.use_backend(backend):
        layer = nnx.Convolution(W.copy(), B.copy(), stride, pad)
        y = layer.forward(X)
        expected = forward(X, W, B, stride, pad)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)
        dy = np.random.default_rng(1).standard_normal(y.shape)
        dx = layer.backward(dy)
    for got, wanted in zip((dx, layer.dW, layer.db), backward(dy, X, W, stride, pad), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "layer",
    [
        nnx.Convolution(3, 2),
        nnx.Convolution(2, (2, 3), stride=(2, 1), pad=(1, 0), bias=False),
        nnx.Convolution(4, 1, init=0.5),
        nnx.Convolution(2, (5, 4), init="he"),
    ],
    ids=repr,
)
def test_the_kit_for_layers_finds_it_right(backend, layer):
    testing.check_layer(layer, (2, 5, 4), backend=backend)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)),
    filters=st.integers(1, 4),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pad=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_every_shape_is_right_or_refused(shape, filters, size, stride, pad, dtype):
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal(shape).astype(dtype), rng.standard_normal((filters, shape[1], *size)).astype(dtype)
    layer = nnx.Convolution(w, None, stride, pad)
    fits = all(shape[k + 2] + 2 * pad[k] >= size[k] for k in range(2))
    with nnx.use_backend("numpy"):
        if not fits:
            with pytest.raises(nnx.InputError, match=r"expected at least the window's \d+ x \d+; take a smaller size"):
                layer.forward(x)
            return
        y = layer.forward(x)
        assert y.dtype == dtype
        lengths = [(shape[k + 2] + 2 * pad[k] - size[k]) // stride[k] + 1 for k in range(2)]
        assert y.shape == (shape[0], filters, *lengths)
        np.testing.assert_allclose(y, forward(x, w, np.zeros(filters), stride, pad), rtol=1e-4, atol=1e-4)
        dy = rng.standard_normal(y.shape).astype(dtype)
        dx = layer.backward(dy)
    expected = backward(dy.astype(float), x.astype(float), w.astype(float), stride, pad)
    np.testing.assert_allclose(dx, expected[0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(layer.dW, expected[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_it_uses_its_arrays_in_place_and_in_their_dtype(dtype):
    w, b = W.astype(dtype), B.astype(dtype)
    layer = nnx.Convolution(w, b, 1, 0)
    assert layer.W is w
    assert layer.b is b
    assert (layer.filters, layer.size, layer.stride, layer.pad) == (5, (3, 2), 1, 0)
    y = layer.forward(X.astype(dtype))
    assert y.dtype == dtype
    w *= 2
    b *= 2
    np.testing.assert_allclose(layer.forward(X.astype(dtype)), 2 * y, rtol=1e-5)
    layer.backward(y)
    assert {str(g.dtype) for g in layer.grads.values()} == {dtype}
    assert {name: g.shape for name, g in layer.grads.items()} == {"W": w.shape, "b": b.shape}


def test_in_a_model_the_values_of_arrays_are_copied():
    model = nnx.Sequential(nnx.Convolution(W, B)).build((2, 7, 6), backend="numpy")
    np.testing.assert_array_equal(model.params["0.W"], W.astype("f"))
    np.testing.assert_allclose(model.predict(X), forward(X, W, B, (1, 1), (0, 0)), rtol=1e-5, atol=1e-5)
    model.params["0.W"][...] = 0
    assert (W != 0).all()


LAYOUTS = {
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "column-major": np.asfortranarray,
    "every second column": lambda x: np.repeat(x, 2, axis=3)[..., ::2],
    "backwards": lambda x: np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout(backend, channels, layout):
    x, w = X[:, :channels], W[:, :channels]
    with nnx.use_backend(backend):
        layer, plain = nnx.Convolution(w.copy(), B.copy(), 1, 1), nnx.Convolution(w.copy(), B.copy(), 1, 1)
        given, expected = layer.forward(LAYOUTS[layout](x)), plain.forward(x.copy())
        np.testing.assert_allclose(given, expected, rtol=1e-13, atol=1e-13)
        dy = RNG.standard_normal(given.shape)
        np.testing.assert_allclose(layer.backward(LAYOUTS[layout](dy)), plain.backward(dy), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(layer.dW, plain.dW, rtol=1e-12, atol=1e-12)


def test_inputs_stay_as_they_are_and_predictions_store_nothing():
    x, layer = X.copy(), nnx.Convolution(W.copy(), B.copy())
    layer.forward(x, train_flg=False)
    with pytest.raises(nnx.InputError, match=r"backward needs a forward\(x, train_flg=True\) before it"):
        layer.backward(np.ones((3, 5, 5, 5)))
    layer.backward(layer.forward(x))
    np.testing.assert_array_equal(x, X)


def test_one_picture_gives_what_it_gives_among_others():
    layer = nnx.Convolution(W.copy(), B.copy(), 2, 1)
    np.testing.assert_allclose(layer.forward(X[1:2]), layer.forward(X)[1:2], rtol=1e-13)


@pytest.mark.parametrize("size", [1, 3])
def test_nan_stays_nan_where_windows_see_it(size):
    x, w = X.copy(), RNG.standard_normal((5, 2, size, size))
    x[1, 0, 3, 2] = np.nan
    layer = nnx.Convolution(w, B.copy(), pad=size // 2)
    with np.errstate(invalid="ignore"):
        y = layer.forward(x)
        seen = np.zeros((3, 5, 7, 6), bool)
        reach = size // 2
        seen[1, :, 3 - reach : 4 + reach, 2 - reach : 3 + reach] = True
        np.testing.assert_array_equal(np.isnan(y), seen)
        layer.backward(np.zeros_like(y))
    assert np.isnan(layer.dW[:, 0]).any()
    assert not np.isnan(layer.dW[:, 1]).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnx.Convolution(0, 3), "Convolution: filters: got 0, expected a whole number of at least 1"),
        (lambda: nnx.Convolution(2.5, 3), "Convolution: filters: got 2.5"),
        (lambda: nnx.Convolution("a", 3), "Convolution: filters: got 'a'"),
        (lambda: nnx.Convolution(True, 3), "Convolution: filters: got True"),
        (lambda: nnx.Convolution(4), r"got no size; write Convolution\(filters, size\), or pass arrays"),
        (lambda: nnx.Convolution(B, B), r"W has shape \(.*,\), expected four dimensions"),
        (lambda: nnx.Convolution(4, B), r"got a bias but no filters \(4\)"),
        (lambda: nnx.Convolution(4, 0), "Convolution: size: got 0, expected a whole number of at least 1"),
        (lambda: nnx.Convolution(4, (3, 0)), "Convolution: size: got 0"),
        (lambda: nnx.Convolution(4, (3, 3, 3)), r"got \(3, 3, 3\), expected one number, or two: \(down, across\)"),
        (lambda: nnx.Convolution(4, "33"), "Convolution: size: got '33', expected a whole number"),
        (lambda: nnx.Convolution(4, 3, stride=0), "Convolution: stride: got 0, expected a whole number of at least 1"),
        (lambda: nnx.Convolution(4, 3, stride=(1, -1)), "Convolution: stride: got -1"),
        (lambda: nnx.Convolution(4, 3, stride=1.5), "Convolution: stride: got 1.5"),
        (lambda: nnx.Convolution(4, 3, pad=-1), "Convolution: pad: got -1, expected a whole number of at least 0"),
        (lambda: nnx.Convolution(4, 3, pad=None), "Convolution: pad: got None"),
        (lambda: nnx.Convolution(4, 3, bias=1), "Convolution: bias: got 1"),
        (lambda: nnx.Convolution(4, 3, init="hee"), "unknown initialiser 'hee'. Did you mean 'he'"),
        (lambda: nnx.Convolution(W[0]), r"W has shape \(2, 3, 2\), expected four dimensions \(filters, channels"),
        (lambda: nnx.Convolution(W[:, :0]), r"W has shape \(5, 0, 3, 2\), expected at least one of each"),
        (lambda: nnx.Convolution(W.astype(int)), "W has dtype int64, expected float32 or float64"),
        (lambda: nnx.Convolution(W, B[:3]), r"b has shape \(3,\) float64, expected \(5,\) float64 as W has filters"),
        (lambda: nnx.Convolution(W, B.astype("f")), r"b has shape \(5,\) float32, expected \(5,\) float64"),
        (lambda: nnx.Convolution(W, 3), "Convolution: b is 3, expected an array as W is"),
        (lambda: nnx.Convolution(W, B, bias=False), "got bias=False and an array b"),
        (lambda: nnx.Convolution(4, 3).forward(X), r"Convolution\(4, size=3\) has no parameters yet: put it into"),
        (lambda: nnx.Convolution(W).forward(X[:, :1]), r"inputs of shape \(3, 1, 7, 6\), expected 2 channels: \(n, 2"),
        (lambda: nnx.Convolution(W).forward(X[:, 0]), r"\(n, 7, 6\), expected pictures.*x.reshape\(-1, 1, 7, 6\)"),
        (lambda: nnx.Convolution(W).forward(X[:, 0, 0]), r"\(n, 6\), expected.*x.reshape\(-1, channels, height, width"),
        (lambda: nnx.Convolution(W).forward(np.ones((2, 64))), r"\(n, 64\), expected.*x.reshape\(-1, 1, 8, 8\)"),
        (lambda: nnx.Convolution(W).forward(X[:0]), r"size=\(3, 2\), bias=False\): got no rows, expected at least"),
        (lambda: nnx.Convolution(W).forward(X[:, :, :0]), r"inputs of shape \(3, 2, 0, 6\), expected at least one of"),
        (lambda: nnx.Convolution(W).forward(X.astype(int)), "x: got dtype int64, expected float32 or float64"),
        (lambda: nnx.Convolution(W).forward(X.tolist()), "x: got builtins.list, but the backend"),
        (lambda: nnx.Convolution(W).forward(X[:, :, :2]), "pictures of 2 x 6, expected at least the window's 3 x 2"),
        (
            lambda: nnx.Convolution(W, pad=(0, 1)).forward(X[:, :, :2]),
            "pictures of 2 x 6, with the padding 2 x 8, expected at least the window's 3 x 2",
        ),
        (lambda: nnx.Sequential(nnx.Convolution(4, 3)).build(64), r"shape \(n, 64\), expected.*reshape\(-1, 1, 8, 8\)"),
        (lambda: nnx.Sequential(nnx.Convolution(4, 3)).build((8, 8)), r"x.reshape\(-1, 1, 8, 8\)"),
        (lambda: nnx.Sequential(nnx.Convolution(4, 9)).build((1, 8, 8)), "pictures of 8 x 8, expected at least"),
        (lambda: nnx.Sequential(nnx.Convolution(W)).build((3, 8, 8)), r"inputs of 3 channels, but W has shape \(5, 2"),
        (lambda: nnx.Sequential(nnx.Convolution(4, 3), nnx.Affine(2)).build((1, 8, 8)), r"Put a Flatten\(\)"),
    ],
)  # fmt: skip
def test_refusals(make, message):
    with nnx.use_backend("numpy"), pytest.raises(nnx.NnxError, match=message):
        make()


@pytest.mark.parametrize("shape", [(3, 5, 5, 4), (3, 4, 5, 5), (2, 5, 5, 5), (3, 125), (3, 5, 5, 5, 1)])
def test_a_gradient_of_another_shape_is_refused(shape):
    layer = nnx.Convolution(W.copy(), B.copy())
    layer.forward(X)
    with pytest.raises(nnx.InputError, match=r"got a gradient of shape .*, expected \(3, 5, 5, 5\)"):
        layer.backward(np.ones(shape))


def test_sizes_may_be_numbers_of_numpy():
    layer = nnx.Convolution(np.int64(4), np.int64(3), stride=np.int32(2), pad=(np.int64(1), 0))
    assert repr(layer) == "Convolution(4, size=3, stride=2, pad=(1, 0))"


def test_reprs_are_constructor_calls():
    layers = (
        nnx.Convolution(4, 3),
        nnx.Convolution(4, (3, 3), stride=[2, 1], pad=1),
        nnx.Convolution(4, (3, 5), pad=(1, 2), bias=False, init="he"),
        nnx.Convolution(W, B, 2),
    )
    assert list(map(repr, layers)) == [
        "Convolution(4, size=3)",
        "Convolution(4, size=3, stride=(2, 1), pad=1)",
        "Convolution(4, size=(3, 5), pad=(1, 2), bias=False, init='he')",
        "Convolution(5, size=(3, 2), stride=2)",
    ]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_do_the_same(again):
    layer = nnx.Convolution(W.copy(), B.copy(), (2, 1), 1)
    y = layer.forward(X)
    other = again(layer)
    assert repr(other) == repr(layer)
    np.testing.assert_array_equal(other.forward(X), y)


# Models of pictures ---------------------------------------------------------------------------------------------------


def pictures(n=40, dtype="f"):
    rng = np.random.default_rng(8)
    x, t = rng.normal(size=(n, 2, 8, 7)).astype(dtype), np.arange(n) % 3
    x[t == 1, :, 2:5] += 1
    x[t == 2, 1, :, 3:] -= 1
    return x, t


def trainer_of(backend="numpy", **settings):
    model = nnx.Sequential(
        nnx.Convolution(6, (3, 2), stride=(2, 1), pad=(1, 0)),
        nnx.BatchNorm(),
        nnx.ReLU(),
        nnx.MaxPooling((2, 3), stride=(1, 2)),
        nnx.Dropout(0.2),
        nnx.Convolution(4, 2, bias=False),
        nnx.ReLU(),
        nnx.AveragePooling(2, pad=1),
        nnx.Flatten(),
        nnx.Affine(3),
    )
    return nnx.Trainer(model, nnx.Adam(0.01), backend=backend, **{"seed": 3, **settings})


def fitted(trainer, epochs, **options):
    x, t = pictures()
    return trainer.fit(x, t, epochs=epochs, batch_size=16, verbose=False, **options)


def test_it_learns():
    history = fitted(trainer_of(), 15)
    assert history["loss"][-1] < 0.6 * history["loss"][0]


def test_a_resumed_training_ends_with_the_bits_of_one_in_a_piece(tmp_path):
    whole, begun = trainer_of(), trainer_of()
    fitted(whole, 4)
    fitted(begun, 2, checkpoint=tmp_path / "half")
    loaded = nnx.Trainer.load(tmp_path / "half", backend="numpy")
    assert list(map(repr, loaded.model.layers)) == list(map(repr, whole.model.layers))
    assert fitted(loaded, 4) == whole.history
    for name, value in whole.model.state_dict().items():
        np.testing.assert_array_equal(loaded.model.state_dict()[name], value, err_msg=name)


def test_a_saved_model_comes_back_with_its_strides_and_pairs(tmp_path):
    trainer = trainer_of()
    trainer.build((2, 8, 7))
    trainer.save(tmp_path / "model")
    loaded = nnx.Trainer.load(tmp_path / "model", backend="numpy").model
    assert [layer.config() for layer in loaded.layers] == [layer.config() for layer in trainer.model.layers]
    np.testing.assert_array_equal(loaded.predict(pictures()[0]), trainer.model.predict(pictures()[0]))


def test_summary():
    trainer = trainer_of()
    trainer.build((2, 8, 7))
    _, _, first, *others = trainer.model.summary().splitlines()
    assert first.startswith("0 Convolution(6, size=(3, 2), stride=(2, 1), pad=(1, 0)) ")
    assert first.split()[-8:] == ["(n,", "6,", "4,", "6)", "78", "he,", "std", "0.4082"]
    assert "(n, 6, 3, 2)" in others[2]
    assert "(n, 4, 2, 1)" in others[6]


def test_weights_are_drawn_for_the_size_of_a_filter():
    model = nnx.Sequential(nnx.Convolution(200, 5), nnx.MaxPooling(2), nnx.ReLU()).build((3, 8, 8), backend="numpy")
    assert abs(model.params["0.W"].std() - np.sqrt(2 / 75)) < 0.002
    assert not model.params["0.b"].any()


def test_masks_of_dropout_are_the_same_in_layers_and_plans():
    """The plan's masks of dropout are those of the layers, whose pictures have the channels first."""
    model = nnx.Sequential(nnx.Convolution(5, 3), nnx.Dropout(0.5), nnx.Flatten(), nnx.Affine(3))
    trainer = nnx.Trainer(model, nnx.SGD(0.1), backend="numpy", seed=6, dtype="float64")
    trainer.build((2, 8, 7))
    x, t = pictures(7, "d")
    keys = np.stack([layer.random_key(model.seed, 0) for layer in trainer.plan.random])
    trainer.plan.program(7).differentiate(x, t, keys)
    kept = next(iter(trainer.plan.program(7).masks.values()))
    layer, ones = nnx.Dropout(0.5), np.ones((7, 5, 6, 5))
    layer.seed, layer.index = model.seed, 1
    with nnx.use_backend("numpy"):
        np.testing.assert_array_equal(layer.forward(ones) > 0, kept.transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(layer.backward(ones) > 0, kept.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_norm_of_pictures_is_that_of_their_pixels(backend):
    gamma, beta = np.linspace(0.5, 2, 2), np.linspace(-1, 1, 2)
    rows = X.transpose(0, 2, 3, 1).reshape(-1, 2)
    with nnx.use_backend(backend):
        of_pictures, of_rows = (nnx.BatchNorm(gamma.copy(), beta.copy()) for _ in range(2))

        def same(got, expected):
            np.testing.assert_allclose(got.transpose(0, 2, 3, 1).reshape(-1, 2), expected, rtol=1e-12, atol=1e-12)

        same(of_pictures.forward(X), of_rows.forward(rows))
        dy = RNG.standard_normal(X.shape)
        same(of_pictures.backward(dy), of_rows.backward(dy.transpose(0, 2, 3, 1).reshape(-1, 2)))
        same(of_pictures.forward(X, False), of_rows.forward(rows, False))
    for kind in ("params", "grads", "running"):
        for name, value in getattr(of_rows, kind).items():
            np.testing.assert_allclose(getattr(of_pictures, kind)[name], value, rtol=1e-12, err_msg=name)


def test_batch_norm_takes_a_single_picture_for_its_many_pixels():
    layer = nnx.BatchNorm(np.ones(2), np.zeros(2))
    layer.forward(X[:1])
    np.testing.assert_allclose(layer.running["running_mean"], 0.1 * X[0].mean(axis=(1, 2)))
    with pytest.raises(
        nnx.InputError, match=r"got inputs of shape \(3, 1, 7, 6\), expected \(n, 2\) or \(n, 2, h, w\)"
    ):
        layer.forward(X[:, :1])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_convolutions_stay_float32_under_mixed_precision(precision):
    history = fitted(trainer_of(precision=precision), 4)["loss"]
    np.testing.assert_allclose(history, fitted(trainer_of(), 4)["loss"], rtol=0.05)
    x, t = pictures()

    def gradients(precision):
        layers = nnx.Convolution(4, 3), nnx.Flatten()
        trainer = nnx.Trainer(nnx.Sequential(*layers), nnx.SGD(0.1), backend="numpy", precision=precision, seed=1)
        trainer.build(x.shape[1:])
        trainer.plan.program(40).differentiate(x, t, None)
        scale = 1.0 if trainer.plan.scaling is None else float(trainer.plan.scaling.state[0])
        return trainer.model.arena.grads.buffer / scale

    np.testing.assert_allclose(gradients(precision), gradients("float32"), rtol=1e-5, atol=1e-9)


def test_predictions_from_many_threads():
    trainer, (x, _) = trainer_of(), pictures()
    trainer.build((2, 8, 7))
    model = trainer.model
    expected, found = [model.predict(x[i:]) for i in range(8)], {}

    def work(i):
        found[i] = [model.predict(x[i:]) for _ in range(10)]

    at_once(work, range(8))
    for i, predictions in found.items():
        for prediction in predictions:
            np.testing.assert_array_equal(prediction, expected[i])


def test_a_step_on_what_is_not_finite_names_the_layer():
    trainer, (x, t) = trainer_of(), pictures()
    trainer.build(x.shape[1:])
    trainer.model.params["5.W"][0, 0, 0, 0] = np.inf
    with (
        np.errstate(all="ignore"),
        pytest.raises(nnx.DivergedError, match=r"in the output of Convolution\(4, size=2, "),
    ):
        trainer.fit(x, t, verbose=False)
