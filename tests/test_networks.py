"""Networks for pictures."""

import numpy as np
import pytest

import nnx

SIMPLE = "Sequential(Convolution(30, size=5), ReLU(), MaxPooling(), Flatten(), Affine(100), ReLU(), Affine(10))"


def test_the_books_networks():
    assert repr(nnx.SimpleConvNet(10)) == SIMPLE
    deep = nnx.DeepConvNet(10).build((1, 28, 28), backend="numpy")
    pads = [(layer.filters, layer.pad) for layer in deep if isinstance(layer, nnx.Convolution)]
    assert pads == [(16, 1), (16, 1), (32, 1), (32, 2), (64, 1), (64, 1)]
    shapes = [shape for layer, shape in zip(deep, deep.shapes, strict=True) if isinstance(layer, nnx.MaxPooling)]
    assert shapes == [(16, 14, 14), (32, 8, 8), (64, 4, 4)]
    assert list(map(repr, deep.layers[-5:])) == ["Flatten()", "Affine(50)", "ReLU()", "Dropout()", "Affine(10)"]


def test_settings():
    simple = nnx.SimpleConvNet(
        3, filters=4, size=(3, 2), hidden=7, activation="tanh", init="he", batch_norm=True, dropout=0.2
    )
    assert repr(simple) == (
        "Sequential(Convolution(4, size=(3, 2), init='he'), BatchNorm(), Tanh(), MaxPooling(), Flatten(), "
        "Affine(7, init='he'), BatchNorm(), Tanh(), Dropout(0.2), Affine(3))"
    )
    deep = nnx.DeepConvNet(3, filters=(2,), hidden=5, dropout=0, batch_norm=True)
    assert repr(deep) == (
        "Sequential(Convolution(2, size=3, pad=1), BatchNorm(), ReLU(), Convolution(2, size=3, pad=1), BatchNorm(), "
        "ReLU(), MaxPooling(), Flatten(), Affine(5), BatchNorm(), ReLU(), Affine(3))"
    )


@pytest.mark.parametrize("make", [nnx.SimpleConvNet, nnx.DeepConvNet])
def test_they_predict_on_small_and_coloured_pictures(make):
    for shape in ((1, 8, 8), (3, 9, 7)):
        model = make(4).build(shape, backend="numpy")
        assert model.predict(np.ones((2, *shape))).shape == (2, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnx.SimpleConvNet(0), "outputs: got 0"),
        (lambda: nnx.SimpleConvNet(10, filters=0), "filters: got 0"),
        (lambda: nnx.SimpleConvNet(10, size=0), "Convolution: size: got 0"),
        (lambda: nnx.SimpleConvNet(10, hidden=0), "hidden: got 0"),
        (lambda: nnx.SimpleConvNet(10, activation="relo"), "unknown activation 'relo'. Did you mean 'relu'"),
        (lambda: nnx.SimpleConvNet(10, batch_norm=1), "batch_norm: got 1, expected True or False"),
        (lambda: nnx.DeepConvNet(10, dropout=1), "dropout: got 1"),
        (lambda: nnx.DeepConvNet(10, filters=16), "filters: got 16, expected a sequence of numbers such as"),
        (lambda: nnx.DeepConvNet(10, filters=(0,)), "filters: got 0"),
        (lambda: nnx.DeepConvNet(10, filters=()), "filters: got none, expected at least one block"),
        (lambda: nnx.SimpleConvNet(10).build((1, 5, 5)), "got pictures of 1 x 1, expected at least the window's 2 x 2"),
        (lambda: nnx.DeepConvNet(10).build((28, 28)), r"expected pictures \(n, channels, height, width\)"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(nnx.NnxError, match=message):
        make()
