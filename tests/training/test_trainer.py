"""Steps, whole trainings, their history, and how they end."""

import os
import signal

import numpy as np
import pytest
from spies import watched

import nnx
from nnx.datasets import Dataset, digits


@pytest.fixture(scope="module")
def data():
    return digits()


def trainer(seed=0, **settings):
    return nnx.Trainer(nnx.MLP((20,), 10, dropout=0.2, batch_norm=True), seed=seed, **settings)


def same(a, b):
    a, b = a.model.state_dict(), b.model.state_dict()
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_history_holds_plain_floats_per_epoch(data):
    train, val = data.split(0.8, 0.2)
    history = trainer().fit(train, epochs=3, validation_data=val, verbose=False)
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert all(len(values) == 3 and {type(v) for v in values} == {float} for values in history.values())


def test_the_training_accuracy_can_be_left_out(data):
    train, val = data.split(0.8, 0.2)
    whole, brief = trainer(), trainer()
    expected = whole.fit(train, epochs=2, validation_data=val, verbose=False)
    history = brief.fit(train, epochs=2, validation_data=val, train_accuracy=False, verbose=False)
    assert history == {name: values for name, values in expected.items() if name != "accuracy"}
    assert same(whole, brief)
    with pytest.raises(nnx.InputTypeError, match="train_accuracy: got 0, expected True or False."):
        brief.fit(train, train_accuracy=0)


def test_history_is_what_evaluation_says(data):
    t = trainer(weight_decay=0.01)
    history = t.fit(data, epochs=1, validation_data=data, verbose=False)
    loss, accuracy = t.evaluate(data)
    assert (loss, accuracy) == (history["val_loss"][-1], history["val_accuracy"][-1])
    assert accuracy == history["accuracy"][-1] == t.model.accuracy(data)
    scores = t.model.predict(data).astype(np.float64)
    log_p = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    expected = -log_p[np.arange(len(data)), data.t].mean()
    assert loss == pytest.approx(expected, rel=1e-5)


def test_epoch_loss_is_the_mean_of_its_rows(data):
    seen = []

    def look(loss, z, t, *, dz=None, **others):
        if dz is not None:
            seen.append((float(loss), len(z)))

    history = trainer(backend=watched("softmax_cross_entropy", after=look)).fit(
        data, epochs=1, batch_size=100, verbose=False
    )
    assert [n for _, n in seen] == [100] * 17 + [97]  # every row once, the last batch smaller; no extra forward pass
    assert history["loss"] == [sum(loss * n for loss, n in seen) / len(data)]


def test_every_row_is_drawn_once_an_epoch():
    rows = []

    def look(data, index, *others, **keywords):
        if data.ndim == 1:
            rows.append(index.copy())

    x, t = np.eye(23, dtype=np.float32), np.arange(23) % 2
    nnx.Trainer(nnx.MLP((), 2), backend=watched("take", before=look)).fit(x, t, epochs=2, batch_size=5, verbose=False)
    epochs = [np.concatenate(rows[i : i + 5]) for i in (0, 6)]  # the sixth is the evaluation
    for drawn in epochs:
        np.testing.assert_array_equal(np.sort(drawn), np.arange(23))
    assert not np.array_equal(epochs[0], epochs[1])


def test_same_seed_same_run_other_seed_another(data):
    a, b, c = trainer(), trainer(), trainer(seed=1)
    for t in (a, b, c):
        t.fit(data, epochs=2, verbose=False)
    assert same(a, b)
    assert a.history == b.history
    assert not same(a, c)


def test_uint8_with_scale_equals_floats(data):
    a, b = trainer(), trainer()
    a.fit(data, epochs=1, verbose=False)
    b.fit(data.inputs(), data.t, epochs=1, verbose=False)
    assert same(a, b)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float64, np.float16])
def test_whole_numbers_and_other_floats_are_converted_without_scaling(data, dtype):
    a, b = trainer(), trainer()
    a.fit(data.x.astype(dtype), data.t.astype(np.int16), epochs=1, verbose=False)
    b.fit(data.x.astype(np.float32), data.t, epochs=1, verbose=False)
    assert same(a, b)
    assert a.step(data.x[:10].astype(dtype), data.t[:10]) == b.step(data.x[:10].astype(np.float32), data.t[:10])


def test_one_hot_equals_labels(data):
    a, b = trainer(dtype="float64"), trainer(dtype="float64")
    a.fit(data.x, data.t, epochs=1, verbose=False)
    b.fit(data.x, np.eye(10)[data.t], epochs=1, verbose=False)
    assert a.history["loss"] == pytest.approx(b.history["loss"], rel=1e-12)
    assert a.history["accuracy"] == b.history["accuracy"]


