"""Checkpoint files: everything comes back, and nothing but a whole, unedited one is taken."""

import contextlib
import errno
import json
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from spies import watched

import nnx
from nnx.datasets import digits
from nnx.training import checkpoint

OPTIMIZERS = [nnx.SGD, nnx.Momentum, nnx.Nesterov, nnx.AdaGrad, nnx.RMSprop, nnx.Adam, nnx.AdamW]


def small(optimizer=None, **settings):
    model = nnx.MLP((9, 8), 10, batch_norm=True, dropout=0.3, activation="tanh")
    return nnx.Trainer(model, optimizer, weight_decay=1e-3, clip_norm=2.0, seed=3, **settings)


def same(a, b):
    a, b = a.model.state_dict(), b.model.state_dict()
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "run.safetensors"
    trainer = small()
    trainer.fit(digits(), epochs=1, verbose=False)
    trainer.save(path)
    return trainer, path


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_after_loading_are_those_without_it(tmp_path, optimizer, dtype):
    data = digits()
    trainer = small(optimizer(lr=nnx.schedules.WarmUp(3, nnx.schedules.Cosine(0.01, 20))), dtype=dtype)
    for start in range(0, 300, 60):
        trainer.step(data.x[start : start + 60], data.t[start : start + 60])
    trainer.save(tmp_path / "c")
    loaded = nnx.Trainer.load(tmp_path / "c")
    assert same(trainer, loaded)
    assert repr(loaded) == repr(trainer)
    for start in range(300, 600, 60):
        batch = data.x[start : start + 60], data.t[start : start + 60]
        assert trainer.step(*batch) == loaded.step(*batch)
    assert same(trainer, loaded)


@pytest.mark.parametrize("cut_after", [17, 18, 54, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 30))])
def test_fit_continues_bit_for_bit(tmp_path, cut_after):
    """Cut by an exception after any step, within an epoch or at its end, with early stopping's memory kept."""
    train, val = digits().split(0.9, 0.1)
    arguments = {"epochs": 3, "batch_size": 90, "validation_data": val, "verbose": False}
    whole = small()
    whole.fit(train, early_stopping=nnx.EarlyStopping("val_accuracy", patience=1), **arguments)

    class Killed(Exception):
        pass

    updates = []

    def kill(formula, *args, **kwargs):
        if formula.name == "adam":
            updates.append(formula)
        if len(updates) > cut_after:
            raise Killed

    file = tmp_path / "c"
    with contextlib.suppress(Killed):
        small(backend=watched("update_", before=kill)).fit(
            train,
            early_stopping=nnx.EarlyStopping("val_accuracy", patience=1),
            checkpoint=file,
            checkpoint_every=1,
            **arguments,
        )
    loaded = nnx.Trainer.load(file)
    loaded.fit(train, early_stopping=nnx.EarlyStopping("val_accuracy", patience=1), **arguments)
    assert loaded.history == whole.history
    assert loaded.steps == whole.steps
    assert same(loaded, whole)


def test_a_finished_fit_is_not_repeated_after_loading(saved):
    trainer, path = saved
    loaded = nnx.Trainer.load(path)
    assert loaded.fit(digits(), epochs=1, verbose=False) == trainer.history
    assert loaded.steps == trainer.steps
    assert len(loaded.fit(digits(), epochs=1, verbose=False)["loss"]) == 2


def test_more_epochs_and_a_new_fit(saved):
    _, path = saved
    assert len(nnx.Trainer.load(path).fit(digits(), epochs=3, verbose=False)["loss"]) == 3
    assert len(nnx.Trainer.load(path).fit(digits(), epochs=3, resume=False, verbose=False)["loss"]) == 4


def test_other_settings_are_refused_on_continuation(saved):
    _, path = saved
    with pytest.raises(
        nnx.InputError, match="batch_size: got 50, but the training to be continued had 100; pass the same"
    ):
        nnx.Trainer.load(path).fit(digits(), batch_size=50)
    with pytest.raises(nnx.InputError, match="rows of x_train: got 100, but the training to be continued had 1797"):
        nnx.Trainer.load(path).fit(digits().take(np.arange(100)))


