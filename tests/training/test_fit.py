"""What `fit` takes beside the data, what its history says, and what it calls on its way."""

import numpy as np
import pytest

import nnx

X = np.random.default_rng(0).normal(size=(50, 4)).astype("f")
T = (X[:, 0] > 0.5).astype(int) + (X[:, 1] > 0.5)


def trainer(loss=None, out=3, **settings):
    model = nnx.Sequential(nnx.Affine(6), nnx.ReLU(), nnx.Affine(out))
    return nnx.Trainer(model, nnx.SGD(0.1), loss, seed=1, **settings)


def fit(trainer, x=X, t=T, **settings):
    return trainer.fit(x, t, **{"epochs": 2, "batch_size": 20, "verbose": False, **settings})


# The history ----------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_mean_over_the_rows_each_before_its_update():
    one, by_hand = trainer(), trainer()
    history = fit(one, epochs=1, shuffle=False)
    losses = [float(by_hand.step(X[i : i + 20], T[i : i + 20])) for i in (0, 20, 40)]
    assert history["loss"] == [pytest.approx((20 * losses[0] + 20 * losses[1] + 10 * losses[2]) / 50, rel=1e-6)]


def test_the_penalty_stands_beside_the_losses_and_in_none():
    decayed = trainer(weight_decay=0.1)
    history = fit(decayed, validation_data=(X, T))
    weights = sum(float((w**2).sum()) for name, w in decayed.model.state_dict().items() if name.endswith("W"))
    assert history["penalty"][-1] == pytest.approx(0.05 * weights, rel=1e-5)
    assert history["val_loss"][-1] == pytest.approx(decayed.evaluate(X, T).loss)
    logits = decayed.model.predict(X).astype(float)
    shifted = logits - logits.max(axis=1, keepdims=True)
    expected = np.mean(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(50), T])
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-5)
    assert "penalty" not in fit(trainer())
    adamw = nnx.Trainer(nnx.Sequential(nnx.Affine(3)), nnx.AdamW(), weight_decay=0.1)
    assert "penalty" not in fit(adamw)


def test_one_sigmoid_output_has_an_accuracy():
    t = (X[:, 0] > 0).astype("f")
    one = trainer(nnx.SigmoidCrossEntropy(), out=1)
    history = fit(one, t=t, epochs=30, validation_data=(X, t))
    right = (one.model.predict(X)[:, 0] > 0) == (t > 0.5)
    assert history["val_accuracy"][-1] == right.mean() > 0.8
    assert "r2" not in history


def test_of_several_labels_all_must_be_right():
    t = (X[:, :3] > 0).astype("f")
    one = trainer(nnx.SigmoidCrossEntropy())
    history = fit(one, t=t, epochs=30)
    right = (one.model.predict(X) > 0) == (t > 0.5)
    assert history["accuracy"][-1] == right.all(axis=1).mean() < right.mean()


@pytest.mark.parametrize("columns", [1, 3])
def test_a_regression_has_r2_in_the_accuracys_place(columns):
    r2_score = pytest.importorskip("sklearn.metrics").r2_score
    t = X @ np.random.default_rng(1).normal(size=(4, columns)) + 1
    one = trainer(nnx.MeanSquaredError(), out=columns)
    history = fit(one, t=t, epochs=20, validation_data=(X, t))
    assert history["val_r2"][-1] == pytest.approx(r2_score(t.astype("f"), one.model.predict(X)), abs=1e-6)
    assert history["r2"][-1] == history["val_r2"][-1]
    assert "accuracy" not in history
    assert one.evaluate(X, t) == (history["val_loss"][-1], history["val_r2"][-1])


