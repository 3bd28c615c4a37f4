"""The tables of convolutions: where the numbers lie that the kernels of `nnx_kernels.cpu.convolution` multiply.

Each axis of a result is divided into *spans*: pixels over which the same elements of a filter lie on the picture.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]


class Span(NamedTuple):
    """Some pixels of an axis of the result, and the elements of the filter for them."""

    pixels: list[int]
    starts: list[int]
    """Where a picture is read for them, if an element's offset is added."""
    elements: list[int]
    offsets: list[int]


class Table(NamedTuple):
    """What a kernel is told of the shapes."""

    sizes: Array
    offsets: Array


class Tables(NamedTuple):
    """The tables of one shape of convolutions."""

    output: Pair
    forward: Table
    filters: Table
    """Of the filters' gradient."""
    pictures: Table
    """Of the pictures' gradient: a convolution of dy."""
    order: Array
    """Where the filters lie in W, for `forward`: (height, width, channels, filters)."""
    place: Array
    """The other way round: where W's elements lie in the filters, for their gradient."""
    back: Array
    """Where the filters lie in W, for `pictures`: (height, width, filters, channels)."""


def _spans(pixels: int, taps: Any, length: int, margin: int, trim: bool) -> list[Span]:
    """Divide an axis.

    Args:
        pixels: of the result.
        taps: taps(u) gives, for a pixel, where the picture is read, and the elements of the filter with their offsets.
        length: of the picture.
        margin: how many pixels lie before the picture if it is padded.
        trim: leave out what lies beyond the picture; else it is read, from a padded picture.
    """
    found: dict[Any, Span] = {}
    for u in range(pixels):
        start, elements = taps(u)
        if trim:
            elements = [(i, offset) for i, offset in elements if 0 <= start + offset < length]
        span = found.setdefault(tuple(elements), Span([], [], [i for i, _ in elements], [o for _, o in elements]))
        span.pixels.append(u)
        span.starts.append(start + (0 if trim else margin))
    return list(found.values())


def _table(
    spans: tuple[list[Span], list[Span]],
    sizes: list[int],
    outputs: int,
    across: int,
    kernel_width: int,
    itemsize: int,
) -> Table:
    """Make a table of the groups that the spans of both axes make.

    Args:
        spans: of both axes.
        sizes: as the kernels have them.
        outputs: the channels of the result.
        across: the result's width.
        kernel_width: of a filter.
        itemsize: bytes of a number.
    """
    wide, channels = sizes[4], sizes[2]
    channel = np.arange(channels)
    rows, columns, lines, places, groups = [], [], [], [], []
    row = column = 0
    for down in spans[0]:
        for side in spans[1]:
            rows.append(np.add.outer(np.multiply(down.starts, wide), side.starts) * channels)
            places.append(np.add.outer(np.multiply(down.pixels, across), side.pixels) * outputs)
            offsets = np.add.outer(np.multiply(down.offsets, wide), side.offsets) * channels
            columns.append(np.add.outer(offsets, channel))
            elements = np.add.outer(np.multiply(down.elements, kernel_width), side.elements) * channels
            lines.append(np.add.outer(elements, channel) * outputs)
            groups += [row, row + rows[-1].size, column, column + columns[-1].size]
            row, column = row + rows[-1].size, column + columns[-1].size
    offsets = np.concatenate([part.ravel() for part in (*rows, *columns, *lines, *places)]) * itemsize
    return Table(np.array([*sizes, row, column, *groups], np.int64), offsets.astype(np.int32))


def _cost(table: Table, n: int, itemsize: int) -> int:
    from nnx_kernels.cpu.convolution import cycles

    groups = table.sizes[9:].reshape(-1, 4).tolist()
    return sum(cycles(stop - start, n, last - first, itemsize) for start, stop, first, last in groups)


def _cheapest(tables: list[Table], n: int, itemsize: int) -> Table:
    return min(tables, key=lambda table: _cost(table, n, itemsize))


def _under(size: int, step: int, margin: int) -> Any:
    """Make the function that gives, for a pixel of the result, where its window begins, and the window's elements."""
    return lambda u: (u * step - margin, [(i, i) for i in range(size)])


