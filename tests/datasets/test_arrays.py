"""NumPy's files as data sets."""

import numpy as np
import pytest

import nnx
from nnx.datasets import load

RNG = np.random.default_rng(0)
PICTURES = RNG.integers(0, 256, (40, 6, 5), np.uint8)
LABELS = np.arange(40) % 4


def test_keras_mnist(tmp_path):
    np.savez(
        tmp_path / "mnist.npz", x_train=PICTURES[:30], y_train=LABELS[:30], x_test=PICTURES[30:], y_test=LABELS[30:]
    )
    data = load(tmp_path / "mnist.npz")
    assert [len(part) for part in data] == [27, 3, 10]
    np.testing.assert_array_equal(data.test.x, PICTURES[30:])
    np.testing.assert_array_equal(data.test.t, LABELS[30:])
    assert data.train.scale == 1 / 255
    assert data.train.classes == tuple("0123")


@pytest.mark.parametrize(
    "names",
    [("x", "y"), ("X", "t"), ("images", "labels"), ("data", "target"), ("arr_0", "arr_1"), ("train_x", "train_y")],
)
def test_names_of_a_pair(tmp_path, names):
    np.savez(tmp_path / "data.npz", **dict(zip(names, (PICTURES, LABELS[:, None]), strict=True)), more=np.zeros(3))
    if names[0] == "arr_0":
        np.savez(tmp_path / "data.npz", PICTURES, LABELS)
    data = load(tmp_path / "data.npz")
    assert [len(part) for part in data] == [29, 3, 8]
    assert ("not used: more" in data.train.note) == (names[0] != "arr_0")


def test_own_validation_and_order_without_names(tmp_path):
    part = {"train": slice(0, 20), "val": slice(20, 30), "test": slice(30, 40)}
    arrays = {
        f"{name}_{kind}": a[rows]
        for name, rows in part.items()
        for kind, a in (("images", PICTURES), ("labels", LABELS))
    }
    np.savez(tmp_path / "med.npz", **arrays)
    assert [len(part) for part in load(tmp_path / "med.npz")] == [20, 10, 10]
    for order in (
        (PICTURES[:30], LABELS[:30], PICTURES[30:], LABELS[30:]),
        (PICTURES[:30], PICTURES[30:], LABELS[:30], LABELS[30:]),
    ):
        np.savez(tmp_path / "plain.npz", *order)
        np.testing.assert_array_equal(load(tmp_path / "plain.npz").test.x, PICTURES[30:])


def test_npy_files_beside_each_other(tmp_path):
    np.save(tmp_path / "x_train.npy", PICTURES)
    np.save(tmp_path / "y_train.npy", np.eye(4)[LABELS])
    for name in (tmp_path, tmp_path / "x_train.npy"):
        data = load(name)
        assert data.train.classes == tuple("0123")
        assert np.isin(data.train.t, range(4)).all()
    np.save(tmp_path / "y_train.npy", np.array(["cat", "dog", "eel", "fox"])[LABELS])
    assert load(tmp_path).train.classes == ("cat", "dog", "eel", "fox")


@pytest.mark.parametrize(
    ("x", "dtype", "scale"),
    [
        (PICTURES.astype(np.float64), "uint8", 1 / 255),
        (PICTURES.astype(np.int64) // 16, "uint8", 1 / 15),
        (PICTURES / np.float32(255), "float32", 1.0),
        (PICTURES.astype(np.float32) + np.float32(0.25) - np.float32(0.25) * (PICTURES == 255), "float32", 1 / 255),
        (PICTURES.astype(np.int16) - 100, "float32", 1.0),
        (PICTURES > 100, "uint8", 1.0),
    ],
)
def test_pixels_become_numbers_up_to_1(tmp_path, x, dtype, scale):
    np.savez(tmp_path / "data.npz", x=x, y=LABELS)
    data = load(tmp_path / "data.npz").train
    assert data.x.dtype == dtype
    assert np.isclose(data.scale, scale)


def test_columns_of_floats_are_a_table(tmp_path):
    x = RNG.normal(50, 9, (60, 3))
    np.savez(tmp_path / "data.npz", x=x, y=x.sum(axis=1))
    data = load(tmp_path / "data.npz")
    assert data.train.classes == ()
    np.testing.assert_allclose(data.train.x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.train.preparation.inputs(x) @ [9, 9, 9], (x - 50).sum(axis=1), atol=40)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": PICTURES}, "has x; expected arrays named x and y, or x_train"),
        ({"x": PICTURES, "y": LABELS[:-1]}, "expected as many rows of both"),
        ({"x": PICTURES, "y": np.array([{}] * 40)}, "y holds Python objects, pickled, which could run anything"),
        ({"x": PICTURES, "y": RNG.normal(size=(40, 2))}, "has the shape .40, 2., expected .n,. labels"),
        ({"x": PICTURES, "images": PICTURES, "y": LABELS}, "x and images could both be the inputs"),
        ({"x": PICTURES, "y": LABELS, "x_test": PICTURES[:, 1:], "y_test": LABELS}, "expected rows of one shape"),
    ],
)
def test_what_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(nnx.DatasetError, match=message):
        load(tmp_path / "data.npz")


def test_damaged_files(tmp_path):
    (tmp_path / "data.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(nnx.DatasetError, match="is no .npz"):
        load(tmp_path / "data.npz")
    np.save(tmp_path / "x.npy", PICTURES)
    np.save(tmp_path / "y.npy", LABELS)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-5])
    with pytest.raises(nnx.DatasetError, match="x.npy cannot be read as an array"):
        load(tmp_path / "y.npy")
