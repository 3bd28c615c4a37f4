"""Arrays from NumPy's files: an .npz, or .npy files beside each other; inputs, labels and parts told by their names."""

import os
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DatasetError
from ..ops import HostArray

ENDINGS = (".npz", ".npy")
INPUTS = ("x", "images", "image", "imgs", "data", "features", "inputs")
TARGETS = ("y", "t", "labels", "label", "target", "targets")
PARTS = {"train": "train", "training": "train", "test": "test", "val": "validation", "valid": "validation"}
PARTS["validation"] = "validation"
_EXPECTED = "arrays named x and y, or x_train, y_train, x_test, y_test (images and labels, data and target will do)"


class Pair(NamedTuple):
    """Inputs (n, ...) and their labels (n,)."""

    x: HostArray
    t: HostArray


def read_arrays(path: "str | os.PathLike[str]") -> tuple[dict[str, Pair], list[str]]:
    """Read the arrays of an .npz, or of the .npy files in a file's folder, in parts.

    Args:
        path: an .npz, an .npy, or a folder of .npy files.

    Returns:
        Pairs by part: "train", "validation", "test"; and the names of arrays that were not used.

    Raises:
        DatasetError: a file is damaged or holds Python objects, or the names tell no inputs and labels.
    """
    path = Path(path)
    arrays = _of_npz(path) if path.suffix == ".npz" else _of_folder(path if path.is_dir() else path.parent)
    found: dict[str, dict[str, str]] = {}
    for name in arrays:
        if told := kind_of(name):
            kind, part = told
            if kind in found.setdefault(part, {}):
                raise DatasetError(f"{path}: {found[part][kind]} and {name} could both be the {kind}; rename one.")
            found[part][kind] = name
    if not found and all(re.fullmatch(r"arr_\d", name) for name in arrays):
        found = _by_place(arrays)
    pairs = {}
    for part, names in found.items():
        if len(names) == 2:
            x, t = arrays[names["inputs"]], arrays[names["labels"]]
            if x.ndim < 2 or len(x) != len(t) or not len(x):
                raise DatasetError(
                    f"{path}: {names['inputs']} has the shape {x.shape} and {names['labels']} {t.shape}, expected as "
                    "many rows of both: (n, ...) and (n,)."
                )
            pairs[part] = Pair(x, _labels(f"{path}: {names['labels']}", t))
    if "train" not in pairs:
        there = ", ".join(_names(path)) or "no arrays"
        raise DatasetError(f"{path}: has {there}; expected {_EXPECTED}.")
    if len({pair.x.shape[1:] for pair in pairs.values()}) > 1:
        raise DatasetError(
            f"{path}: has inputs of {' and '.join(str(pair.x.shape) for pair in pairs.values())}, expected rows of one "
            "shape in all parts."
        )
    used = {name for part in pairs for name in found[part].values()}
    return pairs, [name for name in _names(path) if name not in used]


def read_rows(path: "str | os.PathLike[str]") -> HostArray:
    """Read new inputs, (n, ...), from an .npy or .npz: its only array, or the one that is the inputs by its name.

    Raises:
        DatasetError: as for `read_arrays`, or several arrays could be the inputs.
    """
    path = Path(path)
    if path.suffix == ".npy":
        return _array(str(path), path)
    arrays = _of_npz(path)
    inputs = {name: told[1] for name in arrays if (told := kind_of(name)) and told[0] == "inputs"}
    chosen = [name for name, part in inputs.items() if part == "test"] or list(inputs) or list(arrays)
    if len(chosen) != 1:
        raise DatasetError(f"{path}: has {', '.join(arrays)}; expected one array, called x.")
    return arrays[chosen[0]]


def is_arrays(path: "str | os.PathLike[str]") -> bool:
    """Return whether a file's name is that of NumPy's arrays."""
    return Path(path).suffix in ENDINGS


def holds_arrays(folder: Path) -> bool:
    """Return whether a folder has .npy files whose names tell inputs and labels."""
    kinds = {told for file in folder.glob("*.npy") if (told := kind_of(file.stem))}
    return {("inputs", "train"), ("labels", "train")} <= kinds


