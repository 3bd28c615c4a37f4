"""The tables of convolutions: where the numbers lie that the kernels of `nnx_kernels.cpu.convolution` multiply.

Each axis of a result is divided into *spans*: pixels over which the same elements of a filter lie on the picture.
"""

from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Pair = tuple[int, int]

_REACH = 2**31 - 1
"""How far 32-bit offsets reach."""


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


class _Layout(NamedTuple):
    """One of the ways to compute a result: with groups of pixels, or from padded pictures."""

    spans: tuple[list[Span], list[Span]]
    sizes: list[int]
    """As the kernels have them."""


def _table(layout: _Layout, outputs: int, across: int, kernel_width: int, itemsize: int) -> Table:
    """Make the table of the groups that the spans of both axes make.

    Args:
        layout: the way to compute.
        outputs: the channels of the result.
        across: the result's width.
        kernel_width: of a filter.
        itemsize: bytes of a number.
    """
    spans, sizes = layout
    wide, channels = sizes[4], sizes[2]
    channel = np.arange(channels)
    rows, columns, lines, places = [], [], [], []
    for down in spans[0]:
        for side in spans[1]:
            rows.append(np.add.outer(np.multiply(down.starts, wide), side.starts) * channels)
            places.append(np.add.outer(np.multiply(down.pixels, across), side.pixels) * outputs)
            offsets = np.add.outer(np.multiply(down.offsets, wide), side.offsets) * channels
            columns.append(np.add.outer(offsets, channel))
            elements = np.add.outer(np.multiply(down.elements, kernel_width), side.elements) * channels
            lines.append(np.add.outer(elements, channel) * outputs)
    return _joined(sizes, rows, columns, lines, places, itemsize)


def _joined(
    sizes: list[int], rows: list[Array], columns: list[Array], lines: list[Array], places: list[Array], itemsize: int
) -> Table:
    """Make a table of what each group has."""
    groups, row, column = [], 0, 0
    for of_rows, of_columns in zip(rows, columns, strict=True):
        groups += [row, row + of_rows.size, column, column + of_columns.size]
        row, column = row + of_rows.size, column + of_columns.size
    offsets = np.concatenate([part.ravel() for part in (*rows, *columns, *lines, *places)]) * itemsize
    return Table(np.array([*sizes, row, column, *groups], np.int64), offsets.astype(np.int32))


def _products(layout: _Layout) -> list[Pair]:
    """Return how many rows and columns the groups of `_table` have."""
    channels = layout.sizes[2]
    return [
        (len(down.pixels) * len(side.pixels), len(down.elements) * len(side.elements) * channels)
        for down in layout.spans[0]
        for side in layout.spans[1]
    ]


def _products_of_filters(layout: _Layout, size: Pair) -> list[Pair]:
    """Return how many rows and columns the groups of `_of_filters` have."""
    channels, groups = layout.sizes[2], _alike(layout.spans, size)
    return [(len(elements) * channels, len(down) * len(side)) for (down, side), elements in groups.items()]


def _cheapest(layouts: list[_Layout], products: Any, n: int, itemsize: int) -> _Layout:
    """Return the layout whose products take least; each of them has n columns of results."""
    from nnx_kernels.cpu.convolution import cycles

    return min(layouts, key=lambda layout: sum(cycles(m, n, k, itemsize) for m, k in products(layout)))


def _under(size: int, step: int, margin: int) -> Any:
    """Make the function that gives, for a pixel of the result, where its window begins, and the window's elements."""
    return lambda u: (u * step - margin, [(i, i) for i in range(size)])


