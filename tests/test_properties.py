"""Whatever is handed in: it works, or it is refused by name, and nothing is lost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nnx
from nnx import functions

ANY = settings(max_examples=150, deadline=None, derandomize=True)

numbers = st.one_of(st.integers(-3, 10**20), st.floats(), st.booleans())
dtypes = st.sampled_from(
    [np.float32, np.float64, np.float16, np.int64, np.int8, np.uint8, np.uint64, bool, complex, object]
)
arrays = hnp.arrays(dtypes, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5), elements=st.just(1))
wild = hnp.arrays(np.float64, hnp.array_shapes(min_dims=1, max_dims=2, max_side=5), elements=st.floats())
junk = st.one_of(
    st.none(), numbers, st.text(max_size=5), arrays, wild, st.lists(numbers, max_size=5), st.just(object()),
    st.just(nnx.ReLU), st.just({}), st.lists(st.lists(numbers, max_size=3), max_size=3),
)  # fmt: skip


def refused(call):
    """The result of a call, or None where it was refused on purpose."""
    try:
        return call()
    except nnx.NnxError:
        return None


def built():
    trainer = nnx.Trainer(nnx.MLP((3,), 2), nnx.SGD(lr=0.1))
    trainer.build((4,))
    return trainer, trainer.model.state_dict()


def unchanged(trainer, before):
    return all(np.array_equal(before[name], value) for name, value in trainer.model.state_dict().items())


@pytest.mark.slow
@ANY
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    n=st.integers(1, 20),
    features=st.integers(1, 9),
    dtype=st.sampled_from(["float32", "float64"]),
    one_hot=st.booleans(),
    activation=st.sampled_from(["relu", "sigmoid", "tanh", "identity"]),
    batch_norm=st.booleans(),
    dropout=st.sampled_from([0.0, 0.5]),
    optimizer=st.sampled_from([nnx.SGD, nnx.Momentum, nnx.Nesterov, nnx.AdaGrad, nnx.RMSprop, nnx.Adam, nnx.AdamW]),
    order=st.sampled_from("CF"),
    source=st.sampled_from([np.float32, np.float64, np.uint8, np.int16]),
)
def test_every_sensible_step_works(
    sizes, n, features, dtype, one_hot, activation, batch_norm, dropout, optimizer, order, source
):
    rng = np.random.default_rng(n)
    *hidden, classes = sizes
    classes += classes == 1 and not one_hot  # labels of one class are refused
    x = np.asarray(rng.integers(0, 3, (n, features)).astype(source), order=order)
    t = rng.integers(0, classes, n)
    t = np.eye(classes)[t] if one_hot else t
    before = x.copy(), t.copy()
    model = nnx.MLP(hidden, classes, activation=activation, batch_norm=batch_norm, dropout=dropout)
    trainer = nnx.Trainer(model, optimizer(), weight_decay=0.01, clip_norm=1.0, dtype=dtype)
    for rows in (n, 1, n):
        loss = trainer.step(x[:rows], t[:rows])
        assert np.isfinite(loss)
        assert loss.shape == ()
        assert loss.dtype == dtype
    assert model.predict(x).shape == (n, classes)
    assert 0 <= model.accuracy(x, t) <= 1
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(t, before[1])
    assert all(np.isfinite(value).all() for value in model.state_dict().values())


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
    n=st.integers(1, 9),
    filters=st.integers(1, 5),
    size=st.integers(1, 3),
    stride=st.integers(1, 2),
    pooling=st.sampled_from([nnx.MaxPooling, nnx.AveragePooling, nnx.GlobalAveragePooling, nnx.Flatten]),
    batch_norm=st.booleans(),
    dropout=st.booleans(),
    source=st.sampled_from([np.float32, np.float64, np.uint8]),
    order=st.sampled_from("CF"),
)
def test_every_sensible_step_on_pictures_works(
    shape, n, filters, size, stride, pooling, batch_norm, dropout, source, order
):
    rng = np.random.default_rng(n)
    x, t = np.asarray(rng.integers(0, 3, (n, *shape)).astype(source), order=order), rng.integers(0, 2, n)
    between = [nnx.BatchNorm()] * batch_norm + [nnx.ReLU()] + [nnx.Dropout()] * dropout
    layers = nnx.Convolution(filters, size, stride, 1), *between, pooling(), nnx.Flatten(), nnx.Affine(2)
    trainer = nnx.Trainer(nnx.Sequential(*layers), weight_decay=0.01, backend="numpy")
    if pooling in (nnx.MaxPooling, nnx.AveragePooling) and (min(shape[1:]) + 2 - size) // stride < 1:
        with pytest.raises(nnx.InputError, match="fewer poolings"):
            trainer.build(shape)
        return
    for rows in (n, 1, n):
        assert np.isfinite(trainer.step(x[:rows], t[:rows]))
    model = trainer.model
    assert model.predict(x).shape == (n, 2)
    np.testing.assert_allclose(model.forward(x.astype("f"), False), model.predict(x), rtol=1e-4, atol=1e-5)
    assert all(np.isfinite(value).all() for value in model.state_dict().values())


@pytest.mark.slow
@ANY
@given(x=junk, t=junk)
def test_step_takes_or_refuses_anything(x, t):
    trainer, before = built()
    loss = refused(lambda: trainer.step(x, t))
    if loss is None or not np.isfinite(loss):
        assert unchanged(trainer, before)


@pytest.mark.slow
@ANY
@given(t=st.one_of(junk, hnp.arrays(np.int64, 3, elements=st.integers(-2, 3))))
def test_targets_of_any_kind(t):
    trainer, before = built()
    if refused(lambda: trainer.step(np.ones((3, 4)), t)) is None:
        assert unchanged(trainer, before)


@pytest.mark.slow
@ANY
@given(x=junk, t=junk, validation=junk, epochs=st.one_of(st.just(1), junk), batch_size=st.one_of(st.just(2), junk))
def test_fit_takes_or_refuses_anything(x, t, validation, epochs, batch_size):
    if isinstance(epochs, int | np.integer) and epochs > 2:
        epochs = 2
    trainer, before = built()
    arguments = {"epochs": epochs, "batch_size": batch_size, "validation_data": validation, "verbose": False}
    if refused(lambda: trainer.fit(x, t, **arguments)) is None and trainer.steps == 0:
        assert unchanged(trainer, before)
        assert trainer.history == {}


@pytest.mark.slow
@ANY
@given(x=junk, t=junk)
def test_predict_and_accuracy_take_or_refuse_anything(x, t):
    model = built()[0].model
    refused(lambda: model.predict(x))
    refused(lambda: model.accuracy(x, t))
    refused(lambda: model.accuracy(np.ones((3, 4)), t))
    refused(lambda: model.load_state_dict({"1.W": x}))


def _large(value):
    """Whether it holds a size that could be asked for, but takes long to serve."""
    try:
        array = np.asarray(value)
    except ValueError:
        return False
    return array.dtype.kind in "iuf" and bool(np.any(array > 1000))


@pytest.mark.slow
@ANY
@given(a=junk, b=junk)
def test_parts_are_made_or_refused(a, b):
    small = a if not _large(a) else 7
    for make in (
        lambda: nnx.Affine(small),
        lambda: nnx.Affine(small, b),
        lambda: nnx.Affine(3, init=a),
        lambda: nnx.BatchNorm(a, b),
        lambda: nnx.BatchNorm(momentum=a),
        lambda: nnx.BatchNorm(eps=a),
        lambda: nnx.Convolution(small, b),
        lambda: nnx.Convolution(3, small, a, b),
        lambda: nnx.MaxPooling(small, a, b),
        lambda: nnx.AveragePooling(2, small, b),
        lambda: nnx.Dropout(a),
        lambda: nnx.Dropout(0.5, seed=a),
        lambda: nnx.Sequential(a, b),
        lambda: nnx.MLP(small, 2),
        lambda: nnx.MLP((3,), small),
        lambda: nnx.MLP((3,), 2, activation=a),
        lambda: nnx.MLP((3,), 2).build(small),
        lambda: nnx.MLP((3,), 2).build(3, seed=a),
        lambda: nnx.MLP((3,), 2).build(3, dtype=a),
        lambda: nnx.MLP((3,), 2).build(3, backend=a),
        lambda: nnx.Trainer(a, b),
        lambda: nnx.Trainer(nnx.MLP((3,), 2), a, b),
        lambda: nnx.Trainer(nnx.MLP((3,), 2), weight_decay=a, clip_norm=b),
        lambda: nnx.EarlyStopping(patience=a, min_delta=b),
        lambda: nnx.get_backend(a),
    ):
        refused(make)


@pytest.mark.slow
@ANY
@given(lr=junk, other=junk)
def test_optimizers_are_made_or_refused(lr, other):
    for make in (
        lambda: nnx.SGD(lr),
        lambda: nnx.Momentum(lr, other),
        lambda: nnx.AdaGrad(lr, other),
        lambda: nnx.RMSprop(lr, other),
        lambda: nnx.Adam(0.1, lr, other),
        lambda: nnx.AdamW(0.1, weight_decay=other),
        lambda: nnx.schedules.Step(lr, other),
        lambda: nnx.schedules.Cosine(lr, other),
        lambda: nnx.schedules.WarmUp(other, lr),
    ):
        refused(make)


@pytest.mark.slow
@ANY
@given(params=st.dictionaries(st.sampled_from("ab"), junk), grads=st.dictionaries(st.sampled_from("ab"), junk))
def test_update_takes_or_refuses_anything(params, grads):
    refused(lambda: nnx.Adam().update(params, grads))


@pytest.mark.slow
@ANY
@given(a=junk, b=junk)
def test_functions_take_or_refuse_anything(a, b):
    for name in ("step", "relu", "sigmoid", "softmax"):
        refused(lambda name=name: getattr(functions, name)(a))
    refused(lambda: functions.mean_squared_error(a, b))
    refused(lambda: functions.cross_entropy_error(a, b))
    refused(lambda: functions.one_hot(a, 3))
    refused(lambda: nnx.datasets.shuffle(a, b))
    refused(lambda: nnx.datasets.split(a, b, 0.5, 0.5))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "t"])
def test_data_that_are_not_finite(value, where):
    data = {"x": np.ones((5, 4)), "t": np.full((5, 2), 0.5)}
    data[where][3, 1] = value
    trainer, before = built()
    with pytest.raises(
        nnx.NnxError, match=f"{where}_train: got NaN or infinite values in 1 of 5 rows, the first being row 3"
    ):
        trainer.fit(data["x"], data["t"], verbose=False)
    assert unchanged(trainer, before)
