"""Files shuffled once and for all, in piles."""

import numpy as np
import pytest

import nnx
from nnx.datasets import _shuffle_file as module
from nnx.datasets import read_table, shuffle_file

N = 400
X = np.arange(N * 3, dtype=np.float32).reshape(N, 3)
T = np.arange(N)


@pytest.fixture(autouse=True)
def small_piles(monkeypatch):
    monkeypatch.setattr(module, "_PILE", 900)
    monkeypatch.setattr(module, "_READ", 500)
    monkeypatch.setattr(module, "_GROUP", 1000)


def well_mixed(t) -> bool:
    t = np.asarray(t).astype(int)
    assert sorted(t.tolist()) == list(range(N))
    moved = np.abs(np.argsort(t) - np.arange(N)).mean()
    return 0.25 * N < moved < 0.42 * N  # a random order moves a row by a third


def test_arrays_are_shuffled_together_and_the_same_seed_gives_the_same_file(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=T)
    assert shuffle_file(tmp_path / "a.npz", tmp_path / "b.npz", 3) == N
    found = np.load(tmp_path / "b.npz")
    assert well_mixed(found["y"])
    assert np.array_equal(found["x"], X[found["y"]])
    shuffle_file(tmp_path / "a.npz", tmp_path / "c.npz", 3)
    shuffle_file(tmp_path / "a.npz", tmp_path / "d.npz", 4)
    same, other = ((tmp_path / name).read_bytes() for name in ("c.npz", "d.npz"))
    assert (tmp_path / "b.npz").read_bytes() == same != other
    assert len(nnx.datasets.on_disk(tmp_path / "b.npz")) == N
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz", "c.npz", "d.npz"]


def test_npy_files_beside_each_other_go_to_a_folder(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "labels.npy", T)
    np.save(tmp_path / "other.npy", T)
    shuffle_file(tmp_path / "x.npy", tmp_path / "out")
    x, t = np.load(tmp_path / "out" / "x.npy"), np.load(tmp_path / "out" / "labels.npy")
    assert well_mixed(t)
    assert np.array_equal(x, X[t])
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.slow
def test_every_order_is_equally_likely(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PILE", 20)
    np.savez(tmp_path / "a.npz", y=np.arange(3))
    seen = {}
    for seed in range(300):
        shuffle_file(tmp_path / "a.npz", tmp_path / f"{seed}.npz", seed)
        order = tuple(np.load(tmp_path / f"{seed}.npz")["y"].tolist())
        seen[order] = seen.get(order, 0) + 1
    assert len(seen) == 6
    assert sum((count - 50) ** 2 / 50 for count in seen.values()) < 20.5  # chi squared, 5 degrees: p = 0.001


def test_csv_records_stay_as_they_are_written(tmp_path):
    lines = [f'{i};"one\ntwo; {i}";x{i}\r\n' for i in range(N)]
    (tmp_path / "a.csv").write_text("label;text;c\r\n" + "".join(lines), newline="")
    assert shuffle_file(tmp_path / "a.csv", tmp_path / "b.csv") == N
    text = (tmp_path / "b.csv").read_bytes().decode()
    assert text.startswith("label;text;c\r\n")
    assert all(line in text for line in lines)
    assert len(text) == len("label;text;c\r\n" + "".join(lines))
    assert well_mixed(read_table(tmp_path / "b.csv").columns["label"])


def test_a_csv_without_names_has_all_lines_shuffled(tmp_path):
    (tmp_path / "a.csv").write_text("".join(f"{i},{i}\n" for i in range(N)).rstrip("\n"))
    shuffle_file(tmp_path / "a.csv", tmp_path / "b.csv")
    assert well_mixed([line.split(",")[0] for line in (tmp_path / "b.csv").read_text().split()])
    with pytest.raises(nnx.InputError, match="has no names of columns in its first line, which Parquet needs"):
        shuffle_file(tmp_path / "a.csv", tmp_path / "b.parquet")


def test_a_csv_becomes_parquet_of_small_row_groups(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.csv").write_text("a,label,word\n" + "".join(f"{i / 2 if i else '?'},{i},w{i}\n" for i in range(N)))
    assert shuffle_file(tmp_path / "a.csv", tmp_path / "b.parquet") == N
    table = read_table(tmp_path / "b.parquet")
    assert well_mixed(table.columns["label"])
    assert np.array_equal(
        table.columns["a"], np.where(table.columns["label"] > 0, table.columns["label"] / 2, np.nan), True
    )
    assert set(table.columns["word"]) == {f"w{i}" for i in range(N)}
    data = nnx.datasets.on_disk(tmp_path / "b.parquet", inputs=["a"])
    assert np.diff(data.edges()).max() < 60


def test_parquet_keeps_its_columns(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({"x": list(X), "y": T, "text": [f"t{i}" for i in T]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert shuffle_file(tmp_path / "a.parquet", tmp_path / "b.parquet", 1) == N
    found = parquet.read_table(tmp_path / "b.parquet")
    assert found.schema.equals(table.schema)
    t = found["y"].to_numpy()
    assert well_mixed(t)
    assert found["text"].to_pylist() == [f"t{i}" for i in t]
    assert np.array_equal(np.stack(found["x"].to_numpy()), X[t])
    assert parquet.ParquetFile(tmp_path / "b.parquet").metadata.num_row_groups > 5
    shuffle_file(tmp_path / "a.parquet", tmp_path / "c.parquet", 1)
    assert (tmp_path / "b.parquet").read_bytes() == (tmp_path / "c.parquet").read_bytes()


def test_what_cannot_be_shuffled_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X, y_train=T, x_test=X[:5], y_test=T[:5])
    with pytest.raises(nnx.DatasetError, match="its arrays have x_train 400, .* x_test 5.* expected as many in all"):
        shuffle_file(tmp_path / "a.npz", tmp_path / "b.npz")
    with pytest.raises(nnx.InputError, match=r"a.npz: exists already; give a new name"):
        shuffle_file(tmp_path / "a.npz", tmp_path / "a.npz")
    with pytest.raises(nnx.InputError, match=r"b.csv: expected .npz, for .*a.npz"):
        shuffle_file(tmp_path / "a.npz", tmp_path / "b.csv")
    with pytest.raises(nnx.InputError, match="expected a file .npy, .npz, .csv or .parquet"):
        shuffle_file(tmp_path / "no.npz", tmp_path / "b.npz")
    with pytest.raises(nnx.InputError, match="its folder does not exist; make it first"):
        shuffle_file(tmp_path / "a.npz", tmp_path / "no" / "b.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_disk_without_room_is_told_beforehand(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", y=T)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: type("", (), {"free": 100}))
    with pytest.raises(nnx.InputError, match=r"shuffling needs .* GiB, and its disk has 0.0 GiB; choose another"):
        shuffle_file(tmp_path / "a.npz", tmp_path / "b.npz")