def test_regression_has_no_accuracy():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 3))
    t = x @ [1.0, -2.0, 0.5] + 3
    model = nnx.Sequential(nnx.Affine(1))
    history = nnx.Trainer(model, nnx.Adam(lr=0.1), nnx.MeanSquaredError()).fit(x, t, epochs=100, verbose=False)
    assert list(history) == ["loss", "r2"]
    assert history["r2"][-1] == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(model.params["0.W"].ravel(), [1, -2, 0.5], atol=1e-3)
    np.testing.assert_allclose(model.params["0.b"], [3], atol=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_drifts_to_another_dtype(data, dtype):
    t = trainer(dtype=dtype, weight_decay=0.01, clip_norm=1.0)
    assert t.step(data.x[:10], data.t[:10]).dtype == dtype
    assert {str(a.dtype) for a in t.model.state_dict().values()} == {dtype}
    assert t.model.predict(data).dtype == dtype


def test_second_fit_adds_epochs(data):
    t = trainer()
    t.fit(data, epochs=2, verbose=False)
    history = t.fit(data, epochs=3, batch_size=64, verbose=False)
    assert len(history["loss"]) == t.epochs == 5


def test_callbacks_see_epochs_and_can_stop(data):
    seen = []

    def callback(trainer, epoch, logs):
        seen.append((epoch, logs["loss"]))
        return epoch == 3

    history = trainer().fit(data, epochs=10, callbacks=[callback], verbose=False)
    assert seen == list(enumerate(history["loss"], 1))
    assert len(seen) == 3


def test_early_stopping_returns_to_the_best(data):
    train, val = data.split(0.2, 0.8)
    t = nnx.Trainer(nnx.MLP((50,), 10), nnx.Adam(lr=0.05))
    stop = nnx.EarlyStopping("val_loss", patience=3)
    history = t.fit(train, epochs=100, validation_data=val, early_stopping=stop, verbose=False)
    best = int(np.argmin(history["val_loss"]))
    assert len(history["val_loss"]) == best + 4 < 100
    assert t.evaluate(val)[0] == history["val_loss"][best]


def test_early_stopping_by_its_patience(data):
    train, val = data.split(0.2, 0.8)
    settings = {"epochs": 100, "validation_data": val, "verbose": False}
    by_number, by_object = (nnx.Trainer(nnx.MLP((50,), 10), nnx.Adam(lr=0.05)) for _ in "ab")
    by_number.fit(train, early_stopping=3, **settings)
    by_object.fit(train, early_stopping=nnx.EarlyStopping(patience=3), **settings)
    assert by_number.history == by_object.history
    with pytest.raises(nnx.InputError, match="early_stopping: got 0, expected a whole number of at least 1"):
        by_number.fit(train, early_stopping=0, **settings)
    with pytest.raises(nnx.InputTypeError, match="early_stopping: got True, expected an nnx.EarlyStopping"):
        by_number.fit(train, early_stopping=True, **settings)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("adam", "mse"), "Adam(lr=0.001, beta1=0.9, beta2=0.999, eps=1e-08), MeanSquaredError()"),
        (("SGD", "sigmoid_cross_entropy"), "SGD(lr=0.01), SigmoidCrossEntropy()"),
        (("momentum", "Cross_Entropy"), "Momentum(lr=0.01, momentum=0.9), SoftmaxCrossEntropy()"),
    ],
)
def test_optimizers_and_losses_by_name(names, parts):
    assert parts in repr(nnx.Trainer(nnx.MLP((), 2), *names))


def test_a_trainer_and_its_model_answer_alike(data):
    t = trainer()
    t.fit(data, epochs=1, verbose=False)
    np.testing.assert_array_equal(t.predict(data), t.model.predict(data))
    assert t.accuracy(data) == t.model.accuracy(data) == t.evaluate(data)[1]
    assert t.model.evaluate(data) == t.evaluate(data)
    p = t.predict_proba(data)
    np.testing.assert_array_equal(p, t.model.predict_proba(data))
    np.testing.assert_allclose(p, nnx.functions.softmax(t.predict(data)), rtol=1e-5)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert p.dtype == np.float32
    with pytest.raises(
        nnx.InputError, match=r"accuracy: MeanSquaredError\(\) predicts numbers, not classes; evaluate giv"
    ):
        nnx.Trainer(t.model, loss="mse").accuracy(data)


