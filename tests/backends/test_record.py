"""Recorded steps on the CPU: the bits of steps that run call by call, and what cannot be recorded says so."""

import multiprocessing
import os

import numpy as np
import pytest
from threads import at_once

import nnx
from nnx._support.arena import Spec
from nnx.datasets import digits
from nnx.formula import Formula
from nnx.ops import Ops

pytest.importorskip("numba")
from nnx_numba._record import CaptureWarning, Pace, RecordedStep, Traced, _address
from nnx_numba._team import Team

backend = nnx.get_backend("numba")
if not callable(getattr(backend, "capture", None)) or not backend._compiled:
    pytest.skip("the interpreter records nothing", allow_module_level=True)

DATA = digits()
CALL_BY_CALL = type("CallByCall", (type(backend),), {"capture": None})
OPTIMIZERS = [nnx.SGD, nnx.Momentum, nnx.Nesterov, nnx.AdaGrad, nnx.RMSprop, nnx.Adam]


class Doubled(nnx.Layer):
    """A layer of a user's own, in NumPy."""

    def forward(self, x, train_flg=True):
        return np.where(x > 0, 2 * x, x)

    def backward(self, dout):
        return 2.0 * dout


class Noisy(nnx.Layer):
    """A layer with numbers of NumPy's own generator, and a gradient that it writes by itself."""

    calls = 0

    def declare(self, shape):
        return [Spec("s", shape, value=1.0)], shape

    def forward(self, x, train_flg=True):
        if not train_flg:
            return x * self.params["s"]
        self.calls += 1
        self._noisy = x + np.random.standard_normal(x.shape).astype(x.dtype)  # noqa: NPY002
        return self._noisy * self.params["s"]

    def backward(self, dout):
        self.grads["s"][...] = np.sum(dout * self._noisy, axis=0)
        return dout * self.params["s"]


class Absolute(nnx.Loss):
    """A loss of a user's own, in NumPy."""

    def forward(self, y, t):
        self._gradient = np.sign(y - t) / len(y)
        return np.abs(y - t).sum() / len(y)

    def backward(self, dout=1.0):
        return self._gradient


def trained(model, backend, *, targets=DATA.t, epochs=2, **settings):
    trainer = nnx.Trainer(model, backend=backend, seed=3, **settings)
    x = DATA.inputs()[:397]
    if any(isinstance(layer, nnx.Convolution) for layer in model):
        x = x.reshape(-1, 1, 8, 8)
    trainer.fit(x, targets[:397], epochs=epochs, batch_size=100, verbose=False)
    return trainer


def same(a, b):
    assert a.history == b.history
    for name, value in a.model.state_dict().items():
        np.testing.assert_array_equal(value, b.model.state_dict()[name], err_msg=name)


def recorded(trainer):
    """The recorded steps of a trainer's last fit or step."""
    return [c.run for c in trainer.training_step._captured.values()]


