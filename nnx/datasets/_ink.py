"""Where the ink is in a picture of a drawing: a computer's, a scan, or a photograph of uneven paper."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .._support.pages import see
from ..errors import InputError
from ..ops import HostArray

_LEAST_CONTRAST = 0.06  # of black to white, below which nothing is ink
_LEAST_NOISES = 6  # deviations of the paper's noise, likewise
_EVEN = 0.01  # of black to white, within which pixels are of one shade
_PLAIN = 0.5  # of the border's pixels: where so many are of one shade, the whole ground is
_LIGHT_INK = 0.4  # of the ink's contrast, above which a pixel belongs to a stroke
_WINDOW = 0.4  # of the shorter side: strokes are narrower, shadows wider
_COARSE = 64  # pixels on the longer side are enough to see how the light falls
_SMALL = 100  # pixels on the longer side, below which a picture is not smoothed
_LEAST_SIZE = 0.04  # of the longer side: smaller pieces on a photograph are dust
_NEAR = 0.15  # of a drawing's size: pieces no farther apart are strokes of one
_SPECK = 0.02  # of the largest piece's pixels: what has less is dust
_SECOND = 0.25  # of the largest piece's pixels: what has more, and is not near, is a second drawing
_TALL = 0.6  # of a drawing's height: pieces side by side that are both as tall are two drawings
_OVERLAP = 0.25  # of the narrower one's width: pieces side by side overlap less


class Ink(NamedTuple):
    """The strokes of one drawing."""

    amount: HostArray
    """(height, width) floats from 0, paper, to 1, ink; no more than the drawing's own rectangle."""
    light: bool
    """Whether it is dark on a light ground."""
    top: int
    """The row of the picture where the drawing begins."""
    left: int
    """The column likewise."""


class _Piece(NamedTuple):
    """Pixels of ink that touch each other, and their rectangle."""

    name: int
    pixels: int
    top: int
    bottom: int
    left: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    def gap(self, other: "_Piece") -> int:
        """Return the greater one of the distances, down and across, between two rectangles; 0 if they overlap."""
        down = max(other.top - self.bottom, self.top - other.bottom)
        return max(down, other.left - self.right, self.left - other.right, 0)


