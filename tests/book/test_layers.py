"""nnx.book's functions, layers and helpers, one by one: against formulas and numerical gradients."""

import numpy as np
import pytest

import nnx
from nnx.book import functions, layers, mnist, util
from nnx.book.gradient import numerical_gradient, numerical_gradient_2d
from nnx.datasets import write_idx

RNG = np.random.default_rng(0)
V = RNG.standard_normal(6)
M = RNG.standard_normal((4, 6))


@pytest.mark.parametrize(
    "x", [V, M, M.reshape(2, 2, 6), M.astype(np.float32), M.T], ids=["vector", "matrix", "cube", "float32", "view"]
)
def test_functions(x):
    rtol = 1e-6 if x.dtype == np.float32 else 1e-12
    s = 1 / (1 + np.exp(-x))
    e = np.exp(x)
    for found, wanted in (
        (functions.identity_function(x), x),
        (functions.sigmoid(x), s),
        (functions.sigmoid_grad(x), s * (1 - s)),
        (functions.relu(x), np.maximum(x, 0)),
        (functions.relu_grad(x), x >= 0),
        (functions.softmax(x), e / e.sum(axis=-1, keepdims=True)),
    ):
        np.testing.assert_allclose(found, wanted, rtol=rtol)
        assert found.dtype == x.dtype
    step = functions.step_function(x)
    np.testing.assert_array_equal(step, x > 0)
    assert step.dtype == int


def test_functions_of_numbers_and_whole_numbers():
    assert functions.sigmoid(0.0) == 0.5
    assert isinstance(functions.sigmoid(1.0), np.float64)
    assert functions.relu(-2) == 0
    whole = np.array([-1, 0, 3])
    assert functions.relu(whole).tolist() == [0, 0, 3]
    assert functions.relu(whole).dtype == whole.dtype
    assert functions.sigmoid(whole).dtype == np.float64
    np.testing.assert_allclose(
        functions.softmax(np.array([1010, 1000, 990])), np.exp([0, -10, -20]) / np.exp([0, -10, -20]).sum()
    )


def test_losses():
    y, t = np.array([[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]]), np.array([1, 2])
    wanted = -(np.log(0.7 + 1e-7) + np.log(0.4 + 1e-7)) / 2
    assert functions.cross_entropy_error(y, t) == pytest.approx(wanted, rel=1e-14)
    assert functions.cross_entropy_error(y, np.eye(3)[t]) == pytest.approx(wanted, rel=1e-14)
    assert functions.cross_entropy_error(y[0], np.array([0, 1, 0])) == pytest.approx(-np.log(0.7 + 1e-7))
    assert functions.cross_entropy_error(y[0], np.array(1)) == pytest.approx(-np.log(0.7 + 1e-7))
    assert functions.cross_entropy_error(np.array([[0.0, 1.0]]), np.array([0])) == pytest.approx(-np.log(1e-7))
    assert functions.sum_squared_error(y, np.eye(3)[t]) == pytest.approx(0.5 * np.sum((y - np.eye(3)[t]) ** 2))
    assert functions.softmax_loss(np.log(y), t) == pytest.approx(wanted)
    assert isinstance(functions.cross_entropy_error(y, t), np.float64)


def test_numerical_gradient_restores_what_it_changes():
    x = RNG.standard_normal((3, 2, 2))
    before = x.copy()
    np.testing.assert_allclose(numerical_gradient(lambda v: np.sum(v**2), x), 2 * x, rtol=1e-7)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_allclose(numerical_gradient(lambda _: np.sum(x**3), x), 3 * x**2, atol=1e-6)  # by another name

    def failing(v):
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        numerical_gradient(failing, x)
    np.testing.assert_array_equal(x, before)
    rows = M.copy()
    np.testing.assert_allclose(numerical_gradient_2d(lambda row: np.sum(row**2), rows), 2 * rows, rtol=1e-6)
    np.testing.assert_allclose(numerical_gradient_2d(lambda row: np.sum(row**2), V.copy()), 2 * V, rtol=1e-6)


