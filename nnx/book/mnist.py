"""The book's `dataset.mnist`: MNIST as four arrays, over `nnx.datasets.mnist`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import Dataset, idx_files, mnist, one_hot
from ..errors import DatasetError, InputError
from ..ops import HostArray
from . import _parameter_files

__all__ = [
    "dataset_dir",
    "download_mnist",
    "img_dim",
    "img_size",
    "init_mnist",
    "load_mnist",
    "np",
    "test_num",
    "train_num",
]

train_num, test_num = 60000, 10000
img_dim = (1, 28, 28)
img_size = 784
dataset_dir: Path | None = None
"""A folder to look into first."""


def download_mnist() -> None:
    """Fetch the files, if they are not there yet."""
    _parts()


def init_mnist() -> None:
    """Fetch the files, if they are not there yet."""
    _parts()


def load_mnist(
    normalize: bool = True, flatten: bool = True, one_hot_label: bool = False
) -> tuple[tuple[HostArray, HostArray], tuple[HostArray, HostArray]]:
    """Load MNIST: (training images, training labels), (test images, test labels).

    They come from where the book's scripts have them, the folder `dataset` here, above, or beside a module (as four
    files of MNIST, or as the book's `mnist.pkl`, in which nothing is read but arrays); from `NNX_DATA_DIR`; or are
    downloaded once.

    Args:
        normalize: images as float32 from 0 to 1, instead of uint8.
        flatten: images (n, 784) instead of (n, 1, 28, 28).
        one_hot_label: labels as float64 rows of ten instead of uint8 numbers.

    Raises:
        DatasetError: the files are not to be had.
    """
    train, test = (_arrays(part, normalize, flatten, one_hot_label) for part in _parts())
    return train, test


def _parts() -> tuple[Dataset, Dataset]:
    for folder in _folders():
        if all(all(idx_files(folder, part)) for part in ("train", "test")):
            return mnist("train", folder), mnist("test", folder)
        if (file := folder / "mnist.pkl").is_file():
            return _of_the_book(file)
    return mnist("train"), mnist("test")


def _folders() -> Iterator[Path]:
    """Return where a script of the book may have its data."""
    if dataset_dir is not None:
        yield Path(dataset_dir)
    for folder in dict.fromkeys((".", "..", *sys.path)):
        yield Path(folder) / "dataset"


def _of_the_book(file: Path) -> tuple[Dataset, Dataset]:
    """Read the file that the book's `init_mnist` makes of MNIST's."""
    try:
        found = _parameter_files.load(file)
        train, test = ((found[f"{part}_img"], found[f"{part}_label"]) for part in ("train", "test"))
        made = [Dataset(str(file), x.reshape(-1, 28, 28), t, 1 / 255, tuple("0123456789")) for x, t in (train, test)]
    except (InputError, KeyError, ValueError) as error:
        raise DatasetError(
            f"{file}: is no file of the book's init_mnist ({error}). Delete it, or put MNIST's four files beside it."
        ) from None
    return made[0], made[1]


def _arrays(data: Dataset, normalize: bool, flatten: bool, one_hot_label: bool) -> tuple[HostArray, HostArray]:
    x: Any = data.x.reshape(len(data), *((img_size,) if flatten else img_dim))
    if normalize:
        x = x.astype(np.float32) / np.float32(255.0)
    return x, one_hot(data.t, 10, "float64") if one_hot_label else data.t.astype(np.uint8)