def test_probabilities_follow_the_loss():
    model = nnx.MLP((), 1).build(2, backend="numpy")
    model.params["1.W"][...] = [[1], [1000]]
    x = np.array([[0, 0], [1, 0], [0, -1], [0, 1]])
    p = nnx.Trainer(model, loss="sigmoid_cross_entropy").predict_proba(x)
    np.testing.assert_allclose(p[:, 0], [0.5, 1 / (1 + np.exp(-1)), 0, 1], rtol=1e-6)
    np.testing.assert_array_equal(model.predict_proba(x, nnx.SigmoidCrossEntropy()), p)
    with pytest.raises(nnx.InputError, match=r"got outputs of shape \(4, 1\), .*pass loss=nnx.SigmoidCrossEntropy"):
        model.predict_proba(x)
    with pytest.raises(
        nnx.InputError, match=r"under MeanSquaredError\(\) a model's outputs are no scores of classes; pred"
    ):
        nnx.Trainer(model, loss="mse").predict_proba(x)


def test_early_stopping_names_what_there_is(data):
    with pytest.raises(
        nnx.InputError, match=r"no 'val_loss' in the history, only loss, accuracy; pass validation_data"
    ):
        trainer().fit(data, epochs=1, early_stopping=nnx.EarlyStopping(), verbose=False)


def test_divergence_names_step_and_layer_and_keeps_the_history(data):
    t = nnx.Trainer(nnx.MLP((20,), 10), nnx.SGD(lr=0.1))
    t.fit(data, epochs=2, verbose=False)
    t.model.params["1.W"][0, 0] = np.inf
    before = t.model.state_dict()
    with pytest.raises(
        nnx.DivergedError,
        match=r"became nan in epoch 3, step 1 \(step 37 of all\), first seen in the output "
        r"of Affine\(20\), ReLU\(\).*update was skipped.*lower learning rate \(it was 0.1\), clip_norm",
    ):
        t.fit(data, verbose=False)
    assert len(t.history["loss"]) == 2
    assert all(np.array_equal(before[name], value) for name, value in t.model.state_dict().items())
    t.model.params["1.W"][0, 0] = 0
    assert len(t.fit(data, epochs=1, verbose=False)["loss"]) == 3


def test_too_high_a_learning_rate_diverges_without_other_warnings(data):
    t = nnx.Trainer(nnx.MLP((20, 20), 10), nnx.SGD(lr=1e6))
    with pytest.raises(nnx.DivergedError, match="lower learning rate"):
        t.fit(data.x.astype(np.float32), data.t, epochs=20, verbose=False)


def test_ctrl_c_ends_between_steps_and_the_run_can_go_on(data, tmp_path):
    whole = trainer()
    whole.fit(data, epochs=4, verbose=False)

    updates = []

    def interrupt(formula, *args, **kwargs):
        if formula.name == "adam":
            updates.append(formula)
            if len(updates) == 25:  # in the second epoch, in the middle of an update
                os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    cut = trainer(backend=watched("update_", before=interrupt))
    history = cut.fit(data, epochs=4, checkpoint=tmp_path / "c", verbose=False)
    assert cut.interrupted
    assert (len(history["loss"]), cut.steps) == (1, 25)
    assert signal.getsignal(signal.SIGINT) is handler
    loaded = nnx.Trainer.load(tmp_path / "c")
    for t in (cut, loaded):
        t.fit(data, epochs=4, verbose=False)
        assert not t.interrupted
        assert t.history == whole.history
        assert same(t, whole)


def test_one_line_says_which_backend_runs(data, capsys):
    trainer().fit(data, epochs=2)
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"backend {nnx.get_backend().name} (")
    assert "operations fused" in out[0]
    assert out[1].split() == ["epoch", "loss", "accuracy", "seconds"]
    assert [line.split()[0] for line in out[2:]] == ["1", "2"]
    trainer().fit(data, epochs=1, verbose=False)
    assert capsys.readouterr().out == ""


