"""Data sets, their files, and what is refused."""

import gzip
import hashlib
import http.server
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nnx
from nnx import datasets
from nnx.datasets import Dataset, _download, read_idx, write_idx

IMAGES, LABELS = "-images-idx3-ubyte", "-labels-idx1-ubyte"


def pair(n=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 5, 4), np.uint8), rng.permutation(np.arange(n) % 10).astype(np.uint8)


def write_pair(folder, prefix, n=20, suffix=".gz"):
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = pair(n)
    write_idx(folder / f"{prefix}{IMAGES}{suffix}", images)
    write_idx(folder / f"{prefix}{LABELS}{suffix}", labels)


# idx files ------------------------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    array=hnp.arrays(
        st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    suffix=st.sampled_from(["", ".gz"]),
)
def test_idx_round_trip(tmp_path_factory, array, suffix):
    file = tmp_path_factory.mktemp("idx") / f"a{suffix}"
    write_idx(file, array)
    back = read_idx(file)
    assert back.dtype == array.dtype
    assert back.flags.c_contiguous
    assert back.flags.writeable
    np.testing.assert_array_equal(back, array)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(share=st.floats(0, 1, exclude_max=True), suffix=st.sampled_from(["", ".gz"]))
def test_idx_cut_off_anywhere(tmp_path_factory, share, suffix):
    file = tmp_path_factory.mktemp("idx") / f"a{suffix}"
    write_idx(file, pair()[0])
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(nnx.DatasetError, match="use another copy"):
        read_idx(file)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(place=st.integers(0, 10**6), bit=st.integers(0, 7), suffix=st.sampled_from(["", ".gz"]))
def test_idx_with_a_wrong_bit_is_read_or_refused(tmp_path_factory, place, bit, suffix):
    file = tmp_path_factory.mktemp("idx") / f"a{suffix}"
    images = pair(2)[0]
    write_idx(file, images)
    data = bytearray(file.read_bytes())
    data[place % len(data)] ^= 1 << bit
    file.write_bytes(data)
    try:
        back = read_idx(file)
    except nnx.DatasetError:
        return
    if suffix:  # The checksum vouches for the values.
        np.testing.assert_array_equal(back, images)


def test_idx_of_either_byte_order(tmp_path):
    for order in "<>":
        write_idx(tmp_path / "a", np.array([1, -2], f"{order}i2"))
        assert (tmp_path / "a").read_bytes() == b"\0\0\x0b\x01" + struct.pack(">Ihh", 2, 1, -2)


def test_idx_that_holds_far_more_than_it_announces_is_not_unpacked(tmp_path):
    header = b"\0\0\x08\x01" + struct.pack(">I", 10)
    (tmp_path / "a").write_bytes(gzip.compress(header + bytes(20_000_000)))
    tracemalloc.start()
    with pytest.raises(nnx.DatasetError, match="is too long: .*10 in all, but it holds more than 10"):
        read_idx(tmp_path / "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no idx file .it starts with nothing"),
        (b"\x89PNG....", "is no idx file .it starts with 89504e47"),
        (b"\0\0\x0a\x01" + struct.pack(">I", 1) + b"x", "is no idx file"),
        (b"\0\0\x08\x03" + struct.pack(">I", 1), "cut off within its header"),
        (
            b"\0\0\x08\x01" + struct.pack(">I", 3) + b"ab",
            "is cut off: its header announces 3 values of 1 bytes, 3 in all",
        ),
        (b"\0\0\x08\x01" + struct.pack(">I", 3) + b"abcd", "is too long"),
        (b"\0\0\x0e\x03" + struct.pack(">3I", *[2**32 - 1] * 3) + b"abcd", "is cut off: .*but it holds 4"),
        (b"\0\0\x08\x41" + struct.pack(">65I", *[1] * 65) + b"a", "announces a shape that NumPy cannot hold"),
        (b"\0\0\x08\x04" + struct.pack(">4I", 0, *[2**32 - 1] * 3), "announces a shape that NumPy cannot hold"),
        (gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 3) + b"abc", mtime=0) + b"junk", "is damaged or cut off"),
        (
            gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 3) + b"abc", mtime=0)[:-4] + b"\0\0\0\0",
            "is damaged or cut off",
        ),
    ],
)
def test_damaged_idx(tmp_path, data, message):
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(nnx.DatasetError, match=message):
        read_idx(tmp_path / "a")


