"""Data sets that stay on the disk: whatever has a length and rows by their numbers."""

import pickle

import numpy as np
import pytest

import nnx
from nnx.datasets import DiskDataset, on_disk

N = 57
X = np.random.default_rng(0).normal(size=(N, 3, 2)).astype(np.float32)
T = np.random.default_rng(1).integers(0, 4, N)


def reads_all(data: DiskDataset, x=X, t=T) -> None:
    """Check that rows are the same, whatever range is read."""
    assert len(data) == len(x)
    assert data.shape == x.shape[1:]
    for begin, end in ((0, len(x)), (0, 1), (2, min(23, len(x))), (len(x) - 1, len(x))):
        inputs, targets = data.read(begin, end)
        assert np.array_equal(inputs, x[begin:end])
        assert np.array_equal(targets, t[begin:end])
    assert np.array_equal(data.targets(), t)
    assert data.edges()[0] == 0
    assert data.edges()[-1] == len(x)


def test_files_of_npy_beside_each_other(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "labels.npy", T)
    reads_all(on_disk(tmp_path))
    reads_all(on_disk(tmp_path / "x.npy"))


@pytest.mark.parametrize("dtype", [">f4", "<f8", "<f2", "u1", "<i2"])
def test_every_dtype_comes_in_the_machines_order(tmp_path, dtype):
    x = (X * 30).astype(dtype)
    np.savez(tmp_path / "a.npz", x=x, y=T)
    data = on_disk(tmp_path / "a.npz", block=10)
    assert data.dtype.isnative
    reads_all(data, x)
    assert data.scale == (1 / 255 if dtype == "u1" else 1.0)


def test_parts_of_an_npz_by_name(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X, y_train=T[:, None], x_test=X[:9], y_test=T[:9], ids=T)
    reads_all(on_disk(tmp_path / "a.npz"))
    reads_all(on_disk(tmp_path / "a.npz", part="test"), X[:9], T[:9])
    assert on_disk(tmp_path / "a.npz").note == "not used: ids"
    with pytest.raises(nnx.DatasetError, match=r"has x_train, .*; expected, for the part validation, arrays named x"):
        on_disk(tmp_path / "a.npz", part="validation")
    with pytest.raises(nnx.InputError, match="part: got 'dev', expected train, validation or test"):
        on_disk(tmp_path / "a.npz", part="dev")