MODELS = {
    "plain": (lambda: nnx.MLP((30, 20), 10), {}),
    "float64": (lambda: nnx.MLP((30, 20), 10), {"dtype": "float64"}),
    "tanh, norms, dropout": (lambda: nnx.MLP((30, 20), 10, activation="tanh", batch_norm=True, dropout=0.3), {}),
    "GELU, decay, clipping": (
        lambda: nnx.Sequential(nnx.Flatten(), nnx.Affine(30), nnx.GELU(), nnx.Affine(10)),
        {"weight_decay": 1e-3, "clip_norm": 0.5},
    ),
    "wide": (lambda: nnx.MLP((300, 200), 10), {}),
    "bfloat16": (lambda: nnx.MLP((30,), 10), {"precision": "bfloat16"}),
    "float16": (lambda: nnx.MLP((30,), 10), {"precision": "float16", "clip_norm": 1.0}),
    "smoothed": (lambda: nnx.MLP((30,), 10), {"loss": nnx.SoftmaxCrossEntropy(label_smoothing=0.1)}),
    "pictures": (
        lambda: nnx.Sequential(
            nnx.Convolution(6, 3, pad=1),
            nnx.BatchNorm(),
            nnx.ReLU(),
            nnx.MaxPooling(2),
            nnx.Dropout(0.2),
            nnx.Convolution(20, (2, 3), stride=(1, 2), pad=1),
            nnx.Tanh(),
            nnx.AveragePooling(2, stride=1),
            nnx.Flatten(),
            nnx.Affine(10),
        ),
        {},
    ),
    "pictures and an own layer": (
        lambda: nnx.Sequential(nnx.Convolution(5, 3), Doubled(), nnx.GlobalAveragePooling(), nnx.Affine(10)),
        {"dtype": "float64"},
    ),
    "own layer": (
        lambda: nnx.Sequential(nnx.Flatten(), nnx.Affine(30), Doubled(), nnx.LayerNorm(), nnx.Affine(10)),
        {},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_bits_of_steps_call_by_call(name):
    make, settings = MODELS[name]
    same(trained(make(), "numba", **settings), trained(make(), CALL_BY_CALL(), **settings))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer(optimizer):
    make = MODELS["plain"][0]
    settings = {"weight_decay": 1e-3, "optimizer": optimizer()}
    same(trained(make(), "numba", **settings), trained(make(), CALL_BY_CALL(), **settings))


@pytest.mark.parametrize("loss", [nnx.MeanSquaredError(), Absolute()])
def test_losses_on_numbers(loss):
    numbers = np.eye(10, dtype=np.float32)[DATA.t]
    make = MODELS["plain"][0]
    same(
        trained(make(), "numba", targets=numbers, loss=loss),
        trained(make(), CALL_BY_CALL(), targets=numbers, loss=loss),
    )


def test_from_the_third_on_steps_are_played_on_batches_that_lie_elsewhere():
    trainer, other = (nnx.Trainer(nnx.MLP((30,), 10), backend=b, seed=1) for b in ("numba", CALL_BY_CALL()))
    for i in range(6):
        x, t = DATA.inputs()[100 * i : 100 * i + 100], DATA.t[100 * i : 100 * i + 100]
        losses = trainer.step(x.copy(), t.copy()), other.step(x, t)
        assert losses[0] == losses[1]
        assert isinstance(losses[0], np.ndarray)
        assert not isinstance(losses[0], Traced)
        assert (recorded(trainer)[0].program is None) == (i < 1)


def test_losses_stay_what_they_were():
    trainer = nnx.Trainer(nnx.MLP((30,), 10), backend="numba")
    losses = [trainer.step(DATA.inputs()[:50], DATA.t[:50]) for _ in range(5)]
    assert len({float(loss) for loss in losses}) == 5


def test_a_first_layer_of_ones_own_is_given_copies_of_the_batches():
    models = [nnx.Sequential(nnx.Flatten(), Doubled(), nnx.Affine(10)) for _ in range(2)]
    one, other = (nnx.Trainer(m, backend=b, seed=2) for m, b in zip(models, ("numba", CALL_BY_CALL()), strict=True))
    for i in range(6):
        x, t = DATA.inputs()[100 * i : 100 * i + 100], DATA.t[100 * i : 100 * i + 100]
        assert one.step(x.copy(), t.copy()) == other.step(x, t)
    assert recorded(one)[0].program is not None


def test_what_the_interpreter_does_is_done_once_a_step():
    runs = []
    for kind in ("numba", CALL_BY_CALL()):
        np.random.seed(5)  # noqa: NPY002
        layer = Noisy()
        runs.append(trained(nnx.Sequential(nnx.Flatten(), nnx.Affine(9), layer, nnx.Affine(10)), kind))
        assert layer.calls == 8
    same(*runs)


class Overflowing(Doubled):
    def forward(self, x, train_flg=True):
        return np.minimum(np.exp(1000 * np.abs(x) + 1000), 1) * x


def test_numpy_does_not_warn_in_recorded_steps_either():  # warnings are errors here
    trainer = nnx.Trainer(nnx.Sequential(nnx.Flatten(), nnx.Affine(9), Overflowing(), nnx.Affine(10)), backend="numba")
    for _ in range(5):
        trainer.step(DATA.inputs()[:50], DATA.t[:50])
    assert recorded(trainer)[0].program is not None


def test_the_address_of_any_array_is_known():
    a = np.arange(12.0).reshape(3, 4)
    for array in (a, a[1:], a[:, ::-1], a.T, a.view(Traced), np.array(1.0), np.ma.masked_array(a)):
        assert _address(array) == array.ctypes.data


def test_steps_are_shared_or_not_by_what_is_faster():
    for seconds, expected in (((2.0, 1.0), True), ((1.0, 2.0), False)):
        pace = Pace()
        for _ in range(2):  # and once more after a while
            for alone in [False] * 8 + [True] * 8:
                assert pace.alone == alone
                pace.note(seconds[alone])
            assert pace.alone == expected
            for _ in range(Pace.AGAIN):
                assert pace.alone == expected
                pace.note(9.0)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_the_same_bits_whatever_the_threads(threads, monkeypatch):
    same(
        trained(nnx.MLP((300, 200), 10, batch_norm=True), "numba", weight_decay=1e-3),
        _with_team(Team(threads, backend._of_jobs.team), monkeypatch),
    )


def _with_team(team, monkeypatch):
    monkeypatch.setattr(backend, "_team", team)
    return trained(nnx.MLP((300, 200), 10, batch_norm=True), "numba", weight_decay=1e-3)


def test_products_of_blas_are_called_between_jobs(monkeypatch):
    import nnx_numba._backend

    monkeypatch.setattr(nnx_numba._backend, "LARGEST_OWN", 400_000)
    trainer = trained(nnx.MLP((30, 20), 10), "numba")
    same(trainer, trained(nnx.MLP((30, 20), 10), CALL_BY_CALL()))


def test_several_trainers_at_once():
    alone, runs = trained(nnx.MLP((60,), 10), "numba"), {}
    at_once(lambda k: runs.update({k: trained(nnx.MLP((60,), 10), "numba")}), range(3))
    for run in runs.values():
        same(run, alone)


def _in_child(trainer, queue):
    queue.put(float(trainer.step(DATA.inputs()[:100], DATA.t[:100])))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_recorded_step_goes_on_in_a_child():
    trainer = nnx.Trainer(nnx.MLP((300,), 10), backend="numba")
    for _ in range(4):
        trainer.step(DATA.inputs()[:100], DATA.t[:100])
    queue = multiprocessing.get_context("fork").Queue()
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(trainer, queue))
    child.start()
    assert queue.get(timeout=60) == float(trainer.step(DATA.inputs()[:100], DATA.t[:100]))
    child.join()


# Steps that are not of operations alone ------------------------------------------------------------------------------

ops = Ops(backend)
P = nnx.SGD.formula()


def run(step, *, calls=5):
    """Make a step of `step(p, g, hyper)`, run it, and return what p and the results are."""
    p = np.ones(4, np.float32)
    captured = ops.capture(lambda g, hyper: step(p, g, hyper), (p, np.zeros(3, np.float32)))
    assert isinstance(captured, RecordedStep)
    results = []
    for i in range(calls):
        g, hyper = np.full(4, 1.0 + i, np.float32), np.array([0.5 + i, 0.0, 1.0], np.float32)
        results.append(float(captured(g, hyper)))
    return p, results, captured


def expected(step, *, calls=5):
    p, results = np.ones(4, np.float32), []
    for i in range(calls):
        g, hyper = np.full(4, 1.0 + i, np.float32), np.array([0.5 + i, 0.0, 1.0], np.float32)
        results.append(float(step(p, g, hyper)))
    return p, results


def updated(p, g, hyper):
    ops.update_(P, hyper, p, g)
    return ops.sum_squares(p)


def reads_a_number(p, g, hyper):
    if float(hyper[0]) > 2:
        ops.update_(P, hyper, p, g)
    return ops.sum_squares(p)


def asks_whether(p, g, hyper):
    if hyper[0] > 2:
        ops.update_(P, hyper, p, g)
    return ops.sum_squares(p)


def computes_in_numpy(p, g, hyper):
    return updated(p, np.tanh(g), hyper)


def calls_a_function_of_numpys(p, g, hyper):
    return updated(p, np.clip(g, 0, 2), hyper)


def assigns_elements(p, g, hyper):
    g[1:] = 0
    return updated(p, g.copy(), hyper)


def computes_with_what_no_call_has_seen(p, g, hyper):
    return updated(p, p * np.float32(0.5), hyper)


def counts(p, g, hyper, seen=[]):  # noqa: B006
    seen.append(1)
    return updated(p, np.full(4, len(seen) % 7, np.float32), hyper)


def returns_a_number(p, g, hyper):
    return np.float32(updated(p, g, hyper))


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (reads_a_number, "a number that the interpreter reads"),
        (asks_whether, "numpy.greater"),
        (computes_in_numpy, "numpy.tanh"),
        (calls_a_function_of_numpys, "numpy.clip"),
        (assigns_elements, "an assignment to elements"),
        (computes_with_what_no_call_has_seen, "it depends on what the interpreter computes"),
        (counts, "it depends on what the interpreter computes"),
        (returns_a_number, "a loss that no kernel computes"),
    ],
)
def test_what_cannot_be_recorded_says_so_and_runs_as_before(step, reason):
    before = expected(step)
    with pytest.warns(CaptureWarning, match=f"cannot be recorded and runs call by call, more slowly: {reason}"):
        p, results, captured = run(step)
    if step is not counts:  # goes on counting
        np.testing.assert_array_equal(p, before[0])
        assert results == before[1]
    assert captured.program is None


