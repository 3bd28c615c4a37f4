"""Models: their arrays, predictions, initial weights, and what they refuse."""

import numpy as np
import pytest
from threads import at_once

import nnx
from nnx.datasets import digits


def model(**settings):
    settings = {"backend": "numpy"} | settings
    return nnx.Sequential(nnx.Affine(7), nnx.BatchNorm(), nnx.Tanh(), nnx.Affine(3)).build(5, **settings)


def test_params_are_named_views_on_one_aligned_buffer():
    m = model()
    shapes = {name: p.shape for name, p in m.params.items()}
    assert shapes == {"0.W": (5, 7), "0.b": (7,), "1.gamma": (7,), "1.beta": (7,), "3.W": (7, 3), "3.b": (3,)}
    assert list(shapes) == ["0.W", "0.b", "1.gamma", "1.beta", "3.W", "3.b"]
    assert all(p.ctypes.data % 128 == 0 for p in m.params.values())
    buffer = m.params.buffer
    used = sum(p.size for p in m.params.values())
    assert np.count_nonzero(buffer) <= used < buffer.size  # the padding is zero
    buffer[:] = 5
    assert all((p == 5).all() for p in m.params.values())
    assert all((p == 5).all() for layer in m for p in layer.params.values())
    starts = {name: (p.ctypes.data - buffer.ctypes.data) // 4 for name, p in m.params.items()}
    decay = m.params.layout.decay
    assert {name for name, start in starts.items() if start < decay} == {"0.W", "3.W"}


def test_padding_stays_zero_through_training():
    m = nnx.MLP((5,), 10, batch_norm=True)
    trainer = nnx.Trainer(m, nnx.Adam(), weight_decay=0.1, clip_norm=1.0)
    trainer.fit(digits(), epochs=1, verbose=False)
    total = sum(np.count_nonzero(p) for p in m.params.values())
    assert np.count_nonzero(m.params.buffer) == total


def test_initial_weights_follow_the_next_activation():
    layers = (
        nnx.Affine(400), nnx.BatchNorm(), nnx.Dropout(), nnx.ReLU(),
        nnx.Affine(400), nnx.Tanh(),
        nnx.Affine(400, init="he"),
        nnx.Affine(400, init=0.5),
        nnx.Affine(400, init=0.0), nnx.ReLU(),
        nnx.Affine(400),
    )  # fmt: skip
    m = nnx.Sequential(*layers).build(200)
    stds = {name: float(p.std()) for name, p in m.params.items() if name.endswith("W")}
    expected = [np.sqrt(2 / 200), np.sqrt(1 / 400), np.sqrt(2 / 400), 0.5, 0, np.sqrt(1 / 400)]
    np.testing.assert_allclose(list(stds.values()), expected, rtol=0.02)
    assert not any(p.any() for name, p in m.params.items() if name.endswith(".b"))


def test_same_seed_same_weights_in_either_dtype():
    a, b, c, d = model(seed=1), model(seed=1), model(seed=2), model(seed=1, dtype="float64")
    assert all(np.array_equal(a.params[n], b.params[n]) for n in a.params)
    assert not np.array_equal(a.params["0.W"], c.params["0.W"])
    np.testing.assert_array_equal(d.params["0.W"].astype(np.float32), a.params["0.W"])


def test_state_dict_is_a_copy_and_goes_back():
    a, b = model(seed=1), model(seed=2)
    state = a.state_dict()
    assert list(state)[-2:] == ["1.running_mean", "1.running_var"]
    state["0.W"][...] = 0
    assert a.params["0.W"].any()
    b.load_state_dict(a.state_dict())
    x = np.ones((2, 5))
    np.testing.assert_array_equal(a.predict(x), b.predict(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("0.b"), r"missing \['0.b'\], unknown none"),
        (lambda s: s.update(x=np.zeros(2)), r"missing none, unknown \['x'\]"),
        (lambda s: s.update({"3.b": np.zeros(4)}), r"state\['3.b'\]: got shape \(4,\), expected \(3,\)"),
        (lambda s: s.update({"3.b": ["a"]}), r"state\['3.b'\]: got dtype .*, expected numbers"),
    ],
)
def test_load_state_dict_changes_nothing_on_error(change, message):
    m = model()
    before, state = m.state_dict(), model(seed=3).state_dict()
    change(state)
    with pytest.raises(nnx.NnxError, match=message):
        m.load_state_dict(state)
    assert all(np.array_equal(before[name], value) for name, value in m.state_dict().items())


def test_predict_takes_any_array():
    m = model(dtype="float64")
    x = np.random.default_rng(0).integers(0, 9, (2500, 5))
    expected = m.forward(x.astype(np.float64), train_flg=False)
    for form in (
        x,
        x.tolist(),
        x.astype(np.uint8),
        x.astype(np.float32),
        np.asfortranarray(x),
        np.repeat(x, 2, 1)[:, ::2],
    ):
        y = m.predict(form)
        assert type(y) is np.ndarray
        np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)