def test_safetensors(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": X, "y": T}, tmp_path / "a.safetensors")
    reads_all(on_disk(tmp_path / "a.safetensors"))
    (tmp_path / "b.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(nnx.DatasetError, match="b.safetensors: cannot be read as .safetensors"):
        on_disk(tmp_path / "b.safetensors")


def test_files_whose_rows_cannot_be_read_are_refused_with_a_cure(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=X, y=T)
    with pytest.raises(nnx.DatasetError, match=r"x is compressed, and cannot be read by rows; .* np\.savez"):
        on_disk(tmp_path / "a.npz")
    np.save(tmp_path / "x.npy", np.asfortranarray(X))
    np.save(tmp_path / "y.npy", T)
    with pytest.raises(nnx.DatasetError, match=r"x\.npy lies column by column, .*np\.ascontiguousarray"):
        on_disk(tmp_path)
    np.save(tmp_path / "x.npy", X)
    content = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(content[:-4])
    with pytest.raises(nnx.DatasetError, match=r"x\.npy: is shorter than its header says, \(57, 3, 2\) of float32"):
        on_disk(tmp_path)
    np.save(tmp_path / "x.npy", np.array([None] * N, object), allow_pickle=True)
    with pytest.raises(nnx.DatasetError, match=r"x\.npy holds Python objects, pickled"):
        on_disk(tmp_path)
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(nnx.InputError, match="nnx shuffle FILE.csv OUT.parquet makes one of it"):
        on_disk(tmp_path / "a.csv")
    with pytest.raises(nnx.InputError, match="no.npy: there is no such file or folder; expected .npy, .npz"):
        on_disk(tmp_path / "no.npy")
    np.savez(tmp_path / "c.npz", x=X, y=T[:5])
    with pytest.raises(nnx.DatasetError, match=r"inputs of shape \(57, 3, 2\) and targets of \(5,\), expected as many"):
        on_disk(tmp_path / "c.npz")


def test_a_file_that_becomes_shorter_is_an_error(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", T)
    data = on_disk(tmp_path)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:500])
    with pytest.raises(nnx.DatasetError, match="it was cut off"):
        data.read(40, 50)


def test_parquet_is_read_by_row_groups(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    flat = X.reshape(N, 6)
    table = pa.table({**{f"c{i}": flat[:, i] for i in range(6)}, "species": np.array(list("abcd"))[T]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    data = on_disk(tmp_path / "a.parquet")
    assert data.classes == ("a", "b", "c", "d")
    assert data.edges().tolist() == [0, 10, 20, 30, 40, 50, 57]
    reads_all(data, flat)
    two = on_disk(tmp_path / "a.parquet", inputs=["c3", "c1"], label="c0")
    reads_all(two, flat[:, [3, 1]], flat[:, 0])
    train, test = data.split(0.7, 0.3)
    assert sorted(np.concatenate([train.rows(), test.rows()])) == list(range(N))
    with pytest.raises(nnx.InputError, match="unknown column of .*a.parquet 'c7'"):
        on_disk(tmp_path / "a.parquet", label="c7")
    with pytest.raises(nnx.DatasetError, match="column 'species' holds text, such as"):
        on_disk(tmp_path / "a.parquet", label="c0")


def test_a_column_of_lists_is_all_inputs(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    flat = X.reshape(N, 6)
    parquet.write_table(pa.table({"features": list(flat), "label": T}), tmp_path / "a.parquet", row_group_size=25)
    reads_all(on_disk(tmp_path / "a.parquet"), flat)


def test_folders_of_pictures_are_decoded_as_they_are_read(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for part, count in (("train", 5), ("test", 2)):
        for label in ("blue", "red"):
            (tmp_path / part / label).mkdir(parents=True)
            for i in range(count):
                image.new("RGB", (6, 7), (i * 9, 3, 200)).save(tmp_path / part / label / f"{i}.png")
    memory = nnx.datasets.image_folder(tmp_path)
    for part in ("train", "test"):
        data = on_disk(tmp_path, part=part)
        assert (data.classes, data.scale, data.block) == (("blue", "red"), 1 / 255, 1)
        reads_all(data, memory[part].x, memory[part].t)
        pictures = data.pictures()
        assert pictures.shape == (3, 7, 6)
        reads_all(pictures, memory[part].pictures().x, memory[part].t)


class Samples:
    """As PyTorch has data sets."""

    def __len__(self):
        return N

    def __getitem__(self, i):
        return X[i], int(T[i])


class ManySamples(Samples):
    def __getitems__(self, numbers):
        return [(X[i], T[i]) for i in numbers]


class Columns:
    """As Hugging Face has data sets."""

    column_names = ("image", "label", "id")
    shape = (N, 3)

    class _Names:
        names = ("w", "x", "y", "z")

    features = {"label": _Names()}  # noqa: RUF012

    def __len__(self):
        return N

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return {"image": [one.tolist() for one in X[rows]], "label": T[rows].tolist(), "id": list(range(N))[rows]}


@pytest.mark.parametrize("source", [Samples(), ManySamples()])
def test_data_sets_of_pytorchs_kind(source):
    reads_all(DiskDataset(source, block=7))
    trainer = nnx.Trainer(nnx.Sequential(nnx.Flatten(), nnx.Affine(4)), seed=0, backend="numpy")
    trainer.fit(source, epochs=1, batch_size=10, validation_data=source, verbose=False)
    assert trainer.evaluate(source) == trainer.evaluate(X, T)
    assert np.array_equal(trainer.predict(source), trainer.predict(X))


def test_data_sets_of_hugging_faces_kind():
    data = DiskDataset(Columns())
    assert data.classes == ("w", "x", "y", "z")
    reads_all(data)
    ids = DiskDataset(Columns(), inputs="id", label="label")
    assert ids.read(3, 5)[0].tolist() == [[3], [4]]
    trainer = nnx.Trainer(nnx.Sequential(nnx.Flatten(), nnx.Affine(4)), seed=0, backend="numpy")
    trainer.fit(Columns(), epochs=1, batch_size=10, verbose=False)
    assert set(trainer.predict_classes(Columns())) <= set("wxyz")


def test_rows_that_are_no_pairs_are_refused():
    class Alone(Samples):
        def __getitem__(self, i):
            return X[i]

    class Uneven(Samples):
        def __getitem__(self, i):
            return X[i] if i < 9 else X[i][:2], 0

    with pytest.raises(nnx.InputTypeError, match=r"row 0: got ndarray, expected a pair \(x, t\)"):
        DiskDataset(Alone())
    with pytest.raises(nnx.DatasetError, match=r"row 9: has the shape \(2, 2\), expected \(3, 2\)"):
        DiskDataset(Uneven()).read(0, 20)
    with pytest.raises(nnx.InputTypeError, match="x: got list, expected an array with shape, dtype"):
        DiskDataset([1, 2], [1, 2])
    with pytest.raises(nnx.InputError, match="has no columns by name; leave inputs and label out"):
        DiskDataset(X, T, label="y")


def test_labels_that_are_texts_are_numbered(tmp_path):
    texts = np.array(["dog", "cat", "emu", "bee"])[T]
    data = DiskDataset(X, texts)
    assert data.classes == ("bee", "cat", "dog", "emu")
    assert np.array_equal(np.array(data.classes)[data.targets()], texts)
    few = DiskDataset(X, texts, classes=("cat", "dog", "emu"), block=10)
    with pytest.raises(nnx.InputError, match=r"'bee' in row \d, which is none of .*counted from row 20 here"):
        few.read(20, 30)


def test_a_split_has_every_row_once_and_reads_its_own(tmp_path):
    x = np.arange(5000.0)[:, None]
    data = DiskDataset(x, np.arange(5000), block=100)
    parts = data.split(0.7, 0.2, 0.1, seed=3)
    rows = [part.rows() for part in parts]
    assert sorted(np.concatenate(rows)) == list(range(5000))
    assert [len(part) for part in parts] == [3500, 1000, 500]
    for part, numbers in zip(parts, rows, strict=True):
        reads_all(part, x[numbers], numbers)
    assert np.array_equal(data.split(0.7, 0.2, 0.1, seed=3)[0].rows(), rows[0])
    again, _ = parts[0].split(0.5, 0.5)
    assert set(again.rows()) < set(rows[0])
    reads_all(again, x[again.rows()], again.rows())


def test_small_row_groups_are_needed_to_split(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"a": T, "label": T}), tmp_path / "a.parquet")
    with pytest.raises(nnx.DatasetError, match=r"has 1 row groups, too few for parts of \(0.8, 0.2\).*nnx shuffle"):
        on_disk(tmp_path / "a.parquet").split(0.8, 0.2)


def test_rows_that_are_not_there_are_refused():
    with pytest.raises(nnx.InputError, match=r"rows: got 50 to 58, expected a range within 0\.\.57"):
        DiskDataset(X, T).read(50, 58)


def test_its_text_tells_what_it_is():
    assert repr(DiskDataset(X, T, name="big")) == "<DiskDataset big: 57 x (3, 2) float32>"


def test_it_can_be_sent_to_another_process(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=T)
    reads_all(pickle.loads(pickle.dumps(on_disk(tmp_path / "a.npz"))))