FILTERS, BIAS = RNG.standard_normal((4, 3, 3, 2)), RNG.standard_normal(4)
IMAGES = RNG.standard_normal((2, 3, 6, 7))
APART = RNG.permutation(IMAGES.size).reshape(IMAGES.shape) / 10  # no two so near that the difference takes another one
LAYERS = {
    "relu": (layers.Relu, M),
    "sigmoid": (layers.Sigmoid, M),
    "affine": (lambda: layers.Affine(RNG.standard_normal((6, 5)), RNG.standard_normal(5)), M),
    "affine of images": (lambda: layers.Affine(RNG.standard_normal((126, 5)), RNG.standard_normal(5)), IMAGES),
    "batch norm": (lambda: layers.BatchNormalization(RNG.uniform(0.5, 2, 6), RNG.standard_normal(6)), M),
    "batch norm of numbers": (lambda: layers.BatchNormalization(1.5, 0.5), M),
    "batch norm of images": (lambda: layers.BatchNormalization(np.ones(126), np.zeros(126)), IMAGES),
    "convolution": (lambda: layers.Convolution(FILTERS.copy(), BIAS.copy()), IMAGES),
    "convolution, stride, pad": (lambda: layers.Convolution(FILTERS.copy(), BIAS.copy(), 2, 1), IMAGES),
    "pooling": (lambda: layers.Pooling(2, 2), APART),
    "pooling, overlapping": (lambda: layers.Pooling(3, 2, 1), APART),
    "pooling, padded": (lambda: layers.Pooling(2, 3, 2, 1), APART - 12.05),
}


@pytest.mark.parametrize("name", LAYERS)
def test_backward_is_the_gradient_of_forward(name):
    make, x = LAYERS[name]
    layer, x = make(), x.copy()
    dout = RNG.standard_normal(layer.forward(x).shape)

    def value(_):
        return np.sum(layer.forward(x) * dout)

    value(None)
    dx = layer.backward(dout.copy())
    assert dx.shape == x.shape
    np.testing.assert_allclose(dx, numerical_gradient(value, x), rtol=1e-4, atol=1e-5)
    for parameter, gradient in (("W", "dW"), ("b", "db"), ("gamma", "dgamma"), ("beta", "dbeta")):
        array = getattr(layer, parameter, None)
        if isinstance(array, np.ndarray):
            value(None)
            layer.backward(dout.copy())
            found = getattr(layer, gradient).copy()
            np.testing.assert_allclose(found, numerical_gradient(value, array), rtol=1e-4, atol=1e-5, err_msg=gradient)


def naive_convolution(x, W, b, stride, pad):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    rows = range(0, x.shape[2] - W.shape[2] + 1, stride)
    columns = range(0, x.shape[3] - W.shape[3] + 1, stride)
    parts = [
        [np.einsum("nchw,fchw->nf", x[:, :, i : i + W.shape[2], j : j + W.shape[3]], W) for j in columns] for i in rows
    ]
    return np.array(parts).transpose(2, 3, 0, 1) + b[:, None, None]


