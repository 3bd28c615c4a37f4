"""Several ranks train as one process does. They are threads here, with a communicator of their own."""

import json

import numpy as np
import pytest
from ranks import together
from strict import StrictBackend

import nnx
from nnx.parallel import Alone
from nnx.training import checkpoint as checkpoint_file


def rows(n=90, features=12, classes=4):
    r = np.random.default_rng(5)
    x = r.standard_normal((n, features)).astype(np.float32)
    return x, (x @ r.standard_normal((features, classes))).argmax(axis=1)


def pictures(n=40):
    r = np.random.default_rng(6)
    return r.standard_normal((n, 2, 6, 5)).astype(np.float32), r.integers(0, 4, n)


def plain():
    return nnx.MLP((9,), 4)


def random():
    return nnx.MLP((9, 7), 4, batch_norm=True, dropout=0.3)


def of_pictures():
    return nnx.Sequential(
        nnx.RandomShift(1),
        nnx.RandomFlip(),
        nnx.Convolution(3, 3, pad=1),
        nnx.BatchNorm(),
        nnx.ReLU(),
        nnx.MaxPooling(2),
        nnx.SpatialDropout(0.3),
        nnx.Flatten(),
        nnx.Dropout(0.2),
        nnx.Affine(4),
    )


def fit(net, communicator=None, shards=None, *, data=None, fitting=None, optimizer=None, **settings):
    """Train; return the trainer's history and all parameters and running statistics."""
    settings = {"backend": "numpy", "seed": 3, **settings}
    trainer = nnx.Trainer(net(), optimizer or nnx.Adam(0.01), parallel=communicator, shards=shards, **settings)
    data = data or (pictures() if net is of_pictures else rows())
    trainer.fit(*data, **{"epochs": 3, "batch_size": 25, "verbose": False, **(fitting or {})})
    return trainer.history, trainer.model.state_dict(), trainer


def assert_same(one, other):
    assert one[0] == other[0]
    for name, array in one[1].items():
        np.testing.assert_array_equal(array, other[1][name], err_msg=name)


def assert_near(one, other, rtol=1e-6):
    """The curve of the loss is the same within rounding, and so are the parameters, which add up what Adam divides."""
    np.testing.assert_allclose(one[0]["loss"], other[0]["loss"], rtol=rtol)
    for name, array in one[1].items():
        np.testing.assert_allclose(array, other[1][name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("net", [plain, random, of_pictures])
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_curve_of_several_ranks_is_that_of_one_process(net, ranks):
    results = together(ranks, lambda c: fit(net, c))
    for other in results[1:]:
        assert_same(results[0], other)
    assert_near(results[0], fit(net))
    assert_same(results[0], together(ranks, lambda c: fit(net, c))[0])


@pytest.mark.slow
@pytest.mark.parametrize("net", [random, of_pictures])
def test_shards_give_the_same_bits_on_any_number_of_ranks(net):
    alone = fit(net, shards=8)
    assert_near(alone, fit(net))
    for ranks in (2, 4, 8):
        assert_same(alone, together(ranks, lambda c: fit(net, c, 8))[-1])


@pytest.mark.parametrize("n", [26, 27])
def test_ranks_without_rows_in_the_last_batch_take_part(n):
    """The last batch has one or two rows, for four ranks or shards, and batch normalization goes over all of them."""
    data = rows(n)
    expected = fit(random, data=data)
    for ranks, shards in ((4, None), (1, 4)):
        results = together(ranks, lambda c, s=shards: fit(random, c, s, data=data))
        assert_near(results[-1], expected)
        assert_same(results[0], results[-1])


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_decay": 0.01, "clip_norm": 0.3},
        {"precision": "float16", "clip_norm": 1.0},
        {"precision": "bfloat16"},
        {"dtype": "float64", "optimizer": nnx.Momentum(nnx.schedules.Cosine(0.1, 12))},
        {"loss": "mse", "data": (rows()[0], rows()[0][:, :4] * 2)},
        {"fitting": {"sample_weight": np.linspace(0, 2, 90), "class_weight": "balanced", "validation_split": 0.2}},
    ],
    ids=["decay-and-clipping", "float16", "bfloat16", "float64-schedule", "squared-error", "weights"],
)
def test_settings_mean_what_they_mean_on_one_process(settings):
    """Of 16-bit products the sums over the rows round otherwise, one by one."""
    rtol = 1e-3 if "precision" in settings else 1e-6
    expected, results = fit(plain, **settings), together(2, lambda c: fit(plain, c, **settings))
    assert_near(results[0], expected, rtol)
    assert_same(results[0], results[1])
    for name, values in expected[0].items():
        np.testing.assert_allclose(results[0][0][name], values, rtol=max(rtol, 1e-5), err_msg=name)
    assert_same(together(2, lambda c: fit(plain, c, 4, **settings))[0], fit(plain, shards=4, **settings))


