"""`nnx train --dataset` with a folder of image files, and what is done with such runs."""

import json
import re

import numpy as np
import pytest
from command_line import nnx_command
from PIL import Image

import nnx
from nnx.datasets import load, read_image

CLASSES = ("[red] $cat", "dog")
SIMPLE = ["train", "--model", "simple_conv", "--hidden", "10", "--lr", "0.01", "--backend", "numpy"]


def fill(folder, *, colour, light=False, count=10):
    """Image files of two sizes: a bar at the left, or at the top, in red or blue where they are coloured."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 60, (12, 10 + i % 2, 3), np.uint8)
            bar = pixels[3:6, 2:-2] if label else pixels[2:-2, 3:6]
            bar[..., 2 * label if colour else slice(None)] = 230
            image = Image.fromarray(255 - pixels if light else pixels)
            (image if colour else image.convert("L")).save(folder / name / f"{i}.png")
    return folder


def named(capsys):
    """The classes that `nnx predict` printed, and the lines above its table."""
    out = capsys.readouterr().out
    return [name.strip() for name in re.findall(r"│ [\w.\[\]]+ +│ (.*?) +│", out)], out.partition("┏")[0].splitlines()


@pytest.mark.parametrize(
    ("model", "colour", "shape"),
    [
        ("simple_conv", True, "3 x 12 x 11"),
        ("simple_conv", False, "1 x 12 x 11"),
        ("mlp", True, "12 x 11 x 3"),
        ("mlp", False, "12 x 11"),
    ],
)
def test_from_training_to_prediction(here, capsys, model, colour, shape):
    fill(here / "pets", colour=colour)
    for name in ("last", "more"):  # the median width is 11
        Image.new("RGB" if colour else "L", (11, 12)).save(here / f"pets/dog/{name}.png")
    flags = ["--dataset", "pets", "--model", model, "--epochs", 3, "--out", "run"]
    assert nnx_command(*SIMPLE, *flags) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        f"pets: 16 rows to train on, 2 to validate, 4 to test; {shape} inputs, 2 classes; "
        "resized to 12 x 11 from 12 x 10 .. 12 x 11"
    )
    content = json.loads((here / "run/config.json").read_text())
    assert content["train"]["image_size"] == "12x11"
    sides = [int(side) for side in shape.split(" x ")]
    pictures = {"shape": sides, "low": 0, "high": 1, "dark": not colour, "drawing": None}
    assert content["data"] == {"scale": 1 / 255, "classes": list(CLASSES), "pictures": pictures, "table": None}

    files = [here / "pets" / name / f"{i}.png" for name in CLASSES for i in (0, 1)]
    model = nnx.Trainer.load(here / "run/checkpoint.safetensors", backend="numpy").model
    x = np.stack([read_image(file, 3 if colour else 1, (12, 11))[0] for file in files])
    x = nnx.datasets.as_pictures("x", x) if x.shape[1:] != model.input_shape else x
    expected = model.predict(x / 255).argmax(axis=1)
    assert nnx_command("predict", "run", *files) == 0
    classes, lines = named(capsys)
    assert classes == [CLASSES[label] for label in expected]
    assert lines == [f"{files[i]}: 12 x 10 pixels, scaled to 12 x 11" for i in (0, 2)]


def test_a_resumed_run_keeps_the_size_where_files_were_added(here, capsys):
    fill(here / "pets", colour=False)
    flags = ("--dataset", "pets", "--image-size", "8x9", "--epochs")
    assert nnx_command(*SIMPLE, *flags, 4, "--out", "whole") == 0
    assert nnx_command(*SIMPLE, *flags, 2, "--out", "run") == 0
    assert "1 x 8 x 9 inputs, 2 classes; resized to 8 x 9 from 12 x 10 .. 12 x 11" in capsys.readouterr().out
    assert nnx_command("train", "--resume", "--epochs", 4, "--backend", "numpy", "--out", "run") == 0
    assert (here / "run/history.csv").read_text() == (here / "whole/history.csv").read_text()
    assert nnx_command("train", "--resume", "--image-size", "9", "--out", "run") == 1
    assert "--image-size: got '9', but the run in run has '8x9'" in capsys.readouterr().err

    assert nnx_command(*SIMPLE, "--dataset", "pets", "--epochs", 1, "--out", "median") == 0
    for i in range(30):
        Image.new("L", (40, 40)).save(here / f"pets/dog/large{i}.png")
    capsys.readouterr()
    again = ("train", "--resume", "--epochs", 2, "--backend", "numpy", "--batch-size", 32, "--out", "median")
    nnx_command(*again)
    assert "1 x 12 x 10 inputs, 2 classes; resized to 12 x 10 from 12 x 10 .. 40 x 40" in capsys.readouterr().out


def test_light_pictures_are_inverted_where_the_training_had_dark_ones(here, capsys):
    for kind in ("light", "dark"):
        fill(here / kind, colour=False, light=kind == "light")
        assert nnx_command(*SIMPLE, "--dataset", kind, "--epochs", 1, "--out", f"{kind}-run") == 0
        capsys.readouterr()
        assert nnx_command("predict", f"{kind}-run", here / "light" / "dog" / "1.png") == 0
        out = capsys.readouterr().out
        assert ("a light background, inverted" in out) == (kind == "dark")


@pytest.mark.slow
def test_reports_and_looks_take_the_runs_own_size(here, capsys):
    fill(here / "pets", colour=True)
    flags = ("--dataset", "pets", "--image-size", "9", "--epochs", 2, "--out", "run")
    assert nnx_command(*SIMPLE, *flags) == 0
    assert nnx_command("report", "run", "--backend", "numpy") == 0
    page = (here / "run/report.html").read_text(encoding="utf-8")
    assert "--dataset pets --image-size 9x9 --model simple_conv" in page
    assert "Image files resized to" in page
    assert "could not be looked at" not in page
    fill(here / "others", colour=True, count=20)
    found = nnx.lab.inspect(here / "run", here / "others", backend="numpy")
    assert found.classes == CLASSES
    assert found.images.shape[1:] in ((9, 9, 3), (0, 0))
    assert load(here / "others").train.x.shape[1:] != (9, 9, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--dataset pets --image-size 32x", "--image-size: got '32x', expected PIXELS or HEIGHTxWIDTH, as 32 or 32x48"),
        ("--dataset pets --image-size 0", "--image-size: got '0', expected PIXELS"),
        ("--dataset pets --image-size 1x2x3", "--image-size: got '1x2x3', expected PIXELS"),
        ("--image-size 32", "size: got (32, 32), but digits has no image files, which alone are resized; leave it out"),
        ("--dataset pets", "notes.txt: is no image file; expected files .png"),
        ("--dataset empty", "empty: holds no data set; expected images and labels in idx files"),
    ],
)
def test_what_is_refused(here, capsys, arguments, message):
    fill(here / "pets", colour=False, count=1)
    (here / "pets/dog/notes.txt").write_text("Rex")
    (here / "empty").mkdir()
    assert nnx_command("train", "--backend", "numpy", *arguments.split()) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (here / "runs").exists()
