"""Pictures from image files, and folders of them as data sets."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

import nnx
from nnx import datasets
from nnx.datasets import Layout, image_folder, light_background, load, read_image, reads_images, write_idx

RAMP = np.arange(6 * 8, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)


def save(path, pixels, **keywords):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **keywords)
    return path


def fill(folder, count=6, pixels=RAMP, classes=("cat", "dog")):
    """Image files of two classes, each with a number in its first pixel that tells which file it is."""
    for label, name in enumerate(classes):
        for i in range(count):
            numbered = pixels.copy()
            numbered[0, 0] = 100 * label + i
            save(folder / name / f"{i}.png", numbered)
    return folder


# One file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "PNG", "bmp", "gif", "tif", "tiff", "webp"])
def test_every_format_without_loss(tmp_path, ending):
    exact = {"lossless": True} if ending == "webp" else {}
    for pixels, channels in ((RAMP, 1), (np.repeat(RAMP[..., None], 3, 2), 3)):
        got, size = read_image(save(tmp_path / f"a.{ending}", pixels, **exact), channels)
        assert (got.dtype, got.shape, size) == (np.uint8, pixels.shape, (6, 8))
        np.testing.assert_array_equal(got, pixels)


@pytest.mark.parametrize("ending", ["jpg", "Jpeg"])
def test_jpeg(tmp_path, ending):
    got, _ = read_image(save(tmp_path / f"a.{ending}", RAMP, quality=100), 1)
    np.testing.assert_allclose(got.astype(int), RAMP, atol=2)


def test_grey_of_colour_and_colour_of_grey(tmp_path):
    file = save(tmp_path / "a.png", COLOUR)
    expected = COLOUR @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(read_image(file, 1)[0], expected, atol=1)
    np.testing.assert_array_equal(read_image(save(tmp_path / "b.png", RAMP), 3)[0], np.repeat(RAMP[..., None], 3, 2))


@pytest.mark.parametrize(("ending", "order"), [("png", "<"), ("tif", "<"), ("tif", ">")])
def test_sixteen_bits_are_scaled(tmp_path, ending, order):
    values = np.array([[0, 128, 129, 257, 40000, 65535]], f"{order}u2")
    image = Image.frombytes("I;16" if order == "<" else "I;16B", (6, 1), values.tobytes())
    got, _ = read_image(save(tmp_path / f"a.{ending}", image), 1)
    assert got.tolist() == [[0, 0, 1, 1, round(40000 / 257), 255]]


def test_sixteen_bits_with_a_transparent_value(tmp_path):
    image = Image.fromarray(np.array([[0, 500, 65535]], np.uint16))
    file = save(tmp_path / "a.png", image, transparency=500)
    assert read_image(file, 1)[0].tolist() == [[0, 255, 255]]


def test_bits(tmp_path):
    image = Image.fromarray(RAMP > 100)
    assert image.mode == "1"
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", image), 1)[0], (RAMP > 100) * np.uint8(255))


def test_transparency_lies_on_white(tmp_path):
    black = np.zeros((1, 3, 4), np.uint8)
    black[0, :, 3] = 0, 51, 255
    file = save(tmp_path / "rgba.png", black)
    assert read_image(file, 1)[0].tolist() == [[255, 204, 0]]
    assert read_image(file, 3)[0][0].tolist() == [[255] * 3, [204] * 3, [0] * 3]
    file = save(tmp_path / "la.png", Image.fromarray(black).convert("LA"))
    assert read_image(file, 1)[0].tolist() == [[255, 204, 0]]
    file = save(tmp_path / "l.png", np.array([[0, 7]], np.uint8), transparency=7)
    assert read_image(file, 1)[0].tolist() == [[0, 255]]


def palette(colours, indices):
    image = Image.frombytes("P", (len(indices), 1), bytes(indices))
    image.putpalette([part for colour in colours for part in colour])
    return image


def test_palettes(tmp_path):
    image = palette([(255, 0, 0), (0, 0, 255), (9, 9, 9)], [1, 0, 2])
    file = save(tmp_path / "a.png", image)
    assert read_image(file, 3)[0].tolist() == [[[0, 0, 255], [255, 0, 0], [9, 9, 9]]]
    file = save(tmp_path / "a.gif", image, transparency=0)
    assert read_image(file, 3)[0].tolist() == [[[0, 0, 255], [255, 255, 255], [9, 9, 9]]]


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(tmp_path, ending, orientation):
    upright = np.zeros((16, 24), np.uint8)
    upright[:8, :8], upright[:8, 16:] = 255, 128
    turned = {  # what a camera stores that is turned so
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    for i in range(4):
        for name in ("a", "b"):
            save(tmp_path / name / f"{i}.{ending}", np.ascontiguousarray(turned), exif=exif)
    got, size = read_image(tmp_path / "a" / f"0.{ending}", 1)
    assert size == (16, 24)
    np.testing.assert_allclose(got.astype(int), upright, atol=12)
    assert image_folder(tmp_path)["train"].note == ""  # of one size, its own


def test_resizing_is_pillows_with_a_filter_that_leaves_no_steps(tmp_path):
    file = save(tmp_path / "a.png", COLOUR)
    got, size = read_image(file, 3, (3, 4))
    assert size == (6, 8)
    expected = Image.fromarray(COLOUR).resize((4, 3), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(got, np.asarray(expected))
    board = np.indices((64, 64)).sum(axis=0) % 2 * np.uint8(255)
    fine = read_image(save(tmp_path / "b.png", board.astype(np.uint8)), 1, (8, 8))[0]
    np.testing.assert_allclose(fine[1:-1, 1:-1].astype(int), 128, atol=2)


def in_bytes(image, kind):
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.png", b"", "a.png: is no picture that Pillow can read .its format is unknown"),
        ("a.jpg", b"hello", "a.jpg: is no picture that Pillow can read"),
        ("a.png", in_bytes(Image.fromarray(COLOUR), "PNG")[:-60], "a.png: is no picture that Pillow can read"),
        ("a.tif", in_bytes(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "its pixels are floating-point numbers"),
        ("a.tif", in_bytes(Image.fromarray(RAMP.astype(np.int32)), "TIFF"), "its pixels have 32 bits, expected 8 or"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, data, message):
    fill(tmp_path)
    (tmp_path / "dog" / name).write_bytes(data)
    for read in (lambda: read_image(tmp_path / "dog" / name, 1), lambda: image_folder(tmp_path)):
        with pytest.raises(nnx.DatasetError, match=f"(?s){message}.*; use another copy"):
            read()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(nnx.DatasetError, match="a.png: is no picture .*No such file"):
        read_image(tmp_path / "a.png", 1)


def test_a_picture_too_large_to_be_true(tmp_path, monkeypatch):
    file = save(tmp_path / "a.png", RAMP)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(nnx.DatasetError, match="a.png: is no picture that Pillow can read .*decompression bomb"):
        read_image(file, 1)


def test_without_pillow(tmp_path, monkeypatch):
    fill(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(nnx.InputError, match=r"0.png: reading pictures needs Pillow; pip install 'nnx-array\[plot\]'"):
        load(tmp_path)


# Folders --------------------------------------------------------------------------------------------------------------


def test_a_folder_for_each_class(tmp_path):
    folder = fill(tmp_path / "pets", classes=("dog", "cat"))
    data = datasets.folder(folder)
    assert repr(data) == "{'train': <Dataset pets: 12 x (6, 8) uint8, 2 classes>}"
    train = data["train"]
    assert (train.classes, train.scale, train.note) == (("cat", "dog"), 1 / 255, "")
    assert train.t.tolist() == [0] * 6 + [1] * 6
    assert train.x[:, 0, 0].tolist() == [100, 101, 102, 103, 104, 105, 0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(train.x[:, 1:], np.broadcast_to(RAMP[1:], (12, 5, 8)))
    splits = load(folder, seed=3)
    assert [len(part) for part in splits] == [9, 1, 2]
    np.testing.assert_array_equal(splits.test.x, load(str(folder), seed=3).test.x)
    assert splits.pictures().train.x.shape == (9, 1, 6, 8)
    assert reads_images(folder)
    assert not reads_images("digits")
    assert not reads_images(tmp_path / "none")


def test_one_coloured_file_makes_all_coloured(tmp_path):
    fill(tmp_path)
    save(tmp_path / "dog" / "9.png", COLOUR)
    train = image_folder(tmp_path)["train"]
    assert train.x.shape == (13, 6, 8, 3)
    np.testing.assert_array_equal(train.x[-1], COLOUR)
    np.testing.assert_array_equal(train.x[0], np.repeat(train.x[0, ..., :1], 3, axis=2))
    assert train.pictures().x.shape == (13, 3, 6, 8)


def test_grey_files_of_every_kind(tmp_path):
    fill(tmp_path, 1)
    save(tmp_path / "cat/bits.png", Image.fromarray(RAMP > 100))
    save(tmp_path / "cat/clear.png", Image.fromarray(RAMP).convert("LA"))
    save(tmp_path / "cat/deep.png", RAMP.astype(np.uint16) * 257)
    indexed = Image.fromarray(RAMP).convert("P")
    indexed.putpalette([part for i in range(256) for part in ((i, i, i) if i in RAMP else (255, 0, 0))])
    save(tmp_path / "cat/indexed.png", indexed)
    x = image_folder(tmp_path)["train"].x
    assert x.shape == (6, 6, 8)
    for i in (2, 3, 4):
        np.testing.assert_array_equal(x[i], RAMP)
    save(tmp_path / "cat/red.png", palette([(255, 0, 0)], [0] * 8).resize((8, 6)))
    assert image_folder(tmp_path)["train"].x.shape == (7, 6, 8, 3)


@pytest.mark.parametrize(
    ("sizes", "size", "expected", "note"),
    [
        ([(90, 70)], None, (90, 70), ""),
        ([(90, 70)], (9, 7), (9, 7), "resized to 9 x 7 from 90 x 70"),
        ([(6, 8)], (6, 8), (6, 8), ""),
        ([(20, 30), (22, 40), (30, 31)], None, (22, 31), "resized to 22 x 31 from 20 x 30 .. 30 x 31"),
        ([(100, 200), (300, 200), (200, 300)], None, (64, 64), "resized to 64 x 64 from 100 x 200 .. 300 x 200"),
        ([(100, 400), (100, 410)], None, (16, 64), "resized to 16 x 64 from 100 x 400 .. 100 x 410"),
        ([(6, 8), (8, 6)], (5, 9), (5, 9), "resized to 5 x 9 from 6 x 8 .. 8 x 6"),
    ],
)
def test_sizes(tmp_path, sizes, size, expected, note):
    for name in ("a", "b"):
        for i, own in enumerate(sizes):
            for copy in range(5):
                save(tmp_path / name / f"{i}{copy}.png", np.full(own, 100 + i, np.uint8))
    data = image_folder(tmp_path, size)["train"]
    assert data.x.shape[1:] == expected
    assert data.note == note
    assert data.x.min() == 100
    splits = load(tmp_path, size=size).pictures()
    assert [part.note for part in splits] == [note] * 3
    assert repr(splits.train).endswith(f"2 classes{'; ' if note else ''}{note}>")


def test_train_and_test(tmp_path):
    folder = fill(tmp_path / "train", 10).parent
    fill(tmp_path / "test", 3, COLOUR[:3], classes=("dog",))
    parts = image_folder(folder, (6, 8))
    assert {part: len(data) for part, data in parts.items()} == {"train": 20, "test": 3}
    assert parts["test"].t.tolist() == [1, 1, 1]
    assert parts["test"].classes == ("cat", "dog")
    assert parts["train"].x.shape[1:] == parts["test"].x.shape[1:] == (6, 8, 3)
    assert parts["train"].note == parts["test"].note == "resized to 6 x 8 from 3 x 8 .. 6 x 8"
    splits = load(folder)
    assert [len(part) for part in splits] == [18, 2, 3]
    fill(tmp_path / "test", 3, classes=("bird",))
    with pytest.raises(nnx.DatasetError, match=r"test.bird: is of a class that .*train has not; add it there"):
        load(folder)


def test_one_part_alone_is_split(tmp_path):
    for part in ("train", "test"):
        fill(tmp_path / part / part, 5)
        assert [len(rows) for rows in load(tmp_path / part)] == [7, 1, 2]


def test_classes_may_be_called_train_and_test(tmp_path):
    fill(tmp_path, classes=("test", "train"))
    assert load(tmp_path).train.classes == ("test", "train")


def test_what_is_hidden_or_empty_is_left_alone_and_what_lies_beside_the_classes_is_named(tmp_path):
    fill(tmp_path)
    (tmp_path / "cat/.DS_Store").write_bytes(b"")
    (tmp_path / "__MACOSX/cat").mkdir(parents=True)
    (tmp_path / "__MACOSX/cat/._0.png").write_bytes(b"")
    (tmp_path / "cat/empty/deep").mkdir(parents=True)
    (tmp_path / "README.txt").write_text("pets")
    save(tmp_path / ".cache/0.png", COLOUR)
    assert repr(image_folder(tmp_path)["train"]).endswith("12 x (6, 8) uint8, 2 classes; not used: README.txt>")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            "cat/notes.txt",
            r"cat.notes.txt: is no image file; expected files .png, .jpg, .*, .tiff alone; put it elsewh",
        ),
        ("bird/notes.txt", "bird.notes.txt: is no image file"),
        ("cat/old/0.png", "old: is a folder in the folder of a class; expected files .png"),
        ("cat/x.png/0", "x.png: is a folder in the folder of a class"),
        ("loose.JPG", r"loose.JPG: lies in no class's folder; expected .*CLASS.loose.JPG"),
        ("train/cat/0.png", r"has cat, dog beside train; expected train and test alone, each with a folder for each"),
    ],
)
def test_folders_that_are_refused(tmp_path, file, message):
    fill(tmp_path)
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_bytes(b"x")
    with pytest.raises(nnx.DatasetError, match=message):
        load(tmp_path)


def test_test_files_without_classes(tmp_path):
    fill(tmp_path / "train")
    save(tmp_path / "test/0.png", RAMP)
    with pytest.raises(nnx.DatasetError, match="has test beside train; expected train and test alone, each with"):
        load(tmp_path)
    fill(tmp_path / "test", 1)
    with pytest.raises(nnx.DatasetError, match=r"test.0.png: lies in no class's folder; expected .*test/CLASS/0.png"):
        load(tmp_path)


def test_one_class_and_too_few_files(tmp_path):
    fill(tmp_path, 2, classes=("cat",))
    with pytest.raises(nnx.DatasetError, match="has image files of one class, 'cat'; expected at least two folders"):
        load(tmp_path)
    fill(tmp_path, 2)
    with pytest.raises(nnx.DatasetError, match="holds 4 rows, too few to be split"):
        load(tmp_path)


def test_a_folder_of_neither_kind_says_what_both_look_like(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.py").write_text("")
    expected = (
        r"holds no data set; expected .*idx files named train-images-idx3-ubyte\[.gz\].*, or a folder of image files "
        r"\(.png, .*\) for each class: .*/CLASS/FILE, or .*/train/CLASS/FILE and .*/test/CLASS/FILE"
    )
    with pytest.raises(nnx.DatasetError, match=expected):
        load(tmp_path)


def test_idx_files_go_before_image_files(tmp_path):
    fill(tmp_path)
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((20, 5, 4), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.arange(20, dtype=np.uint8) % 2)
    assert load(tmp_path).train.x.shape[1:] == (5, 4)
    assert not reads_images(tmp_path)
    with pytest.raises(nnx.InputError, match=r"size: got \(8, 8\), but .* has no image files, which alone are resized"):
        load(tmp_path, size=(8, 8))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (32, r"size: got 32, expected \(height, width\) in pixels, such as"),
        ((1, 2, 3), "size: got"),
        ((0, 8), "size: height: got 0, expected a whole number of at least 1"),
        ((8, 2.5), "size: width: got 2.5, expected a whole number"),
    ],
)
def test_sizes_that_are_none(tmp_path, size, message):
    fill(tmp_path)
    with pytest.raises(nnx.NnxError, match=message):
        load(tmp_path, size=size)


def test_sizes_that_do_not_fit(tmp_path):
    with pytest.raises(nnx.InputError, match=r"size: got \(8, 8\), but digits has no image files"):
        load("digits", size=(8, 8))
    fill(tmp_path, pixels=COLOUR)
    with pytest.raises(nnx.DatasetError, match="got a height of 4 pixels, expected at least 5 of coloured pictures"):
        load(tmp_path, size=(4, 8))


def test_many_files_show_a_bar_in_a_terminal(tmp_path, monkeypatch, capsys):
    fill(tmp_path, 6)
    monkeypatch.setattr("nnx.datasets._images._MANY", 11)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    load(tmp_path)
    out = capsys.readouterr().out
    assert "looking at image files" in out
    assert "12/12" in out
    monkeypatch.setattr("nnx.datasets._images._MANY", 12)
    load(tmp_path)
    assert capsys.readouterr().out == ""


# Layouts --------------------------------------------------------------------------------------------------------------


def test_layouts_of_inputs():
    assert Layout.of((6, 8)) == Layout(6, 8, 1, last=True)
    assert Layout.of((1, 6, 8)) == Layout(6, 8, 1, last=False)
    assert Layout.of((3, 6, 8)) == Layout(6, 8, 3, last=False)
    assert Layout.of((6, 8, 3)) == Layout(6, 8, 3, last=True)
    for shape in ((64,), (4, 6, 8), (1, 2, 3, 4)):
        assert Layout.of(shape) is None


def test_light_backgrounds():
    pictures = np.zeros((3, 5, 5), np.uint8)
    pictures[1, 1:-1, 1:-1] = 16
    pictures[2] = 9
    assert light_background(pictures, 1 / 16).tolist() == [False, False, True]
