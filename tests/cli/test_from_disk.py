"""`nnx train --from-disk`, what is done with such runs, and `nnx shuffle`."""

import json

import numpy as np
import pytest
from command_line import nnx_command

import nnx
from nnx.datasets import load, load_on_disk

TRAIN = ("train", "--from-disk", "--backend", "numpy", "--hidden", 16, "--epochs", 6, "--batch-size", 16)


@pytest.fixture
def arrays(here):
    """Columns on quite different scales, of which classes follow."""
    rng = np.random.default_rng(0)
    t = rng.integers(0, 3, 600)
    x = np.stack([rng.normal(1000 * t, 100), rng.normal(0.01 * t, 0.001)], axis=1)
    np.savez("a.npz", x=x, y=t + 5)
    return x, t + 5


def test_arrays_are_prepared_and_predicted_as_in_memory(here, arrays, capsys):
    x, t = arrays
    assert nnx_command(*TRAIN, "--dataset", "a.npz", "--window", 100, "--out", "run") == 0
    out = capsys.readouterr().out
    assert "a.npz: 432 rows to train on, 48 to validate, 120 to test; 2 inputs, 3 classes" in out
    assert "a: read from the disk in" in out
    assert "a window has 100 rows" in out
    config = json.loads((here / "run" / "config.json").read_text())
    assert (config["train"]["from_disk"], config["train"]["window"]) == (True, 100)
    assert config["data"]["classes"] == ["5", "6", "7"]
    np.savez("new.npz", x=x[:30])
    assert nnx_command("predict", "run", "new.npz", "--out", "p.csv") == 0
    found = [line.split(",")[1] for line in (here / "p.csv").read_text().splitlines()[1:]]
    assert np.mean([name == str(label) for name, label in zip(found, t, strict=False)]) > 0.9
    capsys.readouterr()
    assert nnx_command("train", "--resume", "--out", "run", "--epochs", 7, "--backend", "numpy") == 0
    assert "continuing after epoch 6" in capsys.readouterr().out
    assert nnx_command("train", "--resume", "--out", "run", "--window", 50) == 1
    assert "--window: got 50, but the run in run has 100" in capsys.readouterr().err


def test_the_moments_are_those_of_the_training_part(arrays):
    x, t = arrays
    parts = load_on_disk("a.npz", seed=2)
    rows = parts.train.rows()
    assert sorted(np.concatenate([part.rows() for part in parts])) == list(range(600))
    inputs, targets = parts.train.read(0, len(rows))
    np.testing.assert_allclose(inputs, (x[rows] - x[rows].mean(0)) / x[rows].std(0), atol=1e-9)
    assert np.array_equal(targets + 5, t[rows])
    numbers = load_on_disk("a.npz", seed=2, loss="mse").train
    assert numbers.classes == ()
    np.testing.assert_allclose(numbers.targets(), (t[rows] - t[rows].mean()) / t[rows].std(), atol=1e-12)


def test_pictures_of_an_npz(here, capsys):
    digits = nnx.datasets.digits()
    np.savez(
        "d.npz", x_train=digits.x[:300], y_train=digits.t[:300], x_test=digits.x[300:350], y_test=digits.t[300:350]
    )
    assert nnx_command(*TRAIN, "--dataset", "d.npz", "--model", "simple_conv", "--epochs", 1) == 0
    assert "270 rows to train on, 30 to validate, 50 to test; 1 x 8 x 8 inputs, 10 classes" in capsys.readouterr().out


def test_texts_and_truth_values_as_labels(here):
    x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    for labels in (np.array(["b", "a"])[np.arange(100) % 2], np.arange(100) % 2 == 0):
        np.savez("l.npz", x=x, y=labels)
        parts = load_on_disk("l.npz")
        expected = load("l.npz").train.classes
        assert parts.train.classes == expected
        names = np.array(expected)[parts.train.targets()]
        assert np.array_equal(names, labels[parts.train.rows()].astype(str))


