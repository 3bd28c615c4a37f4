"""`nnx.lab.inspect` and its parts: what they measure is compared with plain NumPy; nothing of the run changes."""

import csv

import numpy as np
import pytest
from command_line import nnx_command
from PIL import Image

import nnx
from nnx import lab
from nnx.datasets import Dataset
from nnx.lab import _inspect as parts

pytestmark = pytest.mark.slow

BACKENDS = ["numpy", "numba"]
TRAIN, VALIDATION, TEST = nnx.datasets.load("digits", seed=0)


def trained(backend="numpy", epochs=2, **settings):
    trainer = nnx.Trainer(nnx.MLP((30, 20), 10, **settings), backend=backend, seed=3)
    trainer.fit(TRAIN, epochs=epochs, verbose=False)
    return trainer


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspected") / "run"
    assert nnx_command("train", "--epochs", "2", "--hidden", "20", "--out", folder, figures=False) == 0
    return folder


def test_confusion_matrix_counts_true_in_rows():
    counts = parts.confusion_matrix([0, 0, 1, 2, 2, 2], [0, 1, 1, 0, 0, 2], 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]
    assert parts.confused_pairs(counts) == [(2, 0, 2), (0, 1, 1)]
    with pytest.raises(nnx.InputError, match="got the label 3 in row 1, expected labels in 0..2"):
        parts.confusion_matrix([0, 3], [0, 0], 3)
    with pytest.raises(nnx.InputError, match=r"got shapes \(2,\) and \(1,\), expected \(n,\) of both"):
        parts.confusion_matrix([0, 1], [0], 3)


def test_mistakes_are_ordered_by_their_loss():
    scores = np.array([[0.0, 3.0], [2.0, 0.0], [0.0, 1.0], [900.0, -900.0]])
    found = parts.worst_mistakes(scores, np.array([0, 0, 0, 1]))
    assert [m.row for m in found] == [3, 0, 2]
    assert [(m.true, m.predicted) for m in found] == [(1, 0), (0, 1), (0, 1)]
    assert found[0].loss == 1800.0
    assert found[1].loss == pytest.approx(np.log(1 + np.exp(3)))
    assert found[1].probability == pytest.approx(1 / (1 + np.exp(-3)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradient_norms_are_those_of_forward_and_backward(backend):
    trainer = trained(backend, batch_norm=True)
    x, t = TRAIN.inputs()[:50], TRAIN.t[:50]
    norms = parts.gradient_norms(trainer, x, t)
    model = trained(backend, batch_norm=True).model
    loss = nnx.SoftmaxCrossEntropy()
    with nnx.use_backend(backend):
        loss.forward(model.forward(model.native_input("x", x)), t)
        model.backward(loss.backward())
    expected = {name: np.linalg.norm(model.ops.to_host(g)) for name, g in model.grads.items()}
    assert list(norms) == list(expected)
    assert norms == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert norms["1.W"] > 0.01


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_of_a_trainer_changes(backend):
    histories, states = [], []
    for look in (False, True):
        trainer = nnx.Trainer(nnx.MLP((30,), 10, batch_norm=True, dropout=0.2), backend=backend, clip_norm=1.0, seed=3)

        def callback(trainer, epoch, logs, look=look):
            if look:
                before = np.array(trainer.model.ops.to_host(trainer.model.arena.grads.buffer))
                lab.inspect(trainer, TRAIN, batch_size=500)
                assert np.array_equal(before, trainer.model.ops.to_host(trainer.model.arena.grads.buffer))

        histories.append(trainer.fit(TRAIN, epochs=3, verbose=False, callbacks=[callback]))
        states.append(trainer.model.state_dict())
    assert histories[0] == histories[1]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_dead_units_are_counted():
    model = nnx.MLP((6, 4), 2).build(3)
    state = model.state_dict()
    state["1.b"][:2] = -1000.0  # never above 0
    state["3.W"][:] = 0.0  # every row alike
    model.load_state_dict(state)
    first, second = parts.activation_histograms(model, np.random.default_rng(0).standard_normal((50, 3)))
    assert (first.name, first.units, first.dead) == ("2 ReLU()", 6, 2)
    assert (second.units, second.dead) == (4, 4)
    assert parts.activation_histograms(nnx.MLP((), 2).build(3), np.ones((5, 3))) == ()


def test_a_channel_is_dead_if_all_of_its_pixels_are():
    model = nnx.Sequential(nnx.Convolution(3, 3, pad=1), nnx.ReLU(), nnx.Flatten(), nnx.Affine(2)).build((1, 4, 4))
    state = model.state_dict()
    state["0.b"][0] = -1000.0
    model.load_state_dict(state)
    x = np.random.default_rng(0).standard_normal((50, 1, 4, 4))
    x[:, :, :3] = 0.0  # pixels that are never anything but 0 make no channel dead
    (found,) = parts.activation_histograms(model, x)
    assert (found.units, found.dead) == (3, 1)


def test_histograms_hold_every_value():
    model = trained().model
    for histogram, name in zip(parts.weight_histograms(model), ("1.W", "3.W", "5.W"), strict=True):
        values = model.state_dict()[name]
        assert histogram.counts.sum() == values.size
        assert (histogram.edges[0], histogram.edges[-1]) == (values.min(), values.max())
        assert (histogram.mean, histogram.std) == pytest.approx((values.mean(), values.std()), rel=1e-4)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("numba", marks=pytest.mark.long)])