def test_r2_of_counts_is_of_their_expectations():
    t = np.random.default_rng(1).poisson(np.exp(X[:, 0]))
    one = trainer(nnx.PoissonDeviance(), out=1)
    r2 = fit(one, t=t, epochs=20)["r2"][-1]
    y = np.exp(one.model.predict(X)[:, 0].astype(float))
    assert r2 == pytest.approx(1 - ((t - y) ** 2).sum() / ((t - t.mean()) ** 2).sum(), rel=1e-5)


def test_r2_of_targets_that_are_all_the_same():
    from nnx.training._evaluation import R2

    same = np.full((5, 1), 0.1)
    for factor, expected in ((1, 1.0), (2, 0.0)):
        r2 = R2()
        for rows in (3, 2):
            r2.add(same[:rows] * factor, same[:rows])
        assert r2.value() == expected


def test_r2_of_rows_in_parts_is_that_of_all():
    from nnx.training._evaluation import R2

    t = np.random.default_rng(0).normal(1e3, 1, (50, 2))
    y = t + np.random.default_rng(1).normal(0, 0.3, t.shape)
    r2 = R2()
    for begin, end in ((0, 7), (7, 8), (8, 50)):
        r2.add(y[begin:end], t[begin:end])
    expected = 1 - ((t - y) ** 2).sum(axis=0) / ((t - t.mean(axis=0)) ** 2).sum(axis=0)
    assert r2.value() == pytest.approx(expected.mean(), rel=1e-12)


def test_data_are_checked_and_uploaded_once_to_be_evaluated_again_and_again():
    from nnx.training._device_data import DeviceData

    one = trainer()
    one.build((4,))
    data = DeviceData(one.model, one.loss, X, T, name="x", target="t")
    assert one.evaluate(data) == one.evaluate(X, T)


# Weights --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [nnx.SoftmaxCrossEntropy(), nnx.MeanSquaredError()])
def test_a_row_of_weight_two_counts_as_two(loss):
    x, t = (X, T) if loss.classes else (X, X[:, :3])
    weights = np.where(np.arange(50) % 2 == 0, 2.0, 1.0)
    twice = np.repeat(np.arange(50), weights.astype(int))
    weighted, repeated = trainer(loss), trainer(loss)
    fit(weighted, x, t, batch_size=50, epochs=1, sample_weight=weights)
    fit(repeated, x[twice], t[twice], batch_size=75, epochs=1)
    before = trainer(loss)
    before.build((4,))
    for name, w in weighted.model.state_dict().items():  # the mean is over 50 rows in one, over 75 in the other
        start = before.model.state_dict()[name]
        np.testing.assert_allclose((w - start) / 1.5, repeated.model.state_dict()[name] - start, rtol=1e-3, atol=1e-6)


def test_rows_without_weight_are_not_there():
    with_zeros, without = trainer(), trainer()
    weights = (np.arange(50) < 30).astype(float)
    fit(with_zeros, batch_size=50, epochs=3, sample_weight=weights * 50 / 30)
    fit(without, X[:30], T[:30], batch_size=30, epochs=3)
    for name, w in with_zeros.model.state_dict().items():
        np.testing.assert_allclose(w, without.model.state_dict()[name], rtol=1e-4, atol=1e-6)


