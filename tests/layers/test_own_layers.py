"""Layers of one's own: checked, with a stage of their own in the plan; and LayerNorm, which is one like them."""

import numpy as np
import pytest

import nnx
from nnx import testing
from nnx._support.arena import Spec
from nnx.plan import Stage, stage_of

BACKENDS = ["numpy", "numba"]


class Scaled(nnx.Layer):
    """x * s, with s a parameter for each feature."""

    fields = ("first",)
    capturable = True
    called = 0

    def __init__(self, first=1.5):
        super().__init__()
        self.first = first

    def declare(self, shape):
        return [Spec("s", shape, value=self.first)], shape

    def forward(self, x, train_flg=True):
        Scaled.called += 1
        if train_flg:
            self._saved = x
        return x * self.params["s"]

    def backward(self, dout):
        self.grads["s"][...] = self.ops.xp.sum(dout * self._saved, axis=0)
        return dout * self.params["s"]


class Staged(Scaled):
    """The same, with a stage on the plan's buffers."""


@stage_of(Staged)
class StagedStage(Stage):
    takes_db = True

    def infer(self, ops, x):
        return x * self.layer.params["s"]

    def forward(self, program):
        multiply, out, s = program.ops.xp.multiply, program.output(self.shape), self.layer.params["s"]
        return lambda x: multiply(x, s, out=out)

    def backward(self, program, db, needs_dx):
        xp, layer, dx = program.ops.xp, self.layer, program.gradient(self.shape)

        def run(dy, x, y):
            xp.sum(dy * x, axis=0, out=layer.grads["s"])
            xp.multiply(dy, layer.params["s"], out=dx)
            if db is not None:
                xp.sum(dx, axis=0, out=db)
            return dx

        return run


def trained(*layers, backend="numpy"):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(40, 5)), rng.integers(0, 3, 40)
    trainer = nnx.Trainer(nnx.Sequential(*layers), nnx.SGD(0.1), backend=backend, dtype="float64", seed=2)
    history = trainer.fit(x, t, epochs=3, batch_size=16, verbose=False, validation_data=(x, t))
    return history, trainer.model.state_dict()


# A stage of its own ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_stage_of_ones_own_does_what_forward_and_backward_do(backend):
    before = Scaled.called
    history, state = trained(nnx.Affine(6), Staged(), nnx.ReLU(), nnx.Affine(3), backend=backend)
    assert Scaled.called == before  # not by the layer's own methods
    by_methods, expected = trained(nnx.Affine(6), Scaled(), nnx.ReLU(), nnx.Affine(3), backend=backend)
    assert Scaled.called > before
    for name, values in by_methods.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-12)
    for name, values in expected.items():
        np.testing.assert_allclose(state[name], values, rtol=1e-9, atol=1e-15, err_msg=name)


def test_a_subclass_may_do_something_else_and_has_no_stage_by_inheritance():
    class Other(Staged):
        def forward(self, x, train_flg=True):
            return 2 * super().forward(x, train_flg)

        def backward(self, dout):
            return super().backward(2 * dout)

    before = Scaled.called
    trained(nnx.Affine(6), Other(), nnx.Affine(3))
    assert Scaled.called > before


def test_a_stage_is_for_a_class_of_layers():
    with pytest.raises(nnx.InputTypeError, match=r"stage_of: got Scaled\(\), expected a class of layers"):
        stage_of(Scaled())


# The check ------------------------------------------------------------------------------------------------------------


class Noisy(nnx.Layer):
    random = True

    def forward(self, x, train_flg=True):
        if not train_flg:
            return x
        self._saved = self.ops.xp.astype(self.uniform(x.shape), x.dtype) + 0.5
        return x * self._saved

    def backward(self, dout):
        return dout * self._saved


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Scaled(), 4),
        (Scaled(0.5), (2, 3)),
        (Noisy(), 5),
        (nnx.LayerNorm(), 6),
        (nnx.LayerNorm(eps=0.1), 1),
        (nnx.Affine(3), 4),
        (nnx.BatchNorm(momentum=0.5), 4),
        (nnx.Dropout(0.3), 6),
        (nnx.GELU(), 5),
        (nnx.Flatten(), (2, 3)),
        (nnx.Identity(), 3),
    ],
)
def test_layers_pass(layer, shape, backend):
    before = repr(layer)
    testing.check_layer(layer, shape, backend=backend)
    assert repr(layer) == before
    assert not layer.attached


class WrongGradient(Scaled):
    def backward(self, dout):
        return super().backward(dout) * 1.01


class WrongParameter(Scaled):
    def backward(self, dout):
        dx = super().backward(dout)
        self.grads["s"][...] = dout[0]
        return dx


class Disturbed(Scaled):
    def forward(self, x, train_flg=True):
        self._saved = x if train_flg else x * 0
        return x * self.params["s"]


class Wanders(Scaled):
    def forward(self, x, train_flg=True):
        self.first += not train_flg
        return super().forward(x, train_flg) + (0 if train_flg else self.first)


class Forgets(Scaled):
    def __init__(self, first=1.5):
        super().__init__(2 * first)


class Narrows(Scaled):
    def forward(self, x, train_flg=True):
        return super().forward(x, train_flg)[:, :1]


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (WrongGradient(), r"WrongGradient\(\): the gradient of x at \(\d+, \d+\) is .*, numerically "),
        (WrongParameter(), r"WrongParameter\(\): the gradient of s at \(\d+,\) is .*, numerically "),
        (
            Disturbed(),
            r"Disturbed\(\): a prediction between forward and backward changes the gradient of s, by at most",
        ),
        (Wanders(), r"Wanders\(\): two predictions for the same x differ, by at most 1"),
        (Forgets(), r"Forgets\(3.0\): made again of its fields \('first',\) it is Forgets\(6.0\)"),
        (Narrows(), r"Narrows\(\): forward gave \(n, 1\), declare said \(n, 4\)"),
    ],
)
def test_what_is_wrong_is_said(layer, said):
    with pytest.raises((AssertionError, nnx.InputError), match=said):
        testing.check_layer(layer, 4)


