"""Dtypes are told apart whatever a library prints: `array_api_strict.float32` is float32."""

from typing import Any

import numpy as np
import pytest
from strict import StrictBackend

import nnx
from nnx._support.checks import check_float, native_floats
from nnx.ops._bind import Ops
from nnx.ops._dtypes import BACKEND_DTYPES, dtype_name


@pytest.fixture
def ops() -> Ops:
    return Ops(StrictBackend())


class Unhashable:
    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return "odd.library.float64"


def test_the_name_of_a_dtype(ops):
    class Odd:
        dtype = Unhashable()

    for name in BACKEND_DTYPES:
        host = np.zeros(1, name)
        assert dtype_name(host) == name
        assert dtype_name(ops.to_device(host)) == name
        assert ops.to_device(host).dtype == ops.dtypes[name]
    assert dtype_name(np.zeros(1, ">f4")) == ">f4"
    assert dtype_name(Odd) == "float64"
    assert dtype_name([1.0]) == ""


def test_a_backend_tells_the_names_of_dtypes_that_print_as_nothing_known():
    class Silent:
        def __str__(self) -> str:
            return "?"

    kinds = {name: Silent() for name in BACKEND_DTYPES}

    class Arrays:
        def __init__(self, host):
            self.dtype = kinds[host.dtype.name]

    class Backend(StrictBackend):
        to_device = staticmethod(Arrays)

    ops = Ops(Backend())
    assert [dtype_name(Arrays(np.zeros(1, name))) for name in kinds] == list(kinds)
    assert ops.dtypes == kinds


def test_the_checks_take_such_arrays(ops):
    x = ops.to_device(np.ones((2, 3), np.float32))
    assert check_float(ops, "x", x) is x
    assert native_floats(ops, "x", x, "float32") is x
    assert dtype_name(native_floats(ops, "x", x, "float64")) == "float64"
    with pytest.raises(nnx.InputTypeError, match=r"x: got dtype array_api_strict.int64, expected float32 or float64."):
        check_float(ops, "x", ops.to_device(np.ones(3, np.int64)))


def test_layers_losses_and_optimizers_standing_alone_take_such_arrays(ops):
    r = np.random.default_rng(0)
    w, b, x = (ops.to_device(r.normal(size=shape).astype(np.float32)) for shape in ((3, 2), 2, (4, 3)))
    affine, norm = nnx.Affine(w, b), nnx.BatchNorm(*(ops.to_device(np.full(2, v, np.float32)) for v in (1, 0)))
    dropout, loss, adam = nnx.Dropout(0.5, seed=1), nnx.SoftmaxCrossEntropy(), nnx.Adam()
    for part in (affine, norm, dropout, loss, adam):
        part._ops = ops
    z = dropout.forward(norm.forward(affine.forward(x)))
    assert float(loss.forward(z, ops.to_device(np.array([0, 1, 1, 0])))) > 0
    affine.backward(norm.backward(dropout.backward(loss.backward())))
    before = ops.to_host(w).copy()
    adam.update(affine.params, affine.grads)
    assert not np.array_equal(ops.to_host(w), before)
    assert dropout.forward(z, train_flg=False).shape == (4, 2)


def test_a_whole_training_is_as_on_numpy():
    def train(backend: Any) -> Any:
        r = np.random.default_rng(0)
        x, t = r.normal(size=(50, 4)), r.integers(0, 3, 50)
        layers = nnx.Affine(8), nnx.BatchNorm(), nnx.ReLU(), nnx.Dropout(0.2), nnx.Affine(3)
        trainer = nnx.Trainer(nnx.Sequential(*layers), nnx.Adam(0.01), backend=backend, seed=3)
        history = trainer.fit(x, t, epochs=3, batch_size=16, validation_data=(x, t), verbose=False)
        return history, trainer.model.predict(x)

    (history, y), (expected, z) = train(StrictBackend()), train("numpy")
    for name, values in expected.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5)
    np.testing.assert_allclose(y, z, rtol=1e-4, atol=1e-5)
