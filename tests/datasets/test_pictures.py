"""Data sets as pictures with channels, and bytes that stay bytes on the device."""

import numpy as np
import pytest

import nnx
from nnx.datasets import Dataset, Splits, as_pictures, drawable, load
from nnx.training import DeviceData

GREY = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
COLOUR = np.arange(4 * 3 * 5 * 6).astype(np.uint8).reshape(4, 3, 5, 6)


def dataset(x):
    return Dataset("data", x, np.arange(len(x)) % 2, 1 / 255, ("a", "b"))


def test_grey_pictures_get_a_channel():
    splits = load("digits")
    pictures = splits.pictures()
    assert isinstance(pictures, Splits)
    for part, whole in zip(pictures, splits, strict=True):
        assert part.x.shape == (len(whole), 1, 8, 8)
        assert part.x.dtype == np.uint8
        assert (part.scale, part.classes, part.name) == (whole.scale, whole.classes, whole.name)
        np.testing.assert_array_equal(part.x[:, 0], whole.x)
        np.testing.assert_array_equal(part.t, whole.t)


def test_channels_that_are_last_become_the_second_axis():
    np.testing.assert_array_equal(dataset(np.moveaxis(COLOUR, 1, 3)).pictures().x, COLOUR)
    for x in (COLOUR, COLOUR[..., :3], np.zeros((4, 7, 5, 6), np.uint8)):
        np.testing.assert_array_equal(dataset(x).pictures().x, x)
    with pytest.raises(
        nnx.InputError, match=r"data: got inputs of shape \(4, 5\), expected pictures: \(n, height, wid"
    ):
        dataset(np.zeros((4, 5))).pictures()
    with pytest.raises(nnx.InputError, match="a file: got inputs of shape"):
        as_pictures("a file", np.zeros((1, 2, 3, 4, 5)))


def test_what_can_be_drawn():
    np.testing.assert_array_equal(drawable(GREY), GREY)
    np.testing.assert_array_equal(drawable(GREY[:, None]), GREY)
    np.testing.assert_array_equal(drawable(GREY[..., None]), GREY)
    np.testing.assert_array_equal(drawable(COLOUR), np.moveaxis(COLOUR, 1, 3))
    np.testing.assert_array_equal(drawable(np.moveaxis(COLOUR, 1, 3)), np.moveaxis(COLOUR, 1, 3))
    for x in (np.zeros((4, 5)), np.zeros((4, 7, 5, 6)), np.zeros((4, 4, 5, 6))):
        assert drawable(x) is None


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_bytes_are_uploaded_as_bytes_and_scaled_on_the_device(backend):
    train = load("digits").train.pictures().take(range(60))
    histories = []
    for x, t in ((train, None), (train.inputs(), train.t)):
        model = nnx.Sequential(nnx.Convolution(3, 3), nnx.ReLU(), nnx.Flatten(), nnx.Affine(10))
        trainer = nnx.Trainer(model, backend=backend)
        histories.append(trainer.fit(x, t, epochs=2, batch_size=20, verbose=False)["loss"])
        if t is None:
            data = DeviceData(model, trainer.loss, train, None, name="x", target="t")
            assert str(data.x.dtype).endswith("uint8")
            assert tuple(data.x.shape) == (60, 1, 8, 8)
            np.testing.assert_allclose(model.predict(train), model.predict(train.inputs()), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(*histories, rtol=1e-5)