def test_class_weights_are_weights_of_their_rows():
    by_class, by_row = trainer(), trainer()
    factors = {0: 0.5, 2: 3.0}
    fit(by_class, class_weight=factors, sample_weight=np.full(50, 2.0))
    fit(by_row, sample_weight=np.array([2 * factors.get(label, 1.0) for label in T.tolist()]))
    assert by_class.history == by_row.history
    some = T < 2  # of the third class no row is left, which may have its factor all the same
    few, without = trainer(), trainer()
    fit(few, X[some], T[some], class_weight={1: 2.0, 2: 3.0})
    assert few.history == fit(without, X[some], T[some], class_weight={1: 2.0})
    balanced, by_hand = trainer(), trainer()
    fit(balanced, class_weight="balanced")
    counts = np.bincount(T)
    fit(by_hand, class_weight={label: 50 / (3 * count) for label, count in enumerate(counts.tolist())})
    assert balanced.history == by_hand.history


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"sample_weight": np.ones(3)}, r"sample_weight: got shape \(3,\), expected \(50,\), one for each row"),
        ({"sample_weight": np.full(50, -1.0)}, "sample_weight: got -1.0 in row 0, expected finite numbers of at least"),
        ({"sample_weight": np.zeros(50)}, "sample_weight: got zeros alone"),
        ({"sample_weight": [float("nan")] + [1.0] * 49}, "sample_weight: got nan in row 0"),
        ({"class_weight": {7: 1.0}}, "class_weight: got a factor for 7, which is no label; labels are 0, 1, 2"),
        ({"class_weight": {0: -1.0}}, r"class_weight\[0\]: got -1.0"),
        ({"class_weight": "equal"}, "class_weight: got 'equal', expected 'balanced' or factors as {label: factor}"),
        ({"class_weight": 3}, "class_weight: got 3, expected 'balanced' or a dictionary"),
        ({"validation_split": 0.1, "validation_data": (X, T)}, "validation_split: got validation_data as well"),
        ({"validation_split": 1.5}, "validation_split: got 1.5, expected a finite number greater than 0 and below 1"),
        ({"validation_split": 0.001}, "validation_split: 0.001 of 50 rows leaves a part without rows"),
    ],
)
def test_wrong_weights_and_splits_are_told(settings, said):
    with pytest.raises((nnx.InputError, nnx.InputTypeError), match=said):
        fit(trainer(), **settings)


def test_class_weights_are_for_labels():
    with pytest.raises(nnx.InputError, match="class_weight: needs integer labels .* for MeanSquaredError"):
        fit(trainer(nnx.MeanSquaredError()), t=X[:, :3], class_weight="balanced")


# Validation -----------------------------------------------------------------------------------------------------------


def test_a_split_keeps_rows_out_of_the_training():
    split, by_hand = trainer(), trainer()
    weights = np.linspace(0.5, 1.5, 50)
    history = fit(split, validation_split=0.2, sample_weight=weights)
    data = nnx.datasets.Dataset("rows", X, T, 1.0, ("a", "b", "c"))
    train, out = nnx.datasets.split(np.arange(50), T, 0.8, 0.2, seed=1)
    rows, kept_out = train[0], out[0]
    assert len(kept_out) == 10
    expected = fit(by_hand, X[rows], T[rows], sample_weight=weights[rows], validation_data=(X[kept_out], T[kept_out]))
    assert history == expected
    of_a_dataset = trainer()
    assert fit(of_a_dataset, data, None, validation_split=0.2, sample_weight=weights) == history


# Callbacks ------------------------------------------------------------------------------------------------------------


class Diary(nnx.Callback):
    def __init__(self, stop=False):
        self.lines, self.stop = [], stop

    def on_begin(self, trainer):
        self.lines.append(("begin", trainer.steps))

    def on_epoch_begin(self, trainer, epoch):
        self.lines.append(("epoch", epoch))

    def on_step(self, trainer, step, loss):
        self.lines.append(("step", step, float(loss) > 0))

    def __call__(self, trainer, epoch, logs):
        self.lines.append(("done", epoch, sorted(logs)))
        return self.stop

    def on_end(self, trainer, finished):
        self.lines.append(("end", finished))


def test_a_callback_is_told_of_everything_in_order():
    diary = Diary()
    fit(trainer(), callbacks=[diary], batch_size=25)
    step = [("step", i, True) for i in range(5)]
    done = ["accuracy", "loss"]
    assert diary.lines == [
        ("begin", 0),
        *(("epoch", 1), *step[1:3], ("done", 1, done)),
        *(("epoch", 2), *step[3:5], ("done", 2, done)),
        ("end", True),
    ]


