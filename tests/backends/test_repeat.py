"""Steps on batches that machine code checks: the same bits, and what is not like before is checked as ever."""

import numpy as np
import pytest

import nnx
from nnx.datasets import digits

pytest.importorskip("numba")

backend = nnx.get_backend("numba")
if not backend._compiled:
    pytest.skip("the interpreter records nothing", allow_module_level=True)

DATA = digits()
X, T = DATA.inputs().reshape(-1, 64), DATA.t


def trainer(*layers, columns=64, loss=None, **settings):
    layers = layers or (nnx.Affine(20), nnx.BatchNorm(), nnx.ReLU(), nnx.Dropout(0.2), nnx.Affine(10))
    settings = {"optimizer": nnx.Adam(0.01), "backend": "numba", "seed": 3} | settings
    made = nnx.Trainer(nnx.Sequential(*layers), loss=loss, **settings)
    made.build((columns,))
    return made


def begun(*layers, n=100, **settings):
    """A trainer that is ready to repeat its step."""
    made = trainer(*layers, **settings)
    x = X.astype(made.model.dtype)[:n]
    for _ in range(3):
        made.step(x, T[:n])
    assert made._repeat is not None
    return made, x, T[:n]


def state(of):
    return {name: value.tobytes() for name, value in of.model.state_dict().items()}


def steps(trainer, n, dtype, *, checked):
    losses = []
    for k in range(12):
        if checked:
            trainer._repeat = None
        rows = slice(k * n, (k + 1) * n)
        losses.append(float(trainer.step(X[rows].astype(dtype), T[rows])))
    return losses


@pytest.mark.parametrize(("n", "dtype"), [(100, "float32"), (100, "float64"), (8, "float32")])  # 8: inputs are copied
def test_the_bits_are_those_of_steps_that_are_checked_here(n, dtype):
    repeated, checked = trainer(dtype=dtype, weight_decay=0.01), trainer(dtype=dtype, weight_decay=0.01)
    assert steps(repeated, n, dtype, checked=False) == steps(checked, n, dtype, checked=True)
    assert repeated._repeat is not None
    assert repeated.steps == checked.steps == 12
    assert state(repeated) == state(checked)


def test_many_labels_are_read_where_they_are():
    n, (repeated, checked) = 600, (trainer(), trainer())
    for k in range(6):
        x, t = X[k : k + n].copy(), T[k : k + n].copy()
        checked._repeat = None
        assert repeated.step(x, t) == checked.step(x, t)
    assert state(repeated) == state(checked)


def test_losses_stay_what_they_were():
    made, x, t = begun()
    first = made.step(x, t)
    kept = float(first)
    made.step(x, t)
    assert float(first) == kept


@pytest.mark.parametrize("label", [-1, 10, 2**62, -(2**62)])
def test_a_wrong_label_is_refused_as_ever_and_nothing_is_done(label):
    made, x, t = begun()
    wrong, before, steps = t.copy(), state(made), made.steps
    wrong[57] = label
    with pytest.raises(nnx.InputError, match=rf"t: got the label {label} in row 57, expected labels in 0\.\.9"):
        made.step(x, wrong)
    assert state(made) == before
    assert made.steps == steps


OTHERS = {
    "fewer rows": lambda x, t: (x[:50], t[:50]),
    "another dtype": lambda x, t: (x.astype(float), t),
    "other labels": lambda x, t: (x, t.astype(np.int32)),
    "lists": lambda x, t: (x.tolist(), t.tolist()),
    "backwards": lambda x, t: (x[::-1], t[::-1]),
    "in columns": lambda x, t: (np.asfortranarray(x), t),
    "every second": lambda x, t: (np.repeat(x, 2, axis=1)[:, ::2], t),
    "shares": lambda x, t: (x, np.eye(10, dtype=np.float32)[t]),
    "of a subclass": lambda x, t: (x.view(type("Own", (np.ndarray,), {})), t),
}


def read_only(x, t):
    x.flags.writeable = t.flags.writeable = False
    return x, t


@pytest.mark.parametrize("other", [*OTHERS.values(), read_only], ids=[*OTHERS, "read-only"])
def test_another_kind_of_batch_is_taken_as_ever(other):
    made, x, t = begun()
    checked, *_ = begun()
    checked._repeat = None
    assert made.step(*other(x.copy(), t.copy())) == checked.step(*other(x.copy(), t.copy()))
    assert state(made) == state(checked)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda x, t: (x[:, :63].copy(), t), r"x: got shape \(100, 63\), expected \(n, 64\)"),
        (lambda x, t: (x, t[:99]), "t: got 99 rows for 100 rows of x"),
        (lambda x, t: (np.ma.masked_array(x), t), "x: got a masked array"),
        (lambda x, t: (x, t.astype(float)), "t: got labels of dtype float64"),
    ],
)
def test_what_is_refused_stays_refused(other, message):
    made, x, t = begun()
    before = state(made)
    with pytest.raises(nnx.NnxError, match=message):
        made.step(*other(x, t))
    assert state(made) == before


def test_a_version_for_the_other_dtype_is_not_taken():
    double, *_ = begun(dtype="float64")
    made, x, t = begun()
    assert double._repeat(x, t, double.optimizer.hyper(3), double.plan.keys(3, 3)) is None
    assert made._repeat(x.astype(float), t, made.optimizer.hyper(3), made.plan.keys(3, 3)) is None


def test_settings_may_change_between_steps():
    trainers = [begun(optimizer=nnx.SGD(0.1))[0] for _ in range(2)]
    trainers[1]._repeat = None
    for made in trainers:
        made.optimizer.lr, made.weight_decay = 0.02, 0.1
        made.step(X[:100], T[:100])
        made.fit(X[:300], T[:300], epochs=1, batch_size=150, verbose=False)
        made.step(X[:100], T[:100])
    assert state(trainers[0]) == state(trainers[1])


def test_a_loss_with_checks_of_its_own_is_asked_every_time():
    class Odd(nnx.SoftmaxCrossEntropy):
        asked = 0

        def check_targets(self, name, t, outputs, dtype):
            type(self).asked += 1
            return super().check_targets(name, t, outputs, dtype)

    made = trainer(loss=Odd())
    for _ in range(6):
        made.step(X[:100], T[:100])
    assert Odd.asked == 6


def test_rows_that_the_kernel_does_not_take_are_not_offered_to_it():
    made, x, t = begun()
    made.step(*read_only(x, t.copy()))
    assert made._repeat is None


def test_sizes_in_turn_make_it_once_each():
    made, x, t = begun()
    kept = []
    for _ in range(4):
        for n in (100, 50):
            made.step(x[:n].copy(), t[:n].copy())
            kept.append(made._repeat)
    assert None not in kept[-2:]
    assert kept[-2:] == kept[-4:-2]


def test_other_targets_have_no_such_step():
    made = trainer(nnx.Affine(10), loss="mse")
    for _ in range(5):
        made.step(X[:100], np.eye(10, dtype=np.float32)[T[:100]])
    assert made._repeat is None


def test_a_layer_of_the_interpreters_has_no_such_step():
    class Doubled(nnx.Layer):
        def forward(self, x, train_flg=True):
            return 2 * x

        def backward(self, dout):
            return 2 * dout

    made = trainer(nnx.Affine(10), Doubled())
    for _ in range(5):
        made.step(X[:100], T[:100])
    assert made._repeat is None
