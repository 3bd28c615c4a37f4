"""`nnx train`, `nnx predict` and `nnx backends`, as a person meets them."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from command_line import nnx_command
from PIL import Image

import nnx
from nnx.datasets import digits, write_idx
from nnx.training._run_folder import RunConfig

QUICK = ["train", "--epochs", "2", "--hidden", "20"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    command = [sys.executable, "-W", "error", "-m", "nnx", *QUICK, "--out", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("nnx: compiling kernels")] == []
    return folder, done.stdout


@pytest.mark.slow
def test_train_prints_what_matters(trained):
    _, out = trained
    # On a cold or crowded machine a line tells how long kernels were compiled.
    lines = [line for line in out.splitlines() if not line.startswith("compiled kernels")]
    assert lines[0] == "digits: 1294 rows to train on, 144 to validate, 359 to test; 8 x 8 inputs, 10 classes"
    assert re.match(r"backend \w+ \((chosen automatically|asked for by NNX_BACKEND).*operations fused", lines[1])
    assert lines[2].split() == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert [line.split()[0] for line in lines[3:5]] == ["1", "2"]
    assert re.fullmatch(r"test accuracy 0\.\d{4}", lines[5])
    assert lines[6].endswith("checkpoint.safetensors, history.csv, curves.png, samples.png")


def test_train_writes_a_run_folder(trained):
    folder, out = trained
    rows = list(csv.reader((folder / "history.csv").read_text().splitlines()))
    assert rows[0] == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    trainer = nnx.Trainer.load(folder / "checkpoint.safetensors")
    assert [float(row[1]) for row in rows[1:]] == trainer.history["loss"]
    test = nnx.datasets.load("digits").test
    assert f"test accuracy {trainer.model.accuracy(test):.4f}" in out
    for name in ("curves.png", "samples.png"):
        with Image.open(folder / name) as image:
            assert min(image.size) > 400
            assert len(set(image.convert("L").resize((50, 50)).tobytes())) > 20  # not blank


@pytest.mark.slow
def test_default_folders_are_numbered(capsys):
    assert nnx_command(*QUICK) == nnx_command(*QUICK) == 0
    out = capsys.readouterr().out
    assert "written to runs/digits:" in out
    assert "written to runs/digits-2:" in out


def test_resume_with_more_epochs(here, capsys):
    assert nnx_command(*QUICK) == 0
    assert nnx_command("train", "--resume", "--epochs", 4) == 0
    assert "continuing after epoch 2" in capsys.readouterr().out
    whole = here / "whole"
    assert nnx_command("train", "--hidden", "20", "--epochs", 4, "--out", whole) == 0
    assert (here / "runs/digits/history.csv").read_text() == (whole / "history.csv").read_text()


def test_every_flag_arrives():
    flags = "--hidden 9,8 --activation tanh --init 0.1 --batchnorm --dropout 0.5 --weight-decay 1e-4 --clip-norm 1"
    flags += " --optimizer rmsprop --lr 0.01 --epochs 1 --batch-size 77 --seed 5 --dtype float64 --backend numpy"
    assert nnx_command("train", *flags.split(), "--early-stopping", 3, "--out", "run") == 0
    trainer = nnx.Trainer.load("run/checkpoint.safetensors")
    assert repr(trainer.model) == (
        "Sequential(Flatten(), Affine(9, init=0.1), BatchNorm(), Tanh(), Dropout(), "
        "Affine(8, init=0.1), BatchNorm(), Tanh(), Dropout(), Affine(10))"
    )
    assert repr(trainer.optimizer) == "RMSprop(lr=0.01, decay_rate=0.99, eps=1e-07)"
    assert (trainer.weight_decay, trainer.clip_norm, trainer.seed) == (1e-4, 1, 5)
    assert (trainer.model.dtype, trainer.steps) == ("float64", -(-1294 // 77))
    assert nnx_command("train", "--precision", "bfloat16", "--epochs", 1, "--out", "narrow") == 0
    assert nnx.Trainer.load("narrow/checkpoint.safetensors").precision == "bfloat16"


def test_the_learning_rate_falls_over_all_epochs_also_where_some_are_added():
    settings = ("--hidden", 9, "--batch-size", 200, "--schedule", "cosine", "--backend", "numpy", "--out", "run")
    assert nnx_command("train", *settings, "--epochs", 2, "--lr", 0.01) == 0
    assert repr(nnx.Trainer.load("run/checkpoint.safetensors").optimizer.lr) == "Cosine(lr=0.01, steps=14, final=0.0)"
    assert nnx_command("train", "--resume", "--out", "run", "--epochs", 3, "--backend", "numpy") == 0
    assert repr(nnx.Trainer.load("run/checkpoint.safetensors").optimizer.lr) == "Cosine(lr=0.01, steps=21, final=0.0)"


@pytest.mark.slow
def test_settings_from_a_file(here):
    settings = {"hidden": [9, 8], "lr": 0.02, "optimizer": "sgd", "epochs": 3, "init": 0.1, "batchnorm": True}
    (here / "best.json").write_text(json.dumps(settings))
    assert nnx_command("train", "--config", "best.json", "--epochs", 1, "--lr", 0.001, "--out", "run") == 0
    config = json.loads((here / "run/config.json").read_text())["train"]
    defaults = json.loads(json.dumps(asdict(RunConfig())))
    assert config == defaults | settings | {"epochs": 1, "lr": 0.001}
    # A flag that is given with its default's value wins, too; a run's own configuration is such a file.
    assert nnx_command("train", "--config", "run/config.json", "--hidden", "200,100", "--out", "again") == 0
    assert json.loads((here / "again/config.json").read_text())["train"] == config | {"hidden": [200, 100]}
    assert nnx_command("train", "--resume", "--out", "run", "--config", "best.json", "--lr", 0.001) == 0
    assert json.loads((here / "run/config.json").read_text())["train"]["epochs"] == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "best.json: cannot be read (No such file or directory); expected a JSON file of settings"),
        ('{"lr": 0.01', "best.json: is no JSON (Expecting"),
        ("\xff", "best.json: is no JSON ('utf-8' codec"),
        ("[1, 2]", "best.json: holds [1, 2], expected an object such as"),
        ('{"optimiser": "sgd"}', "best.json: unknown setting 'optimiser'. Did you mean 'optimizer'?"),
        ('{"hidden": 100}', "best.json: hidden: got 100, expected a list such as [100, 100]"),
        ('{"hidden": ["a"]}', "hidden: got 'a', expected a whole number"),
        ('{"lr": "0.01"}', "lr: got '0.01', expected a number"),
        ('{"batchnorm": 1}', "batch_norm: got 1, expected True or False"),
        ('{"epochs": 1.5}', "--epochs: got 1.5, expected a whole number"),
        ('{"dataset": 3}', "name: got 3, expected a data set's name, a file or a folder"),
    ],
)
def test_bad_files_of_settings(here, capsys, text, message):
    if text is not None:
        (here / "best.json").write_bytes(text.encode("latin-1"))
    assert nnx_command("train", "--config", "best.json") == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_folder_of_idx_files(here, capsys):
    data = digits()
    write_idx(here / "t10k-images-idx3-ubyte.gz", data.x)
    write_idx(here / "t10k-labels-idx1-ubyte", data.t.astype(np.uint8))
    assert nnx_command(*QUICK, "--dataset", here, "--out", "run") == 0
    assert "1294 rows to train on, 144 to validate, 359 to test" in capsys.readouterr().out


def test_predict(trained, here, capsys):
    folder, _ = trained
    data = digits()
    expected = np.argmax(nnx.Trainer.load(folder / "checkpoint.safetensors").model.predict(data), axis=1)
    image = np.round(data.x[2] * 15.9375).astype(np.uint8)
    Image.fromarray(image).save("plain.png")
    Image.fromarray(255 - image).resize((64, 64), Image.Resampling.NEAREST).save("paper.png")
    write_idx("many.idx.gz", data.x[:3])
    assert nnx_command("predict", folder, "plain.png", "paper.png", "many.idx.gz") == 0
    out = capsys.readouterr().out
    assert "paper.png: 64 x 64 pixels; dark on light, inverted; cropped to its 64 x 48 of ink, scaled to 8 x 6" in out
    rows = re.findall(r"│ ([\w.\[\]]+) +│ (\d) +│ ([\d.]+) +│ (.*?) +│", out)
    assert [row[0] for row in rows] == ["plain.png", "paper.png", "many.idx.gz[0]", "many.idx.gz[1]", "many.idx.gz[2]"]
    assert [int(row[1]) for row in rows] == [expected[2], expected[2], *expected[:3]]
    for _, _, best, every in rows:
        probabilities = [float(p) for p in re.findall(r":(\d\.\d{3})", every)]
        assert len(probabilities) == 2
        assert float(best) >= probabilities[0] >= probabilities[1]
    assert nnx_command("predict", folder, "plain.png", "--all") == 0
    every = [float(p) for p in re.findall(r"\d:(\d\.\d{3})", capsys.readouterr().out)]
    assert len(every) == 10
    assert sum(every) == pytest.approx(1, abs=0.006)
    assert max(every) == pytest.approx(float(rows[0][2]), abs=0.0006)


def test_backends(capsys, monkeypatch):
    assert nnx_command("backends") == 0
    out = capsys.readouterr().out
    assert re.search(r"numpy +│ yes", out)
    assert "used now: " in out
    monkeypatch.setenv("NNX_BACKEND", "nunpy")
    assert nnx_command("backends") == 1
    assert "Did you mean 'numpy'" in capsys.readouterr().err


OWN = """
import nnx
from nnx.formula import sigmoid, sign