def test_idx_refuses(tmp_path):
    with pytest.raises(nnx.DatasetError, match="there is no such file"):
        read_idx(tmp_path / "a")
    with pytest.raises(nnx.DatasetError, match="cannot be read"):
        read_idx(tmp_path)
    with pytest.raises(nnx.InputError, match="got dtype int64, expected uint8, int8, .*; convert it"):
        write_idx(tmp_path / "a", np.zeros(3, np.int64))


# Dataset --------------------------------------------------------------------------------------------------------------


def test_digits():
    data = datasets.digits()
    assert repr(data) == "<Dataset digits: 1797 x (8, 8) uint8, 10 classes>"
    assert data.x.max() * data.scale == 1
    assert np.bincount(data.t).min() >= 174
    # The first digit, as its publishers print it: a zero.
    assert data.x[0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert data.t[:10].tolist() == list(range(10))


def test_dataset_of_lists():
    data = Dataset("d", [[1, 2.5], [3, 4]], [1, 0], 2, ["a", "b"])
    assert repr(data) == "<Dataset d: 2 x (2) float64, 2 classes>"
    assert (len(data), data.scale, data.classes, data.t.dtype) == (2, 2.0, ("a", "b"), np.int64)
    np.testing.assert_array_equal(data.inputs("float64"), [[2, 5], [6, 8]])


def test_inputs_are_scaled_floats():
    data = datasets.digits()
    for dtype in ("float32", "float64"):
        assert data.inputs(dtype).dtype == dtype
        np.testing.assert_array_equal(data.inputs(dtype), data.x / 16)
    with pytest.raises(nnx.InputError, match="dtype: got float16, expected float32 or float64"):
        data.inputs("float16")


def test_take():
    data = datasets.digits()
    part = data.take([5, 0, 5])
    np.testing.assert_array_equal(part.x, data.x[[5, 0, 5]])
    assert (part.t.tolist(), part.scale, part.classes, part.name) == ([5, 0, 5], 1 / 16, data.classes, "digits")
    with pytest.raises(nnx.DatasetError, match="digits: holds no rows"):
        data.take(np.array([], int))


def test_split_is_a_partition_that_the_seed_decides():
    data = datasets.digits()
    parts = data.split(0.5, 0.3, 0.2, seed=4)
    assert [len(part) for part in parts] == [898, 540, 359]
    rows = np.concatenate([part.x.reshape(len(part), -1) for part in parts])
    np.testing.assert_array_equal(np.sort(rows, axis=0), np.sort(data.x.reshape(1797, -1), axis=0))
    np.testing.assert_array_equal(data.split(0.5, 0.5, seed=1)[0].t, data.split(0.5, 0.5, seed=1)[0].t)
    assert not np.array_equal(data.split(0.5, 0.5, seed=1)[0].t, data.split(0.5, 0.5, seed=2)[0].t)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((0, 2), np.uint8), "t": np.zeros(0, int)}, "holds no rows"),
        ({"t": np.zeros(4, int)}, r"inputs of shape \(3, 2\) and labels of \(4,\)"),
        ({"t": np.array([0, 1, 2])}, "got the label 2 in row 2"),
        ({"x": np.zeros((3, 2), np.int32)}, "dtype int32, expected uint8 or floats"),
        ({"x": np.zeros(3)}, r"inputs of shape \(3,\) .*expected \(n, ...\) and \(n,\)"),
        ({"x": np.array([["a"]] * 3)}, "x: got dtype <U1, expected numbers"),
        (
            {"x": np.array([[0, 1], [0, np.nan], [np.inf, 0]])},
            "d: got NaN .* in 2 of 3 rows, the first being row 1; clean",
        ),
        ({"t": np.array([0, -1, 0])}, "got the label -1 in row 1, expected labels in 0..1"),
        ({"t": np.zeros(3)}, "got labels of dtype float64, expected integers"),
        ({"classes": ()}, "got no names of classes"),
        ({"scale": 0.0}, "scale: got 0.0"),
        ({"scale": np.inf}, "scale: got inf, expected a finite number greater than 0"),
    ],
)
def test_dataset_refuses(change, message):
    good = {"name": "d", "x": np.zeros((3, 2), np.uint8), "t": np.zeros(3, int), "scale": 1.0, "classes": ("a", "b")}
    Dataset(**good)
    with pytest.raises(nnx.NnxError, match=message):
        Dataset(**good | change)