def _over(size: int, step: int, margin: int) -> Any:
    """Make the function that gives, for a pixel of a picture, the windows over it.

    They are every `step`-th element of a window, for a pixel of the result each.
    """
    return lambda u: ((u + margin) // step, [(i, -(i // step)) for i in range((u + margin) % step, size, step)])


@lru_cache(64)
def tables(shape: tuple[int, ...], filters: tuple[int, ...], stride: Pair, pad: Pair, itemsize: int) -> Tables:
    """Make the tables for pictures of a shape (h, w, c) and filters (f, c, kh, kw)."""
    (h, w, c), (f, _, kh, kw) = shape, filters
    (sh, sw), (ph, pw) = stride, pad
    oh, ow = (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1

    forward, pictures, gradients = [], [], []
    for trim in (True, False):
        if trim or pad != (0, 0):
            spans = _spans(oh, _under(kh, sh, ph), h, ph, trim), _spans(ow, _under(kw, sw, pw), w, pw, trim)
            high, wide = (h, w) if trim else (h + 2 * ph, w + 2 * pw)
            sizes = [h, w, c, high, wide, *((0, 0) if trim else pad)]
            forward.append(_table(spans, sizes, f, ow, kw, itemsize))
            gradients.append(_of_filters(spans, sizes, f, ow, kw, itemsize))
        top, left = (0, 0) if trim else ((kh - 1) // sh, (kw - 1) // sw)
        spans = _spans(h, _over(kh, sh, ph), oh, top, trim), _spans(w, _over(kw, sw, pw), ow, left, trim)
        high, wide = oh, ow
        if not trim:
            high, wide = top + max((h - 1 + ph) // sh + 1, oh), left + max((w - 1 + pw) // sw + 1, ow)
        pictures.append(_table(spans, [oh, ow, f, high, wide, top, left], c, w, kw, itemsize))
    number = np.arange(f * c * kh * kw).reshape(f, c, kh, kw)
    order = number.transpose(2, 3, 1, 0).ravel()
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    return Tables(
        (oh, ow),
        _cheapest(forward, f, itemsize),
        _cheapest(gradients, f, itemsize),
        _cheapest(pictures, c, itemsize),
        order,
        place,
        number.transpose(2, 3, 0, 1).ravel(),
    )


def _of_filters(
    spans: tuple[list[Span], list[Span]], sizes: list[int], f: int, ow: int, kw: int, itemsize: int
) -> Table:
    """Make the table of the filters' gradient: a group for the elements of a filter that see the same pixels.

    Its rows are the channels under an element, its columns the pixels of dy over which the element lies on the picture.
    """
    wide, channels = sizes[4], sizes[2]
    channel = np.arange(channels)
    seen: dict[Any, list[tuple[int, int]]] = {}
    for axis in range(2):
        pixels: dict[int, list[int]] = {}
        for span in spans[axis]:
            for i in span.elements:
                pixels.setdefault(i, []).extend(zip(span.pixels, span.starts, strict=True))
        seen[axis] = [(i, tuple(sorted(of))) for i, of in sorted(pixels.items())]
    groups_: dict[Any, list[tuple[int, int]]] = {}
    for i, down in seen[0]:
        for j, side in seen[1]:
            groups_.setdefault((down, side), []).append((i, j))
    rows, columns, lines, places, groups = [], [], [], [], []
    row = column = 0
    for (down, side), elements in groups_.items():
        places_of = np.array([(i * kw + j) for i, j in elements]) * channels
        offsets = np.array([(i * wide + j) for i, j in elements]) * channels
        rows.append(np.add.outer(offsets, channel))
        places.append(np.add.outer(places_of, channel) * f)
        (u, a), (v, b) = zip(*down, strict=True), zip(*side, strict=True)
        columns.append(np.add.outer(np.multiply(a, wide), b) * channels)
        lines.append(np.add.outer(np.multiply(u, ow), v) * f)
        groups += [row, row + rows[-1].size, column, column + columns[-1].size]
        row, column = row + rows[-1].size, column + columns[-1].size
    offsets = np.concatenate([part.ravel() for part in (*rows, *columns, *lines, *places)]) * itemsize
    return Table(np.array([*sizes, row, column, *groups], np.int64), offsets.astype(np.int32))


class Windows(NamedTuple):
    """What the kernels of pooling are told of one shape: the lists of `nnx_kernels.cpu.pooling`."""

    output: Pair
    forward: tuple[Array, ...]
    backward: tuple[Array, ...]


@lru_cache(64)
def windows(shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pair) -> Windows:
    """Make the lists for pictures of a shape (h, w, c) and windows."""
    lengths, c = shape[:2], shape[2]
    oh, ow = ((lengths[k] + 2 * pad[k] - size[k]) // stride[k] + 1 for k in range(2))
    forward: list[Array] = []
    backward: list[Array] = []
    # An element's offset, and its number, for one pixel down and one across.
    steps = ((shape[1] * c, size[1]), (c, 1)), ((ow * c, size[1]), (c, 1))
    for axis, places in enumerate((oh, ow)):
        under, over = (make(size[axis], stride[axis], pad[axis]) for make in (_under, _over))
        forward += _lists(places, under, lengths[axis], *steps[0][axis])
        backward += _lists(lengths[axis], over, places, *steps[1][axis])
    return Windows((oh, ow), tuple(forward), tuple(backward))


def _lists(pixels: int, taps: Any, length: int, offset: int, number: int) -> tuple[Array, Array]:
    """Make the lists of an axis: where each pixel's begins, and the entries of all of them."""
    starts, entries = [0], []
    for u in range(pixels):
        start, elements = taps(u)
        entries += [((start + i) * offset, k * number) for k, i in elements if 0 <= start + i < length]
        starts.append(len(entries))
    return np.array(starts, np.int32), np.array(entries, np.int32).reshape(-1)
