"""The data of an experiment or a search: by name, folder, `Dataset`, `Splits` or a pair of arrays."""

import numpy as np
import pytest

import nnx
from nnx import DatasetError, InputError, InputTypeError
from nnx.datasets import Splits, as_splits, digits, write_idx


def test_a_name_and_a_data_set_are_split_as_load_does():
    expected = nnx.datasets.load("digits", seed=3)
    for data in ("digits", digits()):
        for part, other in zip(as_splits(data, 3), expected, strict=True):
            np.testing.assert_array_equal(part.x, other.x)
            np.testing.assert_array_equal(part.t, other.t)


def test_splits_are_taken_as_they_are():
    splits = nnx.datasets.load("digits")
    assert as_splits(splits, 5) is splits


def test_a_folder(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", digits().x)
    write_idx(tmp_path / "train-labels-idx1-ubyte", digits().t.astype(np.uint8))
    assert [len(part) for part in as_splits(tmp_path, 0)] == [1294, 144, 359]


def test_a_pair_of_arrays():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((100, 3)), rng.integers(0, 4, 100)
    splits = as_splits((x, t.tolist()), 1)
    assert isinstance(splits, Splits)
    assert [len(part) for part in splits] == [72, 8, 20]
    assert splits.train.classes == ("0", "1", "2", "3")
    rows = np.concatenate([part.x for part in splits])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], x[np.lexsort(x.T)])
    assert as_splits([x.astype(int), t], 1).train.x.dtype == np.float32
    images = as_splits(((x > 0).astype(np.uint8), t), 1).train
    assert (images.x.dtype, images.scale) == (np.uint8, 1.0)


X, T = np.zeros((12, 2)), np.arange(12) % 2


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("digit", InputError, "unknown data set 'digit'. Did you mean 'digits'?"),
        ((X[:9], T[:9]), DatasetError, "data: holds 9 rows, too few to be split .* expected at least 10."),
        (digits().take(range(3)), DatasetError, "digits: holds 3 rows, too few to be split"),
        ((X, T * 0), DatasetError, "data: has one class, expected at least two to tell apart."),
        ((X, T / 2), InputTypeError, "t: got labels of dtype float64, expected integers."),
        ((X, T - 1), InputError, "t: got the label -1"),
        ((X, T[:5]), DatasetError, "data: got inputs of shape \\(12, 2\\) and labels of \\(5,\\)"),
        ((X, np.eye(2)[T]), DatasetError, "data: got inputs of shape \\(12, 2\\) and labels of \\(12, 2\\)"),
        (
            (X, T, T),
            InputTypeError,
            "data: got tuple, expected a data set's name, a folder, a Dataset, Splits or a pair",
        ),
        (3, InputTypeError, "data: got int, expected"),
    ],
)
def test_refusals(data, error, message):
    with pytest.raises(error, match=message):
        as_splits(data, 0)


def test_ten_rows_will_do():
    assert [len(part) for part in as_splits((X[:10], T[:10]), 0)] == [7, 1, 2]
