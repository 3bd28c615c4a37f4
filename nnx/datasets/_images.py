"""Pictures from image files, which Pillow reads, and data sets from folders of them: a folder for each class."""

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._support.checks import check_count
from .._support.console import Lines
from .._support.pages import see
from ..errors import DatasetError, InputError, InputTypeError
from ..ops import HostArray
from ._dataset import Dataset

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff")
PARTS = ("train", "test")
_LONGER_SIDE = 64  # pixels at most, where pictures of several sizes are resized and no size is given
_LEAST_HEIGHT = 5  # of (height, width, 3), told by it from (channels, height, width)
_MANY = 300  # files of which the reading shows a bar
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF's tag, and its values for pictures that lie on their side

Size = tuple[int, int]
"""Height and width."""


# One file -------------------------------------------------------------------------------------------------------------


def read_image(path: "str | os.PathLike[str]", channels: int, size: Size | None = None) -> tuple[HostArray, Size]:
    """Read an image file: upright by its EXIF orientation, transparency on white, 16 bits scaled to 8.

    Of several pictures in a file it is the first.

    Args:
        path: the file.
        channels: 1 for a grey picture, 3 for red, green and blue.
        size: (height, width) in pixels to resize to; None leaves the size.

    Returns:
        The picture, uint8 (height, width) or (height, width, 3), and the size that it has in the file.

    Raises:
        DatasetError: Pillow cannot read the file.
        InputError: Pillow is not installed.
    """
    with _opened(Path(path)) as file:
        from PIL import Image

        image = _flat(file).convert("L" if channels == 1 else "RGB")
        width, height = image.size
        if size is not None and size != (height, width):
            image = image.resize(size[::-1], Image.Resampling.LANCZOS)
        return np.asarray(image), (height, width)


def read_sheet(path: "str | os.PathLike[str]", most: int = 512) -> tuple[HostArray, Size, str]:
    """Read a drawing from an image file: upright, 16 bits scaled to 8, transparency on what shows the ink.

    Args:
        path: the file.
        most: pixels of the longer side, to which larger pictures are reduced.

    Returns:
        The picture, float32 (height, width) from 0, black, to 1, white; the size that it has in the file; and what
        it was laid on, for people, or "".

    Raises:
        DatasetError: Pillow cannot read the file.
        InputError: Pillow is not installed.
    """
    with _opened(Path(path)) as file:
        from PIL import Image

        transparent = not file.mode.startswith("I") and file.has_transparency_data
        ground = _showing(file) if transparent else "white"
        image = _flat(file, ground).convert("L")
        width, height = image.size
        if max(image.size) > most:
            scale = most / max(image.size)
            image = image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BOX)
        return np.asarray(image, np.float32) / 255, (height, width), f"laid on {ground}" if transparent else ""


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file as Pillow's image; whatever is raised while it is open says that it cannot be read."""
    if importlib.util.find_spec("PIL") is None:
        raise InputError(f"{path}: reading pictures needs Pillow; pip install 'nnx-array[plot]'.")
    from PIL import Image, UnidentifiedImageError

    try:
        # Not by its name: Pillow then maps raw TIFFs into memory, and misreads those that lie on their side.
        with path.open("rb") as file, Image.open(file) as image:
            yield image
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file nearly anything, by the format
        reason = "its format is unknown" if isinstance(error, UnidentifiedImageError) else error
        raise DatasetError(f"{path}: is no picture that Pillow can read ({reason}); use another copy.") from error


def _showing(file: Any) -> str:
    """Return the ground on which what is opaque in Pillow's image shows: light ink on black, other ink on white."""
    *colours, alpha = (np.asarray(band, np.float64) for band in file.convert("RGBA").split())
    light = np.tensordot((0.299, 0.587, 0.114), colours, axes=1)
    return "black" if (light * alpha).sum() > 127.5 * alpha.sum() else "white"