def test_one_that_wants_to_end_the_training_ends_it_well():
    diary = Diary(stop=True)
    fit(trainer(), callbacks=[diary])
    assert diary.lines[-1] == ("end", True)
    assert [line for line in diary.lines if line[0] == "done"] == [("done", 1, ["accuracy", "loss"])]


@pytest.mark.parametrize("hook", ["on_begin", "on_epoch_begin", "on_step", "__call__"])
def test_one_that_raises_ends_the_training_with_history_and_checkpoint_kept(hook, tmp_path):
    class Breaks(Diary):
        pass

    def breaks(self, trainer, *rest):
        if trainer.epochs >= (0 if hook == "on_begin" else 1):
            raise KeyError(hook)

    setattr(Breaks, hook, breaks)
    path, one, diary = tmp_path / "run.safetensors", trainer(), Breaks()
    fit(one, epochs=1, checkpoint=path)
    with pytest.raises(KeyError, match=hook):
        fit(one, epochs=3, checkpoint=path, callbacks=[diary])
    assert diary.lines[-1] == ("end", False)
    epochs = 2 if hook == "__call__" else 1  # an epoch that is done is kept, whatever is called after it
    assert len(one.history["loss"]) == epochs
    loaded = nnx.Trainer.load(path)
    assert (loaded.epochs, loaded.history) == (epochs, one.history)


def test_a_method_that_nothing_calls_is_told():
    class Hopes(nnx.Callback):
        def on_epoch_end(self, trainer, epoch, logs):
            raise AssertionError

    with pytest.raises(
        nnx.InputError, match="unknown method of Hopes 'on_epoch_end'. .*Known: __call__, on_begin, on_end"
    ):
        fit(trainer(), callbacks=[Hopes()])


def test_one_that_does_nothing_is_told():
    class Empty(nnx.Callback):
        pass

    for callback, name in ((Empty(), "Empty"), (nnx.Callback(), "Callback")):
        with pytest.raises(
            nnx.InputError, match=f"callbacks: {name} would do nothing: it defines none of __call__, on"
        ):
            fit(trainer(), callbacks=[callback])


def test_whoever_ends_the_training_is_named(capsys):
    def enough(trainer, epoch, logs):
        return epoch == 3

    one = trainer()
    one.optimizer.lr = 1e-30
    settings = {"validation_data": (X, T), "epochs": 9, "verbose": True}
    one.fit(X, T, early_stopping=2, **settings)
    best = one.history["val_loss"][0]
    said = f"stopped after epoch 3: val_loss was best in epoch 1, {best:.4f}, to whose parameters the model returned"
    assert capsys.readouterr().out.splitlines()[-1] == said
    kept = nnx.EarlyStopping("val_accuracy", patience=1, restore_best=False)
    one.fit(X, T, early_stopping=kept, **settings)
    score = one.history["val_accuracy"][0]
    assert f"stopped after epoch 2: val_accuracy was best in epoch 1, {score:.4f}\n" in capsys.readouterr().out
    trainer().fit(X, T, callbacks=[enough], **settings)
    assert "stopped after epoch 3: enough asked for it\n" in capsys.readouterr().out


def test_any_class_with_the_methods_will_do():
    class Own:
        seen = ()

        def __call__(self, trainer, epoch, logs):
            pass

        def on_end(self, trainer, finished):
            self.seen = (finished,)

    own = Own()
    fit(trainer(), callbacks=[own])
    assert own.seen == (True,)


def test_early_stopping_is_a_callback_like_any_other():
    t = X[:, :3]
    stopping, one = nnx.EarlyStopping("val_r2", patience=2), trainer(nnx.MeanSquaredError())
    history = fit(one, t=t, epochs=200, validation_data=(X[::-1], t), callbacks=[stopping])
    best = int(np.argmax(history["val_r2"]))
    assert len(history["val_r2"]) == best + 3
    assert one.evaluate(X[::-1], t).score == pytest.approx(history["val_r2"][best])