def test_predict_applies_a_data_sets_scale():
    data = digits()
    m = nnx.MLP((), 10).build((8, 8))
    np.testing.assert_array_equal(m.predict(data), m.predict(data.inputs()))
    assert m.accuracy(data) == m.accuracy(data.inputs(), data.t) == m.accuracy(data.inputs(), np.eye(10)[data.t])


def test_predict_from_many_threads():
    m = nnx.MLP((50,), 10, batch_norm=True, dropout=0.5).build((8, 8))
    data = digits()
    parts = [data.x[i::8] for i in range(8)]
    alone, together = [m.predict(part) for part in parts], [None] * 8

    def work(i):
        for _ in range(20):
            together[i] = m.predict(parts[i])

    at_once(work, range(8))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a, b)


def test_summary_and_repr():
    m = nnx.MLP((20,), 10, batch_norm=True, dropout=0.25)
    assert repr(m) == "Sequential(Flatten(), Affine(20), BatchNorm(), ReLU(), Dropout(0.25), Affine(10))"
    lines = m.build((8, 8), backend="numpy").summary().splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "initial", "weights"]
    assert lines[3].split() == ["1", "Affine(20)", "(n,", "20)", "1,300", "he,", "std", "0.1768"]
    assert lines[-1] == "1,550 parameters, 0.01 MiB in float32, backend numpy"
    assert (len(m), m[1].size, [type(layer).__name__ for layer in m][-1]) == (6, 20, "Affine")


used = nnx.ReLU()
nnx.Sequential(used).build(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnx.Sequential(nnx.ReLU), r"layer 0 is <class .*ReLU'>, expected a layer .*; write ReLU\(\)"),
        (lambda: nnx.Sequential("relu"), "layer 0 is 'relu', expected a layer such as nnx.ReLU"),
        (lambda: nnx.Sequential([nnx.ReLU()]), "expected a layer"),
        (lambda: nnx.Sequential(used), r"layer 0, ReLU\(\), is in use already"),
        (lambda: nnx.Sequential(*[nnx.Tanh()] * 2), r"layer 1, Tanh\(\), is in use already"),
        (lambda: model().build(5), "this model is built already"),
        (lambda: nnx.Sequential().build(0), "input_shape: got 0"),
        (lambda: nnx.Sequential().build(("a",)), "input_shape: got 'a'"),
        (lambda: nnx.Sequential().build(None), "input_shape: got None"),
        (lambda: nnx.MLP((9,), 2).build(10**20), r"the model would have 9e\+20 parameters for inputs of shape"),
        (lambda: model(seed=-1), "seed: got -1"),
        (lambda: model(seed=2**64), "seed: got 18446744073709551616, expected a whole number below"),
        (lambda: model(seed=1.5), "seed: got 1.5"),
        (lambda: model(dtype="float16"), "dtype: got float16, expected float32 or float64"),
        (lambda: model(dtype=">f4"), "dtype: got >f4, expected float32 or float64"),
        (lambda: model(dtype="junk"), "dtype: got 'junk'"),
        (lambda: model(backend="nunpy"), "unknown backend 'nunpy'. Did you mean 'numpy'"),
        (lambda: nnx.Sequential(nnx.Affine(2)).predict([[1]]), r"predict: the model has no parameters yet; train it"),
        (lambda: model().predict(np.zeros((2, 4))), r"x: got shape \(2, 4\), expected \(n, 5\)"),
        (lambda: model().predict(np.zeros(5)), r"For a single sample pass x\[None\]"),
        (lambda: model().predict(np.zeros((0, 5))), "x: got no rows"),
        (lambda: model().predict([["a"] * 5]), "x: got dtype .*, expected numbers"),
        (lambda: model().predict([[1], [2, 3]]), "x: cannot be made an array of numbers"),
        (lambda: model().predict(None), "x: got dtype object, expected numbers"),
        (lambda: model().accuracy(np.zeros((2, 5)), [1]), r"t: got shape \(1,\) for 2 rows of x; expected one per row"),
        (lambda: model().accuracy(np.zeros((2, 5))), "t: got None, expected the targets"),
        (lambda: nnx.MLP((0,), 2), "hidden: got 0"),
        (lambda: nnx.MLP(5, 2), r"hidden: got 5, expected a sequence of sizes such as \(100, 100\)"),
        (lambda: nnx.MLP("55", 2), "hidden: got '55'"),
        (lambda: nnx.MLP((5,), 2, activation="relo"), "unknown activation 'relo'. Did you mean 'relu'"),
        (lambda: nnx.MLP((5,), 2, activation=None), "unknown activation None"),
        (lambda: nnx.MLP((5,), 2, dropout=-0.1), "dropout: got -0.1"),
        (lambda: nnx.MLP((5,), 0), "outputs: got 0"),
    ],
)  # fmt: skip
def test_models_refuse(make, message):
    with pytest.raises(nnx.NnxError, match=message):
        make()
