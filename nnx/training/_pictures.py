"""Pictures of one's own, read as a network was trained on others."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..datasets import Dataset, PictureStyle, picture_files
from ..errors import InputError, InputTypeError
from ..ops import HostArray
from ._run_folder import RunFolder


class Pictures(NamedTuple):
    """Pictures that were read, as a network takes them."""

    x: HostArray
    """(n, ...) float32, for `model.predict` and its like."""
    files: tuple[Path, ...]
    """The file of each."""
    notes: tuple[str, ...]
    """What was done to each, for people: "400 x 400 pixels; dark on light, inverted; ..."; "" for nothing."""


def read_pictures(
    paths: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]",
    like: "str | os.PathLike[str] | Dataset",
    *,
    as_is: bool = False,
) -> Pictures:
    """Read pictures of one's own such that they look like those that a network was trained on.

    All become upright, of the network's size and channels. If those of the training are grey with a dark background,
    light ones are inverted. If they are drawings of one size, such as MNIST's digits, the ink is found on its paper,
    which may be grey, shaded, transparent or much larger; it is cropped, scaled and centred as they are.

    Args:
        paths: image files, folders of them, patterns such as "scans/*.png".
        like: the folder of a run that `nnx train` wrote, or the data that were trained on.
        as_is: whether to resize them only.

    Raises:
        CheckpointError: the run's configuration is missing or damaged.
        DatasetError: there are no such files, or Pillow cannot read one.
        InputError: drawings are expected, and a sheet is empty or shows several; the run or data are of no pictures.
        InputTypeError: `like` is something else.
    """
    if isinstance(like, Dataset):
        style, name = PictureStyle.of(like), like.name
    elif isinstance(like, str | os.PathLike):
        folder = RunFolder.existing(Path(like))
        style, name = folder.read_config()[1].pictures, str(folder.config)
    else:
        raise InputTypeError(f"like: got {type(like).__name__}, expected the folder of a run, or a Dataset.")
    if style is None:
        raise InputError(
            f"like: {name} tells of no pictures, grey or coloured; expected a run that was trained on some."
        )
    files = picture_files(paths)
    if not files:
        raise InputError("paths: got none, expected image files, folders or patterns.")
    read = [style.read(file, as_is=as_is) for file in files]
    return Pictures(np.stack([x for x, _ in read]), tuple(files), tuple(note for _, note in read))
