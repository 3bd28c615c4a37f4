"""`nnx train --model` and `--augment`, and what is done with such runs."""

import json
import re

import numpy as np
import pytest
from command_line import nnx_command
from PIL import Image

import nnx
from nnx.datasets import digits, load, write_idx

pytestmark = pytest.mark.slow

SIMPLE = ["train", "--model", "simple_conv", "--hidden", "20", "--backend", "numpy"]


def coloured(folder):
    """A folder of digits in three colours, channels last, half as many classes as digits."""
    data = digits()
    x = np.zeros((400, 8, 8, 3), np.uint8)
    x[np.arange(400), ..., data.t[:400] % 3] = data.x[:400] * 15
    write_idx(folder / "t10k-images-idx3-ubyte.gz", x)
    write_idx(folder / "t10k-labels-idx1-ubyte", (data.t[:400] % 3).astype(np.uint8))
    return x, data.t[:400] % 3


def model_of(folder):
    return nnx.Trainer.load(folder / "checkpoint.safetensors", backend="numpy").model


def test_a_run_from_training_to_report(here, figures, capsys):
    run = here / "run"
    assert nnx_command(*SIMPLE, "--augment", "shift=1", "--epochs", 2, "--out", run) == 0
    out = capsys.readouterr().out
    assert "359 to test; 1 x 8 x 8 inputs, 10 classes" in out
    assert "checkpoint.safetensors, history.csv, curves.png, samples.png" in out
    assert nnx_command("train", "--resume", "--out", run, "--epochs", 4, "--backend", "numpy") == 0
    assert nnx_command(*SIMPLE, "--augment", "shift=1", "--epochs", 4, "--out", "whole") == 0
    assert (run / "history.csv").read_text() == (here / "whole/history.csv").read_text()
    capsys.readouterr()

    model, test = model_of(run), load("digits").test.pictures()
    assert repr(model.layers[0]) == "RandomShift(1)"
    assert model.evaluate(test).score == model.accuracy(test) > 0.5
    Image.fromarray(np.round(test.x[2, 0] * 15.9375).astype(np.uint8)).save("one.png")
    write_idx("some.idx.gz", test.x[:3, 0])
    write_idx("more.idx.gz", test.x[:3])
    assert nnx_command("predict", run, "one.png", "some.idx.gz", "more.idx.gz") == 0
    named = [int(label) for label in re.findall(r"│ [\w.\[\]]+ +│ (\d) +│", capsys.readouterr().out)]
    expected = model.predict(test).argmax(axis=1)
    assert named == [expected[2], *expected[:3], *expected[:3]]

    assert nnx_command("export", run, "run.onnx") == 0
    assert "x (n, 1, 8, 8) to y (n, 10), float32" in capsys.readouterr().out
    assert nnx_command("report", run, "--backend", "numpy") == 0
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "a network of 1x8x8-30x4x4-20-10 units" in page
    command = "nnx train --dataset digits --model simple_conv --augment shift=1 --hidden 20 --epochs 4"
    assert f"<code>{command}</code>" in page
    mistakes, _, rest = page.partition('id="network"')
    assert mistakes.count("data:image/png") >= 20
    assert rest.count("data:image/png") == 1 + 3 * 2  # filters; three pictures, and their maps


def test_own_defaults_of_the_networks(here):
    for model, expected in (("simple_conv", ([100], 0.0)), ("deep_conv", ([50], 0.5)), ("mlp", ([200, 100], 0.0))):
        arguments = ("--model", model, "--epochs", 1, "--backend", "numpy", "--batch-size", 500, "--out", model)
        assert nnx_command("train", *arguments) == 0
        config = json.loads((here / model / "config.json").read_text())["train"]
        assert (config["model"], (config["hidden"], config["dropout"])) == (model, expected)
    (here / "best.json").write_text('{"model": "deep_conv", "dropout": 0.2, "epochs": 1, "batch_size": 500}')
    assert nnx_command("train", "--config", "best.json", "--backend", "numpy", "--out", "best") == 0
    config = json.loads((here / "best/config.json").read_text())["train"]
    assert (config["hidden"], config["dropout"]) == ([50], 0.2)


