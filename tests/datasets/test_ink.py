"""Where the ink is: on even, grey, shaded and noisy paper; empty sheets and sheets of several drawings."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

import nnx
from nnx.datasets._ink import find_ink

SIZE = 240
RNG = np.random.default_rng(0)


def seven(top=60, left=80, height=100, width=12, size=SIZE):
    """A 7, 1 where its strokes are."""
    image = Image.new("L", (size, size))
    right, bottom = left + int(height * 0.6), top + height
    ImageDraw.Draw(image).line([(left, top), (right, top), (left + height // 4, bottom)], fill=255, width=width)
    return np.asarray(image, np.float64) / 255


def shade():
    """Light that falls from one side, with the edge of a shadow."""
    y, x = np.mgrid[0 : 1 : SIZE * 1j, 0 : 1 : SIZE * 1j]
    return 0.75 - 0.25 * x - 0.1 * y * y - 0.12 / (1 + np.exp(-(x + y - 1.3) * 30))


PAPERS = {
    "black on white": lambda ink: 1 - ink,
    "white on black": lambda ink: ink,
    "grey on grey": lambda ink: 0.6 - 0.25 * ink,
    "pencil": lambda ink: 0.9 - 0.15 * ink,
    "chalk on a board": lambda ink: 0.2 + 0.6 * ink,
    "shaded": lambda ink: shade() * (1 - 0.7 * ink),
    "noisy": lambda ink: 0.6 - 0.4 * ink + RNG.normal(0, 0.03, ink.shape),
    "a photograph": lambda ink: shade() * (1 - 0.6 * ink) + RNG.normal(0, 0.015, ink.shape),
    "squared paper": lambda ink: np.minimum(1 - ink, 1 - 0.2 * (np.mgrid[:SIZE, :SIZE] % 40 == 20).max(axis=0)),
    "dust": lambda ink: np.minimum(1 - ink, np.where(np.mgrid[:SIZE, :SIZE].sum(axis=0) == 30, 0.2, 1)),
}


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("place", [(60, 80, 100, 12), (8, 170, 40, 5), (30, 40, 180, 30)])
def test_the_drawing_is_found(paper, place):
    strokes = seven(*place)
    ink = find_ink(PAPERS[paper](strokes))
    rows, columns = np.nonzero(strokes > 0.5)
    expected = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
    height, width = ink.amount.shape
    found = ink.top, ink.left, ink.top + height, ink.left + width
    assert np.abs(np.subtract(found, expected)).max() <= 2
    assert ink.light == (paper not in ("white on black", "chalk on a board"))
    there = strokes[ink.top : found[2], ink.left : found[3]]
    assert np.abs(ink.amount - there).mean() < 0.06


@pytest.mark.parametrize(
    "sheet",
    [
        np.ones((64, 64)),
        np.zeros((28, 28)),
        np.full((300, 200), 0.55),
        0.6 + RNG.normal(0, 0.03, (SIZE, SIZE)),
        np.linspace(0.4, 0.8, SIZE) + RNG.normal(0, 0.01, (SIZE, SIZE)),
        np.ones((1, 1)),
    ],
)
def test_an_empty_sheet_is_refused(sheet):
    with pytest.raises(nnx.InputError, match="is an empty sheet: nothing on it stands out"):
        find_ink(sheet)


def test_the_hard_edge_of_a_shadow_is_no_drawing():
    with pytest.raises(nnx.InputError, match="is an empty sheet|shows several drawings|shows no drawing"):
        find_ink(shade() + np.random.default_rng(0).normal(0, 0.01, (SIZE, SIZE)))


@pytest.mark.parametrize(
    "places",
    [
        [(60, 30, 80, 10), (60, 110, 80, 10)],
        [(60, 30, 80, 10), (70, 92, 80, 10)],
        [(10, 90, 80, 10), (130, 90, 80, 10)],
        [(10, 10, 50, 6), (10, 150, 50, 6), (150, 10, 50, 6)],
    ],
)
def test_several_drawings_are_refused(places):
    sheet = 1 - np.maximum.reduce([seven(*place) for place in places])
    with pytest.raises(nnx.InputError, match="shows several drawings, side by side or one below the other"):
        find_ink(sheet)


def test_a_drawing_of_several_strokes_is_one():
    """A 5 whose upper stroke is apart, and a 4 whose strokes do not touch."""
    for lines in (
        [(90, 50, 150, 50), (85, 60, 85, 110), (90, 115, 150, 150)],
        [(80, 60, 70, 110, 150, 110), (140, 60, 120, 105), (118, 116, 110, 170)],
    ):
        image = Image.new("L", (SIZE, SIZE), 255)
        for line in lines:
            ImageDraw.Draw(image).line(line, width=8)
        sheet = np.asarray(image, np.float64) / 255
        height, width = find_ink(sheet).amount.shape
        rows, columns = np.nonzero(sheet < 0.5)
        assert (height, width) == (np.ptp(rows) + 1, np.ptp(columns) + 1)


def test_digits_as_they_are_stored_are_ink_and_nothing_else():
    for picture in nnx.datasets.digits().x[:50] / 16:
        ink = find_ink(picture)
        assert not ink.light
        there = picture[ink.top : ink.top + ink.amount.shape[0], ink.left : ink.left + ink.amount.shape[1]]
        np.testing.assert_allclose(np.minimum(there / there.max(), 1), ink.amount, atol=0.15)