# LayerNorm ------------------------------------------------------------------------------------------------------------


def test_rows_are_normalised_by_themselves():
    x = np.random.default_rng(0).normal(3, 5, (4, 8))
    model = nnx.Sequential(nnx.LayerNorm()).build(8, backend="numpy", dtype="float64")
    y = model.predict(x)
    np.testing.assert_allclose(y.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(y.std(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(model.predict(x[2:3]), y[2:3])
    np.testing.assert_array_equal(model.forward(x), y)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_trains_in_the_middle_of_a_network_and_goes_on_bit_for_bit(backend, tmp_path):
    data = nnx.datasets.digits()
    model = nnx.Sequential(nnx.Flatten(), nnx.Affine(30), nnx.LayerNorm(), nnx.GELU(), nnx.Affine(10))
    trainer = nnx.Trainer(model, nnx.Adam(0.01), backend=backend)
    trainer.fit(data, epochs=2, verbose=False, checkpoint=tmp_path / "c")
    loaded = nnx.Trainer.load(tmp_path / "c", backend=backend)
    assert loaded.fit(data, epochs=4, verbose=False) == trainer.fit(data, epochs=2, verbose=False, resume=False)
    assert loaded.history["accuracy"][-1] > 0.9


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: nnx.LayerNorm(0), "LayerNorm: eps: got 0"),
        (
            lambda: nnx.Sequential(nnx.LayerNorm()).build((2, 3)),
            r"LayerNorm\(\): got inputs of shape \(n, 2, 3\),",
        ),
        (lambda: nnx.LayerNorm().forward(np.ones((2, 3))), r"LayerNorm\(\) has no parameters yet: put it into"),
    ],
)
def test_refusals(make, said):
    with pytest.raises(nnx.InputError, match=said):
        make()


# Plateaus and cycles --------------------------------------------------------------------------------------------------


def test_one_cycle_rises_and_falls():
    cycle = nnx.schedules.OneCycle(0.5, steps=100, rise=0.4)
    rates = [cycle(step) for step in range(120)]
    assert rates[0] == pytest.approx(0.02)
    assert max(rates) == rates[40] == pytest.approx(0.5)
    assert all(np.diff(rates[:41]) > 0)
    assert all(np.diff(rates[40:101]) < 0)
    assert rates[100:] == [pytest.approx(2e-6)] * 20


def test_a_training_with_one_cycle_goes_on_from_its_file(tmp_path):
    x, t = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    trainer = nnx.Trainer(nnx.MLP((5,), 3), nnx.SGD(nnx.schedules.OneCycle(0.1, 24)), backend="numpy")
    trainer.fit(x, t, epochs=2, batch_size=10, checkpoint=tmp_path / "c", verbose=False)
    assert nnx.Trainer.load(tmp_path / "c").optimizer.lr == nnx.schedules.OneCycle(0.1, 24)


class Told(nnx.Callback):
    """Losses as they are wanted."""

    def __init__(self, losses):
        self.losses = iter(losses)

    def __call__(self, trainer, epoch, logs):
        logs["told"] = next(self.losses)


def reduced(losses, trainer=None, **settings):
    trainer = trainer or nnx.Trainer(nnx.MLP((3,), 2), nnx.SGD(0.1), backend="numpy")
    rates = []
    callbacks = [Told(losses), nnx.ReduceOnPlateau("told", **settings), lambda tr, *_: rates.append(tr.optimizer.lr)]
    trainer.fit(np.ones((4, 2)), np.arange(4) % 2, epochs=len(losses), callbacks=callbacks, verbose=False)
    return rates


def test_the_rate_falls_after_epochs_without_progress():
    rates = reduced([3, 2, 2, 2, 1, 1, 1, 1, 1], patience=2, factor=0.5)
    assert rates == [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025, 0.0125]
    assert reduced([1, 1, 1, 1], patience=1, factor=0.5, least=0.04) == [0.1, 0.05, 0.04, 0.04]
    assert reduced([3, 2.95, 2.9], patience=1, factor=0.5, min_delta=0.2) == [0.1, 0.05, 0.025]


def test_a_rate_that_follows_a_schedule_is_left_to_it():
    trainer = nnx.Trainer(nnx.MLP((3,), 2), nnx.SGD(nnx.schedules.Step(0.1, 5)), backend="numpy")
    with pytest.raises(nnx.InputError, match=r"ReduceOnPlateau: the learning rate follows Step\(.*pass a number as lr"):
        reduced([1], trainer)


def test_a_plateau_goes_on_where_a_checkpoint_left_it(tmp_path):
    x, t = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 3
    settings = {"validation_data": (x, t), "batch_size": 20, "verbose": False}

    def trainer():
        return nnx.Trainer(nnx.MLP((5,), 3), nnx.SGD(2.0), backend="numpy")

    def plateau():
        return [nnx.ReduceOnPlateau(patience=1, factor=0.5)]

    whole = trainer()
    whole.fit(x, t, epochs=8, callbacks=plateau(), **settings)
    half = trainer()
    half.fit(x, t, epochs=3, callbacks=plateau(), checkpoint=tmp_path / "c", **settings)
    loaded = nnx.Trainer.load(tmp_path / "c", backend="numpy")
    loaded.fit(x, t, epochs=8, callbacks=plateau(), **settings)
    assert loaded.history == whole.history
    assert loaded.optimizer.lr == whole.optimizer.lr < 2.0
