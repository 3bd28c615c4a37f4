"""What layers, models, optimizers, trainers and functions refuse, before any kernel runs: kernels check no bounds."""

import sys

import numpy as np
import pytest

import nnx
from nnx import functions

X = np.random.default_rng(0).standard_normal((6, 4))
T = np.arange(6) % 3


# layers --------------------------------------------------------------------------------------------------------------


def guarded(n):
    """An array in the middle of a larger one that nobody may write to."""
    memory = np.full(n + 200, 7.0)
    return memory, memory[100 : 100 + n]


BACKWARDS = {
    "affine": lambda: nnx.Affine(np.ones((4, 4)), np.ones(4)),
    "batch norm": lambda: nnx.BatchNorm(np.ones(4), np.zeros(4)),
    "relu": nnx.ReLU,
    "sigmoid": nnx.Sigmoid,
    "tanh": nnx.Tanh,
    "dropout": lambda: nnx.Dropout(seed=0),
    "flatten": nnx.Flatten,
}


@pytest.mark.parametrize("backend", [s.name for s in nnx.list_backends() if s.usable])
@pytest.mark.parametrize("name", BACKWARDS)
@pytest.mark.parametrize("shape", [(7, 4), (5, 4), (6, 5), (6, 3), (6, 1), (4,), (), (6, 4, 1)])
def test_a_gradient_of_another_shape_is_refused_before_any_kernel_runs(backend, name, shape):
    with nnx.use_backend(backend):
        layer = BACKWARDS[name]()
        layer.forward(X)
        guards = {}
        for key in layer.params:
            guards[key], layer.grads[key] = guarded(4)
        with pytest.raises(nnx.InputError, match=r"got a gradient of shape \(.*\), expected \(6, 4\)"):
            layer.backward(np.ones(shape))
    for memory in guards.values():
        np.testing.assert_array_equal(memory, 7)


@pytest.mark.parametrize("name", BACKWARDS)
@pytest.mark.parametrize("junk", [None, [[1.0] * 4] * 6, "abc", 3, X.astype(int), X.astype(str), X.astype(object)])
def test_what_is_no_array_of_floats_is_refused(name, junk):
    layer = BACKWARDS[name]()
    layer.forward(X)
    for train_flg in (True, False):
        with pytest.raises(nnx.InputTypeError, match=r"x: got .*, (expected float32 or float64|but the backend)"):
            layer.forward(junk, train_flg)
    with pytest.raises(nnx.InputTypeError, match=r"dout: got .*, (expected float32 or float64|but the backend)"):
        layer.backward(junk)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnx.Affine(np.ones((4, 3), np.float16)), "W has dtype float16, expected float32 or float64"),
        (lambda: nnx.Affine(np.ones((6, 0))), r"W has shape \(6, 0\), expected at least one of each"),
        (lambda: nnx.Affine(np.ones((4, 3)), [0.0] * 3), "b is .*expected an array as W is"),
        (lambda: nnx.BatchNorm(np.ones(4, int), np.zeros(4, int)), "gamma and beta of int64 and int64, expected float"),
        (lambda: nnx.BatchNorm(np.ones(4), np.zeros(4, "f")), "gamma and beta of float64 and float32, expected float"),
        (lambda: nnx.Dropout(0.5, "no"), "Dropout: inverted: got 'no', expected True or False"),
        (lambda: nnx.Dropout(10**400), "Dropout: dropout_ratio: got 1000"),
    ],
)
def test_layers_refuse(make, message):
    with pytest.raises(nnx.NnxError, match=message):
        make()


# model ---------------------------------------------------------------------------------------------------------------


def test_models_do_not_share_a_layer():
    shared = nnx.Affine(3)
    first, second = nnx.Sequential(shared), nnx.Sequential(shared)
    first.build(4)
    with pytest.raises(nnx.InputError, match=r"layer 0, Affine\(3\), belongs to another built model"):
        second.build(4)


@pytest.mark.parametrize("shape", [(6, 9), (7, 3), (3,)])
def test_backward_refuses_a_gradient_of_another_shape(shape):
    model = nnx.MLP((5,), 3).build(4, dtype="float64")
    model.forward(X)
    with pytest.raises(nnx.InputError, match="got a gradient of shape"):
        model.backward(np.ones(shape))
    assert not model.grads.buffer.any()


@pytest.mark.parametrize("dtype", [None, "(2,", "float16"])
def test_dtypes_refused(dtype):
    with pytest.raises(nnx.InputError, match="dtype: got .*, expected float32 or float64"):
        nnx.MLP((3,), 2).build(4, dtype=dtype)