def test_a_rank_has_state_for_its_slice_of_the_parameters_alone():
    def held(communicator):
        plan = fit(random, communicator)[2].plan
        return plan.slice, sum(array.size for array in plan.state.values()), plan.arena.layout.size

    results = together(3, held)
    (size,) = {r[2] for r in results}
    width = -(-size // (3 * 32)) * 32  # in whole lines of 128 bytes
    assert [r[0] for r in results] == [slice(k * width, min((k + 1) * width, size)) for k in range(3)]
    assert [r[1] for r in results] == [2 * width] * 3, "two moments"


def test_numbas_recorded_steps_do_the_same():
    def run(communicator=None, shards=None):
        *result, trainer = fit(random, communicator, shards, backend="numba")
        recorded = trainer.plan.capturable
        return *result, recorded

    results = together(2, lambda c: run(c, 4))
    assert results[0][2], "the exchange is done in the middle of a recorded step"
    assert_near(results[0], fit(random, backend="numba"))
    assert_same(results[0], results[1])
    assert_same(results[0], run(shards=4))


@pytest.mark.slow
def test_compositions_by_array_api_names_do_the_same():
    expected = fit(random, backend=StrictBackend())
    assert_near(together(2, lambda c: fit(random, c, backend=StrictBackend()))[0], expected)


class Rounded(nnx.Layer):
    """A layer of one's own that draws for each row, and keeps something between forward and backward."""

    random = True

    def __init__(self):
        super().__init__()
        self.kept = {}

    def forward(self, x, train_flg=True):
        if train_flg:
            self.kept["factors"] = 0.5 + self.uniform((x.shape[0], 1))
        return x * self.kept["factors"] if train_flg else x

    def backward(self, dout):
        return dout * self.kept["factors"]


def test_layers_of_ones_own_draw_by_row_and_keep_to_their_shard():
    def net():
        return nnx.Sequential(nnx.Affine(6), nnx.BatchNorm(), Rounded(), nnx.Affine(4))

    expected = fit(net, shards=6)
    assert_near(expected, fit(net))
    assert_same(expected, together(3, lambda c: fit(net, c, 6))[1])


def test_a_layer_with_statistics_of_its_own_is_refused():
    class Counting(nnx.BatchNorm):
        pass

    trainer = nnx.Trainer(nnx.Sequential(nnx.Affine(3), Counting(), nnx.Affine(4)), shards=2, backend="numpy")
    with pytest.raises(nnx.InputError, match=r"Counting\(\): keeps statistics of the rows it sees, which here are a"):
        trainer.fit(*rows(), verbose=False)


class Noisy:
    """An optimizer of one's own that is not the same on two ranks."""

    lr = 0.1
    noise = np.random.default_rng()

    def update(self, params, grads):
        for name in params:
            params[name] -= self.lr * grads[name] * (1 + self.noise.random() * 1e-3)


def test_an_optimizer_of_ones_own_updates_on_one_rank_for_all():
    results = together(3, lambda c: fit(plain, c, optimizer=Noisy(), weight_decay=0.01, clip_norm=1.0))
    assert_same(results[0], results[1])
    assert_same(results[0], results[2])
    np.testing.assert_allclose(
        results[0][0]["loss"], fit(plain, optimizer=Noisy(), weight_decay=0.01, clip_norm=1.0)[0]["loss"], rtol=1e-2
    )


def test_single_steps_take_the_whole_batch_on_every_rank():
    x, t = rows(30)

    def steps(communicator=None):
        trainer = nnx.Trainer(random(), seed=3, backend="numpy", parallel=communicator)
        return [float(trainer.step(x[:n], t[:n])) for n in (30, 30, 2, 30)], trainer.model.state_dict()

    results = together(3, steps)
    assert_same(results[0], results[1])
    np.testing.assert_allclose(results[0][0], steps()[0], rtol=1e-6)


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "mse"])
def test_evaluations_and_predictions_are_shared_out_and_the_same_for_all(loss):
    x, t = rows(1500)
    t = t if loss == "softmax_cross_entropy" else x[:, :4]

    def judge(communicator=None):
        trainer = nnx.Trainer(plain(), loss=loss, seed=3, backend="numpy", parallel=communicator)
        trainer.step(x[:50], t[:50])
        found = [*trainer.evaluate(x, t), trainer.predict(x), trainer.predict(x[:3])]
        return found if loss == "mse" else [*found, trainer.predict_proba(x), trainer.predict_classes(x)]

    results = together(3, judge)
    for ours, theirs, alone in zip(*results[:2], judge(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_allclose(ours, alone, rtol=1e-4, atol=1e-6)


def interrupted_after(steps, rank):
    """A callback that presses Ctrl-C on one rank."""

    class Pressed(nnx.Callback):
        def on_step(self, trainer, step, loss):
            if trainer.parallel.rank == rank and step == steps:
                pressed[rank].set()

    return Pressed()


pressed = {}


@pytest.fixture
def keys(monkeypatch):
    """Give every rank an event of its own in place of the process' one signal."""
    from contextlib import contextmanager
    from threading import Event, get_ident

    ranks = {}

    @contextmanager
    def interruption():
        event = Event()
        pressed[ranks[get_ident()]] = event
        yield event

    monkeypatch.setattr("nnx.training._trainer.interruption", interruption)
    return lambda rank: ranks.__setitem__(get_ident(), rank)


def test_ctrl_c_on_one_rank_stops_all_after_the_same_step_and_any_number_goes_on(tmp_path, keys):
    """The last parameters are those of a training that nobody has interrupted, whatever the ranks and shards."""
    keys(0)
    whole = fit(random, shards=4)

    def begin(communicator):
        keys(communicator.rank)
        fitting = {"checkpoint": tmp_path / "run", "callbacks": [interrupted_after(5, 1)]}
        *_, trainer = fit(random, communicator, 4, fitting=fitting)
        return trainer.interrupted, trainer.steps

    assert together(2, begin) == [(True, 6)] * 2  # Ctrl-C came after the fifth step's exchange

    def go_on(communicator=None):
        keys(0 if communicator is None else communicator.rank)
        trainer = nnx.Trainer.load(tmp_path / "run", backend="numpy", parallel=communicator)
        trainer.fit(*rows(), epochs=3, batch_size=25, verbose=False)
        return trainer.history, trainer.model.state_dict()

    for result in (go_on(), together(4, go_on)[2], together(2, go_on)[0]):
        assert_same(result, whole)


def test_a_training_goes_on_with_ranks_that_do_not_divide_its_shards_and_says_so(tmp_path):
    fit(random, shards=4, fitting={"epochs": 1, "checkpoint": tmp_path / "run"})

    def go_on(communicator):
        trainer = nnx.Trainer.load(tmp_path / "run", backend="numpy", parallel=communicator)
        trainer.fit(*rows(), epochs=3, batch_size=25, verbose=False)
        return trainer.history, trainer.model.state_dict()

    with pytest.warns(nnx.ResumeWarning, match="shards was '4' and is '3'") as warned:
        results = together(3, go_on)
    assert len(warned) == 1, "rank 0 says it"
    assert_near(results[0], fit(random))


def test_checkpoints_are_written_once_with_all_of_the_optimizers_state(tmp_path, monkeypatch):
    written = []
    write = checkpoint_file.write
    monkeypatch.setattr(checkpoint_file, "write", lambda path, *rest: (written.append(path), write(path, *rest)))

    def train(communicator):
        result = fit(random, communicator, 4, fitting={"checkpoint": tmp_path / f"by {communicator.size}", "epochs": 1})
        assert (tmp_path / f"by {communicator.size}").exists(), "it is there for every rank when fit returns"
        return result

    together(2, train)
    count = len(written)
    train(Alone())
    assert len(written) == 2 * count
    two, one = (checkpoint_file.read(tmp_path / f"by {ranks}") for ranks in (2, 1))
    assert two[0].keys() == one[0].keys()
    for name, array in one[0].items():
        np.testing.assert_array_equal(array, two[0][name], err_msg=name)
    assert json.dumps(one[1]) == json.dumps(two[1])


def test_a_checkpoint_that_cannot_be_written_is_an_error_on_every_rank(tmp_path):
    def train(communicator):
        trainer = fit(plain, communicator)[2]
        with pytest.raises(nnx.CheckpointError, match="no such folder"):
            trainer.save(tmp_path / "no such folder" / "file")

    together(2, train)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ({"batch_size": 30}, "batch_size: rank 1 has 30, and rank 0 25; expected the same on all"),
        ({"seed": 4}, "seed: rank 1 has 4, and rank 0 3;"),
        ({"optimizer": nnx.SGD(0.1)}, "optimizer: rank 1 has SGD(lr=0.1), and rank 0 Adam(lr=0.01, "),
        ({"clip_norm": 1.0}, "clip_norm: rank 1 has 1.0, and rank 0 None;"),
        ({"net": random}, "network: rank 1 has Sequential(Flatten(), Affine(9), BatchNorm(), "),
        ({"data": rows(89)}, "rows: rank 1 has 89, and rank 0 90;"),
        ({"data": (rows()[0] + 1, rows()[1])}, "training data (checksum): rank 1 has "),
        ({"callbacks": [print]}, "callbacks: rank 1 has ['print'], and rank 0 [];"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_differs_on_two_ranks_is_refused_by_name_on_all(what, message):
    def train(communicator):
        own = what if communicator.rank == 1 else {}
        settings = {name: own[name] for name in ("seed", "optimizer", "clip_norm", "data") if name in own}
        fitting = {name: own[name] for name in ("batch_size", "callbacks") if name in own}
        with pytest.raises(nnx.ParallelError) as error:
            fit(own.get("net", plain), communicator, fitting=fitting, **settings)
        return str(error.value)

    first, second = together(2, train)
    assert first.startswith(message)
    assert first == second


def test_a_loss_that_is_not_finite_on_one_rank_skips_the_update_on_all():
    x, t = rows(30)
    x[29] = np.nan  # the last rank's

    def train(communicator):
        trainer = nnx.Trainer(random(), seed=3, backend="numpy", parallel=communicator)
        trainer.build(x.shape[1:])
        before = trainer.model.state_dict()
        with pytest.raises(nnx.DivergedError, match=r"step 1 .*first seen in the output of Flatten\(\)"):
            trainer.fit(x, t, batch_size=30, check_finite=False, verbose=False)
        return before, trainer.model.state_dict()

    for before, after in together(3, train):
        for name, array in before.items():
            np.testing.assert_array_equal(array, after[name], err_msg=name)


def test_callbacks_end_the_training_for_all_and_files_are_rank_0s(tmp_path, capsys):
    def stop(trainer, epoch, logs):
        return trainer.parallel.rank == 1 and epoch == 2

    def train(communicator):
        log = nnx.CSVLogger(tmp_path / "log.csv")
        fitting = {"epochs": 9, "callbacks": [stop, log], "verbose": True, "early_stopping": 5, "validation_split": 0.3}
        *_, trainer = fit(plain, communicator, fitting=fitting)
        return trainer.epochs, len(log._rows)

    assert together(3, train) == [(2, 2), (2, 0), (2, 0)]
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("backend numpy") == 1


def test_a_callback_that_fails_on_one_rank_ends_the_training_on_all_with_the_checkpoint(tmp_path):
    def fail(trainer, epoch, logs):
        if trainer.parallel.rank == 1:
            raise KeyError("a mistake")

    def train(communicator):
        kind, message = (KeyError, "a mistake") if communicator.rank == 1 else (nnx.ParallelError, "rank 1: KeyError")
        with pytest.raises(kind, match=message):
            fit(plain, communicator, fitting={"callbacks": [fail], "checkpoint": tmp_path / "run"})

    together(2, train)
    assert nnx.Trainer.load(tmp_path / "run", backend="numpy").epochs == 1


def test_shards_that_cannot_be_divided_among_the_ranks_are_refused():
    def make(communicator):
        with pytest.raises(nnx.InputError, match="shards: got 8 for 3 ranks, expected a multiple of 3"):
            nnx.Trainer(plain(), parallel=communicator, shards=8)

    together(3, make)


def test_one_process_and_its_communicator_train_as_without_it():
    trainer = nnx.Trainer(plain(), parallel=Alone(), backend="numpy", seed=3)
    assert trainer.shards is None
    assert_same(fit(plain, Alone()), fit(plain))


def test_what_is_no_communicator_is_refused():
    with pytest.raises(nnx.InputTypeError, match=r"parallel: got 4, expected an nnx\.Communicator"):
        nnx.Trainer(plain(), parallel=4)


def test_a_loss_of_ones_own_is_the_mean_over_the_rows_of_all_ranks():
    class Absolute(nnx.Loss):
        def forward(self, y, t):
            self.sign = np.sign(y - t) / len(y)
            return np.abs(y - t).sum(axis=1).mean()

        def backward(self, dout=1.0):
            return self.sign * dout

    data = rows(80)[0], rows(80)[0][:, :4]
    expected = fit(plain, data=data, loss=Absolute())
    assert_near(together(3, lambda c: fit(plain, c, data=data, loss=Absolute()))[0], expected)


def test_a_layer_may_have_an_attribute_of_any_name():
    """What the trainer tells a layer of its rows must not meet what the layer calls so."""

    class Named(Rounded):
        def __init__(self):
            super().__init__()
            self.rows = "mine"

        def forward(self, x, train_flg=True):
            assert self.rows == "mine"
            return super().forward(x, train_flg)

    model = nnx.Sequential(nnx.Affine(6), Named(), nnx.Affine(4))
    nnx.Trainer(model, backend="numpy", shards=2).fit(*rows(), epochs=1, verbose=False)
    assert model.layers[1].rows == "mine"


def test_rows_on_a_disk_are_shared_out_in_the_order_of_one_process(tmp_path):
    x, t = rows(300)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "t.npy", t)

    def train(communicator=None, shards=None):
        data = nnx.datasets.DiskDataset(*(np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "xt"))
        return fit(random, communicator, shards, data=(data,), fitting={"window": 120})

    expected = train(shards=4)
    assert_near(expected, train())
    assert_same(expected, together(2, lambda c: train(c, 4))[1])
