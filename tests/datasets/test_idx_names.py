"""Folders of idx files as people's tools leave them."""

import numpy as np
import pytest

import nnx
from nnx.datasets import load, write_idx

MNIST = "{part}-images-idx3-ubyte", "{part}-labels-idx1-ubyte"


def fill(folder, test="t10k", names=MNIST, suffix=""):
    """Thirty rows to train on, of pixels 1, and eleven to test on, of pixels 2; their first line is 9."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = (f"{name}{suffix}" for name in names)
    for value, part, n in ((1, "train", 30), (2, test, 11)):
        pixels = np.full((n, 5, 4), value, np.uint8)
        pixels[:, 0] = 9
        write_idx(folder / images.format(part=part), pixels)
        write_idx(folder / labels.format(part=part), (np.arange(n) % 3).astype(np.uint8))
    return folder


@pytest.mark.parametrize(
    ("test", "names", "suffix"),
    [
        ("test", MNIST, ".gz"),
        ("t10k", ("{part}-images.idx3-ubyte", "{part}-labels.idx1-ubyte"), ""),
        ("t10k", ("{part}-images-idx3-ubyte", "{part}-labels-idx1-ubyte"), ".gz"),
        ("test", ("{part}_images.idx3", "{part}_labels.idx1"), ""),
        ("test", ("qmnist-{part}-images-idx3-ubyte", "qmnist-{part}-labels-idx1-ubyte"), ".gz"),
    ],
)
def test_the_test_files_are_the_test_part(tmp_path, test, names, suffix):
    data = load(fill(tmp_path / "data", test, names, suffix))
    assert [len(part) for part in data] == [27, 3, 11]
    assert (data.test.x[:, 1:] == 2).all()
    assert (data.train.x[:, 1:] == 1).all()
    assert data.train.note == ""


def test_torchvisions_folders_and_copies(tmp_path, monkeypatch):
    raw = fill(tmp_path / "data" / "MNIST" / "raw")
    fill(raw, suffix=".gz")
    for name in ("data", "data/MNIST", "data/MNIST/raw"):
        assert len(load(tmp_path / name).test) == 11
    monkeypatch.setenv("NNX_DATA_DIR", str(tmp_path / "data"))
    assert len(nnx.datasets.mnist("test")) == 11
    with pytest.raises(nnx.DatasetError, match="has no train-images-idx3-ubyte"):
        nnx.datasets.fashion_mnist("train")
    fill(tmp_path / "data" / "FashionMNIST" / "raw")
    with pytest.raises(nnx.DatasetError, match="FashionMNIST and .*MNIST; give one of them"):
        load(tmp_path / "data")


def test_emnist_is_turned_upright_and_chosen_by_name(tmp_path):
    for name in ("letters", "digits"):
        fill(tmp_path, names=[f"emnist-{name}-{one}" for one in MNIST], test="test", suffix=".gz")
    with pytest.raises(
        nnx.DatasetError, match=r"has idx files of 2 data sets; give one, as .*emnist-digits or .*emnist-l"
    ):
        load(tmp_path)
    (tmp_path / "emnist-letters-mapping.txt").write_text("1 66 98\n2 67 99\n")
    data = load(tmp_path / "emnist-letters")
    assert data.train.classes == ("0", "B", "C")
    assert "not used" not in data.train.note
    assert data.train.x.shape[1:] == (4, 5)
    assert (data.test.x[:, :, 0] == 9).all()
    assert "turned upright" in data.train.note


def test_files_that_are_not_used_are_named(tmp_path):
    fill(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".hidden").write_text("")
    assert load(tmp_path).train.note == "not used: notes.txt"


def test_what_is_refused(tmp_path):
    fill(tmp_path, test="test")
    fill(tmp_path, test="t10k")
    with pytest.raises(nnx.DatasetError, match="has t10k-images-idx3-ubyte and test-images-idx3-ubyte for the same"):
        load(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "train.csv").write_text("a,label\n")
    with pytest.raises(nnx.DatasetError, match=r"It has train.csv: give that file.* nnx.datasets.write_idx writes"):
        load(tmp_path / "empty")