@nnx.register
class Swish(nnx.Activation):
    def __init__(self):
        super().__init__()

    def function(self, x):
        return x * sigmoid(1.5 * x)


@nnx.register
class SignDescent(nnx.Optimizer):
    def __init__(self, lr=1e-3):
        super().__init__(lr)

    @staticmethod
    def rule(p, g, lr):
        return p - lr * sign(g)
"""


@pytest.mark.slow
def test_commands_with_parts_of_ones_own(tmp_path):
    """In processes of their own: what is registered stays so."""
    without_figures = "from nnx._support import plots\nplots.available = lambda: False\n"
    (tmp_path / "own.py").write_text(OWN + without_figures)

    def run_python(*arguments):
        command = [sys.executable, "-W", "error", *arguments]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    own, train = ("-m", "nnx", "--import", "own.py"), ("train", "--backend", "numpy", "--hidden", "10", "--out", "run")
    settings = ("--activation", "swish", "--optimizer", "signdescent", "--epochs", "1")
    for arguments in (
        (*train, *settings), (*train, "--resume", "--epochs", "2"), ("report", "run"), ("export", "run", "run.onnx"),
    ):  # fmt: skip
        done = run_python(*own, *arguments)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "run.onnx").is_file()
    alone = run_python("-m", "nnx", "report", "run")
    assert alone.returncode == 1
    assert "unknown layer 'Swish'" in alone.stderr
    assert "layers of your own need nnx.register(Class) beforehand (nnx --import FILE)" in alone.stderr


def test_what_cannot_be_imported_is_refused(tmp_path, capsys):
    for name in ("json.py", "notes.txt"):
        (tmp_path / name).write_text("")
    for file, message in (
        ("nowhere.py", "expected a Python file that calls nnx.register"),
        ("notes.txt", "expected a Python file that calls nnx.register"),
        ("json.py", "json is the name of another module already; rename"),
    ):
        assert nnx_command("--import", tmp_path / file, "backends") == 1
        assert message in capsys.readouterr().err


def test_version(capsys):
    assert nnx_command("--version") == 0
    assert capsys.readouterr().out == f"nnx {nnx.__version__}\n"


def test_without_the_extra_it_says_what_is_left_out(capsys):
    assert nnx_command(*QUICK) == 0
    out = capsys.readouterr().out
    assert "left out: curves.png, samples.png (matplotlib is not installed; pip install 'nnx-array[plot]')" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--dataset digit", "unknown data set 'digit'. Did you mean 'digits'"),
        ("--backend nunpy", "unknown backend 'nunpy'. Did you mean 'numpy'"),
        ("--optimizer adm", "unknown optimizer 'adm'. Did you mean 'adam'"),
        ("--activation relo", "unknown activation 'relo'. Did you mean 'relu'"),
        ("--init xaver", "unknown initialiser 'xaver'. Did you mean 'xavier'"),
        ("--init nan", "init: got nan"),
        ("--hidden 1,a", "--hidden: got '1,a', expected sizes separated by commas, such as 100,100"),
        ("--hidden 0", "hidden: got 0"),
        ("--hidden -5", "hidden: got -5"),
        ("--batch-size 0", "--batch-size: got 0, expected a whole number of at least 1"),
        ("--epochs 0", "--epochs: got 0"),
        ("--lr -1", "lr: got -1.0, expected a finite number of at least 0"),
        ("--lr nan", "lr: got nan"),
        ("--dropout 1", "dropout: got 1.0"),
        ("--weight-decay -1", "--weight-decay: got -1.0"),
        ("--clip-norm 0", "--clip-norm: got 0.0"),
        ("--seed -1", "seed: got -1"),
        ("--dtype int8", "dtype: got int8"),
        ("--precision int8", "unknown precision 'int8'"),
        ("--precision float16 --dtype float64", "precision: got 'float16' for a model of float64"),
        ("--early-stopping 0", "--early-stopping: got 0"),
        ("--checkpoint-every 0", "--checkpoint-every: got 0"),
        ("--out file", "file: cannot be made a folder"),
        ("--out file/x", "file/x: cannot be made a folder"),
        ("--resume", "there is no run under runs/; pass --out"),
        ("--resume --out empty", "empty: is no run folder"),
        ("--dataset empty", "empty: holds no data set"),
    ],
)
def test_bad_flags_are_one_message(arguments, message, here, capsys):
    (here / "file").write_text("x")
    (here / "empty").mkdir()
    assert nnx_command("train", *arguments.split()) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("nnx: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert captured.out == ""
    assert not (here / "runs").exists()


def test_a_run_is_not_overwritten(trained, capsys):
    folder, _ = trained
    before = (folder / "checkpoint.safetensors").read_bytes()
    assert nnx_command(*QUICK, "--out", folder) == 1
    assert "holds a run already; pass --resume to continue it, or another --out" in capsys.readouterr().err
    assert nnx_command("train", "--resume", "--out", folder, "--hidden", "30") == 1
    assert "--hidden: got (30,), but the run in" in capsys.readouterr().err
    assert (folder / "checkpoint.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("checkpoint.safetensors", b"x" * 100, "is not a complete safetensors file"),
        ("config.json", b"{", "is no configuration of a run"),
        ("config.json", b'{"train": {"epochs": 2}, "data": {}}', "is no configuration of a run"),
        ("config.json", b"[]", "is no configuration of a run"),
    ],
)
def test_damaged_run_folders(trained, here, capsys, file, content, message):
    (here / "run").mkdir()
    for name in ("checkpoint.safetensors", "config.json"):
        (here / "run" / name).write_bytes((trained[0] / name).read_bytes())
    (here / "run" / file).write_bytes(content)
    for command in (("train", "--resume", "--out", "run"), ("predict", "run", "x.png")):
        assert nnx_command(*command) == 1
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.png", "missing.png: there is no such file"),
        ("text.png", "can read (its format is unknown); use another copy. It is no idx file, either."),
        ("empty.png", "empty.png: is no picture"),
        ("wide.idx", r"wide.idx: holds an array of shape (3, 5), expected (n, 8, 8)"),
        ("cut.idx", "cut.idx: is cut off"),
    ],
)
def test_predict_refuses(trained, here, capsys, name, message):
    (here / "text.png").write_text("hello")
    (here / "empty.png").write_bytes(b"")
    write_idx(here / "wide.idx", np.zeros((3, 5), np.uint8))
    (here / "cut.idx").write_bytes((here / "wide.idx").read_bytes()[:-1])
    assert nnx_command("predict", trained[0], name) == 1
    assert message in capsys.readouterr().err
    assert nnx_command("predict", "nowhere", name) == 1
    assert "nowhere: is no run folder" in capsys.readouterr().err


def test_divergence_is_one_message_and_keeps_what_there_is(here, capsys):
    flags = ("--lr", "1e30", "--optimizer", "sgd", "--out", "run", "--backend", "numpy")  # which compiles nothing
    assert nnx_command(*QUICK, *flags) == 1
    error = capsys.readouterr().err
    assert re.search(
        r"nnx: the loss became (nan|inf) in epoch 1, step \d+ .*Try a lower learning rate \(it was 1e\+30\)", error
    )
    assert error.count("\n") == 1


def test_a_gpu_that_was_asked_for_and_cannot_be_used_is_one_message(here, capsys, monkeypatch):
    status = {status.name: status for status in nnx.list_backends()}["cupy"]
    if status.usable:
        pytest.skip("there is a GPU")
    monkeypatch.setenv("NNX_BACKEND", "cupy")
    assert nnx_command(*QUICK) == 1
    captured = capsys.readouterr()
    assert captured.err == (
        f"nnx: the backend 'cupy' (asked for by NNX_BACKEND) cannot run here: {status.reason}. "
        "Usable here: numba, numpy. See `nnx docs backends`.\n"
    )
    assert captured.out == ""
    assert not (here / "runs").exists()


def test_want_of_memory_is_one_message(capsys, monkeypatch):
    def fit(*_, **__):
        raise MemoryError("the GPU has no room for another 1.00 GiB")

    monkeypatch.setattr(nnx.Trainer, "fit", fit)
    assert nnx_command(*QUICK) == 1
    assert capsys.readouterr().err == "nnx: the GPU has no room for another 1.00 GiB\n"
