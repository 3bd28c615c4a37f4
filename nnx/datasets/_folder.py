"""Data sets from a folder: of idx files, named as MNIST's are, or of image files in folders."""

import os
from pathlib import Path

import numpy as np

from ..errors import DatasetError, InputError, NnxError
from ._dataset import Dataset
from ._idx import read_idx
from ._images import ENDINGS, Size, holds_images, image_folder

PREFIXES = {"train": "train", "test": "t10k"}
_MOST_CLASSES = 1 << 16  # a greater number is hardly a label: do not name so many classes


def file_names(part: str) -> tuple[str, str]:
    """Return the names of the images and the labels of "train" or "test", without .gz."""
    return f"{PREFIXES[part]}-images-idx3-ubyte", f"{PREFIXES[part]}-labels-idx1-ubyte"


def find(folder: Path, name: str) -> Path | None:
    """Return the file of that name in the folder, gzip'd or not; None if there is none."""
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    return None


def idx_files(folder: Path, part: str) -> tuple[Path | None, Path | None]:
    """Return the files of images and labels of "train" or "test" in a folder; None for one that is not there.

    Args:
        folder: the folder.
        part: "train" or "test".
    """
    images, labels = (find(folder, name) for name in file_names(part))
    return images, labels


def read_pair(images: Path, labels: Path, name: str, classes: tuple[str, ...] | None = None) -> Dataset:
    """Read images and their labels as a data set.

    Args:
        images: an idx file of unsigned bytes (scale 1/255) or floats (scale 1).
        labels: an idx file of as many whole numbers.
        name: the data set's.
        classes: the names of the labels; default the numbers up to the greatest label.

    Raises:
        DatasetError: they make no data set.
    """
    x, t = read_idx(images), read_idx(labels)
    if x.ndim < 2 or t.ndim != 1 or len(x) != len(t):
        raise DatasetError(
            f"{images} and {labels}: hold arrays of shapes {x.shape} and {t.shape}, expected (n, height, width) "
            "images and (n,) labels."
        )
    if x.dtype.kind != "f" and x.dtype != np.uint8:
        raise DatasetError(f"{images}: holds {x.dtype}, expected unsigned bytes or floats.")
    if t.dtype.kind not in "iu" or (t.size and (t.min() < 0 or t.max() >= _MOST_CLASSES)):
        raise DatasetError(f"{labels}: expected labels that are whole numbers in 0..{_MOST_CLASSES - 1}.")
    if classes is None:
        classes = tuple(map(str, range(int(t.max()) + 1 if t.size else 1)))
    elif t.size and t.max() >= len(classes):
        raise DatasetError(f"{labels}: holds the label {t.max()}, expected labels in 0..{len(classes) - 1}.")
    try:
        return Dataset(name, x, t.astype(np.int64), 1 / 255 if x.dtype == np.uint8 else 1.0, classes)
    except NnxError as error:
        raise DatasetError(f"{images} and {labels}: {error}") from error


def folder(path: "str | os.PathLike[str]", size: Size | None = None) -> dict[str, Dataset]:
    """Read a folder of idx files, or one with a folder of image files for each class, as `image_folder` does.

    Images of idx files are (n, ...) of unsigned bytes (scale 1/255) or floats (scale 1), labels (n,) whole numbers;
    both gzip'd or not. The classes are the numbers up to the greatest label of both parts.

    Args:
        path: the folder.
        size: (height, width) in pixels to which pictures from image files are resized.

    Returns:
        "train" (from train-images-idx3-ubyte, ...), "test" (from t10k-images-idx3-ubyte, ...), or both.

    Raises:
        DatasetError: the folder holds no data set, or a file is missing or damaged; the message names it.
        InputError: a size is given for idx files.
    """
    path = Path(path)
    if not path.is_dir():
        raise DatasetError(f"{path}: is no folder; expected one with idx files or image files.")
    found = {}
    for part in PREFIXES:
        images, labels = idx_files(path, part)
        if images is None and labels is None:
            continue
        if images is None or labels is None:
            there, missing = (labels, "images") if images is None else (images, "labels")
            raise DatasetError(f"{path}: has {there.name if there else ''}, but not its {missing}.")
        found[part] = read_pair(images, labels, path.resolve().name)
    if not found and holds_images(path):
        return image_folder(path, size)
    if not found:
        names = ", ".join(f"{name}[.gz]" for part in PREFIXES for name in file_names(part))
        raise DatasetError(
            f"{path}: holds no data set; expected images and labels in idx files named {names}, or a folder of image "
            f"files ({', '.join(ENDINGS)}) for each class: {path}/CLASS/FILE, or {path}/train/CLASS/FILE and "
            f"{path}/test/CLASS/FILE."
        )
    refuse_size(path, size)
    if len({data.x.shape[1:] for data in found.values()}) > 1:
        shapes = " and ".join(f"{data.x.shape[1:]} in {part}" for part, data in found.items())
        raise DatasetError(f"{path}: holds images of shapes {shapes}, expected the same in both.")
    classes = max((data.classes for data in found.values()), key=len)
    return {part: Dataset(d.name, d.x, d.t, d.scale, classes) for part, d in found.items()}


def refuse_size(name: "str | os.PathLike[str]", size: Size | None) -> None:
    """Raise `InputError` if a size is given for data that are not read from image files.

    Args:
        name: the data set's.
        size: what was given.
    """
    if size is not None:
        raise InputError(f"size: got {size!r}, but {name} has no image files, which alone are resized; leave it out.")