def test_schedules_reach_the_optimizer(data):
    rates = []

    recording = watched("update_", before=lambda formula, hyper, *arrays, **others: rates.append(float(hyper[0])))
    schedule = nnx.schedules.WarmUp(3, nnx.schedules.Step(0.5, every=2, factor=0.5))
    t = nnx.Trainer(nnx.MLP((), 10), nnx.SGD(schedule), backend=recording, dtype="float64")
    for _ in range(7):
        t.step(data.x[:5], data.t[:5])
    assert rates == pytest.approx([0.5 / 3, 1 / 3, 0.5, 0.5, 0.5, 0.25, 0.25])
    t.optimizer.lr = 0.125
    t.step(data.x[:5], data.t[:5])
    assert rates[-1] == 0.125


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((0, 4))}, r"x_train: got shape \(0, 4\)"),
        ({"x_train": np.zeros(7)}, r"x_train: got shape \(7,\), expected \(n, features\)"),
        ({"x_train": [["a"]]}, "x_train: got dtype .*, expected numbers"),
        ({"t_train": None}, "t_train: got None, expected the targets"),
        ({"t_train": np.zeros(6, int)}, r"t_train: got shape \(6,\) for 7 rows of x_train"),
        ({"t_train": np.arange(7)}, r"t_train: got the label 3 in row 3, expected labels in 0\.\.2 \(there are 3 cl"),
        ({"t_train": -np.arange(7)}, r"t_train: got the label -1 in row 1"),
        (
            {"t_train": np.zeros(7)},
            r"labels of dtype float64, expected integers: .*. Convert them with t_train.astype\(int\)",
        ),
        ({"t_train": np.zeros((7, 1), int)}, r"For integer labels pass t_train.ravel\(\)"),
        ({"t_train": np.zeros((7, 4))}, r"got targets of shape \(7, 4\), expected \(n,\) integer labels or \(n, 3\)"),
        ({"t_train": np.ones((7, 3))}, "row 0 is .*, expected probabilities of at least 0 that sum to 1"),
        (
            {"x_train": np.full((7, 4), np.nan)},
            "x_train: got NaN or infinite values in 7 of 7 rows, the first being row 0. Clean the data, or pass "
            "check_finite=False to train on them as they are",
        ),
        ({"epochs": 0}, "epochs: got 0, expected a whole number of at least 1"),
        ({"batch_size": 0}, "batch_size: got 0"),
        ({"batch_size": 2.5}, "batch_size: got 2.5, expected a whole number"),
        ({"validation_data": (np.zeros((2, 5)), np.zeros(2, int))}, r"x_val: got shape \(2, 5\), expected \(n, 4\)"),
        ({"validation_data": (1, 2, 3)}, "validation_data: got 3 parts"),
        ({"checkpoint": "/no/such/folder/c"}, "/no/such/folder/c: cannot be written"),
        ({"checkpoint_every": 5}, "checkpoint_every: got no file to write"),
    ],
)
def test_fit_refuses_before_any_work(change, message):
    t = nnx.Trainer(nnx.Sequential(nnx.Affine(3)))
    t.build((4,))
    before = t.model.state_dict()
    arguments = {"x_train": np.zeros((7, 4)), "t_train": np.zeros(7, int), "verbose": False} | change
    with pytest.raises(nnx.NnxError, match=message):
        t.fit(**arguments)
    assert t.steps == 0
    assert t.history == {}
    assert all(np.array_equal(before[name], value) for name, value in t.model.state_dict().items())


def test_evaluate_names_no_argument_that_it_does_not_have():
    t = nnx.Trainer(nnx.Sequential(nnx.Affine(3)))
    t.build((4,))
    with pytest.raises(nnx.InputError, match=r"x: got NaN .*, the first being row 0. Clean the data\.$"):
        t.evaluate(np.full((7, 4), np.nan), np.zeros(7, int))


@pytest.mark.parametrize(
    ("loss", "t", "applied"), [("sigmoid_cross_entropy", [[0, 1]] * 7, "sigmoid"), (None, [0] * 7, "softmax")]
)
def test_a_sigmoid_under_a_loss_that_applies_one_is_warned_of(loss, t, applied):
    trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(2), nnx.Sigmoid()), loss=loss)
    with pytest.warns(nnx.LossWarning, match=f"applies the {applied} itself.* Leave the last layer out") as told:
        trainer.step(np.zeros((7, 4)), np.array(t))
    assert told[0].filename == __file__
    trainer.step(np.zeros((7, 4)), np.array(t))  # warnings are errors: it says so once


def test_a_sigmoid_under_a_loss_of_numbers_is_not():
    nnx.Trainer(nnx.Sequential(nnx.Affine(2), nnx.Sigmoid()), loss="mse").step(np.zeros((7, 4)), np.zeros((7, 2)))


def test_check_finite_false_trains_until_the_loss_is_not():
    x = np.zeros((10, 4))
    x[7, 1] = np.inf
    t = nnx.Trainer(nnx.MLP((3,), 2))
    with pytest.raises(nnx.DivergedError, match="epoch 1, step 2"):
        t.fit(x, np.zeros(10, int), shuffle=False, batch_size=5, check_finite=False, verbose=False)