def test_a_run_is_looked_at_with_its_own_test_part(backend, run_folder, tmp_path):
    found = lab.inspect(run_folder, backend=backend)
    model = nnx.Trainer.load(run_folder / "checkpoint.safetensors").model
    predicted = model.predict(TEST).argmax(axis=1)
    assert found.confusion.sum() == len(TEST)
    assert np.trace(found.confusion) / len(TEST) == model.accuracy(TEST)
    assert {m.row for m in found.mistakes} == set(np.flatnonzero(predicted != TEST.t).tolist())
    losses = [m.loss for m in found.mistakes]
    assert losses == sorted(losses, reverse=True)
    assert np.array_equal(found.images, TEST.x[[m.row for m in found.mistakes[:25]]])
    i, j, n = parts.confused_pairs(found.confusion)[0]
    assert f"most confused: {i} taken for {j} ({n})" in str(found)
    written = found.save(tmp_path)
    assert [path.name for path in written] == ["inspect.csv", "inspect.png"] + [
        f"inspect-{part}.png" for part in ("weights", "activations", "gradients", "confusion", "mistakes")
    ]
    for path in written[1:]:
        with Image.open(path) as image:
            assert len(set(image.convert("L").resize((60, 60)).tobytes())) > 20  # not blank
    rows = list(csv.DictReader(written[0].read_text().splitlines()))
    assert sum(int(row["value"]) for row in rows if row["part"] == "confusion") == len(TEST)
    norm = next(float(row["value"]) for row in rows if row["part"] == "gradients" and row["of"] == "1.W")
    assert norm == found.gradients["1.W"]


def test_data_may_be_arrays_that_are_no_images(tmp_path):
    x, t = TEST.inputs().reshape(len(TEST), -1), TEST.t
    trainer = nnx.Trainer(nnx.MLP((5,), 10))
    trainer.fit(x, t, epochs=1, verbose=False)
    found = lab.inspect(trainer, (x, t))
    assert found.confusion.sum() == len(t)
    assert found.images.size == 0
    assert "inspect-mistakes" not in found.figures()
    one_hot = lab.inspect(trainer, (x, nnx.datasets.one_hot(t, 10)))
    assert np.array_equal(found.confusion, one_hot.confusion)


