"""Data sets from a folder: of idx files, named as MNIST's are, or of image files in folders."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .._support.pages import see
from ..errors import DatasetError, InputError, NnxError
from ..ops import HostArray
from ._dataset import Dataset
from ._idx import read_idx
from ._images import ENDINGS, Size, holds_images, image_folder

PARTS = {"train": "train", "test": "t10k"}
"""The parts, and their names in MNIST's own files."""
_IDX = re.compile(
    r"(?P<set>.*?)[-_.]?(?P<part>train|test|t10k)[-_](?P<kind>images|labels)([-_.]idx\d?)?([-_.]u?byte)?(\.gz)?"
)
"""Names of idx files: MNIST's, what unpackers make of them, and those of data sets like it, which begin with a name."""
_EMNIST = "emnist"
_SHOWN = 8  # names of files
_MOST_CLASSES = 1 << 16  # a greater number is hardly a label: do not name so many classes


def file_names(part: str) -> tuple[str, str]:
    """Return the names of the images and the labels of "train" or "test" in MNIST, without .gz."""
    return f"{PARTS[part]}-images-idx3-ubyte", f"{PARTS[part]}-labels-idx1-ubyte"


@dataclass(frozen=True)
class IdxFiles:
    """The idx files of a data set: for each part that is there the images and the labels, or None for a missing one."""

    folder: Path
    name: str
    """What the files' names begin with, such as "emnist-letters"; mostly nothing."""
    parts: dict[str, tuple[Path | None, Path | None]]
    unused: tuple[str, ...]
    """What else lies in the folder, gzip'd copies and hidden files aside."""


def find_idx(path: Path, *, below: bool = True) -> IdxFiles | None:
    """Find the idx files of a data set; return None if there are none.

    Args:
        path: a folder that has them, or has a folder raw, or NAME/raw, as torchvision makes them; FOLDER/NAME, where a
            folder has several data sets, takes the files whose names begin with NAME.
        below: whether to look into NAME/raw.

    Raises:
        DatasetError: the folder has the files of several data sets, or two files for one part.
    """
    wanted = None
    if not path.is_dir():
        wanted, path = path.name, path.parent
    raws = sorted(path.glob("*/raw")) if below and wanted is None else []
    if len(raws) > 1 and not any(map(_told, path.iterdir())):
        raise DatasetError(f"{path}: has {' and '.join(str(raw.parent) for raw in raws)}; give one of them.")
    for folder in (path, path / "raw", *raws):
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        told = {name: match for name in names if (match := _told(folder / name))}
        sets = sorted({match["set"] for match in told.values()})
        if not told or (wanted is not None and wanted not in sets):
            continue
        if wanted is None and len(sets) > 1:
            some = " or ".join(str(folder / (name or "...")) for name in sets[:3])
            raise DatasetError(f"{folder}: has idx files of {len(sets)} data sets; give one, as {some}.")
        chosen = {name: match for name, match in told.items() if wanted in (None, match["set"])}
        parts: dict[str, list[Path | None]] = {}
        for name, match in chosen.items():  # of a file and its gzip'd copy the latter, which comes last
            part, kind = "train" if match["part"] == "train" else "test", int(match["kind"] == "labels")
            found = parts.setdefault(part, [None, None])
            before = found[kind]
            if before is not None and f"{before.name}.gz" != name:
                raise DatasetError(f"{folder}: has {before.name} and {name} for the same; move one of them away.")
            found[kind] = folder / name
        others = tuple(name for name in names if name not in told and not name.startswith("."))
        pairs = {part: (images, labels) for part, (images, labels) in sorted(parts.items(), reverse=True)}
        return IdxFiles(folder, next(iter(chosen.values()))["set"], pairs, others)
    return None


def _told(path: Path) -> "re.Match[str] | None":
    match = _IDX.fullmatch(path.name)
    return match if match and ("idx" in path.name or "ubyte" in path.name) and path.is_file() else None


