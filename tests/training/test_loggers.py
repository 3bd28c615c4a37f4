"""What the loggers write is read back: the table as CSV, the event files record by record."""

import csv
import struct
import sys

import numpy as np
import pytest

import nnx
from nnx.datasets import digits

TRAIN, VALIDATION = digits().split(0.9, 0.1, seed=0)


def new_trainer(backend=None, **settings):
    return nnx.Trainer(nnx.MLP((10,), 10), nnx.SGD(lr=nnx.schedules.Step(0.1, every=100)), backend=backend, **settings)


def fit(trainer, epochs, *callbacks, **settings):
    return trainer.fit(TRAIN, epochs=epochs, validation_data=VALIDATION, callbacks=callbacks, verbose=False, **settings)


def table(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def events(folder):
    """Every event of the files in a folder, in their order: TFRecords of 8 bytes length, 4 of checksum, data, 4."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            (length,) = struct.unpack_from("<Q", data, place)
            found.append(Event.FromString(data[place + 12 : place + 12 + length]))
            place += length + 16
    return found


def scalars(folder):
    """{tag: {step: value}}, what was purged taken out, as TensorBoard does."""
    found = {}
    for event in events(folder):
        if event.session_log.status == event.session_log.START:
            for values in found.values():
                for step in [step for step in values if step >= event.step]:
                    del values[step]
        for value in event.summary.value:
            if value.HasField("simple_value"):
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def test_csv_has_a_row_an_epoch_as_exact_as_the_history(tmp_path):
    history = fit(new_trainer(), 3, nnx.CSVLogger(tmp_path / "log.csv"))
    rows = table(tmp_path / "log.csv")
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for name, values in history.items():
        assert [float(row[name]) for row in rows] == values


def killed_in_epoch_3(trainer, epoch, logs):
    """After its row, before its checkpoint."""

    def killed(path):
        raise RuntimeError("killed")

    if epoch == 3:
        trainer.save = killed


def test_csv_of_a_resumed_training_is_that_of_an_uninterrupted_one(tmp_path):
    whole, parted, checkpoint = tmp_path / "whole.csv", tmp_path / "parted.csv", tmp_path / "run.safetensors"
    fit(new_trainer(), 5, nnx.CSVLogger(whole))

    with pytest.raises(RuntimeError):
        fit(new_trainer(), 5, nnx.CSVLogger(parted), killed_in_epoch_3, checkpoint=checkpoint)
    assert len(table(parted)) == 3
    trainer = nnx.Trainer.load(checkpoint)
    assert trainer.epochs == 2
    fit(trainer, 5, nnx.CSVLogger(parted))
    assert parted.read_bytes() == whole.read_bytes()


def test_csv_of_a_new_training_begins_anew(tmp_path):
    logger = nnx.CSVLogger(tmp_path / "log.csv")
    fit(new_trainer(), 3, logger)
    history = fit(new_trainer(seed=1), 2, logger)
    assert [float(row["loss"]) for row in table(tmp_path / "log.csv")] == history["loss"]


def test_csv_takes_entries_that_come_later(tmp_path):
    trainer = new_trainer()
    trainer.fit(TRAIN, epochs=1, callbacks=[nnx.CSVLogger(tmp_path / "log.csv")], verbose=False)
    fit(trainer, 1, nnx.CSVLogger(tmp_path / "log.csv"))
    first, second = table(tmp_path / "log.csv")
    assert (first["epoch"], first["val_loss"]) == ("1", "")
    assert (second["epoch"], float(second["val_loss"])) == ("2", trainer.history["val_loss"][0])


@pytest.mark.parametrize("text", ["name,price\nbread,2\n", "epoch,loss\nfirst,2\n", "\0\1\2", ""])
def test_csv_writes_over_nothing_foreign(tmp_path, text):
    path = tmp_path / "table.csv"
    path.write_text(text)
    if text:
        with pytest.raises(nnx.InputError, match="exists and is no table of epochs .*, which is not written over"):
            nnx.CSVLogger(path)
        assert path.read_text() == text
    else:
        fit(new_trainer(), 1, nnx.CSVLogger(path))
        assert len(table(path)) == 1


def test_csv_needs_a_place(tmp_path):
    for path in (tmp_path / "none" / "log.csv", tmp_path):
        with pytest.raises(nnx.InputError, match="cannot be written; expected a file in a folder that exists"):
            nnx.CSVLogger(path)
    with pytest.raises(nnx.InputTypeError, match="path: got 3, expected a path"):
        nnx.CSVLogger(3)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_tensorboard_holds_the_history_and_the_learning_rate(backend, tmp_path):
    board = nnx.TensorBoard(tmp_path / "board")
    trainer = new_trainer(backend)
    history = fit(trainer, 3, board, batch_size=32)
    found = scalars(tmp_path / "board")
    board.close()
    tags = {
        "loss/train": "loss",
        "accuracy/train": "accuracy",
        "loss/validation": "val_loss",
        "accuracy/validation": "val_accuracy",
    }
    assert set(found) == {*tags, "learning_rate"}
    for tag, name in tags.items():
        assert list(found[tag]) == [1, 2, 3]
        assert list(found[tag].values()) == pytest.approx(history[name], rel=1e-6)
    assert list(found["learning_rate"].values()) == pytest.approx([0.1, 0.01, 0.01])  # 51 steps an epoch
    assert not any(value.HasField("histo") for event in events(tmp_path / "board") for value in event.summary.value)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_tensorboard_holds_histograms_on_request(backend, tmp_path):
    board = nnx.TensorBoard(tmp_path, histograms=True)
    trainer = new_trainer(backend)
    fit(trainer, 2, board)
    board.close()
    last = {}
    for event in events(tmp_path):
        last |= {value.tag: value.histo for value in event.summary.value if value.HasField("histo")}
    assert set(last) == {f"parameters/{name}" for name in trainer.model.params}
    weights = trainer.model.state_dict()["1.W"]
    assert last["parameters/1.W"].num == weights.size
    assert last["parameters/1.W"].min == pytest.approx(weights.min())
    assert last["parameters/1.W"].sum == pytest.approx(np.sum(weights, dtype=np.float64), rel=1e-4)


def test_tensorboard_of_a_resumed_training_has_each_epoch_once(tmp_path):
    checkpoint, board = tmp_path / "run.safetensors", tmp_path / "board"

    first = nnx.TensorBoard(board)
    with pytest.raises(RuntimeError):
        fit(new_trainer(), 4, first, killed_in_epoch_3, checkpoint=checkpoint)
    first.close()
    second = nnx.TensorBoard(board)
    history = fit(nnx.Trainer.load(checkpoint), 4, second)
    second.close()
    assert list(scalars(board)["loss/train"]) == [1, 2, 3, 4]
    assert list(scalars(board)["loss/train"].values()) == pytest.approx(history["loss"], rel=1e-6)
    starts = [e.step for e in events(board) if e.session_log.status == e.session_log.START]
    assert starts == [3]


def test_tensorboard_without_its_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(
        nnx.InputError, match=r"TensorBoard: needs tensorboardX; pip install 'nnx-array\[tensorboard\]'"
    ):
        nnx.TensorBoard(tmp_path)


def test_tensorboard_needs_a_place(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(nnx.InputError, match="cannot be made a folder"):
        nnx.TensorBoard(tmp_path / "file")
    with pytest.raises(nnx.InputTypeError, match="histograms: got 1, expected True or False"):
        nnx.TensorBoard(tmp_path, histograms=1)