def inputs_and_targets(path: Path, arrays: Sequence[str], part: str) -> tuple[tuple[str, str], list[str]]:
    """Tell by their names which arrays are the inputs and the labels of a part.

    Args:
        path: where they are, for messages.
        arrays: their names.
        part: "train", "validation" or "test".

    Returns:
        The names of inputs and labels, and those of arrays that belong to no part.

    Raises:
        DatasetError: they are not to be told.
    """
    told = {name: found for name in arrays if (found := kind_of(name))}
    kinds: dict[str, list[str]] = {"inputs": [], "labels": []}
    for name, (kind, of) in told.items():
        if of == part:
            kinds[kind].append(name)
    if len(kinds["inputs"]) != 1 or len(kinds["labels"]) != 1:
        there = ", ".join(arrays) or "no arrays"
        raise DatasetError(f"{path}: has {there}; expected, for the part {part}, {_EXPECTED}.")
    return (kinds["inputs"][0], kinds["labels"][0]), [name for name in arrays if name not in told]


def kind_of(name: str) -> tuple[str, str] | None:
    """Tell by a name whether an array is inputs or labels, and of which part; None for other names."""
    words = re.split("[_ -]+", name.lower())
    parts = [PARTS[word] for word in words if word in PARTS]
    kinds = ["inputs" for word in words if word in INPUTS] + ["labels" for word in words if word in TARGETS]
    if len(kinds) != 1 or len(parts) > 1 or len(kinds) + len(parts) != len(words):
        return None
    return kinds[0], parts[0] if parts else "train"


def _by_place(arrays: Mapping[str, HostArray]) -> dict[str, dict[str, str]]:
    """Tell arrays without names: x, y; or x, y of the rows to train on and to test on, in one order or the other."""
    names = sorted(arrays)
    if len(names) == 2:
        return {"train": {"inputs": names[0], "labels": names[1]}}
    if len(names) != 4:
        return {}
    a, b, c, d = names
    rows = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    pairs = ((a, b), (c, d)) if rows[a] == rows[b] and arrays[b].ndim < arrays[a].ndim else ((a, c), (b, d))
    return {part: {"inputs": x, "labels": t} for part, (x, t) in zip(("train", "test"), pairs, strict=True)}


def _labels(name: str, t: HostArray) -> HostArray:
    """Return labels as (n,): of a column, or of rows with a single 1."""
    if t.ndim == 2 and t.shape[1] == 1:
        return t[:, 0]
    if t.ndim == 2 and t.dtype.kind in "fiub" and ((t == 0) | (t == 1)).all() and (t.sum(axis=1) == 1).all():
        labels: HostArray = np.argmax(t, axis=1)
        return labels
    if t.ndim != 1:
        raise DatasetError(f"{name} has the shape {t.shape}, expected (n,) labels, or rows with a single 1.")
    return t


def _names(path: Path) -> list[str]:
    """Return the names of all arrays that are there."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return list(archive.files)
    return sorted(file.stem for file in (path if path.is_dir() else path.parent).glob("*.npy"))


def _of_folder(folder: Path) -> dict[str, HostArray]:
    return {file.stem: _array(str(file), file) for file in sorted(folder.glob("*.npy")) if kind_of(file.stem)}


def _of_npz(path: Path) -> dict[str, HostArray]:
    """Read the arrays of an .npz whose names say something, or all of them."""
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"{path}: is no .npz; use another copy.")
    with np.load(path, allow_pickle=False) as archive:
        names = [name for name in archive.files if kind_of(name)] or archive.files
        return {name: _array(f"{path}: {name}", archive, name) for name in names}


def _array(what: str, source: Any, name: str = "") -> HostArray:
    """Read an array, of a file or of an .npz; raise for one of Python objects, which only a pickle could hold."""
    try:
        array: HostArray = source[name] if name else np.load(source, allow_pickle=False)
    except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise DatasetError(
                f"{what} holds Python objects, pickled, which could run anything when they are loaded; save an array "
                "of numbers or texts, such as np.stack(list_of_arrays) or labels.astype(str)."
            ) from None
        raise DatasetError(f"{what} cannot be read as an array ({error}); use another copy.") from error
    return array