def idx_files(folder: Path, part: str) -> tuple[Path | None, Path | None]:
    """Return the files of images and labels of "train" or "test" in a folder; None for one that is not there.

    Args:
        folder: the folder.
        part: "train" or "test".
    """
    found = find_idx(folder, below=False) if folder.is_dir() else None
    return (None, None) if found is None else found.parts.get(part, (None, None))


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
    both gzip'd or not. The classes are the numbers up to the greatest label of both parts. The test part is called test
    or t10k, dots may stand for hyphens, and a data set's name before. Files that begin with emnist have their pictures
    turned upright, and their classes named by NAME-mapping.txt, if it is there. What lies beside
    the files and is not used is named in the data sets' notes.

    Args:
        path: the folder, as for `find_idx`.
        size: (height, width) in pixels to which pictures from image files are resized.

    Returns:
        "train", "test" or both.

    Raises:
        DatasetError: the folder holds no data set, or a file is missing or damaged; the message names it.
        InputError: a size is given for idx files.
    """
    path = Path(path)
    idx = find_idx(path)
    if idx is None and not path.is_dir():
        raise DatasetError(f"{path}: is no folder; expected one with idx files or image files.")
    if idx is None and holds_images(path):
        return image_folder(path, size)
    if idx is None:
        names = ", ".join(f"{name}[.gz]" for part in PARTS for name in file_names(part))
        there = [file.name for file in sorted(path.iterdir()) if file.suffix in (".csv", ".parquet", ".npz")]
        hint = f" It has {there[0]}: give that file, {path / there[0]}." if there else ""
        raise DatasetError(
            f"{path}: holds no data set; expected images and labels in idx files named {names}, or a folder of image "
            f"files ({', '.join(ENDINGS)}) for each class: {path}/CLASS/FILE, or {path}/train/CLASS/FILE and "
            f"{path}/test/CLASS/FILE.{hint} nnx.datasets.write_idx writes arrays as idx files, numpy.savez as an .npz "
            f"with x and y. {see('pictures')}"
        )
    refuse_size(path, size)
    found = {}
    for part, (images, labels) in idx.parts.items():
        if images is None or labels is None:
            there_is, missing = (labels, "images") if images is None else (images, "labels")
            raise DatasetError(f"{idx.folder}: has {there_is.name if there_is else ''}, but not its {missing}.")
        found[part] = read_pair(images, labels, path.resolve().name)
    if len({data.x.shape[1:] for data in found.values()}) > 1:
        shapes = " and ".join(f"{data.x.shape[1:]} in {part}" for part, data in found.items())
        raise DatasetError(f"{path}: holds images of shapes {shapes}, expected the same in both.")
    classes = max((data.classes for data in found.values()), key=len)
    mapping = idx.folder / f"{idx.name}-mapping.txt"
    if mapping.name in idx.unused:
        classes = _mapped(mapping, classes)
    unused = [name for name in idx.unused if name != mapping.name]
    notes = [f"not used: {', '.join(unused[:_SHOWN])}{', ...' * (len(unused) > _SHOWN)}"] if unused else []
    if turned := idx.name.lower().startswith(_EMNIST) and all(data.x.ndim == 3 for data in found.values()):
        notes.insert(0, "EMNIST's pictures, which lie on their side, turned upright")
    return {
        part: Dataset(d.name, upright(d.x) if turned else d.x, d.t, d.scale, classes, "; ".join(notes))
        for part, d in found.items()
    }


def _mapped(path: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes' names by EMNIST's file of them: lines of a label and the codes of its characters."""
    try:
        codes = {int(line.split()[0]): int(line.split()[1]) for line in path.read_text().splitlines() if line.strip()}
        return tuple(chr(codes[i]) if i in codes else name for i, name in enumerate(classes))
    except (OSError, ValueError, IndexError, OverflowError) as error:
        raise DatasetError(f"{path}: expected lines of a label and a character's code ({error}).") from error


def upright(x: HostArray) -> HostArray:
    """Return pictures (n, height, width) with rows and columns exchanged."""
    return np.ascontiguousarray(x.transpose(0, 2, 1))


def refuse_size(name: "str | os.PathLike[str]", size: Size | None) -> None:
    """Raise `InputError` if a size is given for data that are not read from image files.

    Args:
        name: the data set's.
        size: what was given.
    """
    if size is not None:
        raise InputError(f"size: got {size!r}, but {name} has no image files, which alone are resized; leave it out.")