# optimizers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "grads", "message"),
    [
        ({"W": np.broadcast_to(1.0, 3)}, {"W": np.ones(3)}, r"params\['W'\]: is read-only, expected an array"),
        ({"W": np.ones(3, np.float16)}, {"W": np.ones(3, np.float16)}, "got dtype float16, expected float32"),
        ({0: np.ones(3)}, {1: np.ones(3)}, "there is no gradient for the parameter 0; got good, 1"),
    ],
)  # fmt: skip
def test_update_refuses_before_anything_changes(params, grads, message):
    good = np.ones(2)
    with pytest.raises(nnx.NnxError, match=message):
        nnx.SGD().update({"good": good, **params}, {"good": np.ones(2), **grads})
    np.testing.assert_array_equal(good, 1)


@pytest.mark.parametrize("junk", [None, [np.ones(3)], "abc"])
def test_update_takes_dictionaries(junk):
    with pytest.raises(nnx.InputTypeError, match="params: got .*, expected a dictionary of arrays"):
        nnx.SGD().update(junk, {})
    with pytest.raises(nnx.InputTypeError, match="grads: got .*, expected a dictionary of arrays"):
        nnx.SGD().update({"W": np.ones(3)}, junk)


# training -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t_train": 3}, r"t_train: got shape \(\) for 6 rows of x_train; expected one per row"),
        ({"x_train": np.ma.masked_array(X, X > 0)}, "x_train: got a masked array"),
        ({"t_train": np.ma.masked_array([0, 1, 99, 0, 1, 2], T == 2)}, "t_train: got a masked array"),
        ({"callbacks": [3]}, r"callbacks: got \[3\], expected a list of callables"),
        ({"callbacks": print}, "callbacks: got .*, expected a list of callables"),
        ({"early_stopping": "yes"}, "early_stopping: got 'yes', expected an nnx.EarlyStopping"),
        ({"shuffle": "no"}, "shuffle: got 'no', expected True or False"),
        ({"check_finite": np.zeros(2)}, "check_finite: got .*, expected True or False"),
        ({"checkpoint": 3}, "checkpoint: got 3, expected a path"),
    ],
)
def test_fit_refuses_before_any_work(change, message):
    trainer = nnx.Trainer(nnx.MLP((5,), 3))
    trainer.build((4,))
    before = trainer.model.state_dict()
    with pytest.raises(nnx.NnxError, match=message):
        trainer.fit(**{"x_train": X, "t_train": T, "epochs": 1, "verbose": False} | change)
    assert trainer.steps == 0
    assert all(np.array_equal(before[name], value) for name, value in trainer.model.state_dict().items())


def test_step_refuses_no_labels():
    trainer = nnx.Trainer(nnx.MLP((5,), 3))
    with pytest.raises(nnx.InputError, match="t: got 0 rows for 6 rows of x"):
        trainer.step(X, np.zeros(0, int))


def test_save_refuses_what_is_no_file(tmp_path):
    trainer = nnx.Trainer(nnx.MLP((5,), 3))
    trainer.build((4,))
    (tmp_path / "folder").mkdir()
    with pytest.raises(nnx.CheckpointError, match="cannot be written .it is a folder."):
        trainer.save(tmp_path / "folder")
    with pytest.raises(nnx.InputTypeError, match="path: got None, expected a path"):
        trainer.save(None)
    with pytest.raises(nnx.InputTypeError, match="path: got 3, expected a path"):
        nnx.Trainer.load(3)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]  # nothing temporary is left


# functions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", [s.name for s in nnx.list_backends() if s.usable])
def test_single_numbers(backend):
    with nnx.use_backend(backend):
        assert functions.sigmoid(0.0) == 0.5
        assert functions.relu(-1.0) == 0
        assert functions.step(0.1) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 0}, "samples: got 0, expected a whole number of at least 1"),
        ({"samples": -1}, "samples: got -1"),
        ({"seed": -1}, "seed: got -1"),
        ({"model": None}, "model: got None, expected an nnx.Sequential"),
        ({"loss": "mse"}, "loss: got 'mse', expected an nnx.Loss"),
    ],
)
def test_gradient_check_refuses(change, message):
    with pytest.raises(nnx.NnxError, match=message):
        functions.gradient_check(**{"model": nnx.MLP((2,), 3), "x": X, "t": T} | change)


# the choice of a backend, outside its fixture that fakes the entry points


def test_a_class_is_no_backend():
    with pytest.raises(nnx.InputTypeError, match=r"backend: got the class NumpyBackend, expected .*NumpyBackend\(\)"):
        nnx.get_backend(type(nnx.get_backend("numpy")))


# interop


@pytest.mark.parametrize("call", [lambda: nnx.from_torch(3), lambda: nnx.MLP((3,), 2).build(4).to_torch()])
def test_without_pytorch(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(nnx.InputError, match=r"(from|to)_torch: needs PyTorch, .*; pip install torch"):
        call()
