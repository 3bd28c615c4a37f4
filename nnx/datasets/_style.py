"""What the pictures of a data set look like, and other pictures made like them."""

import glob
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DatasetError, InputError
from ..ops import HostArray
from ._dataset import Dataset
from ._images import image_files, read_image, read_sheet
from ._ink import Ink, find_ink, is_solid
from ._pictures import Layout, drawable, light_background

_FEW = 0.01  # of the pictures may be light where the background is called dark
_MEASURED = 500  # pictures at most, evenly chosen, of which sizes are measured
_TRIED = 60  # of these, at most, in which ink is looked for
_STROKE = 0.2  # of a picture's darkest ink, above which a pixel belongs to its strokes
_SAME_SIZE = 0.05  # deviation of the sizes, of their mean, where all are called one size
_ALIKE = 0.9  # of these must be found to be ink, and nothing else
_OFF = 0.2  # of a picture's ink may differ then


@dataclass(frozen=True)
class DrawingStyle:
    """How large drawings are in pictures, and where: those of MNIST have 20 pixels and are centred by mass."""

    pixels: int
    """Of the longer side of the drawing's own rectangle."""
    by_row: str
    """What lies at `row`: the "mass" of the ink, or the "middle" of its rectangle, whichever differs less."""
    row: float
    """In pixels from the upper edge."""
    by_column: str
    column: float

    @classmethod
    def of(cls, ink: HostArray) -> "DrawingStyle | None":
        """Measure pictures of ink, (n, height, width) floats from 0 to 1; None if they are no drawings of one size."""
        strongest = ink.max(axis=(1, 2), keepdims=True)
        if strongest.min() < _STROKE:
            return None
        strokes = ink > _STROKE * strongest
        sides, middles, masses = [], [], []
        for axis in (2, 1):
            line, weights = strokes.any(axis=axis), ink.sum(axis=axis)
            first, end = line.argmax(axis=1), line.shape[1] - line[:, ::-1].argmax(axis=1)
            sides.append(end - first)
            middles.append((first + end) / 2)
            masses.append(weights @ (np.arange(line.shape[1]) + 0.5) / weights.sum(axis=1))
        longer = np.maximum(*sides)
        if longer.std() > _SAME_SIZE * longer.mean():
            return None
        places = []
        for middle, mass in zip(middles, masses, strict=True):
            by, place = ("mass", mass) if mass.std() <= middle.std() else ("middle", middle)
            places.append((by, round(float(place.mean()), 2)))
        style = cls(round(float(np.median(longer))), *places[0], *places[1])
        chosen = ink[:: -(-len(ink) // _TRIED)]
        half = max(2, style.pixels // 2)
        drawn = [_is_ink(picture) and not is_solid(picture > _STROKE * picture.max(), half) for picture in chosen]
        return style if np.mean(drawn) >= _ALIKE else None

    def place(self, ink: Ink, frame: tuple[int, ...]) -> tuple[HostArray, tuple[int, int]]:
        """Return a drawing in a frame of (height, width), floats from 0 to 1, and the size that it has there."""
        from PIL import Image

        height, width = ink.amount.shape
        scale = min(self.pixels / max(height, width), frame[0] / height, frame[1] / width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        drawing = ink.amount
        if size != drawing.shape:
            way = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
            image = Image.fromarray(drawing.astype(np.float32)).resize(size[::-1], way)
            drawing = np.clip(np.asarray(image), 0, None)
            drawing = drawing / drawing.max()  # thin strokes became faint ones
        corner = []
        for axis, (by, place) in enumerate(((self.by_row, self.row), (self.by_column, self.column))):
            own = size[axis] / 2
            if by == "mass":
                weights = drawing.sum(axis=1 - axis)
                own = float(weights @ (np.arange(size[axis]) + 0.5) / weights.sum())
            corner.append(min(max(round(place - own), 0), frame[axis] - size[axis]))
        placed = np.zeros(frame, np.float32)
        placed[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = drawing
        return placed, size

    def fits(self, ink: Ink, shape: tuple[int, ...], frame: tuple[int, ...]) -> bool:
        """Return whether a drawing has its size and place already."""
        if shape != frame or abs(max(ink.amount.shape) - self.pixels) > 1:
            return False
        for axis, (by, place) in enumerate(((self.by_row, self.row), (self.by_column, self.column))):
            weights = ink.amount.sum(axis=1 - axis)
            own = weights @ (np.arange(len(weights)) + 0.5) / weights.sum() if by == "mass" else len(weights) / 2
            if abs((ink.top, ink.left)[axis] + own - place) > 1:
                return False
        return True


@dataclass(frozen=True)
class PictureStyle:
    """What the pictures of a data set look like, by which those of others are prepared."""

    shape: tuple[int, ...]
    """Of one picture, as the network takes it: grey (height, width), or with 1 or 3 channels first or last."""
    low: float
    """What black is in the network's input."""
    high: float
    """What white is."""
    dark: bool
    """Whether the pictures are grey with a dark background, so that light ones are inverted."""
    drawing: DrawingStyle | None
    """How large and where, if the pictures are drawings of one size on an even ground; None for others."""

    @classmethod
    def of(cls, data: Dataset) -> "PictureStyle | None":
        """Measure the pictures of a data set; None if it has none, grey or coloured."""
        if Layout.of(data.x.shape[1:]) is None or data.x.ndim not in (3, 4):
            return None
        scaled = (float(data.x.min()) * data.scale, float(data.x.max()) * data.scale)
        low, high = (0.0, 1.0) if scaled[0] >= 0 and scaled[1] <= 1 else scaled
        images = drawable(data.x)
        if images is None or images.ndim != 3:
            return cls(data.x.shape[1:], low, high, dark=False, drawing=None)
        grey = images.astype(np.float32) * np.float32(data.scale)
        light = float(light_background((grey - low) / (high - low), 1).mean())
        dark, drawing = light < _FEW, None
        if dark or light > 1 - _FEW:
            some = (grey[:: -(-len(grey) // _MEASURED)] - low) / (high - low)
            drawing = DrawingStyle.of(some if dark else 1 - some)
        return cls(data.x.shape[1:], low, high, dark, drawing)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "PictureStyle":
        """Make it of what `dataclasses.asdict` and JSON made of it. Raises for anything else."""
        drawing = content["drawing"]
        shape = tuple(int(side) for side in content["shape"])
        if Layout.of(shape) is None:
            raise ValueError(f"expected the shape of a picture, got {shape}")
        return cls(**{**content, "shape": shape, "drawing": None if drawing is None else DrawingStyle(**drawing)})

    @property
    def _layout(self) -> Layout:
        layout = Layout.of(self.shape)
        assert layout is not None
        return layout

    def read(self, path: "str | os.PathLike[str]", *, as_is: bool = False) -> tuple[HostArray, str]:
        """Read an image file as a picture of this style.

        Args:
            path: the file.
            as_is: whether to resize it only.

        Returns:
            The picture, float32 of `shape`, and what was done to it, for people; "" for nothing.

        Raises:
            DatasetError: Pillow cannot read the file.
            InputError: drawings are expected, and the sheet is empty or shows several; or Pillow is not installed.
        """
        layout = self._layout
        frame = layout.height, layout.width
        if self.drawing is not None and not as_is:
            grey, note = self._drawn(Path(path), self.drawing, frame)
        else:
            grey, note = self._resized(Path(path), frame, as_is)
        values: HostArray = (self.low + (self.high - self.low) * grey).astype(np.float32)
        if layout.channels == 3:
            return (values if layout.last else np.moveaxis(values, 2, 0)), note
        return values.reshape(self.shape), note

    def _drawn(self, path: Path, drawing: DrawingStyle, frame: tuple[int, int]) -> tuple[HostArray, str]:
        sheet, (height, width), laid = read_sheet(path)
        try:
            ink = find_ink(sheet)
        except InputError as error:
            raise InputError(f"{path}: {error} (--as-is, or as_is=True, takes it as it is.)") from None
        words = [laid] if laid else []
        inverted = ink.light == self.dark
        if inverted:
            words.append("dark on light, inverted" if ink.light else "light on dark, inverted")
        if drawing.fits(ink, sheet.shape, frame) and _even(sheet):
            return (1 - sheet if inverted else sheet), "; ".join(words)
        placed, size = drawing.place(ink, frame)
        reduced = height / sheet.shape[0]
        rows, columns = (round(side * reduced) for side in ink.amount.shape)
        words.insert(0, f"{height} x {width} pixels")
        centred = " and centred by mass" if "mass" in (drawing.by_row, drawing.by_column) else " and centred"
        words.append(f"cropped to its {rows} x {columns} of ink, scaled to {size[0]} x {size[1]}{centred}")
        return (placed if self.dark else 1 - placed), "; ".join(words)

    def _resized(self, path: Path, frame: tuple[int, int], as_is: bool) -> tuple[HostArray, str]:
        image, own = read_image(path, self._layout.channels, frame)
        pixels = image.astype(np.float32) / 255
        words = [] if own == frame else [f"{own[0]} x {own[1]} pixels", f"scaled to {frame[0]} x {frame[1]}"]
        if self.dark and not as_is and light_background(pixels[None], 1)[0]:
            words.append("a light background, inverted")
            pixels = 1 - pixels
        return pixels, ", ".join(words)


def _is_ink(picture: HostArray) -> bool:
    """Return whether in a picture of ink just that is found as the ink."""
    try:
        ink = find_ink(picture)
    except InputError:
        return False
    rows, columns = ink.amount.shape
    found = np.zeros_like(picture)
    found[ink.top : ink.top + rows, ink.left : ink.left + columns] = ink.amount
    return not ink.light and float(np.abs(found - picture).sum()) <= _OFF * float(picture.sum())


def _even(sheet: HostArray) -> bool:
    """Return whether the ground of a picture is plain black or white."""
    ground = float(np.median(np.concatenate([sheet[0], sheet[-1], sheet[:, 0], sheet[:, -1]])))
    return min(ground, 1 - ground) < 0.02


def picture_files(paths: "str | os.PathLike[str] | Iterable[str | os.PathLike[str]]") -> list[Path]:
    """Return the files that paths stand for: files, folders with image files, and patterns such as "scans/*.png".

    Args:
        paths: one, or several. A folder stands for its image files, by name, and for those of folders in it.

    Raises:
        DatasetError: there is nothing of that name, or a folder has no image files.
    """
    files: list[Path] = []
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        if os.path.isdir(path):
            found = image_files(Path(path))
            if not found:
                raise DatasetError(f"{path}: holds no image files; expected some, or the names of pictures.")
        elif os.path.exists(path):
            found = [Path(path)]
        else:
            found = sorted(map(Path, glob.glob(str(path), recursive=True)))
            if not found:
                raise DatasetError(f"{path}: there is no such file; expected a picture, a folder or a pattern.")
        files += found
    return files
