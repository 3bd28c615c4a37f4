"""Trainings from the disk: the rows of each step, what is checked as it is read, and how it ends and goes on."""

import signal
import threading

import numpy as np
import pytest
from ranks import together

import nnx
from nnx.training import Order

N, C = 530, 4
X = np.random.default_rng(0).normal(size=(N, 6)).astype(np.float32)
T = np.random.default_rng(1).integers(0, C, N)


@pytest.fixture
def data(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", T)
    return nnx.datasets.on_disk(tmp_path / "x.npy", block=20)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "nnx reads ahead"]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert threads() == []


def trainer(**settings) -> nnx.Trainer:
    layers = nnx.Affine(9), nnx.BatchNorm(), nnx.ReLU(), nnx.Dropout(0.3), nnx.Affine(C)
    return nnx.Trainer(nnx.Sequential(*layers), nnx.Adam(lr=0.01), seed=5, **{"backend": "numpy", **settings})


def fit(one: nnx.Trainer, *data, **settings):
    return one.fit(*data, **{"epochs": 2, "batch_size": 32, "verbose": False, **settings})


def same(a: nnx.Trainer, b: nnx.Trainer) -> bool:
    first, second = a.model.state_dict(), b.model.state_dict()
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_window_of_all_rows_gives_the_bits_of_memory(data, backend):
    memory, disk = trainer(backend=backend), trainer(backend=backend)
    validation = X[:50], T[:50]
    expected = fit(memory, X, T, train_accuracy=False, validation_data=validation)
    assert fit(disk, data, validation_data=validation) == expected
    assert same(memory, disk)


@pytest.mark.parametrize("window", [20, 47, 100])
@pytest.mark.parametrize("batch_size", [7, 32, 150])
def test_the_rows_of_each_step_are_those_of_the_order(data, window, batch_size):
    disk, by_hand = trainer(), trainer()
    fit(disk, data, window=window, batch_size=batch_size)
    order = Order(N, 5, blocks=data.edges(), window=window)
    for epoch in range(2):
        for start in range(0, N, batch_size):
            rows = order.rows(epoch, start, min(start + batch_size, N))
            by_hand.step(X[rows], T[rows])
    assert same(disk, by_hand)


def test_a_captured_step_reads_both_buffers(data):
    by_hand, disk = trainer(backend="numba"), trainer(backend="numba")
    fit(disk, data, window=90, epochs=3)
    order = Order(N, 5, blocks=data.edges(), window=90)
    for epoch in range(3):
        for start in range(0, N, 32):
            rows = order.rows(epoch, start, min(start + 32, N))
            by_hand.step(X[rows], T[rows])
    assert same(disk, by_hand)


def test_memory_maps_are_read_as_they_are(tmp_path, data):
    mapped, memory = np.load(tmp_path / "x.npy", mmap_mode="r"), trainer()
    fit(memory, X, T, train_accuracy=False)
    disk = trainer()
    fit(disk, mapped, T)
    assert same(memory, disk)
    assert "accuracy" not in disk.history
    assert disk.evaluate(mapped, T) == memory.evaluate(X, T)
    assert np.array_equal(disk.predict(mapped), memory.predict(X))


def test_evaluation_and_prediction_are_those_of_memory(data):
    one = trainer()
    fit(one, X, T)
    assert one.evaluate(data) == one.model.evaluate(data) == one.evaluate(X, T)
    assert np.array_equal(one.predict(data), one.predict(X))
    assert np.array_equal(one.predict_classes(data), one.predict_classes(X))


def test_weights_and_parts(data):
    weight = np.random.default_rng(2).uniform(size=N)
    memory, disk = trainer(), trainer()
    fit(memory, X, T, sample_weight=weight, class_weight="balanced", train_accuracy=False)
    fit(disk, data, sample_weight=weight, class_weight="balanced")
    assert same(memory, disk)
    assert set(fit(trainer(), data, validation_split=0.2, train_accuracy=True)) == {
        "loss",
        "accuracy",
        "val_loss",
        "val_accuracy",
    }
    with pytest.raises(nnx.InputError, match="validation_split: got sample_weight as well"):
        fit(trainer(), data, sample_weight=weight, validation_split=0.2)