def test_inputs_like_the_first_ones_are_wanted():
    *_, captured = run(updated)
    with pytest.raises(ValueError, match=r"inputs like its first, \(4,\) float32; got \(5,\) float32"):
        captured(np.ones(5, np.float32), np.zeros(3, np.float32))
    with pytest.raises(ValueError, match="takes 2 inputs, as at first; got 1"):
        captured(np.ones(4, np.float32))


@pytest.mark.parametrize("strange", [lambda a: np.repeat(a, 2)[::2], lambda a: np.flip(a)[::-1], None])
def test_inputs_of_every_layout(strange):
    p = np.zeros(3000, np.float32)
    captured = ops.capture(lambda g, hyper: updated(p, g, hyper), (p, np.zeros(3, np.float32)))
    hyper, total = np.array([1.0, 0.0, 1.0], np.float32), np.zeros(3000)
    for i in range(5):
        g = np.full(3000, i, np.float32)
        total -= i
        if strange is None:
            memory = np.zeros(4 * 3000 + 1, np.uint8)
            given = memory[1:].view(np.float32)
            given[:] = g
        else:
            given = strange(g)
        given.flags.writeable = False
        captured(given, hyper)
        np.testing.assert_array_equal(p, total)


def test_a_kernel_with_too_many_arguments_is_not_recorded():
    formula = Formula("long", lambda *values: sum(values), [f"a{i}" for i in range(20)], ["a0"])
    arrays = [np.full(4, i, np.float32) for i in range(20)]

    def step(g, hyper):
        ops.update_(formula, hyper, *arrays)
        return ops.sum_squares(arrays[0])

    captured = ops.capture(step, (arrays[0], np.zeros(3, np.float32)))
    given = np.ones(4, np.float32), np.zeros(3, np.float32)
    with pytest.warns(CaptureWarning, match="update_long: it has too many arguments"):
        captured(*given)
    for _ in range(2):
        captured(*given)
    assert arrays[0][0] == 3 * sum(range(20))


def test_a_batch_may_be_a_map_of_a_file_that_cannot_be_written_to(tmp_path):
    x, t = DATA.inputs()[:100].reshape(100, -1), DATA.t[:100]
    np.save(tmp_path / "x.npy", x)
    trainers = [nnx.Trainer(nnx.MLP((16,), 10), backend="numba") for _ in range(2)]
    for _ in range(4):
        losses = [
            trainer.step(rows, t) for trainer, rows in zip(trainers, (np.load(tmp_path / "x.npy", "r"), x), strict=True)
        ]
        assert losses[0] == losses[1]
