"""Tables from files, and what makes inputs and targets of their columns."""

import gzip
import json

import numpy as np
import pytest

import nnx
from nnx.datasets import Preparation, load, read_table

_MPG = {"1": [18, 9.5], "2": [8, 6], "3": [70, 71], "4": ["chevrolet nova", "ford"]}
IRIS = ("setosa", "versicolor", "virginica")


def write(folder, text, name="data.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def measurements(folder, *, n=60, name="data.csv", change=lambda row, i: row):
    """A table with a row number, two measurements, a colour and a class: the first measurement decides it."""
    rng = np.random.default_rng(0)
    lines = ["Id,length,width,colour,kind"]
    for i in range(n):
        cells = [i + 1, rng.normal(100 * (i % 3), 10), rng.normal(5), ("red", "blue")[i % 2], IRIS[i % 3]]
        lines.append(",".join(map(str, change(cells, i))))
    return write(folder, "\n".join(lines) + "\n", name)


# Reading --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (
            'a,b,label\n1,2,x\n3,,y\n\n4,NA,"z, w"\n',
            {"a": [1, 3, 4], "b": [2, None, None], "label": ["x", "y", "z, w"]},
        ),
        ("\ufeffa;b;c\r\n1,5;2;x\r\n3,25;-;y\r\n", {"a": [1.5, 3.25], "b": ["2", "-"], "c": ["x", "y"]}),
        ("5.1,3.5,setosa\n1,2,b\n", {"1": [5.1, 1], "2": [3.5, 2], "3": ["setosa", "b"]}),
        ("0,1,label\n1,2,3\n", {"0": [1], "1": [2], "label": [3]}),
        ("id,kind,\n1,M\n2,B\n", {"id": [1, 2], "kind": ["M", "B"]}),
        ("a,b\n1,2,\n3,4,\n", {"a": [1, 3], "b": [2, 4]}),
        ('"a","b"\n"r1",1,2\n"r2",3,4\n', {"unnamed 1": ["r1", "r2"], "a": [1, 3], "b": [2, 4]}),
        (" a   b\n 1 2 \n  3   4\n", {"a": [1, 3], "b": [2, 4]}),
        ('18.0   8  70\t"chevrolet nova"\n9.5   6  71\t"ford"\n', _MPG),
        ("country;km2\nSweden;6739.5362\n", {"country": ["Sweden"], "km2": [6739.5362]}),
        ("a\tb\n1\t?\n", {"a": [1], "b": [None]}),
        ("a,b\n" + "1,2\n" * 1500 + "x,2\n", {"a": ["1"] * 1500 + ["x"], "b": [2] * 1501}),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_csv_as_people_have_it(tmp_path, text, columns, packed):
    data = gzip.compress(text.encode()) if packed else text
    table = read_table(write(tmp_path, data, "data.csv.gz" if packed else "data.csv"))
    assert list(table.columns) == list(columns)
    for name, values in columns.items():
        got = [None if value != value else value for value in table.columns[name].tolist()]
        assert got == values


def test_utf16_of_spreadsheets_and_places_by_line(tmp_path):
    table = read_table(write(tmp_path, 'a\tb\n1\t"two\nlines"\n\n2\té\n', encoding="utf-16"))
    assert table.columns["b"].tolist() == ["two\nlines", "é"]
    assert [table.place(row) for row in range(2)] == ["line 3", "line 5"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a,b\n", "holds no rows"),
        ("a,b\n1,2\n3,4,5\n", "line 3 has 3 cells, expected 2"),
        ("a,a\n1,2\n", "has two columns 'a'"),
        ("a\né\n".encode("latin-1"), "is no text in UTF-8"),
        (gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "cannot be read as a table"),
        (b"PK\x03\x04\x00\x00", "is no text"),
    ],
)
def test_what_is_no_table(tmp_path, text, message):
    with pytest.raises(nnx.DatasetError, match=message):
        read_table(write(tmp_path, text))