@pytest.mark.parametrize("fractions", [(), (0.5, 0.6), (0.5,), (1.5, -0.5), ("a",), (0.9999, 0.0001)])
def test_split_refuses(fractions):
    with pytest.raises(nnx.InputError, match="fractions: "):
        datasets.digits().split(*fractions)


@pytest.mark.parametrize("rows", [[1797], [-1], [0.5], [[0]]])
def test_take_refuses(rows):
    with pytest.raises(nnx.InputError, match=r"expected row numbers in 0\.\.1796"):
        datasets.digits().take(rows)


# Plain arrays ---------------------------------------------------------------------------------------------------------


def test_one_hot():
    np.testing.assert_array_equal(datasets.one_hot([2, 0]), [[0, 0, 1], [1, 0, 0]])
    assert datasets.one_hot(np.array([1]), 4, "float64").shape == (1, 4)
    assert datasets.one_hot([], 3).shape == (0, 3)
    for bad, message in (([3], "got the label 3"), ([-1], "got the label -1"), ([0.5], "expected integers")):
        with pytest.raises(nnx.NnxError, match=message):
            datasets.one_hot(bad, 3)
    with pytest.raises(nnx.InputError, match=r"expected \(n,\) labels"):
        datasets.one_hot([[1]])
    with pytest.raises(nnx.InputError, match="cannot be told from no labels; pass it"):
        datasets.one_hot([])


@pytest.mark.parametrize(
    ("t", "message"),
    [([-1], "got the label -1"), ([np.nan], "expected integers"), ([1.0], r"t.astype\(int\)"), ([True], "dtype bool")],
)
def test_one_hot_without_classes_refuses_the_same_labels(t, message):
    with pytest.raises(nnx.NnxError, match=message):
        datasets.one_hot(t)


def test_shuffle_and_split_keep_pairs_and_the_originals():
    x, t = np.arange(20).reshape(10, 2), np.arange(10)
    mixed_x, mixed_t = datasets.shuffle(x, t, seed=1)
    np.testing.assert_array_equal(mixed_x[:, 0], 2 * mixed_t)
    assert not np.array_equal(mixed_t, t)
    (a, b), (c, d) = datasets.split(x, t, 0.7, 0.3)
    assert (len(a), len(b), len(c), len(d)) == (7, 7, 3, 3)
    np.testing.assert_array_equal(np.sort(np.concatenate([b, d])), np.arange(10))
    np.testing.assert_array_equal(t, np.arange(10))
    np.testing.assert_array_equal(x, np.arange(20).reshape(10, 2))
    with pytest.raises(nnx.InputError, match="as many rows of both"):
        datasets.shuffle(x, t[:5])
    with pytest.raises(nnx.InputError, match="seed: got -1"):
        datasets.shuffle(x, t, seed=-1)
    with pytest.raises(nnx.InputError, match=r"10 rows are too few for parts of \(0.99, 0.01\); one would be empty"):
        datasets.split(x, t, 0.99, 0.01)