def test_it_goes_on_bit_for_bit_in_the_middle_of_an_epoch(tmp_path, data):
    class Fail(nnx.Callback):
        def on_step(self, trainer, step, loss):
            if step == 25:
                raise RuntimeError("power cut")

    whole, file = trainer(), tmp_path / "run.safetensors"
    fit(whole, data, window=90)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(trainer(), data, window=90, checkpoint=file, checkpoint_every=4, callbacks=[Fail()])
    again = nnx.Trainer.load(file, backend="numpy")
    assert again.steps == 24
    fit(again, data, window=90)
    assert same(whole, again)
    assert whole.history == again.history


def test_another_window_or_file_is_refused_when_it_goes_on(tmp_path, data):
    file = tmp_path / "run.safetensors"
    fit(trainer(), data, window=90, epochs=1, checkpoint=file)
    with pytest.raises(nnx.InputError, match="window: got 100, but the training to be continued had 90; pass the same"):
        fit(nnx.Trainer.load(file, backend="numpy"), data, window=100)
    with pytest.raises(nnx.InputError, match="window: got None, but the training to be continued had 90"):
        fit(nnx.Trainer.load(file, backend="numpy"), X, T)
    other = nnx.datasets.on_disk(tmp_path / "x.npy", block=10)
    with pytest.raises(nnx.InputError, match="blocks of rows that are read at once: got 53, .* had 27"):
        fit(nnx.Trainer.load(file, backend="numpy"), other, window=90)
    np.save(tmp_path / "x.npy", X + 1)
    with pytest.warns(nnx.ResumeWarning, match="the training data are not the same"):
        fit(nnx.Trainer.load(file, backend="numpy"), data, window=90)


def test_a_window_is_told_and_needs_data_on_the_disk(data, capsys):
    fit(trainer(), data, window=90, epochs=1, verbose=True)
    assert "x: read from the disk in 27 blocks; a window has 90 rows" in capsys.readouterr().out
    with pytest.raises(nnx.InputError, match="window: got 90 for data in memory, .*DiskDataset"):
        fit(trainer(), X, T, window=90)
    with pytest.raises(nnx.InputError, match="window: got 0, expected a whole number of at least 1"):
        fit(trainer(), data, window=0)


@pytest.mark.parametrize(
    ("x", "t", "told"),
    [
        (
            np.nan,
            1,
            r"x_train: got NaN or infinite values in 1 of 20 rows, the first being row 3\..* from row 200 here",
        ),
        (0.5, C, r"t_train: got the label 4 in row 3, expected labels in 0\.\.3.* from row 200 here"),
    ],
)
def test_values_are_checked_as_they_are_read_with_their_rows(tmp_path, x, t, told):
    inputs, targets = X.copy(), T.copy()
    inputs[203, 2], targets[203] = x, t
    np.save(tmp_path / "x.npy", inputs)
    np.save(tmp_path / "y.npy", targets)
    one = trainer()
    with pytest.raises(nnx.InputError, match=told):
        fit(one, nnx.datasets.on_disk(tmp_path / "x.npy", block=20), window=40)
    if np.isnan(x):
        finite = nnx.datasets.on_disk(tmp_path / "x.npy", block=20)
        with pytest.raises(nnx.DivergedError):
            fit(trainer(), finite, window=40, check_finite=False)


def test_numbers_too_great_are_refused_as_they_are_read(tmp_path):
    x = X.astype(np.float64)
    x[100, 1] = 1e300
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", T)
    with pytest.raises(nnx.InputError, match=r"x_train: got 1e\+300 in row 0, column 1.*from row 100 here"):
        fit(trainer(), nnx.datasets.on_disk(tmp_path / "x.npy", block=20), window=40)