@pytest.mark.long
def test_filters_and_feature_maps_are_those_of_the_layers(tmp_path):
    train, _, test = nnx.datasets.load("digits", seed=3).pictures()
    layers = (
        nnx.Convolution(4, 3), nnx.BatchNorm(), nnx.ReLU(), nnx.MaxPooling(2), nnx.Convolution(5, 2), nnx.Flatten(),
        nnx.Affine(10), nnx.ReLU(),
    )  # fmt: skip
    trainer = nnx.Trainer(nnx.Sequential(*layers), backend="numpy", seed=3)
    trainer.fit(train.take(range(300)), epochs=1, verbose=False)
    found = lab.inspect(trainer, "digits", images=5)  # the data by name get the channel that the network expects
    model, rows = trainer.model, [int(np.flatnonzero(test.t == label)[0]) for label in range(3)]
    assert np.array_equal(found.examples, test.x[rows, 0])
    assert np.array_equal(found.images, test.x[[m.row for m in found.mistakes[:5]], 0])
    value, outputs = test.take(rows).inputs(), []
    for layer in model:
        value = layer.forward(value, False)
        outputs.append(value)
    first, second = found.filters
    assert (first.name, second.name) == ("0 Convolution(4, size=3)", "4 Convolution(5, size=2)")
    for one, weights, maps in ((first, "0.W", outputs[2]), (second, "4.W", outputs[4])):
        assert np.array_equal(one.weights, model.state_dict()[weights])
        assert np.array_equal(one.maps, maps)
    nothing = int(np.sum(outputs[2].max(axis=(0, 2, 3)) <= 0))
    assert f"0 Convolution(4, size=3): 4 filters, of which {nothing} find nothing in 3 inputs" in str(found)
    written = {path.name: path for path in found.save(tmp_path)}
    for part in ("filters", "features"):
        with Image.open(written[f"inspect-{part}.png"]) as image:
            assert len(set(image.convert("L").resize((60, 60)).tobytes())) > 20  # not blank
    rows = list(csv.DictReader(written["inspect.csv"].read_text().splitlines()))
    norms = [float(row["value"]) for row in rows if row["part"] == "filters" and row["quantity"] == "norm"]
    assert norms[:4] == pytest.approx(np.linalg.norm(first.weights.reshape(4, -1), axis=1).tolist())
    assert len(norms) == 9


def test_command(run_folder, tmp_path, capsys):
    assert nnx_command("lab", "inspect", run_folder, "--out", tmp_path / "look", "--images", "3") == 0
    out = capsys.readouterr().out
    assert "359 rows of digits" in out
    assert "units dead" in out
    assert (tmp_path / "look" / "inspect-mistakes.png").is_file()
    assert nnx_command("lab", "inspect", tmp_path) == 1
    assert "is no run folder" in capsys.readouterr().err


def test_run_without_a_whole_checkpoint(run_folder, tmp_path):
    config = (run_folder / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(nnx.CheckpointError, match="checkpoint.safetensors: there is no such file"):
        lab.inspect(tmp_path)
    whole = (run_folder / "checkpoint.safetensors").read_bytes()
    (tmp_path / "checkpoint.safetensors").write_bytes(whole[:-100])
    with pytest.raises(nnx.CheckpointError, match="is not a complete safetensors file"):
        lab.inspect(tmp_path)
    (tmp_path / "checkpoint.safetensors").write_bytes(whole)
    (tmp_path / "config.json").write_text(config.replace('"9"\n', '"9", "10"\n'))
    with pytest.raises(nnx.CheckpointError, match=r"names 11 classes, but the network has outputs of \(10,\)"):
        lab.inspect(tmp_path)


def test_what_is_refused():
    trainer = trained(epochs=1)
    with pytest.raises(nnx.InputTypeError, match="data: got None, expected the data to look at"):
        lab.inspect(trainer)
    with pytest.raises(nnx.InputError, match="backend: a trainer has its own already"):
        lab.inspect(trainer, TEST, backend="numpy")
    with pytest.raises(nnx.InputError, match="inspect: the model has no parameters yet"):
        lab.inspect(nnx.Trainer(nnx.MLP((5,), 10)), TEST)
    with pytest.raises(nnx.InputTypeError, match="run: got 3, expected the folder of a run, or an nnx.Trainer"):
        lab.inspect(3)
    with pytest.raises(nnx.InputError, match="images: got -1"):
        lab.inspect(trainer, TEST, images=-1)
    with pytest.raises(nnx.InputError, match=r"x: got shape \(359, 4, 4\), expected \(n, 8, 8\)"):
        lab.inspect(trainer, Dataset("small", TEST.x[:, ::2, ::2], TEST.t, 1 / 16, TEST.classes))
    with pytest.raises(nnx.InputError, match="data: got 11 classes, but the network tells 10 apart"):
        lab.inspect(trainer, Dataset("more", TEST.x, TEST.t, 1 / 16, (*TEST.classes, "ten")))
    regression = nnx.Trainer(nnx.MLP((5,), 10), loss=nnx.MeanSquaredError())
    regression.fit(TRAIN.inputs(), nnx.datasets.one_hot(TRAIN.t, 10), epochs=1, verbose=False)
    with pytest.raises(nnx.InputError, match=r"run: was trained with MeanSquaredError\(\), expected a classifier"):
        lab.inspect(regression, TEST)