# Folders --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_folder_with_both_pairs(tmp_path, suffix):
    write_pair(tmp_path / "own", "train", 50, suffix)
    write_pair(tmp_path / "own", "t10k", 20, suffix)
    found = datasets.folder(tmp_path / "own")
    assert {part: repr(data) for part, data in found.items()} == {
        "train": "<Dataset own: 50 x (5, 4) uint8, 10 classes>",
        "test": "<Dataset own: 20 x (5, 4) uint8, 10 classes>",
    }
    splits = datasets.load(str(tmp_path / "own"))
    assert [len(part) for part in splits] == [45, 5, 20]
    np.testing.assert_array_equal(splits.test.x, pair(20)[0])


def test_folder_with_one_pair_holds_a_fifth_out(tmp_path):
    write_pair(tmp_path, "t10k", 100)
    assert [len(part) for part in datasets.load(str(tmp_path))] == [72, 8, 20]


def test_folder_refuses(tmp_path):
    with pytest.raises(nnx.DatasetError, match="is no folder"):
        datasets.folder(tmp_path / "no")
    with pytest.raises(nnx.DatasetError, match=r"holds no data set; expected .*train-images-idx3-ubyte\[.gz\]"):
        datasets.folder(tmp_path)
    write_idx(tmp_path / f"train{IMAGES}", pair()[0])
    with pytest.raises(nnx.DatasetError, match=f"has train{IMAGES}, but not its labels"):
        datasets.folder(tmp_path)
    write_idx(tmp_path / f"train{LABELS}", pair(19)[1])
    with pytest.raises(nnx.DatasetError, match=r"arrays of shapes \(20, 5, 4\) and \(19,\)"):
        datasets.folder(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3), np.int16), np.zeros(2, np.uint8), "images-idx3-ubyte: holds int16, expected unsigned bytes"),
        (np.zeros((2, 3), np.uint8), np.zeros(2, np.float32), "labels-idx1-ubyte: expected labels that are whole"),
        (np.zeros((2, 3), np.uint8), np.array([0, -1], np.int8), "labels-idx1-ubyte: expected labels that are whole"),
        (np.zeros((2, 3), np.uint8), np.array([0, 2**31 - 1], np.int32), r"whole numbers in 0\.\.65535"),
        (np.zeros((0, 3), np.uint8), np.zeros(0, np.uint8), "train-images-idx3-ubyte and .*own: holds no rows"),
        (np.full((2, 3), np.nan), np.zeros(2, np.uint8), "train-images-idx3-ubyte and .*own: got NaN"),
    ],
)
def test_folder_refuses_what_its_files_hold(tmp_path, images, labels, message):
    (tmp_path / "own").mkdir()
    write_idx(tmp_path / "own" / f"train{IMAGES}", images)
    write_idx(tmp_path / "own" / f"train{LABELS}", labels)
    with pytest.raises(nnx.DatasetError, match=message):
        datasets.folder(tmp_path / "own")


def test_folder_of_two_pairs_that_differ(tmp_path):
    write_pair(tmp_path, "train", 5)
    write_pair(tmp_path, "t10k", 20)
    assert [len(data.classes) for data in datasets.folder(tmp_path).values()] == [10, 10]
    write_idx(tmp_path / f"t10k{IMAGES}.gz", np.zeros((20, 3, 3), np.uint8))
    with pytest.raises(nnx.DatasetError, match=r"shapes \(5, 4\) in train and \(3, 3\) in test, expected the same"):
        datasets.folder(tmp_path)


def test_folder_of_labels_alone(tmp_path):
    write_idx(tmp_path / f"t10k{LABELS}.gz", pair()[1])
    with pytest.raises(nnx.DatasetError, match=f"has t10k{LABELS}.gz, but not its images"):
        datasets.folder(tmp_path)


def test_folder_of_floats_is_not_scaled(tmp_path):
    write_idx(tmp_path / f"train{IMAGES}", np.full((3, 2), 0.5, np.float32))
    write_idx(tmp_path / f"train{LABELS}", np.array([0, 2, 1], np.uint8))
    data = datasets.folder(tmp_path)["train"]
    assert (data.scale, data.x.dtype, data.classes) == (1.0, np.float32, ("0", "1", "2"))


