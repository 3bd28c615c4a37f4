"""What the pictures of a data set look like, and files that are made like them."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

import nnx
from nnx.datasets import Dataset, PictureStyle, digits, picture_files

pytestmark = pytest.mark.slow

DIGITS = digits()
RNG = np.random.default_rng(0)


def made(x, scale=1.0):
    return Dataset("made", x, np.arange(len(x)) % 2, scale, ("0", "1"))


def like_mnist(count=120):
    """Digits of 20 pixels in frames of 28, centred by mass."""
    x = np.zeros((count, 28, 28), np.uint8)
    for frame, digit in zip(x, DIGITS.x, strict=False):
        large = np.asarray(Image.fromarray(digit * 15).resize((20, 20)))
        mass = large.sum()
        row = round(14.5 - large.sum(axis=1) @ (np.arange(20) + 0.5) / mass)
        column = round(14.5 - large.sum(axis=0) @ (np.arange(20) + 0.5) / mass)
        frame[row : row + 20, column : column + 20] = large
    return made(x, 1 / 255)


def test_the_digits_fill_their_height():
    style = PictureStyle.of(DIGITS)
    assert (style.shape, style.low, style.high, style.dark) == ((8, 8), 0, 1, True)
    assert (style.drawing.pixels, style.drawing.by_row, style.drawing.row) == (8, "middle", 4)
    assert style.drawing.by_column == "mass"


def test_digits_of_one_size_centred_by_mass_are_measured_so():
    style = PictureStyle.of(like_mnist())
    assert (style.drawing.pixels, style.drawing.by_row, style.drawing.by_column) == (20, "mass", "mass")
    assert style.drawing.row == pytest.approx(14.5, abs=0.2)
    assert style.drawing.column == pytest.approx(14.5, abs=0.2)


def test_what_is_no_drawings_of_one_size_is_not_cropped():
    noise = RNG.integers(0, 256, (50, 12, 12), np.uint8)
    photographs = np.clip(noise // 2 + np.linspace(0, 100, 12).astype(np.uint8), 0, 255)
    sizes = np.zeros((50, 28, 28), np.uint8)
    for i, frame in enumerate(sizes):
        frame[4 : 8 + i % 15, 5:10] = 255
    blobs = np.zeros((50, 28, 28), np.uint8)
    blobs[:, 2:26, 2:26] = RNG.integers(60, 256, (50, 24, 24))
    for x in (noise, photographs, sizes, blobs, np.concatenate([like_mnist().x, np.zeros((1, 28, 28), np.uint8)])):
        assert PictureStyle.of(made(x, 1 / 255)).drawing is None
    assert PictureStyle.of(made(RNG.integers(0, 256, (20, 8, 8, 3), np.uint8), 1 / 255)).drawing is None
    assert PictureStyle.of(made(DIGITS.x.reshape(-1, 64) / 16)) is None


def test_ink_on_white_and_other_ranges_are_measured(tmp_path):
    data = like_mnist()
    Image.fromarray(255 - data.x[0]).save(tmp_path / "a.png")
    light = made(255 - data.x, 1 / 255)
    style = PictureStyle.of(light)
    assert not style.dark
    assert style.drawing.pixels == 20
    picture, note = style.read(tmp_path / "a.png")
    np.testing.assert_allclose(picture, light.inputs()[0], atol=1e-6)
    assert note == ""
    standard = made((data.x - 33.0) / 79)
    style = PictureStyle.of(standard)
    assert (style.low, style.high) == pytest.approx((standard.x.min(), standard.x.max()))
    picture, note = style.read(tmp_path / "a.png")
    np.testing.assert_allclose(picture, standard.x[0], atol=0.1)
    assert note == "dark on light, inverted"


def test_it_goes_through_json():
    for data in (DIGITS, DIGITS.pictures(), made(RNG.integers(0, 256, (20, 8, 8, 3), np.uint8), 1 / 255)):
        style = PictureStyle.of(data)
        assert PictureStyle.from_json(json.loads(json.dumps(asdict(style)))) == style
    with pytest.raises(ValueError, match="expected the shape of a picture, got"):
        PictureStyle.from_json({**asdict(style), "shape": [64]})


def variants(ink):
    """Files of one drawing, of 0 to 255, as people have them: each a function that saves it."""
    none, light = np.zeros_like(ink), 255 - ink
    large = Image.fromarray(light).resize((ink.shape[1] * 5, ink.shape[0] * 5), Image.Resampling.BICUBIC)
    sheet = np.full((300, 400), 255, np.uint8)
    sheet[15 : 15 + ink.shape[0], 350 : 350 + ink.shape[1]] = light
    y, x = np.mgrid[0:1:300j, 0:1:400j]
    paper = (0.75 - 0.2 * x - 0.1 * y**2) * (1 - 0.7 * (1 - sheet / 255)) + RNG.normal(0, 0.01, sheet.shape)
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "plain.png": lambda path: Image.fromarray(ink).save(path),
        "inverted.png": lambda path: Image.fromarray(light).save(path),
        "large.png": large.save,
        "one_bit.png": lambda path: large.resize((300, 300)).convert("1").save(path),
        "transparent.png": lambda path: Image.fromarray(np.dstack([none, none, none, ink])).save(path),
        "light_transparent.png": lambda path: Image.fromarray(np.dstack([~none, ~none, ~none, ink])).save(path),
        "sixteen.png": lambda path: Image.fromarray(light.astype(np.uint16) * 257).save(path),
        "palette.gif": lambda path: large.convert("P").save(path),
        "cmyk.jpg": lambda path: large.convert("CMYK").save(path, quality=95),
        "turned.jpg": lambda path: large.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=95),
        "grey_paper.png": lambda path: Image.fromarray((170 - ink * (90 / 255)).astype(np.uint8)).save(path),
        "blue_ink.png": lambda path: Image.fromarray(np.dstack([light, light, ~none])).save(path),
        "corner.png": lambda path: Image.fromarray(sheet).save(path),
        "photograph.png": lambda path: Image.fromarray((paper * 255).astype(np.uint8)).save(path),
    }


@pytest.mark.parametrize("name", variants(DIGITS.x[3]))
def test_every_kind_of_file_becomes_the_drawing_of_the_training(tmp_path, name):
    data = like_mnist()
    style = PictureStyle.of(data)
    for row in (3, 5):
        variants(data.x[row])[name](tmp_path / name)
        picture, note = style.read(tmp_path / name)
        expected = data.inputs()[row]
        assert (picture.dtype, picture.shape) == (np.float32, (28, 28))
        shifts = [np.roll(picture, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        apart = [np.abs(shifted - expected).sum() / expected.sum() for shifted in shifts]
        exact = name in ("plain.png", "inverted.png", "sixteen.png")
        assert (apart[4] < 0.001) if exact else (min(apart) < (0.4 if name == "one_bit.png" else 0.3)), note
        assert ("inverted" in note) == (name not in ("plain.png", "light_transparent.png"))


def test_notes_tell_what_was_done(tmp_path):
    style = PictureStyle.of(like_mnist())
    files = variants(like_mnist().x[3])
    for name, note in (
        ("plain.png", ""),
        ("inverted.png", "dark on light, inverted"),
        ("light_transparent.png", "laid on black"),
        (
            "corner.png",
            "300 x 400 pixels; dark on light, inverted; cropped to its 20 x 15 of ink, scaled to 20 x 15 and",
        ),
    ):
        files[name](tmp_path / name)
        assert style.read(tmp_path / name)[1].startswith(note), name
    assert style.read(tmp_path / "corner.png", as_is=True)[1] == "300 x 400 pixels, scaled to 28 x 28"
    as_is = style.read(tmp_path / "inverted.png", as_is=True)
    np.testing.assert_allclose(as_is[0], 1 - like_mnist().inputs()[3], atol=1e-6)
    assert as_is[1] == ""


def test_large_photographs_are_reduced_first(tmp_path):
    data = like_mnist()
    sheet = Image.new("L", (3000, 2000), 200)
    sheet.paste(Image.fromarray(200 - data.x[3] // 2).resize((560, 560)), (2200, 300))
    sheet.save(tmp_path / "a.png")
    picture, note = PictureStyle.of(data).read(tmp_path / "a.png")
    assert np.abs(picture - data.inputs()[3]).sum() / data.inputs()[3].sum() < 0.3
    assert note.startswith("2000 x 3000 pixels; dark on light, inverted; cropped to its ")


def test_coloured_pictures_are_resized_and_nothing_else(tmp_path):
    style = PictureStyle.of(made(RNG.integers(0, 256, (20, 3, 9, 9), np.uint8), 1 / 255))
    Image.new("RGB", (18, 18), "#ff8000").save(tmp_path / "a.png")
    picture, note = style.read(tmp_path / "a.png")
    assert picture.shape == (3, 9, 9)
    np.testing.assert_allclose(picture[:, 0, 0], [1, 128 / 255, 0], atol=1e-6)
    assert note == "18 x 18 pixels, scaled to 9 x 9"


def test_refusals_name_the_file(tmp_path):
    style = PictureStyle.of(DIGITS)
    Image.new("L", (64, 64), 255).save(tmp_path / "empty.png")
    Image.new("RGBA", (64, 64)).save(tmp_path / "clear.png")
    Image.fromarray(np.hstack([255 - np.kron(DIGITS.x[3], np.full((9, 9), 15, np.uint8))] * 2)).save(
        tmp_path / "two.png"
    )
    for name, message in (
        ("empty", "is an empty sheet"),
        ("clear", "is an empty sheet"),
        ("two", "shows several drawings"),
    ):
        with pytest.raises(nnx.InputError, match=rf"{name}.png: {message}.*--as-is, or as_is=True, takes it as it is"):
            style.read(tmp_path / f"{name}.png")
        assert style.read(tmp_path / f"{name}.png", as_is=True)[0].shape == (8, 8)


def test_files_folders_and_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans/more").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    for name in ("scans/b.png", "scans/a.PNG", "scans/more/c.jpg", "one.png", "scans/notes.txt"):
        (tmp_path / name).write_bytes(b"")
    assert [str(file) for file in picture_files("scans")] == ["scans/a.PNG", "scans/b.png", "scans/more/c.jpg"]
    assert [str(file) for file in picture_files(["one.png", "scans/*.png"])] == ["one.png", "scans/b.png"]
    assert len(picture_files(["**/*.jpg", tmp_path / "one.png"])) == 2
    for path, message in (("two.png", "two.png: there is no such file"), ("empty", "empty: holds no image files")):
        with pytest.raises(nnx.DatasetError, match=message):
            picture_files(path)
