"""The book's `dataset.mnist`: MNIST as four arrays, over `nnx.datasets.mnist`."""

from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import Dataset, idx_files, mnist, one_hot
from ..ops import HostArray

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
"""A folder that is looked into first: `nnx run` sets the one of the module that this one replaces."""


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

    The files come from `dataset_dir` if all four are there, from `NNX_DATA_DIR`, or are downloaded once.

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
    there = dataset_dir is not None and all(all(idx_files(dataset_dir, part)) for part in ("train", "test"))
    folder = dataset_dir if there else None
    return mnist("train", folder), mnist("test", folder)


def _arrays(data: Dataset, normalize: bool, flatten: bool, one_hot_label: bool) -> tuple[HostArray, HostArray]:
    x: Any = data.x.reshape(len(data), *((img_size,) if flatten else img_dim))
    if normalize:
        x = x.astype(np.float32) / np.float32(255.0)
    return x, one_hot(data.t, 10, "float64") if one_hot_label else data.t.astype(np.uint8)