@pytest.mark.parametrize(("stride", "pad"), [(1, 0), (2, 0), (1, 2), (3, 1)])
def test_convolution_and_pooling_forward(stride, pad):
    W, b = FILTERS, BIAS
    found = layers.Convolution(W, b, stride, pad).forward(IMAGES)
    np.testing.assert_allclose(found, naive_convolution(IMAGES, W, b, stride, pad), rtol=1e-10, atol=1e-12)
    pooled = layers.Pooling(2, 3, stride).forward(IMAGES)
    windows = np.lib.stride_tricks.sliding_window_view(IMAGES, (2, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    np.testing.assert_array_equal(pooled, windows.max(axis=(-2, -1)))


def test_convolution_keeps_the_books_attributes():
    layer = layers.Convolution(FILTERS, BIAS, 2, 1)
    assert layer.x is layer.col is layer.col_W is layer.dW is layer.db is None
    y = layer.forward(IMAGES)
    assert layer.x is IMAGES
    np.testing.assert_array_equal(layer.col, util.im2col(IMAGES, 3, 2, 2, 1))
    np.testing.assert_array_equal(layer.col_W, FILTERS.reshape(4, -1).T)
    rows = layer.col @ layer.col_W + BIAS
    np.testing.assert_allclose(y, rows.reshape(2, 3, 4, 4).transpose(0, 3, 1, 2))
    layer.backward(y)
    dW, db = layer.dW, layer.db
    layer.backward_to_parameters(y)
    np.testing.assert_array_equal(layer.dW, dW)
    np.testing.assert_array_equal(layer.db, db)
    assert layers.Convolution(FILTERS, 0.5).forward(IMAGES[:, :, ::-1]).shape == (2, 4, 4, 6)  # a number, a view
    for images, message in ((IMAGES[:, :2], r"shape \(2, 2, 6, 7\), expected 3 channels"), (IMAGES[:, :, :1], "1 x 7")):
        with pytest.raises(nnx.InputError, match=message):
            layers.Convolution(FILTERS, BIAS).forward(images)


@pytest.mark.parametrize("kind", [np.float16, np.uint8, np.float32])
def test_images_of_other_dtypes_are_computed_in_float64(kind, monkeypatch):
    x = np.abs(IMAGES * 9).astype(kind)
    for layer in (layers.Convolution(FILTERS, BIAS), layers.Pooling(2, 2)):
        y = layer.forward(x)
        assert y.dtype == np.float64
        np.testing.assert_array_equal(y, layer.forward(x.astype(float)))
    assert layers.Convolution(FILTERS.astype(kind), BIAS.astype(kind)).forward(x).dtype == np.float64
    assert util.im2col(x, 2, 2).dtype == np.float64
    monkeypatch.setenv("NNX_SCRIPT_DTYPE", "float32")
    wanted = np.float32 if kind == np.float32 else np.float64
    assert layers.Convolution(FILTERS.astype(kind), BIAS.astype(kind)).forward(x).dtype == wanted
    assert layers.Pooling(2, 2).forward(x).dtype == wanted


def test_pooling_takes_the_first_maximum_and_zeros_beyond_the_borders():
    x = np.array([[[[1.0, 1.0, -1.0], [1.0, 1.0, -2.0]]]])
    layer = layers.Pooling(2, 2, 1)
    assert layer.arg_max is None
    assert layer.forward(x).tolist() == [[[[1, 1]]]]
    assert layer.arg_max.tolist() == [0, 0]
    assert layer.arg_max.dtype == np.int64
    assert layer.backward(np.array([[[[2.0, 3.0]]]])).tolist() == [[[[2, 3, 0], [0, 0, 0]]]]
    padded = layers.Pooling(2, 2, 2, 1)
    assert padded.forward(-x).tolist() == [[[[0, 1], [0, 2]]]]  # zeros are greater than -1
    assert padded.arg_max.tolist() == [0, 3, 0, 1]
    assert padded.backward(np.ones((1, 1, 2, 2))).tolist() == [[[[0, 0, 1], [0, 0, 1]]]]
    order = layers.Pooling(1, 2, 2)
    order.forward(IMAGES)  # places are told for images, rows, columns, channels in turn
    places = (IMAGES[:, :, ::2, 1::2] > IMAGES[:, :, ::2, :-1:2]).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(order.arg_max, places.reshape(-1))
    with pytest.raises(nnx.InputError, match="Pooling: got images of 2 x 3 with pad=1, expected at least 5 x 2"):
        layers.Pooling(5, 2, pad=1).forward(x)


def test_a_wide_window_of_pooling():
    x = RNG.permutation(2 * 3 * 18 * 20).reshape(2, 3, 18, 20).astype(float)
    layer = layers.Pooling(17, 17, 1, 1)
    y = layer.forward(x)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (17, 17), axis=(2, 3))
    np.testing.assert_array_equal(y, windows.max(axis=(-2, -1)))
    assert (layer.arg_max == windows.reshape(2, 3, 4, 6, -1).argmax(axis=-1).transpose(0, 2, 3, 1).reshape(-1)).all()
    dx = layer.backward(np.ones_like(y))
    assert dx.sum() == y.size
    np.testing.assert_array_equal(dx > 0, np.isin(x, y))


def test_im2col_and_back():
    x = np.arange(2 * 1 * 3 * 4, dtype=np.uint8).reshape(2, 1, 3, 4)
    col = util.im2col(x, 2, 2)
    assert col.shape == (2 * 2 * 3, 4)
    assert col.dtype == np.float64
    assert col[0].tolist() == [0, 1, 4, 5]
    assert col[-1].tolist() == [18, 19, 22, 23]
    covered = util.col2im(np.ones_like(col), x.shape, 2, 2)
    np.testing.assert_array_equal(covered[0, 0], [[1, 2, 2, 1], [2, 4, 4, 2], [1, 2, 2, 1]])
    # col2im is the transposed map of im2col: <im2col(x), y> = <x, col2im(y)>.
    y = RNG.standard_normal(util.im2col(IMAGES, 3, 2, 2, 1).shape)
    left, right = np.sum(util.im2col(IMAGES, 3, 2, 2, 1) * y), np.sum(IMAGES * util.col2im(y, IMAGES.shape, 3, 2, 2, 1))
    assert left == pytest.approx(right)
    assert util.conv_output_size(28, 5, 1, 2) == 28.0


def test_relu_and_dropout_attributes():
    relu = layers.Relu()
    assert relu.mask is None
    relu.forward(np.array([[-1.0, 0.0, 2.0, np.nan]]))
    assert relu.mask.tolist() == [[True, True, False, False]]
    dout = np.ones((1, 4))
    assert relu.backward(dout) is dout
    assert dout.tolist() == [[0, 0, 1, 1]]
    assert relu.backward(np.full((1, 4), np.inf)).tolist() == [[0, 0, np.inf, np.inf]]

    np.random.seed(5)
    wanted = np.random.rand(3, 4) > 0.3
    np.random.seed(5)
    dropout, x = layers.Dropout(0.3), RNG.standard_normal((3, 4))
    np.testing.assert_array_equal(dropout.forward(x), x * wanted)
    np.testing.assert_array_equal(dropout.mask, wanted)
    np.testing.assert_array_equal(dropout.backward(x), x * wanted)
    np.testing.assert_array_equal(dropout.forward(x, train_flg=False), x * 0.7)


def test_batch_normalization_follows_the_statistics():
    layer = layers.BatchNormalization(np.ones(6), np.zeros(6), momentum=0.75)
    y = layer.forward(M)
    np.testing.assert_allclose(y, (M - M.mean(axis=0)) / np.sqrt(M.var(axis=0) + 1e-6))
    np.testing.assert_allclose(layer.running_mean, 0.25 * M.mean(axis=0))
    np.testing.assert_allclose(layer.running_var, 0.25 * M.var(axis=0))
    np.testing.assert_allclose(layer.std, np.sqrt(M.var(axis=0) + 1e-6))
    np.testing.assert_allclose(layer.forward(M, False), (M - layer.running_mean) / np.sqrt(layer.running_var + 1e-6))
    given = layers.BatchNormalization(1.0, 0.0, running_mean=np.full(6, 2.0), running_var=np.ones(6))
    np.testing.assert_allclose(given.forward(M, False), (M - 2) / np.sqrt(1 + 1e-6))


def test_softmax_with_loss():
    t = np.array([0, 5, 2, 2])
    for targets in (t, np.eye(6)[t], t.astype(np.uint8)):
        last = layers.SoftmaxWithLoss()
        assert last.forward(M, targets) == pytest.approx(functions.softmax_loss(M, t))
        np.testing.assert_allclose(last.backward(), (functions.softmax(M) - np.eye(6)[t]) / 4)
        np.testing.assert_allclose(last.y, functions.softmax(M))
    last.forward(M[:1], np.array([[3]]))  # one label in two dimensions, as in the book's chapter 7
    np.testing.assert_allclose(last.backward(), functions.softmax(M[:1]) - np.eye(6)[3:4])


def test_smooth_curve_and_shuffling():
    x = np.sin(np.arange(40) / 5)
    window = np.kaiser(11, 2) / np.kaiser(11, 2).sum()
    smooth = util.smooth_curve(x.tolist())
    assert smooth.shape == x.shape
    np.testing.assert_allclose(smooth[10:30], [np.sum(window * x[i - 5 : i + 6]) for i in range(10, 30)])
    np.random.seed(1)
    order = np.random.permutation(4)
    np.random.seed(1)
    a, b = util.shuffle_dataset(M, np.arange(4))
    np.testing.assert_array_equal(a, M[order])
    np.testing.assert_array_equal(b, order)
    assert util.shuffle_dataset(IMAGES, np.arange(2))[0].shape == IMAGES.shape


@pytest.fixture
def files(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for part, n in (("train", 30), ("t10k", 20)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (n, 28, 28)).astype(np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", (np.arange(n) % 10).astype(np.uint8))
    monkeypatch.setenv("NNX_DATA_DIR", str(tmp_path))
    return tmp_path


def test_load_mnist(files):
    (x, t), (x_test, t_test) = mnist.load_mnist()
    assert (x.shape, x_test.shape) == ((30, 784), (20, 784))
    assert (x.dtype, t.dtype, x.max()) == (np.float32, np.uint8, 1)
    assert t_test.tolist() == [i % 10 for i in range(20)]
    (raw, hot), _ = mnist.load_mnist(normalize=False, flatten=False, one_hot_label=True)
    assert (raw.shape, raw.dtype) == ((30, 1, 28, 28), np.uint8)
    np.testing.assert_array_equal(x, raw.reshape(30, 784).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(hot, np.eye(10)[t])
    assert hot.dtype == np.float64


def test_a_folder_is_looked_into_first(files, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("NNX_DATA_DIR", str(tmp_path_factory.mktemp("empty")))
    monkeypatch.setattr(mnist, "dataset_dir", files)
    mnist.init_mnist()
    (files / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(nnx.DatasetError, match=r"\(from NNX_DATA_DIR\): has no train-images-idx3-ubyte\[.gz\]"):
        mnist.load_mnist()
