"""Losses standing alone: their formulas on every backend, the targets they take, and those they refuse."""

import numpy as np
import pytest
from spies import watched

import nnx
from nnx import losses

RNG = np.random.default_rng(0)
N, C = 7, 4
Y = 3 * RNG.standard_normal((N, C))
LABELS = RNG.integers(0, C, N)
ROWS = RNG.dirichlet(np.ones(C), N)
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}


@pytest.fixture(autouse=True, params=[s.name for s in nnx.list_backends() if s.usable])
def backend(request):
    with nnx.use_backend(request.param) as b:
        yield b


def softmax(y):
    e = np.exp(y - y.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("t", [LABELS, np.eye(C)[LABELS], ROWS], ids=["labels", "one-hot", "probabilities"])
def test_softmax_cross_entropy(backend, dtype, t):
    loss, rows = nnx.SoftmaxCrossEntropy(), np.eye(C)[t] if t.ndim == 1 else t
    value = loss.forward(backend.to_device(Y.astype(dtype)), t)
    gradient = backend.to_host(loss.backward())
    assert value.shape == ()
    assert value.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(value, -np.sum(rows * np.log(softmax(Y))) / N, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(gradient, (softmax(Y) - rows) / N, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_mean_squared_error(backend, dtype):
    loss = nnx.MeanSquaredError()
    value = loss.forward(backend.to_device(Y.astype(dtype)), ROWS)
    gradient = backend.to_host(loss.backward())
    assert value.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(value, np.sum((Y - ROWS) ** 2) / 2 / N, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(gradient, (Y - ROWS) / N, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_sigmoid_cross_entropy(backend, dtype):
    loss, p = nnx.SigmoidCrossEntropy(), 1 / (1 + np.exp(-Y))
    value = loss.forward(backend.to_device(Y.astype(dtype)), ROWS)
    gradient = backend.to_host(loss.backward())
    assert value.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(value, -np.sum(ROWS * np.log(p) + (1 - ROWS) * np.log(1 - p)) / N, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(gradient, (p - ROWS) / N, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_poisson_deviance(backend, dtype):
    loss, mean = nnx.PoissonDeviance(), np.exp(Y)
    counts = RNG.poisson(1.0, (N, C))
    value = loss.forward(backend.to_device(Y.astype(dtype)), counts)
    gradient = backend.to_host(loss.backward())
    logs = np.log(np.maximum(counts, 1)) - Y
    assert value.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(value, np.sum(counts * logs - counts + mean) / N, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(gradient, (mean - counts) / N, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("delta", [1.0, 2.5])
def test_huber(backend, dtype, delta):
    loss = nnx.Huber() if delta == 1.0 else nnx.Huber(delta)
    value = loss.forward(backend.to_device(Y.astype(dtype)), ROWS)
    gradient = backend.to_host(loss.backward())
    d = np.abs(Y - ROWS)
    assert value.dtype == gradient.dtype == dtype
    expected = np.sum(np.where(d <= delta, d**2 / 2, delta * (d - delta / 2))) / N
    np.testing.assert_allclose(value, expected, rtol=TOLERANCE[dtype])
    np.testing.assert_allclose(gradient, np.clip(Y - ROWS, -delta, delta) / N, rtol=0, atol=TOLERANCE[dtype])


def test_two_classes_in_one_column_are_learned(backend):
    x = RNG.standard_normal((200, 3))
    t = (x[:, 0] > x[:, 1]).astype(int)
    model = nnx.Sequential(nnx.Affine(1))
    nnx.Trainer(model, nnx.Adam(lr=0.1), nnx.SigmoidCrossEntropy()).fit(x, t, epochs=200, verbose=False)
    assert np.mean((model.predict(x)[:, 0] > 0) == t) > 0.98


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_scores_of_any_size_do_not_overflow(backend, dtype):
    y, loss = np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4]], dtype), nnx.SoftmaxCrossEntropy()
    assert loss.forward(backend.to_device(y), np.array([0, 2])) == pytest.approx(np.log(3) / 2, rel=1e-6)
    assert loss.forward(backend.to_device(y), np.array([2, 2])) == pytest.approx((2e4 + np.log(3)) / 2, rel=1e-6)
    assert np.isfinite(backend.to_host(loss.backward())).all()


def test_backward_is_scaled_and_can_be_repeated(backend):
    loss = nnx.SoftmaxCrossEntropy()
    loss.forward(backend.to_device(Y.copy()), LABELS)
    once = backend.to_host(loss.backward()).copy()
    for factor in (0.0, 2.0, 3.0):
        np.testing.assert_allclose(backend.to_host(loss.backward(factor)), factor * once)
    np.testing.assert_array_equal(backend.to_host(loss.backward()), once)


def test_arguments_are_left_alone(backend):
    for loss, t in ((nnx.SoftmaxCrossEntropy(), LABELS), (nnx.MeanSquaredError(), ROWS)):
        y, own = Y.copy(), t.copy()
        loss.forward(backend.to_device(y), own)
        loss.backward()
        np.testing.assert_array_equal(y, Y)
        np.testing.assert_array_equal(own, t)


@pytest.mark.parametrize(
    "form",
    [
        *(lambda t, d=d: t.astype(d) for d in (np.int8, np.uint8, np.int32, np.uint64, ">i8")),
        lambda t: np.repeat(t, 2)[::2],
        lambda t: np.frombuffer(t.tobytes(), np.int64),
        lambda t: t.tolist(),
    ],
    ids=["int8", "uint8", "int32", "uint64", "big-endian", "strided", "read-only", "list"],
)
def test_labels_of_any_form(backend, form):
    loss, y = nnx.SoftmaxCrossEntropy(), backend.to_device(Y)
    assert loss.forward(y, form(LABELS)) == loss.forward(y, LABELS)


def test_one_column_takes_a_vector(backend):
    loss, y = nnx.MeanSquaredError(), backend.to_device(Y[:, :1])
    assert loss.forward(y, LABELS) == loss.forward(y, LABELS[:, None].astype(float))


@pytest.mark.parametrize(("excess", "fits"), [(5e-4, True), (-5e-4, True), (5e-3, False), (-5e-3, False)])
def test_probabilities_sum_to_one_but_for_rounding(backend, excess, fits):
    loss, y, t = nnx.SoftmaxCrossEntropy(), backend.to_device(Y), ROWS.copy()
    t[3, 0] += excess
    if fits:
        assert np.isfinite(loss.forward(y, t))
    else:
        with pytest.raises(nnx.InputError, match="t: row 3 is .*, expected probabilities of at least 0 that sum to 1"):
            loss.forward(y, t)


@pytest.mark.parametrize("kind", [nnx.SoftmaxCrossEntropy, nnx.MeanSquaredError])
def test_targets_are_of_models_with_one_dimension_of_outputs(kind):
    with pytest.raises(nnx.InputError, match=r"outputs have shape \(n, 2, 3\), .*Put a Flatten\(\) before the last"):
        kind().check_targets("t", np.zeros((N, 2)), (2, 3), "float32")


def test_rows_without_classes_are_no_probabilities():
    with pytest.raises(nnx.InputError, match="t: row 0 is .*, expected probabilities"):
        nnx.SoftmaxCrossEntropy().check_targets("t", np.zeros((N, 0)), (0,), "float32")


def changed(t, row, value):
    t = t.copy()
    t[row] = value
    return t


CROSS, SQUARES = nnx.SoftmaxCrossEntropy, nnx.MeanSquaredError
BINARY, COUNTS = nnx.SigmoidCrossEntropy, nnx.PoissonDeviance


@pytest.mark.parametrize(
    ("kind", "t", "message"),
    [
        (CROSS, changed(LABELS, 2, C), r"t: got the label 4 in row 2, expected labels in 0\.\.3 \(there are 4 cl"),
        (CROSS, changed(LABELS, 5, -1), "t: got the label -1 in row 5"),
        (CROSS, changed(LABELS.astype(np.uint64), 0, 2**64 - 1), "t: got the label 18446744073709551615"),
        (CROSS, np.ma.masked_array(changed(LABELS, 2, 99), np.arange(N) == 2), "t: .*mask"),
        (CROSS, LABELS.astype(float), r"dtype float64, expected integers: .* Convert them with t.astype\(int\)"),
        (CROSS, LABELS + 0.5, r"expected integers: the loss is SoftmaxCrossEntropy\(\), unless .* pass loss='mse'"),
        (CROSS, LABELS.astype(str), "t: got dtype <U21, expected numbers"),
        (CROSS, LABELS.astype(str).astype(object), "t: got dtype object .such as '.'., expected numbers"),
        (CROSS, LABELS.astype("M8[s]"), "t: got dtype datetime64.*, expected numbers"),
        (CROSS, LABELS.astype(complex), "t: got dtype complex128, expected numbers"),
        (CROSS, None, "t: got dtype object, expected numbers"),
        (CROSS, "abc", "t: got dtype <U3, expected numbers"),
        (CROSS, LABELS[:, None], r"shape \(7, 1\), expected \(n,\) integer labels or \(n, 4\) .*pass t.ravel\(\)"),
        (CROSS, np.eye(3)[LABELS % 3], r"shape \(7, 3\), expected \(n,\) integer labels or \(n, 4\) rows"),
        (CROSS, np.int64(1), r"t: got targets of shape \(\), expected"),
        (CROSS, LABELS[:5], "t: got 5 rows, expected 7"),
        (CROSS, LABELS[:0], "t: got 0 rows, expected 7"),
        (CROSS, ROWS[:5], "t: got 5 rows, expected 7"),
        (CROSS, changed(ROWS, 1, [-0.5, 0.5, 0.5, 0.5]), r"t: row 1 is \[-0.5 .*expected probabilities of at least 0"),
        (CROSS, changed(ROWS, 6, np.nan), "t: row 6 is .*expected probabilities"),
        (SQUARES, ROWS[:, :3], r"t: got targets of shape \(7, 3\), expected \(n, 4\) as the model's outputs"),
        (SQUARES, LABELS, r"t: got targets of shape \(7,\), expected \(n, 4\)"),
        (SQUARES, ROWS[:5], "t: got 5 rows, expected 7"),
        (SQUARES, ROWS.astype(str), "t: got dtype <U32, expected numbers"),
        (SQUARES, ROWS.astype(complex), "t: got dtype complex128, expected numbers"),
        (SQUARES, None, "t: got dtype object, expected numbers"),
        (BINARY, ROWS[:, :3], r"t: got targets of shape \(7, 3\), expected \(n, 4\)"),
        (BINARY, changed(ROWS, 2, 1.5), "t: got 1.5, expected 0, 1 or a probability"),
        (BINARY, changed(ROWS, 2, -0.5), "t: got -0.5, expected 0, 1 or a probability"),
        (BINARY, changed(ROWS, 2, np.nan), "t: got nan, expected 0, 1 or a probability"),
        (COUNTS, changed(ROWS, 2, -1.0), "t: got -1.0, expected counts or frequencies of at least 0"),
    ],
)  # fmt: skip
def test_targets_refused(backend, kind, t, message):
    with pytest.raises(nnx.NnxError, match=message):
        kind().forward(backend.to_device(Y), t)


@pytest.mark.parametrize(
    ("y", "t", "message"),
    [
        (Y[0], LABELS[:1], r"outputs have shape \(n, \), expected \(n, "),
        (Y[:, :, None], LABELS, r"outputs have shape \(n, 4, 1\), expected \(n, "),
        (Y[:0], LABELS[:0], "no rows"),
        (Y[:1, 0].reshape(()), LABELS[0], r"y: got shape \(\) with no rows or no columns"),
        (Y.astype(int), LABELS, "y: got dtype int64, expected float32 or float64"),
        (Y.tolist(), LABELS, "y: got builtins.list, but the backend .* computes with"),
        (None, LABELS, "y: got builtins.NoneType, but the backend .* computes with"),
    ],
    ids=["vector", "three dimensions", "no rows", "no dimension", "integers", "list", "None"],
)
def test_outputs_refused(backend, y, t, message):
    y = backend.to_device(y) if isinstance(y, np.ndarray) else y
    for loss, targets in ((CROSS(), t), (SQUARES(), y)):
        with pytest.raises(nnx.NnxError, match=message):
            loss.forward(y, targets)


@pytest.mark.parametrize(
    ("kind", "t"),
    [
        (BINARY, np.array([[0.0, 1.0, 0.5, 0.0]] * N)),
        (COUNTS, np.array([[0.0, 1.0, 2.0, 0.5]] * N)),
        (CROSS, np.eye(C)[LABELS]),
        (CROSS, np.arange(N) % C),
    ],
)  # fmt: skip
def test_targets_at_the_bounds_are_taken(backend, kind, t):
    assert np.isfinite(kind().forward(backend.to_device(Y), t))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnx.Huber(0), "Huber: delta: got 0, expected a finite number greater than 0"),
        (lambda: nnx.SoftmaxCrossEntropy(1), "label_smoothing: got 1, expected .* of at least 0 and below 1"),
        (lambda: nnx.SoftmaxCrossEntropy(-0.1), "label_smoothing: got -0.1, expected .* of at least 0 and below 1"),
        (
            lambda: losses.loss("binary_crossentropy"),
            "unknown loss 'binary_crossentropy': its name here is 'sigmoid_cross_entropy'. It takes the scores",
        ),
        (lambda: losses.loss("huberr"), "unknown loss 'huberr'. Did you mean 'huber'"),
    ],
)
def test_settings_refused(make, message):
    with pytest.raises(nnx.InputError, match=message):
        make()


def test_losses_by_name_have_their_default_settings():
    made = {name: losses.loss(name) for name in ("MSE", "cross_entropy", "sigmoid_cross_entropy", "poisson_deviance")}
    assert [type(loss) for loss in made.values()] == [SQUARES, CROSS, BINARY, COUNTS]
    assert losses.loss("huber").config() == {"loss": "Huber", "delta": 1.0}
    assert losses.from_config(nnx.Huber(0.5).config()).delta == 0.5
    assert repr(nnx.Huber(0.5)) == "Huber(delta=0.5)"


@pytest.mark.parametrize("kind", [CROSS, SQUARES, BINARY, COUNTS])
def test_backward_needs_a_forward(kind):
    with pytest.raises(nnx.InputError, match=rf"{kind.__name__}\(\): backward needs a forward\(y, t\) before it"):
        kind().backward()


@pytest.mark.parametrize("kind", [CROSS, SQUARES, BINARY, COUNTS])
def test_goes_through_a_checkpoint(kind):
    assert type(losses.from_config(kind().config())) is kind
    with pytest.raises(nnx.InputError, match="unknown loss 'MeanSquareError'. Did you mean 'MeanSquaredError'"):
        losses.from_config({"loss": "MeanSquareError"})


@pytest.mark.parametrize("kind", ["labels", "rows"])
def test_label_smoothing_spreads_a_share_over_the_classes(backend, kind):
    y, labels = RNG.standard_normal((7, 5)).astype(np.float32), np.arange(7) % 5
    rows = np.eye(5, dtype=np.float32)[labels]
    smoothed, plain = nnx.SoftmaxCrossEntropy(label_smoothing=0.1), nnx.SoftmaxCrossEntropy()
    assert repr(smoothed) == "SoftmaxCrossEntropy(label_smoothing=0.1)"
    value = smoothed.forward(y, labels if kind == "labels" else rows)
    assert float(value) == pytest.approx(float(plain.forward(y, rows * np.float32(0.9) + np.float32(0.02))), rel=1e-6)
    np.testing.assert_allclose(smoothed.backward(), plain.backward(), atol=1e-7)
    assert nnx.losses.from_config(smoothed.config()).label_smoothing == 0.1
    assert plain.config() == {"loss": "SoftmaxCrossEntropy"}
    ops = nnx.Ops(backend)
    assert plain.bound(ops, "float32") == ops.softmax_cross_entropy  # in one launch
    for wrong in (-1, 5):  # as a trainer's uploaded labels might be
        t = backend.to_device(np.where(np.arange(7) == 3, wrong, labels))
        value = smoothed.bound(ops, "float32")(backend.to_device(y), t)
        assert np.isnan(backend.to_host(value))


@pytest.mark.parametrize("weighted", [False, True])
def test_numpy_takes_large_losses_some_rows_at_a_time(weighted):
    ops, r = nnx.Ops(nnx.get_backend("numpy")), np.random.default_rng(0)
    z, t = r.normal(size=(2, 700, 101))  # two blocks and a part of one
    weight = r.uniform(0, 2, 700) if weighted else None
    dz, db = np.empty_like(z), np.empty(101)
    loss = ops.loss(nnx.MeanSquaredError().formula, z, t, weight=weight, dz=dz, db=db)
    by_row = (1 if weight is None else weight[:, None]) / 700
    np.testing.assert_allclose(loss, (by_row * (z - t) ** 2).sum() / 2)
    np.testing.assert_allclose(dz, by_row * (z - t))
    np.testing.assert_allclose(db, dz.sum(axis=0))
    value = ops.loss(nnx.MeanSquaredError().formula, z, t, weight=weight)
    assert value == loss


class Absolute(nnx.Loss):
    """A loss of one's own that is no formula."""

    def forward(self, y, t):
        self.sign = np.sign(y - t) / len(y)
        return float(np.abs(y - t).sum() / len(y))

    def backward(self, dout=1.0):
        return self.sign * dout


class Duck:
    """As of the study notes."""

    forward, backward = Absolute.forward, Absolute.backward


@pytest.mark.parametrize("own", [Absolute(), losses.as_loss(Duck())], ids=["loss", "duck"])
def test_a_loss_of_ones_own_is_an_operation(own):
    ops, bias, sign = nnx.Ops(nnx.get_backend("numpy")), RNG.standard_normal(C), np.sign(Y - ROWS) / N
    loss = own.bound(ops, "float64")
    value = loss(Y, ROWS)
    assert (type(value), value.dtype, value.shape) == (np.ndarray, "float64", ())
    assert value == pytest.approx(np.abs(Y - ROWS).sum() / N)
    dz, db = np.empty_like(Y), np.empty(C)
    assert loss(Y, ROWS, dz=dz) == value
    np.testing.assert_array_equal(dz, sign)
    assert loss(Y, ROWS, db=db) == value
    np.testing.assert_allclose(db, sign.sum(axis=0))
    shifted = loss(Y - bias, ROWS, bias=bias, dz=dz, db=db)
    assert shifted == pytest.approx(float(value))
    np.testing.assert_array_equal(dz, sign)
    np.testing.assert_allclose(db, sign.sum(axis=0))


def test_what_is_taken_for_a_loss_of_ones_own():
    duck = Duck()
    wrapped = losses.as_loss(duck)
    assert isinstance(wrapped, losses.OwnLoss)
    assert wrapped.loss is duck
    assert wrapped.config() == {"loss": "Duck"}
    assert wrapped.forward(Y, ROWS) == Absolute().forward(Y, ROWS)
    np.testing.assert_array_equal(wrapped.backward(), duck.backward())
    only_forward, only_backward = type("F", (), {"forward": 1})(), type("B", (), {"backward": 1})()
    for other in (nnx.Huber(), Absolute, Duck, only_forward, only_backward, None):
        assert losses.as_loss(other) is other


def test_the_targets_of_a_loss_of_ones_own_are_of_the_models_dtype():
    for dtype in TOLERANCE:
        assert Absolute().check_targets("t", ROWS, (C,), dtype).dtype == dtype
    assert Absolute().check_targets("t", LABELS, (C,), "float32") is LABELS


def test_what_is_a_formula_may_be_recorded_and_ones_own_not():
    assert all(kind.capturable for kind in losses.LOSSES.values())
    assert not Absolute.capturable
    assert not losses.OwnLoss.capturable
    assert [kind for kind in losses.LOSSES.values() if kind.classes] == [CROSS]


def test_bound_operations_are_those_that_compute():
    calls = []
    loss = nnx.MeanSquaredError()
    loss.bind(nnx.Ops(watched("loss", before=lambda *arrays, **keywords: calls.append(len(arrays)))))
    loss.forward(nnx.get_backend().to_device(Y.copy()), ROWS)
    assert len(calls) == 1


def test_the_derivative_of_a_constant_loss_is_0():
    class Constant(nnx.ElementwiseLoss):
        def function(self, z, t):
            return 3.0

    loss = Constant()
    assert float(loss.forward(Y.copy(), ROWS)) == 3 * C
    np.testing.assert_array_equal(loss.backward(), 0)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_probabilities(dtype):
    scores = np.array([[0, 1], [1000, 999], [-1000, -1000]], dtype)
    p = nnx.SoftmaxCrossEntropy().probabilities(scores)
    q = 1 / (1 + np.e)
    np.testing.assert_allclose(p, [[q, 1 - q], [1 - q, q], [0.5, 0.5]], rtol=1e-6)
    assert p.dtype == dtype
    for wrong in (scores[:, :1], scores[0], scores[:, :, None]):
        with pytest.raises(nnx.InputError, match=r"predict_proba: got outputs of shape .*, expected \(n, classes\)"):
            nnx.SoftmaxCrossEntropy().probabilities(wrong)


@pytest.mark.parametrize(
    ("y", "t", "right"),
    [
        ([[0.5], [-0.5], [0.0], [0.5]], [[1.0], [0.0], [0.0], [0.0]], 3),
        ([[0.5], [-0.5], [0.5]], [[0.75], [0.5], [0.25]], 2),
        ([[0.5, -0.5], [0.5, 0.5], [-0.5, -0.5]], [[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], 2),
    ],
)
def test_right_are_the_rows_on_the_targets_side(backend, y, t, right):
    y, t = (backend.to_device(np.array(a)) for a in (y, t))
    assert int(nnx.SigmoidCrossEntropy().count_right(nnx.Ops(backend), y, t)) == right