def test_parquet_is_prepared_column_by_column(here, capsys):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    t = rng.integers(0, 2, 300)
    columns = {"a": rng.normal(100 * t, 10), "kind": np.array(["x", "y"])[t], "id": np.arange(300), "label": t}
    parquet.write_table(pa.table(columns), "t.parquet", row_group_size=12)
    assert nnx_command(*TRAIN, "--dataset", "t.parquet", "--categories", "kind", "--out", "run") == 0
    out = capsys.readouterr().out
    assert "216 rows to train on, 24 to validate, 60 to test; 3 inputs, 2 classes" in out
    assert "test accuracy 1.0000" in out
    assert nnx_command("predict", "run", "t.parquet") == 0
    assert "300 of 300 rows right" in capsys.readouterr().out


@pytest.mark.slow
def test_a_folder_of_pictures_and_its_report(here, capsys, figures):
    image = pytest.importorskip("PIL.Image")
    for label, shade in (("dark", 40), ("light", 200)):
        (here / "p" / label).mkdir(parents=True)
        for i in range(30):
            image.new("L", (9, 9), shade + i).save(here / "p" / label / f"{i}.png")
    assert nnx_command(*TRAIN, "--dataset", "p", "--out", "run", "--image-size", 8) == 0
    assert "43 rows to train on, 5 to validate, 12 to test; 8 x 8 inputs, 2 classes" in capsys.readouterr().out
    assert nnx_command("report", "run") == 0


def test_what_cannot_stay_on_the_disk_is_told(here, arrays, capsys):
    (here / "a.csv").write_text("a,label\n1,2\n")
    for arguments, told in (
        (("--dataset", "a.csv"), "nnx shuffle FILE.csv OUT.parquet makes one of it"),
        (("--dataset", "digits"), "digits: there is no such file or folder"),
        (("--dataset", "a.npz", "--label", "y"), "--label: got 'y', but a.npz has no columns by name"),
        (("--dataset", "a.npz", "--window", 0), "--window: got 0, expected a whole number of at least 1"),
    ):
        assert nnx_command(*TRAIN, *arguments) == 1
        assert told in capsys.readouterr().err
    assert nnx_command("train", "--dataset", "a.npz", "--window", 10) == 1
    assert "--window: got 10 without --from-disk; pass both, or neither" in capsys.readouterr().err


def test_missing_values_are_told_by_column_and_row(here):
    x = np.ones((50, 2))
    np.savez("m.npz", x=x, y=np.arange(50) % 2)
    x[30, 1] = np.nan
    np.savez("n.npz", x=x, y=np.arange(50) % 2)
    seed = next(seed for seed in range(9) if 30 in load_on_disk("m.npz", seed=seed).train.rows())
    with pytest.raises(nnx.DatasetError, match=r"has NaN or infinity in column 1, first in row 30"):
        load_on_disk("n.npz", seed=seed)


def test_a_file_beyond_the_memory_is_not_read_whole(here, arrays, capsys, monkeypatch):
    monkeypatch.setattr("nnx.datasets._load.memory_bytes", lambda: 1000)
    assert nnx_command("train", "--dataset", "a.npz") == 1
    assert (
        "a.npz: has 0.0 GiB, and this machine 0.0 GiB of memory; leave its rows on the disk" in capsys.readouterr().err
    )
    (here / "a.csv").write_text("a,label\n" + "1,2\n" * 500)
    with pytest.raises(nnx.InputError, match="by --from-disk or .*; nnx shuffle makes Parquet of a CSV for that"):
        load("a.csv")


def test_shuffle(here, arrays, capsys):
    assert nnx_command("shuffle", "a.npz", "b.npz", "--seed", 4) == 0
    assert "b.npz: 600 rows of a.npz, shuffled by the seed 4" in capsys.readouterr().out
    assert nnx_command("shuffle", "a.npz", "b.npz") == 1
    assert "b.npz: exists already" in capsys.readouterr().err