def test_a_run_of_before_there_were_other_networks_goes_on(here, capsys):
    assert nnx_command("train", "--epochs", 1, "--hidden", 20, "--backend", "numpy", "--out", "run") == 0
    content = json.loads((here / "run/config.json").read_text())
    del content["train"]["model"], content["train"]["augment"], content["train"]["schedule"]
    del content["train"]["image_size"], content["data"]["pictures"]
    content["data"]["dark"] = True
    (here / "run/config.json").write_text(json.dumps(content))
    assert nnx_command("train", "--resume", "--epochs", 2, "--backend", "numpy", "--out", "run") == 0
    Image.new("L", (8, 8)).save("one.png")
    assert nnx_command("predict", "run", "one.png") == 1
    assert "run: was trained by an older nnx, which kept nothing of how its pictures look; train it again" in (
        capsys.readouterr().err
    )


@pytest.mark.long
def test_coloured_pictures(here, figures, capsys):
    x, t = coloured(here)
    flags = ("--dataset", here, "--augment", "shift=1, flip", "--epochs", 4, "--lr", 0.01, "--out", "run")
    assert nnx_command(*SIMPLE, *flags) == 0
    out = capsys.readouterr().out
    assert "3 x 8 x 8 inputs, 3 classes" in out
    assert "samples.png" in out.splitlines()[-2]
    model = model_of(here / "run")
    Image.fromarray(x[0]).save("colour.png")
    write_idx("last.idx", x[:2])
    assert nnx_command("predict", "run", "colour.png", "last.idx") == 0
    named = [int(label) for label in re.findall(r"│ [\w.\[\]]+ +│ (\d) +│", capsys.readouterr().out)]
    expected = model.predict(np.moveaxis(x, 3, 1) / 255).argmax(axis=1)
    assert named == [expected[0], *expected[:2]]
    assert np.mean(expected == t) > 0.9
    with Image.open(here / "run/samples.png") as image:
        red, green, blue = (np.asarray(image.convert("RGB"), int)[..., i] for i in range(3))
    assert (np.abs(red - green) + np.abs(green - blue) > 100).mean() > 0.02  # in colour
    assert nnx_command("report", "run", "--backend", "numpy") == 0
    assert nnx_command("lab", "inspect", "run", "--backend", "numpy", "--out", "look") == 0
    assert (here / "look/inspect-filters.png").is_file()
    # A perceptron takes them as they are.
    assert nnx_command("train", "--dataset", here, "--epochs", 1, "--backend", "numpy", "--out", "flat") == 0
    assert model_of(here / "flat").input_shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--model simple", "unknown model 'simple'. Did you mean 'simple_conv'? Known: deep_conv, mlp, simple_conv"),
        ("--model simple_conv --hidden 10,10", "hidden: got (10, 10), expected one size: simple_conv has one hidden"),
        ("--augment shift,rotate", "augment: got 'rotate', expected shift, shift=PIXELS or flip, separated by commas"),
        ("--augment shift=", "augment: got 'shift=', expected shift, shift=PIXELS or flip"),
        ("--augment shift=0", "RandomShift: pixels: got 0"),
        ("--augment shift=9", "RandomShift(9): got pictures of 8 x 8, expected more pixels than the shift; lower it"),
        ("--augment shift=9 --model deep_conv", "RandomShift(9): got pictures of 8 x 8"),
        ("--dataset tiny --model simple_conv", "got pictures of 3 x 3, expected at least 6 x 6; take larger ones, or"),
        ("--dataset tiny --model deep_conv", "--model deep_conv: got pictures of 3 x 3, expected at least 4 x 4"),
        (
            "--dataset rows --model deep_conv",
            "rows: got inputs of shape (14, 64), expected pictures: (n, height, width)",
        ),
    ],
)
def test_what_is_refused(here, capsys, arguments, message):
    for name, shape in (("tiny", (3, 3)), ("rows", (64,))):
        (here / name).mkdir()
        write_idx(here / name / "t10k-images-idx3-ubyte", np.zeros((20, *shape), np.uint8))
        write_idx(here / name / "t10k-labels-idx1-ubyte", np.arange(20, dtype=np.uint8) % 2)
    assert nnx_command("train", *arguments.split()) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (here / "runs").exists()


def test_a_search_is_of_perceptrons():
    with pytest.raises(nnx.InputError, match="unknown parameter 'model'"):
        nnx.tune.search({"lr": nnx.tune.Log(1e-4, 1e-2), "model": "deep_conv"}, "digits", trials=1)


def test_a_picture_of_another_shape_is_refused(here, capsys):
    assert nnx_command(*SIMPLE, "--epochs", 1, "--out", "run") == 0
    write_idx("wide.idx", np.zeros((3, 8, 9), np.uint8))
    assert nnx_command("predict", "run", "wide.idx") == 1
    assert "holds an array of shape (3, 1, 8, 9), expected (n, 1, 8, 8)" in capsys.readouterr().err
