"""Pooling layers against loops."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spies import watched

import nnx
from nnx import testing

RNG = np.random.default_rng(5)
X = RNG.standard_normal((3, 2, 7, 6))
BACKENDS = [s.name for s in nnx.list_backends() if s.usable]
SETTINGS = {
    "halves": (2, 2, 0),
    "overlapping": ((3, 2), (2, 1), (1, 0)),
    "gaps": (2, 3, 0),
    "dense": (3, 1, 2),
    "one pixel": (1, 1, 0),
}


def windows(x, size, stride, pad, beyond):
    """Each place of a window: where it is in the output, and the pixels under it on padded pictures."""
    x = np.pad(x, ((0, 0), (0, 0), (pad[0],) * 2, (pad[1],) * 2), constant_values=beyond)
    for i, top in enumerate(range(0, x.shape[2] - size[0] + 1, stride[0])):
        for j, left in enumerate(range(0, x.shape[3] - size[1] + 1, stride[1])):
            yield i, j, top, left, x[:, :, top : top + size[0], left : left + size[1]]


def by_loops(kind, x, dy, size, stride, pad):
    """The output, and the gradient of x."""
    size, stride, pad = (n if isinstance(n, tuple) else (n, n) for n in (size, stride, pad))
    beyond = -np.inf if kind is nnx.MaxPooling else 0.0
    y, dx = np.empty_like(dy), np.zeros((*x.shape[:2], x.shape[2] + 2 * pad[0], x.shape[3] + 2 * pad[1]))
    for i, j, top, left, pixels in windows(x, size, stride, pad, beyond):
        if kind is nnx.AveragePooling:
            y[:, :, i, j] = pixels.mean(axis=(2, 3))
            dx[:, :, top : top + size[0], left : left + size[1]] += dy[:, :, i, j, None, None] / (size[0] * size[1])
            continue
        y[:, :, i, j] = pixels.max(axis=(2, 3))
        for n, c in np.ndindex(*x.shape[:2]):
            row, column = divmod(int(pixels[n, c].argmax()), size[1])
            dx[n, c, top + row, left + column] += dy[n, c, i, j]
    return y, dx[:, :, pad[0] : pad[0] + x.shape[2], pad[1] : pad[1] + x.shape[3]]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [nnx.MaxPooling, nnx.AveragePooling])
@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_of_the_pixels_of_every_window(backend, kind, name):
    with nnx.use_backend(backend):
        layer = kind(*SETTINGS[name])
        y = layer.forward(X)
        dy = RNG.standard_normal(y.shape)
        expected, dx = by_loops(kind, X, dy, *SETTINGS[name])
        np.testing.assert_allclose(y, expected, rtol=1e-13)
        np.testing.assert_allclose(layer.forward(X, False), expected, rtol=1e-13)
        layer.forward(X)
        np.testing.assert_allclose(layer.backward(dy), dx, rtol=1e-12, atol=1e-13)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from([nnx.MaxPooling, nnx.AveragePooling]),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    pad=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dtype=st.sampled_from(["float32", "float64"]),
)
def test_every_shape_is_right_or_refused(kind, shape, size, stride, pad, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    if any(pad[k] >= size[k] for k in range(2)):
        with pytest.raises(nnx.InputError, match="less than the size, .*: a window would see no picture"):
            kind(size, stride, pad)
        return
    layer = kind(size, stride, pad)
    with nnx.use_backend("numpy"):
        if any(shape[k + 2] + 2 * pad[k] < size[k] for k in range(2)):
            with pytest.raises(nnx.InputError, match="expected at least the window's"):
                layer.forward(x)
            return
        y = layer.forward(x)
        assert y.dtype == dtype
        assert y.shape == (*shape[:2], *((shape[k + 2] + 2 * pad[k] - size[k]) // stride[k] + 1 for k in range(2)))
        dy = rng.standard_normal(y.shape).astype(dtype)
        expected, dx = by_loops(kind, x, dy, size, stride, pad)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(layer.backward(dy), dx, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "layer",
    [
        nnx.MaxPooling(),
        nnx.MaxPooling(3, stride=(2, 1), pad=1),
        nnx.AveragePooling((2, 3), stride=2, pad=(0, 1)),
        nnx.GlobalAveragePooling(),
    ],
    ids=repr,
)
def test_the_kit_for_layers_finds_it_right(backend, layer):
    testing.check_layer(layer, (2, 5, 4), backend=backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_mean_of_each_channel(backend):
    with nnx.use_backend(backend):
        layer = nnx.GlobalAveragePooling()
        np.testing.assert_allclose(layer.forward(X), X.mean(axis=(2, 3)), rtol=1e-12, atol=1e-14)
        dx = layer.backward(np.arange(6.0).reshape(3, 2))
    np.testing.assert_allclose(dx, np.broadcast_to(np.arange(6.0).reshape(3, 2, 1, 1) / 42, X.shape))


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_equal_numbers_the_first_one_gets_the_gradient(backend):
    with nnx.use_backend(backend):
        layer = nnx.MaxPooling(2, stride=1, pad=1)
        layer.forward(np.full((1, 1, 2, 2), -1.0))
        dx = layer.backward(np.arange(9.0).reshape(1, 1, 3, 3))
    np.testing.assert_array_equal(dx[0, 0], [[0 + 1 + 3 + 4, 2 + 5], [6 + 7, 8]])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [nnx.MaxPooling, nnx.AveragePooling])
def test_nan_stays_nan_where_windows_see_it(backend, kind):
    x = X.copy()
    x[1, 0, 3, 2] = np.nan
    with nnx.use_backend(backend), np.errstate(invalid="ignore"):
        layer = kind(2)
        y = layer.forward(x)
        seen = np.zeros(y.shape, bool)
        seen[1, 0, 1, 1] = True
        np.testing.assert_array_equal(np.isnan(y), seen)
        if kind is nnx.MaxPooling:  # and it has the gradient
            assert layer.backward(np.ones_like(y))[1, 0, 3, 2] == 1
        dy = np.zeros_like(y)
        dy[0, 1, 0, 0] = np.nan
        dx = layer.backward(dy)
    assert np.isnan(dx).sum() == (1 if kind is nnx.MaxPooling else 4)
    assert np.isnan(dx[0, 1, :2, :2]).any()


LAYOUTS = {
    "channels last": lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2),
    "column-major": np.asfortranarray,
    "backwards": lambda x: np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1],
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("make", [nnx.MaxPooling, nnx.AveragePooling, nnx.GlobalAveragePooling])
def test_any_memory_layout(backend, layout, make):
    for x in (X, X[:, :1]):
        with nnx.use_backend(backend):
            layer, plain = make(), make()
            y = layer.forward(LAYOUTS[layout](x))
            np.testing.assert_allclose(y, plain.forward(x.copy()), rtol=1e-13)
            dy = RNG.standard_normal(y.shape)
            dx = layer.backward(LAYOUTS[layout](dy) if dy.ndim == 4 else np.asfortranarray(dy))
            np.testing.assert_allclose(dx, plain.backward(dy), rtol=1e-13)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnx.MaxPooling(0), "MaxPooling: size: got 0, expected a whole number of at least 1"),
        (lambda: nnx.MaxPooling((2, 2, 2)), r"MaxPooling: size: got \(2, 2, 2\), expected one number, or two"),
        (lambda: nnx.MaxPooling("2"), "MaxPooling: size: got '2'"),
        (lambda: nnx.MaxPooling(2, stride=0), "MaxPooling: stride: got 0, expected a whole number of at least 1"),
        (lambda: nnx.MaxPooling(2, pad=-1), "MaxPooling: pad: got -1, expected a whole number of at least 0"),
        (lambda: nnx.MaxPooling(2, pad=2), "MaxPooling: pad: got 2, expected less than the size, 2: a window"),
        (lambda: nnx.AveragePooling((3, 2), pad=(0, 2)), r"pad: got \(0, 2\), expected less than the size, \(3, 2\)"),
        (lambda: nnx.MaxPooling((16, 17)), "got 16 x 17, expected at most 256 pixels.*several poolings one after the"),
        (lambda: nnx.MaxPooling((257, 1)), "got 257 x 1, expected at most 256 pixels"),
        (lambda: nnx.AveragePooling(None), "AveragePooling: size: got None"),
        (lambda: nnx.MaxPooling().forward(X[0]), r"got inputs of shape \(n, 7, 6\), expected pictures"),
        (lambda: nnx.MaxPooling().forward(np.ones((2, 9))), r"\(n, 9\), expected pictures.*x.reshape\(-1, 1, 3, 3\)"),
        (lambda: nnx.AveragePooling().forward(X[:0]), r"AveragePooling\(\): got no rows, expected at least one"),
        (lambda: nnx.GlobalAveragePooling().forward(X[:0]), r"GlobalAveragePooling\(\): got no rows"),
        (lambda: nnx.MaxPooling().forward(X[:, :0]), r"\(3, 0, 7, 6\), expected at least one of each"),
        (lambda: nnx.MaxPooling(8).forward(X), "pictures of 7 x 6, expected at least the window's 8 x 8"),
        (
            lambda: nnx.MaxPooling().forward(X.astype(np.uint8)),
            r"x: got dtype uint8, expected float32 or float64. Whole .*pixels, .* by x.astype.*data.inputs\(\)",
        ),
        (lambda: nnx.GlobalAveragePooling().forward(X[0]), r"got inputs of shape \(n, 7, 6\), expected pictures"),
        (lambda: nnx.MaxPooling().backward(X), "backward needs a forward"),
        (lambda: nnx.Sequential(nnx.MaxPooling(), nnx.MaxPooling(4)).build((1, 6, 6)), "or fewer poolings before it"),
        (lambda: nnx.Sequential(nnx.GlobalAveragePooling()).build((6, 6)), r"x.reshape\(-1, 1, 6, 6\)"),
        (lambda: nnx.Sequential(nnx.MaxPooling()).build((6, 6)), r"x.reshape\(-1, 1, 6, 6\)"),
    ],
)  # fmt: skip
def test_refusals(make, message):
    with nnx.use_backend("numpy"), pytest.raises(nnx.NnxError, match=message):
        make()


@pytest.mark.parametrize("kind", [nnx.MaxPooling, nnx.AveragePooling])
@pytest.mark.parametrize("shape", [(3, 3, 3, 2), (2, 2, 3, 3), (3, 2, 3, 4), (3, 18), ()])
def test_a_gradient_of_another_shape_is_refused(kind, shape):
    layer = kind()
    layer.forward(X)
    with pytest.raises(nnx.InputError, match=r"got a gradient of shape .*, expected \(3, 2, 3, 3\)"):
        layer.backward(np.ones(shape))


def test_a_gradient_of_other_means_is_refused():
    layer = nnx.GlobalAveragePooling()
    layer.forward(X)
    with pytest.raises(nnx.InputError, match=r"got a gradient of shape \(2, 3\), expected \(3, 2\)"):
        layer.backward(np.ones((2, 3)))


def test_places_are_kept_in_bytes():
    seen = []
    spy = watched("max_pooling", before=lambda x, **settings: seen.append(settings.get("index")))
    model = nnx.Sequential(nnx.MaxPooling()).build(X.shape[1:], backend=spy)
    for train in (True, False):
        model.forward(X.astype(np.float32), train)
    assert seen[0].dtype == np.uint8
    assert seen[1] is None


def test_the_largest_window_has_an_index():
    x = np.arange(256.0).reshape(1, 1, 16, 16)
    layer = nnx.MaxPooling(16)
    assert layer.forward(x).item() == 255
    assert layer.backward(np.ones((1, 1, 1, 1)))[0, 0, 15, 15] == 1


def test_reprs_copies_and_settings():
    layers = nnx.MaxPooling(), nnx.MaxPooling(3, (3, 3)), nnx.AveragePooling((2, 3), 2, (1, 0)), nnx.MaxPooling(3, 2, 1)
    assert list(map(repr, layers)) == [
        "MaxPooling()", "MaxPooling(3)", "AveragePooling((2, 3), stride=2, pad=(1, 0))",
        "MaxPooling(3, stride=2, pad=1)",
    ]  # fmt: skip
    assert repr(nnx.GlobalAveragePooling()) == "GlobalAveragePooling()"
    assert layers[1].config() == {"layer": "MaxPooling", "size": 3, "stride": None, "pad": 0}
    for layer in layers:
        y = layer.forward(X)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            np.testing.assert_array_equal(other.forward(X), y)