def test_what_differs_is_said(saved, tmp_path):
    _, path = saved
    tensors, meta = checkpoint.read(path)
    meta["environment"]["blas threads"] = "17"
    meta["fit"]["checksum"] = 1
    checkpoint.write(tmp_path / "c", tensors, meta)
    loaded = nnx.Trainer.load(tmp_path / "c")
    with pytest.warns(nnx.ResumeWarning, match="blas threads was '17' and is '.*the training data are not the same"):
        loaded.fit(digits(), epochs=1, verbose=False)


def test_predicting_from_a_checkpoint_warns_of_nothing(saved):
    trainer, path = saved
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = nnx.Trainer.load(path).model
    np.testing.assert_array_equal(model.predict(digits()), trainer.model.predict(digits()))


def test_an_own_layer_is_named_and_can_be_given(tmp_path):
    class Cube(nnx.Layer):
        def forward(self, x, train_flg=True):
            self._saved = x
            return x**3

        def backward(self, dout):
            return dout * 3 * self._saved**2

    trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(4), Cube(), nnx.Affine(10)))
    trainer.step(digits().inputs().reshape(-1, 64)[:9], digits().t[:9])
    trainer.save(tmp_path / "c")
    with pytest.raises(
        nnx.CheckpointError,
        match=r"unknown layer .Cube..*layers of your own need nnx.register\(Class\) beforehand .*, or model=",
    ):
        nnx.Trainer.load(tmp_path / "c")
    model = nnx.Sequential(nnx.Affine(4), Cube(), nnx.Affine(10))
    assert same(nnx.Trainer.load(tmp_path / "c", model=model), trainer)


def test_no_such_file(tmp_path):
    with pytest.raises(
        nnx.CheckpointError, match="there is no such file; expected a checkpoint written by Trainer.save"
    ):
        nnx.Trainer.load(tmp_path / "c")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(share=st.floats(0, 1, exclude_max=True))
def test_cut_off_anywhere(saved, share):
    _, path = saved
    data = path.read_bytes()
    cut = path.with_name("cut")
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(nnx.CheckpointError, match="is not a complete safetensors file.*use another copy"):
        nnx.Trainer.load(cut)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_bit_changed_anywhere(saved, share, bit):
    _, path = saved
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 1 << bit
    edited = path.with_name("edited")
    edited.write_bytes(data)
    with pytest.raises(nnx.CheckpointError):
        nnx.Trainer.load(edited)


def test_foreign_files(tmp_path):
    save_file({"w": np.zeros(3)}, tmp_path / "foreign")
    with pytest.raises(nnx.CheckpointError, match="no checkpoint of nnx"):
        nnx.Trainer.load(tmp_path / "foreign")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(nnx.CheckpointError, match="not a complete safetensors file"):
        nnx.Trainer.load(tmp_path / "text")


def test_a_later_format_is_named(saved, tmp_path, monkeypatch):
    _, path = saved
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    with pytest.raises(nnx.CheckpointError, match="has checkpoint format 1, this version of nnx reads 2"):
        checkpoint.read(path)


def test_no_pickle_inside(saved):
    _, path = saved
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["nnx"])["steps"] == 18


def test_writing_is_atomic(saved, tmp_path, monkeypatch):
    trainer, _ = saved
    file = tmp_path / "c"
    trainer.save(file)
    before = file.read_bytes()

    def fail(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(nnx.CheckpointError, match=r"c: cannot be written \(No space left on device\); .* Make room"):
        trainer.save(file)
    assert file.read_bytes() == before
    assert [p.name for p in Path(tmp_path).iterdir()] == ["c"]


def test_others_may_read_what_they_may_read_of_any_new_file(tmp_path):
    checkpoint.write_atomically(tmp_path / "written", b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_folder_that_is_not_there(saved, tmp_path):
    with pytest.raises(nnx.CheckpointError, match="cannot be written .*; choose a folder that exists"):
        saved[0].save(tmp_path / "no" / "c")