def test_parquet(tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "data.parquet"
    kind = arrow.array(list(IRIS) * 10).dictionary_encode()
    flag = [bool(i % 2) for i in range(30)]
    parquet.write_table(
        arrow.table({"x": list(range(30)), "y2": [None, 0.5, 1.5] * 10, "flag": flag, "kind": kind}), path
    )
    data = load(path, label="kind", fill="mean")
    assert data.train.classes == IRIS
    assert data.train.x.shape[1:] == (3,)
    with pytest.raises(nnx.DatasetError, match="values are missing: y2 in 10 of 30 rows"):
        load(path, label="kind")
    write(tmp_path, b"PAR1", "bad.parquet")
    with pytest.raises(nnx.DatasetError, match="is no Parquet file"):
        load(tmp_path / "bad.parquet")


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(nnx.InputError, match=r"pip install 'nnx-array\[tables\]'"):
        load(write(tmp_path, b"PAR1", "data.parquet"))


# Preparing ------------------------------------------------------------------------------------------------------------


def test_the_training_part_alone_decides_and_new_rows_are_prepared_alike(tmp_path):
    path = measurements(tmp_path)
    data = load(path, label="kind", categories=["colour"])
    raw = read_table(path).columns
    numbers = np.stack([raw["length"], raw["width"]], axis=1)
    inside = np.array(
        [any(np.allclose(row[:2], x[:2]) for x in data.train.x) for row in (data.train.preparation.inputs(path))]
    )
    assert inside.sum() == len(data.train)
    np.testing.assert_allclose(data.train.x[:, :2].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(data.train.x[:, :2].std(axis=0), 1)
    expected = (numbers - numbers[inside].mean(axis=0)) / numbers[inside].std(axis=0)
    np.testing.assert_allclose(data.train.preparation.inputs(path)[:, :2], expected)
    assert data.train.classes == IRIS
    assert data.train.x.shape[1:] == (4,)
    assert "left out: Id" in data.train.note

    kept = Preparation.from_config(json.loads(json.dumps(data.train.preparation.config())))
    assert kept == data.train.preparation
    columns = {"colour": ["blue"], "more": [1.0], "width": [5.0], "length": [100.0]}
    [row] = kept.inputs(columns)
    length, width = kept.columns[:2]
    np.testing.assert_allclose(row, [(100 - length.mean) / length.std, (5 - width.mean) / width.std, 1, 0])


def test_missing_numbers_are_filled_by_the_training_part(tmp_path):
    def gaps(row, i):
        return [*row[:2], "" if i % 4 == 0 else row[2], *row[3:]]

    path = measurements(tmp_path, change=gaps)
    for fill, of in (("mean", np.nanmean), ("median", np.nanmedian), (0, lambda values: 0.0)):
        data = load(path, label="kind", drop=["colour"], fill=fill)
        length, width = data.train.preparation.columns
        known = data.train.x[:, 1] * width.std + width.mean
        assert np.isclose(width.fill, of(known[~np.isclose(known, width.fill)]) if fill else 0.0)
        assert length.fill is not None
        assert np.isfinite(data.test.x).all()


@pytest.mark.parametrize(
    ("label", "loss", "classes"),
    [
        (lambda i: i % 3, "", ("0", "1", "2")),
        (lambda i: float(i % 2 + 1), "", ("1", "2")),
        (lambda i: i % 2 == 0, "", ("False", "True")),
        (lambda i: i, "", ()),
        (lambda i: i / 7, "", ()),
        (lambda i: i % 3, "mse", ()),
        (lambda i: i % 25, "cross_entropy", tuple(map(str, range(25)))),
        (lambda i: f"k{i % 2}", "cross_entropy", ("k0", "k1")),
    ],
)
def test_classes_or_a_number(tmp_path, label, loss, classes):
    rows = "".join(f"{i * 0.5},{label(i)}\n" for i in range(60))
    data = load(write(tmp_path, "x,target\n" + rows), loss=loss)
    assert data.train.classes == classes
    if not classes:
        t = np.concatenate([part.t for part in data])
        back = data.train.preparation.numbers(t[:, None])
        np.testing.assert_allclose(np.sort(back), np.sort([float(label(i)) for i in range(60)]), atol=1e-9)
        np.testing.assert_allclose([data.train.t.mean(), data.train.t.std()], [0, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "no column is called label, target or class; say which one .*--label NAME.* Id, length, width"),
        ({"label": "knd"}, "unknown column of .* 'knd'. Did you mean 'kind'"),
        ({"label": "kind"}, "'colour' holds text in 60 of 60 rows, such as 'red' .line 2.*--categories colour"),
        ({"label": "kind", "drop": ["color"]}, "Did you mean 'colour'"),
        ({"label": "kind", "drop": ["kind"]}, "kind: is the label"),
        (
            {"label": "kind", "loss": "mse", "drop": ["colour"]},
            "'kind' holds texts, such as 'setosa'; mse takes numbers",
        ),
        ({"label": "kind", "loss": "poisson_deviance"}, "unknown loss for a table"),
        ({"label": "kind", "drop": ["colour", "length", "width"]}, "has no columns beside the label"),
        ({"label": "kind", "drop": ["colour"], "fill": "mode"}, "fill: got 'mode', expected mean, median or a number"),
        ({"label": "length", "drop": ["colour", "kind"], "loss": "cross_entropy"}, "60 different values .* too many"),
        ({"label": "kind", "drop": ["colour"], "size": (2, 2)}, "image_size: got 2x2, but .* has 2 columns"),
    ],
)
def test_what_is_refused(tmp_path, settings, message):
    with pytest.raises(nnx.NnxError, match=message):
        load(measurements(tmp_path), **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda row, i: [*row[:3], f"2024-01-{i % 28 + 1:02}", row[4]],
            "column colour holds dates, such as 2024-01-01",
        ),
        (
            lambda row, i: [*row[:3], "" if i > 50 else 1, row[4]],
            "colour in 9 of 60 rows .first in line 53.; fill them",
        ),
        (lambda row, i: [*row[:3], "-" if i == 7 else i, row[4]], "holds text in 1 of 60 rows, such as '-' .line 9."),
        (lambda row, i: [*row[:3], "inf" if i == 7 else i, row[4]], "'colour' is infinite in line 9"),
        (lambda row, i: [*row[:3], i, "" if i == 7 else row[4]], "kind in 1 of 60 rows .* this is the label: remove"),
        (lambda row, i: [*row[:3], i, "one"], "'kind' is 'one' in every row"),
    ],
)
def test_columns_that_are_refused_by_name(tmp_path, change, message):
    with pytest.raises(nnx.DatasetError, match=message):
        load(measurements(tmp_path, change=change), label="kind")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"width": [1.0]}, "has no column length, colour, which the network was trained on"),
        ({"width": [1.0], "length": [np.nan], "colour": ["red"]}, "length in 1 of 1 rows .*trained without"),
        ({"width": [1.0], "length": ["long"], "colour": ["red"]}, "'length' holds text"),
        ({"width": [1.0], "length": [1.0], "colour": ["green"]}, "has 'green' in row 0, expected one of .* blue, red"),
    ],
)
def test_new_rows_that_do_not_fit(tmp_path, columns, message):
    preparation = load(measurements(tmp_path), label="kind", categories=["colour"]).train.preparation
    with pytest.raises(nnx.DatasetError, match=message):
        preparation.inputs(columns)