def _over(size: int, step: int, margin: int) -> Any:
    """Make the function that gives, for a pixel of a picture, the windows over it.

    They are every `step`-th element of a window, for a pixel of the result each.
    """
    return lambda u: ((u + margin) // step, [(i, -(i // step)) for i in range((u + margin) % step, size, step)])


@lru_cache(64)
def tables(shape: tuple[int, ...], filters: tuple[int, ...], stride: Pair, pad: Pair, itemsize: int) -> Tables | None:
    """Make the tables for pictures of a shape (h, w, c) and filters (f, c, kh, kw).

    None where a picture, its result or the filters have more bytes than 32-bit offsets reach.
    """
    (h, w, c), (f, _, kh, kw) = shape, filters
    (sh, sw), (ph, pw) = stride, pad
    oh, ow = (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1
    top, left = (kh - 1) // sh, (kw - 1) // sw
    # The padded pictures, and the padded results from which the pictures' gradient is computed.
    high, wide = h + 2 * ph, w + 2 * pw
    high_dy, wide_dy = top + max((h - 1 + ph) // sh + 1, oh), left + max((w - 1 + pw) // sw + 1, ow)
    if max(high * wide * c, high_dy * wide_dy * f, f * c * kh * kw) * itemsize > _REACH:
        return None

    forward, pictures = [], []
    for trim in (True, False):
        if trim or pad != (0, 0):
            spans = _spans(oh, _under(kh, sh, ph), h, ph, trim), _spans(ow, _under(kw, sw, pw), w, pw, trim)
            forward.append(_Layout(spans, [h, w, c, *((h, w, 0, 0) if trim else (high, wide, *pad))]))
        spans = _spans(h, _over(kh, sh, ph), oh, top, trim), _spans(w, _over(kw, sw, pw), ow, left, trim)
        pictures.append(_Layout(spans, [oh, ow, f, *((oh, ow, 0, 0) if trim else (high_dy, wide_dy, top, left))]))
    number = np.arange(f * c * kh * kw).reshape(f, c, kh, kw)
    order = number.transpose(2, 3, 1, 0).ravel()
    place = np.empty_like(order)
    place[order] = np.arange(order.size)
    of_filters = partial(_products_of_filters, size=(kh, kw))
    return Tables(
        (oh, ow),
        _table(_cheapest(forward, _products, f, itemsize), f, ow, kw, itemsize),
        _of_filters(_cheapest(forward, of_filters, f, itemsize), f, ow, (kh, kw), itemsize),
        _table(_cheapest(pictures, _products, c, itemsize), c, w, kw, itemsize),
        order,
        place,
        number.transpose(2, 3, 0, 1).ravel(),
    )


Seen = tuple[Pair, ...]
"""The pixels of the result over which an element of a filter lies on the picture, and where they begin to read."""


def _alike(spans: tuple[list[Span], list[Span]], size: Pair) -> dict[tuple[Seen, Seen], list[Pair]]:
    """Return the elements of a filter by the pixels, down and across, over which they lie on the picture.

    Elements that lie on it nowhere are there, too: their gradient is the sum over no pixels.
    """
    seen: list[list[tuple[int, Seen]]] = []
    for axis in range(2):
        pixels: list[list[Pair]] = [[] for _ in range(size[axis])]
        for span in spans[axis]:
            for i in span.elements:
                pixels[i].extend(zip(span.pixels, span.starts, strict=True))
        seen.append([(i, tuple(sorted(of))) for i, of in enumerate(pixels)])
    groups: dict[tuple[Seen, Seen], list[Pair]] = {}
    for i, down in seen[0]:
        for j, side in seen[1]:
            groups.setdefault((down, side), []).append((i, j))
    return groups


def _of_filters(layout: _Layout, f: int, ow: int, size: Pair, itemsize: int) -> Table:
    """Make the table of the filters' gradient: a group for the elements of a filter that see the same pixels.

    Its rows are the channels under an element, its columns the pixels of dy over which the element lies on the picture.
    """
    spans, sizes = layout
    wide, channels = sizes[4], sizes[2]
    channel = np.arange(channels)
    rows, columns, lines, places = [], [], [], []
    for (down, side), elements in _alike(spans, size).items():
        places_of = np.array([(i * size[1] + j) for i, j in elements]) * channels
        offsets = np.array([(i * wide + j) for i, j in elements]) * channels
        rows.append(np.add.outer(offsets, channel))
        places.append(np.add.outer(places_of, channel) * f)
        (u, a), (v, b) = (np.array(pairs, np.int64).reshape(-1, 2).T for pairs in (down, side))
        columns.append(np.add.outer(np.multiply(a, wide), b) * channels)
        lines.append(np.add.outer(np.multiply(u, ow), v) * f)
    return _joined(sizes, rows, columns, lines, places, itemsize)


class Windows(NamedTuple):
    """What the kernels of pooling are told of one shape: the lists of `nnx_kernels.cpu.pooling`."""

    output: Pair
    forward: tuple[Array, ...] | None
    """None where 32-bit offsets do not reach so far, and so for `backward`."""
    backward: tuple[Array, ...] | None


@lru_cache(64)
def windows(shape: tuple[int, ...], size: Pair, stride: Pair, pad: Pair) -> Windows:
    """Make the lists for pictures of a shape (h, w, c) and windows."""
    lengths, c = shape[:2], shape[2]
    oh, ow = ((lengths[k] + 2 * pad[k] - size[k]) // stride[k] + 1 for k in range(2))
    if max(shape[0] * shape[1], oh * ow) * c > _REACH:
        return Windows((oh, ow), None, None)
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
