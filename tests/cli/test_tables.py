"""`nnx train --dataset` with tables and arrays, and what is done with such runs."""

import csv
import json

import numpy as np
import pytest
from command_line import nnx_command

import nnx

CLASSES = ("setosa", "versicolor", "virginica")


def table(path, *, n=90, label="species", number=False, first=0):
    """Measurements on quite different scales; their sum decides about the label."""
    rng = np.random.default_rng(first)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Id", "length", "width", label])
        for i in range(first, first + n):
            kind = i % 3
            length, width = rng.normal(1000 * kind, 100), rng.normal(0.01 * kind, 0.001)
            writer.writerow([i, length, width, 500 + length + rng.normal() if number else CLASSES[kind]])
    return path


def rows_of(path):
    return list(csv.reader(path.read_text().splitlines()))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_classes_from_training_to_prediction(here, capsys, backend):
    table(here / "iris.csv")
    train = ("train", "--dataset", "iris.csv", "--epochs", 20, "--hidden", 16, "--batch-size", 8, "--backend", backend)
    assert nnx_command(*train) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "iris.csv: 65 rows to train on, 7 to validate, 18 to test; 2 inputs, 3 classes; label species;"
    )
    assert float(out.split("test accuracy ")[1].split()[0]) > 0.9
    kept = json.loads((here / "runs/iris/config.json").read_text())["data"]
    assert [column["name"] for column in kept["table"]["columns"]] == ["length", "width"]
    assert kept["classes"] == list(CLASSES)

    rows = rows_of(table(here / "more.csv", n=30, first=90))
    turned = [[row[3], row[2], "note", row[0], row[1]] for row in rows]
    with (here / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows(turned)
    assert nnx_command("predict", "runs/iris", "new.csv", "--out", "p.csv", "--backend", backend) == 0
    out = capsys.readouterr().out
    assert "new.csv: not used, as the network was trained without: note" in out
    assert "and 10 more rows" in out
    [head, *written] = rows_of(here / "p.csv")
    assert head == ["Id", "species", "probability", *CLASSES]
    assert [row[0] for row in written] == [row[0] for row in rows[1:]]
    right = sum(row[1] == own[3] for row, own in zip(written, rows[1:], strict=True))
    assert right >= 27
    assert f"{right} of 30 rows right" in out

    (here / "bad.csv").write_text("length\n1\n")
    assert nnx_command("predict", "runs/iris", "bad.csv") == 1
    assert "bad.csv: has no column width, which the network was trained on" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_number_from_training_to_prediction(here, capsys, backend):
    table(here / "price.csv", label="price", number=True)
    train = (
        "train",
        "--dataset",
        "price.csv",
        "--label",
        "price",
        "--lr",
        0.01,
        "--epochs",
        30,
        "--hidden",
        16,
        "--batch-size",
        8,
    )
    assert nnx_command(*train, "--backend", backend) == 0
    out = capsys.readouterr().out
    assert float(out.split("test R2 ")[1].split(",")[0]) > 0.8
    assert "label price, a number" in out
    assert nnx_command("predict", "runs/price", "price.csv", "--out", "p.csv") == 0
    [head, *rows] = rows_of(here / "p.csv")
    assert head == ["Id", "price"]
    own = [float(row[3]) for row in rows_of(here / "price.csv") if row[3] != "price"]
    assert np.abs(np.array([float(row[1]) for row in rows]) - own).mean() < 200
    assert nnx_command("report", "runs/price") == 0


def test_a_resumed_run_prepares_as_it_did(here, capsys):
    table(here / "iris.csv")
    train = ("train", "--dataset", "iris.csv", "--backend", "numpy", "--epochs")
    assert nnx_command(*train, 4, "--out", "whole") == 0
    assert nnx_command(*train, 2, "--out", "run") == 0
    before = json.loads((here / "run/config.json").read_text())["data"]
    assert nnx_command("train", "--resume", "--epochs", 4, "--out", "run", "--backend", "numpy") == 0
    assert (here / "run/history.csv").read_text() == (here / "whole/history.csv").read_text()
    assert json.loads((here / "run/config.json").read_text())["data"] == before
    assert nnx_command("report", "run") == 0
    assert "could not be looked at" not in (here / "run/report.html").read_text(encoding="utf-8")
    with (here / "shifted.csv").open("w") as file:  # prepared as the run does it, what is great stays so
        file.writelines(["length,width,species\n", *(f"2000,0.02,{CLASSES[i % 3]}\n" for i in range(30))])
    found = nnx.lab.inspect(here / "run", here / "shifted.csv", backend="numpy")
    assert (found.confusion.sum(axis=0) > 0).sum() == 1
    same = nnx.lab.inspect(here / "run", here / "iris.csv", backend="numpy")
    assert np.array_equal(same.confusion, nnx.lab.inspect(here / "run", backend="numpy").confusion)
    capsys.readouterr()
    assert nnx_command("train", "--resume", "--label", "width", "--out", "run") == 1
    assert "--label: got 'width', but the run in run has ''" in capsys.readouterr().err


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_pixels_in_columns_and_arrays(here, capsys, backend):
    digits = nnx.datasets.digits().take(np.arange(300))
    with (here / "digits.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", *(f"pixel{i}" for i in range(64))])
        writer.writerows([t, *x.ravel()] for x, t in zip(digits.x * np.uint8(15), digits.t, strict=True))
    np.savez(here / "digits.npz", x=digits.x, y=digits.t)
    for name in ("digits.csv", "digits.npz"):
        run = name.replace(".", "-")
        assert nnx_command("train", "--dataset", name, "--epochs", 12, "--backend", backend, "--out", run) == 0
        assert float(capsys.readouterr().out.split("test accuracy ")[1].split()[0]) > 0.7
    np.save(here / "some.npy", digits.x[:3])
    assert nnx_command("predict", "digits-npz", "some.npy", "--out", "p.csv", "--backend", backend) == 0
    [head, *rows] = rows_of(here / "p.csv")
    assert head == ["image", "class", "probability", *"0123456789"]
    assert len(rows) == 3
    assert nnx_command("predict", "digits-csv", "digits.csv", "--backend", backend) == 0
    assert "of 300 rows right" in capsys.readouterr().out


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(
    ("test", "images", "labels"),
    [
        ("test", "images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"),
        ("t10k", "images.idx3-ubyte", "labels.idx1-ubyte"),
    ],
)
def test_the_test_files_of_idx_folders_are_the_test(here, capsys, backend, test, images, labels):
    digits = nnx.datasets.digits()
    for part, rows in (("train", slice(0, 90)), (test, slice(90, 120))):
        nnx.datasets.write_idx(here / f"{part}-{images}", digits.x[rows])
        nnx.datasets.write_idx(here / f"{part}-{labels}", digits.t[rows].astype(np.uint8))
    assert nnx_command("train", "--dataset", here, "--epochs", 1, "--out", "run", "--backend", backend) == 0
    assert "81 rows to train on, 9 to validate, 30 to test; 8 x 8 inputs, 10 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--dataset iris.csv --label knd", "unknown column of iris.csv 'knd'"),
        ("--dataset iris.csv --fill mode", "fill: got 'mode', expected mean, median or a number"),
        ("--dataset digits --label species", "label: got 'species', but digits is no table"),
        ("--dataset digits --loss mse", "loss: got 'mse', but digits is no table"),
        ("--dataset iris.csv --loss lasso", "unknown loss 'lasso'"),
    ],
)
def test_what_is_refused(here, capsys, arguments, message):
    table(here / "iris.csv")
    assert nnx_command("train", "--backend", "numpy", *arguments.split()) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""
    assert not (here / "runs").exists()