def test_load_digits():
    splits = datasets.load("digits", seed=3)
    assert [len(part) for part in splits] == [1294, 144, 359]
    np.testing.assert_array_equal(splits.validation.t, datasets.load("digits", seed=3).validation.t)
    assert not np.array_equal(splits.test.t, datasets.load("digits", seed=4).test.t)


def test_load_mnist_keeps_its_test_part(tmp_path, monkeypatch):
    write_pair(tmp_path, "train", 50)
    write_pair(tmp_path, "t10k", 20)
    monkeypatch.setenv("NNX_DATA_DIR", str(tmp_path))
    for name in ("mnist", "fashion_mnist"):
        splits = datasets.load(name)
        assert [len(part) for part in splits] == [45, 5, 20]
        np.testing.assert_array_equal(splits.test.x, pair(20)[0])


def test_unknown_name():
    with pytest.raises(nnx.InputError, match="unknown data set 'digit'. Did you mean 'digits'.*a folder of idx files"):
        datasets.load("digit")


def test_import_leaves_the_network_and_the_terminal_alone():
    program = "import sys, nnx.datasets; print({'pooch', 'requests', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Downloads, from a server on this machine -----------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Mirrors /bad/ (404), /wrong/ (other bytes), /cut/ (hangs up half way) and /good/, the requests that came, and an
    empty cache."""
    write_pair(tmp_path / "files" / "good", "train", 30)
    write_pair(tmp_path / "files" / "good", "t10k", 10)
    write_pair(tmp_path / "files" / "wrong", "train", 29)
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path / "files")

        def do_GET(self):
            if not self.path.startswith("/cut/"):
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(bytes(80_000))
            return None

        def log_request(self, *args):
            requests.append(self.path)

        def log_message(self, *args):
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{httpd.server_port}"
    files = (tmp_path / "files" / "good").iterdir()
    md5 = {file.name.removesuffix(".gz"): hashlib.md5(file.read_bytes()).hexdigest() for file in files}

    def use(*mirrors):
        source = replace(_download.SOURCES["mnist"], mirrors=tuple(f"{base}/{m}/" for m in mirrors), md5=md5)
        monkeypatch.setitem(_download.SOURCES, "mnist", source)

    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "cache" / project)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("NNX_DATA_DIR", raising=False)
    yield use, requests, httpd
    httpd.shutdown()
    httpd.server_close()
    thread.join()


@pytest.mark.slow
def test_download_tries_mirrors_and_keeps_the_files(server, tmp_path):
    use, requests, httpd = server
    use("bad", "wrong", "good")
    data = datasets.mnist()
    assert repr(data) == "<Dataset mnist: 30 x (5, 4) uint8, 10 classes>"
    assert [r.split("/")[1] for r in requests if IMAGES in r] == ["bad", "wrong", "good"]
    assert len(datasets.mnist("test")) == 10
    httpd.shutdown()
    requests.clear()
    np.testing.assert_array_equal(datasets.mnist().x, data.x)
    assert requests == []
    kept = sorted(file.name for file in (tmp_path / "cache").rglob("*") if file.is_file())
    assert kept == sorted(f"{p}{kind}.gz" for p in ("t10k", "train") for kind in (IMAGES, LABELS))


@pytest.mark.slow
def test_download_that_fails_everywhere_says_why_and_what_to_do(server, tmp_path):
    use, _, _ = server
    use("bad", "wrong")
    with pytest.raises(nnx.DatasetError) as error:
        datasets.mnist()
    message = str(error.value)
    assert "train-images-idx3-ubyte.gz could not be downloaded" in message
    assert "/bad/: answered 404" in message
    assert "/wrong/: MD5 hash" in message or "does not match" in message
    assert "put the data set's four files into a folder, and give that: --dataset FOLDER" in message
    assert [file for file in (tmp_path / "cache").rglob("*") if file.is_file()] == []


@pytest.mark.slow
def test_download_that_is_cut_off_leaves_nothing_behind(server, tmp_path):
    use, _, _ = server
    use("cut", "good")
    assert len(datasets.mnist()) == 30
    assert sorted(file.name.split("-")[1] for file in (tmp_path / "cache").rglob("*.*")) == ["images", "labels"]
    # The bar of a failed download must end, or it and the next one fight for the terminal.
    bars = [thread for thread in threading.enumerate() if type(thread).__module__.startswith("rich")]
    for bar in bars:
        bar.join(2)  # rich tells its thread to end, but does not wait for it
    assert not any(bar.is_alive() for bar in bars)
    use("cut")
    with pytest.raises(nnx.DatasetError, match="/cut/: .*Connection broken"):
        datasets.mnist("test")


@pytest.mark.slow
def test_damaged_file_in_the_cache_is_downloaded_anew(server, tmp_path):
    use, _, _ = server
    use("good")
    data = datasets.mnist()
    next((tmp_path / "cache").rglob(f"train{IMAGES}.gz")).write_bytes(b"half")
    np.testing.assert_array_equal(datasets.mnist().x, data.x)


@pytest.mark.slow
def test_no_server_at_all_is_noticed_soon(server, monkeypatch):
    use, _, httpd = server
    use("good")
    httpd.shutdown()
    httpd.server_close()
    monkeypatch.setenv("NNX_DATA_DIR", "")
    begun = time.perf_counter()
    with pytest.raises(
        nnx.DatasetError, match="could not be downloaded\\.\n  .*/good/: no connection\nCheck the network"
    ):
        datasets.mnist()
    assert time.perf_counter() - begun < 5


def test_folder_passes_over_images_without_labels(tmp_path, monkeypatch):
    """Images of one folder must not meet labels of the other."""
    write_pair(tmp_path, "train", 40)
    (tmp_path / "mnist").mkdir()
    write_idx(tmp_path / "mnist" / f"train{IMAGES}", np.zeros((40, 5, 4), np.uint8))
    monkeypatch.setenv("NNX_DATA_DIR", str(tmp_path))
    np.testing.assert_array_equal(datasets.mnist().x, pair(40)[0])
    message = rf"\(from folder\): has no train{IMAGES}\[.gz\] together with train{LABELS}\[.gz\]; put them there"
    with pytest.raises(nnx.DatasetError, match=message):
        datasets.mnist(folder=tmp_path / "mnist")


def test_label_that_has_no_name(tmp_path):
    write_idx(tmp_path / f"train{IMAGES}", np.zeros((2, 3), np.uint8))
    write_idx(tmp_path / f"train{LABELS}", np.array([0, 10], np.uint8))
    with pytest.raises(nnx.DatasetError, match=r"holds the label 10, expected labels in 0\.\.9"):
        datasets.mnist(folder=tmp_path)


@pytest.mark.parametrize("split", ["validation", None, ["train"]])
def test_split_of_another_name(split):
    with pytest.raises(nnx.InputError, match=r"unknown split .*Known: test, train\."):
        datasets.fashion_mnist(split)


def test_data_dir_is_used_instead_of_a_download(tmp_path, monkeypatch):
    write_pair(tmp_path / "fashion_mnist", "train", 30, "")
    write_pair(tmp_path, "train", 40)
    monkeypatch.setenv("NNX_DATA_DIR", str(tmp_path))
    assert len(datasets.fashion_mnist()) == 30
    assert datasets.fashion_mnist().classes[9] == "Ankle boot"
    assert len(datasets.mnist()) == 40
    assert len(datasets.mnist(folder=tmp_path / "fashion_mnist")) == 30
    with pytest.raises(nnx.DatasetError, match=r"from NNX_DATA_DIR.: has no t10k-images-idx3-ubyte\[.gz\]"):
        datasets.mnist("test")
    with pytest.raises(nnx.InputError, match="unknown split 'tests'. Did you mean 'test'"):
        datasets.mnist("tests")