def _flat(file: Any, ground: str = "white") -> Any:
    """Return Pillow's image upright, of 8 bits; what is transparent lies on the ground."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(file)
    if image.mode.startswith("I"):
        return _eight_bits(image, file.format)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, expected 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, ground), image)
    return image


def _eight_bits(image: Any, kind: str) -> Any:
    """Scale a grey picture of 16 bits."""
    from PIL import Image

    if image.mode == "I" and kind != "PNG":  # some releases of Pillow give PNG's 16 bits in 32
        raise ValueError("its pixels have 32 bits, expected 8 or 16")
    pixels = np.asarray(image)
    if "transparency" in image.info:  # the one value of the transparent pixels
        pixels = np.where(pixels == image.info["transparency"], 65535, pixels)
    return Image.fromarray(((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8))


def _look(path: Path) -> tuple[bool, Size]:
    """Return whether the picture in a file is grey, and its (height, width)."""
    with _opened(path) as image:
        if image.format == "TIFF":
            image.load()  # makes it upright
        width, height = image.size
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        if image.mode in ("P", "PA"):
            colours = _flat(image).convert("RGB").getcolors(width * height)
            grey = all(red == green == blue for _, (red, green, blue) in colours)
        else:
            grey = image.mode in ("1", "L", "LA", "F") or image.mode.startswith("I")
        return grey, (width, height) if turned else (height, width)


# A folder -------------------------------------------------------------------------------------------------------------


def holds_images(path: Path) -> bool:
    """Return whether a folder has folders with image files, as `image_folder` reads them; not so for a file."""
    if not path.is_dir():
        return False
    outer = _folders(path)
    inner = [folder for part in outer if part.name in PARTS for folder in _folders(part)]
    return any(_is_image(file) for folder in (*outer, *inner) for file in _entries(folder))


def image_folder(path: "str | os.PathLike[str]", size: Size | None = None) -> dict[str, Dataset]:
    """Read a folder with a folder of image files for each class, or with folders train and test of such folders.

    The pictures are grey if all files are, else coloured. Pictures of several sizes are resized to the median height
    and width, made smaller to 64 pixels at most on the longer side; the data sets' notes tell.

    Args:
        path: the folder.
        size: (height, width) in pixels to resize to.

    Returns:
        "train", "test" or both, uint8 (n, height, width) or (n, height, width, 3) of scale 1/255, the rows by class and
        name; folders of classes alone are "train". The classes are the folders' names, sorted.

    Raises:
        DatasetError: a file is no picture, or the folders make no data set; the message names the file or folder.
        InputError: the size is out of range, or Pillow is not installed.
        InputTypeError: the size is no pair of whole numbers.
    """
    found = look_at_folder(path, size)
    files = [file for files, _ in found.parts.values() for file in files]
    x = np.empty((len(files), *found.size, *([] if found.channels == 1 else [3])), np.uint8)
    with _Bar(files) as bar:
        for row, file in enumerate(bar.over("reading image files")):
            x[row] = read_image(file, found.channels, found.size)[0]
    parts, begin = {}, 0
    for part, (_, t) in found.parts.items():
        parts[part] = Dataset(
            Path(path).resolve().name, x[begin : begin + len(t)], t, 1 / 255, found.classes, found.note
        )
        begin += len(t)
    return parts


class ImageFolder(NamedTuple):
    """What there is in a folder of image files, none of which has been read."""

    parts: dict[str, tuple[list[Path], HostArray]]
    """The files of "train", "test" or both, and their labels, int64."""
    classes: tuple[str, ...]
    size: Size
    channels: int
    note: str


def look_at_folder(path: "str | os.PathLike[str]", size: Size | None = None) -> ImageFolder:
    """Look at the image files that `image_folder` reads; arguments and errors are the same."""
    path = Path(path)
    size = None if size is None else check_size(size)
    found = {part: _classes(folder) for part, folder in _parts(path).items()}
    classes = tuple(sorted(next(iter(found.values()))))
    if len(classes) < 2:
        raise DatasetError(f"{path}: has image files of one class, {classes[0]!r}; expected at least two folders.")
    for name in found.get("test", {}):
        if name not in classes:
            raise DatasetError(f"{path / 'test' / name}: is of a class that {path / 'train'} has not; add it there.")

    files = [file for folders in found.values() for name in sorted(folders) for file in folders[name]]
    with _Bar(files) as bar:
        looks = [_look(file) for file in bar.over("looking at image files")]
    sizes = sorted({size for _, size in looks}, key=lambda size: (size[0] * size[1], size))
    if size is None:
        size = sizes[0] if len(sizes) == 1 else _median([size for _, size in looks])
    channels = 1 if all(grey for grey, _ in looks) else 3
    if channels == 3 and size[0] < _LEAST_HEIGHT:
        raise DatasetError(
            f"{path}: got a height of {size[0]} pixels, expected at least {_LEAST_HEIGHT} of coloured pictures; "
            "give another size."
        )
    extremes = " .. ".join(dict.fromkeys(map(_text, (sizes[0], sizes[-1]))))
    resized = "" if sizes == [size] else f"resized to {_text(size)} from {extremes}"
    strays = [entry.name for entry in _entries(path) if not entry.is_dir()]
    note = "; ".join(filter(None, [resized, f"not used: {', '.join(strays)}" if strays else ""]))

    parts = {}
    for part, folders in found.items():
        t = np.repeat(np.arange(len(classes)), [len(folders.get(name, ())) for name in classes])
        parts[part] = [file for name in sorted(folders) for file in folders[name]], t
    return ImageFolder(parts, classes, size, channels, note)


def check_size(size: Any) -> Size:
    """Return a pair of whole numbers of at least 1; raise for anything else."""
    if not isinstance(size, tuple | list) or len(size) != 2:
        raise InputTypeError(f"size: got {size!r}, expected (height, width) in pixels, such as (32, 32).")
    return check_count("size: height", size[0]), check_count("size: width", size[1])


def _median(sizes: Sequence[Size]) -> Size:
    """Return the median height and width, made smaller to `_LONGER_SIDE` at most."""
    sides = np.median(sizes, axis=0)
    height, width = np.maximum(np.rint(sides * min(1, _LONGER_SIDE / sides.max())), 1).astype(int).tolist()
    return height, width


def _text(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _parts(path: Path) -> dict[str, Path]:
    """Return the folders that hold those of the classes: train and test, or the folder itself as train."""
    folders = {folder.name: folder for folder in _folders(path)}
    found = {part: folders.pop(part) for part in PARTS if part in folders and _folders(folders[part])}
    if not found:
        return {"train": path}
    if folders:
        raise DatasetError(
            f"{path}: has {', '.join(folders)} beside {' and '.join(found)}; expected train and test alone, each with "
            f"a folder for each class. (The rows to validate on are taken from those to train on.) {see('pictures')}"
        )
    _refuse_strays(path)
    return found


def _classes(path: Path) -> Mapping[str, list[Path]]:
    """Return the image files by class."""
    _refuse_strays(path)
    found = {}
    for folder in _folders(path):
        found[folder.name] = _entries(folder)
        for entry in found[folder.name]:
            if not _is_image(entry):
                what = "a folder in the folder of a class" if entry.is_dir() else "no image file"
                raise DatasetError(f"{entry}: is {what}; expected files {', '.join(ENDINGS)} alone; put it elsewhere.")
    return found


def _refuse_strays(path: Path) -> None:
    for entry in _entries(path):
        if _is_image(entry):
            raise DatasetError(
                f"{entry}: lies in no class's folder; expected {path}/CLASS/{entry.name}. {see('pictures')}"
            )


def image_files(path: Path) -> list[Path]:
    """Return the image files of a folder and of the folders in it, by name."""
    return [
        file
        for entry in _entries(path)
        for file in (image_files(entry) if entry.is_dir() else [entry])
        if file.is_file() and _is_image(file)
    ]


def _folders(path: Path) -> list[Path]:
    return [entry for entry in _entries(path) if entry.is_dir()]


def _entries(path: Path) -> list[Path]:
    """Return what a folder holds, by name, without hidden files and empty folders."""
    try:
        there = [path / name for name in sorted(os.listdir(path)) if not name.startswith(".")]
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); expected a folder of image files.") from None
    return [entry for entry in there if not entry.is_dir() or _entries(entry)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and path.is_file()


class _Bar(Lines):
    """A bar, in a terminal, while many files are read."""

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__(len(files) > _MANY, "{task.description}", "files")
        self._files = files

    def over(self, doing: str) -> Iterator[Path]:
        """Go over the files."""
        task = None if self._bar is None else self._bar.add_task(doing, total=len(self._files))
        for file in self._files:
            yield file
            if self._bar is not None:
                self._bar.advance(task)