def test_whole_numbers_and_wider_floats_are_converted_block_by_block(tmp_path):
    for dtype in (np.float64, np.int16, np.uint8):
        x = (X * 10).astype(np.int16).astype(dtype) if dtype != np.uint8 else (np.abs(X) * 50).astype(dtype)
        scale = 1 / 255 if dtype == np.uint8 else 1.0
        memory, disk = trainer(), trainer()
        fit(
            memory, nnx.datasets.Dataset("x", x if dtype != np.int16 else x.astype(np.float32), T, scale, tuple("abcd"))
        )
        fit(disk, nnx.datasets.DiskDataset(x, T, scale=scale))
        assert same(memory, disk), dtype


def test_an_exception_of_the_data_set_comes_with_the_rows():
    class Broken:
        def __len__(self):
            return N

        def __getitem__(self, i):
            if i == 300:
                raise OSError("the tape is torn")
            return X[i], int(T[i])

    disk = nnx.datasets.DiskDataset(Broken(), block=20)
    with pytest.raises(OSError, match="the tape is torn") as caught:
        fit(trainer(), disk, window=40)
    assert "while rows 300 to 319 of data were read" in caught.value.__notes__


def test_a_sorted_file_is_warned_of_once(tmp_path):
    order = np.argsort(T, kind="stable")
    np.save(tmp_path / "x.npy", X[order])
    np.save(tmp_path / "y.npy", T[order])
    disk = nnx.datasets.on_disk(tmp_path / "x.npy", block=20)
    with pytest.warns(nnx.OrderWarning, match="rows that are shuffled together have [12] of the 4 classes") as found:
        fit(trainer(), disk, window=40)
    assert len(found) == 1
    fit(trainer(), disk, window=N)  # all rows are mixed


def test_data_that_do_not_fit_the_model_are_refused_before_anything_is_trained(data, tmp_path):
    one = trainer()
    fit(one, data, epochs=1)
    with pytest.raises(nnx.InputError, match=r"x: got shape \(5, 3\), expected \(n, 6\)"):
        one.evaluate(nnx.datasets.DiskDataset(np.zeros((5, 3), np.float32), np.zeros(5, int)))
    with pytest.raises(nnx.InputTypeError, match="t_train: a DiskDataset holds its own targets"):
        fit(one, data, T)
    with pytest.raises(nnx.InputTypeError, match="t_train: got None, expected the targets"):
        fit(trainer(), np.load(tmp_path / "x.npy", mmap_mode="r"))
    two = trainer()
    two.model.classes = ("a", "b", "c", "d")
    texts = nnx.datasets.DiskDataset(X, np.array(["w", "x", "y", "z"])[T])
    with pytest.raises(nnx.InputError, match="has the classes 'w', 'x', 'y', 'z', but the model knows 'a', 'b'"):
        fit(two, texts)


def test_ctrl_c_ends_after_a_step_and_leaves_no_thread(data):
    class Press(nnx.Callback):
        def on_step(self, trainer, step, loss):
            if step == 7:
                signal.raise_signal(signal.SIGINT)

    whole, one = trainer(), trainer()
    fit(whole, data, window=90)
    fit(one, data, window=90, callbacks=[Press()])
    assert (one.interrupted, one.steps) == (True, 7)
    assert threads() == []
    fit(one, data, window=90)
    assert same(whole, one)


def test_ranks_share_the_batches_of_one_order(data):
    def train(communicator=None):
        one = trainer(parallel=communicator, shards=4)
        fit(one, data, window=90, validation_data=data)
        return one, one.predict(data)

    alone, expected = train()
    for one, predicted in together(2, train):
        assert same(alone, one)
        assert one.history == alone.history
        assert np.array_equal(predicted, expected)