@pytest.mark.parametrize(
    ("x", "t", "message"),
    [
        (np.zeros((5, 3)), [0] * 5, r"x: got shape \(5, 3\), expected \(n, 4\)"),
        (np.zeros(4), [0], r"x: got shape \(4,\), expected \(n, 4\). For a single sample pass x\[None\]"),
        (np.zeros((5, 2, 2)), [0] * 5, r"Reshape it with x.reshape\(len\(x\), 4\)"),
        (np.zeros((0, 4)), [], "x: got no rows"),
        (np.zeros((5, 4)), [0] * 4, "t: got 4 rows for 5 rows of x"),
        (np.zeros((5, 4)), [0, 1, 2, 3, 0], "t: got the label 3 in row 3"),
        (np.zeros((5, 4)), np.array([0, 1, 2, 2**64 - 1, 0], np.uint64), "t: got the label"),
        (np.zeros((5, 4), complex), [0] * 5, "x: got dtype complex128, expected numbers"),
        ("junk", [0], "x: got dtype .*, expected numbers"),
    ],
)
def test_step_refuses_before_any_kernel_runs(x, t, message):
    trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(3)))
    trainer.build((4,))
    before = trainer.model.state_dict()
    with pytest.raises(nnx.NnxError, match=message):
        trainer.step(x, t)
    assert trainer.steps == 0
    assert all(np.array_equal(before[name], value) for name, value in trainer.model.state_dict().items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nnx.Trainer("model"), "model: got 'model', expected an nnx.Sequential"),
        (lambda: nnx.Trainer(nnx.MLP((), 2), nnx.Adam), r"expected an nnx.Optimizer; write Adam\(\)"),
        (lambda: nnx.Trainer(nnx.MLP((), 2), loss=3), "loss: got 3, expected an nnx.Loss"),
        (
            lambda: nnx.Trainer(nnx.MLP((), 2), loss="msee"),
            "unknown loss 'msee'. Did you mean 'mse'. Known: cross_entropy, ",
        ),
        (
            lambda: nnx.Trainer(nnx.MLP((), 2), "adma"),
            "unknown optimizer 'adma'. Did you mean 'adam'. Known: adagrad, ",
        ),
        (
            lambda: nnx.Trainer(nnx.MLP((), 2), weight_decay=-1),
            "weight_decay: got -1, expected a finite number of at least 0",
        ),
        (lambda: nnx.Trainer(nnx.MLP((), 2), clip_norm=0), "clip_norm: got 0, expected a finite number greater than 0"),
        (lambda: nnx.Trainer(nnx.MLP((), 2), seed=-1), "seed: got -1"),
        (lambda: nnx.Trainer(nnx.MLP((), 2), dtype="int8"), "dtype: got int8, expected float32 or float64"),
        (lambda: nnx.Trainer(nnx.MLP((), 2), nnx.AdamW(weight_decay=0.1), weight_decay=0.2), "give it to one of them"),
        (lambda: nnx.Trainer(nnx.MLP((), 2).build(3), dtype="float64"), "built with float32; leave dtype out"),
        (
            lambda: nnx.Trainer(nnx.Sequential(nnx.ReLU())).build((3,)),
            r"Sequential\(ReLU\(\)\) has no parameters to train",
        ),
    ],
)
def test_trainer_refuses(make, message):
    with pytest.raises(nnx.NnxError, match=message):
        make()


def test_dataset_brings_its_targets(data):
    with pytest.raises(nnx.InputTypeError, match="a Dataset holds its own targets"):
        trainer().fit(data, data.t)
    assert isinstance(data, Dataset)


def test_adamw_decay_is_decoupled_and_not_in_the_loss(data):
    batch = data.x[:20], data.t[:20]
    plain, decayed = (
        nnx.Trainer(nnx.MLP((), 10), nnx.AdamW(lr=0.1, weight_decay=w), dtype="float64") for w in (0.0, 0.5)
    )
    plain.build((8, 8))
    start = plain.model.state_dict()
    assert plain.step(*batch) == decayed.step(*batch)
    difference = plain.model.params["1.W"] - decayed.model.params["1.W"]
    np.testing.assert_allclose(difference, 0.1 * 0.5 * start["1.W"], rtol=1e-10, atol=1e-15)
    np.testing.assert_array_equal(plain.model.params["1.b"], decayed.model.params["1.b"])
