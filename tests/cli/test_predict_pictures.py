"""`nnx predict` on pictures as people have them."""

import re

import numpy as np
import pytest
from command_line import nnx_command
from PIL import Image

from nnx.datasets import load

THREE = np.kron(np.asarray(load("digits").test.x[list(load("digits").test.t).index(3)]) * 15, np.ones((8, 8), np.uint8))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    flags = ("--epochs", 6, "--hidden", 60, "--backend", "numpy", "--out", folder)
    assert nnx_command("train", *flags, figures=False) == 0
    return folder


def save_all(folder):
    none, light = np.zeros_like(THREE), 255 - THREE
    sheet = np.full((400, 400), 255, np.uint8)
    sheet[20:84, 300:364] = light
    two = np.full((100, 200), 255, np.uint8)
    two[20:84, 20:84] = two[20:84, 110:174] = light
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels in {
        "plain": THREE,
        "transparent": np.dstack([none, none, none, THREE]),
        "sixteen": light.astype(np.uint16) * 257,
        "grey": (200 - THREE * (120 / 255)).astype(np.uint8),
        "corner": sheet,
        "empty": np.full((64, 64), 255, np.uint8),
        "two": two,
    }.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")


def named(out):
    return dict(re.findall(r"│ ([\w.]+) +│ (\S+) +│ [\d.]+ +│", out))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_three_is_a_three_in_every_file_and_what_shows_none_is_refused(run, here, capsys, backend):
    save_all(here / "scans")
    assert nnx_command("predict", run, "scans/*.png", "--backend", backend) == 1
    captured = capsys.readouterr()
    files = ["corner.png", "grey.png", "plain.png", "sixteen.png", "transparent.png"]
    assert named(captured.out) == dict.fromkeys(files, "3")
    assert "corner.png: 400 x 400 pixels; dark on light, inverted; cropped to its 64 x 4" in captured.out
    assert "transparent.png: 64 x 64 pixels; laid on white; dark on light, inverted; cropped to its" in captured.out
    empty, two = (line for line in captured.err.splitlines() if line.startswith("nnx: scans"))
    assert re.match(r"nnx: scans.empty.png: is an empty sheet: nothing on it stands out", empty)
    assert re.match(r"nnx: scans.two.png: shows several drawings, .* cut it into a picture for each", two)


def test_as_they_are(run, here, capsys):
    save_all(here)
    assert nnx_command("predict", run, "empty.png", "corner.png", "--as-is") == 0
    out = capsys.readouterr().out
    assert "corner.png: 400 x 400 pixels, scaled to 8 x 8\n" in out
    assert len(named(out)) == 2


def test_a_folder_and_the_picture_of_what_the_network_saw(run, here, figures, capsys):
    save_all(here / "scans")
    for name in ("empty", "two"):
        (here / f"scans/{name}.png").unlink()
    assert nnx_command("predict", run, "scans", "--show", "saw.png") == 0
    assert "what the network saw: saw.png" in capsys.readouterr().out
    with Image.open("saw.png") as image:
        assert min(image.size) > 100
        assert len(set(image.convert("L").tobytes())) > 20
    for file, message in (
        ("saw.txt", "--show: got saw.txt, expected a file .png, .pdf, .svg"),
        ("nowhere/saw.png", "there is no folder nowhere; make it"),
    ):
        assert nnx_command("predict", run, "scans", "--show", file) == 1
        assert message in capsys.readouterr().err


def test_the_table_fits_80_columns_and_keeps_labels_and_numbers_together(run, here, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    Image.fromarray(THREE).save("a_picture_with_a_name_that_is_longer_than_others.png")
    for flags in ((), ("--all",)):
        assert nnx_command("predict", run, "a_picture_with_a_name_that_is_longer_than_others.png", *flags) == 0
        table = capsys.readouterr().out.partition("┏")[2]
        assert max(map(len, table.splitlines())) <= 80
        assert len(re.findall(r"\d:\d\.\d{3}", table)) == (10 if flags else 2)


@pytest.mark.slow
def test_the_digits_own_test_part_is_told_apart_drawn_small_on_a_sheet(run, here, capsys):
    test = load("digits").test
    for i in range(60):
        ink = np.kron(test.x[i] * 15, np.ones((6, 6), np.uint8))
        sheet = np.full((200, 300), 180, np.uint8)
        sheet[i : i + 48, 3 * i : 3 * i + 48] -= ink // 2
        Image.fromarray(sheet).save(f"{i:02}.png")
    assert nnx_command("predict", run, "*.png") == 0
    classes = [int(label) for label in named(capsys.readouterr().out).values()]
    assert np.mean(np.equal(classes, test.t[:60])) > 0.8