def test_columns_of_pixels_are_pictures(tmp_path):
    digits = nnx.datasets.digits()
    lines = [",".join(["label", *(f"pixel{i}" for i in range(64))])]
    lines += [",".join(map(str, [t, *x.ravel()])) for x, t in zip(digits.x[:100], digits.t, strict=False)]
    data = load(write(tmp_path, "\n".join(lines)), size=(8, 8))
    assert data.train.x.shape == (72, 8, 8)
    np.testing.assert_allclose(data.train.preparation.inputs(tmp_path / "data.csv") * 255, digits.x[:100])


def test_emnists_columns_are_turned_upright(tmp_path):
    rows = "".join(f"{i % 2}," + ",".join(map(str, range(6))) + "\n" for i in range(20))
    data = load(write(tmp_path, rows, "emnist-letters-train.csv"), label="1", size=(2, 3)).train
    np.testing.assert_allclose(data.x[0] * 255, [[0, 2, 4], [1, 3, 5]])
    assert "turned upright" in data.note


def test_experiments_of_classes_refuse_numbers(tmp_path):
    path = write(tmp_path, "x,target\n" + "".join(f"{i},{i / 7}\n" for i in range(60)))
    with pytest.raises(nnx.DatasetError, match="its labels are numbers to be predicted, expected classes"):
        nnx.datasets.as_splits(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("data.xlsx", "is no data set that nnx reads; .*save the sheet as CSV"),
        ("data.zip", "unpack it first"),
        ("train.pkl", "a pickle could run anything"),
        ("digit.png", "a folder of pictures for each class"),
        ("train-images-idx3-ubyte.gz", "is one file of a data set; give its folder"),
        ("mnist", "is no data set that nnx reads"),
    ],
)
def test_a_file_that_is_there_is_never_a_misspelt_name(tmp_path, name, message):
    with pytest.raises(nnx.InputError, match=message) as caught:
        load(write(tmp_path, b"\0", name))
    assert "Did you mean" not in str(caught.value)
    with pytest.raises(nnx.InputError, match="gone.csv: there is no such file or folder"):
        load(tmp_path / "gone.csv")


def test_settings_of_tables_are_refused_elsewhere():
    with pytest.raises(nnx.InputError, match="label: got 'kind', but digits is no table"):
        load("digits", label="kind")
    assert load("digits", loss="cross_entropy").train.classes == tuple("0123456789")