def find_ink(picture: HostArray) -> Ink:
    """Find the one drawing on a sheet.

    The paper may be of any shade. If its border is of one shade, the ground is; else it is taken for unevenly lit: a
    quadratic surface through that half of the pixels which fits it best (least trimmed squares: P. J. Rousseeuw, Least
    Median of Squares Regression, 1984) tells which way the strokes differ from the paper, and a morphological closing
    (J. Serra, Image Analysis and Mathematical Morphology, 1982) takes away what is darker and wider than strokes are.

    Args:
        picture: (height, width) floats from 0, black, to 1, white.

    Raises:
        InputError: there is no ink, or more than one drawing.
    """
    longer = max(picture.shape)
    smooth = _smoothed(picture) if longer > _SMALL else picture
    border = np.concatenate([smooth[0], smooth[-1], smooth[:, 0], smooth[:, -1]])
    ground = float(np.median(border))
    away = np.abs(border - ground)
    plain = bool(np.mean(away < _EVEN) > _PLAIN)
    level = smooth - (ground if plain else _surface(smooth, ground))
    light = float((level**3).sum()) <= 0
    dark = level if light else -level
    paper: Any = 0
    if not plain:
        window = max(3, int(_WINDOW * min(picture.shape)))
        paper = _over_windows(_over_windows(dark, window, np.maximum), window, np.minimum)
        paper = paper - np.median(paper - dark)  # most pixels are paper; of noise, the closing is the top
    contrast = np.maximum(paper - dark, 0)
    noise = 1.4826 * float(np.median(away if plain else np.abs(paper - dark)))

    few = max(min(20, contrast.size // 40), contrast.size // 1000, 1)
    strongest = float(np.sort(contrast, axis=None)[-few:].mean())
    if strongest < max(_LEAST_CONTRAST, _LEAST_NOISES * noise):
        raise InputError(
            "is an empty sheet: nothing on it stands out; draw with a darker pen, or take another picture."
        )
    names, pieces = _pieces(contrast > _LIGHT_INK * strongest)
    inside = np.isin(names, [piece.name for piece in _strokes(pieces, picture.shape, plain)])
    around = _over_windows(inside.astype(float), 5 if longer > _SMALL else 3, np.maximum) > 0
    full = float(np.quantile(contrast[inside], 0.9))
    faint = min(0.15 * full, 3 * noise)
    amount = np.where(around, np.clip((contrast - faint) / (full - faint), 0, 1), 0)
    rows, columns = np.nonzero(amount > 0.3)
    top, left = int(rows.min()), int(columns.min())
    return Ink(amount[top : rows.max() + 1, left : columns.max() + 1], light, top, left)


def is_solid(mask: HostArray, size: int) -> bool:
    """Return whether a mask has a full square of so many pixels: it is no drawing of strokes."""
    full = _over_windows(np.pad(mask, size).astype(float), size, np.minimum)
    return bool(full.any())


def _strokes(pieces: list[_Piece], shape: tuple[int, ...], plain: bool) -> list[_Piece]:
    """Return the pieces that make one drawing, without dust and what is around; raise if there are several drawings."""
    height, width = shape
    inner = [piece for piece in pieces if not _frames(piece, height, width)]
    if plain:  # a computer's drawing may reach from border to border
        enough = sum(piece.pixels for piece in inner) >= _SECOND * max(piece.pixels for piece in pieces)
        inner = inner if enough else pieces
    pieces = [piece for piece in inner if plain or max(piece.height, piece.width) >= _LEAST_SIZE * max(shape)]
    if not pieces:
        raise InputError(
            "shows no drawing that lies wholly on the sheet; leave paper around it, or draw it larger. "
            f"{see('my-pictures')}"
        )
    main = max(pieces, key=lambda piece: piece.pixels)
    pieces = [piece for piece in pieces if piece.pixels >= _SPECK * main.pixels]
    near = _NEAR * max(main.height, main.width)
    strokes, rest, whole = [main], [piece for piece in pieces if piece != main], main
    while joined := [piece for piece in rest if whole.gap(piece) <= near]:
        strokes += joined
        rest = [piece for piece in rest if piece not in joined]
        whole = _Piece(
            0,
            sum(piece.pixels for piece in strokes),
            min(piece.top for piece in strokes),
            max(piece.bottom for piece in strokes),
            min(piece.left for piece in strokes),
            max(piece.right for piece in strokes),
        )
    others = sum(piece.pixels >= _SECOND * main.pixels for piece in rest)
    tall = [piece for piece in strokes if piece.height >= _TALL * whole.height]
    beside = sum(_beside(a, b) for i, a in enumerate(tall) for b in tall[:i])
    if others or beside:
        raise InputError(
            "shows several drawings, side by side or one below the other, but those of the training have one each; "
            f"cut it into a picture for each. {see('my-pictures')}"
        )
    return strokes


def _frames(piece: _Piece, height: int, width: int) -> bool:
    """Return whether a piece at the border belongs to what is around a drawing: a table, a shadow, a ruled line."""
    borders = (piece.top == 0) + (piece.left == 0) + (piece.bottom == height) + (piece.right == width)
    return borders > 1 or (borders == 1 and (piece.height > height / 2 or piece.width > width / 2))


def _beside(a: _Piece, b: _Piece) -> bool:
    return min(a.right, b.right) - max(a.left, b.left) < _OVERLAP * min(a.width, b.width)


def _smoothed(picture: HostArray) -> HostArray:
    """Average each pixel with its neighbours, half of the weight its own: less noise, the same strokes."""
    p = np.pad(picture, 1, mode="edge")
    smooth: HostArray = picture / 2 + (p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:]) / 8
    return smooth


def _surface(picture: HostArray, ground: float, rounds: int = 20) -> HostArray:
    """Return the quadratic surface through that half of the pixels which fits it best, from a level ground on."""
    step = max(1, max(picture.shape) // _COARSE)
    values = picture[::step, ::step].ravel()
    every = _terms(picture.shape)
    terms = every[::step, ::step].reshape(len(values), -1)
    surface: HostArray = np.full(values.shape, ground)
    factors = np.zeros(terms.shape[1])
    for _ in range(rounds):
        away = np.abs(values - surface)
        fits = away <= np.partition(away, len(away) // 2)[len(away) // 2]
        factors = np.linalg.lstsq(terms[fits], values[fits], rcond=None)[0]
        before, surface = surface, terms @ factors
        if np.abs(surface - before).max() < 1e-3:
            break
    return every @ factors


def _terms(shape: tuple[int, ...]) -> HostArray:
    """Return 1, x, y, x * x, x * y and y * y of each pixel, from -1 to 1 along each side: (height, width, 6)."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _over_windows(picture: HostArray, window: int, reduce: "Callable[..., Any]") -> HostArray:
    """Return for each pixel the maximum or minimum over a square of so many pixels around it."""
    for axis in (0, 1):
        lines = np.moveaxis(picture, axis, 0)
        half = min(window // 2, len(lines) - 1)
        beyond = np.full((half, lines.shape[1]), -np.inf if reduce is np.maximum else np.inf)
        lines = np.concatenate([beyond, lines, beyond])
        done = 1
        while done < 2 * half + 1:  # windows of 1, 2, 4, ... pixels, then of all
            step = min(done, 2 * half + 1 - done)
            lines = reduce(lines[:-step], lines[step:])
            done += step
        picture = np.moveaxis(lines, 0, axis)
    return picture


def _pieces(mask: HostArray) -> tuple[HostArray, list[_Piece]]:
    """Return the pieces of a mask, whose pixels touch, also at corners, and (height, width) numbers of theirs."""
    parents = [0]

    def root(name: int) -> int:
        while parents[name] != name:
            name = parents[name]
        return name

    runs: list[tuple[int, int, int, int]] = []  # row, first column, end, name
    above: list[tuple[int, int, int]] = []
    for row, line in enumerate(mask):
        ends = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0)).tolist()
        here = []
        for begin, end in zip(ends[::2], ends[1::2], strict=True):
            touched = sorted({root(name) for first, last, name in above if first <= end and last >= begin})
            name = touched[0] if touched else len(parents)
            if not touched:
                parents.append(name)
            for other in touched[1:]:
                parents[other] = name
            here.append((begin, end, name))
            runs.append((row, begin, end, name))
        above = here

    names = np.zeros(mask.shape, np.int64)
    pieces: dict[int, _Piece] = {}
    for row, begin, end, given in runs:
        name = root(given)
        names[row, begin:end] = name
        old = pieces.get(name, _Piece(name, 0, row, row, begin, end))
        left, right = min(old.left, begin), max(old.right, end)
        pieces[name] = _Piece(name, old.pixels + end - begin, old.top, row + 1, left, right)
    return names, list(pieces.values())
